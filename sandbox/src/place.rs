//! Whether a directory can hold what the sandbox changes: the upper directory of an overlay.

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use rustix::io::Errno;
use std::fs;
use std::path::Path;

/// File systems by their magic numbers (statfs(2)), as far as people store things on them.
const KINDS: [(i64, &str); 12] = [
    (0xEF53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x794C_7630, "overlay"),
    (0x6969, "nfs"),
    (0xFF53_4D42, "cifs"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x2FC1_2FC1, "zfs"),
    (0xCA45_1A4E, "bcachefs"),
    (0xF2F5_2010, "f2fs"),
];

/// What was found of a directory by trying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name of its file system, or the magic number in hexadecimal.
    pub kind: String,
    /// Why an upper directory cannot lie in it; then changes are kept in memory, in bounds.
    pub refused: Option<String>,
}

/// Tries a directory that the caller may write to; nothing is left in it.
///
/// # Errors
/// The directory cannot be looked at.
pub fn look_at(directory: &Path) -> Result<Place, std::io::Error> {
    let magic = rustix::fs::statfs(directory)?.f_type as i64;
    let known = KINDS.iter().find(|(number, _)| *number == magic).map(|(_, name)| (*name).to_owned());
    let kind = known.unwrap_or_else(|| format!("file system {magic:#x}"));
    let own = format!(".image-composer-{}", rustix::process::getpid().as_raw_pid());
    match carries_upper(&directory.join(own)) {
        // Nothing was tried: it is not the file system that refused.
        Err((_, errno @ (Errno::ACCESS | Errno::ROFS))) => Err(errno.into()),
        tried => Ok(Place { kind, refused: tried.err().map(|(what, errno)| format!("{what}: {errno}")) }),
    }
}

/// Whether the directory around a path that does not exist can hold an upper: attributes, and the
/// character device 0:0 that stands for a deletion (refused on an overlay). Otherwise what it cannot.
pub(crate) fn carries_upper(probe: &Path) -> Result<(), (&'static str, Errno)> {
    rustix::fs::mknodat(CWD, probe, FileType::CharacterDevice, Mode::empty(), 0)
        .map_err(|errno| ("no deletion can be marked in it", errno))?;
    let io = |error: &std::io::Error| ("it cannot be written", Errno::from_io_error(error).unwrap_or(Errno::IO));
    fs::remove_file(probe).and_then(|()| fs::create_dir(probe)).map_err(|error| io(&error))?;
    let set = rustix::fs::setxattr(probe, c"user.overlay.probe", b"y", XattrFlags::empty());
    let _ = fs::remove_dir(probe);
    set.map_err(|errno| ("it has no user attributes", errno))
}
