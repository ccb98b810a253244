//! Writes the tar of a layer.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use layers::{Blake3, Change, Content, Contents, Entry, Kind, Layer, Meta, Time, TreePath, tar};

use super::{OPAQUE, WHITEOUT};
use crate::Error;

/// Longest name that Linux file systems accept, in bytes (`NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;
/// Bytes of a file read at once.
const COPY_BYTES: usize = 256 * 1024;

/// The tar of a layer, its size settled.
pub struct Plan<'l> {
    layer: &'l Layer,
    /// What is gone, by the directory of the layer that it is gone from.
    gone: BTreeMap<TreePath, Vec<&'l TreePath>>,
    lost: Vec<TreePath>,
    size: u64,
}

enum Step<'l> {
    Head(Vec<u8>),
    File(Vec<u8>, &'l TreePath, &'l Content),
}

impl<'l> Plan<'l> {
    /// Settles the tar of a layer.
    ///
    /// # Errors
    /// [`Error::Inexpressible`]: a name that means a whiteout, a hard link whose file is not in the
    /// layer (readers that keep layers apart could not make it).
    pub fn new(layer: &'l Layer) -> Result<Self, Error> {
        let mut gone: BTreeMap<TreePath, Vec<&TreePath>> = BTreeMap::new();
        for (path, change) in &layer.changes {
            if *change == Change::Remove
                && let Some(parent) = path.parent()
                && layer.changes.get(&parent).is_some_and(|change| sets(change).is_some_and(Entry::is_directory))
            {
                gone.entry(parent).or_default().push(path);
            }
        }
        let mut plan = Self { layer, gone, lost: Vec::new(), size: 0 };
        let (mut size, mut lost) = (tar::END.len() as u64, Vec::new());
        for (path, change) in &layer.changes {
            if sets(change).is_some_and(|entry| entry.kind == Kind::Socket) {
                lost.push(path.clone());
            }
            plan.steps(path, change, &mut |step| {
                let (head, bytes) = match &step {
                    Step::Head(head) => (head, 0),
                    Step::File(head, _, content) => (head, content.size),
                };
                size = bytes
                    .checked_next_multiple_of(tar::BLOCK_BYTES)
                    .and_then(|bytes| bytes.checked_add(head.len() as u64)?.checked_add(size))
                    .ok_or(Error::Image(::image::Error::Overflow("the size of a layer")))?;
                Ok(())
            })?;
        }
        (plan.size, plan.lost) = (size, lost);
        Ok(plan)
    }

    /// Size of the tar in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Sockets, which tar does not have. Whatever opens one makes it.
    pub fn lost(&self) -> &[TreePath] {
        &self.lost
    }

    /// Writes the tar. Contents are held to their digests on the way.
    ///
    /// # Errors
    /// Content that is missing or is not what the layer says; errors of the writer.
    pub fn write(&self, contents: &dyn Contents, writer: &mut dyn Write) -> Result<(), Error> {
        let mut buffer = vec![0; COPY_BYTES];
        for (path, change) in &self.layer.changes {
            self.steps(path, change, &mut |step| match step {
                Step::Head(head) => put(writer, &head),
                Step::File(head, path, content) => {
                    put(writer, &head)?;
                    copy(contents, content, path, &mut buffer, writer)
                }
            })?;
        }
        put(writer, &tar::END)
    }

    fn steps(
        &self,
        path: &'l TreePath,
        change: &'l Change,
        take: &mut dyn FnMut(Step<'l>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let entry = match change {
            Change::Set(entry) | Change::Replace(entry) => entry,
            // Told right after its directory, or here if the layer does not have that.
            Change::Remove if path.parent().is_some_and(|parent| self.gone.contains_key(&parent)) => return Ok(()),
            Change::Remove => return take(Step::Head(whiteout(path)?)),
        };
        if path.name().starts_with(WHITEOUT) {
            return Err(inexpressible(path, "its name would mean that something is gone"));
        }
        let meta = match &entry.kind {
            Kind::HardLink(target) => match self.layer.changes.get(target).and_then(sets) {
                Some(first) => &first.meta,
                None => return Err(inexpressible(path, "it is a hard link to a file of another layer")),
            },
            _ => &entry.meta,
        };
        let Some(head) = tar::head(b"", path, entry, meta)? else { return Ok(()) };
        match &entry.kind {
            Kind::File(content) => take(Step::File(head, path, content))?,
            _ => take(Step::Head(head))?,
        }
        if matches!(change, Change::Replace(_)) && entry.is_directory() {
            take(Step::Head(marker(path, OPAQUE)?))?;
        }
        for gone in self.gone.get(path).into_iter().flatten() {
            take(Step::Head(whiteout(gone)?))?;
        }
        Ok(())
    }
}

fn sets(change: &Change) -> Option<&Entry> {
    match change {
        Change::Set(entry) | Change::Replace(entry) => Some(entry),
        Change::Remove => None,
    }
}

fn whiteout(path: &TreePath) -> Result<Vec<u8>, Error> {
    let name = [WHITEOUT, path.name()].concat();
    if name.len() > NAME_BYTES_MAX {
        return Err(inexpressible(path, "it is gone, and its name is too long for a whiteout"));
    }
    if path.is_root() || path.name().starts_with(WHITEOUT) {
        return Err(inexpressible(path, "it is gone, and there is no whiteout of it"));
    }
    marker(&path.parent().unwrap_or_default(), &name)
}

/// An empty file. What is said of it means nothing, so it is always the same.
fn marker(directory: &TreePath, name: &[u8]) -> Result<Vec<u8>, Error> {
    let slash: &[u8] = if directory.is_root() { b"" } else { b"/" };
    let name = [directory.as_bytes(), slash, name].concat();
    Ok(tar::file_head(&name, 0, &Meta::root_owned(0o600, Time::default()))?)
}

fn inexpressible(path: &TreePath, reason: &str) -> Error {
    Error::Inexpressible { what: path.to_string(), reason: reason.into() }
}

fn put(writer: &mut dyn Write, bytes: &[u8]) -> Result<(), Error> {
    writer.write_all(bytes).map_err(|source| Error::Write { what: "the tar of a layer".into(), source })
}

fn copy(
    contents: &dyn Contents,
    content: &Content,
    path: &TreePath,
    buffer: &mut [u8],
    writer: &mut dyn Write,
) -> Result<(), Error> {
    let failed = |source| Error::Content { path: path.to_string(), source };
    let mut hasher = blake3::Hasher::new();
    let mut left = content.size;
    if left > 0 {
        let mut reader = contents.open(content)?;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.get_mut(..room).unwrap_or_default();
            let count = reader.read(part).map_err(failed)?;
            let read = part.get(..count).unwrap_or_default();
            if read.is_empty() {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            hasher.update(read);
            put(writer, read)?;
            left = left.saturating_sub(read.len() as u64);
        }
    }
    // A layer that was damaged on the disk must not travel on under a digest that looks right.
    if Blake3(*hasher.finalize().as_bytes()) != content.digest {
        return Err(failed(io::Error::other("its bytes are not those of the tree")));
    }
    let past = content.size % tar::BLOCK_BYTES;
    if past > 0 {
        let padding = usize::try_from(tar::BLOCK_BYTES.saturating_sub(past)).unwrap_or_default();
        put(writer, tar::END.get(..padding).unwrap_or_default())?;
    }
    Ok(())
}
