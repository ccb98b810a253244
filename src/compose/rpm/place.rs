//! Where rpm would put the next package's files, on top of those that are there.
//!
//! Two packages may have one file only if it is the same in both, owner and mode included, and the
//! same holds for directories (rpm, lib/transaction.c, `handleOverlappedFiles` and lib/rpmfi.c,
//! `rpmfilesCompare`). Owners are names until then: rpm looks them up in the image as it lays the
//! file, and takes root, without set-id bits, for those that the image does not have (lib/fsm.c).

use std::collections::BTreeMap;

use layers::{Change, Entry, Kind, Layer, Tree, TreePath};
use providers::unpack::Owner;

use super::unpack::Unpacked;
use crate::compose::landing::{existing, follow_hard_links};
use crate::configure::Accounts;
use crate::error::{Error, ResultExt};

/// The set-id bits of a mode (POSIX, sys/stat.h).
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
/// The name of the user and the group with the number 0, in every image.
const ROOT: &str = "root";

/// What laying a package does.
#[derive(Debug, Default)]
pub struct Plan {
    /// What becomes of the tree.
    pub meaning: Layer,
    /// Whether overlay would show something else if the package's own layer were put on top, so
    /// that a layer has to be made of the meaning.
    pub deviates: bool,
    /// Where files of the package land that do not lie where its layer has them.
    pub origins: BTreeMap<TreePath, TreePath>,
    /// Owners that the image does not have, each with a path that wants it.
    pub unknown: BTreeMap<String, TreePath>,
}

/// Which package has which path, by its place in the order of installation.
#[derive(Clone, Default)]
pub struct Members {
    names: Vec<String>,
    paths: BTreeMap<TreePath, usize>,
}

impl Members {
    /// Takes a package in, with what it means.
    pub fn enter(&mut self, package: &Unpacked, plan: &Plan) {
        let place = self.names.len();
        self.names.push(package.package.name.clone());
        let laid = plan.meaning.changes.keys().filter(|path| !package.note.implied.contains(*path));
        self.paths.extend(laid.map(|path| (path.clone(), place)));
    }

    fn owner(&self, path: &TreePath) -> Option<&str> {
        self.names.get(*self.paths.get(path)?).map(String::as_str)
    }
}

/// The number of a user of the image.
fn user(accounts: &Accounts, name: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(name).ok()?;
    if name == ROOT || name.is_empty() { Some(0) } else { accounts.user(name).map(|account| account.uid) }
}

/// The number of a group of the image.
fn group(accounts: &Accounts, name: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(name).ok()?;
    if name == ROOT || name.is_empty() { Some(0) } else { accounts.group(name) }
}

/// Whether every owner that a package names is one of the image.
pub fn knows_owners(package: &Unpacked, accounts: &Accounts) -> bool {
    let known = |owner: &Owner| user(accounts, &owner.user).is_some() && group(accounts, &owner.group).is_some();
    package.note.owners.values().all(known)
}

/// Plans the laying of a package.
///
/// # Errors
/// A file that another package has too, and that is not the same in both.
pub fn plan(package: &Unpacked, tree: &Tree, accounts: &Accounts, members: &Members) -> Result<Plan, Error> {
    let layer = &package.layer.layer;
    let mut plan = Plan::default();
    let mut moved: BTreeMap<&TreePath, TreePath> = BTreeMap::new();
    for (path, change) in &layer.changes {
        let Change::Set(shipped) = change else { continue };
        let place = match path.parent().and_then(|parent| moved.get(&parent)) {
            Some(parent) => parent.join(path.name()).to("find the place of a package's file")?,
            None => path.clone(),
        };
        if place != *path {
            plan.deviates = true;
            moved.insert(path, place.clone());
        }
        let entry = dress(package, path, shipped, accounts, &mut plan);
        plan.deviates |= entry.meta != shipped.meta;
        let there = tree.get(&place);
        if let Some(real) = existing(tree, &place, &entry, there)? {
            let link = there.is_some_and(|there| !there.is_directory());
            if !entry.is_directory() && !link {
                return Err(collision(package, &place, "which is a directory in the image"));
            }
            if link || package.note.implied.contains(path) {
                plan.deviates |= link || !entry.is_directory();
                if real != *path && entry.is_directory() {
                    moved.insert(path, real);
                }
                continue;
            }
        }
        if let (Some(there), Some(other)) = (there, members.owner(&place))
            && !is_same(tree, there, &entry, layer)
        {
            return Err(collision(package, &place, &format!("which {other} has too, and not the same")));
        }
        if there.is_some_and(Entry::is_directory) && !entry.is_directory() {
            return Err(collision(package, &place, "which is a directory in the image"));
        }
        plan.meaning.changes.insert(place, Change::Set(entry));
    }
    if plan.deviates {
        for (path, place) in &moved {
            plan.origins.insert(place.clone(), (*path).clone());
        }
        follow_hard_links(&package.package.name, layer, &moved, &mut plan.meaning)?;
    }
    Ok(plan)
}

/// The entry with the numbers of its owners.
fn dress(package: &Unpacked, path: &TreePath, shipped: &Entry, accounts: &Accounts, plan: &mut Plan) -> Entry {
    let mut entry = shipped.clone();
    let Some(owner) = package.note.owners.get(path) else { return entry };
    let (uid, gid) = (user(accounts, &owner.user), group(accounts, &owner.group));
    entry.meta.uid = uid.unwrap_or(0);
    entry.meta.gid = gid.unwrap_or(0);
    for (found, name, bit) in [(uid, &owner.user, SET_UID), (gid, &owner.group, SET_GID)] {
        if found.is_none() {
            entry.meta.mode &= !bit;
            let name = String::from_utf8_lossy(name).into_owned();
            plan.unknown.entry(name).or_insert_with(|| path.clone());
        }
    }
    entry
}

/// Whether an entry that is there is, to rpm, the one that a package brings: times do not count.
fn is_same(tree: &Tree, there: &Entry, brought: &Entry, layer: &Layer) -> bool {
    let in_tree = |entry: &Entry| match &entry.kind {
        Kind::HardLink(home) => tree.get(home).cloned(),
        _ => Some(entry.clone()),
    };
    let in_layer = |entry: &Entry| match &entry.kind {
        Kind::HardLink(home) => match layer.changes.get(home) {
            Some(Change::Set(entry)) => Some(entry.clone()),
            _ => None,
        },
        _ => Some(entry.clone()),
    };
    let (Some(mut one), Some(mut other)) = (in_tree(there), in_layer(brought)) else { return false };
    one.meta.mtime = other.meta.mtime;
    // Capabilities are no part of the comparison.
    one.meta.xattrs.clear();
    other.meta.xattrs.clear();
    one == other
}

fn collision(package: &Unpacked, path: &TreePath, whose: &str) -> Error {
    let own = &package.package.name;
    Error::build(format!("failed to install {own}: it has the file {path}, {whose}"))
        .hint("rpm would refuse to install the two together: remove one of them from the spec")
}
