//! What a spec says, as far as two specs can be compared by it later: by path, names of lists as they are,
//! everything else as a digest. Passwords, keys and texts are not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use layers::{Key, KeyBuilder};
use serde::{Deserialize, Serialize};

use super::encode::{Encoder, copied_file, debconf, digest_of, interface, repository};
use super::names::UnitName;
use super::resolved::{ResolvedSpec, Script, User};

/// Most names of a list that are told.
const NAMED_MAX: usize = 3;

/// A spec by path.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Outline(BTreeMap<String, Said>);

/// What stands at a path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Said {
    /// Something whose digest this is.
    Value(Key),
    /// These names.
    Names(Vec<String>),
}

/// What another spec says at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The path, elements of lists by name: `customizations.users[anna].shell`.
    pub path: String,
    /// What became of it.
    pub change: Change,
}

/// What became of a part of a spec.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is another.
    Other,
    /// It has the same names in another order.
    Order,
    /// Names came or went.
    Names {
        /// Those that came.
        gained: Vec<String>,
        /// Those that went.
        lost: Vec<String>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.change {
            Change::Other => match path.strip_suffix(".text") {
                Some(element) => write!(f, "the text of {element} changed"),
                None => write!(f, "{path} changed"),
            },
            Change::Order => write!(f, "the order of {path} changed"),
            Change::Names { gained, lost } => match (gained.as_slice(), lost.as_slice()) {
                (gained, []) => write!(f, "{path} gained {}", listed(gained)),
                ([], lost) => write!(f, "{path} lost {}", listed(lost)),
                (gained, lost) => write!(f, "{path} gained {} and lost {}", listed(gained), listed(lost)),
            },
        }
    }
}

fn text(value: impl fmt::Display) -> Vec<String> {
    vec![value.to_string()]
}

/// What is said of a user, by key.
fn details_of_user(user: &User) -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("password_hash", user.password_hash.iter().map(ToString::to_string).collect()),
        ("ssh_keys", user.ssh_keys.clone()),
        ("shell", user.shell.iter().map(ToString::to_string).collect()),
        ("home", user.home.iter().map(ToString::to_string).collect()),
        ("uid", user.uid.iter().map(ToString::to_string).collect()),
        ("gecos", user.gecos.iter().cloned().collect()),
        ("sudo", text(format_args!("{:?}", user.sudo))),
    ]
}

/// What is said of a script besides its text, by key.
fn details_of_script(script: &Script) -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("args", script.args.clone()),
        ("run_in_chroot", text(script.run_in_chroot)),
        ("env", script.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
    ]
}

/// The first few of some names, and how many others there are.
pub fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let named = if names.len() == NAMED_MAX + 1 { names.len() } else { NAMED_MAX };
    let first: Vec<&str> = names.iter().take(named).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(named) {
        0 => first.join(", "),
        others => format!("{} and {others} others", first.join(", ")),
    }
}

impl Outline {
    /// That of a spec.
    pub fn of(spec: &ResolvedSpec) -> Self {
        let mut outline = Self::default();
        for (path, words) in [
            ("image.name", text(&spec.name)),
            ("image.version", spec.image_version.iter().map(ToString::to_string).collect()),
            ("image.description", spec.description.iter().cloned().collect()),
            ("image.base.os", text(&spec.os)),
            ("image.base.version", text(&spec.os_version)),
            ("image.base.type", text(spec.variant)),
            ("image.base.architecture", text(spec.architecture)),
            ("image.base.from", spec.base.iter().map(|base| base.written.clone()).collect()),
            ("customizations.hostname", text(&spec.hostname)),
            ("customizations.locale", text(&spec.locale)),
            ("customizations.timezone", text(&spec.timezone)),
            ("kernel.package", spec.kernel.package.iter().map(ToString::to_string).collect()),
            ("kernel.version", spec.kernel.version.iter().map(ToString::to_string).collect()),
            ("kernel.cmdline", spec.kernel.cmdline.clone()),
            ("bootloader", text(spec.bootloader)),
            ("customizations.packages.recommends", text(spec.packages.recommends)),
            ("build.network", text(spec.build_network)),
            ("output.compression", text(spec.compression)),
            ("output.oci.layers", text(spec.container.layers)),
            ("output.oci.entrypoint", spec.container.entrypoint.clone()),
            ("output.oci.command", spec.container.command.clone()),
        ] {
            outline.words(path, words);
        }
        outline.value("disk", &digest_of(&spec.disk, Encoder::disk));
        outline.names("output.format", spec.formats.iter().map(ToString::to_string).collect());
        outline
            .names("customizations.packages.install", spec.packages.install.iter().map(ToString::to_string).collect());
        outline.names("customizations.packages.remove", spec.packages.remove.iter().map(ToString::to_string).collect());
        let units = |units: &[UnitName]| units.iter().map(ToString::to_string).collect();
        outline.names("customizations.services.enabled", units(&spec.services.enabled));
        outline.names("customizations.services.disabled", units(&spec.services.disabled));
        outline.names("customizations.services.masked", units(&spec.services.masked));
        outline.elements(spec);
        outline
    }

    /// Lists of mappings: their names, and of each what it says.
    fn elements(&mut self, spec: &ResolvedSpec) {
        let users = self.list("customizations.users", &spec.users, |user| user.name.to_string());
        for (path, user) in users.iter().zip(&spec.users) {
            self.names(&format!("{path}.groups"), user.groups.iter().map(ToString::to_string).collect());
            details_of_user(user).into_iter().for_each(|(key, words)| self.words(&format!("{path}.{key}"), words));
        }
        let interfaces = &spec.network.interfaces;
        let paths = self.list("customizations.network.interfaces", interfaces, |one| one.name.to_string());
        for (path, one) in paths.iter().zip(interfaces) {
            self.value(path, &digest_of(one, interface));
        }
        let paths = self.list("customizations.repositories", &spec.repositories, |one| one.name.to_string());
        for (path, one) in paths.iter().zip(&spec.repositories) {
            self.value(path, &digest_of(one, repository));
        }
        let paths = self.list("customizations.files", &spec.files, |one| one.destination.to_string());
        for (path, one) in paths.iter().zip(&spec.files) {
            self.value(path, &digest_of(one, copied_file));
        }
        let paths = self.list("customizations.debconf", &spec.debconf, |one| one.question.clone());
        for (path, one) in paths.iter().zip(&spec.debconf) {
            self.value(path, &digest_of(one, debconf));
        }
        let paths = self.list("customizations.scripts", &spec.scripts, |one| one.path.clone());
        for (path, one) in paths.iter().zip(&spec.scripts) {
            self.value(&format!("{path}.text"), &one.content.digest.0);
            details_of_script(one).into_iter().for_each(|(key, words)| self.words(&format!("{path}.{key}"), words));
        }
    }

    fn words(&mut self, path: &str, words: Vec<String>) {
        self.value(path, &KeyBuilder::new("outline", 1).list("words", words).finish().0);
    }

    fn value(&mut self, path: &str, digest: &[u8; 32]) {
        self.0.insert(path.to_owned(), Said::Value(Key(*digest)));
    }

    fn names(&mut self, path: &str, names: Vec<String>) {
        self.0.insert(path.to_owned(), Said::Names(names));
    }

    /// Enters the names of a list's elements, and gives the path of each. Of two with the same name the
    /// later one has its number behind it.
    fn list<T>(&mut self, path: &str, elements: &[T], name: impl Fn(&T) -> String) -> Vec<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let names = elements.iter().map(|element| {
            let name = name(element);
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            if *count == 1 { name } else { format!("{name} #{count}") }
        });
        let names: Vec<String> = names.collect();
        let paths = names.iter().map(|name| format!("{path}[{name}]")).collect();
        self.names(path, names);
        paths
    }

    /// What this spec says otherwise than an earlier one, by path. What only one of them has a path for is
    /// told by the list of which it is an element.
    pub fn since(&self, earlier: &Self) -> Vec<Difference> {
        let change = |then: &Said, now: &Said| match (then, now) {
            (then, now) if then == now => None,
            (Said::Names(then), Said::Names(now)) => {
                let (old, new): (BTreeSet<&String>, BTreeSet<&String>) = (then.iter().collect(), now.iter().collect());
                let gained: Vec<String> = now.iter().filter(|name| !old.contains(name)).cloned().collect();
                let lost: Vec<String> = then.iter().filter(|name| !new.contains(name)).cloned().collect();
                match gained.is_empty() && lost.is_empty() {
                    true => Some(Change::Order),
                    false => Some(Change::Names { gained, lost }),
                }
            }
            _ => Some(Change::Other),
        };
        let found = self.0.iter().filter_map(|(path, now)| {
            let change = change(earlier.0.get(path)?, now)?;
            Some(Difference { path: path.clone(), change })
        });
        found.collect()
    }
}

impl Difference {
    /// Whether it is at or below one of these paths.
    pub fn is_at(&self, paths: &[String]) -> bool {
        paths.iter().any(|path| {
            let rest = self.path.strip_prefix(path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::{minimal, resolved};

    fn told(before: &str, after: &str) -> Vec<String> {
        let outline = |rest: &str| Outline::of(&resolved(&minimal(rest)));
        outline(after).since(&outline(before)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_kind_of_change_is_told() {
        let custom = |rest: &str| format!("customizations:\n{rest}");
        let packages = |names: &str| custom(&format!("  packages: {{install: [{names}]}}\n"));
        assert!(told(&packages("vim"), &packages("vim")).is_empty());
        assert_eq!(told(&packages("vim"), &packages("vim, nginx")), ["customizations.packages.install gained nginx"]);
        assert_eq!(
            told(&packages("vim, ed"), &packages("nginx, ed")),
            ["customizations.packages.install gained nginx and lost vim"]
        );
        assert_eq!(
            told(&packages("a1, b1"), &packages("b1, a1")),
            ["the order of customizations.packages.install changed"]
        );
        assert_eq!(
            told(&packages(""), &packages("a1, b1, c1, d1, e1")),
            ["customizations.packages.install gained a1, b1, c1 and 2 others"]
        );
        assert_eq!(told("", &custom("  timezone: Europe/Berlin\n")), ["customizations.timezone changed"]);
        assert_eq!(told("", "kernel: {cmdline: quiet}\n"), ["kernel.cmdline changed"]);
        assert_eq!(told("", "output: {format: [qcow2, raw]}\n"), ["output.format gained qcow2"]);
        let user = |rest: &str| custom(&format!("  users: [{{name: anna{rest}}}]\n"));
        assert_eq!(told("", &user("")), ["customizations.users gained anna"]);
        assert_eq!(told(&user(""), &user(", shell: /bin/sh")), ["customizations.users[anna].shell changed"]);
        assert_eq!(told(&user(""), &user(", groups: [wheel]")), ["customizations.users[anna].groups gained wheel"]);
        let file = |text: &str| custom(&format!("  files: [{{content: {text}, destination: /etc/a}}]\n"));
        assert_eq!(told(&file("one"), &file("two")), ["customizations.files[/etc/a] changed"]);
    }

    #[test]
    fn no_secret_is_kept() {
        let hash = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";
        let text = format!(
            "customizations:\n  users: [{{name: anna, password_hash: \"{hash}\"}}]\n  debconf: [{{package: a1, \
             question: a1/secret, type: password, value: hunter2}}]\n"
        );
        let outline = serde_json::to_string(&Outline::of(&resolved(&minimal(&text)))).unwrap();
        assert!(outline.contains("anna") && outline.contains("a1/secret"), "{outline}");
        assert!(!outline.contains("saltsalt") && !outline.contains("hunter2"), "{outline}");
        let other = text.replace("hunter2", "hunter3");
        assert_eq!(told(&text, &other), ["customizations.debconf[a1/secret] changed"]);
        assert_eq!(serde_json::from_str::<Outline>(&outline).unwrap(), Outline::of(&resolved(&minimal(&text))));
    }

    #[test]
    fn places_are_whole_words() {
        let at = |path: &str, places: &[&str]| {
            let places: Vec<String> = places.iter().map(|place| (*place).to_owned()).collect();
            Difference { path: path.to_owned(), change: Change::Other }.is_at(&places)
        };
        assert!(at("kernel.cmdline", &["kernel"]) && at("customizations.users[a].uid", &["customizations.users"]));
        assert!(!at("customizations.usersets", &["customizations.users"]) && !at("disk", &["image"]));
    }
}
