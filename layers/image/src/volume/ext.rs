//! ext2, ext3 and ext4 as a volume.

use uuid::Uuid;

use super::{File, FileId, Volume};
use crate::Error;
use crate::ext4;
use crate::medium::Medium;

/// Most names of a directory that are read: memory is bounded by what a directory may hold.
const NAMES_MAX: u64 = 10_000_000;

/// The number of the root (ext4 docs, "Special inodes").
const ROOT: FileId = 2;

pub(super) struct Ext<'m>(ext4::Volume<'m>);

impl<'m> Ext<'m> {
    pub(super) fn open(medium: &'m dyn Medium) -> Result<Self, Error> {
        ext4::Volume::open(medium).map(Self)
    }

    fn node(&self, id: FileId) -> Result<ext4::read::Node, Error> {
        self.0.node(u32::try_from(id).map_err(|_| Error::Overflow("the number of an inode"))?)
    }
}

impl Volume for Ext<'_> {
    fn root(&self) -> FileId {
        ROOT
    }

    fn file(&self, id: FileId) -> Result<File, Error> {
        let node = self.node(id)?;
        Ok(File { id, kind: node.kind, meta: node.meta, size: node.size, links: u32::from(node.links) })
    }

    fn names(&self, id: FileId) -> Result<Vec<(Box<[u8]>, FileId)>, Error> {
        let mut names = self.0.names(&self.node(id)?, NAMES_MAX)?;
        names.sort();
        Ok(names.into_iter().map(|name| (name.name, u64::from(name.inode))).collect())
    }

    fn read(&self, id: FileId, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.0.read(&self.node(id)?, offset, buffer)
    }

    fn target(&self, id: FileId) -> Result<Vec<u8>, Error> {
        self.0.target(&self.node(id)?)
    }

    fn label(&self) -> String {
        String::from_utf8_lossy(self.0.label()).into_owned()
    }

    fn uuid(&self) -> String {
        Uuid::from_bytes(self.0.uuid()).to_string()
    }

    fn space(&self) -> (u64, Option<u64>) {
        (self.0.size(), Some(self.0.free_bytes()))
    }
}
