//! Entering the sandbox: what plain files cannot say is made again on top of the mounted layers.

use std::collections::BTreeSet;
use std::path::PathBuf;

use layers::{Entry, Kind, Meta, Stack, Time, TreePath, needs_materialising};
use sandbox::{Placed, Step};

/// Steps that mount a stack, with these directories on top that are never part of it, and make it show
/// its tree.
pub fn mounted(stack: &Stack, above: Vec<PathBuf>) -> Vec<Step> {
    let mut lowers = stack.lower_directories();
    lowers.extend(above);
    let mut steps = vec![Step::Stack { lowers, keep: Vec::new() }];
    steps.extend(materialise(stack));
    steps
}

/// Steps that make the mounted directories of a stack show what its tree says: deletions, foreign
/// owners, special modes, devices, capabilities.
pub fn materialise(stack: &Stack) -> Vec<Step> {
    let mut steps: Vec<Step> =
        stack.hidden().into_iter().map(|path| Step::Remove { path: path.as_bytes().to_vec() }).collect();
    let misshown: BTreeSet<TreePath> = stack.misshown_directories().into_iter().map(|(path, _)| path).collect();
    for (path, entry) in stack.tree().iter() {
        if misshown.contains(path) || needs_materialising(entry) {
            steps.push(place(path, entry));
        }
    }
    steps
}

/// Steps for what `after` has beyond `before`, both of the same mounted stack.
pub fn materialise_added(before: &Stack, after: &Stack) -> Vec<Step> {
    let known: BTreeSet<TreePath> = before.hidden().into_iter().collect();
    // Of a directory that was hidden as a whole and is there again, what it held before.
    let hidden = after.hidden().into_iter().filter(|path| !known.contains(path));
    let removed = hidden.map(|path| Step::Remove { path: path.as_bytes().to_vec() });
    let before = before.tree();
    let misshown: BTreeSet<TreePath> = after.misshown_directories().into_iter().map(|(path, _)| path).collect();
    let added = after
        .tree()
        .iter()
        .filter(|(path, entry)| misshown.contains(*path) || needs_materialising(entry))
        .filter(|(path, entry)| before.get(path) != Some(entry) || misshown.contains(*path))
        .map(|(path, entry)| place(path, entry));
    removed.chain(added).collect()
}

/// The step that makes an entry again on top of the mounted layers.
pub fn place(path: &TreePath, entry: &Entry) -> Step {
    let what = match &entry.kind {
        Kind::CharDevice { major, minor } => Placed::Device { char: true, major: *major, minor: *minor },
        Kind::BlockDevice { major, minor } => Placed::Device { char: false, major: *major, minor: *minor },
        Kind::Fifo => Placed::Fifo,
        Kind::File(_) | Kind::Directory | Kind::Symlink(_) | Kind::HardLink(_) | Kind::Socket => Placed::Existing,
    };
    let Meta { mode, uid, gid, mtime: Time { seconds, nanoseconds }, xattrs } = &entry.meta;
    Step::Place {
        path: path.as_bytes().to_vec(),
        what,
        mode: (!matches!(entry.kind, Kind::Symlink(_))).then_some(*mode),
        uid: *uid,
        gid: *gid,
        mtime: Some((*seconds, *nanoseconds)),
        xattrs: xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
    }
}
