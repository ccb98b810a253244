//! What a build tells while it runs: events, and the reporters that show them.
//!
//! The pipeline reports; it never prints. Which reporter listens is decided by the command line:
//! bars on a terminal ([`bars`]), lines off it ([`plain`]), JSON for machines ([`json`]).

pub mod bars;
pub mod json;
pub mod plain;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::config::LogLevel;
use crate::spec::choice::Stage;

/// How a stage or step came to its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Built,
    /// The same was done before, and its result was at hand.
    Reused,
    /// Its result came from elsewhere.
    Fetched,
    /// It was left out, as asked.
    Skipped,
    /// It did not succeed.
    Failed,
}

impl Outcome {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Reused => "reused",
            Self::Fetched => "fetched",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// What the numbers of a task count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: packages, files.
    Items,
}

/// What the result of a stage is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Parts {
    /// What is counted: `steps` or `packages`.
    pub of: &'static str,
    /// How many were at hand.
    pub reused: u64,
    /// How many came from elsewhere.
    pub fetched: u64,
    /// How many were made.
    pub built: u64,
    /// Size of those that came from elsewhere, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The cut point of composing up to which nothing had to be made: "the kernel packages".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to: Option<String>,
}

/// Something that happened. Serialised, it is one line of `--progress json`; see
/// `docs/progress.md`.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event<'a> {
    /// A stage begins.
    StageStarted {
        /// Which.
        stage: &'a str,
    },
    /// A stage is over.
    StageEnded {
        /// Which.
        stage: &'a str,
        /// How.
        outcome: Outcome,
        /// Why so, as a fragment: "customizations.packages.install gained nginx".
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<&'a str>,
        /// What its result is made of, where that is counted.
        #[serde(skip_serializing_if = "Option::is_none")]
        parts: Option<&'a Parts>,
    },
    /// A step of the running stage is over.
    StepEnded {
        /// The step.
        step: &'a str,
        /// How.
        outcome: Outcome,
        /// How long it took, in seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        took: Option<f64>,
        /// Why it was not reused, as a fragment: "its text changed".
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<&'a str>,
        /// Where it was fetched: `oci://HOST/REPOSITORY`.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<&'a str>,
    },
    /// Work whose end can be foreseen begins or goes on. Its title tells it from others that run
    /// at the same time.
    TaskAdvanced {
        /// What is done, as a phrase: "downloading packages".
        title: &'a str,
        /// What is counted.
        unit: Unit,
        /// How much of it is done.
        done: u64,
        /// How much there is to do; absent: nobody knows yet.
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    },
    /// It is over, done or not; the end of a stage ends all of its tasks.
    TaskEnded {
        /// Which.
        title: &'a str,
    },
    /// A line that a program printed in the sandbox.
    Output {
        /// Which program: a package or a script.
        source: &'a str,
        /// The line, without its end.
        line: &'a str,
    },
    /// Something that a person should know.
    Message {
        /// How much it matters.
        level: Level,
        /// What it is.
        text: &'a str,
    },
    /// A finished file.
    Artifact {
        /// Where it is.
        path: &'a Path,
        /// Its size in bytes.
        bytes: u64,
    },
}

/// How much a message matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// For everybody.
    Info,
    /// Something may be wrong.
    Warn,
    /// Something is wrong.
    Error,
}

impl Level {
    /// Whether it is told at a log level.
    pub fn is_told_at(self, level: LogLevel) -> bool {
        let own = match self {
            Self::Debug => LogLevel::Debug,
            Self::Info => LogLevel::Info,
            Self::Warn => LogLevel::Warn,
            Self::Error => LogLevel::Error,
        };
        own >= level
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warning",
            Self::Error => "error",
        }
    }
}

/// Shows events, or keeps them; called from any thread.
pub trait Reporter: Send + Sync {
    /// Takes one event.
    fn report(&self, event: &Event<'_>);

    /// Somebody else has the terminal from now on, to the end of the program.
    fn give_way(&self) {}

    /// A stage begins.
    fn stage_started(&self, stage: Stage) {
        self.report(&Event::StageStarted { stage: stage.as_str() });
    }

    /// A stage is over.
    fn stage_ended(&self, stage: Stage, outcome: Outcome, why: Option<&str>) {
        self.report(&Event::StageEnded { stage: stage.as_str(), outcome, why, parts: None });
    }

    /// So many of so many things are done.
    fn items(&self, title: &str, done: u64, total: u64) {
        self.report(&Event::TaskAdvanced { title, unit: Unit::Items, done, total: Some(total) });
    }

    /// So many of so many bytes are done.
    fn bytes(&self, title: &str, done: u64, total: u64) {
        self.report(&Event::TaskAdvanced { title, unit: Unit::Bytes, done, total: Some(total) });
    }

    /// A line that a program printed.
    fn line(&self, source: &str, line: &str) {
        self.report(&Event::Output { source, line });
    }

    /// Something for everybody.
    fn info(&self, text: &str) {
        self.report(&Event::Message { level: Level::Info, text });
    }

    /// Something may be wrong.
    fn warn(&self, text: &str) {
        self.report(&Event::Message { level: Level::Warn, text });
    }

    /// Something for whoever looks for a fault.
    fn debug(&self, text: &str) {
        self.report(&Event::Message { level: Level::Debug, text });
    }
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _: &Event<'_>) {}
}

/// Work whose end can be foreseen; it ends when this is dropped.
pub struct Task {
    reporter: Arc<dyn Reporter>,
    title: String,
    unit: Unit,
    total: Option<u64>,
    done: AtomicU64,
}

impl Task {
    /// Begins one. `title` is a phrase: "downloading packages".
    pub fn start(reporter: &Arc<dyn Reporter>, title: &str, unit: Unit, total: Option<u64>) -> Self {
        let reporter = Arc::clone(reporter);
        let task = Self { reporter, title: title.to_owned(), unit, total, done: AtomicU64::new(0) };
        task.tell(0);
        task
    }

    fn tell(&self, done: u64) {
        let event = Event::TaskAdvanced { title: &self.title, unit: self.unit, done, total: self.total };
        self.reporter.report(&event);
    }

    /// So much more is done; from any thread.
    pub fn advance(&self, more: u64) {
        self.tell(self.done.fetch_add(more, Ordering::Relaxed).saturating_add(more));
    }

    /// So much in all is done.
    pub fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.tell(done);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.reporter.report(&Event::TaskEnded { title: &self.title });
    }
}

/// Text from a program or an archive, fit for a terminal: control characters are shown as one
/// mark each, so that no line moves the cursor or changes the title. Lines stay lines.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// A number of bytes as people read it.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}
