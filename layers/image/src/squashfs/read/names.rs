//! The names in a directory.

use super::super::format::{RUN_MAX, SOCKET};
use super::{Node, NodeId, Place, Volume, damaged};
use crate::Error;
use crate::bytes::Fields;

/// Most bytes of a name (Linux, `NAME_MAX`).
const NAME_MAX: usize = 255;

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Name {
    /// The name.
    pub name: Box<[u8]>,
    /// The inode that it names.
    pub node: NodeId,
}

impl Volume<'_> {
    /// The names in a directory, sorted; at most `most` of them, and no more than the file system
    /// has bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what is no directory, for lists that contradict themselves, names
    /// that no file can have, two that are the same, and more names than that. So are names of an
    /// inode that does not lie before the directory's: writers know where an inode lies only when
    /// it is written, so they make none like that, and no directory can be inside itself.
    pub fn names(&self, node: &Node, most: u64) -> Result<Vec<Name>, Error> {
        let table = self.superblock.directory_table;
        let Some(start) = node.names() else {
            return Err(damaged(self.superblock.inode_table, "an inode is asked for its names but is no directory"));
        };
        let mut names = Vec::new();
        let mut left = node.size;
        if left == 0 {
            return Ok(names);
        }
        let most = most.min(self.superblock.bytes);
        let mut cursor = self.cursor(table, start, self.superblock.bytes)?;
        let mut take = |length: usize, at: u64| {
            left = left
                .checked_sub(length as u64)
                .ok_or_else(|| damaged(at, "a directory ends in the middle of a name"))?;
            Ok::<_, Error>(left)
        };
        let mut more = true;
        while more {
            let at = cursor.place().0;
            take(12, at)?;
            let header: [u8; 12] = cursor.array()?;
            let count = Fields(&header).u32_le(0);
            let block = u64::from(Fields(&header).u32_le(4));
            if count as usize >= RUN_MAX {
                return Err(damaged(at, "a directory has more names behind one header than there can be"));
            }
            for _ in 0..=count {
                let at = cursor.place().0;
                take(8, at)?;
                let entry: [u8; 8] = cursor.array()?;
                let entry = Fields(&entry);
                let length = usize::from(entry.u16_le(6)) + 1;
                if length > NAME_MAX || !(1..=SOCKET).contains(&entry.u16_le(4)) {
                    return Err(damaged(at, "a directory has an entry that cannot be"));
                }
                more = take(length, at)? > 0;
                let name = cursor.bytes(length)?;
                if name.iter().any(|byte| matches!(byte, 0 | b'/')) || name == b"." || name == b".." {
                    return Err(damaged(at, format!("no file can have the name {}", name.escape_ascii())));
                }
                let child = NodeId(Place { block, offset: entry.u16_le(0) }.reference());
                if child >= node.id {
                    let reason = format!("{} is in a directory whose inode comes before its own", name.escape_ascii());
                    return Err(damaged(at, reason));
                }
                if names.len() as u64 >= most {
                    return Err(damaged(at, format!("a directory has more than {most} names")));
                }
                names.push(Name { name: name.into(), node: child });
            }
        }
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(damaged(table, format!("a directory has two names {}", pair[0].name.escape_ascii()))),
            None => Ok(names),
        }
    }
}
