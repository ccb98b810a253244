//! How bytes flow from a plan to one or more outputs: in ascending order, holes left out.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use layers::{Content, Contents, TreePath};

use crate::Error;
use crate::raw::COPY_MINIMUM_BYTES;

/// Bytes of a file read at once.
const COPY_BYTES: usize = 256 * 1024;

/// Something with a size whose bytes are settled: a file system, a disk.
pub trait Source: Sync {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Gives every byte that is not zero by nature, at strictly ascending offsets below
    /// [`Source::size`]; what is left out reads as zero.
    ///
    /// # Errors
    /// Content that is missing or has another size than the plan says; errors of the sink.
    fn write_to(&self, contents: &dyn Contents, sink: &mut dyn Sink) -> Result<(), Error>;
}

/// Takes bytes at strictly ascending offsets.
pub trait Sink {
    /// Takes bytes that lie at `offset`. Never overlaps or precedes what was given before.
    ///
    /// # Errors
    /// Those of the output.
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Takes `length` bytes of a host file from its start, for outputs that can share blocks or
    /// copy inside the kernel. Gives `false` when it did nothing and the caller must use
    /// [`Sink::data`].
    ///
    /// # Errors
    /// Those of the output.
    fn file(&mut self, offset: u64, file: &File, length: u64) -> Result<bool, Error> {
        let _ = (offset, file, length);
        Ok(false)
    }
}

/// Empties a file that a container is to be written to, if anything is in it. ext4 marks a file that is cut
/// off at nothing, even an empty one, and writes it to the disk when it is closed (ext4(5), `auto_da_alloc`):
/// as long as everything else of a small change takes.
///
/// # Errors
/// The file cannot be emptied.
pub(crate) fn empty(file: &File, path: &Path) -> Result<(), Error> {
    let emptied = match file.metadata() {
        Ok(meta) if meta.len() == 0 => Ok(()),
        Ok(_) => file.set_len(0),
        Err(error) => Err(error),
    };
    emptied.map_err(|source| Error::Io { action: "empty", path: path.to_path_buf(), source })
}

/// A sink that moves everything up by a fixed distance: a partition inside a disk.
pub struct Shifted<'a> {
    /// What takes the moved bytes.
    pub sink: &'a mut dyn Sink,
    /// The distance in bytes.
    pub by: u64,
}

impl Sink for Shifted<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let offset = offset.checked_add(self.by).ok_or(Error::Overflow("the offset of a partition"))?;
        self.sink.data(offset, bytes)
    }

    fn file(&mut self, offset: u64, file: &File, length: u64) -> Result<bool, Error> {
        let offset = offset.checked_add(self.by).ok_or(Error::Overflow("the offset of a partition"))?;
        self.sink.file(offset, file, length)
    }
}

/// Several sinks fed by one pass over the data.
pub struct Tee<'a>(pub Vec<&'a mut dyn Sink>);

impl Sink for Tee<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.0.iter_mut().try_for_each(|sink| sink.data(offset, bytes))
    }

    fn file(&mut self, offset: u64, file: &File, length: u64) -> Result<bool, Error> {
        // Those that share blocks take it whole; the others get its bytes, which are read once.
        let mut others: Vec<&mut dyn Sink> = Vec::new();
        let count = self.0.len();
        for sink in &mut self.0 {
            if !sink.file(offset, file, length)? {
                others.push(&mut **sink);
            }
        }
        if others.len() == count {
            return Ok(false);
        }
        if !others.is_empty() {
            copy(file, offset, length, &mut Tee(others))?;
        }
        Ok(true)
    }
}

/// Bytes of a file that are read at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// Gives a sink the bytes of a file.
fn copy(file: &File, offset: u64, length: u64, sink: &mut dyn Sink) -> Result<(), Error> {
    let mut buffer = vec![0; length.min(CHUNK_BYTES) as usize];
    let mut at = 0;
    while at < length {
        let part = &mut buffer[..(length - at).min(CHUNK_BYTES) as usize];
        let path = || PathBuf::from("a file of the image");
        file.read_exact_at(part, at).map_err(|source| Error::Io { action: "read", path: path(), source })?;
        sink.data(offset.saturating_add(at), part)?;
        at += part.len() as u64;
    }
    Ok(())
}

/// Pieces that wait for the sink, of at most 2 MiB as the file systems give them.
const AHEAD: usize = 4;

/// What waits for the sink.
enum Step {
    Data(u64, Vec<u8>),
    File(u64, File, u64),
}

/// The end that gives, on a thread of its own.
struct Ahead<'a> {
    steps: SyncSender<Step>,
    /// Buffers that come back.
    used: Receiver<Vec<u8>>,
    /// Lowered once the sink has refused a file.
    takes_files: &'a AtomicBool,
}

impl Ahead<'_> {
    fn send(&self, step: Step) -> Result<(), Error> {
        // Whoever stopped taking has an error of its own, which is the one that is told.
        let gone = || io::Error::other("nobody takes the bytes any more");
        self.steps.send(step).map_err(|_| Error::Io {
            action: "write",
            path: PathBuf::from("the image"),
            source: gone(),
        })
    }
}

impl Sink for Ahead<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut buffer = self.used.try_recv().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        self.send(Step::Data(offset, buffer))
    }

    fn file(&mut self, offset: u64, file: &File, length: u64) -> Result<bool, Error> {
        // Small ones nobody takes, which says nothing of larger ones.
        if length < COPY_MINIMUM_BYTES || !self.takes_files.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match file.try_clone() {
            Ok(file) => self.send(Step::File(offset, file, length)).map(|()| true),
            Err(_) => Ok(false),
        }
    }
}

/// Lets `give` run ahead on a thread of its own, so that reading and writing take turns no more; the
/// sink stays with the caller. Without a thread all is done here.
///
/// # Errors
/// Those of `give` and of the sink.
pub(crate) fn ahead(
    give: &(dyn Fn(&mut dyn Sink) -> Result<(), Error> + Sync),
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    let takes_files = AtomicBool::new(true);
    let (steps, waiting) = sync_channel(AHEAD);
    let (back, used) = channel();
    let mut ahead = Ahead { steps, used, takes_files: &takes_files };
    let finished = thread::scope(|scope| {
        let Ok(giving) =
            thread::Builder::new().name("image-input".into()).spawn_scoped(scope, move || give(&mut ahead))
        else {
            return Ok(false);
        };
        let mut taken = Ok(());
        for step in waiting {
            taken = take(step, sink, &takes_files, |buffer| drop(back.send(buffer)));
            if taken.is_err() {
                // Dropping what waits ends the thread.
                break;
            }
        }
        taken?;
        giving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(|()| true)
    })?;
    if finished { Ok(()) } else { give(sink) }
}

fn take(step: Step, sink: &mut dyn Sink, takes_files: &AtomicBool, done: impl FnOnce(Vec<u8>)) -> Result<(), Error> {
    match step {
        Step::Data(offset, bytes) => {
            sink.data(offset, &bytes)?;
            done(bytes);
        }
        Step::File(offset, file, length) => {
            if !sink.file(offset, &file, length)? {
                takes_files.store(false, Ordering::Relaxed);
                copy(&file, offset, length, sink)?;
            }
        }
    }
    Ok(())
}

/// Gives a file's bytes; exactly as many as its content says.
pub(crate) fn copy_file(
    contents: &dyn Contents,
    content: &Content,
    path: &TreePath,
    offset: u64,
    buffer: &mut Vec<u8>,
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    if let Some(file) = contents.host_file(content)?
        && sink.file(offset, &file, content.size)?
    {
        return Ok(());
    }
    buffer.resize(COPY_BYTES, 0);
    let failed = |source| Error::Content { path: path.to_string(), source };
    let mut reader = contents.open(content)?;
    let mut done = 0;
    while done < content.size {
        let count = (content.size - done).min(COPY_BYTES as u64) as usize;
        reader.read_exact(&mut buffer[..count]).map_err(failed)?;
        sink.data(offset + done, &buffer[..count])?;
        done += count as u64;
    }
    match reader.read(&mut buffer[..1]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(failed(io::Error::other("it is longer than the tree says"))),
        Err(source) => Err(failed(source)),
    }
}
