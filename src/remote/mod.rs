//! Layers of other machines: caches in registries, asked for what a step would make before it runs, and told
//! of what was made while the build goes on. Nothing that goes wrong with them is a failure of the build.

mod outbox;
mod queue;
mod receive;
mod send;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use layers::{Answer, Blake3, Key, Sha256, Store, StoredLayer};
use providers::fetch::Proxies;
use registry::cache::{Signer, Trust};
use registry::{Options, Reason, Repository};
use sandbox::Cancel;

use crate::config::RegistryConfig;
use crate::containers::connection::Connection;
use crate::error::{Error, Kind, ResultExt};
use crate::explain::chain;
use crate::progress::Reporter;
use crate::spec::resolved::RemoteCache;
use outbox::Outbox;

/// How often something is tried again: a build that waits for its cache had better run the step.
const RETRIES: u32 = 2;
/// How long a transfer may go on without getting anywhere.
const PATIENCE: Duration = Duration::from_secs(30);

/// How caches are reached, and who we are to them.
#[derive(Clone, Copy)]
pub struct Reach<'a> {
    /// Files of credentials, the most particular first.
    pub credentials: &'a [PathBuf],
    /// Proxies of the environment.
    pub proxies: &'a Proxies,
    /// What the configuration says of single registries.
    pub registries: &'a [RegistryConfig],
    /// Who is told of transfers.
    pub reporter: &'a Arc<dyn Reporter>,
    /// Ends transfers early when raised.
    pub interrupted: &'a Arc<AtomicBool>,
}

/// What caches work with.
#[derive(Clone)]
pub struct Means {
    /// Where layers go to and come from.
    pub store: Store,
    /// Told of what goes wrong.
    pub reporter: Arc<dyn Reporter>,
    /// Ends the work early.
    pub cancel: Cancel,
    /// Threads that pack a layer.
    pub threads: usize,
}

/// A layer cache in a registry.
pub struct Remote {
    name: String,
    repository: Repository,
    trust: Trust,
    push: bool,
    packages: bool,
    signer: Option<Signer>,
    /// The keys whose answers are damaged there, with a digest of what was found.
    damaged: Mutex<BTreeMap<Key, Sha256>>,
    /// Raised when it cannot be reached: it is not asked again in this build.
    is_lost: AtomicBool,
    /// Raised when it had enough of being asked for packages, which are many.
    is_lost_for_packages: AtomicBool,
}

/// What is kept back of a failure: its words, and whether there is any use in asking again.
enum Failure {
    /// This answer is none to be used.
    Answer(String),
    /// Nor is this one, of which there is something else than its digests and sizes say.
    Damaged(String),
    /// The registry wants to be asked less.
    Busy(String),
    /// The registry cannot be used.
    Registry(String),
}

impl From<registry::Error> for Failure {
    fn from(error: registry::Error) -> Self {
        let words = format!("failed to {}", chain(&error));
        match error.reason() {
            Some(Reason::Digest { .. } | Reason::Long { .. } | Reason::Size { .. }) => Self::Damaged(words),
            // The registry said that there is more: the way to it is cut.
            Some(Reason::Short { .. } | Reason::Untrusted(_) | Reason::MediaType { .. } | Reason::Missing(_)) => {
                Self::Answer(words)
            }
            Some(Reason::TooManyRequests { .. }) => Self::Busy(words),
            _ => Self::Registry(words),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Answer(chain(&error))
    }
}

impl Remote {
    /// Prepares to ask; nothing is asked yet.
    ///
    /// # Errors
    /// Keys, certificates and credentials that cannot be read.
    pub fn new(settings: &RemoteCache, reach: Reach<'_>) -> Result<Self, Error> {
        let name = settings.reference.to_string();
        let signer = match &settings.signing_key {
            None => None,
            Some(path) => {
                let what = || format!("failed to read the signing key of the layer cache {name}");
                let mut text = String::new();
                let file = File::open(path).or_fail(Kind::Configuration, what)?;
                file.take(4096).read_to_string(&mut text).or_fail(Kind::Configuration, what)?;
                Some(text.parse::<Signer>().or_fail(Kind::Configuration, what)?)
            }
        };
        let connection = Connection {
            insecure: settings.insecure.then(|| settings.reference.host.clone()).into_iter().collect(),
            authorities: settings.ca_file.iter().cloned().collect(),
            credentials: reach.credentials.to_vec(),
            proxies: reach.proxies.clone(),
        }
        .to(&settings.reference.host, reach.registries);
        let patience = Options { retries: RETRIES, patience: PATIENCE, ..Options::default() };
        let client = connection.client_with("layer cache", reach.reporter, reach.interrupted, patience)?;
        Ok(Self {
            repository: client.repository(&settings.reference.host, &settings.reference.name),
            trust: match settings.keys.is_empty() {
                true => Trust::Everybody,
                false => Trust::Keys(settings.keys.clone()),
            },
            push: settings.push,
            packages: settings.packages,
            signer,
            damaged: Mutex::default(),
            is_lost: AtomicBool::new(false),
            is_lost_for_packages: AtomicBool::new(false),
            name,
        })
    }

    /// Where it is: `oci://HOST/REPOSITORY`.
    fn url(&self) -> String {
        format!("oci://{}", self.name)
    }

    /// Whether such layers lie there.
    fn holds(&self, holding: Holding) -> bool {
        holding == Holding::Step || self.packages
    }

    /// Whether it is asked for such layers at all, or not any more.
    fn is_there(&self, holding: Holding, means: &Means) -> bool {
        let is_lost = |lost: &AtomicBool| lost.load(Ordering::Relaxed);
        let is_lost = is_lost(&self.is_lost) || (holding == Holding::Package && is_lost(&self.is_lost_for_packages));
        !is_lost && !means.cancel.is_cancelled()
    }

    /// The keys whose answers are damaged there.
    fn damaged(&self) -> MutexGuard<'_, BTreeMap<Key, Sha256>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a failure to give something: of each answer that is refused, but only once of a registry that
    /// is not there.
    fn tell(&self, failure: Failure, holding: Holding, means: &Means) {
        // Somebody has asked for the end of it.
        if means.cancel.is_cancelled() {
            return;
        }
        let (words, end) = match failure {
            Failure::Answer(words) | Failure::Damaged(words) => (words, ""),
            Failure::Busy(words) if holding == Holding::Package => {
                if self.is_lost_for_packages.swap(true, Ordering::Relaxed) {
                    return;
                }
                (words, "; it is not asked for packages again")
            }
            Failure::Busy(words) | Failure::Registry(words) => {
                if self.is_lost.swap(true, Ordering::Relaxed) {
                    return;
                }
                (words, "; it is not asked again")
            }
        };
        means.reporter.warn(&format!("the layer cache {} gives nothing: {words}{end}", self.name));
    }
}

/// What a layer holds. Those of packages lie in caches that are near, because unpacking a package costs less
/// than fetching its layer from afar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holding {
    /// What a step changed.
    Step,
    /// The files of a package.
    Package,
}

/// A layer that caches are to have.
#[derive(Clone, Copy)]
pub struct Offer<'a> {
    /// The key that it answers.
    pub key: &'a Key,
    /// What it holds.
    pub holding: Holding,
    /// The layer.
    pub layer: &'a StoredLayer,
    /// The step's note.
    pub note: &'a [u8],
    /// Whether this build has made it, so that they were asked for it already.
    pub is_new: bool,
}

/// The caches that are asked, one after the other.
pub struct Remotes {
    all: Arc<[Remote]>,
    means: Means,
    outbox: Outbox,
}

impl Remotes {
    /// Of these; nothing is asked yet.
    pub fn new(all: Vec<Remote>, means: Means) -> Self {
        let all: Arc<[Remote]> = all.into();
        Self { outbox: Outbox::new(all.clone(), means.clone()), all, means }
    }

    /// The layer that a step with this key made elsewhere, taken into the store, with the step's note, and where
    /// it was: `oci://HOST/REPOSITORY`. All of it is verified before it is there.
    pub fn fetch(&self, key: &Key, holding: Holding) -> Option<(String, (StoredLayer, Vec<u8>))> {
        let fetch = |remote: &Remote| Some((remote.url(), remote.fetch(key, holding, &self.means)?));
        let (from, (layer, note)) = self.all.iter().filter(|remote| remote.holds(holding)).find_map(fetch)?;
        // What one cache has, the others may want; instead of what this machine may have made of damage, if it did.
        if self.all.len() > 1 {
            let is_new = self.means.store.is_forgotten(key);
            self.send(Offer { key, holding, layer: &layer, note: &note, is_new });
        } else {
            self.outbox.needs_not(key);
        }
        Some((from, (layer, note)))
    }

    /// Puts a layer of the store that is damaged or missing in place again, if a cache has it as the answer to
    /// one of these keys; gives the name of the cache.
    pub fn restore(&self, layer: &Blake3, keys: &[Answer]) -> Option<&str> {
        let restores = |remote: &&Remote| keys.iter().any(|answer| remote.restore(layer, answer, &self.means));
        self.all.iter().find(restores).map(|remote| remote.name.as_str())
    }

    /// Lets the caches that take layers have one, unless they have it, while the caller goes on.
    pub fn send(&self, offer: Offer<'_>) {
        self.outbox.send(offer);
    }

    /// The build has failed: it is not kept from telling so by layers that it costs little to make again.
    pub fn hurry(&self) {
        self.outbox.hurry();
    }

    /// Whether any of them may have such a layer.
    pub fn hold(&self, holding: Holding) -> bool {
        self.all.iter().any(|remote| remote.holds(holding))
    }
}
