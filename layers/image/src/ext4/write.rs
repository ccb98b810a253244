//! The bytes of a plan, in the order they lie.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use layers::{Content, Contents};

use super::bytes::{get16, get32};
use super::inode::ROOT;
use super::inventory::Names;
use super::plan::{Piece, Plan, What};
use super::superblock::{self, OFFSET};
use super::{descriptor, directory};
use crate::{Error, Sink, Source};

/// Bytes that are collected before they are given on.
const BUFFER: usize = 2 << 20;
/// Bytes of a file that are read at once.
const CHUNK: usize = 1 << 20;
/// Host files from this size on, in bytes, are offered to the sink whole, which can share their
/// blocks; below it, a copy into the buffer is cheaper than the calls.
const WHOLE_FILE: u64 = 256 << 10;
/// Files that are opened before their turn, so that the kernel reads them meanwhile.
const FILES_AHEAD: usize = 64;
/// Bytes that these have at most, but for the last one.
const BYTES_AHEAD: u64 = 16 << 20;

/// Collects what lies side by side into large writes.
struct Collector<'s> {
    sink: &'s mut dyn Sink,
    /// Of [`BUFFER`] bytes; what was in it before is not cleared.
    buffer: Vec<u8>,
    filled: usize,
    /// Where the buffer lies, bytes.
    start: u64,
    /// Gaps shorter than a block are ends of blocks and are filled with zeros.
    block: u64,
}

impl Collector<'_> {
    /// Room for at most [`CHUNK`] bytes at an offset, to be filled by the caller.
    fn room(&mut self, offset: u64, length: usize) -> Result<&mut [u8], Error> {
        let gap = offset.saturating_sub(self.start + self.filled as u64);
        if self.filled == 0 || gap >= self.block || self.filled + gap as usize + length > BUFFER {
            self.flush()?;
            self.start = offset;
        } else {
            // Less than a block.
            let before = self.filled;
            self.filled += gap as usize;
            self.buffer[before..self.filled].fill(0);
        }
        let at = self.filled;
        self.filled += length;
        Ok(&mut self.buffer[at..self.filled])
    }

    /// The same with zeros in it.
    fn zeros(&mut self, offset: u64, length: usize) -> Result<&mut [u8], Error> {
        let room = self.room(offset, length)?;
        room.fill(0);
        Ok(room)
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.room(offset, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.filled > 0 {
            self.sink.data(self.start, &self.buffer[..self.filled])?;
            self.filled = 0;
        }
        Ok(())
    }
}

/// Where the bytes of a file come from.
enum Origin {
    Host(fs::File),
    Stream(Box<dyn Read + Send>),
}

/// The file whose bytes are being given; its pieces follow each other.
struct Reading {
    file: u32,
    origin: Origin,
}

/// Host files that were opened before their turn, in order: on a cold cache most of the time would
/// be spent in waiting for one small file after the other.
#[derive(Default)]
struct Opened {
    files: VecDeque<(u32, u64, fs::File)>,
    bytes: u64,
    /// The first piece that has not been looked at.
    next: usize,
}

struct Writing<'p, 's> {
    plan: &'p Plan,
    contents: &'p dyn Contents,
    out: Collector<'s>,
    opened: Opened,
    reading: Option<Reading>,
}

impl Source for Plan {
    fn size(&self) -> u64 {
        self.options.size
    }

    fn write_to(&self, contents: &dyn Contents, sink: &mut dyn Sink) -> Result<(), Error> {
        let out = Collector {
            sink,
            buffer: vec![0; BUFFER],
            filled: 0,
            start: 0,
            block: u64::from(self.geometry.block_size),
        };
        let mut writing = Writing { plan: self, contents, out, opened: Opened::default(), reading: None };
        for piece in &self.pieces {
            writing.look_ahead()?;
            writing.give(piece)?;
        }
        writing.out.flush()
    }
}

impl Writing<'_, '_> {
    /// Opens the files of the next pieces and has the kernel read them.
    fn look_ahead(&mut self) -> Result<(), Error> {
        while self.opened.files.len() < FILES_AHEAD && self.opened.bytes < BYTES_AHEAD {
            let Some(piece) = self.plan.pieces.get(self.opened.next) else { break };
            self.opened.next += 1;
            let What::File { file, from: 0, .. } = piece.what else { continue };
            let Some(planned) = self.plan.files.get(file as usize) else { continue };
            let Some(host) = self.host_file(file, &planned.content)? else { continue };
            let size = planned.content.size;
            // Only ever advice.
            let _ = rustix::fs::fadvise(&host, 0, std::num::NonZeroU64::new(size), rustix::fs::Advice::WillNeed);
            self.opened.bytes += size;
            self.opened.files.push_back((file, size, host));
        }
        Ok(())
    }

    fn give(&mut self, piece: &Piece) -> Result<(), Error> {
        let plan = self.plan;
        let block = plan.geometry.block_size as usize;
        let offset = piece.block * u64::from(plan.geometry.block_size);
        match piece.what {
            What::Head(group) => {
                let bytes = superblock::encode(&plan.options, &plan.geometry, plan.checksums, &plan.totals, group);
                // The first one leaves room for a boot sector.
                let at = if group == 0 { OFFSET } else { offset };
                self.out.put(at, &bytes)?;
                for (index, chunk) in plan.descriptors.chunks(CHUNK).enumerate() {
                    self.out.put(offset + block as u64 + (index * CHUNK) as u64, chunk)?;
                }
            }
            What::Reserve => {
                for (index, chunk) in super::reserved::reserve(&plan.geometry).chunks(CHUNK).enumerate() {
                    self.out.put(offset + (index * CHUNK) as u64, chunk)?;
                }
            }
            What::BlockBitmap(group) => {
                let room = self.out.zeros(offset, block)?;
                descriptor::block_bitmap(&plan.geometry, &plan.taken, group, room);
            }
            What::InodeBitmap(group) => {
                let used = plan.groups.get(group as usize).map_or(0, |group| group.used_inodes);
                let room = self.out.zeros(offset, block)?;
                descriptor::inode_bitmap(&plan.geometry, used, room);
            }
            What::InodeTable(group) => self.give_inodes(group, offset)?,
            What::Held { start, end } => {
                for (index, chunk) in plan.held[start..end].chunks(CHUNK).enumerate() {
                    self.out.put(offset + (index * CHUNK) as u64, chunk)?;
                }
            }
            What::File { file, from, length } => self.give_file(file, from, length, offset)?,
        }
        Ok(())
    }

    fn give_inodes(&mut self, group: u32, offset: u64) -> Result<(), Error> {
        let plan = self.plan;
        let size = plan.geometry.inode_size as usize;
        let first = (group * plan.geometry.group_inodes) as usize;
        let used = plan.groups.get(group as usize).map_or(0, |group| group.used_inodes) as usize;
        let inodes = plan.inodes.get(first..first + used).unwrap_or(&[]);
        let mut at = offset;
        let mut number = group * plan.geometry.group_inodes + 1;
        for chunk in inodes.chunks(CHUNK / size) {
            let room = self.out.zeros(at, chunk.len() * size)?;
            for (inode, bytes) in chunk.iter().zip(room.chunks_exact_mut(size)) {
                inode.encode(number, plan.checksums, plan.options.created, bytes);
                number += 1;
            }
            at += (chunk.len() * size) as u64;
        }
        Ok(())
    }

    /// Gives the bytes of a file from `from` on.
    fn give_file(&mut self, file: u32, from: u64, length: u64, offset: u64) -> Result<(), Error> {
        let Some(planned) = self.plan.files.get(file as usize) else {
            return Ok(());
        };
        let content = planned.content;
        let mut reading = match self.reading.take() {
            Some(reading) if reading.file == file => reading,
            _ => Reading { file, origin: self.open(file, &content)? },
        };
        if let Origin::Host(host) = &reading.origin
            && length == content.size
            && length >= WHOLE_FILE
        {
            self.out.flush()?;
            if self.out.sink.file(offset, host, length)? {
                return Ok(());
            }
        }
        let mut done = 0;
        while done < length {
            let count = (length - done).min(CHUNK as u64) as usize;
            let room = self.out.room(offset + done, count)?;
            let read = match &mut reading.origin {
                Origin::Host(host) => host.read_exact_at(room, from + done),
                Origin::Stream(stream) => stream.read_exact(room),
            };
            read.map_err(|source| self.plan.content_error(file, source))?;
            done += count as u64;
        }
        if from + length == content.size {
            if let Origin::Stream(stream) = &mut reading.origin {
                let more = stream.read(&mut [0]).map_err(|source| self.plan.content_error(file, source))?;
                if more > 0 {
                    return Err(self.plan.content_error(file, longer(&content)));
                }
            }
        } else {
            self.reading = Some(reading);
        }
        Ok(())
    }

    fn open(&mut self, file: u32, content: &Content) -> Result<Origin, Error> {
        if let Some((_, size, host)) = self.opened.files.pop_front_if(|(ahead, ..)| *ahead == file) {
            self.opened.bytes -= size;
            return Ok(Origin::Host(host));
        }
        match self.host_file(file, content)? {
            Some(host) => Ok(Origin::Host(host)),
            None => Ok(Origin::Stream(self.contents.open(content)?)),
        }
    }

    /// The host file of a content, if there is one.
    fn host_file(&self, file: u32, content: &Content) -> Result<Option<fs::File>, Error> {
        let Some(host) = self.contents.host_file(content)? else { return Ok(None) };
        let length = host.metadata().map_err(|source| self.plan.content_error(file, source))?.len();
        if length != content.size {
            let problem = if length > content.size {
                longer(content)
            } else {
                io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("it has {length} bytes instead of {}", content.size),
                )
            };
            return Err(self.plan.content_error(file, problem));
        }
        Ok(Some(host))
    }
}

fn longer(content: &Content) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it has more than its {} bytes", content.size))
}

impl Plan {
    /// An error about the content of a file, with the path that the directories give it.
    fn content_error(&self, file: u32, source: io::Error) -> Error {
        let path = self.files.get(file as usize).map_or_else(String::new, |file| self.path(file.inode));
        Error::Content { path, source }
    }

    /// The path of an inode. Only errors ask for it, so it is looked for in the directories.
    fn path(&self, inode: u32) -> String {
        let mut names = Vec::new();
        let mut at = inode;
        // Paths have at most 4096 bytes, so at most half as many names.
        while at != ROOT && names.len() < 2048 {
            let holds = |names: &Names| Some((names.inode, self.name_in(names, at)?));
            let Some((parent, name)) = self.names.iter().find_map(holds) else { break };
            names.push(format!("/{}", name.escape_ascii()));
            at = parent;
        }
        names.reverse();
        names.concat()
    }

    /// The name that a directory, which we encoded, has for an inode.
    fn name_in(&self, names: &Names, inode: u32) -> Option<&[u8]> {
        if names.inode == inode || names.parent == inode {
            // Its own entries `.` and `..`; no directory holds its parent.
            return None;
        }
        for block in self.held.get(names.start..names.end)?.chunks(self.geometry.block_size as usize) {
            let mut at = 0;
            while let Some(entry) = block.get(at..).filter(|entry| entry.len() >= directory::ENTRY) {
                if get32(entry, 0) == inode {
                    return entry.get(directory::ENTRY..directory::ENTRY + usize::from(entry[6]));
                }
                at += usize::from(get16(entry, 4)).max(directory::ENTRY);
            }
        }
        None
    }
}
