//! Writes a stream-optimised VMDK in one pass: compressed grains in the order of the disk, each
//! grain table behind the grains it maps, directory and footer at the end. Grains are compressed
//! on several threads, each on its own: the bytes do not depend on their number.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use flate2::{Compress, FlushCompress, Status};
use uuid::Uuid;

use super::format::{self, FORMAT, Header, SECTOR, TABLE_ENTRIES, flag, marker};
use crate::bytes::{is_zero, put};
use crate::stream::empty;
use crate::workers::Workers;
use crate::{Error, Sink};

/// Size of a grain, in bytes: what the specification asks of this kind of file.
const GRAIN_BYTES: u64 = 64 * 1024;
/// Grains in flight per thread.
const DEPTH: usize = 8;
/// Sectors of the descriptor, and the first sector behind all of the head: as VMware lays it out.
const DESCRIPTOR_SECTORS: u64 = 20;
const OVERHEAD: u64 = 128;

/// What a VMDK is made with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of the disk in bytes; a multiple of 512, up to 62 TiB.
    pub size: u64,
    /// How hard deflate tries, 1 to 9.
    pub level: u32,
    /// Threads that compress; 0 leaves it to the caller's. Never changes the bytes.
    pub threads: usize,
}

struct Grain {
    number: u64,
    bytes: Vec<u8>,
}

type Packed = (u64, io::Result<Vec<u8>>);

/// Writes one stream-optimised VMDK; a [`Sink`].
pub struct Writer {
    file: File,
    path: PathBuf,
    size: u64,
    workers: Workers<Grain, Packed>,
    current: Option<Grain>,
    given: u64,
    /// Where the next grain or table goes, in bytes.
    end: u64,
    table: Vec<u32>,
    table_number: u64,
    directory: Vec<u32>,
}

impl Writer {
    /// Takes an open, writable file and empties it. `path` is for messages.
    ///
    /// # Errors
    /// A size or level that the format refuses; the file cannot be emptied.
    pub fn new(file: File, path: impl Into<PathBuf>, options: &Options) -> Result<Self, Error> {
        let path = path.into();
        let Options { size, level, threads } = *options;
        let refuse =
            |what: String, reason: &str| Err(Error::Unsupported { format: FORMAT, what, reason: reason.into() });
        if size == 0 || !size.is_multiple_of(SECTOR) || size > format::SIZE_MAX {
            return refuse(format!("a disk of {size} bytes"), "the size must be a multiple of 512 bytes, up to 62 TiB");
        }
        if !(1..=9).contains(&level) {
            return refuse(format!("level {level}"), "levels are 1 to 9");
        }
        empty(&file, &path)?;
        // At most two million, by the largest size.
        let tables = size.div_ceil(GRAIN_BYTES).div_ceil(TABLE_ENTRIES) as usize;
        Ok(Self {
            file,
            path,
            size,
            workers: Workers::start(threads, DEPTH, move || move |grain| pack(level, &grain)),
            current: None,
            given: 0,
            end: OVERHEAD * SECTOR,
            table: Vec::new(),
            table_number: 0,
            directory: vec![0; tables],
        })
    }

    /// Writes what is left, the directory, the footer and the header. `id` is the disk's identity.
    ///
    /// # Errors
    /// Those of the file and of compression.
    pub fn finish(mut self, id: Uuid) -> Result<File, Error> {
        self.close_grain()?;
        while let Some(packed) = self.workers.next() {
            let packed = packed.map_err(|source| self.error("compress into", source))?;
            self.store(packed)?;
        }
        self.close_table()?;
        let directory: Vec<u8> = self.directory.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        let directory_at = self.append_marked(marker::GRAIN_DIRECTORY, &directory)?;
        let header = Header {
            version: 3,
            flags: flag::NEW_LINE_TEST | flag::COMPRESSED | flag::MARKERS,
            capacity: self.size / SECTOR,
            grain_sectors: GRAIN_BYTES / SECTOR,
            descriptor_at: 1,
            descriptor_sectors: DESCRIPTOR_SECTORS,
            table_entries: TABLE_ENTRIES as u32,
            directory_at: format::DIRECTORY_AT_END,
            overhead: OVERHEAD,
            compression: format::COMPRESS_DEFLATE,
        };
        let footer = Header { descriptor_at: 0, descriptor_sectors: 0, directory_at: directory_at.into(), ..header };
        self.append_marked(marker::FOOTER, &footer.encode())?;
        // The marker of the end is a sector of zeros.
        self.end += SECTOR;
        self.write(0, &header.encode())?;
        self.write(SECTOR, self.descriptor(id).as_bytes())?;
        self.file.set_len(self.end).map_err(|source| self.error("set the size of", source))?;
        Ok(self.file)
    }

    /// The text that says what the file is ("The Descriptor File").
    fn descriptor(&self, id: Uuid) -> String {
        let sectors = self.size / SECTOR;
        // All ones stand for no parent, and are no id of a content.
        let content = id.as_fields().0 & 0x7fff_ffff;
        // What VMware makes of every disk above 8 GiB; it reads smaller ones with it as well.
        let cylinders = (sectors / (255 * 63)).clamp(1, 65_535);
        // The name of the file is not part of it: the file can be renamed.
        format!(
            "# Disk DescriptorFile\nversion=1\nCID={content:08x}\nparentCID=ffffffff\n\
             createType=\"streamOptimized\"\n\n# Extent description\nRW {sectors} SPARSE \"disk.vmdk\"\n\n\
             # The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
             ddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"lsilogic\"\n"
        )
    }

    fn error(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { action, path: self.path.clone(), source }
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all_at(bytes, offset).map_err(|source| self.error("write", source))
    }

    /// Writes at the end, made up to a sector, and gives the sector where it begins.
    fn append(&mut self, bytes: &[u8]) -> Result<u32, Error> {
        let sector = u32::try_from(self.end / SECTOR).map_err(|_| Error::Unsupported {
            format: FORMAT,
            what: "a file of more than 2 TiB".into(),
            reason: "places in it have 32 bits".into(),
        })?;
        self.write(self.end, bytes)?;
        self.end += (bytes.len() as u64).next_multiple_of(SECTOR);
        Ok(sector)
    }

    /// Writes a marker and what it announces, and gives the sector of the latter.
    fn append_marked(&mut self, kind: u32, bytes: &[u8]) -> Result<u32, Error> {
        let mut sector = [0; SECTOR as usize];
        put(&mut sector, 0, &(bytes.len() as u64).div_ceil(SECTOR).to_le_bytes());
        put(&mut sector, 12, &kind.to_le_bytes());
        self.append(&sector)?;
        self.append(bytes)
    }

    fn close_grain(&mut self) -> Result<(), Error> {
        let Some(grain) = self.current.take().filter(|grain| !is_zero(&grain.bytes)) else { return Ok(()) };
        match self.workers.submit(grain).map_err(|source| self.error("compress into", source))? {
            Some(packed) => self.store(packed),
            None => Ok(()),
        }
    }

    /// Lays down a grain and notes it in its table. Grains come in ascending order.
    fn store(&mut self, (number, bytes): Packed) -> Result<(), Error> {
        let bytes = bytes.map_err(|source| self.error("compress into", source))?;
        if self.table_number != number / TABLE_ENTRIES {
            self.close_table()?;
            self.table_number = number / TABLE_ENTRIES;
        }
        self.table.resize(TABLE_ENTRIES as usize, 0);
        let length = u32::try_from(bytes.len()).map_err(|_| Error::Overflow("the size of a grain"))?;
        let mut marked = Vec::with_capacity(bytes.len() + format::GRAIN_MARKER_BYTES as usize);
        marked.extend_from_slice(&(number * (GRAIN_BYTES / SECTOR)).to_le_bytes());
        marked.extend_from_slice(&length.to_le_bytes());
        marked.extend_from_slice(&bytes);
        self.table[(number % TABLE_ENTRIES) as usize] = self.append(&marked)?;
        Ok(())
    }

    fn close_table(&mut self) -> Result<(), Error> {
        if self.table.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = self.table.drain(..).flat_map(u32::to_le_bytes).collect();
        self.directory[self.table_number as usize] = self.append_marked(marker::GRAIN_TABLE, &bytes)?;
        Ok(())
    }
}

impl Sink for Writer {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Error::Overflow("the end of a write"))?;
        if end > self.size {
            let what = format!("the data into {}", self.path.display());
            return Err(Error::TooSmall { what, needed: end, available: self.size });
        }
        if offset < self.given {
            return Err(Error::Unsupported {
                format: FORMAT,
                what: format!("data at byte {offset} after data up to byte {}", self.given),
                reason: "data must come in ascending order".into(),
            });
        }
        self.given = end;
        let (mut offset, mut bytes) = (offset, bytes);
        while !bytes.is_empty() {
            let (number, within) = (offset / GRAIN_BYTES, (offset % GRAIN_BYTES) as usize);
            let (head, rest) = bytes.split_at(bytes.len().min(GRAIN_BYTES as usize - within));
            if self.current.as_ref().is_none_or(|grain| grain.number != number) {
                self.close_grain()?;
                self.current = Some(Grain { number, bytes: vec![0; GRAIN_BYTES as usize] });
            }
            if let Some(grain) = &mut self.current {
                grain.bytes[within..within + head.len()].copy_from_slice(head);
            }
            (offset, bytes) = (offset + head.len() as u64, rest);
        }
        Ok(())
    }
}

/// Compresses one grain, with a fresh state: one that is reset looks at what lay in its window
/// before (zlib-rs 0.6.8).
fn pack(level: u32, grain: &Grain) -> Packed {
    let mut state = Compress::new(flate2::Compression::new(level), true);
    let mut out = Vec::with_capacity(grain.bytes.len());
    loop {
        let taken = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        let rest = grain.bytes.get(taken..).unwrap_or_default();
        match state.compress_vec(rest, &mut out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => return (grain.number, Ok(out)),
            // Bytes that do not shrink grow, by how much depends on the level.
            Ok(_) => out.reserve(grain.bytes.len() / 8 + 64),
            Err(error) => return (grain.number, Err(error.into())),
        }
    }
}
