//! Where rpm would put the next package's files, on top of those that are there.
//!
//! Two packages may have one file only if it is the same in both, owner and mode included, and the
//! same holds for directories; the first of one transaction lays it, and a later transaction lays it
//! again (rpm, lib/transaction.c, `handleOverlappedFiles` and `handleInstInstalledFile`, and
//! lib/rpmfi.c, `rpmfilesCompare`). Owners are names until then: rpm looks them up in the image as it lays the file, and takes root, without set-id
//! bits, for those that the image does not have (lib/fsm.c).

use std::collections::BTreeMap;

use layers::{Change, Entry, Kind, Layer, Tree, TreePath, plain_mode};
use providers::rpm::payload::{FileType, PackagedFile};
use providers::unpack::Owner;

use super::fate::{Fate, fate};
use super::present::Member;
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
    /// Where paths of the package are, if that is not where its layer has them.
    pub places: BTreeMap<TreePath, TreePath>,
    /// Owners that the image does not have, each with a path that wants it.
    pub unknown: BTreeMap<String, TreePath>,
    /// Configuration that stays, and where the package's is instead.
    pub beside: BTreeMap<TreePath, TreePath>,
    /// Configuration that makes way, and where it goes.
    pub saved: BTreeMap<TreePath, TreePath>,
}

/// Which package has which file, of those that are installed.
#[derive(Default)]
pub struct Members<'p> {
    /// Each one's name and files.
    packages: Vec<(&'p str, &'p [PackagedFile])>,
    /// How many of them were there when the transaction began, and the image then.
    before: usize,
    begun: Tree,
    /// By real path: the package's place, the file's place in its list, and whether that package laid
    /// it itself.
    files: BTreeMap<TreePath, (usize, usize, bool)>,
}

impl<'p> Members<'p> {
    /// Those of an image to start from.
    pub fn of(there: &'p [Member]) -> Self {
        let mut members = Self::default();
        for member in there {
            let place = members.packages.len();
            members.packages.push((member.name(), &member.files));
            let files = member.files.iter().enumerate();
            members.files.extend(files.map(|(number, file)| (file.place.clone(), (place, number, false))));
        }
        members
    }

    /// A transaction begins.
    pub fn begin(&mut self, tree: &Tree) {
        self.before = self.packages.len();
        self.begun = tree.clone();
    }

    /// Takes a package in, which was laid so.
    pub fn enter(&mut self, package: &'p Unpacked, plan: &Plan) {
        let place = self.packages.len();
        self.packages.push((&package.package.name, &package.files));
        for (number, file) in package.files.iter().enumerate() {
            let path = plan.places.get(&file.place).unwrap_or(&file.place);
            let is_laid = plan.meaning.changes.contains_key(path) && !file.flags.is_ghost();
            self.files.insert(path.clone(), (place, number, is_laid));
        }
    }

    /// The package that has a path already.
    fn owner(&self, path: &TreePath) -> Option<Owning<'_>> {
        let (place, number, is_laid) = self.files.get(path)?;
        let (name, files) = self.packages.get(*place)?;
        let was_there = *place < self.before;
        let file = files.get(*number)?;
        Some(Owning { name, file, was_there, is_laid: *is_laid && !was_there })
    }

    /// What becomes of a file, by what was there when the transaction began.
    fn fate(&self, file: &PackagedFile, shipped: &Entry, place: &TreePath, owner: Option<&Owning<'_>>) -> Fate {
        match owner {
            Some(owner) if !owner.was_there => Fate::Laid,
            owner => {
                let there = match self.begun.get(place) {
                    Some(Entry { kind: Kind::HardLink(home), .. }) => self.begun.get(home),
                    there => there,
                };
                fate(file, shipped, there, owner.map(|owner| owner.file))
            }
        }
    }
}

/// Who has a file already.
struct Owning<'m> {
    name: &'m str,
    file: &'m PackagedFile,
    /// Whether the package was there before the transaction.
    was_there: bool,
    /// Whether it laid the file itself, in this transaction.
    is_laid: bool,
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
pub fn plan(package: &Unpacked, tree: &Tree, accounts: &Accounts, members: &Members<'_>) -> Result<Plan, Error> {
    let layer = &package.layer.layer;
    let listed: BTreeMap<&TreePath, &PackagedFile> = package.files.iter().map(|file| (&file.place, file)).collect();
    let mut plan = Plan::default();
    let mut moved: BTreeMap<&TreePath, TreePath> = BTreeMap::new();
    for (path, change) in &layer.changes {
        let Change::Set(shipped) = change else { continue };
        let mut place = match path.parent().and_then(|parent| moved.get(&parent)) {
            Some(parent) => parent.join(path.name()).to("find the place of a package's file")?,
            None => path.clone(),
        };
        if place != *path {
            plan.deviates = true;
            moved.insert(path, place.clone());
        }
        let there = tree.get(&place);
        let file = listed.get(path).filter(|_| !package.note.implied.contains(path));
        if let Some(real) = existing(tree, &place, shipped, there)? {
            let link = there.is_some_and(|there| !there.is_directory());
            if !shipped.is_directory() && !link {
                return Err(collision(package, &place, "which is a directory in the image"));
            }
            if link || file.is_none() {
                // A layer that shows a directory of others must show it with their mode.
                let misshown = there.is_some_and(|there| plain_mode(there) != plain_mode(shipped));
                plan.deviates |= link || misshown;
                if real != *path && shipped.is_directory() {
                    moved.insert(path, real);
                }
                continue;
            }
        }
        let owner = members.owner(&place);
        if let (Some(file), Some(Owning { name, file: theirs, is_laid, .. })) = (file, &owner) {
            if !is_same(file, theirs) {
                return Err(collision(package, &place, &format!("which {name} has too, and not the same")));
            }
            if *is_laid {
                // rpm leaves it as it is by now.
                plan.deviates |= !shipped.is_directory();
                continue;
            }
        }
        match file.map_or(Fate::Laid, |file| members.fate(file, shipped, &place, owner.as_ref())) {
            Fate::Laid => {}
            Fate::Left => {
                plan.deviates = true;
                continue;
            }
            Fate::Beside(end) => {
                let beside = named(&place, end)?;
                plan.deviates = true;
                plan.beside.insert(place, beside.clone());
                moved.insert(path, beside.clone());
                place = beside;
            }
            Fate::Saving(end) => drop(plan.saved.insert(place.clone(), named(&place, end)?)),
        }
        let there = tree.get(&place);
        if there.is_some_and(Entry::is_directory) && !shipped.is_directory() {
            return Err(collision(package, &place, "which is a directory in the image"));
        }
        let entry = dress(package, path, shipped, accounts, &mut plan);
        plan.deviates |= entry.meta != shipped.meta;
        plan.meaning.changes.insert(place, Change::Set(entry));
    }
    if plan.deviates {
        for (path, place) in &moved {
            plan.origins.insert(place.clone(), (*path).clone());
        }
        follow_hard_links(&package.package.name, layer, &moved, &mut plan.meaning)?;
    }
    let is_elsewhere = |place: &TreePath| !plan.beside.values().any(|beside| beside == place);
    plan.places =
        moved.into_iter().filter(|(_, place)| is_elsewhere(place)).map(|(path, place)| (path.clone(), place)).collect();
    Ok(plan)
}

/// A path with something behind its name.
fn named(path: &TreePath, end: &str) -> Result<TreePath, Error> {
    TreePath::new([path.as_bytes(), end.as_bytes()].concat()).to("name a configuration file")
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

/// Whether two packages' files are one to rpm: of the same kind and mode, with the same owners by name
/// and the same contents; a ghost is as any other. Times and capabilities do not count.
fn is_same(one: &PackagedFile, other: &PackagedFile) -> bool {
    if one.flags.is_ghost() || other.flags.is_ghost() {
        return true;
    }
    let of = |file: &PackagedFile| (file.kind, file.mode, file.user.clone(), file.group.clone(), file.device);
    let is_equal = match one.kind {
        FileType::Regular => (one.size, &one.digest) == (other.size, &other.digest),
        FileType::Symlink => one.target == other.target,
        _ => true,
    };
    is_equal && of(one) == of(other)
}

fn collision(package: &Unpacked, path: &TreePath, whose: &str) -> Error {
    let own = &package.package.name;
    Error::build(format!("failed to install {own}: it has the file {path}, {whose}"))
        .hint("rpm would refuse to install the two together: remove one of them from the spec")
}
