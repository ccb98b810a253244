//! The account files.
//!
//! All are made beside the old ones before the first takes its place, so that an error leaves the
//! tree as it was.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Metadata, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::assign::Assigned;
use super::entry::{Entry, Group, Gshadow, Passwd, Shadow};
use super::field::skip_space;
use super::request::Request;
use super::text::shown;
use super::{Error, take};

pub(super) const PASSWD: &str = "etc/passwd";
pub(super) const GROUP: &str = "etc/group";
const SHADOW: &str = "etc/shadow";
const GSHADOW: &str = "etc/gshadow";

/// Largest account file, in bytes.
const ACCOUNTS_MAX: u64 = 16 << 20;

/// Password that nobody has, and that is locked besides.
const LOCKED: &[u8] = b"!*";

/// Password of a new root, for which systemd-firstboot(1) asks.
const UNPROVISIONED: &[u8] = b"!unprovisioned";

/// Day on which a locked account expires.
const EXPIRED: i64 = 1;

/// A path of the tree.
pub(super) fn below(root: &Path, path: &[u8]) -> PathBuf {
    let relative = path.iter().position(|byte| *byte != b'/').and_then(|start| path.get(start..));
    root.join(OsStr::from_bytes(relative.unwrap_or_default()))
}

/// A file that is there.
pub(super) struct Original {
    bytes: Vec<u8>,
    metadata: Metadata,
}

/// Reads an account file; `None` if it is not there.
pub(super) fn open(root: &Path, path: &str) -> Result<Option<Original>, Error> {
    let path = root.join(path);
    // Before it is opened, which a pipe would take to wait.
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    if !metadata.is_file() {
        return Err(Error::Conflict { path, problem: "it is no plain file".into() });
    }
    let file = File::open(&path).map_err(Error::io("read", &path))?;
    Ok(Some(Original { bytes: take(file, &path.display().to_string(), ACCOUNTS_MAX)?, metadata }))
}

/// The entries of a file.
pub(super) fn entries<E: Entry>(original: &Option<Original>) -> impl Iterator<Item = E> {
    let bytes = original.as_ref().map(|original| original.bytes.as_slice()).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n').map(skip_space);
    lines.filter(|line| !matches!(line.first(), None | Some(b'#'))).filter_map(E::parse)
}

/// A file under way.
struct Draft {
    path: PathBuf,
    original: Option<Original>,
    /// Mode of a file that was not there.
    mode: u32,
    bytes: Vec<u8>,
    /// Instructions for NIS, which come last.
    last: Vec<u8>,
}

impl Draft {
    fn new(root: &Path, path: &str, mode: u32) -> Result<Self, Error> {
        let original = open(root, path)?;
        Ok(Self { path: root.join(path), original, mode, bytes: Vec::new(), last: Vec::new() })
    }

    fn conflict(&self, problem: String) -> Error {
        Error::Conflict { path: self.path.clone(), problem }
    }

    fn add<E: Entry>(&mut self, entry: &E) -> Result<(), Error> {
        let what = || format!("the entry of {} does not fit its form", shown(entry.name()));
        let line = entry.line().ok_or_else(|| self.conflict(what()))?;
        self.bytes.extend_from_slice(&line);
        self.bytes.push(b'\n');
        Ok(())
    }

    /// Takes over what is there, each entry after `keep` has seen it.
    fn take_over<E: Entry>(&mut self, mut keep: impl FnMut(&mut E) -> Result<(), String>) -> Result<(), Error> {
        let mut are_last = false;
        for mut entry in entries::<E>(&self.original).collect::<Vec<E>>() {
            if !are_last {
                keep(&mut entry).map_err(|problem| self.conflict(problem))?;
                are_last = entry.is_compat();
            }
            if are_last {
                let new = std::mem::take(&mut self.bytes);
                self.add(&entry)?;
                self.last.append(&mut self.bytes);
                self.bytes = new;
            } else {
                self.add(&entry)?;
            }
        }
        Ok(())
    }

    /// Writes it beside, and what is there as a backup beside that.
    fn stage(mut self) -> Result<Vec<(NamedTempFile, PathBuf)>, Error> {
        self.bytes.append(&mut self.last);
        let mut staged = Vec::new();
        if let Some(original) = &self.original {
            let mut backup = self.path.clone().into_os_string();
            backup.push("-");
            let file = beside(&self.path, &original.bytes, Mode::Of(&original.metadata))?;
            let times = FileTimes::new();
            let times = original.metadata.accessed().map_or(times, |time| times.set_accessed(time));
            let times = original.metadata.modified().map_or(times, |time| times.set_modified(time));
            file.as_file().set_times(times).map_err(Error::io("back up", &self.path))?;
            staged.push((file, backup.into()));
        }
        let mode = self.original.as_ref().map_or(Mode::New(self.mode), |original| Mode::Of(&original.metadata));
        staged.push((beside(&self.path, &self.bytes, mode)?, self.path));
        Ok(staged)
    }
}

enum Mode<'a> {
    New(u32),
    Of(&'a Metadata),
}

/// A file in the directory of another.
fn beside(path: &Path, bytes: &[u8], mode: Mode<'_>) -> Result<NamedTempFile, Error> {
    let write = || {
        let directory = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory)?;
        let mut file = tempfile::Builder::new().prefix(".#sysusers").tempfile_in(directory)?;
        file.write_all(bytes)?;
        let own = file.as_file().metadata()?;
        let mode = match mode {
            Mode::New(mode) => mode,
            Mode::Of(other) => {
                if (own.uid(), own.gid()) != (other.uid(), other.gid()) {
                    fchown(file.as_file(), Some(other.uid()), Some(other.gid()))?;
                }
                other.mode() & 0o7777
            }
        };
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        Ok(file)
    };
    write().map_err(Error::io("write", path))
}

/// Writes what is new into the files.
pub(super) fn write(root: &Path, request: &Request, assigned: &Assigned, today: i64) -> Result<(), Error> {
    let mut staged = Vec::new();
    if !assigned.groups.is_empty() || request.has_members() {
        for draft in [group(root, request, assigned)?, gshadow(root, request, assigned)?].into_iter().flatten() {
            staged.extend(draft.stage()?);
        }
    }
    if !assigned.users.is_empty() {
        staged.extend(passwd(root, assigned)?.stage()?);
        staged.extend(shadow(root, assigned, today)?.stage()?);
    }
    for (file, path) in staged {
        file.persist(&path).map_err(|error| Error::io("write", &path)(error.error))?;
    }
    Ok(())
}

/// A group's members with those that it is to have; `None` if it has them all.
fn extended(request: &Request, group: &[u8], members: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let wanted = request.members(group);
    let all: BTreeSet<&Vec<u8>> = members.iter().chain(wanted).collect();
    let known: BTreeSet<&Vec<u8>> = members.iter().collect();
    (all.len() > known.len()).then(|| all.into_iter().cloned().collect())
}

fn group(root: &Path, request: &Request, assigned: &Assigned) -> Result<Option<Draft>, Error> {
    let mut draft = Draft::new(root, GROUP, 0o644)?;
    let gids: BTreeSet<u32> = assigned.groups.iter().map(|(_, gid)| *gid).collect();
    let mut is_changed = !assigned.groups.is_empty();
    draft.take_over(|group: &mut Group| {
        if gids.contains(&group.gid) {
            return Err(format!("the id {} of a new group is there", group.gid));
        }
        if !group.is_compat()
            && let Some(members) = extended(request, &group.name, &group.members)
        {
            is_changed = true;
            group.members = members;
        }
        Ok(())
    })?;
    for (name, gid) in &assigned.groups {
        let members = extended(request, name, &[]).unwrap_or_default();
        draft.add(&Group { name: name.clone(), password: b"x".into(), gid: *gid, members })?;
    }
    Ok(is_changed.then_some(draft))
}

fn gshadow(root: &Path, request: &Request, assigned: &Assigned) -> Result<Option<Draft>, Error> {
    let mut draft = Draft::new(root, GSHADOW, 0)?;
    let mut is_changed = !assigned.groups.is_empty();
    draft.take_over(|group: &mut Gshadow| {
        if assigned.own_groups.contains(&group.name) {
            return Err(format!("the new group {} is there", shown(&group.name)));
        }
        if let Some(members) = extended(request, &group.name, &group.members) {
            is_changed = true;
            group.members = members;
        }
        Ok(())
    })?;
    for (name, _) in &assigned.groups {
        let members = extended(request, name, &[]).unwrap_or_default();
        draft.add(&Gshadow { name: name.clone(), password: LOCKED.into(), administrators: Vec::new(), members })?;
    }
    Ok(is_changed.then_some(draft))
}

fn passwd(root: &Path, assigned: &Assigned) -> Result<Draft, Error> {
    let mut draft = Draft::new(root, PASSWD, 0o644)?;
    let uids: BTreeSet<u32> = assigned.users.iter().map(|user| user.uid).collect();
    draft.take_over(|user: &mut Passwd| match uids.contains(&user.uid) {
        true => Err(format!("the id {} of a new user is there", user.uid)),
        false => Ok(()),
    })?;
    for user in &assigned.users {
        draft.add(&Passwd {
            name: user.name.clone(),
            password: b"x".into(),
            uid: user.uid,
            gid: user.gid,
            description: user.description.clone(),
            home: user.home.clone(),
            shell: user.shell.clone(),
        })?;
    }
    Ok(draft)
}

/// An entry that is there already keeps its password.
fn shadow(root: &Path, assigned: &Assigned, today: i64) -> Result<Draft, Error> {
    let mut draft = Draft::new(root, SHADOW, 0)?;
    let mut missing: BTreeSet<&[u8]> = assigned.users.iter().map(|user| user.name.as_slice()).collect();
    draft.take_over(|entry: &mut Shadow| {
        if missing.remove(entry.name.as_slice()) {
            entry.changed = today;
        }
        Ok(())
    })?;
    for user in assigned.users.iter().filter(|user| missing.contains(user.name.as_slice())) {
        let expiry = if user.is_locked { EXPIRED } else { -1 };
        draft.add(&Shadow {
            name: user.name.clone(),
            password: if user.name == b"root" { UNPROVISIONED.into() } else { LOCKED.into() },
            changed: today,
            days: [-1, -1, -1, -1, expiry],
            flag: None,
        })?;
    }
    Ok(draft)
}
