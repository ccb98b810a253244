//! The directories of one kind of names: their order, their records, their path tables.

use super::format::{PARENT, RECORD_BYTES, RECORD_MAX, SECTION_MAX, SECTOR, SELF, both16, both32, flag};
use super::inventory::{File, Inventory, Is, Node};
use super::name::Alphabet;
use super::{rock, time, unsupported};
use crate::Error;
use crate::bytes::put;

/// A directory with its place.
pub(super) struct Directory {
    pub node: usize,
    /// Index of the one above; the root is above itself.
    pub parent: usize,
    /// In the order of their identifiers.
    children: Vec<usize>,
    /// First sector.
    pub start: u32,
    /// Length of its records in bytes: whole sectors.
    pub bytes: u32,
}

/// All directories, in the order of the path table: by depth, then by the one above, then by name
/// (ECMA-119, 6.9.1).
pub(super) struct Hierarchy {
    pub alphabet: Alphabet,
    pub directories: Vec<Directory>,
    /// The directory of a node.
    of_node: Vec<u32>,
}

/// A record that is being made.
struct Record<'a> {
    identifier: &'a [u8],
    start: u32,
    bytes: u32,
    flags: u8,
    node: &'a Node,
    entries: Vec<Vec<u8>>,
}

impl Record<'_> {
    /// The record (ECMA-119, 9.1), what it has no room for in the area.
    fn encode(&self, area: &mut rock::Area) -> Vec<u8> {
        let mut bytes = vec![0; (RECORD_BYTES + self.identifier.len()).next_multiple_of(2)];
        put(&mut bytes, 2, &both32(self.start));
        put(&mut bytes, 10, &both32(self.bytes));
        put(&mut bytes, 18, &time::short(self.node.mtime));
        put(&mut bytes, 25, &[self.flags]);
        put(&mut bytes, 28, &both16(1));
        put(&mut bytes, 32, &[self.identifier.len() as u8]);
        put(&mut bytes, RECORD_BYTES, self.identifier);
        let room = RECORD_MAX - bytes.len();
        bytes.extend(rock::pack(&self.entries, room, area));
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes[0] = bytes.len() as u8;
        bytes
    }
}

impl Hierarchy {
    /// Puts the directories into their order.
    ///
    /// # Errors
    /// More directories than the path table can number.
    pub(super) fn new(alphabet: Alphabet, nodes: &[Node]) -> Result<Self, Error> {
        let mut hierarchy = Self { alphabet, directories: Vec::new(), of_node: vec![0; nodes.len()] };
        hierarchy.enter(nodes, 0, 0);
        let mut at = 0;
        while at < hierarchy.directories.len() {
            let below = hierarchy.directories[at].children.clone();
            for child in below.into_iter().filter(|&child| nodes[child].is == Is::Directory) {
                // A parent is numbered in 16 bits, from 1 (ECMA-119, 9.4.4).
                if at >= usize::from(u16::MAX) {
                    return Err(unsupported("the tree", "ISO 9660 numbers at most 65,535 directories"));
                }
                hierarchy.enter(nodes, child, at);
            }
            at += 1;
        }
        Ok(hierarchy)
    }

    fn enter(&mut self, nodes: &[Node], node: usize, parent: usize) {
        let mut children: Vec<usize> =
            nodes[node].children.iter().copied().filter(|&child| self.identifier(&nodes[child]).is_some()).collect();
        children.sort_by_cached_key(|&child| self.sort_key(&nodes[child]));
        self.of_node[node] = self.directories.len() as u32;
        self.directories.push(Directory { node, parent, children, start: 0, bytes: 0 });
    }

    fn identifier<'n>(&self, node: &'n Node) -> Option<&'n [u8]> {
        match self.alphabet {
            Alphabet::Plain => Some(&node.plain),
            Alphabet::Joliet => node.joliet.as_deref(),
        }
    }

    /// Name and extension are compared one after the other, as if the shorter were filled with
    /// spaces (ECMA-119, 9.3): with what plain names may have, nothing comes before a space.
    fn sort_key(&self, node: &Node) -> (Vec<u8>, Vec<u8>) {
        let identifier = self.identifier(node).unwrap_or(&[]);
        match self.alphabet {
            Alphabet::Plain => {
                let cut = identifier.iter().position(|&byte| byte == b'.').unwrap_or(identifier.len());
                (identifier[..cut].to_vec(), identifier[cut..].to_vec())
            }
            Alphabet::Joliet => (identifier.to_vec(), Vec::new()),
        }
    }

    /// The records of a directory and what lies behind them, with the places known so far: their
    /// lengths do not depend on these.
    ///
    /// # Errors
    /// The directory has 4 GiB of records.
    pub(super) fn encode(&self, index: usize, inventory: &Inventory) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let nodes = &inventory.nodes;
        let directory = &self.directories[index];
        let above = &self.directories[directory.parent];
        let mut area = rock::Area::new(directory.start + directory.bytes / SECTOR as u32);
        let mut bytes = Vec::with_capacity(directory.bytes as usize);
        let mut add = |record: &Record<'_>| {
            let record = record.encode(&mut area);
            // No record crosses a sector (6.8.1.1).
            let used = bytes.len() % SECTOR as usize;
            if used + record.len() > SECTOR as usize {
                bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
            }
            bytes.extend(record);
        };
        for (identifier, place) in [(SELF, directory), (PARENT, above)] {
            let node = &nodes[place.node];
            let entries = self.entries(node, identifier == SELF && index == 0, &[]);
            add(&Record { identifier, start: place.start, bytes: place.bytes, flags: flag::DIRECTORY, node, entries });
        }
        for &child in &directory.children {
            let node = &nodes[child];
            let entries = self.entries(node, false, &node.name);
            let identifier = self.identifier(node).unwrap_or(&[]);
            for (start, length, flags) in self.sections(child, node, &inventory.files) {
                add(&Record { identifier, start, bytes: length, flags, node, entries: entries.clone() });
            }
        }
        bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        if u32::try_from(bytes.len()).is_err() || u32::try_from(area.bytes.len()).is_err() {
            return Err(unsupported("a directory", "it has more names than fit into 4 GiB"));
        }
        Ok((bytes, area.bytes))
    }

    /// Where a file lies: start, length and flags for each section.
    fn sections(&self, number: usize, node: &Node, files: &[File]) -> Vec<(u32, u32, u8)> {
        match node.is {
            Is::Directory => {
                let directory = &self.directories[self.of_node[number] as usize];
                vec![(directory.start, directory.bytes, flag::DIRECTORY)]
            }
            Is::File(file) => {
                let (file, mut sections, mut done) = (&files[file], Vec::new(), 0);
                loop {
                    let length = (file.content.size - done).min(SECTION_MAX);
                    // The image has less than 2^32 sectors, which is checked before this counts.
                    let start = file.start.wrapping_add((done / SECTOR) as u32);
                    done += length;
                    let more = done < file.content.size;
                    sections.push((start, length as u32, if more { flag::MORE_SECTIONS } else { 0 }));
                    if !more {
                        return sections;
                    }
                }
            }
            _ => vec![(0, 0, 0)],
        }
    }

    /// System use entries of a record.
    fn entries(&self, node: &Node, first_of_all: bool, name: &[u8]) -> Vec<Vec<u8>> {
        if self.alphabet == Alphabet::Joliet {
            return Vec::new();
        }
        let mut entries = Vec::new();
        if first_of_all {
            entries.push(rock::sharing());
        }
        entries.push(rock::attributes(node.mode, node.links, node.uid, node.gid, node.serial));
        entries.push(rock::modified(node.mtime));
        if !name.is_empty() {
            entries.extend(rock::name(name));
            match &node.is {
                Is::CharDevice(major, minor) | Is::BlockDevice(major, minor) => {
                    entries.push(rock::device(*major, *minor));
                }
                Is::Symlink(target) => entries.extend(rock::target(target)),
                _ => {}
            }
        }
        if first_of_all {
            entries.push(rock::extension());
        }
        entries
    }

    /// The record of the root in a descriptor: 34 bytes, without system use.
    pub(super) fn root_record(&self, nodes: &[Node]) -> Vec<u8> {
        let root = &self.directories[0];
        let record = Record {
            identifier: SELF,
            start: root.start,
            bytes: root.bytes,
            flags: flag::DIRECTORY,
            node: &nodes[0],
            entries: Vec::new(),
        };
        record.encode(&mut rock::Area::new(0))
    }

    /// The path table (ECMA-119, 9.4), with numbers as `number32` and `number16` write them.
    pub(super) fn path_table(
        &self,
        nodes: &[Node],
        number32: fn(u32) -> [u8; 4],
        number16: fn(u16) -> [u8; 2],
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, directory) in self.directories.iter().enumerate() {
            let identifier = if index == 0 { SELF } else { self.identifier(&nodes[directory.node]).unwrap_or(&[]) };
            bytes.extend([identifier.len() as u8, 0]);
            bytes.extend(number32(directory.start));
            // Numbers of parents fit, checked when the order was made.
            bytes.extend(number16((directory.parent + 1) as u16));
            bytes.extend_from_slice(identifier);
            bytes.resize(bytes.len().next_multiple_of(2), 0);
        }
        bytes
    }
}
