//! A directory of the host that a package is extracted into, and that nothing gets out of: every
//! path is opened beneath it without following a link (openat2(2)).

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use layers::{Blake3, Content, Time, TreePath};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::FileError;

/// Permission bits of a directory in the store; the true ones are in the entries.
const DIRECTORY_MODE: u32 = 0o755;

/// The directory.
pub(crate) struct Destination {
    path: PathBuf,
    root: OwnedFd,
    /// The directory last written to: archives keep a directory's files together.
    recent: Option<(TreePath, OwnedFd)>,
}

impl Destination {
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty());
        let root = root.map_err(|error| FileError { verb: "open", path: path.into(), source: error.into() })?;
        Ok(Self { path: path.into(), root, recent: None })
    }

    fn failed(&self, verb: &'static str, place: &TreePath) -> impl Fn(Errno) -> FileError + use<> {
        let path = place.under(&self.path);
        move |error| FileError { verb, path: path.clone(), source: error.into() }
    }

    fn open_directory(&self, place: &TreePath) -> Result<OwnedFd, FileError> {
        let name = if place.is_root() { OsStr::new(".") } else { OsStr::from_bytes(place.as_bytes()) };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.root, name, flags, Mode::empty(), resolve) {
                // The kernel asks for another try when a rename elsewhere raced with it.
                Err(Errno::AGAIN) => continue,
                // Older kernels, and the filters of older containers.
                Err(Errno::NOSYS | Errno::PERM) => return self.walk_to(place),
                result => return result.map_err(self.failed("open directory", place)),
            }
        }
    }

    /// Opens a directory name by name, following no link on the way.
    fn walk_to(&self, place: &TreePath) -> Result<OwnedFd, FileError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let failed = self.failed("open directory", place);
        let mut reached = rustix::fs::openat(&self.root, ".", flags, Mode::empty()).map_err(&failed)?;
        for name in place.components() {
            let next = rustix::fs::openat(&reached, OsStr::from_bytes(name), flags, Mode::empty());
            reached = next.map_err(&failed)?;
        }
        Ok(reached)
    }

    /// The directory that holds a path, opened.
    fn parent(&mut self, place: &TreePath) -> Result<&OwnedFd, FileError> {
        let parent = place.parent().unwrap_or_default();
        let fresh = match &self.recent {
            Some((path, _)) if *path == parent => None,
            _ => Some(self.open_directory(&parent)?),
        };
        if let Some(directory) = fresh {
            return Ok(&self.recent.insert((parent, directory)).1);
        }
        Ok(self.recent.as_ref().map_or(&self.root, |(_, directory)| directory))
    }

    pub fn directory(&mut self, place: &TreePath) -> Result<(), FileError> {
        if place.is_root() {
            return Ok(());
        }
        let failed = self.failed("create directory", place);
        let name = OsStr::from_bytes(place.name());
        let parent = self.parent(place)?;
        let mode = Mode::from_raw_mode(DIRECTORY_MODE);
        rustix::fs::mkdirat(parent, name, mode).map_err(&failed)?;
        // The mask of the process took bits away.
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).map_err(&failed)
    }

    /// Writes a file: `body` hands on its bytes part by part. The host's file gets the permission
    /// bits of the mode and at least 0600.
    pub fn file<E: From<FileError>>(
        &mut self,
        place: &TreePath,
        mode: u32,
        seconds: i64,
        body: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E>,
    ) -> Result<Content, E> {
        let failed = self.failed("write", place);
        let mode = Mode::from_raw_mode(mode & 0o777 | 0o600);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(self.parent(place)?, OsStr::from_bytes(place.name()), flags, mode).map_err(&failed)?;
        let mut file = File::from(fd);
        let mut blake3 = blake3::Hasher::new();
        let mut size = 0u64;
        let path = place.under(&self.path);
        body(&mut |part| {
            blake3.update(part);
            size += part.len() as u64;
            Ok(file.write_all(part).map_err(FileError::on("write", &path))?)
        })?;
        rustix::fs::fchmod(&file, mode).map_err(&failed)?;
        rustix::fs::futimens(&file, &timestamps(seconds)).map_err(&failed)?;
        Ok(Content { digest: Blake3(*blake3.finalize().as_bytes()), size })
    }

    pub fn symlink(&mut self, place: &TreePath, target: &[u8], seconds: i64) -> Result<(), FileError> {
        let failed = self.failed("create symbolic link", place);
        let name = OsStr::from_bytes(place.name());
        let parent = self.parent(place)?;
        rustix::fs::symlinkat(OsStr::from_bytes(target), parent, name).map_err(&failed)?;
        rustix::fs::utimensat(parent, name, &timestamps(seconds), AtFlags::SYMLINK_NOFOLLOW).map_err(&failed)
    }

    pub fn hard_link(&mut self, first: &TreePath, place: &TreePath) -> Result<(), FileError> {
        let failed = self.failed("create hard link", place);
        let from = self.open_directory(&first.parent().unwrap_or_default())?;
        let to = self.parent(place)?;
        let names = (OsStr::from_bytes(first.name()), OsStr::from_bytes(place.name()));
        rustix::fs::linkat(&from, names.0, to, names.1, AtFlags::empty()).map_err(&failed)
    }

    pub fn remove(&mut self, place: &TreePath) -> Result<(), FileError> {
        let failed = self.failed("remove", place);
        rustix::fs::unlinkat(self.parent(place)?, OsStr::from_bytes(place.name()), AtFlags::empty()).map_err(&failed)
    }

    /// Sets the times of directories, which changed while they were filled.
    pub fn finish<'t>(&mut self, times: impl Iterator<Item = (&'t TreePath, Time)>) -> Result<(), FileError> {
        for (place, time) in times {
            let directory = self.open_directory(place)?;
            rustix::fs::futimens(&directory, &timestamps(time.seconds))
                .map_err(self.failed("set the time of", place))?;
        }
        Ok(())
    }
}

fn timestamps(seconds: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
    }
}
