//! Goes through the tar of a layer: what may be in one, and where its bytes go.

use std::path::Path;

use layers::{Entry, Kind, Layer, Meta, Sha256, Stack, TreePath};

use super::assemble::Assembly;
use super::files::{self, Files};
use super::{Hashed, Limits};
use crate::Error;
use crate::archive::{Form, Head, Members, OPAQUE, Refusal, WHITEOUT, WHITEOUT_META, shown};

/// Longest target of a symbolic link, in bytes (`PATH_MAX` with its end).
const TARGET_BYTES_MAX: usize = 4095;
/// Longest name and largest value of an extended attribute, in bytes (limits.h).
const XATTR_NAME_BYTES_MAX: usize = 255;
const XATTR_BYTES_MAX: usize = 65_536;
/// Attributes by which overlay itself works: in a layer they would redirect what is looked up.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Why a layer is not unpacked.
pub(super) enum Failed {
    /// What is wrong with it.
    Refused(String),
    /// What is wrong here.
    Error(Error),
}

impl From<layers::Error> for Failed {
    fn from(error: layers::Error) -> Self {
        match error {
            bad @ layers::Error::BadPath { .. } => Self::Refused(bad.to_string()),
            other => Self::Error(other.into()),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        // What a decompressor says is of the layer, too.
        Self::Refused(refusal.to_string())
    }
}

impl From<files::Failed> for Failed {
    fn from(failed: files::Failed) -> Self {
        match failed {
            files::Failed::Tar(refusal) => refusal.into(),
            files::Failed::Host(error) => error.into(),
        }
    }
}

pub(super) fn refuse<T>(path: &TreePath, reason: &str) -> Result<T, Failed> {
    Err(Failed::Refused(format!("{path}: {reason}")))
}

/// Unpacks a tar and gives its changes and its digest.
pub(super) fn unpack<R: std::io::Read>(
    mut members: Members<Hashed<R>>,
    below: &Stack,
    root: &Path,
    limits: &Limits,
) -> Result<(Layer, Sha256), Failed> {
    let mut assembly = Assembly::new(below);
    let mut files = Files::new(root, below);
    let mut room = limits.metadata_bytes;
    let mut count = 0usize;
    while let Some(head) = members.next_member()? {
        count = count.saturating_add(1);
        let spent = head.xattrs.iter().fold(head.name.len().saturating_add(head.link.len()), |sum, (name, value)| {
            sum.saturating_add(name.len()).saturating_add(value.len())
        });
        match room.checked_sub(spent as u64) {
            Some(left) if count <= limits.entries => room = left,
            _ => return Err(Failed::Refused("it has more entries than are allowed".into())),
        }
        member(head, &mut members, &mut assembly, &mut files)?;
    }
    let layer = assembly.finish(&mut files)?;
    let digest = members.into_inner().finish().map_err(Refusal::from)?;
    Ok((layer, digest))
}

fn member<R: std::io::Read>(
    head: Head,
    members: &mut Members<Hashed<R>>,
    assembly: &mut Assembly<'_>,
    files: &mut Files<'_>,
) -> Result<(), Failed> {
    let path = TreePath::new(&head.name)?;
    if let Some(gone) = path.name().strip_prefix(WHITEOUT) {
        let directory = path.parent().unwrap_or_default();
        return match path.name() {
            OPAQUE => assembly.opaque(directory),
            // What aufs keeps for itself is no file of the image.
            name if name.starts_with(WHITEOUT_META) => Ok(()),
            _ if matches!(gone, b"" | b"." | b"..") => refuse(&path, "it is a whiteout of nothing"),
            _ => assembly.gone(directory.join(gone)?),
        };
    }
    if path.components().any(|name| name.starts_with(WHITEOUT)) {
        return refuse(&path, "it lies in a whiteout");
    }
    if head.form == Form::Directory {
        assembly.directory(&path, Entry::directory(meta(head)?))?;
        return Ok(files.directory(&path)?);
    }
    assembly.expect(&path)?;
    let kind = match head.form {
        Form::HardLink => {
            let target = TreePath::new(&head.link)?;
            return assembly.link(path, &target, files);
        }
        Form::File | Form::Directory => Kind::File(files.body(&path, members)?),
        Form::Symlink => {
            if head.link.is_empty() || head.link.len() > TARGET_BYTES_MAX || head.link.contains(&0) {
                return refuse(&path, "its target is none");
            }
            files.symlink(&path, &head.link)?;
            Kind::Symlink(head.link.as_slice().into())
        }
        // On a mounted layer this would be a whiteout that no reader of the image sees.
        Form::CharDevice(0, 0) => return refuse(&path, "it is the device by which overlay hides files"),
        Form::CharDevice(major, minor) => Kind::CharDevice { major, minor },
        Form::BlockDevice(major, minor) => Kind::BlockDevice { major, minor },
        Form::Fifo => Kind::Fifo,
    };
    let meta = meta(head)?;
    // Linux shows every symbolic link as 0777 (symlink(7)), whatever a tar says.
    let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { meta.mode };
    assembly.add(path, Entry { kind, meta: Meta { mode, ..meta } });
    Ok(())
}

fn meta(head: Head) -> Result<Meta, Failed> {
    for (name, value) in &head.xattrs {
        let reason = if OVERLAY.iter().any(|overlay| name.starts_with(overlay)) {
            "is overlay's own"
        } else if name.is_empty() || name.len() > XATTR_NAME_BYTES_MAX || name.contains(&0) {
            "has a name that no attribute has"
        } else if value.len() > XATTR_BYTES_MAX {
            "is larger than 64 KiB"
        } else {
            continue;
        };
        return Err(Failed::Refused(format!("{}: the attribute {} {reason}", shown(&head.name), shown(name))));
    }
    let Head { mode, uid, gid, mtime, xattrs, .. } = head;
    Ok(Meta { mode, uid, gid, mtime, xattrs })
}
