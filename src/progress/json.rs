//! Events as JSON, one object a line, for `--progress json`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::LogLevel;

use super::{Event, Level, Reporter};

/// How often one task's advance is told: a reader draws a bar with it, no more.
const ADVANCE_EVERY: Duration = Duration::from_millis(100);

/// Writes JSON lines.
pub struct Json<W> {
    level: LogLevel,
    started: Instant,
    state: Mutex<State<W>>,
}

struct State<W> {
    out: W,
    told: BTreeMap<String, Instant>,
}

/// A line: the event, and when it happened.
#[derive(Serialize)]
struct Line<'a> {
    /// Seconds since the program started.
    seconds: f64,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

impl<W: Write + Send> Json<W> {
    /// Writes to `out`; `level` decides about messages and output only.
    pub fn new(out: W, level: LogLevel) -> Self {
        Self { level, started: Instant::now(), state: Mutex::new(State { out, told: BTreeMap::new() }) }
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn report(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_told = match event {
            Event::Message { level, .. } => level.is_told_at(self.level),
            Event::Output { .. } => Level::Debug.is_told_at(self.level),
            Event::TaskAdvanced { title, done, total, .. } => {
                let told = state.told.get(*title).copied();
                let is_due = told.is_none_or(|told| now - told >= ADVANCE_EVERY) || *total == Some(*done);
                if is_due {
                    state.told.insert((*title).to_owned(), now);
                }
                is_due
            }
            Event::TaskEnded { title } => {
                state.told.remove(*title);
                true
            }
            Event::StageEnded { .. } => {
                state.told.clear();
                true
            }
            _ => true,
        };
        if !is_told {
            return;
        }
        let milliseconds = u32::try_from((now - self.started).as_millis()).unwrap_or(u32::MAX);
        let line = Line { seconds: f64::from(milliseconds) / 1000.0, event };
        if let Ok(text) = serde_json::to_string(&line) {
            // A reader that went away is no reason to stop a build.
            let _ = writeln!(state.out, "{text}").and_then(|()| state.out.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::progress::{Outcome, Task, Unit};
    use crate::spec::choice::Stage;

    #[test]
    fn each_event_is_one_object() {
        let reporter = Arc::new(Json::new(Vec::new(), LogLevel::Info));
        let shared: Arc<dyn Reporter> = reporter.clone();
        shared.stage_started(Stage::Compose);
        let task = Task::start(&shared, "installing", Unit::Bytes, None);
        for _ in 0..50 {
            task.advance(1);
        }
        drop(task);
        shared.line("libc6", "not at this level");
        shared.stage_ended(Stage::Compose, Outcome::Built, None);
        let state = reporter.state.lock().unwrap();
        let text = String::from_utf8(state.out.clone()).unwrap();
        let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names.first(), Some(&"stage-started"));
        assert_eq!(events.last().unwrap()["outcome"], "built");
        assert!(!names.contains(&"output"));
        // Fifty advances within a moment are told as few.
        assert!(names.iter().filter(|name| **name == "task-advanced").count() < 50);
        assert!(events.iter().all(|event| event["seconds"].is_number()));
    }
}
