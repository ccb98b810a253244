//! The means of a build, made from a request: the one place where configuration becomes a
//! [`Context`].

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use layers::{Staging, Store, Workplace, is_named_as_ours};
use providers::distro::Catalogue;
use providers::fetch::{self, Fetcher, Options, Progress, Proxies};
use sandbox::{Cancel, Rung};

use crate::base::Registries;
use crate::build::now;
use crate::cleaning;
use crate::cli::options::BuildRequest;
use crate::config::Config;
use crate::containers::connection::Connection;
use crate::context::Context;
use crate::error::{Error, Kind, ResultExt};
use crate::explain::quoted;
use crate::history::History;
use crate::machine::{Machine, ProviderSettings};
use crate::progress::Reporter;
use crate::remote::{Means, Reach, Remote, Remotes};
use crate::spec::ResolvedSpec;

/// A context and what it needs to stay alive.
pub struct Workshop {
    /// The means.
    pub context: Context,
    /// The package cache of this build alone, where none is to be kept.
    _own_cache: Option<Staging>,
}

/// Makes the means that a request asks for.
///
/// # Errors
/// Directories that cannot be made; an unknown rung.
pub fn prepare(request: &BuildRequest, spec: &ResolvedSpec) -> Result<Workshop, Error> {
    let config = &request.config;
    sweep_sessions(&config.work_dir);
    let store = Store::open(&config.cache_dir.join("store"), &boot())
        .or_fail(Kind::Configuration, || format!("failed to use the cache directory {}", config.cache_dir.display()))?;
    let work = Workplace::open(&config.work_dir)
        .or_fail(Kind::Configuration, || format!("failed to use the work directory {}", config.work_dir.display()))?;
    sweep_unfinished(&config.cache_dir);
    // Before anything looks for an image that was built before.
    cleaning::settle(config, &store)?;
    let damage = store.damage().to("see whether damage was found")?;
    let own_cache = match spec.caches.packages {
        true => None,
        false => Some(store.stage().to("make a work directory")?),
    };
    let cache_directory = own_cache.as_ref().map_or(config.cache_dir.clone(), |own| own.path().to_path_buf());
    let parallel =
        request.options.parallel.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    // The pool can be made once in a process; a second build in it uses the first one's.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(parallel.get()).build_global();
    let forced_rung = request.options.rung.as_deref().map(read_rung).transpose()?;
    let cancel = Cancel::from_flag(request.interrupted.clone());
    let means = Means {
        store: store.clone(),
        reporter: request.reporter.clone(),
        cancel: cancel.clone(),
        threads: parallel.get(),
    };
    Ok(Workshop {
        context: Context {
            store,
            damage,
            remotes: Remotes::new(remotes(request, spec)?, means),
            work,
            cache_directory,
            packed_directory: config.cache_dir.join("blobs"),
            fetcher: fetcher(request)?,
            registries: registries(request),
            catalogue: catalogue(config)?,
            machine: machine(config),
            reporter: request.reporter.clone(),
            shell_command: shell_command(request),
            visit: request.visit.clone(),
            cancel,
            parallel: parallel.get(),
            keep_temp: request.options.keep_temp || !config.cleanup_on_failure,
            reuse_layers: spec.caches.packages,
            deadline: request.options.timeout.and_then(|limit| Instant::now().checked_add(limit)),
            now: now(),
            source_date_epoch: request.source_date_epoch,
            forced_rung,
            assemble: request.options.no_overlay,
            rung: OnceLock::new(),
            epoch: OnceLock::new(),
            base_taken: OnceLock::new(),
            steps: Mutex::default(),
            stages: Mutex::default(),
            history: History::default(),
            all_made: Mutex::default(),
            sources: OnceLock::new(),
        },
        _own_cache: own_cache,
    })
}

/// How images at registries are reached: with the ecosystem's own credentials, and as the configuration says.
fn registries(request: &BuildRequest) -> Option<Registries> {
    let connection = Connection {
        credentials: request.credentials.clone(),
        proxies: request.proxies.clone(),
        ..Connection::default()
    };
    (!request.options.offline).then(|| Registries {
        connection,
        configured: request.config.registries.clone(),
        interrupted: request.interrupted.clone(),
    })
}

/// The layer caches in registries that a build asks: those of the spec, then those of the configuration.
fn remotes(request: &BuildRequest, spec: &ResolvedSpec) -> Result<Vec<Remote>, Error> {
    if request.options.offline || !spec.caches.packages {
        return Ok(Vec::new());
    }
    let all = spec.remotes.iter().chain(&request.config.remotes);
    let reach = Reach {
        credentials: &request.credentials,
        proxies: &request.proxies,
        registries: &request.config.registries,
        reporter: &request.reporter,
        interrupted: &request.interrupted,
    };
    all.map(|settings| Remote::new(settings, reach)).collect()
}

/// What to type for a shell at the step that fails: with the same lock, configuration and rung.
/// Empty where one opens anyway.
fn shell_command(request: &BuildRequest) -> String {
    if request.visit.is_some() {
        return String::new();
    }
    let mut words = vec!["image-composer".to_owned(), "shell".to_owned()];
    words.extend(request.places.iter().map(|word| quoted(word)));
    for (word, is_typed) in [("--locked", request.options.locked), ("--offline", request.options.offline)] {
        words.extend(is_typed.then(|| word.to_owned()));
    }
    words.extend(request.options.rung.iter().flat_map(|rung| ["--rung".to_owned(), quoted(rung)]));
    words.push(quoted(&request.spec_path.to_string_lossy()));
    words.join(" ")
}

/// Empties what killed sessions left in the store: on the rung `userns` it belongs to ids that only
/// the sandbox can act as, so that the store's own sweep could not remove it.
fn sweep_sessions(work: &std::path::Path) {
    for entry in fs::read_dir(work).into_iter().flatten().filter_map(Result::ok) {
        let session = entry.path().join("session");
        // Not through a link, and nothing of other people's.
        if !is_named_as_ours(&entry.path()) || !entry.file_type().is_ok_and(|kind| kind.is_dir()) || !session.is_dir() {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join("lock")) else { continue };
        // Held: the build that it belongs to is alive.
        if lock.try_lock().is_err() {
            continue;
        }
        if let Err(error) = sandbox::sweep(&session) {
            tracing::warn!("failed to remove what a killed build left in {}: {error}", session.display());
        }
    }
}

/// Age of a file under a passing name that no process can still be writing: they hold an index or
/// a release, a few MiB at most, and have their name for less than a second.
const UNFINISHED_AGE: Duration = Duration::from_secs(60 * 60);

/// Removes what a killed build left of indexes, releases and records under passing names.
fn sweep_unfinished(cache: &std::path::Path) {
    for directory in ["indexes/sha256", "releases", "stacks"] {
        for entry in fs::read_dir(cache.join(directory)).into_iter().flatten().filter_map(Result::ok) {
            let old = || {
                entry
                    .metadata()
                    .and_then(|meta| meta.modified())
                    .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > UNFINISHED_AGE))
            };
            if entry.file_name().as_encoded_bytes().starts_with(b".new-") && old() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The id of this boot of the machine (random(4)); where there is none, every layer is looked
/// through whenever it is used.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_else(|_| format!("{:?}", Instant::now()))
}

fn read_rung(name: &str) -> Result<Rung, Error> {
    Rung::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Rung::ALL.iter().map(|rung| rung.name()).collect();
        Error::usage(format!("'{name}' is not a rung of the sandbox")).hint(format!("rungs are {}", known.join(", ")))
    })
}

fn machine(config: &Config) -> Machine {
    let settings = |(name, settings): (&String, &crate::config::ProviderConfig)| {
        let own = ProviderSettings {
            repositories: settings.repositories.clone(),
            mirror: settings.mirror.clone(),
            key: settings.key.clone(),
        };
        (name.clone(), own)
    };
    Machine { providers: config.providers.iter().map(settings).collect(), ..Machine::read() }
}

/// The distributions there are: ours, and those of the configuration directories.
///
/// # Errors
/// A provider file that cannot be read.
pub fn catalogue(config: &Config) -> Result<Catalogue, Error> {
    let mut catalogue = Catalogue::embedded().to("read the built-in providers")?;
    for directory in &config.provider_directories {
        if directory.is_dir() {
            catalogue
                .add_directory(directory)
                .or_fail(Kind::Configuration, || format!("failed to read the providers in {}", directory.display()))?;
        }
    }
    Ok(catalogue)
}

fn fetcher(request: &BuildRequest) -> Result<Fetcher, Error> {
    let proxies = Proxies {
        http: request.proxies.http.clone(),
        https: request.proxies.https.clone(),
        except: request.proxies.except.clone(),
    };
    let options = Options {
        offline: request.options.offline,
        proxies,
        cancel: fetch::Cancel::from_flag(request.interrupted.clone()),
        ..Options::default()
    };
    let told = Told { reporter: request.reporter.clone(), done: AtomicU64::new(0), total: AtomicU64::new(0) };
    Fetcher::new(options, Arc::new(told)).to("prepare to fetch")
}

/// Tells of downloads as one task.
struct Told {
    reporter: Arc<dyn Reporter>,
    done: AtomicU64,
    total: AtomicU64,
}

impl Told {
    fn tell(&self) {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        self.reporter.bytes("download", done.min(total), total);
    }
}

impl Progress for Told {
    fn started(&self, _: &str, size: Option<u64>) {
        self.total.fetch_add(size.unwrap_or(0), Ordering::Relaxed);
        self.tell();
    }

    fn advanced(&self, _: &str, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    fn restarted(&self, what: &str) {
        self.reporter.debug(&format!("{what}: begins again"));
    }

    fn retried(&self, what: &str, url: &str, reason: &str) {
        self.reporter.warn(&format!("{what}: {url}: {reason}; trying again"));
    }

    fn finished(&self, what: &str, from: Option<&str>) {
        if let Some(from) = from {
            self.reporter.debug(&format!("fetched {what} from {from}"));
        }
    }
}
