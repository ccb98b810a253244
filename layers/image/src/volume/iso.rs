//! ISO 9660 as a volume: its files are listed once, and numbered in that order.

use super::{File, FileId, FileKind, Volume};
use crate::Error;
use crate::iso::Volume as Inner;
use crate::iso::read::Item;
use crate::medium::Medium;

/// A file's name and number.
type Name = (Box<[u8]>, FileId);

pub(super) struct Iso<'m> {
    inner: Inner<'m>,
    items: Vec<Item>,
    /// The names in each directory, by its number.
    names: Vec<Vec<Name>>,
}

impl<'m> Iso<'m> {
    pub(super) fn open(medium: &'m dyn Medium) -> Result<Self, Error> {
        let inner = Inner::open(medium)?;
        let items = inner.items()?;
        let mut names = vec![Vec::new(); items.len()];
        for item in items.iter().skip(1) {
            names[item.parent].push((item.name.clone(), item.same as FileId));
        }
        names.iter_mut().for_each(|names: &mut Vec<Name>| names.sort());
        Ok(Self { inner, items, names })
    }

    fn index(&self, id: FileId) -> Result<usize, Error> {
        usize::try_from(id).ok().filter(|&index| index < self.items.len()).ok_or_else(|| Error::Damaged {
            format: "ISO 9660",
            offset: 0,
            reason: format!("there is no file {id}"),
        })
    }
}

impl Volume for Iso<'_> {
    fn root(&self) -> FileId {
        0
    }

    fn file(&self, id: FileId) -> Result<File, Error> {
        let item = &self.items[self.index(id)?];
        Ok(File { id, kind: item.kind, meta: item.meta.clone(), size: item.size, links: item.links })
    }

    fn names(&self, id: FileId) -> Result<Vec<Name>, Error> {
        Ok(self.names[self.index(id)?].clone())
    }

    fn read(&self, id: FileId, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.inner.read(&self.items[self.index(id)?], offset, buffer)
    }

    fn target(&self, id: FileId) -> Result<Vec<u8>, Error> {
        let item = &self.items[self.index(id)?];
        if item.kind != FileKind::Symlink {
            let reason = format!("file {id} is no symbolic link");
            return Err(Error::Damaged { format: "ISO 9660", offset: 0, reason });
        }
        Ok(item.target.to_vec())
    }

    fn label(&self) -> String {
        self.inner.volume_id().to_owned()
    }

    fn uuid(&self) -> String {
        self.inner.uuid()
    }

    fn space(&self) -> (u64, Option<u64>) {
        // Nothing is ever free on a disc.
        (self.inner.size(), Some(0))
    }
}
