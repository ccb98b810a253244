//! Writes a qcow2 file in one pass over ascending data.
//!
//! Clusters of data follow each other in the order of the disk, each L2 table after the clusters
//! it maps; the L1 table, the refcounts and, last of all, the header close the file. Where it is known
//! how far the data reaches at most, the tables lie behind that, and the header, which says where, comes
//! first: then whoever reads the file from its beginning can do so while it is written. Compressed
//! clusters are made on several threads, each cluster on its own, and laid down in order: the
//! bytes do not depend on the number of threads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use flate2::{Compress, FlushCompress, Status};

use super::format::{self, FORMAT, Header, L1_ENTRIES_MAX};
use super::reach::Reach;
use crate::bytes::is_zero;
use crate::stream::empty;
use crate::workers::Workers;
use crate::{Error, Sink};

/// qemu-img reads zlib clusters with a window of 1 << 12 bytes (block/qcow2-threads.c).
const ZLIB_WINDOW_BITS: u8 = 12;

/// Clusters in flight per thread: their work is short, so several wait for each.
const DEPTH: usize = 8;

/// How clusters are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Compression {
    /// As they are.
    None,
    /// With deflate, levels 1 to 9: what every QEMU reads.
    Zlib(u32),
    /// With zstd, levels 1 to 22: QEMU 5.1 and later.
    Zstd(i32),
}

/// How the container is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of the disk inside, in bytes; a multiple of 512.
    pub size: u64,
    /// Cluster size in bytes: a power of two from 512 to 2 MiB.
    pub cluster_size: u32,
    /// How clusters are stored.
    pub compression: Compression,
    /// Threads that compress; 0 leaves it to the caller's. Never changes the bytes.
    pub threads: usize,
    /// How far the data reaches at most, if that is known and clusters are not compressed.
    pub reach: Option<Reach>,
}

impl Options {
    /// Clusters of 64 KiB (QEMU's default), not compressed.
    pub fn new(size: u64) -> Self {
        Self { size, cluster_size: 64 * 1024, compression: Compression::None, threads: 0, reach: None }
    }
}

/// A cluster on its way to the file.
struct Piece {
    number: u64,
    bytes: Vec<u8>,
}

/// A cluster with its compressed form, if that is smaller.
struct Packed {
    piece: Piece,
    compressed: io::Result<Option<Vec<u8>>>,
}

/// Writes one qcow2 file; a [`Sink`].
pub struct Writer {
    out: Output,
    bits: u32,
    size: u64,
    compression: u8,
    /// The first cluster of the tables, where the header says so already.
    tables_at: Option<u64>,
    /// The cluster being filled.
    current: Option<Piece>,
    end: u64,
    workers: Option<Workers<Piece, Packed>>,
    l1: BTreeMap<u64, u64>,
    l2: Vec<u64>,
    l2_number: u64,
}

impl Writer {
    /// Takes an open, writable file and empties it. `path` is for messages.
    ///
    /// # Errors
    /// Options that the format cannot express; the file cannot be emptied.
    pub fn new(file: File, path: impl Into<PathBuf>, options: &Options) -> Result<Self, Error> {
        let path = path.into();
        let refuse =
            |what: String, reason: &str| Err(Error::Unsupported { format: FORMAT, what, reason: reason.into() });
        let bits = options.cluster_size.trailing_zeros();
        if !options.cluster_size.is_power_of_two() || !format::CLUSTER_BITS.contains(&bits) {
            return refuse(
                format!("clusters of {} bytes", options.cluster_size),
                "the size must be a power of two from 512 bytes to 2 MiB",
            );
        }
        if !options.size.is_multiple_of(512) {
            return refuse(format!("a disk of {} bytes", options.size), "the size must be a multiple of 512");
        }
        if options.size.div_ceil(1 << (2 * bits - 3)) > L1_ENTRIES_MAX {
            return refuse(format!("a disk of {} bytes", options.size), "larger clusters are needed");
        }
        let (compression, work) = match options.compression {
            Compression::None => (format::COMPRESSION_ZLIB, None),
            Compression::Zlib(level) if (1..=9).contains(&level) => {
                (format::COMPRESSION_ZLIB, Some(Workers::start(options.threads, DEPTH, move || deflate(level))))
            }
            Compression::Zstd(level) if (1..=22).contains(&level) => {
                (format::COMPRESSION_ZSTD, Some(Workers::start(options.threads, DEPTH, move || zstd(level))))
            }
            Compression::Zlib(level) => return refuse(format!("zlib level {level}"), "levels are 1 to 9"),
            Compression::Zstd(level) => return refuse(format!("zstd level {level}"), "levels are 1 to 22"),
        };
        empty(&file, &path)?;
        let tables_at = match options.reach {
            Some(Reach { cluster_size, clusters, tables }) if options.compression == Compression::None => {
                if cluster_size != u64::from(options.cluster_size) {
                    return refuse(
                        format!("clusters of {cluster_size} bytes"),
                        "the reach counts others than the file",
                    );
                }
                Some(clusters.saturating_add(tables).saturating_add(1))
            }
            _ => None,
        };
        let writer = Self {
            // Cluster 0 is the header's.
            out: Output { file, path, bits, clusters: vec![1], packed_at: 0 },
            bits,
            size: options.size,
            compression,
            tables_at,
            current: None,
            end: 0,
            workers: work,
            l1: BTreeMap::new(),
            l2: Vec::new(),
            l2_number: 0,
        };
        if let Some(at) = tables_at {
            writer.out.write(0, &writer.header(at)?.encode())?;
        }
        Ok(writer)
    }

    /// Bytes from the beginning of the file that stay as they are, unless the header comes last.
    pub fn settled(&self) -> Option<u64> {
        self.tables_at.map(|_| self.out.end())
    }

    /// Clusters of the L1 table.
    fn l1_clusters(&self) -> u64 {
        (self.l1_entries() * 8).div_ceil(1 << self.bits).max(1)
    }

    fn l1_entries(&self) -> u64 {
        self.size.div_ceil(1 << (2 * self.bits - 3))
    }

    /// The header of a file whose L1 table begins at this cluster, with the refcounts behind it.
    fn header(&self, l1_cluster: u64) -> Result<Header, Error> {
        let l1_end = l1_cluster.saturating_add(self.l1_clusters());
        let (_, tables) = refcount_clusters(self.bits, l1_end);
        Ok(Header {
            cluster_bits: self.bits,
            size: self.size,
            l1_entries: u32::try_from(self.l1_entries()).map_err(|_| Error::Overflow("the size of the L1 table"))?,
            l1_offset: l1_cluster << self.bits,
            refcount_table_offset: l1_end << self.bits,
            refcount_table_clusters: u32::try_from(tables)
                .map_err(|_| Error::Overflow("the size of the refcount table"))?,
            compression: self.compression,
        })
    }

    /// Writes what is left, the tables and the header. Making it durable is the caller's.
    ///
    /// # Errors
    /// Those of the file and of compression.
    pub fn finish(mut self) -> Result<File, Error> {
        self.close_cluster()?;
        while let Some(result) = self.workers.as_mut().and_then(Workers::next) {
            let packed = result.map_err(|source| self.out.error("compress into", source))?;
            self.store(packed)?;
        }
        self.close_l2()?;
        if let Some(at) = self.tables_at {
            self.out.leave_free(at)?;
        }
        let l1_cluster = self.out.clusters.len() as u64;
        let l1_offset = self.out.allocate(self.l1_clusters())?;
        let mut table = Vec::new();
        for number in 0..self.l1_entries() {
            let entry = self.l1.get(&number).map_or(0, |offset| offset | format::COPIED);
            table.extend_from_slice(&entry.to_be_bytes());
        }
        self.out.write(l1_offset, &table)?;
        self.out.write_refcounts()?;
        if self.tables_at.is_none() {
            self.out.write(0, &self.header(l1_cluster)?.encode())?;
        }
        self.out.finish()
    }

    fn close_cluster(&mut self) -> Result<(), Error> {
        match self.current.take() {
            Some(piece) if !is_zero(&piece.bytes) => self.give(piece),
            _ => Ok(()),
        }
    }

    fn give(&mut self, piece: Piece) -> Result<(), Error> {
        let packed = match &mut self.workers {
            None => Some(Packed { piece, compressed: Ok(None) }),
            Some(workers) => workers.submit(piece).map_err(|source| self.out.error("compress into", source))?,
        };
        packed.map_or(Ok(()), |packed| self.store(packed))
    }

    /// Lays down a cluster and notes it in its L2 table. Clusters come in ascending order.
    fn store(&mut self, packed: Packed) -> Result<(), Error> {
        let number = packed.piece.number;
        let compressed = packed.compressed.map_err(|source| self.out.error("compress into", source))?;
        let entry = match compressed {
            Some(bytes) => {
                let offset = self.out.pack(&bytes)?;
                format::descriptor(self.bits, offset, bytes.len() as u64)
            }
            None => {
                let offset = self.out.allocate(1)?;
                self.out.write(offset, &packed.piece.bytes)?;
                offset | format::COPIED
            }
        };
        let per_table = 1u64 << (self.bits - 3);
        if self.l2_number != number / per_table {
            self.close_l2()?;
        }
        self.l2_number = number / per_table;
        self.l2.resize(per_table as usize, 0);
        self.l2[(number % per_table) as usize] = entry;
        Ok(())
    }

    fn close_l2(&mut self) -> Result<(), Error> {
        if self.l2.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = self.l2.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        let offset = self.out.allocate(1)?;
        self.out.write(offset, &bytes)?;
        self.l1.insert(self.l2_number, offset);
        self.l2.clear();
        Ok(())
    }
}

impl Sink for Writer {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Error::Overflow("the end of a write"))?;
        if end > self.size {
            return Err(Error::TooSmall {
                what: format!("the data into {}", self.out.path.display()),
                needed: end,
                available: self.size,
            });
        }
        if offset < self.end {
            return Err(Error::Unsupported {
                format: FORMAT,
                what: format!("data at byte {offset} after data up to byte {}", self.end),
                reason: "data must come in ascending order".into(),
            });
        }
        self.end = end;
        let cluster = 1u64 << self.bits;
        let (mut offset, mut bytes) = (offset, bytes);
        while !bytes.is_empty() {
            let (number, within) = (offset / cluster, (offset % cluster) as usize);
            let count = bytes.len().min(cluster as usize - within);
            let (head, rest) = bytes.split_at(count);
            if self.current.as_ref().is_none_or(|piece| piece.number != number) {
                self.close_cluster()?;
                self.current = Some(Piece { number, bytes: vec![0; cluster as usize] });
            }
            if let Some(piece) = &mut self.current {
                piece.bytes[within..within + count].copy_from_slice(head);
            }
            (offset, bytes) = (offset + count as u64, rest);
        }
        Ok(())
    }
}

/// The file, and which of its clusters are used how often.
struct Output {
    file: File,
    path: PathBuf,
    bits: u32,
    /// How often each cluster of the file is referred to.
    clusters: Vec<u16>,
    /// Where the next compressed cluster goes, if there is room; 0 for nowhere.
    packed_at: u64,
}

impl Output {
    fn error(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { action, path: self.path.clone(), source }
    }

    fn end(&self) -> u64 {
        (self.clusters.len() as u64) << self.bits
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all_at(bytes, offset).map_err(|source| self.error("write", source))
    }

    /// Takes `count` new clusters, each referred to once.
    fn allocate(&mut self, count: u64) -> Result<u64, Error> {
        let offset = self.end();
        // Offsets have 56 bits (OFFSET_MASK); 32 bits of clusters stay far below that.
        let count = u32::try_from(count).map_err(|_| Error::Overflow("a number of clusters"))?;
        self.clusters.resize(self.clusters.len() + count as usize, 1);
        Ok(offset)
    }

    /// Nothing is laid before this cluster; what was announced and turned out to be zero stays a hole, which
    /// QEMU takes for the first clusters it needs.
    fn leave_free(&mut self, until: u64) -> Result<(), Error> {
        if self.clusters.len() as u64 > until {
            return Err(Error::Unsupported {
                format: FORMAT,
                what: format!("{} clusters of data and tables in {}", self.clusters.len(), self.path.display()),
                reason: format!("only {until} were announced"),
            });
        }
        let until = usize::try_from(until).map_err(|_| Error::Overflow("a number of clusters"))?;
        self.clusters.resize(until, 0);
        Ok(())
    }

    /// Lays compressed bytes directly behind those before them where the clusters allow it.
    fn pack(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        let (cluster, length) = (1u64 << self.bits, bytes.len() as u64);
        let room = if self.packed_at == 0 { 0 } else { cluster - self.packed_at % cluster };
        let follows = self.packed_at.div_ceil(cluster) == self.clusters.len() as u64;
        // A cluster counts its users in 16 bits.
        let full = self.clusters.get((self.packed_at >> self.bits) as usize).is_none_or(|&n| n == u16::MAX);
        if room == 0 || full || (length > room && !follows) {
            self.packed_at = self.allocate(1)?;
            if let Some(count) = self.clusters.last_mut() {
                *count = 0;
            }
        }
        let offset = self.packed_at;
        // Readers take whole sectors, and the refcounts cover them; a cluster's size is a
        // multiple of a sector, so this crosses into the next cluster only when the bytes do.
        let (first, last) = (offset >> self.bits, (offset + length - 1) >> self.bits);
        while last >= self.clusters.len() as u64 {
            self.clusters.push(0);
        }
        for used in &mut self.clusters[first as usize..=last as usize] {
            *used += 1;
        }
        self.write(offset, bytes)?;
        let next = offset + length;
        self.packed_at = if next.is_multiple_of(cluster) { 0 } else { next };
        Ok(offset)
    }

    /// Writes the refcount blocks behind their table, which count themselves too.
    fn write_refcounts(&mut self) -> Result<(), Error> {
        let cluster = 1u64 << self.bits;
        let per_block = cluster / 2;
        let (blocks, tables) = refcount_clusters(self.bits, self.clusters.len() as u64);
        let table_offset = self.allocate(tables)?;
        let blocks_offset = self.allocate(blocks)?;
        let mut table = Vec::new();
        for (number, counts) in self.clusters.chunks(per_block as usize).enumerate() {
            let offset = blocks_offset + number as u64 * cluster;
            let bytes: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
            self.write(offset, &bytes)?;
            table.extend_from_slice(&offset.to_be_bytes());
        }
        self.write(table_offset, &table)
    }

    /// The file ends with its last cluster.
    fn finish(self) -> Result<File, Error> {
        self.file.set_len(self.end()).map_err(|source| self.error("set the size of", source))?;
        Ok(self.file)
    }
}

/// Clusters of the blocks and of the table that count the uses of so many clusters and of themselves.
fn refcount_clusters(bits: u32, used: u64) -> (u64, u64) {
    let cluster = 1u64 << bits;
    let (per_block, per_table) = (cluster / 2, cluster / 8);
    let (mut blocks, mut tables) = (1u64, 1u64);
    loop {
        let total = used.saturating_add(blocks).saturating_add(tables);
        let (more_blocks, more_tables) = (total.div_ceil(per_block), blocks.div_ceil(per_table));
        if (more_blocks, more_tables) == (blocks, tables) {
            return (blocks, tables);
        }
        (blocks, tables) = (more_blocks.max(blocks), more_tables.max(tables));
    }
}

/// Work that compresses with deflate.
fn deflate(level: u32) -> impl FnMut(Piece) -> Packed {
    let mut out = Vec::new();
    move |piece| {
        // A fresh state for each cluster: one that is reset keeps what it had not given out, and
        // looks at what lay in its window before (zlib-rs 0.6.8).
        let mut state = Compress::new_with_window_bits(flate2::Compression::new(level), false, ZLIB_WINDOW_BITS);
        // Room for what does not shrink as well.
        out.resize(piece.bytes.len() + piece.bytes.len() / 8 + 64, 0);
        let compressed = match state.compress(&piece.bytes, &mut out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => {
                let length = usize::try_from(state.total_out()).unwrap_or(usize::MAX);
                Ok(out.get(..length).filter(|_| length < piece.bytes.len()).map(<[u8]>::to_vec))
            }
            Ok(_) => Ok(None),
            Err(error) => Err(error.into()),
        };
        Packed { piece, compressed }
    }
}

/// Work that compresses with zstd.
fn zstd(level: i32) -> impl FnMut(Piece) -> Packed {
    let mut state = ::zstd::bulk::Compressor::new(level);
    move |piece| {
        let compressed = match &mut state {
            Ok(state) => state
                .compress(&piece.bytes)
                .map(|bytes| if bytes.len() < piece.bytes.len() { Some(bytes) } else { None }),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        Packed { piece, compressed }
    }
}
