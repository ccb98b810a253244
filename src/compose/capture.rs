//! Leaving the sandbox: what changed becomes a layer of plain files and an index.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use layers::{Blake3, Change, Content, Entry, Kind, Layer, Meta, Staging, Time, Tree, TreePath};
use providers::distro::{Rule, VolatilePath};
use rayon::prelude::*;
use sandbox::{Captured, Change as Seen, Kind as FileKind};

use crate::error::{Error, Kind as ErrorKind, ResultExt};

/// Takes what a session changed into a staged layer: files are moved from the upper directory,
/// entries that turn out equal to what `below` has are dropped, times after `epoch` become it, and
/// what the provider's table calls volatile never enters a layer: layers are shared and compared,
/// so neither a secret nor the moment of their making may be in them.
///
/// # Errors
/// I/O errors; paths that no tree may hold.
pub fn capture(
    captured: Captured,
    below: &Tree,
    volatile: &[VolatilePath],
    staging: &Staging,
    epoch: i64,
) -> Result<Layer, Error> {
    let mut seen: BTreeMap<TreePath, Seen> = BTreeMap::new();
    for change in captured.changes {
        let path = TreePath::new(match &change {
            Seen::Removed { path } | Seen::Changed { path, .. } => path,
        })
        .to("take what the step changed")?;
        match rule_for(volatile, &path) {
            Some(Rule::Delete | Rule::FirstBoot | Rule::Contents) => {
                if below.get(&path).is_some() {
                    seen.insert(path.clone(), Seen::Removed { path: path.as_bytes().to_vec() });
                }
            }
            Some(Rule::Empty) => {
                empty(&captured.upper, &path, &change)?;
                seen.insert(path, change);
            }
            None => {
                seen.insert(path, change);
            }
        }
    }
    let homes = link_homes(&seen);
    let contents = digest_files(&seen, &homes, &captured.upper)?;
    let files = staging.files().to("stage a layer")?;
    let mut changes = BTreeMap::new();
    let mut kept_links: BTreeSet<&TreePath> = BTreeSet::new();
    for (path, change) in &seen {
        let (opaque, meta) = match change {
            Seen::Removed { .. } => {
                if below.get(path).is_some() {
                    changes.insert(path.clone(), Change::Remove);
                }
                continue;
            }
            // Only what is below can be hidden; the kernel marks other new directories too.
            Seen::Changed { opaque, entry, .. } => (*opaque && below.get(path).is_some(), entry),
        };
        let home = homes.get(path).filter(|home| *home != path);
        let entry = match home {
            Some(home) if kept_links.contains(home) => {
                Entry { kind: Kind::HardLink(home.clone()), meta: Meta::default() }
            }
            _ => match entry_of(meta, contents.get(home.unwrap_or(path)), epoch) {
                Some(entry) => entry,
                None => continue,
            },
        };
        if !opaque && is_same(below, path, &entry) && home.is_none() && !homes.contains_key(path) {
            continue;
        }
        if homes.get(path) == Some(path) {
            kept_links.insert(path);
        }
        layers::make_parents(&files, path, below).to("move into the store")?;
        move_into(&captured.upper, &files, path, &entry)?;
        changes.insert(path.clone(), if opaque { Change::Replace(entry) } else { Change::Set(entry) });
    }
    keep_links(below, &mut changes);
    Ok(Layer { changes })
}

/// A name of a file with several names that was moved: overlay copies the file on the way up and
/// cannot say that it is still the others', so a new file that is in every way like the lost name
/// counts as it (dpkg-divert moves files).
fn keep_links(below: &Tree, changes: &mut BTreeMap<TreePath, Change>) {
    let is_file =
        |path: &TreePath| below.get(path).is_some_and(|e| matches!(e.kind, Kind::File(_) | Kind::HardLink(_)));
    let lost = |path: &TreePath| matches!(changes.get(path), Some(Change::Remove));
    if !changes.keys().any(|path| lost(path) && is_file(path)) {
        return;
    }
    let mut groups: BTreeMap<&TreePath, Vec<&TreePath>> = BTreeMap::new();
    for (path, entry) in below.iter() {
        if let Kind::HardLink(home) = &entry.kind {
            groups.entry(home).or_insert_with(|| vec![home]).push(path);
        }
    }
    let mut links: Vec<(TreePath, TreePath)> = Vec::new();
    for (home, names) in groups.into_iter().filter(|(_, names)| names.iter().any(|name| lost(name))) {
        let Some(file) = below.get(home) else { continue };
        let alike = |path: &TreePath, change: &Change| {
            below.get(path).is_none() && matches!(change, Change::Set(entry) if entry == file)
        };
        let moved: Vec<&TreePath> =
            changes.iter().filter(|(path, change)| alike(path, change)).map(|(p, _)| p).collect();
        let stays = names.into_iter().filter(|name| !changes.contains_key(*name));
        let mut all: Vec<&TreePath> = stays.chain(moved.iter().copied()).collect();
        all.sort();
        let Some((first, others)) = all.split_first().filter(|_| !moved.is_empty()) else { continue };
        // Where the first name was there before, the tree settles who holds the file.
        let others = others.iter().filter(|path| moved.contains(path) || moved.contains(first));
        links.extend(others.map(|path| ((*path).clone(), (*first).clone())));
    }
    for (path, home) in links {
        changes.insert(path, Change::Set(Entry { kind: Kind::HardLink(home), meta: Meta::default() }));
    }
}

/// The rule for a path: its own, or that of a directory whose contents are volatile.
fn rule_for(volatile: &[VolatilePath], path: &TreePath) -> Option<Rule> {
    let own = volatile.iter().find(|entry| entry.rule != Rule::Contents && entry.path.matches(path.as_bytes()));
    let above = || {
        let contents = volatile.iter().filter(|entry| entry.rule == Rule::Contents);
        contents.clone().find(|entry| path.ancestors().any(|above| entry.path.matches(above.as_bytes())))
    };
    own.or_else(above).map(|entry| entry.rule)
}

/// Empties a file of the upper directory.
fn empty(upper: &Path, path: &TreePath, change: &Seen) -> Result<(), Error> {
    if matches!(change, Seen::Changed { entry, .. } if matches!(entry.kind, FileKind::File { .. })) {
        let host = path.under(upper);
        File::create(&host).map_err(|source| Error::io(ErrorKind::Build, "empty", &host, source))?;
    }
    Ok(())
}

/// For every changed name of a file with several changed names: the first of them.
fn link_homes(seen: &BTreeMap<TreePath, Seen>) -> BTreeMap<TreePath, TreePath> {
    let mut groups: BTreeMap<u64, Vec<&TreePath>> = BTreeMap::new();
    for (path, change) in seen {
        if let Seen::Changed { entry, .. } = change
            && let Some(group) = entry.hard_link_group
            && !matches!(entry.kind, FileKind::Directory)
        {
            groups.entry(group).or_default().push(path);
        }
    }
    groups
        .into_values()
        .filter(|names| names.len() > 1)
        .flat_map(|names| {
            let home = names[0].clone();
            names.into_iter().map(move |name| (name.clone(), home.clone()))
        })
        .collect()
}

fn digest_files(
    seen: &BTreeMap<TreePath, Seen>,
    homes: &BTreeMap<TreePath, TreePath>,
    upper: &Path,
) -> Result<BTreeMap<TreePath, Content>, Error> {
    let files: Vec<&TreePath> = seen
        .iter()
        .filter(|(path, change)| {
            homes.get(*path).is_none_or(|home| home == *path)
                && matches!(change, Seen::Changed { entry, .. } if matches!(entry.kind, FileKind::File { .. }))
        })
        .map(|(path, _)| path)
        .collect();
    files
        .into_par_iter()
        .map(|path| {
            let host = path.under(upper);
            let digest = || -> std::io::Result<Content> {
                let mut hasher = blake3::Hasher::new();
                let size = std::io::copy(&mut File::open(&host)?, &mut hasher)?;
                Ok(Content { digest: Blake3(*hasher.finalize().as_bytes()), size })
            };
            let content = digest().map_err(|source| Error::io(ErrorKind::Build, "read", &host, source))?;
            Ok((path.clone(), content))
        })
        .collect()
}

fn entry_of(seen: &sandbox::Meta, content: Option<&Content>, epoch: i64) -> Option<Entry> {
    let kind = match &seen.kind {
        FileKind::File { .. } => Kind::File(*content?),
        FileKind::Directory => Kind::Directory,
        FileKind::Symlink { target } => Kind::Symlink(target.as_slice().into()),
        FileKind::Device { char: true, major, minor } => Kind::CharDevice { major: *major, minor: *minor },
        FileKind::Device { char: false, major, minor } => Kind::BlockDevice { major: *major, minor: *minor },
        FileKind::Fifo => Kind::Fifo,
        // The name of a socket without the process that listened means nothing; tar drops it too.
        FileKind::Socket => return None,
    };
    let (seconds, nanoseconds) = seen.mtime;
    let mtime = if seconds >= epoch { Time::seconds(epoch) } else { Time { seconds, nanoseconds } };
    let xattrs = seen.xattrs.iter().map(|(name, value)| (name.as_slice().into(), value.as_slice().into())).collect();
    // Links have no permissions of their own on Linux.
    let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { seen.mode };
    Some(Entry { kind, meta: Meta { mode, uid: seen.uid, gid: seen.gid, mtime, xattrs } })
}

/// Whether the tree has this very entry already, under this name or as another name of a file.
fn is_same(below: &Tree, path: &TreePath, entry: &Entry) -> bool {
    match below.get(path) {
        Some(old) if old == entry => true,
        Some(Entry { kind: Kind::HardLink(target), .. }) => below.get(target) == Some(entry),
        _ => false,
    }
}

/// Renames, or copies where the work directory is on another file system than the store.
fn move_across(from: &Path, to: &Path, kind: &Kind) -> std::io::Result<()> {
    match (fs::rename(from, to), kind) {
        (Err(error), _) if error.kind() != std::io::ErrorKind::CrossesDevices => Err(error),
        (Err(_), Kind::Symlink(target)) => std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), to),
        (Err(_), _) => fs::copy(from, to).map(|_| ()),
        (Ok(()), _) => Ok(()),
    }
}

fn move_into(upper: &Path, files: &Path, path: &TreePath, entry: &Entry) -> Result<(), Error> {
    let to = path.under(files);
    let io = |source| Error::io(ErrorKind::Build, "move into the store", &to, source);
    match &entry.kind {
        Kind::Directory => {
            fs::create_dir_all(&to).map_err(io)?;
            fs::set_permissions(&to, fs::Permissions::from_mode(layers::plain_mode(entry))).map_err(io)
        }
        Kind::File(_) | Kind::HardLink(_) | Kind::Symlink(_) => {
            move_across(&path.under(upper), &to, &entry.kind).map_err(io)?;
            if matches!(entry.kind, Kind::File(_)) {
                fs::set_permissions(&to, fs::Permissions::from_mode(layers::plain_mode(entry))).map_err(io)?;
            }
            Ok(())
        }
        // Made again on top of the mounted layers; the store holds only plain files.
        Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo | Kind::Socket => Ok(()),
    }
}
