//! Users and groups of an image, as its own passwd(5) and group(5) say.

use std::io::Read;

use layers::{Contents, Kind, Stack, TreePath};

use crate::error::{Error, ResultExt};
use crate::spec::resolved::Owner;
use crate::spec::scalar::Principal;

/// Largest account file that is read, in bytes.
const ACCOUNT_FILE_MAX: u64 = 4 << 20;

/// One line of passwd(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
}

/// The accounts of an image.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    users: Vec<Account>,
    groups: Vec<(String, u32)>,
}

/// Reads a text file of an image; `None` when it is not there.
///
/// # Errors
/// I/O errors.
pub fn read_text(stack: &Stack, path: &str, limit: u64) -> Result<Option<String>, Error> {
    Ok(read_bytes(stack, path, limit)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Reads a file of an image; `None` when it is not there.
///
/// # Errors
/// I/O errors.
pub fn read_bytes(stack: &Stack, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    let path = stack.tree().resolve(&TreePath::new(path).to("name a file")?).to("follow links in the image")?;
    let Some(entry) = stack.tree().get(&path) else { return Ok(None) };
    let content = match &entry.kind {
        Kind::File(content) => content,
        Kind::HardLink(target) => match stack.tree().get(target).map(|entry| &entry.kind) {
            Some(Kind::File(content)) => content,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let mut bytes = Vec::new();
    let reader = stack.open(content).to("read a file of the image")?;
    reader.take(limit).read_to_end(&mut bytes).to("read a file of the image")?;
    Ok(Some(bytes))
}

impl Accounts {
    /// Reads the accounts of an image; none where it has no account files.
    ///
    /// # Errors
    /// I/O errors.
    pub fn read(stack: &Stack) -> Result<Self, Error> {
        let passwd = read_text(stack, "etc/passwd", ACCOUNT_FILE_MAX)?.unwrap_or_default();
        let group = read_text(stack, "etc/group", ACCOUNT_FILE_MAX)?.unwrap_or_default();
        Ok(Self::parse(&passwd, &group))
    }

    fn parse(passwd: &str, group: &str) -> Self {
        let users = passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
            Some(Account { name: (*name).into(), uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: (*home).into() })
        });
        let groups = group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, ..] = fields.as_slice() else { return None };
            Some(((*name).to_owned(), gid.parse().ok()?))
        });
        Self { users: users.collect(), groups: groups.collect() }
    }

    /// The account with this login name.
    pub fn user(&self, name: &str) -> Option<&Account> {
        self.users.iter().find(|account| account.name == name)
    }

    /// The id of a group.
    pub fn group(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|(found, _)| found == name).map(|(_, gid)| *gid)
    }

    /// The numbers that an owner means in this image. Without a group it is the user's own.
    ///
    /// # Errors
    /// A name that the image does not have.
    pub fn resolve(&self, owner: &Owner) -> Result<(u32, u32), Error> {
        let unknown = |what: &str, name: &str| {
            Error::build(format!("failed to find the {what} '{name}' in the image"))
                .hint("users are made from customizations.users and by packages, before files are copied")
        };
        let (uid, own_group) = match &owner.user {
            Principal::Id(uid) => (*uid, self.users.iter().find(|a| a.uid == *uid).map_or(*uid, |a| a.gid)),
            Principal::Name(name) => {
                let account = self.user(name.as_str()).ok_or_else(|| unknown("user", name.as_str()))?;
                (account.uid, account.gid)
            }
        };
        let gid = match &owner.group {
            None => own_group,
            Some(Principal::Id(gid)) => *gid,
            Some(Principal::Name(name)) => self.group(name.as_str()).ok_or_else(|| unknown("group", name.as_str()))?,
        };
        Ok((uid, gid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_looked_up_in_the_image() {
        let accounts = Accounts::parse(
            "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1001::/home/ann:/bin/sh\nbad\n",
            "root:x:0:\nshadow:x:42:\n",
        );
        assert_eq!(accounts.user("ann").unwrap().gid, 1001);
        assert_eq!(accounts.group("shadow"), Some(42));
        assert!(accounts.user("bad").is_none());
        assert_eq!(accounts.resolve(&Owner::root()).unwrap(), (0, 0));
    }
}
