//! Settles where everything lies, before a byte is written.

use std::collections::BTreeMap;

use layers::{Content, Entry, Kind as EntryKind, Meta, Time, Tree, TreePath};

use super::Options;
use super::format::{FIRST_CLUSTER, FORMAT, Geometry, Kind, SECTOR, SLOT, SLOTS_MAX};
use super::name::{self, Short};
use super::size::{SECTORS_MAX, choose, smallest};
use crate::Error;

/// Slots of the fixed root directory of FAT12 and FAT16, unless more are needed (fatgen103,
/// "BPB_RootEntCnt").
const ROOT_SLOTS: u64 = 512;
/// Slots are counted in 16 bits there, and fill whole sectors.
const ROOT_SLOTS_MAX: u64 = 65_520;

/// A file or directory with its place.
pub(crate) struct Node {
    pub path: TreePath,
    pub name: String,
    pub short: Short,
    /// `None` for a directory.
    pub content: Option<Content>,
    pub mtime: Time,
    pub read_only: bool,
    pub parent: usize,
    /// What a directory holds, in the order of the tree.
    pub children: Vec<usize>,
    /// Slots of a directory.
    pub slots: u64,
    /// First cluster; 0 where there is none.
    pub start: u32,
    pub clusters: u32,
}

impl Node {
    fn bytes(&self) -> u64 {
        self.content.map_or(self.slots * SLOT as u64, |content| content.size)
    }
}

/// A FAT file system whose bytes are settled; a [`crate::Source`].
pub struct Plan {
    pub(crate) geometry: Geometry,
    pub(crate) options: Options,
    pub(crate) label: Option<Short>,
    /// The root first, then as in the tree.
    pub(crate) nodes: Vec<Node>,
    /// Nodes that own clusters, in the order in which these lie.
    pub(crate) order: Vec<usize>,
    /// The first cluster that nobody owns.
    pub(crate) free: u32,
}

impl Plan {
    /// Which FAT it became.
    pub fn kind(&self) -> Kind {
        self.geometry.kind
    }

    /// Size of a cluster in bytes.
    pub fn cluster_size(&self) -> u64 {
        self.geometry.cluster_bytes()
    }

    /// Bytes in clusters that nobody owns.
    pub fn free_bytes(&self) -> u64 {
        let used = u64::from(self.free - FIRST_CLUSTER);
        (self.geometry.clusters - used) * self.geometry.cluster_bytes()
    }
}

fn unsupported(what: impl ToString, reason: impl Into<String>) -> Error {
    Error::Unsupported { format: FORMAT, what: what.to_string(), reason: reason.into() }
}

/// Settles a file system that holds a tree. Owners and permissions, which FAT does not know, are
/// dropped, but for the write permission; a hard link becomes a copy.
///
/// # Errors
/// [`Error::TooSmall`] with the exact size that would do; [`Error::Unsupported`] with the path for
/// what FAT cannot keep: symbolic links, devices, files from 4 GiB on, names that are no UTF-8, that
/// have forbidden characters, or that differ in case only.
pub fn plan(tree: &Tree, options: &Options) -> Result<Plan, Error> {
    if !options.size.is_multiple_of(SECTOR) || options.size / SECTOR > SECTORS_MAX {
        return Err(unsupported(
            format_args!("a size of {} bytes", options.size),
            "it must be a multiple of 512 below 2 TiB",
        ));
    }
    if !options.oem.is_ascii() || options.oem.len() > 8 {
        return Err(unsupported(format_args!("the maker's name {:?}", options.oem), "it must be 8 ASCII characters"));
    }
    let label = check_label(&options.label)?;
    let mut nodes = collect(tree)?;
    name_children(&mut nodes, label.is_some())?;

    let root_slots = root_slots(&nodes);
    let fits = |geometry: &Geometry| holds(&nodes, root_slots, geometry);
    let chosen = choose(options.kind, options.size, root_slots).filter(fits);
    let Some(geometry) = chosen else {
        // A larger one that would do is the answer, for the size is a wish: else one that is smaller.
        let needed = smallest(options.kind, options.size, root_slots, fits)
            .or_else(|_| smallest(options.kind, 0, root_slots, fits))?;
        if needed <= options.size {
            return Err(unsupported(
                format_args!("a size of {} bytes", options.size),
                format!("this kind of FAT cannot be so large; {needed} bytes would do"),
            ));
        }
        return Err(Error::TooSmall {
            what: "the files into a FAT file system".into(),
            needed,
            available: options.size,
        });
    };
    let (order, free) = place(&mut nodes, &geometry)?;
    Ok(Plan { geometry, options: options.clone(), label, nodes, order, free })
}

/// The least size in bytes, at least `from`, of a file system with these options that holds a tree; the
/// size in the options does not count.
///
/// # Errors
/// As [`plan`], but for [`Error::TooSmall`].
pub fn minimum_size_from(tree: &Tree, options: &Options, from: u64) -> Result<u64, Error> {
    let label = check_label(&options.label)?;
    let mut nodes = collect(tree)?;
    name_children(&mut nodes, label.is_some())?;
    let root_slots = root_slots(&nodes);
    smallest(options.kind, from, root_slots, |geometry| holds(&nodes, root_slots, geometry))
}

/// Slots of the fixed root directory of FAT12 and FAT16.
fn root_slots(nodes: &[Node]) -> u64 {
    nodes[0].slots.max(ROOT_SLOTS).next_multiple_of(SECTOR / SLOT as u64)
}

/// Whether a geometry has room for everything.
fn holds(nodes: &[Node], root_slots: u64, geometry: &Geometry) -> bool {
    (geometry.root_slots == 0 || root_slots <= ROOT_SLOTS_MAX)
        && needed_clusters(nodes, geometry).is_some_and(|needed| needed <= geometry.clusters)
}

fn check_label(label: &str) -> Result<Option<Short>, Error> {
    if label.is_empty() {
        return Ok(None);
    }
    let upper = label.to_ascii_uppercase();
    let allowed = |byte: u8| byte == b' ' || byte.is_ascii_alphanumeric() || b"!#$%&'()-@^_`{}~".contains(&byte);
    if upper.len() > 11 || !upper.bytes().all(allowed) || upper.starts_with(' ') {
        return Err(unsupported(
            format_args!("the label {label:?}"),
            "it must be at most 11 ASCII letters, digits or signs that short names may have",
        ));
    }
    let mut short = [b' '; 11];
    short[..upper.len()].copy_from_slice(upper.as_bytes());
    Ok(Some(short))
}

/// Turns the entries of the tree into nodes.
fn collect(tree: &Tree) -> Result<Vec<Node>, Error> {
    let mut nodes: Vec<Node> = Vec::with_capacity(tree.len());
    let mut directories = BTreeMap::new();
    for (path, entry) in tree.iter() {
        let (content, meta) = settle(tree, path, entry)?;
        if content.is_some_and(|content| content.size > u64::from(u32::MAX)) {
            return Err(unsupported(path, "the file is 4 GiB or larger"));
        }
        let name = name::check(path.name(), &path.to_string())?.to_owned();
        let number = nodes.len();
        let parent = path.parent().and_then(|parent| directories.get(&parent).copied()).unwrap_or(0);
        if content.is_none() {
            directories.insert(path.clone(), number);
        }
        nodes.push(Node {
            path: path.clone(),
            name,
            short: [b' '; 11],
            content,
            mtime: meta.mtime,
            read_only: content.is_some() && meta.mode & 0o222 == 0,
            parent,
            children: Vec::new(),
            slots: 0,
            start: 0,
            clusters: 0,
        });
        if number != 0 {
            nodes[parent].children.push(number);
        }
    }
    Ok(nodes)
}

/// What FAT can keep of an entry.
fn settle<'a>(tree: &'a Tree, path: &TreePath, entry: &'a Entry) -> Result<(Option<Content>, &'a Meta), Error> {
    let refuse = |what: &str| Err(unsupported(path, format!("{what} cannot be kept there")));
    match &entry.kind {
        EntryKind::Directory => Ok((None, &entry.meta)),
        EntryKind::File(content) => Ok((Some(*content), &entry.meta)),
        EntryKind::HardLink(target) => match tree.get(target) {
            Some(Entry { kind: EntryKind::File(content), meta }) => Ok((Some(*content), meta)),
            _ => refuse("a hard link to something other than a file"),
        },
        EntryKind::Symlink(_) => refuse("a symbolic link"),
        EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => refuse("a device"),
        EntryKind::Fifo | EntryKind::Socket => refuse("a pipe or socket"),
    }
}

/// Gives short names, refuses names that readers cannot tell apart, and counts slots.
fn name_children(nodes: &mut [Node], has_label: bool) -> Result<(), Error> {
    for directory in 0..nodes.len() {
        if nodes[directory].content.is_some() {
            continue;
        }
        let children = nodes[directory].children.clone();
        let mut seen = BTreeMap::new();
        for &child in &children {
            if let Some(other) = seen.insert(name::folded(&nodes[child].name), child) {
                let other = &nodes[other].path;
                return Err(unsupported(
                    &nodes[child].path,
                    format!("its name and that of {other} differ in case only"),
                ));
            }
        }
        let names: Vec<&str> = children.iter().map(|&child| nodes[child].name.as_str()).collect();
        let shorts = name::assign(&names)?;
        // The root has a label where others have "." and "..".
        let mut slots = if directory == 0 { u64::from(has_label) } else { 2 };
        for (child, short) in children.into_iter().zip(shorts) {
            slots += name::slots(&nodes[child].name, &short);
            nodes[child].short = short;
        }
        if slots > SLOTS_MAX {
            return Err(unsupported(&nodes[directory].path, "the directory needs more than 65,536 slots"));
        }
        nodes[directory].slots = slots;
    }
    Ok(())
}

/// Clusters of one node: none for an empty file, at least one for a directory.
fn clusters_of(number: usize, node: &Node, geometry: &Geometry) -> u64 {
    match node.content {
        None if number == 0 && geometry.root_slots != 0 => 0,
        None => node.bytes().div_ceil(geometry.cluster_bytes()).max(1),
        Some(_) => node.bytes().div_ceil(geometry.cluster_bytes()),
    }
}

fn needed_clusters(nodes: &[Node], geometry: &Geometry) -> Option<u64> {
    let mut each = nodes.iter().enumerate().map(|(number, node)| clusters_of(number, node, geometry));
    each.try_fold(0u64, |sum, clusters| sum.checked_add(clusters))
}

/// Directories first, then files, each in the order of the tree and each in one piece.
fn place(nodes: &mut [Node], geometry: &Geometry) -> Result<(Vec<usize>, u32), Error> {
    let directories = (0..nodes.len()).filter(|&number| nodes[number].content.is_none());
    let files = (0..nodes.len()).filter(|&number| nodes[number].content.is_some());
    let mut order: Vec<usize> = directories.chain(files).collect();
    let mut free = FIRST_CLUSTER;
    let overflow = || Error::Overflow("the number of clusters");
    for &number in &order {
        let clusters = u32::try_from(clusters_of(number, &nodes[number], geometry)).map_err(|_| overflow())?;
        if clusters > 0 {
            nodes[number].start = free;
            nodes[number].clusters = clusters;
            free = free.checked_add(clusters).ok_or_else(overflow)?;
        }
    }
    order.retain(|&number| nodes[number].clusters > 0);
    Ok((order, free))
}
