//! What became of a set of packages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::record::Package;
use crate::spec::outline::listed;

/// Versions and digests of the packages of one name: it may stand for those of two architectures.
type Files<'a> = BTreeSet<(&'a str, &'a [u8])>;

/// What differs between two sets of packages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PackageChanges {
    /// Names of those that came.
    came: Vec<String>,
    /// Names of those that went.
    went: Vec<String>,
    /// Those that are others now, with both versions.
    other: Vec<String>,
}

impl PackageChanges {
    /// What differs.
    pub fn between<'a>(
        then: impl IntoIterator<Item = &'a Package>,
        now: impl IntoIterator<Item = &'a Package>,
    ) -> Self {
        let mut all: BTreeMap<&str, [Files<'_>; 2]> = BTreeMap::new();
        for package in then {
            let [old, _] = all.entry(&package.name).or_default();
            old.insert((&package.version, package.sha256.as_ref()));
        }
        for package in now {
            let [_, new] = all.entry(&package.name).or_default();
            new.insert((&package.version, package.sha256.as_ref()));
        }
        let mut changes = Self::default();
        for (name, [old, new]) in all.into_iter().filter(|(_, [old, new])| old != new) {
            let versions = |set: &Files<'_>| {
                set.iter()
                    .map(|(version, _)| *version)
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            let (from, to) = (versions(&old), versions(&new));
            match (old.is_empty(), new.is_empty()) {
                (true, _) => changes.came.push(name.to_owned()),
                (_, true) => changes.went.push(name.to_owned()),
                _ if from == to => changes.other.push(format!("{name} {to} (another file)")),
                _ => changes.other.push(format!("{name} {from} → {to}")),
            }
        }
        changes
    }

    /// Those that are others now: nobody asks for that in a spec.
    pub fn of_versions(&self) -> Option<String> {
        (!self.other.is_empty()).then(|| listed(&self.other))
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.came.is_empty() && self.went.is_empty() && self.other.is_empty()
    }
}

impl fmt::Display for PackageChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |names: &[String], verb: &str| (!names.is_empty()).then(|| format!("{}{verb}", listed(names)));
        let parts = [said(&self.came, " came in"), said(&self.went, " went"), said(&self.other, "")];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    fn told(then: &[(&str, &str)], now: &[(&str, &str)]) -> String {
        PackageChanges::between(&record(then).packages, &record(now).packages).to_string()
    }

    #[test]
    fn packages_come_go_and_change() {
        assert_eq!(told(&[("a", "1"), ("b", "1")], &[("b", "1"), ("a", "1")]), "");
        assert_eq!(told(&[], &[("nginx", "1")]), "nginx came in");
        assert_eq!(told(&[("vim", "9.0")], &[("vim", "9.1")]), "vim 9.0 → 9.1");
        assert_eq!(
            told(&[("vim", "1"), ("ed", "1")], &[("nginx", "1"), ("ed", "2")]),
            "nginx came in, vim went, ed 1 → 2"
        );
        let many: Vec<(&str, &str)> = ["a", "b", "c", "d", "e", "f"].map(|name| (name, "1")).to_vec();
        assert_eq!(told(&[], &many[..4]), "a, b, c, d came in");
        assert_eq!(told(&[], &many), "a, b, c and 3 others came in");
        let (then, mut now) = (record(&[("a", "1")]), record(&[("a", "1")]));
        assert!(PackageChanges::between(&then.packages, &now.packages).is_empty());
        now.packages[0].sha256 = layers::Sha256::of(b"built again");
        assert_eq!(PackageChanges::between(&then.packages, &now.packages).to_string(), "a 1 (another file)");
    }
}
