//! A shell, or any command, inside a tree for somebody to look at. What is done in it is thrown away.

use std::io::{IsTerminal, Read, Write, stderr, stdin, stdout};
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use sandbox::{Event, Limits, Session, Status, Step, Stream};

use super::command_with;
use super::terminal::Terminal;
use crate::context::{Context, Visit};
use crate::error::{Error, Kind, ResultExt};

/// Largest input that is taken where it is no terminal, in bytes.
const INPUT_MAX: u64 = 64 << 20;
/// The shell of the image that people like best, on a terminal.
const SHELL: &str = "if command -v bash >/dev/null 2>&1; then exec bash -i; fi; exec sh -i";

/// Two steps that fail at once are looked at one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs what a visitor wants after these steps, and gives its exit code.
///
/// # Errors
/// The steps fail; I/O errors of the terminal.
pub fn enter(cx: &Context, mut steps: Vec<Step>, visit: &Visit) -> Result<i32, Error> {
    let _alone = ONE_AT_A_TIME.lock();
    let on_terminal = stdin().is_terminal() && stdout().is_terminal();
    let argv: Vec<String> = match (visit.argv.as_slice(), on_terminal) {
        ([], true) => ["sh", "-c", SHELL].map(String::from).to_vec(),
        ([], false) => vec!["sh".into()],
        (argv, _) => argv.to_vec(),
    };
    let term = visit.term.iter().map(|term| ("TERM", term.clone())).collect::<Vec<_>>();
    let mut command = command_with(&argv, cx.epoch(), &term);
    command.ok = (1..=255).collect();
    command.terminal = on_terminal;
    if !on_terminal && visit.argv.is_empty() {
        if stdin().is_terminal() {
            return Err(Error::usage("the standard output is no terminal to open a shell on")
                .hint("give a command (`shell SPEC -- COMMAND`), or commands on the standard input"));
        }
        stdin().lock().take(INPUT_MAX).read_to_end(&mut command.stdin).to("read the standard input")?;
        if command.stdin.len() as u64 == INPUT_MAX {
            return Err(Error::usage(format!("the standard input is longer than {} MiB", INPUT_MAX >> 20)));
        }
    }
    cx.reporter.give_way();
    steps.push(Step::Run(command));
    let staging = cx.work.stage().to("make a work directory")?;
    let session = Session {
        rung: cx.rung()?,
        scratch: staging.path().join("session"),
        steps,
        // Nobody looks around against the clock.
        limits: Limits { seconds: 0, ..cx.limits() },
        epoch: cx.epoch(),
        assemble: cx.assemble,
    };
    std::fs::create_dir(&session.scratch)
        .map_err(|source| Error::io(Kind::Build, "create directory", &session.scratch, source))?;
    let code = match on_terminal {
        true => {
            let (terminal, inner) = Terminal::open().to("open a terminal")?;
            let code = run_in(cx, &session, Some(inner));
            drop(terminal);
            code
        }
        false => run_in(cx, &session, None),
    };
    // On the rung `userns` what was changed belongs to ids that only the sandbox can act as.
    let swept = sandbox::sweep(&session.scratch).to("remove what was changed");
    let code = code?;
    swept.map(|()| code)
}

/// The exit code of a session's last command.
fn run_in(cx: &Context, session: &Session, terminal: Option<OwnedFd>) -> Result<i32, Error> {
    let last = session.steps.len().saturating_sub(1);
    let mut code = 0;
    let mut observer = |event: Event<'_>| match event {
        Event::Line { index, stream, text } if index == last => {
            let line = [text, b"\n"].concat();
            // A reader that went away reads no more.
            let _ = match stream {
                Stream::Out => stdout().lock().write_all(&line),
                Stream::Err => stderr().lock().write_all(&line),
            };
        }
        Event::StepEnded { index, status: Status::Exited(exited), .. } if index == last => code = exited,
        _ => {}
    };
    match sandbox::run_at(terminal, session, &mut observer, &cx.cancel) {
        Ok(_) => Ok(code),
        Err(sandbox::Error::Cancelled) => Err(Error::interrupted()),
        // As shells show a process that a signal ended.
        Err(sandbox::Error::Command { index, status: Status::Killed(signal), .. }) if index == last => Ok(128 + signal),
        Err(error) => {
            let hint = error.hint().map(str::to_owned);
            let told = Error::build("failed to open a shell in the tree").caused_by(error);
            Err(hint.into_iter().fold(told, Error::hint))
        }
    }
}
