//! Work in progress beside the place where a layout will be, since only there one rename puts it in place. A
//! lock says whether its maker lives; what a killed one left, the next writer in the same directory sweeps.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Error;
use crate::error::IoContext;

/// What names of such directories begin and end with.
const PREFIX: &str = ".oci-";
const SUFFIX: &str = ".part";
/// Says by a lock on it that its maker lives.
const LOCK: &str = "lock";
/// Age of a directory without a lock that nobody can be about to lock, or to put in place.
const ABANDONED_AGE: Duration = Duration::from_secs(60 * 60);
/// Tells the directories of one process apart.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A directory for work in progress, removed when dropped.
pub(super) struct Staging {
    path: PathBuf,
    is_placed: bool,
    _lock: File,
}

impl Staging {
    /// Makes one in a directory, and sweeps what killed writers left there.
    pub(super) fn create(parent: &Path) -> Result<Self, Error> {
        sweep(parent);
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{PREFIX}{}-{number}{SUFFIX}", std::process::id()));
            // As whoever calls wants new directories to be: it may become the layout.
            match DirBuilder::new().mode(0o777).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error).at("create a directory in", parent),
            }
            let at = path.join(LOCK);
            let lock = File::create(&at).at("create", &at)?;
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path, is_placed: false, _lock: lock }),
                // A sweeper looked at it between the two calls; it will remove it.
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error).at("lock", at),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves in it only what belongs to the layout.
    pub(super) fn unlock(&self) -> Result<(), Error> {
        let lock = self.path.join(LOCK);
        fs::remove_file(&lock).at("remove", lock)
    }

    /// It has another name now.
    pub(super) fn placed(&mut self) {
        self.is_placed = true;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_placed {
            // Best effort: what cannot be removed now is swept by a later run.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes what killed writers left in a directory. Best effort: it may be anybody's.
fn sweep(parent: &Path) {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let is_named_so = name.to_str().is_some_and(|name| {
            let middle = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
            middle.is_some_and(|text| text.contains('-') && text.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
        });
        // Of the link itself, should it be one.
        let Ok(meta) = entry.metadata() else { continue };
        if !is_named_so || !meta.is_dir() || meta.uid() != own {
            continue;
        }
        let is_abandoned = match File::open(entry.path().join(LOCK)) {
            Ok(lock) => lock.try_lock().is_ok(),
            // Being made, or being put in place, at this moment; or its maker was killed just then.
            Err(_) => meta.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED_AGE)),
        };
        if is_abandoned {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_writer_left_is_swept_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let living = Staging::create(home.path()).unwrap();
        let dead = home.path().join(".oci-1-7.part");
        fs::create_dir_all(dead.join("blobs")).unwrap();
        fs::write(dead.join(LOCK), b"").unwrap();
        // About to be locked, somebody else's names, and not a directory.
        let others = [".oci-1-8.part", ".oci-mine.part", "oci-1-9.part"].map(|name| home.path().join(name));
        others.iter().for_each(|other| fs::create_dir(other).unwrap());
        fs::write(home.path().join(".oci-1-10.part"), b"").unwrap();
        let next = Staging::create(home.path()).unwrap();
        assert!(living.path().is_dir() && next.path().is_dir() && !dead.exists());
        assert!(others.iter().all(|other| other.is_dir()) && home.path().join(".oci-1-10.part").exists());
        // Killed while it was put in place: long enough ago, it is swept as well.
        let long_ago = std::time::SystemTime::now() - ABANDONED_AGE * 2;
        File::open(&others[0]).unwrap().set_modified(long_ago).unwrap();
        drop((living, next));
        drop(Staging::create(home.path()).unwrap());
        assert!(!others[0].exists() && others[1].is_dir());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
    }
}
