//! The plain files of a layer on the host. Each is made where nothing was, below directories that
//! are real, so nothing leads out.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use layers::{Blake3, Content, Contents, Entry, Kind, Stack, Time, TreePath, make_parents, plain_mode};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::Error;
use crate::archive::{Members, Refusal, Source};
use crate::error::IoContext;

/// Bytes of a file that are read at once.
const COPY_BYTES: usize = 256 * 1024;

pub(super) struct Files<'f> {
    root: &'f Path,
    below: &'f Stack,
    buffer: Vec<u8>,
}

/// What went wrong while a file was made.
pub(super) enum Failed {
    Tar(Refusal),
    Host(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Tar(refusal)
    }
}

impl<'f> Files<'f> {
    pub(super) fn new(root: &'f Path, below: &'f Stack) -> Self {
        Self { root, below, buffer: vec![0; COPY_BYTES] }
    }

    pub(super) fn directory(&self, path: &TreePath) -> Result<(), Error> {
        let host = path.under(self.root);
        if path.is_root() || host.symlink_metadata().is_ok() {
            return Ok(());
        }
        make_parents(self.root, path, self.below.tree())?;
        fs::create_dir(&host).at("create directory", host)
    }

    /// Writes the body of the present member.
    pub(super) fn body<R: Source>(&mut self, path: &TreePath, members: &mut Members<R>) -> Result<Content, Failed> {
        make_parents(self.root, path, self.below.tree()).map_err(Error::from)?;
        let host = path.under(self.root);
        let mut file = File::create_new(&host).at("create", &host)?;
        let mut hasher = blake3::Hasher::new();
        let mut size = 0u64;
        loop {
            let count = members.read_body(&mut self.buffer)?;
            let Some(bytes) = self.buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            hasher.update(bytes);
            file.write_all(bytes).at("write", &host)?;
            size = size.saturating_add(bytes.len() as u64);
        }
        Ok(Content { digest: Blake3(*hasher.finalize().as_bytes()), size })
    }

    /// A file of the layers below, as a file of this one.
    pub(super) fn copy_up(&mut self, path: &TreePath, content: &Content) -> Result<(), Error> {
        make_parents(self.root, path, self.below.tree())?;
        let host = path.under(self.root);
        let mut file = File::create_new(&host).at("create", &host)?;
        let mut source = self.below.open(content)?.take(content.size);
        std::io::copy(&mut source, &mut file).map(drop).at("write", host)
    }

    pub(super) fn symlink(&self, path: &TreePath, target: &[u8]) -> Result<(), Error> {
        make_parents(self.root, path, self.below.tree())?;
        let host = path.under(self.root);
        std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), &host).at("create", host)
    }

    /// Another name, for what has plain files at all.
    pub(super) fn link(&self, path: &TreePath, first: &TreePath, kind: &Kind) -> Result<(), Error> {
        if !matches!(kind, Kind::File(_) | Kind::Symlink(_)) {
            return Ok(());
        }
        make_parents(self.root, path, self.below.tree())?;
        let (from, to) = (first.under(self.root), path.under(self.root));
        // Not std's: that one follows a symbolic link on some systems.
        rustix::fs::linkat(CWD, &from, CWD, &to, AtFlags::empty()).at("link to", to)
    }

    /// Gives what was made its modes and times: all at once at the end, when no directory is filled
    /// any more. `entries` come children first.
    pub(super) fn finish<'e>(&self, entries: impl Iterator<Item = (&'e TreePath, &'e Entry)>) -> Result<(), Error> {
        for (path, entry) in entries {
            let host = path.under(self.root);
            match entry.kind {
                Kind::File(_) | Kind::Directory => {
                    fs::set_permissions(&host, Permissions::from_mode(plain_mode(entry)))
                        .at("change the mode of", &host)?;
                }
                Kind::Symlink(_) => {}
                _ => continue,
            }
            let Time { seconds, nanoseconds } = entry.meta.mtime;
            let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
            let times = Timestamps { last_access: time.clone(), last_modification: time };
            // The index has the true time: a file system that cannot hold it is no reason to stop.
            let _ = utimensat(CWD, &host, &times, AtFlags::SYMLINK_NOFOLLOW);
        }
        Ok(())
    }
}
