//! Which numbers new users and groups get.
//!
//! Groups are made first, in their order, then users, each with a group of its own unless it is told
//! to take another one. A user and its group get the same number where it is free as both.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::database::{Database, Names};
use super::files::below;
use super::item::Item;
use super::range::Ranges;
use super::request::Request;
use super::text::shown;

/// Shell of those who do not log in.
const NOLOGIN: &[u8] = b"/usr/sbin/nologin";

/// A user to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewUser {
    pub(super) name: Vec<u8>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) description: Vec<u8>,
    pub(super) home: Vec<u8>,
    pub(super) shell: Vec<u8>,
    pub(super) is_locked: bool,
}

/// What is to be made, in order.
#[derive(Debug, Default)]
pub(super) struct Assigned {
    pub(super) users: Vec<NewUser>,
    pub(super) groups: Vec<(Vec<u8>, u32)>,
    /// Those of the groups that were asked for by themselves.
    pub(super) own_groups: BTreeSet<Vec<u8>>,
}

/// Chooses the numbers. What cannot be made is left out, with a note.
pub(super) fn assign(root: &Path, request: &Request, database: &Database, notes: &mut Vec<String>) -> Assigned {
    let mut assignment = Assignment {
        root,
        request,
        database,
        ranges: Ranges::new(&request.ranges),
        search: None,
        uids: Names::default(),
        gids: Names::default(),
        group_of_user: BTreeMap::new(),
        assigned: Assigned::default(),
        notes: Vec::new(),
    };
    for group in request.groups.iter() {
        match assignment.group(group, &mut group.gid.clone(), false) {
            Ok(true) => {
                assignment.assigned.own_groups.insert(group.name.clone());
            }
            Ok(false) => {}
            Err(problem) => assignment.notes.push(problem),
        }
    }
    for user in request.users.iter() {
        if let Err(problem) = assignment.user(user) {
            assignment.notes.push(problem);
        }
    }
    notes.append(&mut assignment.notes);
    assignment.assigned
}

struct Assignment<'a> {
    root: &'a Path,
    request: &'a Request,
    database: &'a Database,
    ranges: Ranges,
    /// The last number that was tried; users and groups share one search.
    search: Option<u32>,
    /// New users.
    uids: Names,
    /// New groups.
    gids: Names,
    /// New groups that users brought, by user.
    group_of_user: BTreeMap<Vec<u8>, u32>,
    assigned: Assigned,
    notes: Vec<String>,
}

impl Assignment<'_> {
    /// Makes a group, and says whether it is new; `gid` is what is wanted, and then what it is.
    fn group(&mut self, item: &Item, gid: &mut Option<u32>, must: bool) -> Result<bool, String> {
        if let Some(known) = self.database.groups.id(&item.name) {
            *gid = Some(known);
            return Ok(false);
        }
        let name = &item.name;
        if let Some(wanted) = *gid {
            let is_free = self.is_free_gid(wanted, name, false);
            match (must, is_free) {
                (true, true) => {
                    return Err(format!("user {} is left out: there is no group {wanted}", shown(name)));
                }
                (true, false) => return Ok(false),
                (false, true) => {}
                (false, false) => {
                    self.notes.push(format!("group {} gets another id than {wanted}, which is taken", shown(name)));
                    *gid = None;
                }
            }
        }
        let found = gid
            .or_else(|| item.uid.filter(|uid| self.is_free_gid(*uid, name, true)))
            .or_else(|| self.group_of_path(item).filter(|gid| self.is_free_gid(*gid, name, true)));
        let chosen = match found {
            Some(chosen) => chosen,
            None => self
                .next(|this, id| this.is_free_gid(id, name, true))
                .ok_or_else(|| format!("group {} is left out: no id is free", shown(name)))?,
        };
        *gid = Some(chosen);
        self.gids.add(name, chosen);
        self.assigned.groups.push((name.clone(), chosen));
        self.notes.push(format!("group {} is made, id {chosen}", shown(name)));
        Ok(true)
    }

    /// Makes a user and what group it needs.
    fn user(&mut self, item: &Item) -> Result<(), String> {
        let name = &item.name;
        let mut gid = item.gid;
        let mut must = gid.is_some();
        match self.queued_group(item) {
            Some(queued) if gid.is_none() => (gid, must) = (Some(queued), true),
            _ => match &item.group {
                Some(group) => {
                    let missing = || format!("user {} is left out: there is no group {}", shown(name), shown(group));
                    (gid, must) = (Some(self.database.groups.id(group).ok_or_else(missing)?), true);
                }
                None => {
                    if self.group(item, &mut gid, must)?
                        && let Some(gid) = gid
                    {
                        self.group_of_user.insert(name.clone(), gid);
                    }
                }
            },
        }
        if self.database.users.id(name).is_some() {
            return Ok(());
        }
        let mut uid = item.uid;
        if let Some(wanted) = uid
            && !self.is_free_uid(wanted, name, !must)
        {
            self.notes.push(format!("user {} gets another id than {wanted}, which is taken", shown(name)));
            uid = None;
        }
        let found = uid
            .or_else(|| self.user_of_path(item).filter(|uid| self.is_free_uid(*uid, name, true)))
            .or_else(|| gid.filter(|gid| self.is_free_uid(*gid, name, true)));
        let uid = match found {
            Some(uid) => uid,
            None => self
                .next(|this, id| this.is_free_uid(id, name, true))
                .ok_or_else(|| format!("user {} is left out: no id is free", shown(name)))?,
        };
        self.uids.add(name, uid);
        self.notes.push(format!("user {} is made, id {uid}", shown(name)));
        let shell = match &item.shell {
            Some(shell) => shell.clone(),
            None if uid == 0 => self.shell_of_root(),
            None => NOLOGIN.into(),
        };
        self.assigned.users.push(NewUser {
            name: name.clone(),
            uid,
            gid: gid.unwrap_or_default(),
            description: item.description.clone().unwrap_or_default(),
            home: item.home.clone().unwrap_or_else(|| b"/".into()),
            shell,
            is_locked: item.is_locked,
        });
        Ok(())
    }

    /// The number of the group that a user is to have, if it is a new one.
    fn queued_group(&self, user: &Item) -> Option<u32> {
        let name = user.group.as_ref().unwrap_or(&user.name);
        if self.request.groups.has(name) {
            return self.gids.id(name).filter(|_| self.assigned.own_groups.contains(name));
        }
        user.group.as_ref().and_then(|group| self.group_of_user.get(group).copied())
    }

    fn is_free_uid(&self, uid: u32, name: &[u8], with_groups: bool) -> bool {
        let is_group = self.gids.is_of_another(uid, name) || self.database.groups.is_of_another(uid, name);
        !(self.uids.has(uid) || self.database.users.has(uid) || with_groups && is_group)
    }

    fn is_free_gid(&self, gid: u32, name: &[u8], with_users: bool) -> bool {
        let is_user = self.uids.is_of_another(gid, name) || self.database.users.is_of_another(gid, name);
        !(self.gids.has(gid) || self.database.groups.has(gid) || with_users && is_user)
    }

    /// The next number from above that will do.
    fn next(&mut self, is_free: impl Fn(&Self, u32) -> bool) -> Option<u32> {
        loop {
            let id = self.ranges.below(self.search)?;
            self.search = Some(id);
            if is_free(self, id) {
                return Some(id);
            }
        }
    }

    fn group_of_path(&self, item: &Item) -> Option<u32> {
        self.owner(item).map(|owner| owner.gid()).filter(|gid| self.is_suitable(*gid))
    }

    fn user_of_path(&self, item: &Item) -> Option<u32> {
        self.owner(item).map(|owner| owner.uid()).filter(|uid| self.is_suitable(*uid))
    }

    fn is_suitable(&self, id: u32) -> bool {
        id != 0 && self.ranges.contains(id)
    }

    fn owner(&self, item: &Item) -> Option<std::fs::Metadata> {
        std::fs::metadata(below(self.root, item.path.as_ref()?)).ok()
    }

    fn shell_of_root(&self) -> Vec<u8> {
        let bash = b"/bin/bash";
        if below(self.root, bash).exists() { bash.into() } else { b"/bin/sh".into() }
    }
}
