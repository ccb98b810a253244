//! Finds the file a call names, as the kernel would for the caller: beneath the caller's
//! root, from its working directory or descriptor.
//!
//! What is found is an `O_PATH` descriptor, so nothing is opened that could block or act.
//! Links into a process's own /proc are not followed here, because they would be ours.

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat2};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Links followed in one path, `MAXSYMLINKS` of include/linux/namei.h.
const MAX_LINKS: usize = 40;

/// Where a caller's paths start.
#[derive(Debug)]
pub(crate) struct Start {
    /// The caller's root directory. Where it is missing and a path turns out to need it,
    /// the answer is `EXDEV`.
    pub(crate) root: Option<OwnedFd>,
    /// The directory that relative paths are below; `None` for absolute ones.
    pub(crate) base: Option<OwnedFd>,
}

const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// The file at a path. With `follow` unset a link at its end is itself the answer.
pub(crate) fn file(start: &Start, path: &[u8], follow: bool) -> Result<OwnedFd, Errno> {
    let flags = if follow { PATH } else { PATH | OFlags::NOFOLLOW };
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    let safe = ResolveFlags::NO_MAGICLINKS;
    match (&start.base, path[0] == b'/') {
        (_, true) => {
            let root = start.root.as_ref().ok_or(Errno::XDEV)?;
            openat2(root, path, flags, Mode::empty(), safe | ResolveFlags::IN_ROOT)
        }
        (None, false) => Err(Errno::BADF),
        (Some(base), false) => {
            match openat2(base, path, flags, Mode::empty(), safe | ResolveFlags::BENEATH) {
                // Through "..", or an absolute link: step by step.
                Err(Errno::XDEV) => walk(start, base, path, follow),
                other => other,
            }
        }
    }
}

/// The directory that holds the last component of a path, and that component. A path that
/// ends in a slash, "." or ".." names no entry: `None`.
pub(crate) fn parent<'a>(start: &Start, path: &'a [u8], trim: bool) -> Result<Option<(OwnedFd, &'a [u8])>, Errno> {
    let mut path = path;
    while trim && path.len() > 1 && path.ends_with(b"/") {
        path = &path[..path.len() - 1];
    }
    let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..=slash], &path[slash + 1..]),
        None => (b".".as_slice(), path),
    };
    if name.is_empty() || name == b"." || name == b".." {
        return Ok(None);
    }
    Ok(Some((file(start, directory, true)?, name)))
}

fn identity(fd: BorrowedFd<'_>) -> Result<Statx, Errno> {
    rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::TYPE)
}

/// Whether both are the same directory of the same file system.
fn same(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (a, b) = (identity(a)?, identity(b)?);
    Ok((a.stx_ino, a.stx_dev_major, a.stx_dev_minor) == (b.stx_ino, b.stx_dev_major, b.stx_dev_minor))
}

/// Resolves component by component, stopping ".." at the caller's root.
fn walk(start: &Start, base: &OwnedFd, path: &[u8], follow: bool) -> Result<OwnedFd, Errno> {
    let root = start.root.as_ref().ok_or(Errno::XDEV)?;
    let mut here = base.try_clone().map_err(super::tasks::errno)?;
    let mut links = 0;
    // What is left to walk, last component first.
    let mut left: Vec<Vec<u8>> = Vec::new();
    let push = |left: &mut Vec<Vec<u8>>, path: &[u8]| {
        let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        left.extend(parts.map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter().rev());
    };
    push(&mut left, path);
    let must_be_directory = path.ends_with(b"/");
    while let Some(name) = left.pop() {
        if name == b"." {
            continue;
        }
        if name == b".." && same(here.as_fd(), root.as_fd())? {
            continue;
        }
        let flags = PATH | OFlags::NOFOLLOW;
        let next = openat2(&here, &name[..], flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
        let kind = u32::from(identity(next.as_fd())?.stx_mode) & libc::S_IFMT;
        let last = left.is_empty();
        if kind == libc::S_IFLNK && (!last || follow || must_be_directory) {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP);
            }
            let target = rustix::fs::readlinkat(&next, "", Vec::new())?.into_bytes();
            if target.starts_with(b"/") {
                here = root.try_clone().map_err(super::tasks::errno)?;
            }
            push(&mut left, &target);
            continue;
        }
        here = next;
    }
    Ok(here)
}

/// The path under which the kernel reaches the file behind a descriptor of ours.
pub(crate) fn link_of(fd: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
