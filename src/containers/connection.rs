//! Talking to registries with what the command line, the configuration and the environment say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use registry::{Cancel, Client, Host, Options, Progress, Proxies};

use super::credentials::Chain;
use super::refused;
use crate::config::RegistryConfig;
use crate::error::{Error, Kind, ResultExt};
use crate::progress::{Event, Reporter, Unit};

/// Largest file of certificates that is read, in bytes: the whole of what a system trusts has less.
const CERTIFICATE_BYTES_MAX: u64 = 16 << 20;

/// How to reach registries, and who we are to them.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Registries in plain http.
    pub insecure: BTreeSet<Host>,
    /// Files of certificates of further authorities, PEM.
    pub authorities: Vec<PathBuf>,
    /// Files of credentials, the most particular first.
    pub credentials: Vec<PathBuf>,
    /// Proxies of the environment.
    pub proxies: providers::fetch::Proxies,
}

impl Connection {
    /// The same, and what the configuration says of a registry.
    pub fn to(mut self, host: &Host, configured: &[RegistryConfig]) -> Self {
        if let Some(found) = configured.iter().find(|registry| registry.host == *host) {
            self.insecure.extend(found.insecure.then(|| host.clone()));
            self.authorities.extend(found.ca_file.clone());
        }
        self
    }

    /// A client whose transfers are told as one task of this title.
    ///
    /// # Errors
    /// Files that cannot be read or are not what they should be.
    pub fn client(
        &self,
        title: &'static str,
        reporter: &Arc<dyn Reporter>,
        interrupted: &Arc<AtomicBool>,
    ) -> Result<Client, Error> {
        self.client_of(Told::new(title, reporter, true), interrupted, Options::default())
    }

    /// As [`Connection::client`], with another patience, for what is done without where it fails: that
    /// something is tried again is told only to whoever looks for a fault.
    ///
    /// # Errors
    /// As [`Connection::client`].
    pub fn client_with(
        &self,
        title: &'static str,
        reporter: &Arc<dyn Reporter>,
        interrupted: &Arc<AtomicBool>,
        patience: Options,
    ) -> Result<Client, Error> {
        self.client_of(Told::new(title, reporter, false), interrupted, patience)
    }

    fn client_of(&self, told: Told, interrupted: &Arc<AtomicBool>, patience: Options) -> Result<Client, Error> {
        let certificates = self.authorities.iter().map(|path| certificates(path)).collect::<Result<_, _>>()?;
        let credentials = Chain::read(&self.credentials).map_err(|error| {
            let hint = error.hint();
            let failed = Error::new(Kind::Configuration, "failed to read credentials of registries").caused_by(error);
            match hint {
                Some(hint) => failed.hint(hint),
                None => failed.hint("correct the file, or name another with --auth-file"),
            }
        })?;
        let options = Options {
            insecure: self.insecure.clone(),
            certificates,
            proxies: Proxies {
                http: self.proxies.http.clone(),
                https: self.proxies.https.clone(),
                except: self.proxies.except.clone(),
            },
            cancel: Cancel::from_flag(interrupted.clone()),
            ..patience
        };
        Client::new(options, Arc::new(credentials), Arc::new(told)).map_err(refused("talk to registries".into()))
    }
}

fn certificates(path: &Path) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    let io = |source| Error::io(Kind::Usage, "read the certificates in", path, source);
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(io)?.take(CERTIFICATE_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// Reads the name of a registry as people write it.
///
/// # Errors
/// It is none.
pub fn host(text: &str) -> Result<Host, Error> {
    text.parse().or_fail(Kind::Usage, || format!("'{text}' is no registry"))
}

/// Tells of all transfers as one task.
struct Told {
    title: &'static str,
    reporter: Arc<dyn Reporter>,
    is_vital: bool,
    /// What has come or gone of each, and its size.
    transfers: Mutex<BTreeMap<String, (u64, u64)>>,
}

impl Told {
    fn new(title: &'static str, reporter: &Arc<dyn Reporter>, is_vital: bool) -> Self {
        Self { title, reporter: reporter.clone(), is_vital, transfers: Mutex::default() }
    }

    fn tell(&self, what: &str, change: impl FnOnce(&mut (u64, u64))) {
        let mut transfers = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        change(transfers.entry(what.to_owned()).or_default());
        let sum = |which: fn(&(u64, u64)) -> u64| transfers.values().map(which).fold(0, u64::saturating_add);
        let (done, total) = (sum(|one| one.0.min(one.1)), sum(|one| one.1));
        self.reporter.report(&Event::TaskAdvanced { title: self.title, unit: Unit::Bytes, done, total: Some(total) });
    }
}

impl Progress for Told {
    fn started(&self, what: &str, size: u64) {
        self.tell(what, |one| *one = (0, size));
    }

    fn advanced(&self, what: &str, bytes: u64) {
        self.tell(what, |one| one.0 = one.0.saturating_add(bytes));
    }

    fn rewound(&self, what: &str, to: u64) {
        self.tell(what, |one| one.0 = to);
    }

    fn retried(&self, what: &str, reason: &str) {
        let text = format!("{what}: {reason}; trying again");
        if self.is_vital { self.reporter.warn(&text) } else { self.reporter.debug(&text) }
    }

    fn finished(&self, what: &str) {
        self.tell(what, |one| one.0 = one.1);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.reporter.report(&Event::TaskEnded { title: self.title });
    }
}
