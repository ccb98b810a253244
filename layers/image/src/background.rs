//! A sink that works on a thread of its own, so that one pass over the data feeds several outputs
//! at the speed of the slowest, not of their sum.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::{Error, Sink};

/// Chunks on their way to the thread.
const DEPTH: usize = 16;
/// Small pieces are gathered up to this many bytes before they are handed over.
const CHUNK_BYTES: usize = 256 * 1024;

/// Feeds a sink on a thread of its own.
pub struct Background<S> {
    chunks: Option<SyncSender<(u64, Vec<u8>)>>,
    thread: Option<JoinHandle<Result<S, Error>>>,
    pending: (u64, Vec<u8>),
}

impl<S: Sink + Send + 'static> Background<S> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(mut sink: S) -> Result<Self, Error> {
        let (chunks, receiver) = sync_channel::<(u64, Vec<u8>)>(DEPTH);
        let run = move || {
            for (offset, bytes) in receiver {
                sink.data(offset, &bytes)?;
            }
            Ok(sink)
        };
        let failed = |source| Error::Io { action: "start", path: PathBuf::from("a thread"), source };
        let thread = Builder::new().name("image-output".into()).spawn(run).map_err(failed)?;
        Ok(Self { chunks: Some(chunks), thread: Some(thread), pending: (0, Vec::new()) })
    }

    /// Waits until everything has reached the sink and gives it back.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn finish(mut self) -> Result<S, Error> {
        self.hand_over()?;
        self.join()
    }

    fn hand_over(&mut self) -> Result<(), Error> {
        let (offset, bytes) = std::mem::take(&mut self.pending);
        if bytes.is_empty() {
            return Ok(());
        }
        match &self.chunks {
            Some(chunks) if chunks.send((offset, bytes)).is_ok() => Ok(()),
            // The thread has ended before its time: what it ended with is the error.
            _ => self.join().and(Err(ended())),
        }
    }

    fn join(&mut self) -> Result<S, Error> {
        self.chunks = None;
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_else(|| Err(ended()))
    }
}

fn ended() -> Error {
    let source = io::Error::other("it ended before its work was done");
    Error::Io { action: "wait for", path: PathBuf::from("a thread that writes"), source }
}

impl<S: Sink + Send + 'static> Sink for Background<S> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let (start, pending) = &self.pending;
        let follows = start.checked_add(pending.len() as u64) == Some(offset);
        if !follows || pending.len().saturating_add(bytes.len()) > CHUNK_BYTES {
            self.hand_over()?;
            self.pending.0 = offset;
        }
        self.pending.1.extend_from_slice(bytes);
        Ok(())
    }
}

impl<S> Drop for Background<S> {
    fn drop(&mut self) {
        self.chunks = None;
        if let Some(thread) = self.thread.take() {
            // Given up: nobody waits for the result.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn the_sink_gets_the_same_bytes() {
        let (mut here, mut there) = (Digest::default(), Background::start(Digest::default()).unwrap());
        for at in 0..5000u64 {
            let piece = vec![at as u8; (at % 1000) as usize];
            here.data(at * 1500, &piece).unwrap();
            there.data(at * 1500, &piece).unwrap();
        }
        let size = 5000 * 1500;
        assert_eq!(here.finish(size).unwrap(), there.finish().unwrap().finish(size).unwrap());
    }

    #[test]
    fn the_sinks_error_arrives() {
        let mut there = Background::start(Digest::default()).unwrap();
        there.data(100, b"x").unwrap();
        there.data(5, b"out of order").unwrap();
        assert!(there.finish().err().unwrap().to_string().contains("a stream"));
    }
}
