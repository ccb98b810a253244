//! Which package lists which name, and who may take a file from whom (dpkg, src/archive.c,
//! `tarobject`; Debian policy 7.6.1).
//!
//! dpkg compares names as packages spell them: `/lib/x` and `/usr/lib/x` of a merged /usr are two
//! files to it, of which the later one wins.

use std::collections::{BTreeMap, BTreeSet};

use providers::deb::dpkg::Diversions;
use providers::deb::{MultiArch, relation};

use super::registry::info_name;
use super::unpack::Unpacked;
use crate::error::{Error, ResultExt};

/// Who lists what.
#[derive(Clone, Default)]
pub struct Ownership<'a> {
    /// In the order of unpacking.
    members: Vec<&'a Unpacked>,
    /// Every name with the place of a member that lists it.
    listed: BTreeSet<(&'a [u8], usize)>,
    /// What nobody has asked for yet.
    dropped: Dropped<'a>,
}

/// Names that are no longer in lists, by the name of the package's files in `info`.
#[derive(Clone, Default)]
pub struct Dropped<'a> {
    /// All of them.
    pub names: BTreeMap<String, BTreeSet<&'a [u8]>>,
    /// Those of files that never were laid, because another package keeps its own.
    pub unlaid: BTreeMap<String, BTreeSet<&'a [u8]>>,
}

/// What becomes of one file of a package where others list its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is laid; these packages lose the name.
    Taken(Vec<usize>),
    /// Another package's file stays.
    Kept,
}

/// A package that asks for names.
pub struct Claim<'a, 'r> {
    /// The package.
    pub package: &'a Unpacked,
    /// dpkg's name of the architecture.
    pub architecture: &'r str,
    /// The names that are diverted.
    pub diversions: &'r Diversions,
}

impl<'a> Ownership<'a> {
    fn owners(&self, name: &'a [u8]) -> impl Iterator<Item = usize> + '_ {
        self.listed.range((name, 0)..=(name, usize::MAX)).map(|&(_, owner)| owner)
    }

    /// Whether any package lists this name.
    pub fn lists(&self, name: &'a [u8]) -> bool {
        self.owners(name).next().is_some()
    }

    /// What becomes of a package's file of this name.
    ///
    /// # Errors
    /// Another package has it and neither replaces the other.
    pub fn fate(&self, claim: &Claim<'a, '_>, name: &'a [u8], fresh_directory: bool) -> Result<Fate, Error> {
        let own = claim.package;
        let diverter = claim.diversions.of(name).and_then(|diversion| diversion.by.as_deref());
        let mut taken = Vec::new();
        let mut kept = false;
        for owner in self.owners(name) {
            let Some(&other) = self.members.get(owner) else { continue };
            // Architectures of one package share their files.
            let instance = other.package.name == own.package.name && is_same(other)? && is_same(own)?;
            let diverted = diverter.is_some_and(|by| by == other.package.name || by == own.package.name);
            if instance || diverted || fresh_directory {
                continue;
            }
            if replaces(own, other, claim.architecture)? {
                taken.push(owner);
            } else if replaces(other, own, claim.architecture)? {
                kept = true;
            } else {
                return Err(collision(own, name, &format!("which is also in {}", other.package.name)));
            }
        }
        Ok(if kept { Fate::Kept } else { Fate::Taken(taken) })
    }

    /// Takes note of a package that is unpacked, but for names that others keep; the names that it
    /// took from others are theirs no longer.
    ///
    /// # Errors
    /// A package of which nothing is left, which dpkg would let disappear.
    pub fn enter(
        &mut self,
        package: &'a Unpacked,
        kept: &BTreeSet<&'a [u8]>,
        taken: &BTreeMap<usize, BTreeSet<&'a [u8]>>,
    ) -> Result<(), Error> {
        let position = self.members.len();
        let listed = || package.note.listed.iter().map(Vec::as_slice).filter(|name| !kept.contains(name));
        for (&owner, names) in taken {
            let Some(&other) = self.members.get(owner) else { continue };
            let own: BTreeSet<&[u8]> = listed().collect();
            let still = |name: &&[u8]| self.listed.contains(&(*name, owner)) && !names.contains(name);
            let mut left = other.note.listed.iter().map(Vec::as_slice).filter(still);
            if left.all(|name| own.contains(name)) {
                let (own, other) = (&package.package.name, &other.package.name);
                return Err(Error::build(format!("failed to unpack {own}: it takes over every file of {other}")).hint(
                    format!("dpkg would let {other} disappear, so the image cannot have both: remove it from the spec"),
                ));
            }
        }
        for (&owner, names) in taken {
            let Some(&other) = self.members.get(owner) else { continue };
            for name in names {
                self.listed.remove(&(*name, owner));
            }
            self.dropped.names.entry(info_name(other)).or_default().extend(names);
        }
        self.listed.extend(listed().map(|name| (name, position)));
        self.members.push(package);
        if !kept.is_empty() {
            self.dropped.names.entry(info_name(package)).or_default().extend(kept);
            self.dropped.unlaid.entry(info_name(package)).or_default().extend(kept);
        }
        Ok(())
    }

    /// What went from lists since this was asked last.
    pub fn take_dropped(&mut self) -> Dropped<'a> {
        std::mem::take(&mut self.dropped)
    }
}

/// The error of a package that would overwrite what it may not.
pub fn collision(package: &Unpacked, name: &[u8], whose: &str) -> Error {
    let (own, name) = (&package.package.name, name.escape_ascii());
    Error::build(format!("failed to unpack {own}: it would overwrite {name}, {whose}"))
        .hint("one of the two has to replace, divert or conflict with the other; remove one from the spec")
}

fn is_same(package: &Unpacked) -> Result<bool, Error> {
    let control = package.note.control.package().to("read a package's control file")?;
    Ok(control.multi_arch == MultiArch::Same)
}

/// Whether one package replaces files of another, in the version that is there.
fn replaces(one: &Unpacked, other: &Unpacked, architecture: &str) -> Result<bool, Error> {
    let Some(field) = one.note.control.stanza().get("Replaces") else { return Ok(false) };
    let relations = relation::parse(field, architecture).to("read what a package replaces")?;
    let mut alternatives = relations.iter().flat_map(|relation| relation.alternatives.iter());
    let (name, version) = (&other.package.name, &other.package.version);
    Ok(alternatives.any(|one| one.name == name && one.bound.is_none_or(|bound| bound.admits(version))))
}
