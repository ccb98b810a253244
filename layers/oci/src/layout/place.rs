//! Gives what is whole its place, without a moment in which there is neither it nor what was there before.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, RenameFlags, StatxAttributes, StatxFlags, renameat_with, statx};
use rustix::io::Errno;

use crate::Error;
use crate::error::IoContext;

/// Gives a file or directory its place. What is there goes only if `may_go` says so of it; it then lies where
/// the new one was. Gives whether there was anything. After an error both are where they were.
///
/// # Errors
/// [`Error::Exists`]: what is there may not go; I/O errors, `EBUSY` for a mount point among them.
pub fn place(whole: &Path, to: &Path, may_go: &dyn Fn(&Path) -> bool) -> Result<bool, Error> {
    match renameat_with(CWD, whole, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(false),
        // File systems that cannot do both at once: looking first is the next best.
        Err(Errno::INVAL) if to.symlink_metadata().is_err() => {
            return fs::rename(whole, to).map(|()| false).at("rename to", to);
        }
        Err(Errno::EXIST | Errno::INVAL) if may_go(to) => {}
        Err(Errno::EXIST | Errno::INVAL) => return Err(Error::Exists { path: to.into() }),
        Err(error) => return Err(error).at("rename to", to),
    }
    match renameat_with(CWD, whole, CWD, to, RenameFlags::EXCHANGE) {
        // What came there since it was looked at is given back.
        Ok(()) if !may_go(whole) => {
            renameat_with(CWD, whole, CWD, to, RenameFlags::EXCHANGE).at("rename to", to)?;
            Err(Error::Exists { path: to.into() })
        }
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => exchange(whole, to, may_go).map(|()| true),
        Err(error) => Err(error).at("rename to", to),
    }
}

/// Lets two change places where the file system cannot do that at once.
fn exchange(whole: &Path, to: &Path, may_go: &dyn Fn(&Path) -> bool) -> Result<(), Error> {
    let old = hidden(to, "old");
    if old.symlink_metadata().is_ok() {
        return Err(Error::Exists { path: old });
    }
    fs::rename(to, &old).at("rename", to)?;
    let placed = match may_go(&old) {
        true => fs::rename(whole, to).at("rename to", to),
        false => Err(Error::Exists { path: to.into() }),
    };
    if let Err(error) = placed {
        // Where that fails, too, the error says where it is.
        fs::rename(&old, to).at("rename back", old)?;
        return Err(error);
    }
    fs::rename(&old, whole).at("rename", old)
}

/// A name beside a path that people do not see, of this process.
pub fn hidden(path: &Path, what: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.{what}", std::process::id()));
    path.with_file_name(name)
}

/// Whether something is mounted at a path, which cannot be renamed then (rename(2), `EBUSY`). Of a link, not
/// of what it leads to.
///
/// # Errors
/// I/O errors.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let of = |path: &Path| statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
    let own = of(path)?;
    if own.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(own.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    }
    // Kernels before 5.8: what is bound from the same file system is not seen.
    let Some(above) = path.parent() else { return Ok(true) };
    let above = of(above)?;
    Ok((own.stx_dev_major, own.stx_dev_minor) != (above.stx_dev_major, above.stx_dev_minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let (whole, to) = (home.path().join("whole"), home.path().join("to"));
        for directory in [&whole, &to] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("name"), directory.file_name().unwrap().as_encoded_bytes()).unwrap();
        }
        (home, whole, to)
    }

    fn says(path: &Path) -> String {
        fs::read_to_string(path.join("name")).unwrap()
    }

    type Way = fn(&Path, &Path, &dyn Fn(&Path) -> bool) -> Result<(), Error>;
    const WAYS: [Way; 2] = [|whole, to, may_go| place(whole, to, may_go).map(|had| assert!(had)), exchange];

    #[test]
    fn two_change_places() {
        for way in WAYS {
            let (home, whole, to) = pair();
            way(&whole, &to, &|_| true).unwrap();
            assert_eq!((says(&whole).as_str(), says(&to).as_str()), ("to", "whole"));
            assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn after_a_failure_both_are_where_they_were() {
        for way in WAYS {
            let (home, whole, to) = pair();
            assert!(matches!(way(&whole, &to, &|_| false), Err(Error::Exists { .. })));
            // It was looked at, and then something else came.
            let looks = std::cell::Cell::new(0);
            let late = |path: &Path| looks.replace(looks.get() + 1) == 0 && path == to;
            assert!(matches!(way(&whole, &to, &late), Err(Error::Exists { .. })));
            assert_eq!((says(&whole).as_str(), says(&to).as_str()), ("whole", "to"));
            fs::rename(&whole, home.path().join("elsewhere")).unwrap();
            assert!(way(&whole, &to, &|_| true).is_err());
            assert_eq!(says(&to), "to");
            assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn mount_points_are_known() {
        let home = tempfile::tempdir().unwrap();
        assert!(is_mount_point(Path::new("/proc")).unwrap() && !is_mount_point(home.path()).unwrap());
        assert!(is_mount_point(&home.path().join("none")).is_err());
    }
}
