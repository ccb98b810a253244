//! The bytes of files: whole blocks behind each other, holes left out, and what is left of each
//! file packed with others into fragments (binary format, "Packing File Data"). Blocks are
//! compressed on several threads and written in the order of the tree.

use std::collections::VecDeque;
use std::io::{self, Read};

use layers::Contents;

use super::Options;
use super::format::RAW_DATA;
use super::inventory::File;
use super::output::Output;
use crate::Error;
use crate::bytes::is_zero;
use crate::workers::Workers;

/// Blocks in flight per thread: enough that none waits while a large file is opened.
const DEPTH: usize = 4;

/// Where the bytes of a file lie.
#[derive(Clone, Default)]
pub(super) struct Located {
    /// Where the first block begins; 0 when there is none that takes room.
    pub start: u64,
    /// The fragment, and where in it.
    pub fragment: Option<(u32, u32)>,
    /// Bytes in holes.
    pub sparse: u64,
    /// The length of each block as it is written; 0: a hole.
    pub blocks: Vec<u32>,
}

/// A block of tails.
#[derive(Clone, Copy, Default)]
pub(super) struct Fragment {
    pub start: u64,
    /// As blocks of files have it.
    pub length: u32,
}

/// What a block belongs to.
enum Owner {
    File { file: usize, block: usize },
    Fragment(usize),
}

/// Bytes as they will lie, and whether they could not be compressed.
type Packed = io::Result<(Vec<u8>, bool)>;

struct Packing<'o, 'f> {
    out: &'o mut Output<'f>,
    workers: Workers<Vec<u8>, Packed>,
    /// Owners of the blocks in flight, in order.
    owners: VecDeque<Owner>,
    located: Vec<Located>,
    fragments: Vec<Fragment>,
    /// The fragment that is being filled.
    tails: Vec<u8>,
    block_size: usize,
}

/// Writes the bytes of all files; gives where each lies, and the fragments.
pub(super) fn put(
    out: &mut Output<'_>,
    files: &[File<'_>],
    contents: &dyn Contents,
    options: &Options,
) -> Result<(Vec<Located>, Vec<Fragment>), Error> {
    let level = options.level;
    let mut packing = Packing {
        out,
        workers: Workers::start(options.threads, DEPTH, move || pack(level)),
        owners: VecDeque::new(),
        located: vec![Located::default(); files.len()],
        fragments: Vec::new(),
        tails: Vec::new(),
        block_size: options.block_size as usize,
    };
    for (index, file) in files.iter().enumerate() {
        packing.file(index, file, contents)?;
    }
    packing.end_fragment()?;
    while let Some(packed) = packing.workers.next() {
        packing.settle(packed.and_then(|packed| packed))?;
    }
    Ok((packing.located, packing.fragments))
}

impl Packing<'_, '_> {
    fn file(&mut self, index: usize, file: &File<'_>, contents: &dyn Contents) -> Result<(), Error> {
        let failed = |source| Error::Content { path: file.path.to_string(), source };
        let mut reader = contents.open(&file.content)?;
        let mut left = file.content.size;
        while left > 0 {
            // At most a block.
            let mut bytes = vec![0; left.min(self.block_size as u64) as usize];
            reader.read_exact(&mut bytes).map_err(failed)?;
            left -= bytes.len() as u64;
            self.block(index, bytes)?;
        }
        match reader.read(&mut [0]).map_err(failed)? {
            0 => Ok(()),
            _ => {
                let problem = format!("it has more than its {} bytes", file.content.size);
                Err(failed(io::Error::new(io::ErrorKind::InvalidData, problem)))
            }
        }
    }

    /// Takes the next bytes of a file: a block, or less at its end.
    fn block(&mut self, file: usize, bytes: Vec<u8>) -> Result<(), Error> {
        let number = u32::try_from(self.fragments.len());
        let located = &mut self.located[file];
        if is_zero(&bytes) {
            located.sparse += bytes.len() as u64;
            located.blocks.push(0);
            return Ok(());
        }
        if bytes.len() == self.block_size {
            located.blocks.push(0);
            let block = located.blocks.len() - 1;
            return self.submit(Owner::File { file, block }, bytes);
        }
        // Blocks of this file are all on their way, so that a fragment does not come between them.
        if self.tails.len() + bytes.len() > self.block_size {
            self.end_fragment()?;
            return self.block(file, bytes);
        }
        let number = number.map_err(|_| Error::Overflow("the number of fragments"))?;
        // Less than a block.
        located.fragment = Some((number, self.tails.len() as u32));
        self.tails.extend(bytes);
        Ok(())
    }

    fn end_fragment(&mut self) -> Result<(), Error> {
        if self.tails.is_empty() {
            return Ok(());
        }
        let tails = std::mem::take(&mut self.tails);
        self.fragments.push(Fragment::default());
        self.submit(Owner::Fragment(self.fragments.len() - 1), tails)
    }

    fn submit(&mut self, owner: Owner, bytes: Vec<u8>) -> Result<(), Error> {
        self.owners.push_back(owner);
        match self.workers.submit(bytes).map_err(|source| self.out.failed(source))? {
            Some(packed) => self.settle(packed),
            None => Ok(()),
        }
    }

    /// Writes the oldest block in flight.
    fn settle(&mut self, packed: Packed) -> Result<(), Error> {
        let (bytes, raw) = packed.map_err(|source| self.out.failed(source))?;
        let start = self.out.position();
        // At most 2^20.
        let length = bytes.len() as u32 | if raw { RAW_DATA } else { 0 };
        match self.owners.pop_front() {
            Some(Owner::File { file, block }) => {
                let located = &mut self.located[file];
                if located.start == 0 {
                    located.start = start;
                }
                located.blocks[block] = length;
            }
            Some(Owner::Fragment(number)) => self.fragments[number] = Fragment { start, length },
            None => {}
        }
        self.out.put(&bytes)
    }
}

/// Work that compresses with zstd.
fn pack(level: i32) -> impl FnMut(Vec<u8>) -> Packed {
    let mut state = zstd::bulk::Compressor::new(level);
    move |bytes| match &mut state {
        Ok(state) => {
            let packed = state.compress(&bytes)?;
            if packed.len() < bytes.len() { Ok((packed, false)) } else { Ok((bytes, true)) }
        }
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}
