//! Access lists that name ids which are not mapped: kept beside the file in the kernel's own
//! form, with the permission bits of the mode in step.
//!
//! Layout: include/uapi/linux/posix_acl_xattr.h; a version, then tag, permissions and id.

use rustix::io::Errno;

/// The two attributes, and where ours keep them.
pub(crate) const NAMES: [(&[u8], &str); 2] = [
    (b"system.posix_acl_access", "user.image-composer.acl.access"),
    (b"system.posix_acl_default", "user.image-composer.acl.default"),
];

/// The first of [`NAMES`].
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";

const VERSION: [u8; 4] = [2, 0, 0, 0];
const USER_OBJ: u16 = 0x01;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Most entries of a list that we keep; file systems hold far fewer.
const MAX_ENTRIES: usize = 500;

fn entries(list: &[u8]) -> Result<impl Iterator<Item = (u16, u16)> + '_, Errno> {
    let body = list.strip_prefix(&VERSION).ok_or(Errno::NOTSUP)?;
    if body.len() % 8 != 0 || body.len() / 8 > MAX_ENTRIES {
        return Err(Errno::INVAL);
    }
    Ok(body
        .chunks_exact(8)
        .map(|entry| (u16::from_le_bytes([entry[0], entry[1]]), u16::from_le_bytes([entry[2], entry[3]]))))
}

/// The mode's permission bits that an access list stands for, and whether it says more than
/// they do. It must have its three base entries, and a mask if it names anyone.
pub(crate) fn mode_of(list: &[u8]) -> Result<(u32, bool), Errno> {
    let (mut user, mut group, mut mask, mut other, mut named) = (None, None, None, None, false);
    for (tag, perm) in entries(list)? {
        let perm = u32::from(perm & 7);
        match tag {
            USER_OBJ => user = Some(perm),
            GROUP_OBJ => group = Some(perm),
            MASK => mask = Some(perm),
            OTHER => other = Some(perm),
            0x02 | 0x08 => named = true,
            _ => return Err(Errno::INVAL),
        }
    }
    let (Some(user), Some(group), Some(other)) = (user, group, other) else {
        return Err(Errno::INVAL);
    };
    if named && mask.is_none() {
        return Err(Errno::INVAL);
    }
    Ok((user << 6 | mask.unwrap_or(group) << 3 | other, named || mask.is_some()))
}

/// The list with the permissions that the mode has now: chmod changes both, and we only see
/// the mode.
pub(crate) fn with_mode(list: &[u8], mode: u32) -> Vec<u8> {
    let mut list = list.to_vec();
    let has_mask = list
        .get(4..)
        .is_some_and(|body| body.chunks_exact(8).any(|entry| u16::from_le_bytes([entry[0], entry[1]]) == MASK));
    for entry in list.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        let perm = match u16::from_le_bytes([entry[0], entry[1]]) {
            USER_OBJ => mode >> 6,
            MASK => mode >> 3,
            GROUP_OBJ if !has_mask => mode >> 3,
            OTHER => mode,
            _ => continue,
        };
        entry[2] = (perm & 7) as u8;
        entry[3] = 0;
    }
    list
}

/// Which of ours stands for the attribute of that name.
pub(crate) fn kept_as(name: &[u8]) -> Option<&'static str> {
    NAMES.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = VERSION.to_vec();
        for (tag, perm, id) in entries {
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&perm.to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        bytes
    }

    const ANY: u32 = u32::MAX;

    #[test]
    fn modes_and_lists_agree() {
        let plain = list(&[(1, 6, ANY), (4, 4, ANY), (0x20, 0, ANY)]);
        assert_eq!(mode_of(&plain), Ok((0o640, false)));
        let named = list(&[(1, 7, ANY), (4, 5, ANY), (8, 5, 104), (0x10, 5, ANY), (0x20, 1, ANY)]);
        assert_eq!(mode_of(&named), Ok((0o751, true)));
        assert_eq!(mode_of(&with_mode(&named, 0o2770)), Ok((0o770, true)));
        let after = with_mode(&named, 0o770);
        // The owning group keeps its own permissions: the mask bounds them.
        assert_eq!(after[4 + 8 + 2], 5);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(mode_of(b"").is_err());
        assert!(mode_of(&list(&[(1, 7, ANY)])).is_err());
        assert!(mode_of(&list(&[(1, 7, ANY), (4, 5, ANY), (2, 5, 9), (0x20, 1, ANY)])).is_err());
        let mut cut = list(&[(1, 6, ANY), (4, 4, ANY), (0x20, 0, ANY)]);
        cut.pop();
        assert!(mode_of(&cut).is_err());
    }
}
