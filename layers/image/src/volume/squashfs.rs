//! squashfs as a volume.

use super::{File, FileId, Volume};
use crate::Error;
use crate::medium::Medium;
use crate::squashfs;
use crate::squashfs::read::{Node, NodeId};

/// Most names of a directory that are read: memory is bounded by what a directory may hold.
const NAMES_MAX: u64 = 10_000_000;

pub(super) struct Squashfs<'m> {
    inner: squashfs::Volume<'m>,
    root: FileId,
}

impl<'m> Squashfs<'m> {
    pub(super) fn open(medium: &'m dyn Medium) -> Result<Self, Error> {
        let inner = squashfs::Volume::open(medium)?;
        let root = inner.root()?.id.0;
        Ok(Self { inner, root })
    }

    fn node(&self, id: FileId) -> Result<Node, Error> {
        self.inner.node(NodeId(id))
    }
}

impl Volume for Squashfs<'_> {
    fn root(&self) -> FileId {
        self.root
    }

    fn file(&self, id: FileId) -> Result<File, Error> {
        let mut node = self.node(id)?;
        node.meta.xattrs = self.inner.attributes(&node)?;
        Ok(File { id, kind: node.kind, meta: node.meta, size: node.size, links: node.links })
    }

    fn names(&self, id: FileId) -> Result<Vec<(Box<[u8]>, FileId)>, Error> {
        let names = self.inner.names(&self.node(id)?, NAMES_MAX)?;
        Ok(names.into_iter().map(|name| (name.name, name.node.0)).collect())
    }

    fn read(&self, id: FileId, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.inner.read(&self.node(id)?, offset, buffer)
    }

    fn target(&self, id: FileId) -> Result<Vec<u8>, Error> {
        self.inner.target(&self.node(id)?)
    }

    /// It has none.
    fn label(&self) -> String {
        String::new()
    }

    /// It has none.
    fn uuid(&self) -> String {
        String::new()
    }

    fn space(&self) -> (u64, Option<u64>) {
        (self.inner.size(), None)
    }
}
