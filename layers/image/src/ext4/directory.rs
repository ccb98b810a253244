//! Directories (ext4 docs, "Directory Entries", "Hash Tree Directories").

use layers::TreePath;

use super::bytes::{put16, put32};
use super::checksum::Checksums;
use super::hash::half_md4;
use super::inode::DIRECTORY;
use super::unsupported;
use crate::Error;

/// Bytes of an entry before its name.
pub(super) const ENTRY: usize = 8;
/// Bytes at the end of a block that hold its checksum, dressed up as an entry.
pub(super) const TAIL: usize = 12;
/// The type of the entry that is a checksum.
pub(super) const TAIL_TYPE: u8 = 0xde;
/// Bytes at the end of a block of hashes that hold its checksum.
const INDEX_TAIL: usize = 8;
/// Where the hashes begin, in the first block and in others.
const ROOT_HASHES: usize = 32;
const NODE_HASHES: usize = 8;
/// Half MD4, in the first block (whether characters are signed is the superblock's).
const HASH_VERSION: u8 = 1;

/// One name in a directory.
#[derive(Clone, Copy)]
pub(super) struct Child<'t> {
    pub name: &'t [u8],
    pub inode: u32,
    /// The type as entries say it.
    pub kind: u8,
}

/// A directory that is to be encoded.
pub(super) struct Directory<'a, 't> {
    pub path: &'a TreePath,
    pub inode: u32,
    pub parent: u32,
    pub children: &'a [Child<'t>],
    /// Blocks that it has at least.
    pub blocks: usize,
    pub block_size: u32,
    pub checksums: Checksums,
    /// The seed of hashes, where directories are hashed.
    pub hash_seed: Option<&'a [u8; 16]>,
}

/// Bytes of an entry.
fn entry_bytes(name: &[u8]) -> usize {
    (ENTRY + name.len()).next_multiple_of(4)
}

/// Appends blocks of entries to a buffer.
struct Blocks<'o> {
    out: &'o mut Vec<u8>,
    block_size: usize,
    /// Bytes of a block that entries may use.
    usable: usize,
    /// Where the last entry of the block began, and where the next one would.
    last: usize,
    next: usize,
}

impl Blocks<'_> {
    fn begin(&mut self) {
        self.last = self.out.len();
        self.next = self.last;
        self.out.resize(self.last + self.block_size, 0);
    }

    fn used(&self) -> usize {
        self.next + self.block_size - self.out.len()
    }

    /// Whether an entry still fits.
    fn fits(&self, name: &[u8]) -> bool {
        self.used() + entry_bytes(name) <= self.usable
    }

    fn push(&mut self, child: Child) {
        let length = entry_bytes(child.name);
        let bytes = &mut self.out[self.next..self.next + length];
        put32(bytes, 0, child.inode);
        // Names have at most 255 bytes.
        put16(bytes, 4, length as u16);
        bytes[6] = child.name.len() as u8;
        bytes[7] = child.kind;
        bytes[ENTRY..ENTRY + child.name.len()].copy_from_slice(child.name);
        self.last = self.next;
        self.next += length;
    }

    /// Ends a block: the last entry reaches to its end, or to the checksum.
    fn finish(&mut self, checksums: Checksums) {
        let start = self.out.len() - self.block_size;
        let block = &mut self.out[start..];
        put16(block, self.last - start + 4, (self.usable - (self.last - start)) as u16);
        if checksums.on() {
            let checksum = checksums.then(&block[..self.usable]).value();
            let tail = &mut block[self.usable..];
            put16(tail, 4, TAIL as u16);
            tail[7] = TAIL_TYPE;
            put32(tail, 8, checksum);
        }
    }
}

impl Directory<'_, '_> {
    fn dots(&self) -> [Child<'static>; 2] {
        let dot = |name, inode| Child { name, inode, kind: DIRECTORY.entry };
        [dot(b".", self.inode), dot(b"..", self.parent)]
    }

    fn usable(&self) -> usize {
        self.block_size as usize - if self.checksums.on() { TAIL } else { 0 }
    }

    /// Appends its blocks to `out`; says whether it is hashed.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<bool, Error> {
        let all = 24 + self.children.iter().map(|child| entry_bytes(child.name)).sum::<usize>();
        match self.hash_seed {
            Some(seed) if all > self.usable() && self.blocks <= 1 => {
                self.encode_hashed(seed, out)?;
                Ok(true)
            }
            _ => {
                self.encode_plain(out);
                Ok(false)
            }
        }
    }

    fn blocks<'o>(&self, out: &'o mut Vec<u8>) -> Blocks<'o> {
        let next = out.len();
        Blocks { out, block_size: self.block_size as usize, usable: self.usable(), last: next, next }
    }

    fn encode_plain(&self, out: &mut Vec<u8>) {
        let mut blocks = self.blocks(out);
        let mut count = 1;
        blocks.begin();
        for child in self.dots().into_iter().chain(self.children.iter().copied()) {
            if !blocks.fits(child.name) {
                blocks.finish(self.checksums);
                blocks.begin();
                count += 1;
            }
            blocks.push(child);
        }
        blocks.finish(self.checksums);
        for _ in count..self.blocks {
            blocks.begin();
            blocks.finish(self.checksums);
        }
    }

    fn encode_hashed(&self, seed: &[u8; 16], out: &mut Vec<u8>) -> Result<(), Error> {
        let mut hashed: Vec<(u32, Child)> =
            self.children.iter().map(|child| (half_md4(child.name, seed), *child)).collect();
        hashed.sort_unstable_by(|a, b| (a.0, a.1.name).cmp(&(b.0, b.1.name)));
        let tail = if self.checksums.on() { INDEX_TAIL } else { 0 };
        let block = self.block_size as usize;
        let root_limit = (block - ROOT_HASHES - tail) / 8;
        let node_limit = (block - NODE_HASHES - tail) / 8;
        // A fifth stays free, so that the first new names split nothing; a directory that would
        // then have too many blocks is packed full.
        let roomy = self.leaves(&hashed, self.usable() * 4 / 5);
        let leaves = if roomy.len() <= root_limit * node_limit { roomy } else { self.leaves(&hashed, self.usable()) };
        if leaves.len() > root_limit * node_limit {
            return Err(unsupported(
                format!("the directory {} with {} names", self.path, hashed.len()),
                format!(
                    "a hashed directory has at most {} blocks of {block} bytes, take larger blocks",
                    root_limit * node_limit
                ),
            ));
        }
        let nodes = if leaves.len() <= root_limit { 0 } else { leaves.len().div_ceil(node_limit) };
        // Blocks lie in this order: the root, the nodes, the leaves.
        let below: Vec<(u32, u32)> =
            leaves.iter().enumerate().map(|(index, leaf)| (leaf.hash, (1 + nodes + index) as u32)).collect();
        let start = out.len();
        out.resize(start + block * (1 + nodes), 0);
        let top: Vec<(u32, u32)> = if nodes == 0 {
            below
        } else {
            let mut top = Vec::with_capacity(nodes);
            for (index, entries) in below.chunks(node_limit).enumerate() {
                let at = start + block * (1 + index);
                let bytes = &mut out[at..at + block];
                put16(bytes, 4, block as u16);
                put_hashes(bytes, NODE_HASHES, node_limit, entries, self.checksums);
                top.push((entries[0].0, (1 + index) as u32));
            }
            top
        };
        self.put_root(&mut out[start..start + block], root_limit, u8::from(nodes > 0), &top);
        let mut blocks = self.blocks(out);
        for leaf in &leaves {
            blocks.begin();
            for (_, child) in &hashed[leaf.first..leaf.end] {
                blocks.push(*child);
            }
            blocks.finish(self.checksums);
        }
        Ok(())
    }

    fn put_root(&self, bytes: &mut [u8], limit: usize, levels: u8, entries: &[(u32, u32)]) {
        let mut at = 0;
        for (child, length) in self.dots().into_iter().zip([12, bytes.len() - 12]) {
            put32(bytes, at, child.inode);
            put16(bytes, at + 4, length as u16);
            bytes[at + 6] = child.name.len() as u8;
            bytes[at + 7] = child.kind;
            bytes[at + ENTRY..at + ENTRY + child.name.len()].copy_from_slice(child.name);
            at += length;
        }
        bytes[28] = HASH_VERSION;
        // Length of this description, bytes.
        bytes[29] = 8;
        bytes[30] = levels;
        put_hashes(bytes, ROOT_HASHES, limit, entries, self.checksums);
    }

    /// Cuts sorted names into blocks that fill up to `budget` bytes.
    fn leaves(&self, hashed: &[(u32, Child)], budget: usize) -> Vec<Leaf> {
        let mut leaves: Vec<Leaf> = Vec::new();
        let mut used = 0;
        for (index, (hash, child)) in hashed.iter().enumerate() {
            let length = entry_bytes(child.name);
            match leaves.last_mut() {
                Some(leaf) if used + length <= budget => leaf.end = index + 1,
                _ => {
                    // The lowest bit says that the block before ends with the same hash.
                    let goes_on = index > 0 && hashed[index - 1].0 == *hash;
                    leaves.push(Leaf { hash: hash | u32::from(goes_on), first: index, end: index + 1 });
                    used = 0;
                }
            }
            used += length;
        }
        leaves
    }
}

/// A block of names: its hash, and which of the sorted names it holds.
struct Leaf {
    hash: u32,
    first: usize,
    end: usize,
}

/// Writes hashes with their blocks; the first one's hash is where the counts are.
fn put_hashes(bytes: &mut [u8], at: usize, limit: usize, entries: &[(u32, u32)], checksums: Checksums) {
    for (index, (hash, block)) in entries.iter().enumerate() {
        put32(bytes, at + index * 8, *hash);
        put32(bytes, at + index * 8 + 4, *block);
    }
    put16(bytes, at, limit as u16);
    put16(bytes, at + 2, entries.len() as u16);
    if checksums.on() {
        let tail = at + limit * 8;
        let checksum = checksums.then(&bytes[..at + entries.len() * 8]).then(&[0; 8]).value();
        put32(bytes, tail + 4, checksum);
    }
}
