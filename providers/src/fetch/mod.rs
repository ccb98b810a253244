//! How bytes arrive: several files at once, from several mirrors, resumed, retried, bounded,
//! hashed while they are written, and kept by digest.
//!
//! Two kinds of fetch: a *document* is small, its digest is not known beforehand, and whoever asked
//! for it checks its signature; a *file* has a digest and a size from a verified index, and is
//! never seen by anyone until both are right.

mod attempt;
mod client;
mod document;
mod file;
mod partial;
mod progress;
mod url;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use layers::Sha256;

pub use file::FileRequest;
pub use progress::{Progress, Silent};
pub use url::{BaseUrl, DocumentUrl, UrlError};

use crate::error::FileError;
use client::Clients;

/// A flag that ends all fetches soon after it is raised; copies share it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shares a flag that someone else raises, such as a signal handler.
    pub fn from_flag(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Raises it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is raised.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Proxies, as the caller found them (this crate does not read the environment).
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `http` URLs.
    pub http: Option<String>,
    /// For `https` URLs.
    pub https: Option<String>,
    /// Hosts that are reached directly, separated by commas.
    pub except: Option<String>,
}

/// How to fetch.
#[derive(Debug, Clone)]
pub struct Options {
    /// Files at a time.
    pub parallel: NonZeroUsize,
    /// How often every mirror is asked again after a failure that may pass.
    pub retries: u32,
    /// The wait before the second round; it doubles from round to round.
    pub first_wait: Duration,
    /// A mirror that sends nothing for this long, or less than [`Options::slowest`] over it, hangs.
    pub stall: Duration,
    /// The slowest rate that is not hanging, in bytes per second.
    pub slowest: u64,
    /// The longest wait for a connection.
    pub connect: Duration,
    /// Never touch the network: only `file:` URLs and the cache.
    pub offline: bool,
    /// Proxies.
    pub proxies: Proxies,
    /// Ends everything when raised.
    pub cancel: Cancel,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parallel: NonZeroUsize::new(8).unwrap_or(NonZeroUsize::MIN),
            retries: 4,
            first_wait: Duration::from_millis(500),
            stall: Duration::from_secs(30),
            slowest: 100,
            connect: Duration::from_secs(20),
            offline: false,
            proxies: Proxies::default(),
            cancel: Cancel::new(),
        }
    }
}

/// The longest wait between two rounds, also when a server asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Fetches. Cheap to share by reference among threads.
pub struct Fetcher {
    runtime: tokio::runtime::Runtime,
    clients: Clients,
    options: Options,
    progress: Arc<dyn Progress>,
}

impl Fetcher {
    /// Prepares to fetch; opens no connection.
    ///
    /// # Errors
    /// [`Error::Setup`] when the system gives no threads, or a proxy's URL is not one.
    pub fn new(options: Options, progress: Arc<dyn Progress>) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.parallel.get().min(4))
            .thread_name("fetch")
            .enable_all()
            .build()
            .map_err(|error| Error::Setup(Box::new(error)))?;
        let clients = Clients::new(&options)?;
        Ok(Self { runtime, clients, options, progress })
    }

    /// Whether only `file:` URLs and the cache may be used.
    pub fn is_offline(&self) -> bool {
        self.options.offline
    }
}

/// Why bytes did not arrive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Threads or the HTTP client could not be set up.
    #[error("prepare for fetching")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The cancel flag was raised.
    #[error("finish fetching: interrupted")]
    Cancelled,
    /// The network is not allowed, and the cache does not have it.
    #[error("find offline: {}", list(.missing))]
    Offline {
        /// What is missing, by the names that people know it by.
        missing: Vec<String>,
    },
    /// No mirror gave it.
    #[error("fetch {what}: {}", failures(.attempts))]
    Exhausted {
        /// What was wanted.
        what: String,
        /// The last failure of each mirror.
        attempts: Vec<Failure>,
    },
    /// The cache cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Two indexes give one digest two sizes: one of them lies.
    #[error("fetch {what}: it is said to have {one} and {other} bytes")]
    TwoSizes {
        /// What was wanted.
        what: String,
        /// A size in bytes.
        one: u64,
        /// Another.
        other: u64,
    },
}

/// One mirror's failure.
#[derive(Debug)]
pub struct Failure {
    /// The URL, without credentials.
    pub url: String,
    /// Why it failed.
    pub reason: Reason,
}

/// Why one mirror did not give a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It does not have it (404, 410, or no such file).
    #[error("it does not exist there")]
    Missing,
    /// Another HTTP status that is not success.
    #[error("the server answered {0}")]
    Status(u16),
    /// Nothing came, or far too slowly, for the stated time.
    #[error("the server sent next to nothing for {} s", .0.as_secs_f32())]
    Stalled(Duration),
    /// The connection failed or broke.
    #[error("{0}")]
    Connection(String),
    /// Fewer bytes than stated.
    #[error("it ended after {got} of {expected} bytes")]
    Short {
        /// Bytes that came.
        got: u64,
        /// Bytes stated by the index or the server.
        expected: u64,
    },
    /// More bytes than stated or allowed.
    #[error("it has more than the {limit} bytes expected")]
    Long {
        /// The bound in bytes.
        limit: u64,
    },
    /// Not the bytes that the index states.
    #[error("its SHA-256 is {got}, the signed index says {expected}")]
    Digest {
        /// What the bytes hash to.
        got: Sha256,
        /// What the index states.
        expected: Sha256,
    },
    /// A `file:` URL cannot be read.
    #[error("{0}")]
    Local(String),
}

impl Reason {
    /// Whether asking the same mirror again may help.
    fn may_pass(&self) -> bool {
        match self {
            Self::Status(code) => *code == 429 || *code == 408 || (500..600).contains(code),
            Self::Stalled(_) | Self::Connection(_) | Self::Short { .. } => true,
            Self::Missing | Self::Long { .. } | Self::Digest { .. } | Self::Local(_) => false,
        }
    }
}

fn list(missing: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = missing.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if missing.len() > SHOWN {
        text.push_str(&format!(" and {} more", missing.len() - SHOWN));
    }
    text
}

fn failures(attempts: &[Failure]) -> String {
    if attempts.is_empty() {
        return "no mirror is known".into();
    }
    attempts.iter().map(|failure| format!("{}: {}", failure.url, failure.reason)).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Offline { .. } => Some("run once without --offline, so that the cache has everything".into()),
            Self::Exhausted { attempts, .. } => {
                if attempts.iter().any(|failure| matches!(failure.reason, Reason::Digest { .. } | Reason::Long { .. }))
                {
                    Some("the mirror serves something other than what was signed: try another mirror (providers.NAME.mirror in the configuration), or wait until it has caught up".into())
                } else if attempts.iter().any(|failure| matches!(failure.reason, Reason::Missing)) {
                    Some(
                        "the mirror no longer has it: write a new lock, or use a mirror that keeps old versions".into(),
                    )
                } else {
                    Some("check the network and the proxy, or name another mirror (providers.NAME.mirror in the configuration)".into())
                }
            }
            _ => None,
        }
    }

    /// Whether every mirror said that it does not have it.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Exhausted { attempts, .. }
            if !attempts.is_empty() && attempts.iter().all(|failure| matches!(failure.reason, Reason::Missing)))
    }
}
