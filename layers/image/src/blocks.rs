//! Disks that are kept in blocks of one size which a map finds: what VHDX, VMDK and VDI share.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::bytes::is_zero;
use crate::medium::Medium;
use crate::stream::empty;
use crate::{Error, Sink};

/// Part of a map that is read at once, in bytes.
const PAGE_BYTES: u64 = 64 * 1024;

/// Where a block of the disk is.
pub(crate) enum Place {
    /// In the file, in the map's own terms.
    At(u64),
    /// Nowhere: it and those behind it, so many in all and at least one, are zeros.
    Zeros(u64),
}

/// The map of a container that is read.
pub(crate) trait BlockMap {
    /// The name for messages.
    const FORMAT: &'static str;

    /// Size of the disk inside, in bytes.
    fn disk_bytes(&self) -> u64;

    /// Size of a block, in bytes; not 0.
    fn block_bytes(&self) -> u64;

    /// Where a block is.
    fn place(&self, number: u64) -> Result<Place, Error>;

    /// Fills `buffer` with bytes of the block at that place, from `within` on.
    fn read_block(&self, place: u64, within: u64, buffer: &mut [u8]) -> Result<(), Error>;
}

/// [`Medium::read_at`] by a map.
pub(crate) fn read_at<M: BlockMap>(map: &M, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
    if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > map.disk_bytes()) {
        let reason = "the disk inside ends before the bytes asked for".into();
        return Err(Error::Damaged { format: M::FORMAT, offset, reason });
    }
    let block = map.block_bytes();
    let (mut offset, mut rest) = (offset, buffer);
    while !rest.is_empty() {
        let within = offset % block;
        let count = usize::try_from(block - within).unwrap_or(usize::MAX).min(rest.len());
        let (head, tail) = rest.split_at_mut(count);
        match map.place(offset / block)? {
            Place::At(place) => map.read_block(place, within, head)?,
            Place::Zeros(_) => head.fill(0),
        }
        (offset, rest) = (offset + count as u64, tail);
    }
    Ok(())
}

/// [`Medium::data_from`] by a map.
pub(crate) fn data_from<M: BlockMap>(map: &M, offset: u64) -> Result<Option<Range<u64>>, Error> {
    let (block, size) = (map.block_bytes(), map.disk_bytes());
    let (mut number, end) = (offset / block, size.div_ceil(block));
    while number < end {
        match map.place(number)? {
            Place::Zeros(count) => number = number.saturating_add(count.max(1)),
            Place::At(_) => {
                let start = number.saturating_mul(block);
                let range = start.max(offset)..start.saturating_add(block).min(size);
                return Ok((!range.is_empty()).then_some(range));
            }
        }
    }
    Ok(None)
}

/// A map as it lies in the file, of which one page is in memory: neighbours are read together,
/// and a map of any length takes no more.
#[derive(Default)]
pub(crate) struct Pages(Mutex<Option<(u64, Vec<u8>)>>);

impl Pages {
    /// The `N` bytes at a place of the file; they lie in one page when they are aligned to `N`.
    ///
    /// # Errors
    /// The place is past the end; those of the file.
    pub(crate) fn read<const N: usize>(&self, file: &dyn Medium, offset: u64) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        let (start, within) = (offset - offset % PAGE_BYTES, (offset % PAGE_BYTES) as usize);
        let end = start.saturating_add(PAGE_BYTES).min(file.size());
        if within + N > PAGE_BYTES as usize || offset.saturating_add(N as u64) > end {
            file.read_at(offset, &mut bytes)?;
            return Ok(bytes);
        }
        // A panic while the lock was held leaves at most the page before.
        let mut page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if page.as_ref().is_none_or(|(at, _)| *at != start) {
            let mut fresh = vec![0; (end - start) as usize];
            file.read_at(start, &mut fresh)?;
            *page = Some((start, fresh));
        }
        if let Some((_, page)) = page.as_ref() {
            bytes.copy_from_slice(&page[within..within + N]);
        }
        Ok(bytes)
    }
}

/// Writes the blocks of a disk behind each other, only those that hold something; a [`Sink`].
/// What comes before the blocks is the format's.
pub(crate) struct BlockFile {
    file: File,
    path: PathBuf,
    size: u64,
    base: u64,
    block_bytes: u64,
    /// How many blocks come before each in the file.
    places: Vec<Option<u32>>,
    count: u32,
}

impl BlockFile {
    /// Takes an open, writable file and empties it. The blocks of a disk of `size` bytes will lie
    /// from `base` on.
    ///
    /// # Errors
    /// The file cannot be emptied.
    pub(crate) fn new(file: File, path: PathBuf, size: u64, block_bytes: u64, base: u64) -> Result<Self, Error> {
        empty(&file, &path)?;
        let blocks = usize::try_from(size.div_ceil(block_bytes)).map_err(|_| Error::Overflow("a number of blocks"))?;
        Ok(Self { file, path, size, base, block_bytes, places: vec![None; blocks], count: 0 })
    }

    /// How many blocks come before each of the disk's blocks in the file; `None` for zeros.
    pub(crate) fn places(&self) -> &[Option<u32>] {
        &self.places
    }

    /// How many blocks the file holds.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Writes a part of what comes before the blocks.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let failed = |source| Error::Io { action: "write", path: self.path.clone(), source };
        self.file.write_all_at(bytes, offset).map_err(failed)
    }

    /// The last block is as long as the others.
    pub(crate) fn finish(self) -> Result<File, Error> {
        let end = self.base + u64::from(self.count) * self.block_bytes;
        match self.file.set_len(end) {
            Ok(()) => Ok(self.file),
            Err(source) => Err(Error::Io { action: "set the size of", path: self.path, source }),
        }
    }
}

impl Sink for BlockFile {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Error::Overflow("the end of a write"))?;
        if end > self.size {
            let what = format!("the data into {}", self.path.display());
            return Err(Error::TooSmall { what, needed: end, available: self.size });
        }
        let (mut offset, mut bytes) = (offset, bytes);
        while !bytes.is_empty() {
            let within = offset % self.block_bytes;
            let (head, rest) = bytes.split_at(bytes.len().min((self.block_bytes - within) as usize));
            if !is_zero(head) {
                let place = &mut self.places[(offset / self.block_bytes) as usize];
                let block = match *place {
                    Some(block) => block,
                    None => {
                        let block = self.count;
                        *place = Some(block);
                        self.count = block.checked_add(1).ok_or(Error::Overflow("a number of blocks"))?;
                        block
                    }
                };
                self.write(self.base + u64::from(block) * self.block_bytes + within, head)?;
            }
            (offset, bytes) = (offset + head.len() as u64, rest);
        }
        Ok(())
    }
}
