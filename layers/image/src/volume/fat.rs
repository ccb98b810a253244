//! FAT as a volume: its files are listed once, and numbered in the order of their paths.

use std::collections::BTreeMap;

use layers::{Meta, Time, TreePath};

use super::{File, FileId, FileKind, Volume};
use crate::Error;
use crate::fat::{Item, Volume as Inner};
use crate::medium::Medium;

/// The root, which has no entry of its own.
const ROOT: FileId = 0;

pub(super) struct Fat<'m> {
    inner: Inner<'m>,
    items: Vec<Item>,
    /// The names in each directory.
    names: BTreeMap<FileId, Vec<(Box<[u8]>, FileId)>>,
}

impl<'m> Fat<'m> {
    pub(super) fn open(medium: &'m dyn Medium) -> Result<Self, Error> {
        let inner = Inner::open(medium)?;
        let items = inner.items()?;
        let mut numbers = BTreeMap::from([(TreePath::root(), ROOT)]);
        let mut names: BTreeMap<FileId, Vec<_>> = BTreeMap::new();
        // Parents come before their children.
        for (number, item) in (1..).zip(&items) {
            numbers.insert(item.path.clone(), number);
            let parent = item.path.parent().and_then(|parent| numbers.get(&parent)).copied().unwrap_or(ROOT);
            names.entry(parent).or_default().push((item.path.name().into(), number));
        }
        Ok(Self { inner, items, names })
    }

    fn item(&self, id: FileId) -> Result<&Item, Error> {
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        index.and_then(|index| self.items.get(index)).ok_or_else(|| Error::Damaged {
            format: "FAT",
            offset: 0,
            reason: format!("there is no file {id}"),
        })
    }
}

impl Volume for Fat<'_> {
    fn root(&self) -> FileId {
        ROOT
    }

    fn file(&self, id: FileId) -> Result<File, Error> {
        if id == ROOT {
            let meta = Meta::root_owned(0o755, Time::default());
            return Ok(File { id, kind: FileKind::Directory, meta, size: 0, links: 1 });
        }
        let item = self.item(id)?;
        let kind = if item.directory { FileKind::Directory } else { FileKind::File };
        // As Linux mounts it without options; a file that is read-only loses what lets it be written.
        let mode = if item.read_only { 0o555 } else { 0o755 };
        Ok(File { id, kind, meta: Meta::root_owned(mode, item.mtime), size: u64::from(item.size), links: 1 })
    }

    fn names(&self, id: FileId) -> Result<Vec<(Box<[u8]>, FileId)>, Error> {
        Ok(self.names.get(&id).cloned().unwrap_or_default())
    }

    fn read(&self, id: FileId, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let item = self.item(id)?;
        let count = (buffer.len() as u64).min(u64::from(item.size).saturating_sub(offset)) as usize;
        if count > 0 {
            self.inner.file(item)?.read_at(offset, &mut buffer[..count])?;
        }
        Ok(count)
    }

    fn target(&self, id: FileId) -> Result<Vec<u8>, Error> {
        Err(Error::Damaged { format: "FAT", offset: 0, reason: format!("file {id} is no symbolic link") })
    }

    fn label(&self) -> String {
        self.inner.label().unwrap_or_default().to_owned()
    }

    fn uuid(&self) -> String {
        let id = self.inner.volume_id();
        format!("{:04X}-{:04X}", id >> 16, id & 0xffff)
    }

    fn space(&self) -> (u64, Option<u64>) {
        (self.inner.size(), None)
    }
}
