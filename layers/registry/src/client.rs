//! The client, and a repository as it sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use layers::Sha256;
use reqwest::{Method, Url};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use crate::connection::{Clients, failure, is_refused};
use crate::credentials::Credentials;
use crate::error::{Error, Reason};
use crate::options::{Options, Progress};
use crate::reference::{Host, Name};
use crate::request::{Access, Call};
use crate::retry::{Budget, Stop};
use crate::token::State;

/// How long a registry on this machine may take to say whether it speaks TLS.
const PROBE: Duration = Duration::from_secs(5);
/// The most threads that move bytes: they wait for the network more than they work.
const THREADS_MAX: usize = 4;

/// What one has to get into: a repository, or a registry as such.
type Door = (Host, Option<Name>);

/// What all tasks share.
pub(crate) struct Inner {
    pub(crate) clients: Clients,
    pub(crate) options: Options,
    pub(crate) credentials: Arc<dyn Credentials>,
    pub(crate) progress: Arc<dyn Progress>,
    /// Blobs that come at one time, and those that go: whoever waits for one does not wait for what is sent.
    pub(crate) pulls: Semaphore,
    pub(crate) pushes: Semaphore,
    /// One lock for each blob that was pushed: see [`Remote::turn`].
    turns: Mutex<BTreeMap<(Host, Name, Sha256), Arc<Mutex<()>>>>,
    pub(crate) states: Mutex<BTreeMap<Door, Arc<Mutex<State>>>>,
    bases: Mutex<BTreeMap<Host, Url>>,
}

/// Talks to registries. Cheap to share by reference among threads.
pub struct Client {
    runtime: Arc<Runtime>,
    inner: Arc<Inner>,
}

impl Client {
    /// Prepares to talk; opens no connection.
    ///
    /// # Errors
    /// [`Error::Setup`] when the system gives no threads, a proxy's URL is not one, or a
    /// certificate cannot be read.
    pub fn new(
        options: Options,
        credentials: Arc<dyn Credentials>,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.parallel.get().min(THREADS_MAX))
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(|error| Error::Setup(Box::new(error)))?;
        let inner = Inner {
            clients: Clients::new(&options)?,
            pulls: Semaphore::new(options.parallel.get().min(Semaphore::MAX_PERMITS)),
            pushes: Semaphore::new(options.parallel.get().min(Semaphore::MAX_PERMITS)),
            turns: Mutex::default(),
            options,
            credentials,
            progress,
            states: Mutex::default(),
            bases: Mutex::default(),
        };
        Ok(Self { runtime: Arc::new(runtime), inner: Arc::new(inner) })
    }

    /// A repository at a registry; nothing is asked yet.
    pub fn repository(&self, host: &Host, name: &Name) -> Repository {
        let remote = Remote { inner: self.inner.clone(), host: host.clone(), name: name.clone() };
        Repository { runtime: self.runtime.clone(), remote }
    }

    /// Whether there is a registry that lets us in (distribution-spec 1.1, "Determining Support").
    ///
    /// # Errors
    /// It does not answer, does not let us in, or is not a registry.
    pub fn ping(&self, host: &Host) -> Result<(), Error> {
        self.runtime.block_on(self.inner.ping(host))
    }
}

impl Inner {
    async fn ping(&self, host: &Host) -> Result<(), Error> {
        let what = format!("reach the registry {host}");
        let access = Access { host: host.clone(), name: None, push: false, from: None };
        let mut budget = Budget::new(&self.options);
        loop {
            let attempt = async {
                let url = self.base(host).await?;
                let response = self.send(&Call::new(Method::GET, url, &access)).await?;
                if response.status().is_success() { Ok(()) } else { Err(self.refused(response).await) }
            };
            match attempt.await {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(Reason::Missing(_), _)) => {
                    let sentence = "it is a web server, but not a registry".to_owned();
                    return Err(Error::registry(&what, Reason::Protocol(sentence)));
                }
                Err(stop) => self.again(&what, &mut budget, stop, 0).await?,
            }
        }
    }

    /// Where a registry's answers are: `https://HOST/v2/`. Plain http is for registries that are
    /// configured as insecure, and for those on this machine that do not speak TLS.
    pub(crate) async fn base(&self, host: &Host) -> Result<Url, Stop> {
        if let Some(url) = self.bases.lock().await.get(host) {
            return Ok(url.clone());
        }
        let url = |scheme: &str| {
            Url::parse(&format!("{scheme}://{}/v2/", host.authority()))
                .map_err(|error| Reason::Protocol(format!("{host} is not a host: {error}")))
        };
        let chosen = if self.options.insecure.contains(host) {
            url("http")?
        } else if host.is_loopback() {
            let secure = url("https")?;
            match self.clients.of(&secure) {
                Err(_) => url("http")?,
                Ok(client) => {
                    let probe = client.get(secure.clone()).timeout(PROBE).send();
                    match self.watched(probe, true, None).await? {
                        Ok(_) => secure,
                        // Nobody is there: which of the two it will speak is not known yet.
                        Err(error) if is_refused(&error) => return Err(failure(error).into()),
                        Err(error) => match failure(error) {
                            reason @ Reason::Certificate { .. } => return Err(reason.into()),
                            _ => url("http")?,
                        },
                    }
                }
            }
        } else {
            url("https")?
        };
        self.bases.lock().await.insert(host.clone(), chosen.clone());
        Ok(chosen)
    }

    /// Whether a URL is that of a registry that is configured as insecure.
    pub(crate) fn is_insecure_url(&self, url: &Url) -> bool {
        self.options
            .insecure
            .iter()
            .any(|host| Some(host.name()) == url.host_str() && host.port().or(Some(80)) == url.port_or_known_default())
    }
}

/// A repository as tasks see it.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) inner: Arc<Inner>,
    pub(crate) host: Host,
    pub(crate) name: Name,
}

impl Remote {
    /// A URL below the repository's.
    pub(crate) async fn url(&self, path: &str) -> Result<Url, Stop> {
        let base = self.inner.base(&self.host).await?;
        let url = base.join(&format!("{}/{path}", self.name));
        Ok(url.map_err(|error| Reason::Protocol(format!("{path} is not part of a URL: {error}")))?)
    }

    pub(crate) fn access(&self, push: bool) -> Access {
        Access { host: self.host.clone(), name: Some(self.name.clone()), push, from: None }
    }

    /// The place, for sentences.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.host, self.name)
    }
}

impl Remote {
    /// Waits until nobody else here pushes a blob: who comes second finds it there. docker's registry (2.8.2)
    /// may refuse the manifests of both when two uploads of one blob end at the same time.
    pub(crate) async fn turn(&self, digest: &Sha256) -> OwnedMutexGuard<()> {
        let key = (self.host.clone(), self.name.clone(), *digest);
        let turn = self.inner.turns.lock().await.entry(key).or_default().clone();
        turn.lock_owned().await
    }
}

/// A repository at a registry. Copies share connections, tokens and the bound on transfers.
#[derive(Clone)]
pub struct Repository {
    runtime: Arc<Runtime>,
    pub(crate) remote: Remote,
}

impl Repository {
    /// The registry.
    pub fn host(&self) -> &Host {
        &self.remote.host
    }

    /// The repository's name there.
    pub fn name(&self) -> &Name {
        &self.remote.name
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Runs all of some transfers, as many at a time as [`Options::parallel`] allows; the first
    /// error ends the others. Results are in the order of the transfers.
    pub(crate) fn run_all<T: Send + 'static>(
        &self,
        futures: Vec<impl Future<Output = Result<T, Error>> + Send + 'static>,
    ) -> Result<Vec<T>, Error> {
        self.runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            let count = futures.len();
            for (position, future) in futures.into_iter().enumerate() {
                tasks.spawn(async move { (position, future.await) });
            }
            let mut results: BTreeMap<usize, T> = BTreeMap::new();
            while let Some(joined) = tasks.join_next().await {
                let (position, result) = joined.map_err(|error| Error::Setup(Box::new(error)))?;
                results.insert(position, result?);
            }
            debug_assert_eq!(results.len(), count);
            Ok(results.into_values().collect())
        })
    }
}
