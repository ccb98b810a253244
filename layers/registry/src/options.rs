//! How to talk to registries, and what is told while it happens.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::reference::Host;

/// A flag that ends all transfers soon after it is raised; copies share it.
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

/// Proxies, as the caller found them.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `http` URLs.
    pub http: Option<String>,
    /// For `https` URLs.
    pub https: Option<String>,
    /// Hosts that are reached directly, separated by commas.
    pub except: Option<String>,
}

/// How to talk to registries.
#[derive(Debug, Clone)]
pub struct Options {
    /// Transfers of blobs at a time.
    pub parallel: NonZeroUsize,
    /// How often in a row something is tried again that brought nothing and may pass.
    pub retries: u32,
    /// The wait before the second attempt; it doubles from attempt to attempt.
    pub first_wait: Duration,
    /// The longest wait between two attempts that nobody asked for.
    pub longest_wait: Duration,
    /// How long a transfer may go on without getting anywhere, waits included. A registry that
    /// asks for a longer wait is not waited for.
    pub patience: Duration,
    /// A registry that takes or sends nothing for this long, or less than [`Options::slowest`] over
    /// it, hangs.
    pub stall: Duration,
    /// The slowest rate of a transfer that is not hanging, in bytes per second.
    pub slowest: u64,
    /// The longest wait for an answer after an upload is complete: a registry may hash or copy all
    /// of it before it answers.
    pub answer: Duration,
    /// The longest wait for a connection.
    pub connect: Duration,
    /// Bytes of one request of an upload. What is not larger is sent in one.
    pub chunk: u64,
    /// Registries that are spoken to in plain http. Others are spoken to in https; those on this
    /// machine that do not understand it, in http.
    pub insecure: BTreeSet<Host>,
    /// Certificates of authorities to trust beside the system's, each PEM (one file may hold
    /// several).
    pub certificates: Vec<Vec<u8>>,
    /// Proxies.
    pub proxies: Proxies,
    /// Ends everything when raised.
    pub cancel: Cancel,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parallel: NonZeroUsize::new(4).unwrap_or(NonZeroUsize::MIN),
            retries: 5,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            patience: Duration::from_secs(300),
            stall: Duration::from_secs(30),
            slowest: 100,
            answer: Duration::from_secs(300),
            connect: Duration::from_secs(20),
            chunk: 16 << 20,
            insecure: BTreeSet::new(),
            certificates: Vec::new(),
            proxies: Proxies::default(),
            cancel: Cancel::new(),
        }
    }
}

/// Told of each blob. Called from several threads at once; must return quickly.
pub trait Progress: Send + Sync {
    /// A transfer begins; `size` in bytes.
    fn started(&self, what: &str, size: u64);
    /// This many more bytes of it have come or gone.
    fn advanced(&self, what: &str, bytes: u64);
    /// What had come or gone is of use only up to this many bytes; it goes on from there.
    fn rewound(&self, what: &str, to: u64);
    /// Something failed, and will be tried again.
    fn retried(&self, what: &str, reason: &str);
    /// It is there and verified.
    fn finished(&self, what: &str);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _: &str, _: u64) {}
    fn advanced(&self, _: &str, _: u64) {}
    fn rewound(&self, _: &str, _: u64) {}
    fn retried(&self, _: &str, _: &str) {}
    fn finished(&self, _: &str) {}
}
