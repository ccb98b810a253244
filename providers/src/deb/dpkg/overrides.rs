//! What a system says of files that packages bring: diversions to another name (dpkg-divert(1))
//! and owners and modes of its own (dpkg-statoverride(1)).

use std::collections::BTreeMap;

use crate::deb::Error;

/// One diverted name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diversion {
    /// The name that takes its place.
    pub to: Vec<u8>,
    /// The package whose own file keeps the name; `None` for a diversion of the local system,
    /// which holds for all.
    pub by: Option<String>,
}

/// The diversions of a system, by the diverted name as packages spell it: dpkg compares names and
/// knows nothing of the links of a merged /usr.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diversions {
    by_name: BTreeMap<Vec<u8>, Diversion>,
}

impl Diversions {
    /// Reads dpkg's `diversions`: three lines each, the name, the other name, the package or a
    /// colon (dpkg's lib/dpkg/db-fsys-divert.c).
    ///
    /// # Errors
    /// [`Error::Control`] for text that no dpkg writes.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
        let lines = lines.strip_suffix(&[b"".as_slice()]).unwrap_or(&lines);
        let mut by_name = BTreeMap::new();
        for three in lines.chunks(3) {
            let [from, to, package] = *three else {
                return Err(damaged("diversions", "it ends within a diversion"));
            };
            let package = std::str::from_utf8(package).map_err(|_| damaged("diversions", "a name is not UTF-8"))?;
            if !from.starts_with(b"/") || !to.starts_with(b"/") || package.is_empty() {
                return Err(damaged("diversions", "a path has no leading slash, or a package no name"));
            }
            let by = (package != ":").then(|| package.to_owned());
            by_name.insert(from.to_vec(), Diversion { to: to.to_vec(), by });
        }
        Ok(Self { by_name })
    }

    /// The diversion of a name, whoever made it.
    pub fn of(&self, name: &[u8]) -> Option<&Diversion> {
        self.by_name.get(name)
    }

    /// The name under which a package's file lands, where that is another.
    pub fn instead(&self, name: &[u8], package: &str) -> Option<&[u8]> {
        let diversion = self.of(name)?;
        (diversion.by.as_deref() != Some(package)).then_some(diversion.to.as_slice())
    }

    /// The name that was diverted to this one.
    pub fn came_from(&self, name: &[u8]) -> Option<&[u8]> {
        self.by_name.iter().find(|(_, diversion)| diversion.to == name).map(|(from, _)| from.as_slice())
    }

    /// Every name that has to do with a diversion which is in one of the two and not in the other.
    pub fn changed_names<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a [u8]> {
        let apart = |one: &'a Self, two: &'a Self| {
            let differ = one.by_name.iter().filter(|(name, diversion)| two.of(name) != Some(diversion));
            differ.flat_map(|(name, diversion)| [name.as_slice(), diversion.to.as_slice()])
        };
        apart(self, other).chain(apart(other, self))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// Who is meant by one half of an override's owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// A number, written `#123`.
    Id(u32),
    /// A name of the system's own passwd or group.
    Name(String),
}

/// The owner and mode that a system wants for a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatOverride {
    /// The owner.
    pub user: Principal,
    /// The group.
    pub group: Principal,
    /// Permission bits, 0 to 07777.
    pub mode: u32,
}

/// The statoverrides of a system, by name as packages spell it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StatOverrides {
    by_name: BTreeMap<Vec<u8>, StatOverride>,
}

impl StatOverrides {
    /// Reads dpkg's `statoverride`: `user group mode name` on each line (dpkg's
    /// lib/dpkg/db-fsys-override.c).
    ///
    /// # Errors
    /// [`Error::Control`] for text that no dpkg writes.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut by_name = BTreeMap::new();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let refuse = || damaged("statoverride", "a line is not owner, group, mode and path");
            let mut words = line.splitn(4, |&byte| byte == b' ');
            let mut word = || words.next().ok_or_else(refuse);
            let (user, group, mode, name) = (word()?, word()?, word()?, word()?);
            let mode = std::str::from_utf8(mode).ok().and_then(|text| u32::from_str_radix(text, 8).ok());
            let mode = mode.filter(|mode| *mode <= 0o7777).ok_or_else(refuse)?;
            let (user, group) = (principal(user).ok_or_else(refuse)?, principal(group).ok_or_else(refuse)?);
            by_name.insert(name.to_vec(), StatOverride { user, group, mode });
        }
        Ok(Self { by_name })
    }

    /// The override for a name.
    pub fn of(&self, name: &[u8]) -> Option<&StatOverride> {
        self.by_name.get(name)
    }

    /// Every name whose override is another, or only, in one of the two.
    pub fn changed_names<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a [u8]> {
        let apart = |one: &'a Self, two: &'a Self| {
            one.by_name.iter().filter(|(name, wanted)| two.of(name) != Some(wanted)).map(|(name, _)| name.as_slice())
        };
        apart(self, other).chain(apart(other, self))
    }
}

fn principal(word: &[u8]) -> Option<Principal> {
    let word = std::str::from_utf8(word).ok().filter(|word| !word.is_empty())?;
    match word.strip_prefix('#') {
        Some(number) => number.parse().ok().map(Principal::Id),
        None => Some(Principal::Name(word.to_owned())),
    }
}

fn damaged(file: &str, reason: &str) -> Error {
    Error::Control { what: format!("dpkg's {file}"), line: 1, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diversion_holds_for_all_but_its_package() {
        let text = b"/usr/bin/x\n/usr/bin/x.distrib\nwrap\n/etc/y\n/etc/y.ours\n:\n";
        let diversions = Diversions::parse(text).unwrap();
        assert_eq!(diversions.instead(b"/usr/bin/x", "wrap"), None);
        assert_eq!(diversions.instead(b"/usr/bin/x", "tool"), Some(&b"/usr/bin/x.distrib"[..]));
        assert_eq!(diversions.instead(b"/etc/y", "tool"), Some(&b"/etc/y.ours"[..]));
        assert_eq!(diversions.came_from(b"/etc/y.ours"), Some(&b"/etc/y"[..]));
        assert_eq!(Diversions::default().changed_names(&diversions).count(), 4);
        assert_eq!(diversions.changed_names(&diversions).count(), 0);
    }

    #[test]
    fn an_override_names_its_owners() {
        let overrides = StatOverrides::parse(b"root #42 2755 /usr/bin/x y\n").unwrap();
        let found = overrides.of(b"/usr/bin/x y").unwrap();
        assert_eq!((&found.user, &found.group), (&Principal::Name("root".into()), &Principal::Id(42)));
        assert_eq!(found.mode, 0o2755);
    }

    #[test]
    fn what_no_dpkg_writes_is_refused() {
        for text in ["/a\n/b\n", "a\n/b\n:\n", "/a\n/b\n\n"] {
            assert!(Diversions::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        for text in ["root root 755", "root root 99999 /x", "root root 9 /x", "#x root 755 /x"] {
            assert!(StatOverrides::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Diversions::parse(b"").unwrap().is_empty());
    }
}
