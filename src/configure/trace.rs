//! Which line of a shell script failed.

use std::time::Duration;

use sandbox::{Event, Limits, Session, Step};

use crate::context::Context;
use crate::error::{Error, Kind};

/// Reads a script with the trace on, each line of which begins as [`LEAD`] says (`PS4`; dash(1),
/// bash(1)). Set by the shell itself: bash takes no `PS4` from root's environment.
const TRACED: &str = "PS4='+image-composer:$LINENO: '; image_composer=$1; shift; set -x; . \"$image_composer\"";
const LEAD: &str = "image-composer:";
/// Shells whose trace can be read.
const SHELLS: [&str; 3] = ["sh", "dash", "bash"];
/// A script that takes longer is not run again only to find a line.
const LONGEST: Duration = Duration::from_secs(30);
/// How long the second run may take, in seconds: some more than the first.
const LIMIT_SECONDS: u64 = 60;
/// Longest command that is shown, in characters.
const COMMAND_MAX: usize = 200;

/// The words that start a shell with its trace on, before a script and its arguments; `None`: no
/// shell whose trace can be read.
pub fn shell(argv: &[String]) -> Option<Vec<String>> {
    let mut words = argv.to_vec();
    let mut name = words.first()?.rsplit('/').next()?;
    if name == "env" {
        name = words.get(1).filter(|_| words.len() == 2)?;
    }
    if !SHELLS.contains(&name) {
        return None;
    }
    // The word after the code is the shell's own name.
    words.extend(["-c", TRACED, "sh"].map(str::to_owned));
    Some(words)
}

/// Adds the failing line to the error of a script, where one can be found.
pub fn tell(error: Error, took: Duration, traced: impl FnOnce() -> Option<String>) -> Error {
    let text = error.to_string();
    // Other errors than the script's own have no line.
    if error.kind() != Kind::Build || !text.starts_with("Script returned") || took > LONGEST {
        return error;
    }
    let Some(command) = traced() else { return error };
    let (first, rest) = text.split_once('\n').map_or((text.as_str(), None), |(first, rest)| (first, Some(rest)));
    let mut sentence = format!("{first}\n    last command: {command}");
    if let Some(rest) = rest {
        sentence.push('\n');
        sentence.push_str(rest);
    }
    let told = Error::build(sentence);
    match error.hint_text() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// Runs a traced script and gives the last command that it ran, with its place in the script.
pub fn last_command(cx: &Context, steps: Vec<Step>, path: &str, script: &str) -> Option<String> {
    let staging = cx.work.stage().ok()?;
    let limits = cx.limits();
    let session = Session {
        rung: cx.rung().ok()?,
        scratch: staging.path().join("session"),
        steps,
        limits: Limits { seconds: limits.seconds.min(LIMIT_SECONDS), ..limits },
        epoch: cx.epoch(),
        assemble: cx.assemble,
    };
    std::fs::create_dir(&session.scratch).ok()?;
    let mut last = None;
    let outcome = sandbox::run(
        &session,
        &mut |event| {
            if let Event::Line { text, .. } = &event
                && let Some(found) = parse(&String::from_utf8_lossy(text))
            {
                last = Some(found);
            }
        },
        &cx.cancel,
    );
    match outcome {
        // Failed again, as it should.
        Err(sandbox::Error::Command { .. }) => {}
        _ => return None,
    }
    let (line, command) = last?;
    Some(place(path, script, line, &command))
}

/// A line of the trace: the script's line, where the shell knows it, and the command.
fn parse(text: &str) -> Option<(Option<usize>, String)> {
    let (line, command) = text.trim_start_matches('+').strip_prefix(LEAD)?.split_once(": ")?;
    // The first line of all is the one that reads the script.
    if command.starts_with(". /") {
        return None;
    }
    Some((line.parse().ok(), command.chars().take(COMMAND_MAX).collect()))
}

/// `path:line: command`. Some shells count lines in a function from the function's own, and Debian's
/// dash counts none: a line is named only if it has the command, or if no other has it.
fn place(path: &str, script: &str, line: Option<usize>, command: &str) -> String {
    let word = command.split([' ', '=', '\'']).find(|word| !word.is_empty()).unwrap_or_default();
    let has = |text: &str| text.contains(word);
    let said = line.filter(|line| {
        let text = line.checked_sub(1).and_then(|index| script.lines().nth(index)).unwrap_or_default();
        has(text) || text.contains('$')
    });
    let mut lines = (1..).zip(script.lines()).filter(|(_, text)| has(text)).map(|(number, _): (usize, _)| number);
    let only = lines.next().filter(|_| lines.next().is_none());
    match said.or(only) {
        Some(line) => format!("{path}:{line}: {command}"),
        None => format!("{path}: {command}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_trace_is_the_place() {
        assert_eq!(parse("++image-composer:7: false 'a b'"), Some((Some(7), "false 'a b'".to_owned())));
        assert_eq!(parse("+image-composer:: false a b"), Some((None, "false a b".to_owned())));
        assert_eq!(parse("+ false"), None);
        let twice = "set -e\nfalse x || true\nfalse x\n";
        assert_eq!(place("./s.sh", twice, Some(3), "false x"), "./s.sh:3: false x");
        assert_eq!(place("./s.sh", twice, Some(1), "false x"), "./s.sh: false x");
        assert_eq!(place("./s.sh", twice, None, "false x"), "./s.sh: false x");
        assert_eq!(place("./s.sh", "set -e\nfalse x\n", None, "false x"), "./s.sh:2: false x");
    }

    #[test]
    fn only_shells_have_a_trace() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(shell(&words(&["/bin/sh"])), Some(words(&["/bin/sh", "-c", TRACED, "sh"])));
        assert_eq!(
            shell(&words(&["/usr/bin/env", "bash"])),
            Some(words(&["/usr/bin/env", "bash", "-c", TRACED, "sh"]))
        );
        assert_eq!(shell(&words(&["/usr/bin/python3"])), None);
    }
}
