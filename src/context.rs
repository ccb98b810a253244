//! The means of a build: store, fetcher, sandbox, progress, patience. Never a decision: those are
//! in the resolved spec and the lock, whose digests are cache keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use layers::{Blake3, Damage, Key, Layer, Recipe, Staging, Store, StoredLayer, Workplace};
use providers::distro::{Architecture, Catalogue, Distro, Family};
use providers::fetch::Fetcher;
use sandbox::{Cancel, Limits, Rung};

use crate::base::{Registries, Taken};
use crate::error::{Error, Kind, ResultExt};
use crate::history::{Done, Ended, History};
use crate::machine::Machine;
use crate::progress::{Event, Outcome, Parts, Reporter};
use crate::remote::{Holding, Offer, Remotes};
use crate::spec::ResolvedSpec;
use crate::spec::choice::Stage;

/// The means of a build.
pub struct Context {
    /// Layers.
    pub store: Store,
    /// The damage that was found in them before the build began.
    pub damage: Damage,
    /// Layers of other machines.
    pub remotes: Remotes,
    /// Where the sandbox works: private trees, what a step changes until it is a layer.
    pub work: Workplace,
    /// Where indexes and packages are kept.
    pub cache_directory: PathBuf,
    /// Where it is remembered what packing layers came to.
    pub packed_directory: PathBuf,
    /// Brings files from repositories.
    pub fetcher: Fetcher,
    /// How images at registries are reached; `None` where the network is forbidden.
    pub registries: Option<Registries>,
    /// The distributions there are.
    pub catalogue: Catalogue,
    /// What this machine says about itself.
    pub machine: Machine,
    /// Tells people and machines how far it is.
    pub reporter: Arc<dyn Reporter>,
    /// The command that opens a shell at the step that fails.
    pub shell_command: String,
    /// Who wants to look at a step that fails, if anybody does.
    pub visit: Option<Visit>,
    /// Ends the build early.
    pub cancel: Cancel,
    /// Threads that work at once.
    pub parallel: usize,
    /// Whether a failed step's files stay.
    pub keep_temp: bool,
    /// Whether layers of earlier builds may be used.
    pub reuse_layers: bool,
    /// When the build's time is up.
    pub deadline: Option<Instant>,
    /// Seconds since the epoch, as the build began: for validity of indexes, never for bytes.
    pub now: i64,
    /// `SOURCE_DATE_EPOCH`, which takes the place of the lock's.
    pub source_date_epoch: Option<i64>,
    /// The rung that the command line forces.
    pub forced_rung: Option<Rung>,
    /// Whether layers are copied into one tree even where an overlay could be mounted.
    pub assemble: bool,
    /// The rung in use, once one is needed.
    pub rung: OnceLock<Rung>,
    /// The time of everything made, once the lock is there.
    pub epoch: OnceLock<i64>,
    /// How the image came here that the spec starts from, if it does.
    pub base_taken: OnceLock<Taken>,
    /// What was done so far, for the report.
    pub steps: Mutex<Vec<StepRecord>>,
    /// The stages that are over, for the report.
    pub stages: Mutex<Vec<StageRecord>>,
    /// What was done so far, beside what the last build did.
    pub history: History,
    /// What made the layers of this build.
    pub all_made: Mutex<BTreeMap<Blake3, BTreeSet<Made>>>,
    /// Where packages come from on this machine, for the report.
    pub sources: OnceLock<Vec<SourceRecord>>,
}

/// What somebody wants to run inside.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    /// Program and arguments; empty for a shell.
    pub argv: Vec<String>,
    /// The kind of terminal, `$TERM`.
    pub term: Option<String>,
}

/// What made a layer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Made {
    /// The package's name, or the step's title.
    pub name: String,
    /// The package's version; `None` for a step.
    pub version: Option<String>,
}

impl Made {
    /// The files of a package.
    pub fn package(name: impl fmt::Display, version: impl fmt::Display) -> Self {
        Self { name: name.to_string(), version: Some(version.to_string()) }
    }

    /// What a step changed.
    pub fn step(title: &str) -> Self {
        Self { name: title.to_owned(), version: None }
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, " {version}"))
    }
}

/// One repository, for the report.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SourceRecord {
    /// The repository.
    pub repository: String,
    /// Its own address.
    pub url: String,
    /// The mirrors that are asked first, without credentials.
    pub mirrors: Vec<String>,
    /// The keys that sign its packages, where they are signed: their fingerprints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// All that is known of these keys, as a digest: revoked ones have the same fingerprints.
    #[serde(skip)]
    pub keyring: Option<layers::Sha256>,
}

/// One step, for the report.
#[derive(Clone, Debug, serde::Serialize)]
pub struct StepRecord {
    /// What it did.
    pub step: String,
    /// Whether its result was at hand.
    pub reused: bool,
    /// Whether its result came from another machine.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fetched: bool,
    /// How it came to its result.
    pub outcome: Outcome,
    /// Why it was done again, as a fragment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Where its result was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How long it took.
    pub seconds: f64,
}

/// One stage, for the report.
#[derive(Clone, Debug, serde::Serialize)]
pub struct StageRecord {
    /// Which.
    pub stage: String,
    /// How it came to its result.
    pub outcome: Outcome,
    /// Why it was done again, as a fragment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What its result is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<Parts>,
    /// How long it took.
    pub seconds: f64,
}

impl Context {
    /// The rung that this machine allows; found on first use, because not every command needs one.
    ///
    /// # Errors
    /// No rung works here: the error says what is missing.
    pub fn rung(&self) -> Result<Rung, Error> {
        if let Some(rung) = self.rung.get() {
            return Ok(*rung);
        }
        let rung = sandbox::choose(self.forced_rung).map_err(|error| {
            // The nearest way first; the program says the others too.
            let way = error.hint().map(|hint| format!("{hint}\n")).unwrap_or_default();
            let hint = format!("{way}`image-composer doctor` says what each way needs and how to open it");
            Error::new(Kind::Build, "failed to find a way to run package scripts on this machine")
                .caused_by(error)
                .hint(hint)
        })?;
        Ok(*self.rung.get_or_init(|| rung))
    }

    /// Time of everything made by this build, seconds since the epoch: the lock's.
    pub fn epoch(&self) -> i64 {
        self.epoch.get().copied().unwrap_or_default()
    }

    /// Settles the time of everything made by this build: the lock's, unless the environment
    /// says another.
    pub fn set_epoch(&self, epoch: i64) {
        // The first lock of a build counts; there is only one.
        let _ = self.epoch.set(self.source_date_epoch.unwrap_or(epoch));
    }

    /// The facts about the distribution of a spec.
    ///
    /// # Errors
    /// An unknown provider or release, in the words of the user's documents.
    pub fn distro(&self, spec: &ResolvedSpec) -> Result<Distro, Error> {
        distro(&self.catalogue, spec).cloned()
    }

    /// The architecture of a spec, as the family of its distribution spells it.
    ///
    /// # Errors
    /// As [`Context::distro`].
    pub fn architecture(&self, spec: &ResolvedSpec) -> Result<Architecture, Error> {
        architecture(&self.catalogue, spec)
    }

    /// A step is over, after so many seconds: told, and kept for the report.
    pub fn step(&self, title: &str, recipe: &Recipe, layer: &StoredLayer, outcome: Outcome, seconds: f64) {
        self.step_from(&Done { title, recipe, outcome, layer: layer.id }, None, seconds);
    }

    fn step_from(&self, done: &Done<'_>, from: Option<&str>, seconds: f64) {
        let Done { title, outcome, .. } = *done;
        let why = self.history.step_ended(done);
        let took = (outcome != Outcome::Reused).then_some(seconds);
        self.reporter.report(&Event::StepEnded { step: title, outcome, took, why: why.as_deref(), from });
        let (reused, fetched) = (outcome == Outcome::Reused, outcome == Outcome::Fetched);
        let (step, from) = (title.to_owned(), from.map(str::to_owned));
        if let Ok(mut steps) = self.steps.lock() {
            steps.push(StepRecord { step, reused, fetched, outcome, why, from, seconds });
        }
    }

    /// A stage is over, after so many seconds: told, and kept for the report.
    pub fn stage(&self, stage: Stage, ended: Ended, seconds: f64) {
        let Ended { outcome, why, parts } = ended;
        let stage = stage.as_str();
        self.reporter.report(&Event::StageEnded { stage, outcome, why: why.as_deref(), parts: parts.as_ref() });
        if let Ok(mut stages) = self.stages.lock() {
            stages.push(StageRecord { stage: stage.to_owned(), outcome, why, parts, seconds });
        }
    }

    /// The layer that a step made on another machine, taken into the store. What goes wrong is told, and is no
    /// failure: then the step runs.
    pub fn fetch(&self, recipe: &Recipe, title: &str) -> Option<(StoredLayer, Vec<u8>)> {
        let started = Instant::now();
        let (from, found) = self.remote(&recipe.key, Holding::Step)?;
        self.tell_made(&found.0, &[Made::step(title)]);
        let done = Done { title, recipe, outcome: Outcome::Fetched, layer: found.0.id };
        self.step_from(&done, Some(&from), started.elapsed().as_secs_f64());
        Some(found)
    }

    /// The layer of a package that another machine extracted, taken into the store, as [`Context::fetch`].
    pub fn fetch_package(&self, key: &Key, made: &Made) -> Option<(StoredLayer, Vec<u8>)> {
        let (_, found) = self.remote(key, Holding::Package)?;
        self.tell_made(&found.0, std::slice::from_ref(made));
        Some(found)
    }

    fn remote(&self, key: &Key, holding: Holding) -> Option<(String, (StoredLayer, Vec<u8>))> {
        if self.reuse_layers { self.remotes.fetch(key, holding) } else { None }
    }

    /// Sends what was made to the machines that share with this one, while the build goes on. What goes wrong
    /// is told.
    pub fn send(&self, offer: Offer<'_>) {
        if self.reuse_layers {
            self.remotes.send(offer);
        }
    }

    /// The layer that a step with this key made earlier, where layers may be reused. `made` says what
    /// made it.
    ///
    /// # Errors
    /// I/O errors of the store.
    pub fn recall(&self, key: &Key, made: &[Made]) -> Result<Option<(StoredLayer, Vec<u8>)>, Error> {
        if !self.reuse_layers {
            return Ok(None);
        }
        let found = self.store.recall(key).to("look up a layer")?;
        if let Some((layer, _)) = &found {
            self.tell_made(layer, made);
        }
        Ok(found)
    }

    /// Keeps what a step made that could read these layers: see [`Store::publish_on`].
    ///
    /// # Errors
    /// I/O errors of the store.
    pub fn keep(
        &self,
        below: &[Blake3],
        staging: Staging,
        layer: Layer,
        key: &Key,
        note: &[u8],
        made: &[Made],
    ) -> Result<StoredLayer, Error> {
        let stored = self.store.publish_on(below, staging, layer, key, note).to("keep a layer")?;
        self.tell_made(&stored, made);
        Ok(stored)
    }

    /// What made a layer of this build; several things may have made the same one.
    pub fn made(&self, layer: &Blake3) -> Vec<Made> {
        let all = self.all_made.lock();
        all.ok().and_then(|all| all.get(layer).map(|made| made.iter().cloned().collect())).unwrap_or_default()
    }

    /// Says what made a layer of this build.
    pub fn tell_made(&self, layer: &StoredLayer, made: &[Made]) {
        let Some(first) = made.first() else { return };
        layer.describe(&first.to_string());
        if let Ok(mut all) = self.all_made.lock() {
            all.entry(layer.id).or_default().extend(made.iter().cloned());
        }
    }

    /// Bounds of one session in the sandbox.
    pub fn limits(&self) -> Limits {
        match self.deadline {
            None => Limits::default(),
            Some(end) => {
                // 0 would mean no bound. Rounded up: the build's own clock ends it first, and knows
                // why; this bound is for a build whose clock is stuck.
                let left = end.saturating_duration_since(Instant::now()).as_secs().saturating_add(1);
                Limits { seconds: left.min(Limits::default().seconds), ..Limits::default() }
            }
        }
    }

    /// Ends the build when somebody asked for it or its time is up.
    ///
    /// # Errors
    /// [`crate::error::Kind::Interrupted`], or a build error when the time is up.
    pub fn check(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::interrupted());
        }
        if self.deadline.is_some_and(|end| Instant::now() > end) {
            return Err(Error::build("failed to finish in time: the limit of --timeout is reached"));
        }
        Ok(())
    }
}

/// The facts about the distribution of a spec, as [`Context::distro`].
///
/// # Errors
/// An unknown provider or release, in the words of the user's documents.
pub fn distro<'a>(catalogue: &'a Catalogue, spec: &ResolvedSpec) -> Result<&'a Distro, Error> {
    catalogue.find(spec.os.as_str(), spec.os_version.as_str()).map_err(|error| {
        let hint = error.hint().unwrap_or_default();
        let sentence = format!("Provider '{}' is not configured in the global configuration", spec.os);
        Error::new(Kind::Validation, sentence).caused_by(error).hint(hint)
    })
}

/// The architecture of a spec, as [`Context::architecture`].
///
/// # Errors
/// As [`distro`].
pub fn architecture(catalogue: &Catalogue, spec: &ResolvedSpec) -> Result<Architecture, Error> {
    let name = match distro(catalogue, spec)?.family {
        Family::Rpm => spec.architecture.rpm(),
        _ => spec.architecture.deb(),
    };
    name.parse().to("read the architecture")
}
