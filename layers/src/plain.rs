//! Files of the store, opened so that no link on the way is followed: what is damaged or hostile there must
//! not lead to the host's own files.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Opens a regular file for reading. No component of the path may be a symbolic link; the store's own path has
/// none.
///
/// # Errors
/// I/O errors: `ELOOP` or `ENOTDIR` for a link, [`io::ErrorKind::InvalidInput`] for what is no regular file.
pub fn open_plain(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = loop {
        match openat2(CWD, path, flags, Mode::empty(), resolve) {
            // The kernel asks for another try when a rename elsewhere raced with it.
            Err(Errno::AGAIN) => continue,
            // Older kernels, and the filters of older containers.
            Err(Errno::NOSYS | Errno::PERM) => break walk(path, flags)?,
            result => break result?,
        }
    };
    let file = File::from(opened);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// Opens a path name by name.
fn walk(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let mut names = path.components().peekable();
    let mut reached: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        if name == Component::ParentDir {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = match names.peek() {
            Some(_) => OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            None => flags,
        };
        reached = Some(match &reached {
            Some(directory) => openat(directory, name.as_os_str(), flags, Mode::empty())?,
            None => openat(CWD, name.as_os_str(), flags, Mode::empty())?,
        });
    }
    reached.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_is_followed_on_any_kernel() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        fs::create_dir_all(home.join("a/b")).unwrap();
        fs::write(home.join("a/b/file"), b"bytes").unwrap();
        symlink("b", home.join("a/link")).unwrap();
        symlink("file", home.join("a/b/other")).unwrap();
        let ways: [fn(&Path) -> io::Result<File>; 2] =
            [open_plain, |path| walk(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC).map(File::from)];
        for open in ways {
            let mut text = String::new();
            open(&home.join("a/b/file")).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "bytes");
            for name in ["a/link/file", "a/b/other", "a/b/../b/file/x"] {
                assert!(open(&home.join(name)).is_err(), "{name}");
            }
            assert_eq!(open(&home.join("a/none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        assert_eq!(open_plain(&home.join("a/b")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        rustix::fs::mknodat(CWD, home.join("pipe"), rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(open_plain(&home.join("pipe")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
