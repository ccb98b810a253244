//! The names in a directory.

use layers::TreePath;

use super::super::bytes::{get16, get32};
use super::super::directory::{ENTRY, TAIL, TAIL_TYPE};
use super::{FileKind, Node, Volume, damaged};
use crate::Error;

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Name {
    /// The name.
    pub name: Box<[u8]>,
    /// The inode that it names.
    pub inode: u32,
}

impl Volume<'_> {
    /// The names in a directory but `.` and `..`, sorted; at most `most` of them.
    ///
    /// # Errors
    /// [`Error::Damaged`] for blocks that contradict themselves or their checksum, for names that
    /// cannot be or come twice, and for more than `most` of them.
    pub fn names(&self, node: &Node, most: u64) -> Result<Vec<Name>, Error> {
        let refuse = |reason: &str| damaged(0, format!("the directory of inode {} {reason}", node.number));
        if node.kind != FileKind::Directory {
            return Err(refuse("is none"));
        }
        let block_size = u64::from(self.block_size);
        if node.size > self.size() {
            return Err(refuse("is larger than the file system"));
        }
        let mut names = Vec::new();
        for logical in 0..node.size / block_size {
            let Some(place) = self.locate(node, logical)?.place else {
                return Err(refuse("has a hole"));
            };
            let block = self.block(place)?;
            self.check_names(node, &block).then_some(()).ok_or_else(|| refuse("has a block with a wrong checksum"))?;
            let mut at = 0;
            while at < block.len() {
                let entry = &block[at..];
                let length = match usize::from(get16(entry, 4)) {
                    // A block of 64 KiB is one more than 16 bits hold.
                    0 | 0xffff if block.len() == 0x1_0000 => block.len() - at,
                    length => length,
                };
                if length < ENTRY || length % 4 != 0 || length > entry.len() {
                    return Err(refuse("has an entry that does not end where it may"));
                }
                let inode = get32(entry, 0);
                let name = entry.get(ENTRY..ENTRY + usize::from(entry[6])).filter(|name| ENTRY + name.len() <= length);
                let Some(name) = name else { return Err(refuse("has a name longer than its entry")) };
                if inode != 0 && name != b"." && name != b".." {
                    if name.is_empty() || name.iter().any(|&byte| byte == b'/' || byte == 0) {
                        return Err(refuse("has a name that cannot be"));
                    }
                    if names.len() as u64 >= most {
                        return Err(refuse(&format!("takes the number of names beyond the limit of {most} more")));
                    }
                    names.push(Name { name: name.into(), inode });
                }
                at += length;
            }
        }
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(refuse("has a name twice"));
        }
        Ok(names)
    }

    /// Whether a block of names has the checksum that it says; blocks of hashes are not used.
    fn check_names(&self, node: &Node, block: &[u8]) -> bool {
        let usable = block.len() - TAIL;
        let tail = &block[usable..];
        if !self.checksums.on() || get32(tail, 0) != 0 || usize::from(get16(tail, 4)) != TAIL || tail[7] != TAIL_TYPE {
            return true;
        }
        let checksums = self.checksums.of_inode(node.number, node.generation);
        checksums.then(&block[..usable]).value() == get32(tail, 8)
    }

    /// The inode at a path, not following symbolic links; `None` when there is none.
    ///
    /// # Errors
    /// As [`Volume::names`] and [`Volume::node`].
    pub fn find(&self, path: &TreePath) -> Result<Option<Node>, Error> {
        let mut node = self.root()?;
        for name in path.components() {
            if node.kind != FileKind::Directory {
                return Ok(None);
            }
            let names = self.names(&node, u64::MAX)?;
            let Ok(index) = names.binary_search_by(|found| found.name.as_ref().cmp(name)) else {
                return Ok(None);
            };
            node = self.node(names[index].inode)?;
        }
        Ok(Some(node))
    }
}
