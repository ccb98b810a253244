//! Lower directories joined without a mount: where the store lies on an overlay, as in a container, an overlay
//! above it is as deep as the kernel allows (`FILESYSTEM_MAX_STACK_DEPTH` is 2), so none can be one of its layers.

use super::fault::Doing;
use crate::error::Fault;
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps};
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const DOING: &str = "join layers in a directory";

/// Nested directories followed; deeper than any package ships.
const MAX_DEPTH: usize = 128;

/// Fills an empty directory with what an overlay of these would show, the topmost last. They must hold no
/// deletions. Files are linked, as nobody ever writes to a lower directory, and copied where they cannot be.
pub(super) fn merge(into: &Path, lowers: &[PathBuf]) -> Result<(), Fault> {
    for lower in lowers {
        add(into, lower, 0).doing(DOING, || format!("link({}, {})", lower.display(), into.display()))?;
    }
    Ok(())
}

fn add(into: &Path, from: &Path, depth: usize) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::from_raw_os_error(libc::ELOOP));
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), into.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            match fs::create_dir(&target) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if !target.symlink_metadata()?.is_dir() {
                        fs::remove_file(&target)?;
                        fs::create_dir(&target)?;
                    }
                }
                made => made?,
            }
            add(&target, &source, depth + 1)?;
        } else {
            match link(&source, &target) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    match target.symlink_metadata()?.is_dir() {
                        true => fs::remove_dir_all(&target)?,
                        false => fs::remove_file(&target)?,
                    }
                    link(&source, &target)?;
                }
                linked => linked?,
            }
        }
    }
    // Overlay shows the topmost directory's, and only now nothing of this layer is added any more.
    let metadata = fs::symlink_metadata(from)?;
    fs::set_permissions(into, metadata.permissions())?;
    set_times(into, &metadata)
}

/// Another name for a file, or a copy where the work lies on another file system than the store.
fn link(source: &Path, target: &Path) -> io::Result<()> {
    match fs::hard_link(source, target) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EXDEV | libc::EPERM | libc::EMLINK)) => {}
        other => return other,
    }
    let metadata = source.symlink_metadata()?;
    if metadata.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(source)?, target)?;
    } else {
        // It would be written through a link that is there.
        if target.symlink_metadata().is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        fs::copy(source, target)?;
    }
    set_times(target, &metadata)
}

fn set_times(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let modified = Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() };
    let times = Timestamps { last_access: modified, last_modification: modified };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Directories that were joined in a session, each kept for the stacks to come: they begin with the same layers.
#[derive(Default)]
pub(super) struct Merged(Vec<(Vec<PathBuf>, PathBuf)>);

impl Merged {
    /// The directory that joins these, made below `groups` if there is none yet.
    pub(super) fn of(&mut self, lowers: &[PathBuf], groups: &Path) -> Result<PathBuf, Fault> {
        if let Some((_, at)) = self.0.iter().find(|(known, _)| known == lowers) {
            return Ok(at.clone());
        }
        let at = groups.join(format!("merged-{}", self.0.len()));
        rustix::fs::mkdir(&at, Mode::from_raw_mode(0o755)).doing(DOING, || format!("mkdir({})", at.display()))?;
        merge(&at, lowers)?;
        self.0.push((lowers.to_vec(), at.clone()));
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_topmost_layer_shows() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        let write = |name: &str, text: &str| {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), text).unwrap();
        };
        write("1/etc/both", "below");
        write("1/etc/below", "below");
        write("1/file-then-directory", "below");
        write("1/directory-then-file/x", "below");
        write("2/etc/both", "above");
        write("2/file-then-directory/x", "above");
        write("2/directory-then-file", "above");
        std::os::unix::fs::symlink("../etc", path("2/etc/link")).unwrap();
        fs::set_permissions(path("1/etc"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(path("2/etc"), fs::Permissions::from_mode(0o711)).unwrap();
        rustix::fs::utimensat(
            CWD,
            path("2/etc"),
            &Timestamps {
                last_access: Timespec { tv_sec: 1, tv_nsec: 0 },
                last_modification: Timespec { tv_sec: 7, tv_nsec: 9 },
            },
            AtFlags::empty(),
        )
        .unwrap();
        fs::create_dir(path("groups")).unwrap();
        let lowers = [path("1"), path("2")];
        let mut merged = Merged::default();
        let at = merged.of(&lowers, &path("groups")).unwrap();
        let text = |name: &str| fs::read_to_string(at.join(name)).unwrap();
        assert_eq!((text("etc/both").as_str(), text("etc/below").as_str()), ("above", "below"));
        assert_eq!((text("file-then-directory/x").as_str(), text("directory-then-file").as_str()), ("above", "above"));
        assert_eq!(fs::read_link(at.join("etc/link")).unwrap(), Path::new("../etc"));
        let etc = fs::metadata(at.join("etc")).unwrap();
        assert_eq!((etc.mode() & 0o7777, etc.mtime(), etc.mtime_nsec()), (0o711, 7, 9));
        assert_eq!(merged.of(&lowers, &path("groups")).unwrap(), at);
        assert_ne!(merged.of(&lowers[..1], &path("groups")).unwrap(), at);
        assert_eq!(fs::read_to_string(path("1/etc/both")).unwrap(), "below");
    }
}
