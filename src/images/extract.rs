//! `extract`: files of an image into a directory, as an ordinary user takes them out of an archive.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use image::Sink;
use image::raw::RawFile;
use image::volume::{FileId, FileKind};
use layers::{Time, TreePath};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::list::pour;
use super::tree::{Mounted, Place, shown};
use crate::error::{Error, Kind, ResultExt};

/// What was taken out, and what could not be.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Extracted {
    /// Files, directories and links that were made.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Devices and sockets, which an ordinary user cannot make.
    pub left_out: Vec<String>,
}

/// Takes files out of a tree. Owners, devices and setuid bits are kept where the user is root.
struct Extracting<'t, 'a> {
    tree: &'t Mounted<'a>,
    directory: PathBuf,
    /// The directory, open: every path is looked up below it, and through no link.
    root: OwnedFd,
    is_root: bool,
    umask: u32,
    /// Files with several names, by part and number, with the first name.
    linked: BTreeMap<(u32, FileId), TreePath>,
    /// Modes and times of directories, which are set when nothing is put into them any more.
    directories: Vec<(TreePath, u32, Time)>,
    done: Extracted,
}

/// Puts a path of a tree, and everything below it, into a directory that is new or empty.
///
/// # Errors
/// The directory is neither; there is no such path; damage; a full disk.
pub fn extract(tree: &Mounted<'_>, paths: &[TreePath], directory: &Path) -> Result<Extracted, Error> {
    let io = |action: &'static str| move |source| Error::io(Kind::Other, action, directory, source);
    std::fs::create_dir_all(directory).map_err(io("make"))?;
    if std::fs::read_dir(directory).map_err(io("read"))?.next().is_some() {
        return Err(Error::other(format!("failed to extract into {}: it is not empty", directory.display()))
            .hint("name a directory that is empty, or not there yet, with --output-dir"));
    }
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let root = rustix::fs::open(directory, flags, Mode::empty()).map_err(|errno| io("open")(errno.into()))?;
    let mut extracting = Extracting {
        tree,
        directory: directory.to_owned(),
        root,
        is_root: rustix::process::geteuid().is_root(),
        umask: umask(),
        linked: BTreeMap::new(),
        directories: Vec::new(),
        done: Extracted::default(),
    };
    for path in paths {
        let from = tree.find(path, false)?;
        extracting.parents(&from.path)?;
        tree.walk(from, &mut |place| extracting.take(place))?;
    }
    extracting.finish()
}

/// The process's umask, which can only be read by setting it.
fn umask() -> u32 {
    let old = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(old);
    old.as_raw_mode()
}

impl Extracting<'_, '_> {
    fn failed<T>(&self, action: &'static str, path: &TreePath, result: Result<T, Errno>) -> Result<T, Error> {
        result.map_err(|errno| Error::io(Kind::Other, action, &path.under(&self.directory), errno.into()))
    }

    /// The directory that holds a path, open, and the path's last name.
    fn parent<'p>(&self, path: &'p TreePath) -> Result<(OwnedFd, &'p OsStr), Error> {
        let above = path.parent().unwrap_or_default();
        let name = if above.is_root() { b"." } else { above.as_bytes() };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        let opened = rustix::fs::openat2(&self.root, OsStr::from_bytes(name), flags, Mode::empty(), resolve);
        Ok((self.failed("open", &above, opened)?, OsStr::from_bytes(path.name())))
    }

    /// Makes the directories above a path that was asked for by itself.
    fn parents(&mut self, path: &TreePath) -> Result<(), Error> {
        for above in path.ancestors().filter(|above| !above.is_root()) {
            let (parent, name) = self.parent(&above)?;
            match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
                Err(Errno::EXIST) => {}
                made => self.failed("make", &above, made)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, place: &Place<'_>) -> Result<(), Error> {
        let path = &place.path;
        if path.is_root() {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        let first = (place.number, place.file.id);
        if place.file.kind != FileKind::Directory && place.file.links > 1 {
            if let Some(known) = self.linked.get(&first) {
                let (from, known_name) = self.parent(known)?;
                let linked = rustix::fs::linkat(from, known_name, &parent, name, AtFlags::empty());
                self.failed("link", path, linked)?;
                self.done.entries += 1;
                return Ok(());
            }
            self.linked.insert(first, path.clone());
        }
        match place.file.kind {
            FileKind::Directory => {
                // Open to its maker until everything is in it.
                match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
                    // Made on the way to another path, or named twice by the user.
                    Err(Errno::EXIST) => {}
                    made => self.failed("make", path, made)?,
                }
                self.directories.push((path.clone(), place.file.meta.mode, place.file.meta.mtime));
            }
            FileKind::File => self.file(place, &parent, name)?,
            FileKind::Symlink => {
                let target = place.target()?;
                let made = rustix::fs::symlinkat(OsStr::from_bytes(&target), &parent, name);
                self.failed("make", path, made)?;
            }
            FileKind::Fifo => {
                let kind = rustix::fs::FileType::Fifo;
                let made = rustix::fs::mknodat(&parent, name, kind, Mode::from_raw_mode(0o600), 0);
                self.failed("make", path, made)?;
            }
            FileKind::CharDevice(..) | FileKind::BlockDevice(..) | FileKind::Socket => {
                self.done.left_out.push(format!("/{}", shown(path)));
                return Ok(());
            }
        }
        self.done.entries += 1;
        if place.file.kind != FileKind::Directory {
            self.dress(place, &parent, name)?;
        }
        Ok(())
    }

    fn file(&mut self, place: &Place<'_>, parent: &OwnedFd, name: &OsStr) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600));
        let file = File::from(self.failed("create", &place.path, opened)?);
        let host = place.path.under(&self.directory);
        let writing = || format!("failed to write {}", host.display());
        // Holes stay holes.
        let mut out = RawFile::new(file, &host, place.file.size).or_fail(Kind::Other, writing)?;
        pour(place, &mut |at, bytes| out.data(at, bytes).or_fail(Kind::Other, writing))?;
        out.finish().or_fail(Kind::Other, writing)?;
        self.done.bytes += place.file.size;
        Ok(())
    }

    /// Owner, mode and time of what is no directory.
    fn dress(&self, place: &Place<'_>, parent: &OwnedFd, name: &OsStr) -> Result<(), Error> {
        let meta = &place.file.meta;
        if self.is_root {
            let owner = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
            let set = rustix::fs::chownat(parent, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW);
            self.failed("set the owner of", &place.path, set)?;
        }
        if place.file.kind != FileKind::Symlink {
            let set = rustix::fs::chmodat(parent, name, self.mode(meta.mode), AtFlags::empty());
            self.failed("set the mode of", &place.path, set)?;
        }
        let set = rustix::fs::utimensat(parent, name, &times(meta.mtime), AtFlags::SYMLINK_NOFOLLOW);
        self.failed("set the time of", &place.path, set)
    }

    /// What is left of a mode: nobody gets a setuid file of another owner's making.
    fn mode(&self, mode: u32) -> Mode {
        Mode::from_raw_mode(if self.is_root { mode & 0o7777 } else { mode & 0o777 & !self.umask })
    }

    fn finish(mut self) -> Result<Extracted, Error> {
        // The deepest first: the time of a directory changes with what is done in it.
        for (path, mode, time) in std::mem::take(&mut self.directories).into_iter().rev() {
            let (parent, name) = self.parent(&path)?;
            if self.is_root {
                let place = self.tree.find(&path, false)?;
                let (uid, gid) = (place.file.meta.uid, place.file.meta.gid);
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                let set = rustix::fs::chownat(&parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags);
                self.failed("set the owner of", &path, set)?;
            }
            let set = rustix::fs::chmodat(&parent, name, self.mode(mode), AtFlags::empty());
            self.failed("set the mode of", &path, set)?;
            let set = rustix::fs::utimensat(&parent, name, &times(time), AtFlags::SYMLINK_NOFOLLOW);
            self.failed("set the time of", &path, set)?;
        }
        Ok(self.done)
    }
}

fn times(time: Time) -> Timestamps {
    let last_modification = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification }
}
