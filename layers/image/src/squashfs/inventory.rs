//! What a tree asks of a file system, before a byte is written: inodes in the order of paths,
//! the names in each directory, each content, owner and set of attributes once.

use std::collections::BTreeMap;

use layers::{Content, Entry, Kind, Tree, TreePath};

use super::attribute::{Attributes, Sets};
use super::format::{self, TARGET_MAX, encode_device};
use super::{Options, unsupported};
use crate::Error;

/// Most different owners and groups: their number has 16 bits in the superblock.
const IDS_MAX: usize = 65535;

/// An inode.
pub(super) struct Node<'t> {
    pub mode: u16,
    /// Indexes of owner and group.
    pub owners: (u16, u16),
    /// Seconds since 1970.
    pub mtime: u32,
    /// Names it has; of a directory, as Linux counts: itself, "." and each directory in it.
    pub links: u32,
    /// The index of its attributes.
    pub attributes: Option<u32>,
    pub what: What<'t>,
}

/// What an inode is.
pub(super) enum What<'t> {
    /// A file, by the index of its content; `None`: it is empty.
    File(Option<usize>),
    Directory,
    Symlink(&'t [u8]),
    Device {
        block: bool,
        numbers: u32,
    },
    Fifo,
    Socket,
}

impl What<'_> {
    /// The number of the basic type.
    pub fn number(&self) -> u16 {
        match self {
            Self::File(_) => format::FILE,
            Self::Directory => format::DIRECTORY,
            Self::Symlink(_) => format::SYMLINK,
            Self::Device { block: true, .. } => format::BLOCK_DEVICE,
            Self::Device { block: false, .. } => format::CHAR_DEVICE,
            Self::Fifo => format::FIFO,
            Self::Socket => format::SOCKET,
        }
    }
}

/// A directory with its names in order.
pub(super) struct Directory<'t> {
    /// The index of its inode.
    pub node: usize,
    /// That of the directory it is in; the root's own for the root.
    pub parent: usize,
    /// Names, and the index of the inode of each.
    pub children: Vec<(&'t [u8], usize)>,
}

/// A content, and a path that has it.
pub(super) struct File<'t> {
    pub content: Content,
    pub path: &'t TreePath,
}

/// Everything in the tree.
#[derive(Default)]
pub(super) struct Inventory<'t> {
    /// In the order of paths; the number of an inode is its index and one.
    pub nodes: Vec<Node<'t>>,
    /// In the order of paths.
    pub directories: Vec<Directory<'t>>,
    /// In the order of the first path of each.
    pub files: Vec<File<'t>>,
    pub ids: Vec<u32>,
    pub sets: Sets<'t>,
}

struct Taking<'t> {
    inventory: Inventory<'t>,
    /// Inodes of what has or may have more names.
    targets: BTreeMap<&'t TreePath, Option<usize>>,
    contents: BTreeMap<Content, usize>,
    id_numbers: BTreeMap<u32, u16>,
    /// The indexes of the directories on the way to where we are.
    above: Vec<usize>,
}

/// Goes through the tree once.
pub(super) fn take<'t>(tree: &'t Tree, options: &Options) -> Result<Inventory<'t>, Error> {
    let targets = tree.iter().filter_map(|(_, entry)| match &entry.kind {
        Kind::HardLink(target) => Some((target, None)),
        _ => None,
    });
    let mut taking = Taking {
        inventory: Inventory::default(),
        targets: targets.collect(),
        contents: BTreeMap::new(),
        id_numbers: BTreeMap::new(),
        above: Vec::new(),
    };
    for (path, entry) in tree.iter() {
        taking.add(path, entry, options)?;
    }
    Ok(taking.inventory)
}

impl<'t> Taking<'t> {
    fn add(&mut self, path: &'t TreePath, entry: &'t Entry, options: &Options) -> Result<(), Error> {
        self.above.truncate(path.components().count());
        let parent = self.above.last().copied();
        let node = match &entry.kind {
            Kind::HardLink(target) => self.link(path, target)?,
            _ => self.create(path, entry, options)?,
        };
        let inventory = &mut self.inventory;
        if let Some(directory) = parent.and_then(|index| inventory.directories.get_mut(index)) {
            directory.children.push((path.name(), node));
        }
        if entry.is_directory() {
            let parent_node =
                parent.and_then(|index| inventory.directories.get(index)).map_or(node, |above| above.node);
            if let Some(above) = inventory.nodes.get_mut(parent_node).filter(|_| parent_node != node) {
                above.links = above.links.saturating_add(1);
            }
            self.above.push(inventory.directories.len());
            inventory.directories.push(Directory { node, parent: parent_node, children: Vec::new() });
        }
        Ok(())
    }

    fn link(&mut self, path: &TreePath, target: &TreePath) -> Result<usize, Error> {
        let found = self.targets.get(target).copied().flatten();
        let node = found.and_then(|index| self.inventory.nodes.get_mut(index));
        match (found, node) {
            (Some(index), Some(node)) if !matches!(node.what, What::Directory) => {
                node.links = node.links.saturating_add(1);
                Ok(index)
            }
            _ => Err(unsupported(
                format!("the hard link {path} to {target}"),
                "its target is missing, comes later, or is a directory",
            )),
        }
    }

    /// Makes the inode of an entry that is not a hard link.
    fn create(&mut self, path: &'t TreePath, entry: &'t Entry, options: &Options) -> Result<usize, Error> {
        let what = match &entry.kind {
            Kind::File(content) if content.size == 0 => What::File(None),
            Kind::File(content) => What::File(Some(self.content(path, *content))),
            Kind::Directory => What::Directory,
            Kind::Symlink(target) => {
                if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) {
                    return Err(unsupported(
                        format!("the symbolic link {path}"),
                        format!("its target must have 1 to {TARGET_MAX} bytes, none of them NUL"),
                    ));
                }
                What::Symlink(target)
            }
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                let Some(numbers) = encode_device(*major, *minor) else {
                    return Err(unsupported(
                        format!("the device {path} ({major}, {minor})"),
                        "majors end at 4095 and minors at 1048575",
                    ));
                };
                What::Device { block: matches!(entry.kind, Kind::BlockDevice { .. }), numbers }
            }
            Kind::Fifo => What::Fifo,
            // A hard link gets no inode.
            Kind::Socket | Kind::HardLink(_) => What::Socket,
        };
        let meta = &entry.meta;
        let attributes = Attributes::of(&meta.xattrs, options.other_attributes, path)?;
        let node = Node {
            // Twelve bits of permissions; the type says the rest.
            mode: (meta.mode & 0o7777) as u16,
            owners: (self.id_number(meta.uid)?, self.id_number(meta.gid)?),
            // What lies outside is moved to the nearest second that there is.
            mtime: meta.mtime.seconds.clamp(0, u32::MAX.into()) as u32,
            links: if entry.is_directory() { 2 } else { 1 },
            attributes: self.inventory.sets.number(attributes)?,
            what,
        };
        let index = self.inventory.nodes.len();
        // Numbers begin at 1, and one is kept free for the root's parent.
        if index + 1 >= u32::MAX as usize {
            return Err(unsupported("the tree", "it has 2^32 files or more"));
        }
        self.inventory.nodes.push(node);
        if let Some(target) = self.targets.get_mut(path) {
            *target = Some(index);
        }
        Ok(index)
    }

    /// The index of a content: what several files have is kept once.
    fn content(&mut self, path: &'t TreePath, content: Content) -> usize {
        let files = &mut self.inventory.files;
        *self.contents.entry(content).or_insert_with(|| {
            files.push(File { content, path });
            files.len() - 1
        })
    }

    fn id_number(&mut self, id: u32) -> Result<u16, Error> {
        if let Some(number) = self.id_numbers.get(&id) {
            return Ok(*number);
        }
        let ids = &mut self.inventory.ids;
        let number = u16::try_from(ids.len()).ok().filter(|_| ids.len() < IDS_MAX).ok_or_else(|| {
            unsupported("the tree", format!("it has more than {IDS_MAX} different owners and groups"))
        })?;
        ids.push(id);
        self.id_numbers.insert(id, number);
        Ok(number)
    }
}
