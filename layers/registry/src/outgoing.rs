//! What is sent: bytes in memory or a part of a file, in small pieces, so that it is known how far
//! it has come.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::options::Progress;

/// Bytes of one piece.
const PIECE: u64 = 128 << 10;

/// Where the bytes are.
#[derive(Clone)]
pub(crate) enum Source {
    Memory(Bytes),
    File(Arc<File>),
}

impl Source {
    /// A piece at an offset; never empty where there should be bytes.
    fn piece(&self, offset: u64, length: u64) -> io::Result<Bytes> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        match self {
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).map_err(io::Error::other)?;
                let end = start.checked_add(length).filter(|end| *end <= bytes.len());
                end.map(|end| bytes.slice(start..end)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Self::File(file) => {
                let mut piece = vec![0u8; length];
                // A file that has become shorter ends the request, rather than being sent short.
                file.read_exact_at(&mut piece, offset)?;
                Ok(Bytes::from(piece))
            }
        }
    }
}

/// The body of one request.
pub(crate) struct Outgoing {
    source: Source,
    start: u64,
    pub(crate) length: u64,
    sent: Arc<AtomicU64>,
    told: Option<(Arc<dyn Progress>, String)>,
}

impl Outgoing {
    /// `length` bytes from `start` on; progress is told under this name.
    pub(crate) fn part(source: &Source, start: u64, length: u64, told: Option<(Arc<dyn Progress>, String)>) -> Self {
        Self { source: source.clone(), start, length, sent: Arc::default(), told }
    }

    /// All of some bytes, without progress.
    pub(crate) fn all(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        Self::part(&Source::Memory(bytes), 0, length, None)
    }

    /// How many bytes have been handed to the connection.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// A body that begins at the beginning: requests are sent again.
    pub(crate) fn body(&self) -> reqwest::Body {
        let before = self.sent.swap(0, Ordering::Relaxed);
        if let Some((progress, what)) = &self.told
            && before > 0
        {
            progress.rewound(what, self.start);
        }
        let (source, start, length) = (self.source.clone(), self.start, self.length);
        let (sent, told) = (self.sent.clone(), self.told.clone());
        reqwest::Body::wrap_stream(futures_util::stream::unfold(0u64, move |done| {
            let count = PIECE.min(length.saturating_sub(done));
            let piece = if count == 0 {
                None
            } else {
                let piece = source.piece(start.saturating_add(done), count);
                sent.fetch_add(count, Ordering::Relaxed);
                if let Some((progress, what)) = &told {
                    progress.advanced(what, count);
                }
                // After an error the request ends; there is no next piece to be asked for.
                Some((piece, done.saturating_add(count)))
            };
            std::future::ready(piece)
        }))
    }
}
