//! Lines for logs: one per event that a person wants to read later.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::LogLevel;

use super::{Event, Level, Outcome, Parts, Reporter, Unit, human_bytes, printable};

/// How often a long task gives a sign of life in a log.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Writes lines.
pub struct Plain<W> {
    level: LogLevel,
    state: Mutex<State<W>>,
}

struct State<W> {
    out: W,
    stages: BTreeMap<String, Instant>,
    tasks: BTreeMap<String, TaskState>,
}

struct TaskState {
    unit: Unit,
    total: Option<u64>,
    done: u64,
    started: Instant,
    told: Instant,
}

impl<W: Write + Send> Plain<W> {
    /// Writes to `out` what is told at `level`.
    pub fn new(out: W, level: LogLevel) -> Self {
        Self { level, state: Mutex::new(State { out, stages: BTreeMap::new(), tasks: BTreeMap::new() }) }
    }
}

/// "12.3 MiB of 40.0 MiB", "7 of 120".
pub(super) fn amount(unit: Unit, done: u64, total: Option<u64>) -> String {
    let show = |number| match unit {
        Unit::Bytes => human_bytes(number),
        Unit::Items => number.to_string(),
    };
    match total {
        Some(total) => format!("{} of {}", show(done), show(total)),
        None => show(done),
    }
}

/// "6 steps reused up to the kernel packages", "2 built"; "120 packages at hand", "12 fetched of 3.4 MiB".
fn counted(parts: &Parts) -> Vec<String> {
    let up_to = parts.up_to.as_ref().map(|point| format!(" up to {}", printable(point))).unwrap_or_default();
    let size = parts.bytes.map(|bytes| format!(" of {}", human_bytes(bytes))).unwrap_or_default();
    let at_hand = if parts.of == "packages" { "at hand" } else { "reused" };
    let all = [
        (parts.reused, at_hand, String::new()),
        (parts.fetched, "fetched", size),
        (parts.built, "built", String::new()),
    ];
    let mut all: Vec<(u64, &str, String)> = all.into_iter().filter(|(count, ..)| *count > 0).collect();
    if let Some((_, _, more)) = all.first_mut() {
        more.push_str(&up_to);
    }
    // Where all went one way, the outcome says it.
    let word = |word: &str| if all.len() == 1 { String::new() } else { format!(" {word}") };
    let mut counts = Vec::new();
    for (count, way, more) in &all {
        // What is counted is said once.
        let of = match (counts.is_empty(), count) {
            (false, _) => String::new(),
            (true, &1) => format!(" {}", parts.of.trim_end_matches('s')),
            (true, _) => format!(" {}", parts.of),
        };
        counts.push(format!("{count}{of}{}{more}", word(way)));
    }
    counts
}

/// How something ended: "compose: rebuilt, because X changed (3 steps reused, 1 built, 2.0 s)".
fn ended(name: &str, outcome: Outcome, why: Option<&str>, from: Option<&str>, details: &[String]) -> String {
    let word = match (outcome, why) {
        (Outcome::Built, Some(_)) => "rebuilt",
        (outcome, _) => outcome.as_str(),
    };
    let from = from.map(|from| format!(" from {}", printable(from))).unwrap_or_default();
    let because = why.map(|why| format!(", because {}", printable(why))).unwrap_or_default();
    let details = match details {
        [] => String::new(),
        [only] if why.is_none() => format!(" in {only}"),
        several => format!(" ({})", several.join(", ")),
    };
    format!("{}: {word}{from}{because}{details}", printable(name))
}

/// The line for an event that is told as it happens, without a line end.
pub(super) fn line(event: &Event<'_>, level: LogLevel, elapsed: Option<Duration>) -> Option<String> {
    let told = |at: Level, text: String| at.is_told_at(level).then_some(text);
    match event {
        Event::StageEnded { stage, outcome, why, parts } => {
            let elapsed = elapsed.filter(|_| *outcome != Outcome::Skipped);
            let took = elapsed.map(|elapsed| format!("{:.1} s", elapsed.as_secs_f64()));
            let details: Vec<String> = parts.iter().flat_map(|parts| counted(parts)).chain(took).collect();
            told(Level::Info, ended(stage, *outcome, *why, None, &details))
        }
        Event::StepEnded { step, outcome, took, why, from } => {
            // What was at hand is counted where its stage ends.
            let level = if *outcome == Outcome::Reused { Level::Debug } else { Level::Info };
            let details: Vec<String> = took.map(|took| format!("{took:.1} s")).into_iter().collect();
            told(level, format!("  {}", ended(step, *outcome, *why, *from, &details)))
        }
        Event::Output { source, line } => told(Level::Debug, format!("[{source}] {}", printable(line))),
        Event::Message { level: Level::Info, text } => told(Level::Info, printable(text)),
        Event::Message { level, text } => told(*level, format!("{}: {}", level.as_str(), printable(text))),
        Event::Artifact { path, bytes } => {
            told(Level::Info, format!("wrote {} ({})", printable(&path.display().to_string()), human_bytes(*bytes)))
        }
        _ => None,
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn report(&self, event: &Event<'_>) {
        // A panic elsewhere must not silence the report of it.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_told = Level::Info.is_told_at(self.level);
        let mut elapsed = None;
        let text = match event {
            Event::StageStarted { stage } => {
                state.stages.insert((*stage).to_owned(), now);
                is_told.then(|| format!("{stage}: started"))
            }
            Event::StageEnded { stage, .. } => {
                elapsed = state.stages.remove(*stage).map(|started| now - started);
                state.tasks.clear();
                line(event, self.level, elapsed)
            }
            Event::TaskAdvanced { title, unit, done, total } => match state.tasks.get_mut(*title) {
                Some(task) => {
                    (task.done, task.total) = (*done, *total);
                    let is_due = now - task.told >= SIGN_OF_LIFE;
                    is_due.then(|| {
                        task.told = now;
                        format!("  {}: {}", printable(title), amount(*unit, *done, *total))
                    })
                }
                None => {
                    let begun = TaskState { unit: *unit, total: *total, done: *done, started: now, told: now };
                    state.tasks.insert((*title).to_owned(), begun);
                    None
                }
            },
            Event::TaskEnded { title } => state.tasks.remove(*title).map(|task| {
                let seconds = (now - task.started).as_secs_f64();
                format!("  {}: {} in {seconds:.1} s", printable(title), amount(task.unit, task.done, None))
            }),
            other => line(other, self.level, elapsed),
        };
        let is_of_task = matches!(event, Event::TaskAdvanced { .. } | Event::TaskEnded { .. });
        if let Some(text) = text.filter(|_| is_told || !is_of_task) {
            // A log that cannot be written to is no reason to stop a build.
            let _ = writeln!(state.out, "{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::progress::Task;
    use crate::spec::choice::Stage;

    fn told(level: LogLevel) -> String {
        let reporter = Arc::new(Plain::new(Vec::new(), level));
        let shared: Arc<dyn Reporter> = reporter.clone();
        shared.stage_started(Stage::Packages);
        let task = Task::start(&shared, "downloading packages", Unit::Items, Some(3));
        task.advance(3);
        drop(task);
        shared.line("libc6", "Setting up \u{1b}[31mlibc6");
        shared.stage_ended(Stage::Packages, Outcome::Reused, Some("nothing changed"));
        shared.warn("the clock is slow");
        let state = reporter.state.lock().unwrap();
        String::from_utf8(state.out.clone()).unwrap()
    }

    #[test]
    fn ends_are_told_with_reasons_and_counts() {
        let second = Some(Duration::from_secs(1));
        let stage = |outcome, why, parts: Option<&Parts>| {
            line(&Event::StageEnded { stage: "compose", outcome, why, parts }, LogLevel::Info, second).unwrap()
        };
        let why = Some("customizations.packages.install gained nginx");
        let mut parts =
            Parts { of: "steps", reused: 6, built: 1, up_to: Some("the kernel packages".into()), ..Parts::default() };
        assert_eq!(
            stage(Outcome::Built, why, Some(&parts)),
            "compose: rebuilt, because customizations.packages.install gained nginx \
             (6 steps reused up to the kernel packages, 1 built, 1.0 s)"
        );
        (parts.reused, parts.built, parts.up_to) = (1, 0, None);
        assert_eq!(stage(Outcome::Reused, None, Some(&parts)), "compose: reused (1 step, 1.0 s)");
        let parts = Parts { of: "packages", reused: 2, fetched: 3, bytes: Some(4096), ..Parts::default() };
        assert_eq!(
            stage(Outcome::Fetched, None, Some(&parts)),
            "compose: fetched (2 packages at hand, 3 fetched of 4.0 KiB, 1.0 s)"
        );
        assert_eq!(stage(Outcome::Built, None, None), "compose: built in 1.0 s");
        assert_eq!(stage(Outcome::Skipped, None, None), "compose: skipped");
        let step = |outcome, why, from, level| {
            line(&Event::StepEnded { step: "run ./x", outcome, took: Some(2.0), why, from }, level, None)
        };
        let told = |outcome, why, from| step(outcome, why, from, LogLevel::Info).unwrap();
        assert_eq!(
            told(Outcome::Built, Some("its text changed"), None),
            "  run ./x: rebuilt, because its text changed (2.0 s)"
        );
        assert_eq!(told(Outcome::Fetched, None, Some("oci://h/r")), "  run ./x: fetched from oci://h/r in 2.0 s");
        assert_eq!(step(Outcome::Reused, None, None, LogLevel::Info), None);
        assert!(step(Outcome::Reused, None, None, LogLevel::Debug).is_some());
    }

    #[test]
    fn levels_decide_what_is_told() {
        let info = told(LogLevel::Info);
        assert!(info.contains("packages: started") && info.contains("downloading packages: 3 in"), "{info}");
        assert!(info.contains("packages: reused, because nothing changed (0.0 s)"), "{info}");
        assert!(info.contains("warning: the clock is slow") && !info.contains("Setting up"), "{info}");
        let debug = told(LogLevel::Debug);
        assert!(debug.contains("[libc6] Setting up \u{fffd}[31mlibc6"), "{debug}");
        let error = told(LogLevel::Error);
        assert_eq!(error, "");
    }
}
