//! A package's layer made again, where what its unpacking does is not what its own layer shows:
//! files diverted, left out, owned by others, or laid through a link.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use layers::{Change, Entry, KeyBuilder, Kind, StoredLayer, Tree, make_parents, plain_mode};

use super::plan::Plan;
use super::unpack::Unpacked;
use crate::context::Context;
use crate::error::{Error, Kind as ErrorKind, ResultExt};

/// Grows whenever the same plan may give another layer.
const SETTLED_VERSION: u32 = 1;

/// The layer that shows what a plan means; `tree` is what lies below. It depends on the package
/// and on what the plan makes of it, whatever else the image holds.
///
/// # Errors
/// I/O errors.
pub fn settle(cx: &Context, package: &Unpacked, plan: &Plan<'_>, tree: &Tree) -> Result<StoredLayer, Error> {
    let key = KeyBuilder::new("settled deb package", SETTLED_VERSION)
        .field("package", package.layer.id)
        .field("meaning", plan.meaning.id())
        .finish();
    if let Some((layer, _)) = cx.recall(&key)? {
        return Ok(layer);
    }
    let staging = cx.store.stage().to("make a work directory")?;
    let files = staging.files().to("stage a layer")?;
    let shipped = package.layer.directory();
    for (place, change) in &plan.meaning.changes {
        let Change::Set(entry) = change else { continue };
        make_parents(&files, place, tree).to("stage a layer")?;
        let from = plan.origins.get(place).unwrap_or(place).under(&shipped);
        lay(entry, &from, &place.under(&files), &files)?;
    }
    cx.store.publish(staging, plan.meaning.clone(), &key, b"").to("keep a layer")
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
