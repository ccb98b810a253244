//! Laying a package's files, one after the other, as the archive brings them.

use std::collections::BTreeMap;

use layers::{Content, TreePath};
use pgp::crypto::hash::HashAlgorithm;

use super::cpio::{Archive, Member};
use super::list::{FileType, List, PackagedFile};
use super::plan::{Finished, Plan};
use crate::rpm::file::{Error, Failure, algorithm};
use crate::unpack::{Aliases, Destination};

/// Longest target of a symbolic link, in bytes (Linux, `PATH_MAX`).
const TARGET_BYTES_MAX: u64 = 4096;

/// Names of one file.
#[derive(Default)]
struct Group {
    /// Numbers of its names, ascending.
    names: Vec<usize>,
    /// Where it was laid.
    laid: Option<TreePath>,
    /// Names that came before the content.
    waiting: Vec<TreePath>,
}

/// A package's files on their way into a directory.
pub(super) struct Layer<'a> {
    files: &'a [PackagedFile],
    algorithm: Option<HashAlgorithm>,
    by_path: BTreeMap<&'a [u8], usize>,
    groups: BTreeMap<(u32, u32), Group>,
    seen: Vec<bool>,
    plan: Plan<'a>,
    target: Destination,
    failure: Failure<'a>,
}

impl<'a> Layer<'a> {
    pub fn new(list: &'a List, aliases: &'a Aliases, target: Destination, failure: Failure<'a>) -> Result<Self, Error> {
        let mut by_path = BTreeMap::new();
        let mut groups: BTreeMap<(u32, u32), Group> = BTreeMap::new();
        for (number, file) in list.files.iter().enumerate() {
            if by_path.insert(&*file.path, number).is_some() {
                return Err(failure.damaged(format!("it lists {} twice", file.path.escape_ascii())));
            }
            // rpm, lib/rpmfi.c, `rpmfilesBuildNLink`
            if file.kind == FileType::Regular && !file.flags.is_ghost() && file.identity.1 != 0 {
                groups.entry(file.identity).or_default().names.push(number);
            }
        }
        groups.retain(|_, group| group.names.len() > 1);
        let algorithm = algorithm(list.algorithm);
        if algorithm.is_none() && list.files.iter().any(|file| !file.digest.is_empty()) {
            return Err(failure.damaged(format!("its files have digests of the unknown kind {}", list.algorithm)));
        }
        let seen = vec![false; list.files.len()];
        Ok(Self {
            files: &list.files,
            algorithm,
            by_path,
            groups,
            seen,
            plan: Plan::new(aliases, failure),
            target,
            failure,
        })
    }

    /// Lays the file that a header of the archive is about.
    pub fn add(&mut self, member: Member, archive: &mut Archive<'_>) -> Result<(), Error> {
        let (number, size) = match member {
            Member::Named(name, size) => {
                // rpm writes "./usr/bin/x", and "/usr/bin/x" long ago.
                let name = name.strip_prefix(b".").filter(|rest| rest.starts_with(b"/")).unwrap_or(&name);
                let number = self.by_path.get(name).copied();
                (number.ok_or_else(|| self.strange(&name.escape_ascii().to_string()))?, Some(size))
            }
            Member::Numbered(number) => (number, None),
        };
        let files = self.files;
        let file = files.get(number).ok_or_else(|| self.strange(&format!("the file number {number}")))?;
        match self.seen.get_mut(number) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(self.failure.damaged(format!("its payload has {} twice", file.place))),
        }
        let size = size.unwrap_or_else(|| self.expected_size(number, file));
        if file.flags.is_ghost() {
            if size > file.size {
                return Err(self.lie(file, size));
            }
            return archive.body(size, |_| Ok(()));
        }
        match self.plan.place(file)? {
            Some(place) => self.lay(place, file, size, archive),
            None => self.read_target(file, size, archive),
        }
    }

    fn strange(&self, what: &str) -> Error {
        self.failure.damaged(format!("its payload has {what}, which its header does not have"))
    }

    fn lie(&self, file: &PackagedFile, size: u64) -> Error {
        self.failure.damaged(format!("{} has {size} bytes in its payload, not {}", file.place, file.size))
    }

    fn no_body(&self, file: &PackagedFile, size: u64) -> Result<(), Error> {
        if size == 0 { Ok(()) } else { Err(self.failure.damaged(format!("{} is no file but has content", file.place))) }
    }

    /// The bytes that follow a header without a size (rpm, lib/rpmfi.c, `iterReadArchiveNext`): of the
    /// names of one file the last has the content.
    fn expected_size(&self, number: usize, file: &PackagedFile) -> u64 {
        match file.kind {
            FileType::Regular => match self.groups.get(&file.identity) {
                Some(group) if group.names.contains(&number) && group.names.last() != Some(&number) => 0,
                _ => file.size,
            },
            FileType::Symlink => file.size,
            _ => 0,
        }
    }

    fn make_parents(&mut self, place: &TreePath) -> Result<(), Error> {
        for parent in self.plan.missing_parents(place)? {
            self.target.directory(&parent)?;
        }
        Ok(())
    }

    fn lay(&mut self, place: TreePath, file: &PackagedFile, size: u64, archive: &mut Archive<'_>) -> Result<(), Error> {
        self.make_parents(&place)?;
        if self.plan.replaces_file(&place, file.kind)? {
            self.target.remove(&place)?;
        }
        match file.kind {
            FileType::Directory => {
                self.no_body(file, size)?;
                if !self.plan.has_directory(&place) {
                    self.target.directory(&place)?;
                }
                self.plan.directory(place, file)
            }
            FileType::Symlink => {
                self.read_target(file, size, archive)?;
                self.target.symlink(&place, &file.target, i64::from(file.mtime))?;
                self.plan.symlink(place, file)
            }
            FileType::Regular => match self.groups.remove(&file.identity).filter(|group| !group.names.is_empty()) {
                Some(mut group) if !file.flags.is_ghost() => {
                    let result = self.lay_name(&mut group, place, file, size, archive);
                    self.groups.insert(file.identity, group);
                    result
                }
                _ if size != file.size => Err(self.lie(file, size)),
                _ => {
                    let content = self.write(&place, file, file, archive)?;
                    self.plan.file(place, file, content)
                }
            },
            FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket => {
                self.no_body(file, size)?;
                self.plan.special(place, file)
            }
        }
    }

    /// Lays one of several names of a file: the content comes with one of them.
    fn lay_name(
        &mut self,
        group: &mut Group,
        place: TreePath,
        file: &PackagedFile,
        size: u64,
        archive: &mut Archive<'_>,
    ) -> Result<(), Error> {
        if let Some(first) = &group.laid {
            if size != 0 {
                return Err(self.failure.damaged(format!("{place} brings the content of {first} again")));
            }
            self.target.hard_link(first, &place)?;
            self.plan.hard_link(place, first);
            return Ok(());
        }
        if size == 0 && file.size != 0 {
            group.waiting.push(place);
            return Ok(());
        }
        if size != file.size {
            return Err(self.lie(file, size));
        }
        // rpm sets mode, owner and times with the last of the names.
        let last = group.names.last().and_then(|number| self.files.get(*number)).unwrap_or(file);
        let same = |number: &usize| {
            self.files.get(*number).is_some_and(|other| other.size == file.size && other.digest == file.digest)
        };
        if !group.names.iter().all(same) {
            return Err(self.failure.damaged(format!("names of the file {place} differ in its content")));
        }
        let content = self.write(&place, file, last, archive)?;
        self.plan.file(place.clone(), last, content)?;
        for name in group.waiting.drain(..) {
            if name == place {
                continue;
            }
            self.target.hard_link(&place, &name)?;
            self.plan.hard_link(name, &place);
        }
        group.laid = Some(place);
        Ok(())
    }

    /// Writes a file's content and checks its digest.
    fn write(
        &mut self,
        place: &TreePath,
        file: &PackagedFile,
        meta: &PackagedFile,
        archive: &mut Archive<'_>,
    ) -> Result<Content, Error> {
        let failure = self.failure;
        let mut hasher = match self.algorithm.filter(|_| !file.digest.is_empty()) {
            Some(algorithm) => Some(algorithm.new_hasher().map_err(|error| failure.damaged(error))?),
            None => None,
        };
        let content = self.target.file(place, meta.mode, i64::from(meta.mtime), |write| {
            archive.body(file.size, |part| {
                if let Some(hasher) = &mut hasher {
                    hasher.update(part);
                }
                write(part)
            })
        })?;
        match hasher.map(|hasher| hasher.finalize()) {
            Some(digest) if *digest != *file.digest => {
                Err(failure.altered(format!("{place} does not have the digest that the header states")))
            }
            _ => Ok(content),
        }
    }

    /// Reads the body of a symbolic link, which must be what the header says.
    fn read_target(&self, file: &PackagedFile, size: u64, archive: &mut Archive<'_>) -> Result<(), Error> {
        if size > TARGET_BYTES_MAX || file.target.is_empty() {
            return Err(self.failure.damaged(format!("the symbolic link {} has no usable target", file.place)));
        }
        let mut target = Vec::new();
        archive.body(size, |part| {
            target.extend_from_slice(part);
            Ok(())
        })?;
        // rpm, lib/rpmfi.c, `rpmfiArchiveWriteFile`: the target, without or with its NUL.
        match target.strip_suffix(b"\0").unwrap_or(&target) == &*file.target {
            true => Ok(()),
            false => {
                Err(self.failure.damaged(format!("the symbolic link {} leads elsewhere in its payload", file.place)))
            }
        }
    }

    /// Checks that nothing is missing, sets the times of directories, and gives what was laid.
    pub fn finish(mut self) -> Result<Finished, Error> {
        let missing = self.files.iter().zip(&self.seen).find(|(file, seen)| !**seen && !file.flags.is_ghost());
        if let Some((file, _)) = missing {
            return Err(self.failure.damaged(format!("its payload lacks {}", file.place)));
        }
        if let Some(name) = self.groups.values().find_map(|group| group.waiting.first()) {
            return Err(self.failure.damaged(format!("its payload lacks the content of {name}")));
        }
        self.target.finish(self.plan.directory_times())?;
        Ok(self.plan.finish())
    }
}
