//! Users and groups of the tree (passwd(5), group(5)).
//!
//! Not by the C library: its name services would be loaded from the image into this program.

use std::io::Read;

/// Largest file that is read, in bytes.
const MAX: u64 = 16 << 20;

/// A line of /etc/passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: Vec<u8>,
    pub(super) password: Vec<u8>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) gecos: Vec<u8>,
    pub(super) directory: Vec<u8>,
    pub(super) shell: Vec<u8>,
}

/// A line of /etc/group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: Vec<u8>,
    pub(super) gid: u32,
    pub(super) members: Vec<Vec<u8>>,
}

/// What an entry is looked up by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum By {
    Name(Vec<u8>),
    Id(u32),
}

impl By {
    fn is(&self, name: &[u8], id: u32) -> bool {
        match self {
            By::Name(wanted) => wanted == name,
            By::Id(wanted) => *wanted == id,
        }
    }
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn user(line: &[u8]) -> Option<User> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let [name, password, uid, gid, gecos, directory, shell, ..] = fields[..] else { return None };
    Some(User {
        name: name.into(),
        password: password.into(),
        uid: number(uid)?,
        gid: number(gid)?,
        gecos: gecos.into(),
        directory: directory.into(),
        shell: shell.into(),
    })
}

fn group(line: &[u8]) -> Option<Group> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let [name, _, gid, members, ..] = fields[..] else { return None };
    let members = members.split(|byte| *byte == b',').filter(|name| !name.is_empty()).map(Into::into).collect();
    Some(Group { name: name.into(), gid: number(gid)?, members })
}

/// The first entry of a file that fits; a file that is not there has none.
fn find<T>(path: &str, parse: fn(&[u8]) -> Option<T>, fits: impl Fn(&T) -> bool) -> Option<T> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX).read_to_end(&mut bytes).ok()?;
    bytes.split(|byte| *byte == b'\n').filter_map(parse).find(fits)
}

/// A user of the tree's.
pub(super) fn find_user(by: &By) -> Option<User> {
    find("/etc/passwd", user, |user| by.is(&user.name, user.uid))
}

/// A group of the tree's.
pub(super) fn find_group(by: &By) -> Option<Group> {
    find("/etc/group", group, |group| by.is(&group.name, group.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_kind() {
        let ann = user(b"ann:x:1000:100:Ann,,:/home/ann:/bin/sh").unwrap();
        assert_eq!((ann.uid, ann.gid, &ann.gecos[..], &ann.shell[..]), (1000, 100, &b"Ann,,"[..], &b"/bin/sh"[..]));
        let wheel = group(b"wheel:x:10:ann,,bob").unwrap();
        assert_eq!((wheel.gid, wheel.members), (10, vec![b"ann".to_vec(), b"bob".to_vec()]));
        for line in ["", "+", "ann:x:1000", "ann:x:-1:0:::", "ann:x:4294967296:0:::", "#a:b:c:d:e:f:g"] {
            assert_eq!((user(line.as_bytes()), group(line.as_bytes())), (None, None), "{line}");
        }
        assert_eq!(find("/nonexistent", user, |_| true), None);
    }
}
