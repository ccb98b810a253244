//! Users and groups that are there already.

use std::collections::BTreeMap;
use std::path::Path;

use super::Error;
use super::entry::{Group, Passwd};
use super::files::{GROUP, PASSWD, entries, open};

/// Names and numbers of one kind; of two lines with the same the first counts.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_name: BTreeMap<Vec<u8>, u32>,
    by_id: BTreeMap<u32, Vec<u8>>,
}

impl Names {
    pub(super) fn add(&mut self, name: &[u8], id: u32) {
        self.by_name.entry(name.into()).or_insert(id);
        self.by_id.entry(id).or_insert_with(|| name.into());
    }

    pub(super) fn id(&self, name: &[u8]) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn has(&self, id: u32) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Whether a number belongs to somebody of another name.
    pub(super) fn is_of_another(&self, id: u32, name: &[u8]) -> bool {
        self.by_id.get(&id).is_some_and(|owner| owner != name)
    }
}

/// What /etc/passwd and /etc/group say.
#[derive(Debug, Default)]
pub(super) struct Database {
    pub(super) users: Names,
    pub(super) groups: Names,
}

impl Database {
    /// Reads it; files that are not there are empty.
    pub(super) fn read(root: &Path) -> Result<Self, Error> {
        let mut database = Self::default();
        for user in entries::<Passwd>(&open(root, PASSWD)?) {
            database.users.add(&user.name, user.uid);
        }
        for group in entries::<Group>(&open(root, GROUP)?) {
            database.groups.add(&group.name, group.gid);
        }
        Ok(database)
    }
}
