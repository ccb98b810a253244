//! Which package lists which name, and who may take a file from whom (dpkg, src/archive.c,
//! `tarobject`; Debian policy 7.6.1).
//!
//! dpkg compares names as packages spell them: `/lib/x` and `/usr/lib/x` of a merged /usr are two
//! files to it, of which the later one wins.

use std::collections::{BTreeMap, BTreeSet};

use providers::deb::dpkg::Diversions;
use providers::deb::{MultiArch, relation};

use super::installed::Present;
use super::registry::info_name;
use super::unpack::Unpacked;
use crate::error::{Error, ResultExt};

/// A package, as far as its names are concerned.
#[derive(Clone)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    version: &'a str,
    /// What its files in `info` are called, without their endings.
    info: String,
    /// Whether architectures of it share their files.
    is_same: bool,
    replaces: &'a str,
    listed: &'a [Vec<u8>],
}

impl<'a> Member<'a> {
    /// Of a package that is unpacked.
    ///
    /// # Errors
    /// A control file that cannot be read.
    pub fn of(package: &'a Unpacked) -> Result<Self, Error> {
        let control = package.note.control.package().to("read a package's control file")?;
        Ok(Self {
            name: &package.package.name,
            version: &package.package.version,
            info: info_name(package),
            is_same: control.multi_arch == MultiArch::Same,
            replaces: package.note.control.stanza().get("Replaces").unwrap_or(""),
            listed: &package.note.listed,
        })
    }

    /// Of a package that the image had before.
    pub fn present(present: &'a Present) -> Self {
        Self {
            name: &present.package.name,
            version: &present.package.version,
            info: present.info.clone(),
            is_same: present.package.is_same,
            replaces: &present.package.replaces,
            listed: &present.listed,
        }
    }

    /// Whether it replaces files of another one, in the version that is there.
    fn replaces(&self, other: &Member<'_>, architecture: &str) -> Result<bool, Error> {
        if self.replaces.is_empty() {
            return Ok(false);
        }
        let relations = relation::parse(self.replaces, architecture).to("read what a package replaces")?;
        let mut alternatives = relations.iter().flat_map(|relation| relation.alternatives.iter());
        let is_meant = |name: &str| name == other.name;
        Ok(alternatives.any(|one| is_meant(one.name) && one.bound.is_none_or(|bound| bound.admits(other.version))))
    }
}

/// Who lists what.
#[derive(Clone, Default)]
pub struct Ownership<'a> {
    /// In the order of unpacking.
    members: Vec<Member<'a>>,
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
    pub member: &'r Member<'a>,
    /// dpkg's name of the architecture.
    pub architecture: &'r str,
    /// The names that are diverted.
    pub diversions: &'r Diversions,
}

impl<'a> Ownership<'a> {
    /// Of packages that the image had before.
    pub fn of(present: &'a [Present]) -> Self {
        let members: Vec<Member<'a>> = present.iter().map(Member::present).collect();
        let names = |(at, member): (usize, &Member<'a>)| member.listed.iter().map(move |name| (name.as_slice(), at));
        let listed = members.iter().enumerate().flat_map(names).collect();
        Self { members, listed, dropped: Dropped::default() }
    }

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
        let own = claim.member;
        let diverter = claim.diversions.of(name).and_then(|diversion| diversion.by.as_deref());
        let mut taken = Vec::new();
        let mut kept = false;
        for owner in self.owners(name) {
            let Some(other) = self.members.get(owner) else { continue };
            // Architectures of one package share their files.
            let instance = other.name == own.name && other.is_same && own.is_same;
            let diverted = diverter.is_some_and(|by| by == other.name || by == own.name);
            if instance || diverted {
                continue;
            }
            if fresh_directory {
                // Whoever lists a directory that is gone loses its name to whoever brings it again (dpkg,
                // src/main/archive.c, `FNNF_ELIDE_OTHER_LISTS`).
                taken.push(owner);
                continue;
            }
            if own.replaces(other, claim.architecture)? {
                taken.push(owner);
            } else if other.replaces(own, claim.architecture)? {
                kept = true;
            } else {
                return Err(collision(own.name, name, &format!("which is also in {}", other.name)));
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
            let Some(other) = self.members.get(owner) else { continue };
            let own: BTreeSet<&[u8]> = listed().collect();
            let still = |name: &&[u8]| self.listed.contains(&(*name, owner)) && !names.contains(name);
            let mut left = other.listed.iter().map(Vec::as_slice).filter(still);
            if left.all(|name| own.contains(name)) {
                let (own, other) = (&package.package.name, other.name);
                return Err(Error::build(format!("failed to unpack {own}: it takes over every file of {other}")).hint(
                    format!("dpkg would let {other} disappear, so the image cannot have both: remove it from the spec"),
                ));
            }
        }
        for (&owner, names) in taken {
            let Some(other) = self.members.get(owner) else { continue };
            for name in names {
                self.listed.remove(&(*name, owner));
            }
            self.dropped.names.entry(other.info.clone()).or_default().extend(names);
        }
        self.listed.extend(listed().map(|name| (name, position)));
        self.members.push(Member::of(package)?);
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
pub fn collision(own: &str, name: &[u8], whose: &str) -> Error {
    let name = name.escape_ascii();
    Error::build(format!("failed to unpack {own}: it would overwrite {name}, {whose}"))
        .hint("one of the two has to replace, divert or conflict with the other; remove one from the spec")
}
