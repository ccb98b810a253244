//! Two machines that share nothing but a registry.

mod damaged;
mod ends;
mod faults;
mod outbox;
mod packages;
mod repair;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::registry::{Registry, Setup};
use crate::support::{User, have, must};
use crate::wrong::case::{Case, Ended, names};

/// What only a script that runs says.
const SAID: &str = "slow is done";

/// A machine of its own, with what is said of its caches.
fn machine(user: User, name: &str, remote: &str) -> Option<Case> {
    let case = Case::of(user, name)?;
    configure(&case, remote);
    let text = "image: {name: small, base: {os: tiny, version: 1}}\noutput: {format: oci}\ncustomizations:\n  \
                packages: {install: [tiny-hello, tiny-slow, odd-tool, odd-wrap]}\n  scripts:\n    - path: ./change.sh\n";
    case.write("small.yml", text);
    case.write(
        "change.sh",
        "#!/bin/sh\necho changed > /var/changed; mkdir -m 1777 /var/sticky; chown 5:6 /var/changed\n",
    );
    Some(case)
}

fn configure(case: &Case, remote: &str) {
    case.reconfigure();
    let path = case.directory.join("config/image-composer/config.yaml");
    let text = fs::read_to_string(&path).unwrap();
    case.write("config/image-composer/config.yaml", &format!("{text}cache:\n  remote:\n    - {remote}\n"));
}

/// The step that runs a script of the user's, which is the last.
const LAST: &str = "run ./change.sh";

impl Case {
    /// Builds the layers only.
    fn compose(&self) -> Ended {
        let ended = self.build(&["--stage", "configuration", "--log-level", "debug"]);
        ended.with(0, &[]);
        ended
    }

    /// Which layers the spec was last built of: their ids say that they have the same bytes.
    fn lineage(&self) -> String {
        fs::read_to_string(self.directory.join("cache/stacks/small.json")).unwrap()
    }

    fn layer(&self, id: &str) -> PathBuf {
        self.directory.join("cache/store/layers").join(id)
    }

    /// The id of the layer that something made, and the keys that it is the answer to.
    fn layer_of(&self, made: &str) -> (String, Vec<String>) {
        let listed = self.run(&["layers", "ls", "--json"]);
        let listed: Vec<Value> = serde_json::from_str(&listed.text).unwrap();
        let found = listed.iter().find(|layer| layer["made"].as_str() == Some(made));
        let id = found.unwrap_or_else(|| panic!("no layer of {made}: {listed:#?}"))["id"].as_str().unwrap().to_owned();
        let keys = self.directory.join("cache/store/keys");
        let answers = |key: &String| fs::read(keys.join(key)).unwrap()[40..72] == hex::decode(&id).unwrap();
        let keys = names(&keys).into_iter().filter(answers).collect();
        (id, keys)
    }

    /// Forgets what the last step made.
    fn forget_last(&self) {
        let (id, keys) = self.layer_of(LAST);
        must(Command::new("rm").arg("-r").arg(self.layer(&id)));
        for key in keys {
            fs::remove_file(self.directory.join("cache/store/keys").join(key)).unwrap();
        }
    }
}

/// Makes a pair of keys; the path of the private one, and the public one as text for a configuration.
fn key_pair(case: &Case, name: &str) -> (String, String) {
    let at = case.directory.join(name);
    must(Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&at));
    must(Command::new("chmod").arg("644").arg(&at));
    let public = must(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&at));
    (at.display().to_string(), public.replace('\n', "\\n"))
}

/// Builds and gives what was said.
fn built(case: &Case) -> String {
    let ended = case.build(&["--force", "--no-image-cache", "--log-level", "debug"]);
    ended.with(0, &[]);
    ended.text
}

/// Forgets everything but the packages.
fn forget(case: &Case) {
    must(Command::new("rm").arg("-rf").arg(case.directory.join("cache/store")));
}

#[test]
fn the_second_machine_runs_no_script() {
    if !have(&["docker-registry", "openssl"]) {
        return;
    }
    let registry = Registry::start(Setup::default());
    let url = format!("oci://{}/cache", registry.host());
    let remote = |more: &str| format!("{{url: \"{url}\"{more}}}");
    let Some(one) = machine(User::WithoutRange, "remote-one", &remote(", push: true")) else { return };
    let Some(two) = machine(User::WithRange, "remote-two", &remote("")) else { return };
    let text = built(&one);
    assert!(text.contains(SAID) && !text.contains("the layer cache"), "{text}");
    let text = built(&two);
    assert!(!text.contains(SAID) && !text.contains("warning: "), "{text}");
    for step in
        ["configure essential packages", "prepare other packages", "configure other packages", "run ./change.sh"]
    {
        assert!(
            text.contains(&format!("{step}: fetched from {url} in ")) && !text.contains(&format!("{step}: built")),
            "{step}: {text}"
        );
    }
    assert_eq!(one.sums(), two.sums());
    two.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    let report = fs::read_to_string(two.directory.join("output/small.report.json")).unwrap();
    assert!(report.contains("\"fetched\": true"), "{report}");

    // What is damaged there is told of and made here.
    forget(&two);
    let blobs = must(
        Command::new("find")
            .arg(registry.blob("00").parent().unwrap().parent().unwrap().parent().unwrap())
            .args(["-name", "data", "-size", "+200c"]),
    );
    for blob in blobs.lines() {
        let mut bytes = fs::read(blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(blob, bytes).unwrap();
    }
    let text = built(&two);
    assert!(text.contains(SAID) && text.contains("gives nothing"), "{text}");
    assert_eq!(one.sums(), two.sums());

    // With keys configured, what nobody signed is refused; what is signed is used.
    let ((private, public), (_, other)) = (key_pair(&one, "cache.key"), key_pair(&one, "other.key"));
    let registry = Registry::start(Setup::default());
    let url = format!("oci://{}/cache", registry.host());
    let remote = |more: &str| format!("{{url: \"{url}\"{more}}}");
    configure(&one, &remote(&format!(", push: true, keys: [\"{public}\"], signing_key: {private}")));
    forget(&one);
    built(&one);
    configure(&two, &remote(&format!(", keys: [\"{other}\"]")));
    forget(&two);
    let text = built(&two);
    assert!(text.contains("is not signed by a key that is trusted") && text.contains(SAID), "{text}");
    configure(&two, &remote(&format!(", keys: [\"{other}\", \"{public}\"]")));
    forget(&two);
    let text = built(&two);
    assert!(!text.contains(SAID) && text.contains("change.sh: fetched"), "{text}");
    assert_eq!(one.sums(), two.sums());

    // A registry that is gone is told of once, and is no failure.
    drop(registry);
    forget(&two);
    let text = built(&two);
    assert_eq!(text.matches("it is not asked again").count(), 1, "{text}");
    assert_eq!(one.sums(), two.sums());
    configure(&two, "{url: \"https://nowhere\", push: true}");
    two.build(&["--force"]).with(5, &["is no repository of a registry", "oci://HOST/REPOSITORY"]);
    two.nothing_is_left();
}
