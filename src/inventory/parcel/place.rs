//! The plain files of a layer, out of contents that are whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use layers::{Blake3, Change, Content, Entry, Kind, Layer, Meta, Time, make_parents, plain_mode};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::read::said;
use crate::error::{Error, Kind as ErrorKind, ResultExt};

/// Makes the plain files of a layer out of contents that are whole. Each is made where nothing was, below
/// directories that are real ([`Layer::check`] of both layers, [`make_parents`]), so nothing leads out.
pub(super) fn lay(layer: &Layer, besides: &Layer, kept: &Path, files: &Path) -> Result<(), Error> {
    let mut above = layers::Tree::default();
    for (path, change) in &besides.changes {
        if let Change::Set(entry) = change
            && entry.is_directory()
        {
            // Those that the layer itself has are made with it, before.
            let holder = path.parent().unwrap_or_default();
            above
                .create_directories(&holder, &Meta::root_owned(0o755, Time::default()))
                .or_fail(ErrorKind::Other, said)?;
            above.insert(path.clone(), entry.clone()).or_fail(ErrorKind::Other, said)?;
        }
    }
    let mut left: BTreeMap<Blake3, usize> = BTreeMap::new();
    for (_, content) in layer.files().chain(besides.files()) {
        let count = left.entry(content.digest).or_default();
        *count = count.saturating_add(1);
    }
    let mut later = Vec::new();
    for (path, change) in &layer.changes {
        let (Change::Set(entry) | Change::Replace(entry)) = change else { continue };
        make_parents(files, path, &above).or_fail(ErrorKind::Other, said)?;
        let host = path.under(files);
        let io = |source: std::io::Error| Error::io(ErrorKind::Other, "write", &host, source);
        match &entry.kind {
            Kind::Directory if path.is_root() => {}
            Kind::Directory => fs::create_dir(&host).map_err(io)?,
            Kind::Symlink(target) => {
                std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), &host).map_err(io)?;
            }
            Kind::File(content) => take(content, &mut left, kept, &host)?,
            Kind::HardLink(target) => {
                later.push((path, target));
                continue;
            }
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo | Kind::Socket => continue,
        }
    }
    for (path, target) in later {
        let (from, host) = (target.under(files), path.under(files));
        if let Some(Change::Set(entry)) = besides.changes.get(path)
            && let Kind::File(content) = &entry.kind
        {
            take(content, &mut left, kept, &host)?;
            let mode = fs::Permissions::from_mode(plain_mode(entry));
            fs::set_permissions(&host, mode)
                .map_err(|source| Error::io(ErrorKind::Other, "change the mode of", &host, source))?;
            continue;
        }
        let plain = matches!(
            layer.changes.get(target),
            Some(Change::Set(Entry { kind: Kind::File(_) | Kind::Symlink(_), .. }) | Change::Replace(_))
        );
        if plain {
            let linked = rustix::fs::linkat(CWD, &from, CWD, &host, AtFlags::empty());
            linked.map_err(|source| Error::io(ErrorKind::Other, "write", &host, source.into()))?;
        }
    }
    finish(layer, files)
}

/// Puts a content at its place. The last that wants it takes the file itself; no two share one, since scripts
/// write to them.
fn take(content: &Content, left: &mut BTreeMap<Blake3, usize>, kept: &Path, host: &Path) -> Result<(), Error> {
    let from = kept.join(content.digest.to_hex());
    let count = left.entry(content.digest).or_default();
    *count = count.saturating_sub(1);
    let taken = match count {
        0 => fs::rename(&from, host),
        _ => File::open(&from).and_then(|mut from| std::io::copy(&mut from, &mut File::create_new(host)?)).map(drop),
    };
    taken.map_err(|source| Error::io(ErrorKind::Other, "write", host, source))
}

/// Modes and times, the deepest first, when no directory is filled any more.
fn finish(layer: &Layer, files: &Path) -> Result<(), Error> {
    for (path, change) in layer.changes.iter().rev() {
        let (Change::Set(entry) | Change::Replace(entry)) = change else { continue };
        let host = path.under(files);
        match entry.kind {
            Kind::File(_) | Kind::Directory => {
                let mode = fs::Permissions::from_mode(plain_mode(entry));
                fs::set_permissions(&host, mode)
                    .map_err(|source| Error::io(ErrorKind::Other, "change the mode of", &host, source))?;
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
