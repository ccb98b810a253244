//! The entries that a package lays into the tree: real paths, parents, what is laid twice.

use std::collections::{BTreeMap, BTreeSet};

use layers::{Content, Entry, Kind, Meta, Time, TreePath};

use super::capabilities;
use super::list::{FileType, PackagedFile};
use crate::rpm::file::{Error, Failure};
use crate::unpack::{Aliases, Owner};

/// Mode of directories that no package has (rpm, lib/fsm.c, `_dirPerms`).
const PARENT_MODE: u32 = 0o755;

pub(super) struct Plan<'a> {
    aliases: &'a Aliases,
    failure: Failure<'a>,
    entries: BTreeMap<TreePath, Entry>,
    owners: BTreeMap<TreePath, Owner>,
    implied: BTreeSet<TreePath>,
    /// Names of one file: the name that was laid first, with all others.
    linked: BTreeMap<TreePath, Vec<TreePath>>,
}

/// Entries, owners by name, and implied directories.
pub(super) type Finished = (Vec<(TreePath, Entry)>, BTreeMap<TreePath, Owner>, BTreeSet<TreePath>);

impl<'a> Plan<'a> {
    pub fn new(aliases: &'a Aliases, failure: Failure<'a>) -> Self {
        Self {
            aliases,
            failure,
            entries: BTreeMap::new(),
            owners: BTreeMap::new(),
            implied: BTreeSet::new(),
            linked: BTreeMap::new(),
        }
    }

    /// Where a file belongs; `None` for a link that an alias makes needless.
    pub fn place(&self, file: &PackagedFile) -> Result<Option<TreePath>, Error> {
        if let Some((_, real)) = self.aliases.iter().find(|(alias, _)| **alias == file.place) {
            return match file.kind {
                // Where a package has a directory rpm keeps a link to one, and sets mode and owner of
                // the directory that it leads to (rpm, lib/fsm.c, `fsmVerify`).
                FileType::Directory => Ok(Some(real.clone())),
                FileType::Symlink => Ok(Some(file.place.clone())),
                _ => Err(self.failure.damaged(format!("it ships {} as something that is no directory", file.place))),
            };
        }
        let needless = file.kind == FileType::Symlink && self.leads_to_itself(file);
        Ok((!needless).then(|| file.place.clone()))
    }

    /// Whether a link such as `/bin/x -> /usr/bin/x` leads to its own real place.
    fn leads_to_itself(&self, file: &PackagedFile) -> bool {
        let Ok(literal) = TreePath::new(&file.path) else { return false };
        let start = if file.target.starts_with(b"/") { None } else { literal.parent() };
        let mut reached = start.unwrap_or_default();
        for name in file.target.split(|&byte| byte == b'/') {
            match name {
                b".." => reached = reached.parent().unwrap_or_default(),
                name => match reached.join(name) {
                    Ok(next) => reached = next,
                    Err(_) => return false,
                },
            }
        }
        literal != file.place && self.aliases.canonical(&reached).is_ok_and(|reached| reached == file.place)
    }

    /// Notes the directories above a path that are not there yet, and gives them from the top down.
    pub fn missing_parents(&mut self, place: &TreePath) -> Result<Vec<TreePath>, Error> {
        let mut missing = Vec::new();
        for above in place.ancestors() {
            match self.entries.get(&above) {
                Some(entry) if entry.is_directory() => {}
                Some(_) => {
                    return Err(self.failure.damaged(format!("{place} lies below {above}, which is no directory")));
                }
                None if above.is_root() => {}
                None => {
                    let meta = Meta::root_owned(PARENT_MODE, Time::default());
                    self.entries.insert(above.clone(), Entry::directory(meta));
                    self.implied.insert(above.clone());
                    missing.push(above);
                }
            }
        }
        Ok(missing)
    }

    pub fn has_directory(&self, place: &TreePath) -> bool {
        place.is_root() || self.entries.get(place).is_some_and(Entry::is_directory)
    }

    /// Whether an earlier file at this place has to go from the host's directory. The later one wins,
    /// as two names become one behind an alias.
    pub fn replaces_file(&mut self, place: &TreePath, kind: FileType) -> Result<bool, Error> {
        let Some(earlier) = self.entries.get(place) else { return Ok(false) };
        let linked = self.linked.contains_key(place) || matches!(earlier.kind, Kind::HardLink(_));
        match (earlier.is_directory(), kind == FileType::Directory) {
            (true, true) => Ok(false),
            (false, false) if !linked => {
                let on_disk = matches!(earlier.kind, Kind::File(_) | Kind::Symlink(_));
                self.entries.remove(place);
                self.owners.remove(place);
                Ok(on_disk)
            }
            _ => Err(self.failure.damaged(format!("it ships {place} twice, in ways that exclude each other"))),
        }
    }

    fn insert(&mut self, place: TreePath, kind: Kind, file: &PackagedFile) -> Result<(), Error> {
        let mut meta = Meta::root_owned(file.mode, Time::seconds(i64::from(file.mtime)));
        if matches!(kind, Kind::Symlink(_)) {
            meta.mode = 0o777;
        }
        if !file.capabilities.is_empty() && matches!(kind, Kind::File(_)) {
            let value = capabilities::attribute(&file.capabilities).ok_or_else(|| {
                self.failure.damaged(format!("{place} has the capabilities {:?}, which are none", file.capabilities))
            })?;
            meta.xattrs.insert(b"security.capability".as_slice().into(), value.as_slice().into());
        }
        let named = |name: &str| !matches!(name, "" | "root");
        if named(&file.user) || named(&file.group) {
            let owner = Owner { user: file.user.as_bytes().into(), group: file.group.as_bytes().into() };
            self.owners.insert(place.clone(), owner);
        }
        self.implied.remove(&place);
        self.entries.insert(place, Entry { kind, meta });
        Ok(())
    }

    pub fn directory(&mut self, place: TreePath, file: &PackagedFile) -> Result<(), Error> {
        self.insert(place, Kind::Directory, file)
    }

    /// A file, with what is said of it by `meta`, which is another of its names or itself.
    pub fn file(&mut self, place: TreePath, meta: &PackagedFile, content: Content) -> Result<(), Error> {
        self.insert(place, Kind::File(content), meta)
    }

    /// Another name of a file that was laid.
    pub fn hard_link(&mut self, place: TreePath, first: &TreePath) {
        let entry = Entry { kind: Kind::HardLink(first.clone()), meta: Meta::default() };
        self.implied.remove(&place);
        self.entries.insert(place.clone(), entry);
        self.linked.entry(first.clone()).or_default().push(place);
    }

    pub fn symlink(&mut self, place: TreePath, file: &PackagedFile) -> Result<(), Error> {
        self.insert(place, Kind::Symlink(file.target.clone()), file)
    }

    pub fn special(&mut self, place: TreePath, file: &PackagedFile) -> Result<(), Error> {
        // 16 bits hold a major and a minor number of eight bits each (rpm, docs/manual/tags.md).
        let [major, minor] = file.device.to_be_bytes().map(u32::from);
        let kind = match file.kind {
            FileType::CharDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Socket => Kind::Socket,
            _ => Kind::Fifo,
        };
        self.insert(place, kind, file)
    }

    /// The times that directories get once nothing is added to them any more, children first.
    pub fn directory_times(&self) -> impl Iterator<Item = (&TreePath, Time)> {
        let directories = self.entries.iter().rev().filter(|(_, entry)| entry.is_directory());
        directories.map(|(path, entry)| (path, entry.meta.mtime))
    }

    /// The finished entries. Of the names of one file the first by path holds the content.
    pub fn finish(mut self) -> Finished {
        for (first, names) in std::mem::take(&mut self.linked) {
            let Some(file) = self.entries.get(&first).cloned() else { continue };
            let lowest = names.iter().chain([&first]).min().unwrap_or(&first).clone();
            for name in names.iter().chain([&first]).filter(|name| **name != lowest) {
                let entry = Entry { kind: Kind::HardLink(lowest.clone()), meta: file.meta.clone() };
                self.entries.insert(name.clone(), entry);
            }
            if let Some(owner) = self.owners.remove(&first) {
                self.owners.insert(lowest.clone(), owner);
            }
            self.entries.insert(lowest, file);
        }
        (self.entries.into_iter().collect(), self.owners, self.implied)
    }
}
