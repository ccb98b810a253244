//! A package's layer made again, where what its unpacking does is not what its own layer shows:
//! files diverted, left out, owned by others, or laid through a link.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use layers::{Change, Entry, KeyBuilder, Kind, Layer, StoredLayer, Tree, TreePath, make_parents, plain_mode};

use crate::context::Context;
use crate::error::{Error, Kind as ErrorKind, ResultExt};

/// Grows whenever the same plan may give another layer.
const SETTLED_VERSION: u32 = 1;

/// The layer that shows what a package means where it lands: `origins` says which of its files lie
/// elsewhere in its own layer, `tree` is what lies below. It depends on the package and on its
/// meaning, whatever else the image holds.
///
/// # Errors
/// I/O errors.
pub fn settle(
    cx: &Context,
    package: &StoredLayer,
    meaning: &Layer,
    origins: &BTreeMap<TreePath, TreePath>,
    tree: &Tree,
) -> Result<StoredLayer, Error> {
    let key = KeyBuilder::new("settled package", SETTLED_VERSION)
        .field("package", package.id)
        .field("meaning", meaning.id())
        .finish();
    let made = cx.made(&package.id);
    if let Some((layer, _)) = cx.recall(&key, &made)? {
        return Ok(layer);
    }
    let staging = cx.store.stage().to("make a work directory")?;
    let files = staging.files().to("stage a layer")?;
    let shipped = package.directory();
    for (place, change) in &meaning.changes {
        let Change::Set(entry) = change else { continue };
        make_parents(&files, place, tree).to("stage a layer")?;
        let from = origins.get(place).unwrap_or(place).under(&shipped);
        lay(entry, &from, &place.under(&files), &files)?;
    }
    cx.keep(&[package.id], staging, meaning.clone(), &key, b"", &made)
}

fn lay(entry: &Entry, from: &Path, to: &Path, files: &Path) -> Result<(), Error> {
    let io = |source| Error::io(ErrorKind::Build, "write", to, source);
    match &entry.kind {
        Kind::Directory => {
            if !to.is_dir() {
                fs::create_dir(to).map_err(io)?;
            }
            fs::set_permissions(to, fs::Permissions::from_mode(plain_mode(entry))).map_err(io)
        }
        // A copy: a script that writes to one layer's file must not change another's.
        Kind::File(_) => {
            fs::copy(from, to).map_err(io)?;
            fs::set_permissions(to, fs::Permissions::from_mode(plain_mode(entry))).map_err(io)?;
            let seconds = Duration::from_secs(entry.meta.mtime.seconds.unsigned_abs());
            let time = match entry.meta.mtime.seconds < 0 {
                true => SystemTime::UNIX_EPOCH.checked_sub(seconds),
                false => SystemTime::UNIX_EPOCH.checked_add(seconds),
            };
            match time {
                Some(time) => File::options().write(true).open(to).and_then(|file| file.set_modified(time)).map_err(io),
                None => Ok(()),
            }
        }
        Kind::Symlink(target) => std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), to).map_err(io),
        Kind::HardLink(home) => fs::hard_link(home.under(files), to).map_err(io),
        // Made again on top of the mounted layers; the store holds only plain files.
        Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo | Kind::Socket => Ok(()),
    }
}
