//! Artifacts under their final names: all of a file or nothing, never over another unasked.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::error::{Error, Kind};

/// Where artifacts go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The directory; made when needed.
    pub directory: PathBuf,
    /// Whether a file of the same name may be replaced.
    pub force: bool,
}

/// A file without a name, in the directory of its future one: a killed build leaves nothing.
#[derive(Debug)]
pub struct Pending {
    file: File,
    path: PathBuf,
    force: bool,
}

impl Target {
    /// Refuses early what would fail at the end of a long build.
    ///
    /// # Errors
    /// The directory cannot be made or written; a file is in the way.
    pub fn prepare(&self, names: &[String]) -> Result<(), Error> {
        fs::create_dir_all(&self.directory)
            .map_err(|source| denied("create the output directory", &self.directory, source))?;
        for name in names {
            let path = self.directory.join(name);
            if !self.force && path.symlink_metadata().is_ok() {
                return Err(exists(&path));
            }
        }
        // Also tells whether the directory can be written to.
        self.begin("probe").map(drop)
    }

    /// Begins an artifact.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn begin(&self, name: &str) -> Result<Pending, Error> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open(&self.directory, flags, Mode::from_raw_mode(0o644))
            .map_err(|source| denied("write to the output directory", &self.directory, source.into()))?;
        Ok(Pending { file: file.into(), path: self.directory.join(name), force: self.force })
    }
}

fn denied(action: &str, path: &Path, source: std::io::Error) -> Error {
    let hint = match source.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "name a directory that you can write to with --output-dir"
        }
        std::io::ErrorKind::Unsupported => "the file system lacks O_TMPFILE; name another with --output-dir",
        _ => "",
    };
    let error = Error::io(Kind::Build, action, path, source);
    if hint.is_empty() { error } else { error.hint(hint) }
}

fn exists(path: &Path) -> Error {
    Error::build(format!("failed to write {}: it exists already", path.display()))
        .hint("--force overwrites it, --output-dir names another directory")
}

impl Pending {
    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Another handle of the open file, for a writer that takes one.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn handle(&self) -> Result<File, Error> {
        self.file.try_clone().map_err(|source| Error::io(Kind::Build, "open again", &self.path, source))
    }

    /// The path that it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a small artifact whole.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|source| full(&self.path, source))
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// A file is in the way and may not be replaced; I/O errors.
    pub fn publish(self) -> Result<PathBuf, Error> {
        self.file.sync_data().map_err(|source| full(&self.path, source))?;
        let fd = self.file.as_fd();
        let link = |to: &Path| {
            use std::os::fd::AsRawFd;
            let magic = format!("/proc/self/fd/{}", fd.as_raw_fd());
            rustix::fs::linkat(CWD, magic.as_str(), CWD, to, AtFlags::SYMLINK_FOLLOW)
        };
        match link(&self.path) {
            Ok(()) => Ok(self.path),
            Err(rustix::io::Errno::EXIST) if self.force => {
                // A name of this process only, replaced within the same moment.
                let mut name = std::ffi::OsString::from(".");
                name.push(self.path.file_name().unwrap_or_default());
                name.push(format!(".{}", std::process::id()));
                let beside = self.path.with_file_name(name);
                let _ = fs::remove_file(&beside);
                link(&beside).map_err(|source| denied("write", &beside, source.into()))?;
                fs::rename(&beside, &self.path).map_err(|source| denied("rename to", &self.path, source))?;
                Ok(self.path)
            }
            Err(rustix::io::Errno::EXIST) => Err(exists(&self.path)),
            Err(source) => Err(denied("write", &self.path, source.into())),
        }
    }
}

/// An I/O error while writing, told as what it is.
pub fn full(path: &Path, source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::StorageFull {
        return Error::io(Kind::Build, "write: Insufficient disk space for", path, source)
            .hint("free some space, or name another directory with --output-dir");
    }
    Error::io(Kind::Build, "write", path, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten_unasked_and_nothing_is_left_behind() {
        let home = tempfile::tempdir().unwrap();
        let mut target = Target { directory: home.path().join("out"), force: false };
        target.prepare(&["a".into()]).unwrap();
        let begin = |target: &Target, text: &[u8]| {
            let mut pending = target.begin("a").unwrap();
            pending.write(text).unwrap();
            pending
        };
        drop(begin(&target, b"never published"));
        assert_eq!(fs::read_dir(&target.directory).unwrap().count(), 0);
        begin(&target, b"one").publish().unwrap();
        assert!(target.prepare(&["a".into()]).is_err());
        assert!(begin(&target, b"two").publish().is_err());
        target.force = true;
        begin(&target, b"three").publish().unwrap();
        assert_eq!(fs::read(target.directory.join("a")).unwrap(), b"three");
        assert_eq!(fs::read_dir(&target.directory).unwrap().count(), 1);
    }
}
