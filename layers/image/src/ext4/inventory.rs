//! What a tree asks of a file system, before anything has a place: inodes in the order of paths,
//! directories and attributes encoded, and how many blocks each needs.

use std::collections::BTreeMap;

use layers::{Content, Entry, Kind, Meta, Tree, TreePath};

use super::attribute;
use super::checksum::Checksums;
use super::directory::{Child, Directory};
use super::extent::{self, MAP_BYTES};
use super::geometry::FIRST_FREE_INODE;
use super::inode::{self, DIRECTORY, INDEX_FLAG, Inode, LINKS_MAX, LOST_AND_FOUND, ROOT, SYMLINK};
use super::{Feature, Options, unsupported};
use crate::Error;

/// Bytes that mke2fs gives lost+found from the start, so that e2fsck need not allocate.
const LOST_AND_FOUND_BYTES: u32 = 16 << 10;
/// Longest target that lies in the inode, bytes (ext4 docs, "Symbolic Links").
const FAST_LINK_MAX: usize = 59;
/// Longest target that Linux follows, bytes (`PATH_MAX` without its NUL).
const TARGET_MAX: usize = 4095;

/// Bytes that we hold and that will fill blocks of an inode.
pub(super) struct Held {
    pub inode: u32,
    /// Where they lie in [`Inventory::bytes`].
    pub start: usize,
    pub end: usize,
}

/// A directory with its blocks, by which paths can be found again.
pub(super) struct Names {
    pub inode: u32,
    pub parent: u32,
    pub start: usize,
    pub end: usize,
}

/// Contents of a file that is not empty.
pub(super) struct File {
    pub inode: u32,
    pub content: Content,
}

/// Everything a tree asks for.
pub(super) struct Inventory {
    /// By number, from 1 on.
    pub inodes: Vec<Inode>,
    /// Directories and long symbolic links: what their blocks hold.
    pub held: Vec<Held>,
    /// All directories.
    pub names: Vec<Names>,
    /// Blocks of attributes, their checksums still missing.
    pub attributes: Vec<Held>,
    /// Regular files.
    pub files: Vec<File>,
    /// What `held` and `attributes` refer to.
    pub bytes: Vec<u8>,
    /// The orphan file's inode.
    pub orphans: Option<u32>,
    /// Bytes of a block, for which this was made.
    pub block_size: u32,
}

impl Inventory {
    /// The inode of a number.
    pub fn inode(&mut self, number: u32) -> Option<&mut Inode> {
        self.inodes.get_mut((number as usize).checked_sub(1)?)
    }

    /// Blocks that the tree's entries need when each file lies in one piece.
    pub fn blocks(&self) -> u64 {
        let block = u64::from(self.block_size);
        let held: u64 = self.held.iter().map(|held| ((held.end - held.start) as u64).div_ceil(block)).sum();
        let files = self.files.iter().fold(0u64, |sum, file| {
            let blocks = file.content.size.div_ceil(block);
            sum.saturating_add(blocks)
                .saturating_add(extent::node_blocks(std::slice::from_ref(&(0..blocks)), self.block_size))
        });
        files.saturating_add(held).saturating_add(self.attributes.len() as u64)
    }
}

/// A directory whose names are being collected.
struct Open<'t> {
    path: &'t TreePath,
    inode: u32,
    parent: u32,
    children: Vec<Child<'t>>,
}

struct Taking<'t, 'o> {
    options: &'o Options,
    inventory: Inventory,
    directories: Vec<Open<'t>>,
    /// Indices of the directories that lead to the entry at hand, the root first.
    above: Vec<usize>,
    /// Targets of hard links, with their inodes once these are known.
    targets: BTreeMap<&'t TreePath, Option<(u32, u8)>>,
}

/// Takes stock of a tree.
pub(super) fn take(tree: &Tree, options: &Options) -> Result<Inventory, Error> {
    let lost_and_found = TreePath::new("lost+found")?;
    let implied = Entry::directory(Meta::root_owned(0o700, options.created));
    let targets = tree
        .iter()
        .filter_map(|(_, entry)| match &entry.kind {
            Kind::HardLink(target) => Some((target, None)),
            _ => None,
        })
        .collect();
    let reserved = (FIRST_FREE_INODE - 1) as usize;
    let mut inodes = Vec::with_capacity(tree.len() + reserved + 1);
    inodes.resize_with(reserved, Inode::reserved);
    if let Some(bad_blocks) = inodes.get_mut(inode::BAD_BLOCKS as usize - 1) {
        bad_blocks.mtime = options.created;
    }
    let mut orphans = None;
    if options.features_at_size().has(Feature::ORPHAN_FILE) {
        inodes.push(Inode::reserved());
        orphans = Some(FIRST_FREE_INODE);
    }
    let mut taking = Taking {
        options,
        inventory: Inventory {
            inodes,
            held: Vec::new(),
            names: Vec::new(),
            attributes: Vec::new(),
            files: Vec::new(),
            bytes: Vec::new(),
            orphans,
            block_size: options.block_bytes(),
        },
        directories: Vec::new(),
        above: Vec::new(),
        targets,
    };
    // In the order of paths even where the tree lacks it, so that a tree that was read from what
    // we wrote gives the same bytes again.
    let mut implied = tree.get(&lost_and_found).is_none().then_some(&implied);
    for (path, entry) in tree.iter() {
        if *path > lost_and_found
            && let Some(implied) = implied.take()
        {
            taking.add(&lost_and_found, implied, Some(LOST_AND_FOUND))?;
        }
        let number = match path {
            path if path.is_root() => Some(ROOT),
            path if *path == lost_and_found => {
                if !entry.is_directory() {
                    return Err(unsupported("/lost+found", "in ext4 it must be a directory, remove or rename it"));
                }
                Some(LOST_AND_FOUND)
            }
            _ => None,
        };
        taking.add(path, entry, number)?;
    }
    if let Some(implied) = implied {
        taking.add(&lost_and_found, implied, Some(LOST_AND_FOUND))?;
    }
    taking.finish()
}

impl<'t> Taking<'t, '_> {
    fn add(&mut self, path: &'t TreePath, entry: &'t Entry, number: Option<u32>) -> Result<(), Error> {
        let depth = path.components().count();
        self.above.truncate(depth);
        let parent = self.above.last().copied();
        let child = match &entry.kind {
            Kind::HardLink(target) => self.link(path, target)?,
            _ => {
                let number = self.create(path, entry, number)?;
                let kind = inode::file_type(&entry.kind).map_or(0, |found| found.entry);
                if let Some(target) = self.targets.get_mut(path) {
                    *target = Some((number, kind));
                }
                Child { name: path.name(), inode: number, kind }
            }
        };
        let parent_inode = parent.and_then(|index| self.directories.get(index)).map_or(ROOT, |open| open.inode);
        if let Some(open) = parent.and_then(|index| self.directories.get_mut(index)) {
            open.children.push(child);
        }
        if entry.is_directory() {
            self.above.push(self.directories.len());
            self.directories.push(Open { path, inode: child.inode, parent: parent_inode, children: Vec::new() });
            if !path.is_root()
                && let Some(parent) = self.inventory.inode(parent_inode)
            {
                parent.links = parent.links.saturating_add(1);
            }
        }
        Ok(())
    }

    fn link(&mut self, path: &'t TreePath, target: &TreePath) -> Result<Child<'t>, Error> {
        let found = self.targets.get(target).copied().flatten();
        let Some((number, kind)) = found.filter(|(_, kind)| *kind != DIRECTORY.entry) else {
            return Err(unsupported(
                format!("the hard link {path} to {target}"),
                "its target is missing, comes later, or is a directory",
            ));
        };
        let links = self.inventory.inode(number).map(|inode| {
            inode.links = inode.links.saturating_add(1);
            inode.links
        });
        if links.is_some_and(|links| links > LINKS_MAX) {
            return Err(unsupported(format!("the hard link {path} to {target}"), "a file has at most 65000 names"));
        }
        Ok(Child { name: path.name(), inode: number, kind })
    }

    /// Makes the inode of an entry that is not a hard link.
    fn create(&mut self, path: &TreePath, entry: &Entry, number: Option<u32>) -> Result<u32, Error> {
        let meta = &entry.meta;
        inode::check_time(meta.mtime, path)?;
        let number = match number {
            Some(number) => number,
            None => {
                let next = u32::try_from(self.inventory.inodes.len() + 1);
                self.inventory.inodes.push(Inode::reserved());
                next.map_err(|_| unsupported("the tree", "it has more than 2^32 files"))?
            }
        };
        let file_type = inode::file_type(&entry.kind).map_or(0, |found| found.mode);
        let mut made = Inode {
            // Twelve bits of permissions below the type.
            mode: file_type | (meta.mode & 0o7777) as u16,
            links: if entry.is_directory() { 2 } else { 1 },
            uid: meta.uid,
            gid: meta.gid,
            mtime: meta.mtime,
            ..Inode::reserved()
        };
        match &entry.kind {
            Kind::File(content) => {
                made.size = content.size;
                made.flags = inode::EXTENTS_FLAG;
                made.map = extent::map(&[], self.inventory.block_size, self.checksums(), &[], |_, _| {})?;
                if content.size > 0 {
                    let most = u64::from(u32::MAX) * u64::from(self.inventory.block_size);
                    if content.size > most {
                        return Err(unsupported(
                            format!("the file {path} of {} bytes", content.size),
                            format!("a file has at most {most} bytes"),
                        ));
                    }
                    self.inventory.files.push(File { inode: number, content: *content });
                }
            }
            Kind::Symlink(target) => self.point(path, target, number, &mut made)?,
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                made.map = inode::encode_device(*major, *minor, path)?;
            }
            Kind::Directory | Kind::Fifo | Kind::Socket | Kind::HardLink(_) => {}
        }
        let attributes = attribute::encode(&meta.xattrs, self.options.inode_size, self.inventory.block_size, path)?;
        made.attributes = attributes.inline;
        if let Some(block) = attributes.block {
            let held = self.hold(number, &block);
            self.inventory.attributes.push(held);
        }
        if let Some(place) = self.inventory.inode(number) {
            // Directories below it may have been counted; they come later, so not here.
            *place = made;
        }
        Ok(number)
    }

    /// Settles where the target of a symbolic link lies.
    fn point(&mut self, path: &TreePath, target: &[u8], number: u32, made: &mut Inode) -> Result<(), Error> {
        let most = TARGET_MAX.min(self.inventory.block_size as usize - 1);
        if target.is_empty() || target.len() > most || target.contains(&0) {
            return Err(unsupported(
                format!("the symbolic link {path}"),
                format!("its target must have 1 to {most} bytes, none of them NUL"),
            ));
        }
        debug_assert_eq!(made.mode & 0xf000, SYMLINK.mode);
        made.size = target.len() as u64;
        if target.len() <= FAST_LINK_MAX {
            let mut map = [0; MAP_BYTES];
            map[..target.len()].copy_from_slice(target);
            made.map = map;
        } else {
            made.flags = inode::EXTENTS_FLAG;
            let held = self.hold(number, target);
            self.inventory.held.push(held);
        }
        Ok(())
    }

    fn hold(&mut self, inode: u32, bytes: &[u8]) -> Held {
        let start = self.inventory.bytes.len();
        self.inventory.bytes.extend_from_slice(bytes);
        Held { inode, start, end: self.inventory.bytes.len() }
    }

    fn checksums(&self) -> Checksums {
        Checksums::new(self.options.features, &self.options.uuid)
    }

    /// Encodes the directories, now that every name has its inode.
    fn finish(mut self) -> Result<Inventory, Error> {
        let checksums = self.checksums();
        let block_size = self.inventory.block_size;
        let hash_seed = self.options.features.has(Feature::DIR_INDEX).then_some(&self.options.hash_seed);
        let mut held = Vec::with_capacity(self.directories.len() + self.inventory.held.len());
        for open in &self.directories {
            let start = self.inventory.bytes.len();
            let is_lost_and_found = open.inode == LOST_AND_FOUND;
            let directory = Directory {
                path: open.path,
                inode: open.inode,
                parent: open.parent,
                children: &open.children,
                blocks: if is_lost_and_found { (LOST_AND_FOUND_BYTES / block_size) as usize } else { 1 },
                block_size,
                checksums: checksums.of_inode(open.inode, 0),
                hash_seed,
            };
            let hashed = directory.encode(&mut self.inventory.bytes)?;
            let end = self.inventory.bytes.len();
            let links = match self.inventory.inode(open.inode) {
                Some(inode) => {
                    inode.size = (end - start) as u64;
                    inode.flags = inode::EXTENTS_FLAG | if hashed { INDEX_FLAG } else { 0 };
                    inode.links
                }
                None => 0,
            };
            if links > LINKS_MAX && !self.options.features.has(Feature::DIR_NLINK) {
                return Err(unsupported(
                    format!("the directory {} with more than 64998 directories", open.path),
                    "it needs the feature dir_nlink",
                ));
            }
            held.push(Held { inode: open.inode, start, end });
            self.inventory.names.push(Names { inode: open.inode, parent: open.parent, start, end });
        }
        // Directories lie together at the front, in order of paths, links behind them.
        held.append(&mut self.inventory.held);
        self.inventory.held = held;
        Ok(self.inventory)
    }
}
