//! The entries of a package as they are found in its archive: real paths, parents, hard links.

use std::collections::{BTreeMap, BTreeSet};

use layers::{Content, Entry, Kind, Meta, Time, TreePath};

use super::tarball::{Form, Head};
use super::{Aliases, Failure, Owner};
use crate::deb::Error;

/// Most entries in one package. The largest in Debian have some 60,000.
const ENTRIES_MAX: usize = 2_000_000;
/// Most bytes of paths and targets in one package: bounds memory on hostile input.
const NAMES_BYTES_MAX: usize = 256 << 20;

/// The name under which dpkg lists an entry: a leading slash, no slash at the end, `/.` for the
/// root.
pub(super) fn listed_name(path: &[u8]) -> Vec<u8> {
    let path = path.strip_prefix(b".").filter(|rest| rest.is_empty() || rest.starts_with(b"/")).unwrap_or(path);
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |at| at + 1);
    let start = path[..end].iter().position(|&byte| byte != b'/').unwrap_or(end);
    if start == end {
        return b"/.".to_vec();
    }
    [b"/", &path[start..end]].concat()
}

pub(super) struct Plan<'a> {
    aliases: &'a Aliases,
    failure: Failure<'a>,
    entries: BTreeMap<TreePath, Entry>,
    owners: BTreeMap<TreePath, Owner>,
    implied: BTreeSet<TreePath>,
    listed: Vec<Vec<u8>>,
    /// Hard links by path, with the file that they name.
    links: BTreeMap<TreePath, TreePath>,
    names_bytes: usize,
}

type Finished = (Vec<(TreePath, Entry)>, BTreeMap<TreePath, Owner>, BTreeSet<TreePath>, Vec<Vec<u8>>);

impl<'a> Plan<'a> {
    pub fn new(aliases: &'a Aliases, failure: Failure<'a>) -> Self {
        Self {
            aliases,
            failure,
            entries: BTreeMap::new(),
            owners: BTreeMap::new(),
            implied: BTreeSet::new(),
            listed: Vec::new(),
            links: BTreeMap::new(),
            names_bytes: 0,
        }
    }

    /// Where an entry belongs; `None` when nothing is to be laid (a link that an alias makes
    /// needless).
    pub fn place(&mut self, head: &Head) -> Result<Option<TreePath>, Error> {
        let shown = head.path.escape_ascii();
        // A line each in info/PACKAGE.list: dpkg refuses such names too.
        if head.path.contains(&b'\n') {
            return Err(self.failure.refuse(format!("the name {shown} contains a newline")));
        }
        if head.path.is_empty() {
            return Err(self.failure.refuse("it has an entry without a name"));
        }
        if head.path.starts_with(b"/") {
            return Err(self.failure.refuse(format!("the path {shown} is absolute")));
        }
        self.names_bytes = self.names_bytes.saturating_add(head.path.len() * 2 + head.link.len());
        if self.listed.len() >= ENTRIES_MAX || self.names_bytes > NAMES_BYTES_MAX {
            return Err(self.failure.refuse("it has more entries than any package"));
        }
        let path = TreePath::new(&head.path).map_err(|error| self.failure.path(error))?;
        self.listed.push(listed_name(&head.path));
        let real = self.aliases.canonical(&path).map_err(|error| self.failure.path(error))?;
        if let Some((_, target)) = self.aliases.iter().find(|(alias, _)| **alias == real) {
            return match head.form {
                Form::Directory => Ok(Some(target.clone())),
                Form::Symlink => Ok(Some(real)),
                _ => Err(self.failure.refuse(format!("it ships {shown} as something that is no directory"))),
            };
        }
        // A compatibility link such as /bin/x -> /usr/bin/x leads to itself in a merged /usr.
        let needless = head.form == Form::Symlink && path != real && self.leads_to(&path, &head.link, &real);
        Ok((!needless).then_some(real))
    }

    fn leads_to(&self, path: &TreePath, link: &[u8], real: &TreePath) -> bool {
        let mut target = match link.starts_with(b"/") {
            true => TreePath::root(),
            false => path.parent().unwrap_or_default(),
        };
        for name in link.split(|&byte| byte == b'/') {
            match name {
                b".." => target = target.parent().unwrap_or_default(),
                name => match target.join(name) {
                    Ok(next) => target = next,
                    Err(_) => return false,
                },
            }
        }
        self.aliases.canonical(&target).is_ok_and(|target| target == *real)
    }

    /// Notes the directories above a path that the archive did not have, and gives them from the
    /// top down.
    pub fn missing_parents(&mut self, place: &TreePath) -> Result<Vec<TreePath>, Error> {
        let mut missing = Vec::new();
        for above in place.ancestors() {
            match self.entries.get(&above) {
                Some(entry) if entry.is_directory() => {}
                Some(_) => {
                    return Err(self.failure.refuse(format!("{place} lies below {above}, which is no directory")));
                }
                None if above.is_root() => {}
                None => {
                    self.entries.insert(above.clone(), Entry::directory(Meta::root_owned(0o755, Time::default())));
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

    /// Whether an earlier entry at this path has to go. dpkg lets the later one win.
    pub fn replaces_file(&mut self, place: &TreePath, head: &Head) -> Result<bool, Error> {
        let Some(earlier) = self.entries.get(place) else { return Ok(false) };
        match (earlier.is_directory(), head.form == Form::Directory) {
            (true, true) => Ok(false),
            (false, false) if !self.links.values().any(|first| first == place) => {
                let on_disk = !matches!(earlier.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo);
                self.entries.remove(place);
                self.owners.remove(place);
                self.links.remove(place);
                Ok(on_disk)
            }
            _ => Err(self.failure.refuse(format!("it ships {place} twice, in ways that exclude each other"))),
        }
    }

    fn meta(&self, head: &Head) -> Result<Meta, Error> {
        let id = |number: u64| {
            u32::try_from(number)
                .map_err(|_| self.failure.refuse(format!("{} has the owner {number}", head.path.escape_ascii())))
        };
        let xattrs = head.xattrs.iter().map(|(name, value)| (name.as_slice().into(), value.as_slice().into()));
        Ok(Meta {
            mode: head.mode,
            uid: id(head.uid)?,
            gid: id(head.gid)?,
            mtime: Time::seconds(head.seconds),
            xattrs: xattrs.collect(),
        })
    }

    fn insert(&mut self, place: TreePath, kind: Kind, head: &Head) -> Result<(), Error> {
        let mut meta = self.meta(head)?;
        if matches!(kind, Kind::Symlink(_)) {
            meta.mode = 0o777;
        }
        let named = |name: &[u8]| !matches!(name, b"" | b"root");
        if named(&head.user) || named(&head.group) {
            let owner = Owner { user: head.user.as_slice().into(), group: head.group.as_slice().into() };
            self.owners.insert(place.clone(), owner);
        }
        self.implied.remove(&place);
        self.entries.insert(place, Entry { kind, meta });
        Ok(())
    }

    pub fn directory(&mut self, place: TreePath, head: &Head) -> Result<(), Error> {
        // An alias shipped as a directory says little of the real one: any word on that wins.
        let under_alias = TreePath::new(&head.path).is_ok_and(|path| path != place);
        if under_alias && self.entries.contains_key(&place) && !self.implied.contains(&place) {
            return Ok(());
        }
        self.insert(place.clone(), Kind::Directory, head)?;
        if under_alias {
            let path = TreePath::new(&head.path).map_err(|error| self.failure.path(error))?;
            if self.aliases.iter().any(|(alias, _)| *alias == path) {
                self.implied.insert(place);
            }
        }
        Ok(())
    }

    pub fn file(&mut self, place: TreePath, head: &Head, content: Content) -> Result<(), Error> {
        self.insert(place, Kind::File(content), head)
    }

    pub fn symlink(&mut self, place: TreePath, head: &Head) -> Result<(), Error> {
        if head.link.is_empty() || head.link.contains(&0) {
            return Err(self.failure.refuse(format!("the symbolic link {place} has no usable target")));
        }
        self.insert(place, Kind::Symlink(head.link.as_slice().into()), head)
    }

    /// Notes a hard link and gives the file that it names.
    pub fn hard_link(&mut self, place: TreePath, head: &Head) -> Result<TreePath, Error> {
        let target = TreePath::new(&head.link).and_then(|target| self.aliases.canonical(&target));
        let target = target.map_err(|error| self.failure.path(error))?;
        let first = self.links.get(&target).unwrap_or(&target).clone();
        if !matches!(self.entries.get(&first), Some(Entry { kind: Kind::File(_), .. })) || first == place {
            return Err(self
                .failure
                .refuse(format!("the hard link {place} leads to {target}, which is no earlier file")));
        }
        self.insert(place.clone(), Kind::HardLink(first.clone()), head)?;
        self.owners.remove(&place);
        self.links.insert(place, first.clone());
        Ok(first)
    }

    pub fn special(&mut self, place: TreePath, head: &Head) -> Result<(), Error> {
        let kind = match head.form {
            Form::CharDevice(major, minor) => Kind::CharDevice { major, minor },
            Form::BlockDevice(major, minor) => Kind::BlockDevice { major, minor },
            _ => Kind::Fifo,
        };
        self.insert(place, kind, head)
    }

    /// The times that directories get once nothing is added to them any more, children first.
    pub fn directory_times(&self) -> impl Iterator<Item = (&TreePath, Time)> {
        let directories = self.entries.iter().rev().filter(|(_, entry)| entry.is_directory());
        directories.map(|(path, entry)| (path, entry.meta.mtime))
    }

    /// The finished entries. Of the names of one file the first by path holds the content.
    pub fn finish(mut self) -> Result<Finished, Error> {
        let mut groups: BTreeMap<TreePath, Vec<TreePath>> = BTreeMap::new();
        for (link, first) in std::mem::take(&mut self.links) {
            groups.entry(first).or_default().push(link);
        }
        for (first, names) in groups {
            let Some(lowest) = names.iter().min().filter(|lowest| **lowest < first).cloned() else { continue };
            let Some(file) = self.entries.remove(&first) else { continue };
            for name in names.iter().filter(|name| **name != lowest).chain([&first]) {
                let entry = Entry { kind: Kind::HardLink(lowest.clone()), meta: file.meta.clone() };
                self.entries.insert(name.clone(), entry);
            }
            if let Some(owner) = self.owners.remove(&first) {
                self.owners.insert(lowest.clone(), owner);
            }
            self.entries.insert(lowest, file);
        }
        // dpkg begins every list with the root, whether or not the archive has it.
        if self.listed.first().is_none_or(|first| first != b"/.") {
            self.listed.insert(0, b"/.".to_vec());
        }
        Ok((self.entries.into_iter().collect(), self.owners, self.implied, self.listed))
    }
}
