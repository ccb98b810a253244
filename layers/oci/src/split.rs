//! Cuts a tree into the layers of an image: docs/decisions/oci-layers.md has the reasons.
//!
//! The layers are a partition of the tree: each path that is not a directory is in one of them.
//! Each has the directories above what it has. So they can be put on each other in any order, and
//! what changes in one package touches the layer of that package, and the topmost.

use std::collections::{BTreeMap, BTreeSet};

use layers::{Change, Entry, Error, Kind, Layer, Sha256, Time, Tree, TreePath};

/// The most layers that an image has if nobody says otherwise: engines take 127, and an image made
/// from this one needs room for its own.
pub const LAYERS_DEFAULT: usize = 64;
/// What a package must bring to have a layer of its own, in bytes of content.
const LARGE_BYTES: u64 = 1 << 20;

/// Who brought the paths of a tree.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'l> {
    /// What it is called in the history: a package's name, a step's.
    pub name: &'l str,
    /// What it brought.
    pub layer: &'l Layer,
    /// A package: one among many, to be grouped. Otherwise a step, which comes above all packages.
    pub is_package: bool,
}

/// One layer of an image to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Names of the origins, for the history.
    pub names: Vec<String>,
    /// Its changes.
    pub layer: Layer,
}

/// Which layer a path goes to; in the order of the image.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Group {
    Large(String),
    Hashed(u64),
    Step(usize),
    Top,
}

/// How many layers there are of each kind. A function of the limit alone: were it one of the
/// number of packages, a package more would move all others.
struct Shares {
    large: usize,
    hashed: u64,
    steps: usize,
}

impl Shares {
    fn of(limit: usize) -> Self {
        let hashed = limit / 4;
        let steps = limit / 8;
        // One is the topmost.
        let large = limit.saturating_sub(1).saturating_sub(hashed).saturating_sub(steps);
        Self { large, hashed: hashed as u64, steps }
    }
}

/// Cuts `tree` into at most `limit` layers on top of `base`, the bottom first; at least one.
/// `origins` are in the order in which they were stacked. Applied to `base`, the layers give `tree`.
///
/// # Errors
/// A tree whose hard links are not settled ([`Tree::check`]).
pub fn split(tree: &Tree, base: Option<&Tree>, origins: &[Origin<'_>], limit: usize) -> Result<Vec<Part>, Error> {
    tree.check()?;
    let empty = Tree::default();
    let changed = match base {
        Some(base) => Layer::between(base, tree),
        None => {
            Layer { changes: tree.iter().map(|(path, entry)| (path.clone(), Change::Set(entry.clone()))).collect() }
        }
    };
    let changed = with_all_names(changed, tree);
    let groups = groups(origins, &Shares::of(limit));
    let owners = Owners { tree, base: base.unwrap_or(&empty), brought: brought(origins), groups: &groups };
    let mut parts: BTreeMap<&Group, BTreeMap<TreePath, Change>> = BTreeMap::new();
    let top = Group::Top;
    for (path, change) in &changed.changes {
        let group = match change {
            Change::Set(entry) | Change::Replace(entry) => owners.of(path, entry).unwrap_or(&top),
            Change::Remove => &top,
        };
        parts.entry(group).or_default().insert(path.clone(), change.clone());
    }
    parts.entry(&top).or_default();
    share_directories(tree, &mut parts);
    let mut names: BTreeMap<&Group, BTreeSet<&str>> = BTreeMap::new();
    let mut steps: BTreeMap<&Group, Vec<&str>> = BTreeMap::new();
    for (origin, group) in origins.iter().zip(&groups) {
        if origin.is_package {
            names.entry(group).or_default().insert(origin.name);
        } else {
            steps.entry(group).or_default().push(origin.name);
        }
    }
    let named = |group: &Group| -> Vec<String> {
        let packages = names.get(group).into_iter().flatten();
        packages.chain(steps.get(group).into_iter().flatten()).map(|name| (*name).to_owned()).collect()
    };
    Ok(parts
        .into_iter()
        .filter(|(group, changes)| **group == Group::Top || !changes.is_empty())
        .map(|(group, changes)| Part { names: named(group), layer: Layer { changes } })
        .collect())
}

/// A layer in which each file that it names has all of its names: readers that keep layers apart
/// cannot link to a file of another one.
fn with_all_names(mut layer: Layer, tree: &Tree) -> Layer {
    let files: BTreeSet<TreePath> = layer
        .changes
        .values()
        .filter_map(|change| match change {
            Change::Set(Entry { kind: Kind::HardLink(first), .. }) => Some(first.clone()),
            _ => None,
        })
        .collect();
    for (path, entry) in tree.iter() {
        let named = match &entry.kind {
            Kind::HardLink(first) => files.contains(first),
            _ => files.contains(path),
        };
        if named {
            layer.changes.entry(path.clone()).or_insert_with(|| Change::Set(entry.clone()));
        }
    }
    layer
}

/// The group of each origin.
fn groups(origins: &[Origin<'_>], shares: &Shares) -> Vec<Group> {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for origin in origins.iter().filter(|origin| origin.is_package) {
        let bytes = origin.layer.files().fold(0u64, |sum, (_, content)| sum.saturating_add(content.size));
        let size = sizes.entry(origin.name).or_default();
        *size = size.saturating_add(bytes);
    }
    let mut large: Vec<(u64, &str)> =
        sizes.iter().filter(|(_, size)| **size >= LARGE_BYTES).map(|(name, size)| (*size, *name)).collect();
    large.sort_by(|one, two| two.0.cmp(&one.0).then(one.1.cmp(two.1)));
    let large: BTreeSet<&str> = large.into_iter().take(shares.large).map(|(_, name)| name).collect();
    let mut step = 0usize;
    let mut group = |origin: &Origin<'_>| {
        if origin.is_package {
            return match (large.contains(origin.name), bucket(origin.name).checked_rem(shares.hashed)) {
                (true, _) => Group::Large(origin.name.to_owned()),
                (false, Some(bucket)) => Group::Hashed(bucket),
                (false, None) => Group::Top,
            };
        }
        step = step.saturating_add(1);
        if step > shares.steps { Group::Top } else { Group::Step(step) }
    };
    origins.iter().map(&mut group).collect()
}

fn bucket(name: &str) -> u64 {
    let Sha256([a, b, c, d, e, f, g, h, ..]) = Sha256::of(name.as_bytes());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Who brought what, the topmost last.
fn brought<'l>(origins: &[Origin<'l>]) -> BTreeMap<&'l TreePath, Vec<(usize, &'l Entry)>> {
    let mut brought: BTreeMap<&TreePath, Vec<(usize, &Entry)>> = BTreeMap::new();
    for (position, origin) in origins.iter().enumerate() {
        for (path, change) in &origin.layer.changes {
            if let Change::Set(entry) | Change::Replace(entry) = change {
                brought.entry(path).or_default().push((position, entry));
            }
        }
    }
    brought
}

struct Owners<'a> {
    tree: &'a Tree,
    base: &'a Tree,
    brought: BTreeMap<&'a TreePath, Vec<(usize, &'a Entry)>>,
    groups: &'a [Group],
}

impl Owners<'_> {
    /// The group of the topmost origin that brought the same thing to this path, whatever was said
    /// of its owner, mode and times since.
    fn of(&self, path: &TreePath, entry: &Entry) -> Option<&Group> {
        // All names of a file are where it is: a link cannot lead out of a layer.
        let (path, entry) = match &entry.kind {
            Kind::HardLink(first) => (first, self.tree.get(first)?),
            _ => (path, entry),
        };
        // What the base already had was changed by whoever came last.
        if !entry.is_directory() && self.base.get(path).is_some_and(|old| old.kind == entry.kind) {
            return None;
        }
        let mut origins = self.brought.get(path)?.iter().rev();
        let (position, _) = origins.find(|(_, brought)| brought.kind == entry.kind)?;
        self.groups.get(*position)
    }
}

/// Gives each layer the directories above what it has. Those that several layers have are without
/// their times in all but the topmost: the time of `/usr/bin` changes with any package.
fn share_directories(tree: &Tree, parts: &mut BTreeMap<&Group, BTreeMap<TreePath, Change>>) {
    let mut holders: BTreeMap<TreePath, usize> = BTreeMap::new();
    for changes in parts.values_mut() {
        let above: BTreeSet<TreePath> = changes.keys().flat_map(TreePath::ancestors).collect();
        for path in above {
            if let Some(entry) = tree.get(&path) {
                changes.entry(path).or_insert_with(|| Change::Set(entry.clone()));
            }
        }
        for (path, change) in changes.iter() {
            if matches!(change, Change::Set(entry) if entry.is_directory()) {
                let count = holders.entry(path.clone()).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
    let shared: Vec<&TreePath> = holders.iter().filter(|(_, count)| **count > 1).map(|(path, _)| path).collect();
    let mut top = BTreeMap::new();
    for path in shared {
        let Some(entry) = tree.get(path) else { continue };
        for (group, changes) in parts.iter_mut() {
            if **group != Group::Top
                && let Some(Change::Set(shown)) = changes.get_mut(path)
            {
                shown.meta.mtime = Time::default();
            }
        }
        top.insert(path.clone(), Change::Set(entry.clone()));
    }
    if let Some((_, changes)) = parts.iter_mut().find(|(group, _)| ***group == Group::Top) {
        let above: BTreeSet<TreePath> = top.keys().flat_map(TreePath::ancestors).collect();
        for path in above {
            if let Some(entry) = tree.get(&path) {
                top.entry(path).or_insert_with(|| Change::Set(entry.clone()));
            }
        }
        changes.extend(top);
    }
}
