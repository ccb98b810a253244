//! The one error of the command: a kind, a sentence, a hint, and what lay beneath.
//!
//! Libraries of this project have error enums of their own; here they become the cause of a
//! sentence that a person reads. The kind decides the exit code, and [`crate::cli::report`]
//! is the one place that prints.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;

use crate::spec::Problem;

/// What an error means to whoever started the program; each kind has its exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// None of the others (exit code 1).
    Other,
    /// The command line is wrong (exit code 2).
    Usage,
    /// The spec is wrong, or asks for what is not supported yet (exit code 3).
    Validation,
    /// The build did not succeed (exit code 4).
    Build,
    /// The global configuration is wrong (exit code 5).
    Configuration,
    /// Somebody pressed Ctrl-C, or the process was told to end (exit code 130).
    Interrupted,
}

impl Kind {
    /// The process exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::Validation => 3,
            Self::Build => 4,
            Self::Configuration => 5,
            // 128 + SIGINT, as shells show a process that a signal ended.
            Self::Interrupted => 130,
        }
    }
}

/// A failure as the user is told of it.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    sentence: String,
    hint: Option<String>,
    problems: Vec<Problem>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind; the sentence stands after `Error: ` and does not repeat the cause.
    pub fn new(kind: Kind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into(), hint: None, problems: Vec::new(), source: None }
    }

    /// Exit code 4: the build failed.
    pub fn build(sentence: impl Into<String>) -> Self {
        Self::new(Kind::Build, sentence)
    }

    /// Exit code 3, without a place in the spec.
    pub fn validation(sentence: impl Into<String>) -> Self {
        Self::new(Kind::Validation, sentence)
    }

    /// Exit code 5.
    pub fn configuration(sentence: impl Into<String>) -> Self {
        Self::new(Kind::Configuration, sentence)
    }

    /// Exit code 2.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Kind::Usage, sentence)
    }

    /// Exit code 1.
    pub fn other(sentence: impl Into<String>) -> Self {
        Self::new(Kind::Other, sentence)
    }

    /// Exit code 130.
    pub fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted")
            .hint("nothing half-written was left; run the same command again to go on")
    }

    /// A spec or configuration file (`file`, as the user named it) with these problems.
    pub fn problems(kind: Kind, file: &Path, problems: Vec<Problem>) -> Self {
        let count = match problems.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        let what = if kind == Kind::Configuration { "Configuration error" } else { "Validation error" };
        Self { problems, ..Self::new(kind, format!("{what}: {count} in {}", file.display())) }
    }

    /// An operation on a file failed: `action` fits after "failed to" (`read`, `create`).
    pub fn io(kind: Kind, action: &str, path: &Path, source: std::io::Error) -> Self {
        Self::new(kind, format!("failed to {action} {}", path.display())).caused_by(source)
    }

    /// As an error of another kind: for steps that several commands share.
    #[must_use]
    pub fn of_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With what lay beneath.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What it means to whoever started the program.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The process exit code.
    pub fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }

    /// What to do about it, where a person can do something.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The places in a spec or configuration file; empty for other errors.
    pub fn problem_list(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Turns the errors of libraries into [`Error`], each with its sentence.
pub trait ResultExt<T> {
    /// With the sentence of an error of this kind in front.
    ///
    /// # Errors
    /// The error itself, as the cause.
    fn or_fail(self, kind: Kind, sentence: impl FnOnce() -> String) -> Result<T, Error>;

    /// As [`ResultExt::or_fail`] with [`Kind::Build`]: "failed to `action`".
    ///
    /// # Errors
    /// The error itself, as the cause.
    fn to(self, action: &str) -> Result<T, Error>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> ResultExt<T> for Result<T, E> {
    fn or_fail(self, kind: Kind, sentence: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::new(kind, sentence()).caused_by(source))
    }

    fn to(self, action: &str) -> Result<T, Error> {
        self.or_fail(Kind::Build, || format!("failed to {action}"))
    }
}
