//! What is wrong in a spec or a configuration file, and where.

use std::fmt;

use super::tree::Span;

/// How much a problem matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The build goes on; `validate --strict` does not.
    Warning,
    /// The build stops.
    Error,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where; `None` where it is not a place in a file.
    pub span: Option<Span>,
    /// What to do.
    pub hint: Option<String>,
}

impl Problem {
    /// An error at a place.
    pub fn error(span: &Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), span: Some(span.clone()), hint: None }
    }

    /// A warning at a place.
    pub fn warning(span: &Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Where it sorts among others: by place.
    fn order(&self) -> (usize, std::cmp::Reverse<Severity>) {
        (self.span.as_ref().map_or(0, |span| span.start), std::cmp::Reverse(self.severity))
    }
}

/// The message, its place and line, and the hint, over several lines, without a line end.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut margin = String::new();
        if let Some(span) = &self.span {
            let (line, column) = span.line_and_column();
            let (text, covered) = span.line_text();
            margin = " ".repeat(line.to_string().len());
            write!(f, "\n{margin}--> {}:{line}:{column}", span.path().display())?;
            write!(f, "\n{margin} |\n{line} | {}", shown(text))?;
            let indent: String = text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n{margin} | {indent}{}", "^".repeat(covered))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n{margin} = hint: {hint}")?;
        }
        Ok(())
    }
}

/// Control characters of a hostile file do not reach the terminal.
fn shown(line: &str) -> String {
    line.trim_end().chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Every problem met so far.
#[derive(Default, Debug)]
pub struct Problems(Vec<Problem>);

/// How many problems of one file are kept: nobody reads more, and a hostile file has no end.
const PROBLEMS_MAX: usize = 100;

impl Problems {
    /// Notes one.
    pub fn push(&mut self, problem: Problem) {
        if self.0.len() < PROBLEMS_MAX {
            self.0.push(problem);
        }
    }

    /// Whether any of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order of their places.
    pub fn into_vec(mut self) -> Vec<Problem> {
        self.0.sort_by_key(Problem::order);
        self.0
    }
}
