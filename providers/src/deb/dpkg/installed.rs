//! The packages that a system has, as its own dpkg knows them.

use std::collections::BTreeSet;

use crate::deb::Error;
use crate::deb::control::{MultiArch, Package, stanzas};

/// What messages call the file.
const WHAT: &str = "dpkg status file";

/// A package that a system has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InstalledPackage {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The architecture, or `all`.
    pub architecture: String,
    /// Whether several architectures of it may be there at once (`Multi-Arch: same`).
    pub is_same: bool,
    /// Its Replaces field.
    pub replaces: String,
}

/// The packages that a system has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Installed {
    /// Those that are installed, in the order of the file.
    pub packages: Vec<InstalledPackage>,
    /// Names of packages that were removed, and whose configuration files are still there.
    pub removed: BTreeSet<String>,
    /// The stanzas of those that are installed, for a choice of others beside them.
    pub stanzas: Vec<u8>,
}

impl Installed {
    /// Reads a status file.
    ///
    /// # Errors
    /// [`Error::Control`] for text that no dpkg writes, and for a package that is neither installed
    /// nor gone: nothing can be put on a system whose own dpkg would first want it mended.
    pub fn read(status: &[u8]) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Control { what: WHAT.into(), line: 1, reason };
        let mut found = Self::default();
        let mut seen = BTreeSet::new();
        for stanza in stanzas(status, WHAT)? {
            stanza.check(WHAT)?;
            let name = stanza.get("Package").unwrap_or_default();
            let words: Vec<&str> = stanza.get("Status").unwrap_or_default().split(' ').collect();
            match words.as_slice() {
                [_, "ok", "installed"] => {}
                [_, "ok", "not-installed"] => continue,
                [_, "ok", "config-files"] => {
                    found.removed.insert(name.to_owned());
                    continue;
                }
                other => return Err(refuse(format!("the package {name:?} is in the state {:?}", other.join(" ")))),
            }
            let package = Package::read(stanza, WHAT)?;
            if !seen.insert((name.to_owned(), package.architecture.to_owned())) {
                return Err(refuse(format!("the package {name} is there twice")));
            }
            found.stanzas.extend_from_slice(stanza.as_str().as_bytes());
            found.stanzas.extend_from_slice(if stanza.as_str().ends_with('\n') { b"\n" } else { b"\n\n" });
            found.packages.push(InstalledPackage {
                name: package.name.to_owned(),
                version: package.version.to_owned(),
                architecture: package.architecture.to_owned(),
                is_same: package.multi_arch == MultiArch::Same,
                replaces: package.replaces.to_owned(),
            });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(name: &str, status: &str) -> String {
        format!(
            "Package: {name}\nStatus: {status}\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1\nConffiles:\n /a b\n\n"
        )
    }

    #[test]
    fn only_what_is_installed_is_there() {
        let text = [
            stanza("a", "install ok installed"),
            stanza("b", "deinstall ok config-files"),
            stanza("c", "hold ok installed"),
            stanza("d", "purge ok not-installed"),
        ];
        let found = Installed::read(text.concat().as_bytes()).unwrap();
        let names: Vec<&str> = found.packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(found.removed, BTreeSet::from(["b".to_owned()]));
        assert!(found.packages.iter().all(|package| package.is_same));
        assert_eq!(Installed::read(&found.stanzas).unwrap().packages, found.packages);
        assert_eq!(Installed::read(b"").unwrap(), Installed::default());
    }

    #[test]
    fn a_system_that_is_not_whole_is_refused() {
        for status in ["install ok half-configured", "install reinstreq installed", "install ok triggers-pending", ""] {
            let error = Installed::read(stanza("a", status).as_bytes()).unwrap_err().to_string();
            assert!(error.contains("\"a\""), "{error}");
        }
        let twice = stanza("a", "install ok installed").repeat(2);
        assert!(Installed::read(twice.as_bytes()).unwrap_err().to_string().contains("twice"));
        for text in [&b"no stanza"[..], b"Package: a\n\xff\n", b"Status: install ok installed\n"] {
            assert!(Installed::read(text).is_err());
        }
    }
}
