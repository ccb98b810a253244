//! The digest of a file, taken while it is written: whoever writes says how far the bytes are settled.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use image::Sink;
use image::container::Writer;
use layers::Sha256;
use sandbox::Cancel;
use sha2::Digest;
use uuid::Uuid;

use crate::error::{Error, Kind};

/// Bytes that are read at once, and by which a file grows before that is told.
const STEP: u64 = 1 << 20;

/// A writer whose file is read behind it.
pub struct Followed {
    writer: Writer,
    follower: Option<Follower>,
}

impl Followed {
    /// Begins to follow a writer of this file, if it tells how far it is and a thread is to be had; until
    /// `cancel` is raised.
    pub fn new(writer: Writer, file: File, path: &Path, cancel: &Cancel) -> Self {
        let follower = writer.settled().and_then(|_| Follower::start(file, path, cancel));
        Self { writer, follower }
    }

    /// Writes what is left, and gives digest and size of the file, if they were taken on the way.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(self, id: Uuid) -> Result<impl FnOnce() -> Option<Result<(Sha256, u64), Error>>, image::Error> {
        self.writer.finish(id)?;
        let follower = self.follower;
        Ok(move || follower.and_then(Follower::finish))
    }

    fn tell(&mut self) {
        if let (Some(follower), Some(settled)) = (&mut self.follower, self.writer.settled()) {
            follower.tell(settled);
        }
    }
}

impl Sink for Followed {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), image::Error> {
        self.writer.data(offset, bytes)?;
        self.tell();
        Ok(())
    }

    fn file(&mut self, offset: u64, file: &File, length: u64) -> Result<bool, image::Error> {
        let taken = self.writer.file(offset, file, length)?;
        self.tell();
        Ok(taken)
    }
}

/// A thread that reads behind a writer. Dropped before the file is finished, it is given up at once, however far
/// behind it is.
struct Follower {
    is_given_up: Arc<AtomicBool>,
    bounds: Option<Sender<u64>>,
    told: u64,
    thread: Option<JoinHandle<Result<Option<(Sha256, u64)>, Error>>>,
}

impl Follower {
    fn start(file: File, path: &Path, cancel: &Cancel) -> Option<Self> {
        let (bounds, receiver) = channel();
        let (path, cancel, is_given_up) = (path.to_path_buf(), cancel.clone(), Arc::new(AtomicBool::new(false)));
        let flag = is_given_up.clone();
        let is_over = move || cancel.is_cancelled() || flag.load(Ordering::Relaxed);
        let thread = Builder::new().name("digest".into());
        let thread = thread.spawn(move || read_behind(&file, path, &receiver, &is_over));
        Some(Self { is_given_up, bounds: Some(bounds), told: 0, thread: Some(thread.ok()?) })
    }

    fn tell(&mut self, settled: u64) {
        if settled.saturating_sub(self.told) >= STEP {
            self.told = settled;
            // Whoever has stopped reading says why at the end.
            let _ = self.bounds.as_ref().map(|bounds| bounds.send(settled));
        }
    }

    /// Digest and size; `None` if the file is to be read by whoever wants them.
    fn finish(mut self) -> Option<Result<(Sha256, u64), Error>> {
        let _ = self.bounds.as_ref().map(|bounds| bounds.send(u64::MAX));
        self.join().transpose()
    }

    fn join(&mut self) -> Result<Option<(Sha256, u64)>, Error> {
        self.bounds = None;
        // A thread that fell over gives nothing: then the file is read once more.
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(Ok(None))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.is_given_up.store(true, Ordering::Relaxed);
        let _ = self.join();
    }
}

/// Reads up to each bound in turn, until it `is_over`; digest and size once the bound is behind every end.
fn read_behind(
    file: &File,
    path: PathBuf,
    bounds: &Receiver<u64>,
    is_over: &dyn Fn() -> bool,
) -> Result<Option<(Sha256, u64)>, Error> {
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; STEP as usize];
    let mut at = 0u64;
    for bound in bounds {
        while at < bound {
            if is_over() {
                return Ok(None);
            }
            let room = &mut buffer[..(bound - at).min(STEP) as usize];
            let count = file.read_at(room, at).map_err(|e| Error::io(Kind::Build, "read back", &path, e))?;
            if count == 0 {
                break;
            }
            hasher.update(&room[..count]);
            at = at.saturating_add(count as u64);
        }
        if bound == u64::MAX {
            return Ok(Some((Sha256(hasher.finalize().into()), at)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn start(file: &tempfile::NamedTempFile) -> Option<Follower> {
        Follower::start(file.reopen().unwrap(), file.path(), &Cancel::new())
    }

    #[test]
    fn what_is_settled_is_read_once_and_the_rest_at_the_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..5_000_000u32).map(|at| (at % 251) as u8).collect();
        let mut follower = start(&file).unwrap();
        for chunk in bytes.chunks(700_001) {
            file.write_all(chunk).unwrap();
            // Far behind what was written, and once before it.
            follower.tell(file.as_file().metadata().unwrap().len().saturating_sub(300_000));
        }
        follower.tell(20_000_000);
        assert_eq!(follower.finish().unwrap().unwrap(), (Sha256::of(&bytes), bytes.len() as u64));
    }

    #[test]
    fn whoever_gives_up_does_not_wait() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // No disk holds so much, and nobody waits until it is read.
        file.as_file().set_len(1 << 43).unwrap();
        let mut follower = start(&file).unwrap();
        follower.tell(1 << 43);
        drop(follower);
        let cancel = Cancel::new();
        let mut follower = Follower::start(file.reopen().unwrap(), file.path(), &cancel).unwrap();
        follower.tell(1 << 43);
        cancel.cancel();
        assert!(follower.finish().is_none());
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let unreadable = File::options().write(true).open(file.path()).unwrap();
        let follower = Follower::start(unreadable, file.path(), &Cancel::new()).unwrap();
        let error = follower.finish().unwrap().unwrap_err();
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }
}
