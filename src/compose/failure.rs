//! What is said when a command inside the sandbox fails: which one, how it ended, its last lines,
//! and how to look at it again.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use sandbox::{Event, Session, Step};

use crate::error::Error;
use crate::explain::quoted;

/// Lines of output shown with a failure.
const TAIL_LINES: usize = 20;

/// Where a failing command comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A package's own scripts.
    Packages,
    /// Scriptlets of rpm packages, each by the step that runs it, such as `%post(bash)`.
    Scriptlets(BTreeMap<usize, String>),
    /// A script of the spec, as it names it.
    Script(String),
    /// A step of ours in the configuration stage.
    Configuration,
}

/// The last lines that a session printed.
#[derive(Default)]
pub struct Tail {
    lines: VecDeque<String>,
    step: usize,
}

impl Tail {
    /// The step that ran last.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Takes note of an event.
    pub fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::StepStarted { index } => {
                self.step = *index;
                self.lines.clear();
            }
            Event::Line { text, .. } => {
                if self.lines.len() == TAIL_LINES {
                    self.lines.pop_front();
                }
                self.lines.push_back(String::from_utf8_lossy(text).into_owned());
            }
            Event::StepEnded { .. } => {}
        }
    }
}

/// The error that a person reads.
pub fn explain(
    origin: &Origin,
    session: &Session,
    error: sandbox::Error,
    tail: &Tail,
    kept: Option<PathBuf>,
    shell: &str,
) -> Error {
    let status = match &error {
        sandbox::Error::Cancelled => return Error::interrupted(),
        sandbox::Error::Command { status, .. } => *status,
        _ => {
            let hint = error.hint().map(str::to_owned);
            let what = match origin {
                Origin::Script(name) => format!("'{name}'"),
                Origin::Packages => "the scripts of packages".to_owned(),
                Origin::Scriptlets(names) => names.get(&tail.step).cloned().unwrap_or("scriptlets of packages".into()),
                Origin::Configuration => "a step of the configuration".to_owned(),
            };
            let wrapped = Error::build(format!("failed to run {what} in the sandbox")).caused_by(error);
            return match hint {
                Some(hint) => wrapped.hint(hint),
                None => wrapped,
            };
        }
    };
    let command = match session.steps.get(tail.step) {
        Some(Step::Run(command) | Step::RunOnHost { command, .. }) => line(command),
        _ => String::new(),
    };
    let mut sentence = match origin {
        Origin::Script(name) => format!("Script returned non-zero exit code: '{name}' ended with {status}"),
        Origin::Packages => format!("failed to configure packages: the command ended with {status}"),
        Origin::Scriptlets(names) => {
            let name = names.get(&tail.step).map_or("a scriptlet", String::as_str);
            format!("failed to install packages: {name} ended with {status}")
        }
        Origin::Configuration => format!("failed to configure the image: the command ended with {status}"),
    };
    for line in &tail.lines {
        sentence.push_str("\n    | ");
        sentence.push_str(line);
    }
    let mut hint = format!("the command was: {command}");
    if matches!(origin, Origin::Script(_)) {
        hint.push_str("\n      run the same build again to run this script again: all that came before it is kept");
    }
    if !shell.is_empty() {
        hint.push_str(&format!("\n      `{shell}` opens a shell just before that command"));
    }
    match kept {
        Some(path) => hint.push_str(&format!("\n      its files are kept in {}", path.display())),
        None => hint.push_str("\n      --keep-temp keeps its files, -v shows all it prints"),
    }
    Error::build(sentence).hint(hint)
}

/// A command as a line for a shell.
fn line(command: &sandbox::Command) -> String {
    command.argv.iter().map(|word| quoted(&String::from_utf8_lossy(word))).collect::<Vec<_>>().join(" ")
}
