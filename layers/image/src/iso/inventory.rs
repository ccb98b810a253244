//! What a tree asks of an image, before anything has a place.

use std::collections::BTreeMap;

use layers::{Content, Entry, Kind, Time, Tree, TreePath};

use super::format::file_type;
use super::name::{self, Alphabet};
use super::{Options, unsupported};
use crate::Error;

/// Longest target that Linux follows, in bytes (`PATH_MAX` without its NUL).
const TARGET_MAX: usize = 4095;
/// Largest file that is patched, in bytes: it is kept in memory. GRUB's are some 100 KiB.
const PATCHED_MAX: u64 = 1 << 20;
/// Least size of one: GRUB's own field ends there.
const PATCHED_MIN: u64 = 2556;

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Is {
    Directory,
    /// With its place in [`Inventory::files`].
    File(usize),
    Symlink(Box<[u8]>),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
    Socket,
}

impl Is {
    fn file_type(&self) -> u32 {
        match self {
            Self::Directory => file_type::DIRECTORY,
            Self::File(_) => file_type::REGULAR,
            Self::Symlink(_) => file_type::SYMLINK,
            Self::CharDevice(..) => file_type::CHARACTER,
            Self::BlockDevice(..) => file_type::BLOCK,
            Self::Fifo => file_type::FIFO,
            Self::Socket => file_type::SOCKET,
        }
    }
}

/// A path of the tree.
pub(super) struct Node {
    pub name: Box<[u8]>,
    pub is: Is,
    /// With the type of the file.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    pub links: u32,
    /// What the names of one file share.
    pub serial: u32,
    pub parent: usize,
    /// What a directory holds, in the order of the tree.
    pub children: Vec<usize>,
    /// Identifiers in directory records; without one of Joliet it is not shown there.
    pub plain: Vec<u8>,
    pub joliet: Option<Vec<u8>>,
}

/// Bytes that lie once, however many files have them.
pub(super) struct File {
    pub content: Content,
    /// The first file that has them, for messages.
    pub path: TreePath,
    /// First sector.
    pub start: u32,
}

/// Everything a tree asks for.
pub(super) struct Inventory {
    /// The root first, then as in the tree.
    pub nodes: Vec<Node>,
    pub files: Vec<File>,
    /// The file that a BIOS boots: its bytes are changed, so no other file shares them.
    pub boot_file: Option<usize>,
}

/// Takes stock of a tree.
pub(super) fn take(tree: &Tree, options: &Options<'_>) -> Result<Inventory, Error> {
    let boot_path = options.bios.as_ref().map(|bios| boot_path(tree, &bios.image)).transpose()?;
    let mut inventory = Inventory { nodes: Vec::with_capacity(tree.len()), files: Vec::new(), boot_file: None };
    let mut by_content = BTreeMap::new();
    let mut directories = BTreeMap::new();
    // Every target of a hard link comes before it.
    let mut by_path = BTreeMap::new();
    let targets = tree.iter().filter_map(|(_, entry)| match &entry.kind {
        Kind::HardLink(target) => Some(target),
        _ => None,
    });
    let targets: std::collections::BTreeSet<&TreePath> = targets.collect();
    for (path, entry) in tree.iter() {
        let number = inventory.nodes.len();
        let serial = u32::try_from(number + 1).map_err(|_| unsupported("the tree", "it has more than 2^32 files"))?;
        let parent = path.parent().and_then(|parent| directories.get(&parent).copied()).unwrap_or(0);
        let mut node = if let Kind::HardLink(target) = &entry.kind {
            let Some(&first) = by_path.get(target) else {
                return Err(unsupported(
                    format_args!("the hard link {path} to {target}"),
                    "its target is missing, comes later, or is a directory",
                ));
            };
            let first: &mut Node = &mut inventory.nodes[first];
            first.links = first.links.saturating_add(1);
            Node {
                name: path.name().into(),
                is: first.is.clone(),
                children: Vec::new(),
                plain: Vec::new(),
                joliet: None,
                ..*first
            }
        } else {
            let is = settle(path, entry, &mut inventory.files, &mut by_content, boot_path.as_ref() == Some(path))?;
            if boot_path.as_ref() == Some(path)
                && let Is::File(file) = is
            {
                inventory.boot_file = Some(file);
            }
            let meta = &entry.meta;
            Node {
                name: path.name().into(),
                mode: is.file_type() | meta.mode & !file_type::MASK,
                links: if is == Is::Directory { 2 } else { 1 },
                is,
                uid: meta.uid,
                gid: meta.gid,
                mtime: meta.mtime,
                serial,
                parent,
                children: Vec::new(),
                plain: Vec::new(),
                joliet: None,
            }
        };
        node.parent = parent;
        if node.is == Is::Directory {
            directories.insert(path.clone(), number);
        } else if targets.contains(path) {
            by_path.insert(path, number);
        }
        if number > 0 {
            let above = &mut inventory.nodes[parent];
            above.children.push(number);
            above.links = above.links.saturating_add(u32::from(node.is == Is::Directory));
        }
        inventory.nodes.push(node);
    }
    share_links(&mut inventory.nodes);
    assign_names(&mut inventory.nodes, options.joliet)?;
    Ok(inventory)
}

/// The file of the tree that a BIOS boots.
fn boot_path(tree: &Tree, path: &TreePath) -> Result<TreePath, Error> {
    let found = match tree.get(path).map(|entry| &entry.kind) {
        Some(Kind::HardLink(target)) => target,
        _ => path,
    };
    match tree.get(found).map(|entry| &entry.kind) {
        Some(Kind::File(content)) if (PATCHED_MIN..=PATCHED_MAX).contains(&content.size) => Ok(found.clone()),
        Some(Kind::File(content)) => Err(unsupported(
            format_args!("{path}, which a BIOS is to boot, of {} bytes", content.size),
            format!("GRUB's image has {PATCHED_MIN} bytes to 1 MiB"),
        )),
        _ => Err(unsupported(format_args!("{path}, which a BIOS is to boot"), "there is no such file in the tree")),
    }
}

fn settle(
    path: &TreePath,
    entry: &Entry,
    files: &mut Vec<File>,
    by_content: &mut BTreeMap<Content, usize>,
    patched: bool,
) -> Result<Is, Error> {
    Ok(match &entry.kind {
        Kind::Directory => Is::Directory,
        Kind::File(content) => {
            let next = files.len();
            let file = if patched { next } else { *by_content.entry(*content).or_insert(next) };
            if file == next {
                files.push(File { content: *content, path: path.clone(), start: 0 });
            }
            Is::File(file)
        }
        Kind::Symlink(target) if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) => {
            return Err(unsupported(
                format_args!("the symbolic link {path}"),
                format!("its target must have 1 to {TARGET_MAX} bytes, none of them NUL"),
            ));
        }
        Kind::Symlink(target) => Is::Symlink(target.clone()),
        // Readers take such a pair for a number of the old kind, whose major lies in its second byte.
        Kind::CharDevice { major: 0, minor } | Kind::BlockDevice { major: 0, minor } if *minor > 0xff => {
            return Err(unsupported(
                format_args!("the device {path}, 0:{minor}"),
                "with major 0 the minor number must be below 256",
            ));
        }
        Kind::CharDevice { major, minor } => Is::CharDevice(*major, *minor),
        Kind::BlockDevice { major, minor } => Is::BlockDevice(*major, *minor),
        Kind::Fifo => Is::Fifo,
        Kind::Socket => Is::Socket,
        Kind::HardLink(_) => return Err(unsupported(path, "it is a hard link to a hard link")),
    })
}

/// Each name of a file says how many there are.
fn share_links(nodes: &mut [Node]) {
    let first = |node: &Node| node.serial as usize - 1;
    for number in 0..nodes.len() {
        nodes[number].links = nodes[first(&nodes[number])].links;
    }
}

fn assign_names(nodes: &mut [Node], joliet: bool) -> Result<(), Error> {
    for directory in 0..nodes.len() {
        let children = std::mem::take(&mut nodes[directory].children);
        let named = |child: &usize| (&*nodes[*child].name, nodes[*child].is == Is::Directory);
        let names: Vec<_> = children.iter().map(named).collect();
        let plain = name::assign(Alphabet::Plain, &names)?;
        // Windows knows no links and devices.
        let shown = |child: &&usize| joliet && matches!(nodes[**child].is, Is::Directory | Is::File(_));
        let shown: Vec<usize> = children.iter().filter(shown).copied().collect();
        let names: Vec<_> = shown.iter().map(named).collect();
        let long = name::assign(Alphabet::Joliet, &names)?;
        for (&child, plain) in children.iter().zip(plain) {
            nodes[child].plain = plain;
        }
        for (child, long) in shown.into_iter().zip(long) {
            nodes[child].joliet = Some(long);
        }
        nodes[directory].children = children;
    }
    Ok(())
}
