//! The program's side: starts the helper, gives it its orders, and hears its reports.

use crate::cgroup::Group;
use crate::changes::Captured;
use crate::error::Error;
use crate::event::{Cancel, Event, Stream};
use crate::helper;
use crate::idmap;
use crate::message::{Broken, Control, Order, Report};
use crate::rung::Rung;
use crate::session::Session;
use crate::wire::Wire;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often the caller's flag is looked at.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// How long the helper may take to clean up before it is killed. Killed, it leaves files
/// that the next session in the same scratch directory, or [`sweep`], removes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Most of what is kept of the helper's last words, in bytes.
const LAST_WORDS: u64 = 4096;

/// A running helper. Dropped, it is told to end, and waited for.
pub(crate) struct Helper {
    child: Child,
    control: Control,
    words: File,
}

fn system(call: &str) -> impl Fn(rustix::io::Errno) -> Error + '_ {
    move |errno| Error::System {
        doing: "start the sandbox helper".into(),
        call: call.to_owned(),
        hint: None,
        source: errno.into(),
    }
}

impl Helper {
    /// Starts a helper and brings it into its namespaces.
    pub(crate) fn start(rung: Rung) -> Result<Helper, Error> {
        Helper::start_at(rung, None)
    }

    /// As [`Helper::start`]; the terminal is its standard output, which it has no other use for.
    fn start_at(rung: Rung, terminal: Option<OwnedFd>) -> Result<Helper, Error> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(system("socketpair"))?;
        let words = rustix::fs::memfd_create("helper-stderr", MemfdFlags::CLOEXEC).map_err(system("memfd_create"))?;
        let words = File::from(words);
        let file =
            |source| Error::File { doing: "start the sandbox helper from", path: "/proc/self/exe".into(), source };
        let child = Command::new("/proc/self/exe")
            .arg0(helper::NAME)
            .args([helper::OUTSIDE, rung.name()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(terminal.map_or_else(Stdio::null, Stdio::from))
            .stderr(Stdio::from(words.try_clone().map_err(file)?))
            .spawn()
            .map_err(file)?;
        let mut helper = Helper { child, control: Control(ours), words };
        if rung == Rung::Userns {
            match helper.receive()? {
                Report::NeedMaps => {}
                _ => return Err(helper.nonsense()),
            }
            idmap::write(helper.child.id())?;
            helper.send(&Order::Mapped)?;
        }
        Ok(helper)
    }

    fn nonsense(&self) -> Error {
        Error::Helper { detail: "a report came out of turn".into() }
    }

    pub(crate) fn send<T: Wire>(&mut self, message: &T) -> Result<(), Error> {
        self.control.send(message).map_err(|broken| self.broken(&broken))
    }

    /// Waits for a report; a failure that the helper reports is the error.
    pub(crate) fn receive(&mut self) -> Result<Report, Error> {
        match self.control.receive() {
            Ok(Report::Failed(fault)) => Err(fault.into()),
            Ok(report) => Ok(report),
            Err(broken) => Err(self.broken(&broken)),
        }
    }

    /// What became of the helper, with its last words.
    fn broken(&mut self, broken: &Broken) -> Error {
        // It may have said why before it went.
        if let Ok(Report::Failed(fault)) = self.control.receive() {
            return fault.into();
        }
        let status = self.wait();
        let mut words = Vec::new();
        if self.words.rewind().is_ok() {
            let _ = Read::by_ref(&mut self.words).take(LAST_WORDS).read_to_end(&mut words);
        }
        let words = String::from_utf8_lossy(&words);
        let detail = match (broken, status) {
            (Broken::Malformed, _) => "it spoke nonsense".to_owned(),
            (Broken::Failed(errno), _) => io::Error::from(*errno).to_string(),
            (Broken::Closed, Some(status)) => format!("it ended early ({status})"),
            (Broken::Closed, None) => "it ended early".to_owned(),
        };
        let detail = if words.trim().is_empty() { detail } else { format!("{detail}: {}", words.trim()) };
        Error::Helper { detail }
    }

    /// Tells the helper to end and waits until it has.
    fn wait(&mut self) -> Option<std::process::ExitStatus> {
        let _ = rustix::net::shutdown(&self.control.0, Shutdown::Write);
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(200);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(pause),
                _ => break,
            }
            pause = (pause * 2).min(Duration::from_millis(20));
            self.drain();
        }
        let _ = self.child.kill();
        self.child.wait().ok()
    }

    /// Takes reports nobody wants any more off the helper, which might wait to send them.
    fn drain(&self) {
        let mut buffer = vec![0u8; 65536];
        let flags = rustix::net::RecvFlags::DONTWAIT;
        while let Ok((1.., _)) = rustix::net::recv(&self.control.0, &mut buffer[..], flags) {}
    }

    /// Ends a helper whose work is done.
    pub(crate) fn finish(mut self) {
        self.wait();
    }

    /// Waits until the helper has something to say, or the flag is set.
    fn ready(&self, cancel: &Cancel) -> Result<bool, Error> {
        let mut fds = [PollFd::new(&self.control.0, PollFlags::IN)];
        loop {
            if cancel.is_cancelled() {
                return Ok(false);
            }
            match poll(&mut fds, Some(&LOOK)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(system("poll")(errno)),
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.wait();
    }
}

fn absolute(path: &Path) -> Result<std::path::PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::File {
        doing: "use the scratch directory",
        path: path.to_owned(),
        source,
    })
}

/// Runs a session to its end and returns what it changed.
///
/// The observer is called on this thread. Setting `cancel` kills everything the session
/// started, removes its files, and makes this return [`Error::Cancelled`].
///
/// # Errors
/// See [`Error`]; nothing is left running or mounted, and the scratch directory is empty.
pub fn run(session: &Session, observer: &mut dyn FnMut(Event<'_>), cancel: &Cancel) -> Result<Captured, Error> {
    run_at(None, session, observer, cancel)
}

/// As [`run`], with a terminal for the commands that ask for one. It should be a pseudo-terminal
/// of the caller's, never the user's own: whoever has a terminal open can type into it
/// (ioctl_tty(2), TIOCSTI).
///
/// # Errors
/// As [`run`].
pub fn run_at(
    terminal: Option<OwnedFd>,
    session: &Session,
    observer: &mut dyn FnMut(Event<'_>),
    cancel: &Cancel,
) -> Result<Captured, Error> {
    let mut session = session.clone();
    session.scratch = absolute(&session.scratch)?;
    for step in &mut session.steps {
        use crate::session::Step;
        match step {
            Step::Stack { lowers, .. } => {
                for lower in lowers {
                    *lower = absolute(lower)?;
                }
            }
            Step::RunOnHost { directory, .. } => *directory = absolute(directory)?,
            _ => {}
        }
    }
    // Dropped after the helper, when everything in it is gone.
    let group = Group::make(&session.limits);
    let mut helper = Helper::start_at(session.rung, terminal)?;
    helper.send(&Order::Run { session, group: group.as_ref().map(|group| group.path().to_owned()) })?;
    loop {
        if !helper.ready(cancel)? {
            helper.finish();
            return Err(Error::Cancelled);
        }
        match helper.receive()? {
            Report::Started { index } => observer(Event::StepStarted { index }),
            Report::Line { index, err, text } => {
                let stream = if err { Stream::Err } else { Stream::Out };
                observer(Event::Line { index, stream, text: &text });
            }
            Report::Ended { index, status, seconds } => {
                observer(Event::StepEnded { index, status, seconds });
            }
            Report::Captured(captured) => {
                helper.finish();
                return Ok(captured);
            }
            _ => return Err(helper.nonsense()),
        }
    }
}

/// Empties a scratch directory that a killed session left behind, whoever owns the files.
///
/// # Errors
/// See [`Error`]; on the rung that made the files it only fails if the disk does.
pub fn sweep(scratch: &Path) -> Result<(), Error> {
    let scratch = absolute(scratch)?;
    let mut last = None;
    // One mapped id does if the files are the caller's; it is cheaper and always there.
    for rung in [Rung::UsernsSingle, Rung::Userns, Rung::Root] {
        let swept = Helper::start(rung).and_then(|mut helper| {
            helper.send(&Order::Sweep { scratch: scratch.clone() })?;
            match helper.receive()? {
                Report::Swept => Ok(()),
                _ => Err(helper.nonsense()),
            }
        });
        match swept {
            Ok(()) => return Ok(()),
            Err(error) => last = last.or(Some(error)),
        }
    }
    last.map_or(Ok(()), Err)
}
