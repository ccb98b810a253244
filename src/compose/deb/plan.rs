//! Where dpkg would put the next package's files, on top of those that are there.
//!
//! Overlay shows the topmost layer's directory and file; dpkg keeps the first directory's mode and
//! owner, unpacks through links that lead to directories, puts diverted files elsewhere, lets a
//! file win only where Replaces allows it, and refuses the rest (dpkg, src/archive.c, `tarobject`).

use std::collections::{BTreeMap, BTreeSet};

use layers::{Change, Entry, Kind, Layer, Tree, TreePath};
use providers::deb::Aliases;

use super::ownership::{Claim, Fate, Member, Ownership, collision};
use super::rules::Rules;
use super::unpack::Unpacked;
use crate::compose::landing::{existing, follow_hard_links};
use crate::error::{Error, ResultExt};

/// What unpacking a package does.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// What becomes of the tree.
    pub meaning: Layer,
    /// Whether overlay would show something else if the package's own layer were put on top, so
    /// that a layer has to be made of the meaning.
    pub deviates: bool,
    /// Where files of the package land that do not lie where its layer has them.
    pub origins: BTreeMap<TreePath, TreePath>,
    /// Names of the package that another one keeps.
    pub kept: BTreeSet<&'a [u8]>,
    /// Names that other packages lose, by the place of the owner.
    pub taken: BTreeMap<usize, BTreeSet<&'a [u8]>>,
}

/// What a plan is made with.
pub struct Planner<'r> {
    /// The tree so far.
    pub tree: &'r Tree,
    /// What the image says of files to come.
    pub rules: &'r Rules,
    /// The links of a merged /usr.
    pub aliases: &'r Aliases,
    /// dpkg's name of the architecture.
    pub architecture: &'r str,
}

impl Planner<'_> {
    /// Plans the unpacking of a package.
    ///
    /// # Errors
    /// A file that another package has, where neither replaces the other.
    pub fn plan<'a>(&self, package: &'a Unpacked, ownership: &Ownership<'a>) -> Result<Plan<'a>, Error> {
        let names = self.names(package)?;
        let member = Member::of(package)?;
        let claim = Claim { member: &member, architecture: self.architecture, diversions: &self.rules.diversions };
        let lasts = last_names(package, &names);
        let mut plan = Plan::default();
        // Where each entry of the package is, if that is not its own path.
        let mut moved: BTreeMap<&TreePath, TreePath> = BTreeMap::new();
        for (path, change) in &package.layer.layer.changes {
            let Change::Set(entry) = change else { continue };
            let name = names.get(path).copied();
            let place = self.place(path, name, &package.package.name, &moved)?;
            let may_hold = matches!(entry.kind, Kind::Directory | Kind::Symlink(_));
            if name.is_some_and(|name| self.rules.filters.skips(name, may_hold)) {
                plan.deviates = true;
                continue;
            }
            let there = self.tree.get(&place);
            if place != *path {
                plan.deviates = true;
                moved.insert(path, place.clone());
            }
            if let Some(real) = existing(self.tree, &place, entry, there)? {
                let link = there.is_some_and(|there| !there.is_directory());
                plan.deviates |= link || !entry.is_directory();
                if real != *path && entry.is_directory() {
                    moved.insert(path, real);
                }
                continue;
            }
            let mut entry = entry.clone();
            if let Some(name) = name {
                if let Some(from) = self.rules.diversions.came_from(name) {
                    let whose = format!("which is the diverted version of {}", from.escape_ascii());
                    return Err(collision(member.name, name, &whose));
                }
                match ownership.fate(&claim, name, entry.is_directory() && there.is_none())? {
                    Fate::Kept => {
                        plan.deviates = true;
                        plan.kept.insert(name);
                        continue;
                    }
                    Fate::Taken(owners) => {
                        for owner in owners {
                            plan.taken.entry(owner).or_default().insert(name);
                        }
                    }
                }
                let last = lasts.get(path).copied().unwrap_or(name);
                if !matches!(entry.kind, Kind::HardLink(_)) {
                    plan.deviates |= self.rules.dress(last, &mut entry)?;
                }
            }
            let is_conffile = name.is_some_and(|name| package.note.conffiles.contains_key(name));
            if is_conffile && there.is_some() && !name.is_some_and(|name| ownership.lists(name)) {
                // Whoever made it before counts as the administrator, whose file stays.
                plan.deviates = true;
                continue;
            }
            plan.meaning.changes.insert(place, Change::Set(entry));
        }
        if plan.deviates {
            for (path, place) in &moved {
                plan.origins.insert(place.clone(), (*path).clone());
            }
            follow_hard_links(&package.package.name, &package.layer.layer, &moved, &mut plan.meaning)?;
        }
        Ok(plan)
    }

    /// The name under which the package lists each of its entries. Made-up directories have none.
    fn names<'a>(&self, package: &'a Unpacked) -> Result<BTreeMap<TreePath, &'a [u8]>, Error> {
        let mut names: BTreeMap<TreePath, &[u8]> = BTreeMap::new();
        for name in &package.note.listed {
            let path = TreePath::new(name).to("read the names of a package's files")?;
            let shipped = package.layer.layer.changes.contains_key(&path);
            let real = self.aliases.iter().find(|(alias, _)| !shipped && **alias == path);
            let real = match real {
                Some((_, real)) => real.clone(),
                None => self.aliases.canonical(&path).to("read the names of a package's files")?,
            };
            let plain = real == path;
            match names.get(&real) {
                Some(_) if !plain => {}
                _ => drop(names.insert(real, name)),
            }
        }
        Ok(names)
    }

    /// Where an entry goes: below where its directory really is, or where its name is diverted to.
    fn place(
        &self,
        path: &TreePath,
        name: Option<&[u8]>,
        package: &str,
        moved: &BTreeMap<&TreePath, TreePath>,
    ) -> Result<TreePath, Error> {
        let what = "find the place of a package's file";
        if let Some(instead) = name.and_then(|name| self.rules.diversions.instead(name, package)) {
            let path = self.aliases.canonical(&TreePath::new(instead).to(what)?).to(what)?;
            let parent = self.tree.resolve(&path.parent().unwrap_or_default()).to(what)?;
            return parent.join(path.name()).to(what);
        }
        if moved.is_empty() {
            return Ok(path.clone());
        }
        match path.parent().and_then(|parent| moved.get(&parent)) {
            Some(parent) => parent.join(path.name()).to(what),
            None => Ok(path.clone()),
        }
    }
}

/// For each file with several names the one that the archive has last: dpkg sets owner and mode with
/// every name, so that the last one's count.
fn last_names<'a>(package: &'a Unpacked, names: &BTreeMap<TreePath, &'a [u8]>) -> BTreeMap<&'a TreePath, &'a [u8]> {
    let mut groups: BTreeMap<&TreePath, BTreeSet<&[u8]>> = BTreeMap::new();
    for (path, change) in &package.layer.layer.changes {
        if let Change::Set(Entry { kind: Kind::HardLink(home), .. }) = change {
            let group = groups.entry(home).or_default();
            group.extend([names.get(path), names.get(home)].into_iter().flatten());
        }
    }
    let last = |group: BTreeSet<&[u8]>| package.note.listed.iter().rfind(|name| group.contains(name.as_slice()));
    groups.into_iter().filter_map(|(home, group)| Some((home, last(group)?.as_slice()))).collect()
}
