//! The one place that shows an error.

use std::error::Error as StdError;
use std::io::{self, Write};

use crate::error::Error;
use crate::progress::printable;
use crate::spec::Severity;

/// Longest chain of causes that is shown.
const CAUSES_MAX: usize = 12;

/// Writes an error: its sentence, the problems of a spec, its causes, and what to do.
///
/// # Errors
/// Those of the writer.
pub fn write_error(out: &mut impl Write, error: &Error) -> io::Result<()> {
    let problems = error.problem_list();
    if problems.is_empty() {
        writeln!(out, "Error: {}", printable(&error.to_string()))?;
    } else {
        writeln!(out, "{error}")?;
        for problem in problems {
            let kind = match problem.severity {
                Severity::Error => "Error",
                Severity::Warning => "Warning",
            };
            writeln!(out, "\n{kind}: {problem}")?;
        }
    }
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(current) = cause else { break };
        for (at, line) in current.to_string().lines().enumerate() {
            let lead = if at == 0 { "  caused by: " } else { "             " };
            writeln!(out, "{lead}{}", printable(line))?;
        }
        cause = current.source();
    }
    if let Some(hint) = error.hint_text() {
        writeln!(out, "hint: {hint}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_a_sentence_causes_and_a_hint() {
        let cause = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Error::build("failed to create /out").caused_by(cause).hint("name another directory");
        let mut out = Vec::new();
        write_error(&mut out, &error).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "Error: failed to create /out\n  caused by: permission denied\nhint: name another directory\n"
        );
    }
}
