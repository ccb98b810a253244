//! A file system as a tree with contents.

use std::collections::BTreeMap;
use std::io::{self, Read};

use layers::{Blake3, Content, Contents, Entry, Kind, Tree, TreePath};

use super::{FileKind, Limits, Node, Volume, damaged};
use crate::Error;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// A tree that was read, and where its contents lie.
#[derive(Clone, Debug)]
pub struct Found {
    /// Every path, `lost+found` among them.
    pub tree: Tree,
    /// An inode that holds each content.
    pub inodes: BTreeMap<Blake3, u32>,
}

/// The contents of a tree that was read.
pub struct FoundContents<'v, 'm> {
    volume: &'v Volume<'m>,
    inodes: &'v BTreeMap<Blake3, u32>,
}

impl Volume<'_> {
    /// Reads everything: paths, metadata, and the digest of every content.
    ///
    /// # Errors
    /// As [`Volume::walk`] and [`Volume::read`]; more bytes than the limit.
    pub fn tree(&self, limits: &Limits) -> Result<Found, Error> {
        let mut found = Found { tree: Tree::default(), inodes: BTreeMap::new() };
        let mut names: BTreeMap<u32, TreePath> = BTreeMap::new();
        let mut left = limits.content_bytes;
        self.walk(limits, &mut |path, node| {
            let first = if node.kind == FileKind::Directory || node.links < 2 {
                None
            } else {
                names.get(&node.number).cloned().or_else(|| {
                    names.insert(node.number, path.clone());
                    None
                })
            };
            let kind = match (first, node.kind) {
                (Some(first), _) => Kind::HardLink(first),
                (None, FileKind::File) => {
                    left = left.checked_sub(node.size).ok_or_else(|| {
                        damaged(0, format!("{path} takes the files beyond the limit of {} bytes", limits.content_bytes))
                    })?;
                    let content = self.content(&node)?;
                    found.inodes.entry(content.digest).or_insert(node.number);
                    Kind::File(content)
                }
                (None, FileKind::Directory) => Kind::Directory,
                (None, FileKind::Symlink) => Kind::Symlink(self.target(&node)?.into()),
                (None, FileKind::CharDevice(major, minor)) => Kind::CharDevice { major, minor },
                (None, FileKind::BlockDevice(major, minor)) => Kind::BlockDevice { major, minor },
                (None, FileKind::Fifo) => Kind::Fifo,
                (None, FileKind::Socket) => Kind::Socket,
            };
            // A hard link's metadata is its target's.
            found.tree.insert(path.clone(), Entry { kind, meta: node.meta })?;
            Ok(())
        })?;
        Ok(found)
    }

    fn content(&self, node: &Node) -> Result<Content, Error> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; CHUNK.min(usize::try_from(node.size).unwrap_or(CHUNK))];
        let mut at = 0;
        while at < node.size {
            let count = self.read(node, at, &mut buffer)?;
            hasher.update(&buffer[..count]);
            at += count as u64;
        }
        Ok(Content { digest: Blake3(*hasher.finalize().as_bytes()), size: node.size })
    }

    /// The bytes of a file from its start.
    pub fn reader<'v>(&'v self, node: &'v Node) -> impl Read + Send + 'v {
        Reader { volume: self, node, at: 0 }
    }

    /// The contents of a tree that this volume gave.
    pub fn contents<'v>(&'v self, found: &'v Found) -> FoundContents<'v, 'v> {
        FoundContents { volume: self, inodes: &found.inodes }
    }
}

/// Reads a file from its start.
struct Reader<'v, 'm> {
    volume: &'v Volume<'m>,
    node: &'v Node,
    at: u64,
}

impl Read for Reader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.volume.read(self.node, self.at, buffer).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Contents for FoundContents<'_, '_> {
    // The trait hands out readers that live on their own, so what is opened is read as a whole.
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, layers::Error> {
        let missing = layers::Error::NoContent { digest: content.digest };
        let Some(&inode) = self.inodes.get(&content.digest) else { return Err(missing) };
        let read = || -> Result<Vec<u8>, Error> {
            let node = self.volume.node(inode)?;
            let mut bytes = vec![0; usize::try_from(node.size).map_err(|_| Error::Overflow("the size of a file"))?];
            self.volume.read(&node, 0, &mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Ok(Box::new(io::Cursor::new(bytes))),
            Err(_) => Err(missing),
        }
    }
}
