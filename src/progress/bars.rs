//! Bars on a terminal.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::LogLevel;

use super::plain::line;
use super::{Event, Level, Reporter, Unit, printable};

/// How often the bars are drawn, times a second.
const DRAWS_PER_SECOND: u8 = 12;
/// How often a spinner turns.
const SPIN: Duration = Duration::from_millis(120);

/// Draws one line for the running stage and one for each running task.
pub struct Bars {
    level: LogLevel,
    bars: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stage: Option<(ProgressBar, Instant)>,
    tasks: BTreeMap<String, ProgressBar>,
}

fn style(template: &str) -> ProgressStyle {
    // A wrong template is a bug that a test would show; a plain bar is no reason to fail.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ ")
}

const STAGE: &str = "{spinner} {msg:.bold} {elapsed:.dim}";
const BYTES: &str = "  {msg:28!} {bar:28.cyan/dim} {bytes:>10} / {total_bytes:10} {binary_bytes_per_sec:>12} {eta:>4}";
const ITEMS: &str = "  {msg:28!} {bar:28.cyan/dim} {pos:>10} / {len:10}";
const ENDLESS: &str = "  {msg:28!} {spinner} {pos}";

impl Bars {
    /// Draws on standard error.
    pub fn new(level: LogLevel) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        Self { level, bars: MultiProgress::with_draw_target(target), state: Mutex::new(State::default()) }
    }

    fn say(&self, text: &str) {
        if self.bars.println(text).is_err() {
            // The terminal went away; nothing can be shown to nobody.
        }
    }

    fn remove(&self, bar: &ProgressBar) {
        bar.finish_and_clear();
        self.bars.remove(bar);
    }

    /// Runs `step` while no bar is drawn, for whoever else writes to the terminal.
    pub fn suspend<T>(&self, step: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.bars.suspend(step)
    }
}

impl Reporter for Bars {
    fn give_way(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks = std::mem::take(&mut state.tasks).into_values();
        for bar in tasks.chain(state.stage.take().map(|(bar, _)| bar)) {
            self.remove(&bar);
        }
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
    }

    fn report(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_shown = Level::Info.is_told_at(self.level);
        match event {
            Event::StageStarted { stage } if is_shown => {
                let bar = self.bars.insert(0, ProgressBar::no_length().with_style(style(STAGE)));
                bar.set_message((*stage).to_owned());
                bar.enable_steady_tick(SPIN);
                state.stage = Some((bar, Instant::now()));
            }
            Event::StageEnded { .. } => {
                for (_, bar) in std::mem::take(&mut state.tasks) {
                    self.remove(&bar);
                }
                let elapsed = state.stage.take().map(|(bar, started)| {
                    self.remove(&bar);
                    started.elapsed()
                });
                if let Some(text) = line(event, self.level, elapsed) {
                    self.say(&text);
                }
            }
            Event::TaskAdvanced { title, unit, done, total } if is_shown => {
                if let Some(bar) = state.tasks.get(*title) {
                    if let Some(total) = total {
                        bar.set_length(*total);
                    }
                    bar.set_position(*done);
                    return;
                }
                let template = match (unit, total) {
                    (_, None) => ENDLESS,
                    (Unit::Bytes, Some(_)) => BYTES,
                    (Unit::Items, Some(_)) => ITEMS,
                };
                let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
                let bar = self.bars.add(bar.with_style(style(template)));
                bar.set_message(printable(title));
                bar.set_position(*done);
                state.tasks.insert((*title).to_owned(), bar);
            }
            Event::TaskEnded { title } => {
                if let Some(bar) = state.tasks.remove(*title) {
                    self.remove(&bar);
                }
            }
            other => {
                if let Some(text) = line(other, self.level, None) {
                    self.say(&text);
                }
            }
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // Whatever is printed next (an error) must not stand in the middle of a bar.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for bar in state.tasks.values().chain(state.stage.iter().map(|(bar, _)| bar)) {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_right() {
        for template in [STAGE, BYTES, ITEMS, ENDLESS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
