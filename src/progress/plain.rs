//! Lines for logs: one per event that a person wants to read later.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::LogLevel;

use super::{Event, Level, Outcome, Reporter, Unit, human_bytes, printable};

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

/// The line for an event that is told as it happens, without a line end.
pub(super) fn line(event: &Event<'_>, level: LogLevel, elapsed: Option<Duration>) -> Option<String> {
    let seconds = elapsed.map(|e| format!(" in {:.1} s", e.as_secs_f64())).unwrap_or_default();
    let because = |why: Option<&str>| why.map(|why| format!(": {}", printable(why))).unwrap_or_default();
    let told = |at: Level, text: String| at.is_told_at(level).then_some(text);
    match event {
        Event::StageEnded { stage, outcome: Outcome::Skipped, why } => {
            told(Level::Info, format!("{stage}: skipped{}", because(*why)))
        }
        Event::StageEnded { stage, outcome, why } => {
            told(Level::Info, format!("{stage}: {}{seconds}{}", outcome.as_str(), because(*why)))
        }
        Event::StepEnded { step, outcome, took } => {
            let took = took.map(|took| format!(" in {took:.1} s")).unwrap_or_default();
            told(Level::Info, format!("  {}: {}{took}", printable(step), outcome.as_str()))
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
    fn levels_decide_what_is_told() {
        let info = told(LogLevel::Info);
        assert!(info.contains("packages: started") && info.contains("downloading packages: 3 in"), "{info}");
        assert!(info.contains("packages: reused in") && info.contains(": nothing changed"), "{info}");
        assert!(info.contains("warning: the clock is slow") && !info.contains("Setting up"), "{info}");
        let debug = told(LogLevel::Debug);
        assert!(debug.contains("[libc6] Setting up \u{fffd}[31mlibc6"), "{debug}");
        let error = told(LogLevel::Error);
        assert_eq!(error, "");
    }
}
