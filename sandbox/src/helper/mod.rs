//! The helper: this program again, with one thread, in namespaces of its own.

mod assembled;
mod bare;
mod capture;
mod checks;
mod enter;
mod extract;
mod fault;
mod launch;
mod measure;
mod merge;
mod overlay;
mod place;
mod pump;
mod settle;
mod stack;
mod sweep;
mod union;
mod view;
pub(crate) mod walls;
mod watch;

use crate::builtin::Builtin;
use crate::error::Fault;
use crate::event::Status;
use crate::message::{Control, Order, Report};
use crate::rung::Rung;
use crate::session::{Command, Session, Step};
use crate::supervisor::filter::Scope;
use crate::sys;
use bare::Bare;
use fault::Doing;
use launch::Plan;
use place::Placement;
use pump::report;
use stack::Room;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use view::View;
use watch::Watch;

/// What the helper is called, as its argument 0. No one types this.
pub(crate) const NAME: &str = "image-composer-sandbox";

/// Before and after the namespaces were entered.
pub(crate) const OUTSIDE: &str = "outside";
const INSIDE: &str = "inside";

/// Runs the sandbox helper if this process was started as one, and then never returns.
///
/// Must be the first call in `main` of every program that uses this crate, before it starts
/// threads, opens files or reads its arguments.
pub fn intercept() {
    intercept_with(&[]);
}

/// As [`intercept`], for a program whose sessions call these functions of it.
pub fn intercept_with(builtins: &'static [Builtin]) {
    let mut args = std::env::args_os();
    if args.next().as_deref() != Some(OsStr::new(NAME)) {
        return;
    }
    crate::builtin::register(builtins);
    let args: Vec<OsString> = args.collect();
    // A panic must not unwind into a program that is not the helper.
    let code = std::panic::catch_unwind(|| helper(&args)).unwrap_or(1);
    sys::exit(code)
}

fn helper(args: &[OsString]) -> i32 {
    let [stage, rung] = args else { return 2 };
    let Some(rung) = rung.to_str().and_then(Rung::from_name) else { return 2 };
    sys::reset_signals();
    if sys::close_from(3).is_err() {
        return 1;
    }
    rustix::process::umask(rustix::fs::Mode::empty());
    let control = Control(sys::own(0));
    let result = match stage.to_str() {
        Some(OUTSIDE) => outside(rung, &control),
        Some(INSIDE) => {
            if rung == Rung::Root {
                sys::ignore_requests_to_end();
            }
            inside(rung, &control)
        }
        _ => return 2,
    };
    let code = match result {
        Ok(()) => 0,
        Err(fault) => {
            let _ = control.send(&Report::Failed(fault));
            1
        }
    };
    // Not closed twice: the process ends with it.
    std::mem::forget(control);
    code
}

fn outside(rung: Rung, control: &Control) -> Result<(), Fault> {
    enter::enter(rung, control)?;
    let argv = [NAME, INSIDE, rung.name()].map(|arg| CString::new(arg).unwrap_or_default());
    Err(enter::exec_again(&argv))
}

fn inside(rung: Rung, control: &Control) -> Result<(), Fault> {
    let order = control.receive::<Order>().map_err(|_| Fault::Cancelled)?;
    match order {
        Order::Mapped => Err(Fault::Helper { detail: "an order came out of turn".into() }),
        Order::Probe => report(control, &Report::Checked { checks: checks::all(rung) }),
        Order::Sweep { scratch } => {
            sweep::empty(&scratch)?;
            report(control, &Report::Swept)
        }
        Order::Run { session, group } => {
            let result = run(&session, rung, group, control);
            if result.is_err() {
                // Its files may belong to ids that the program cannot touch.
                let _ = rustix::mount::unmount(session.scratch.join("root"), rustix::mount::UnmountFlags::DETACH);
                let _ = sweep::empty(&session.scratch);
            }
            result
        }
    }
}

fn run(session: &Session, rung: Rung, group: Option<PathBuf>, control: &Control) -> Result<(), Fault> {
    // The kernel's default would hold us to 1024, and a stack may need more for a moment.
    raise_open_files();
    let mut room = Room::new(session)?;
    let mut watch = Watch::new(&session.limits, &room.scratch, &room.upper, rung == Rung::Root);
    watch.group = group;
    for (index, step) in session.steps.iter().enumerate() {
        if control.is_closed() {
            return Err(Fault::Cancelled);
        }
        watch.check_time(index)?;
        report(control, &Report::Started { index })?;
        let begin = Instant::now();
        let status = one(index, step, &mut room, &mut watch, control)?;
        let seconds = begin.elapsed().as_secs_f64();
        report(control, &Report::Ended { index, status, seconds })?;
        judge(index, step, status)?;
    }
    let captured = capture::capture(&mut room)?;
    room.let_go();
    for part in stack::PARTS.iter().filter(|part| **part != "upper") {
        let _ = sweep::remove_part(&room.scratch, part);
    }
    report(control, &Report::Captured(captured))
}

fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn one(index: usize, step: &Step, room: &mut Room, watch: &mut Watch, control: &Control) -> Result<Status, Fault> {
    match step {
        Step::Stack { lowers, keep } => {
            room.stack(lowers, keep)?;
            if let Some(assembled) = &room.assembled {
                watch.look_at_tree(&room.root, assembled.bytes);
            }
        }
        Step::Place { path, what, mode, uid, gid, mtime, xattrs } => {
            let placement = Placement { path, what, mode: *mode, uid: *uid, gid: *gid, mtime: *mtime, xattrs };
            place::place(room, &placement)?;
        }
        Step::Remove { path } => place::remove(room, path)?,
        Step::Run(command) => return start(index, View::Image, command, room, watch, control),
        Step::RunOnHost { command, directory } => {
            let view = View::Host { directory: directory.clone() };
            return start(index, view, command, room, watch, control);
        }
    }
    Ok(Status::SUCCESS)
}

fn start(
    index: usize,
    view: View,
    command: &Command,
    room: &mut Room,
    watch: &mut Watch,
    control: &Control,
) -> Result<Status, Fault> {
    room.ensure_mount_points()?;
    let files = &room.supervisor.files;
    let scope = Scope { single: files.single, devices: files.devices, bare: room.supervisor.bare };
    let limits = room.limits.clone();
    let group = watch.group.clone();
    if !scope.bare {
        let root: PathBuf = room.root.clone();
        let plan = Plan { view, root: &root, command, limits: &limits, scope, group: group.as_deref() };
        return pump::run(index, &plan, &mut room.supervisor, watch, control);
    }
    let bare = Bare::make(room, &view)?;
    let plan = Plan { view, root: &bare.root, command, limits: &limits, scope, group: group.as_deref() };
    let ran = pump::run(index, &plan, &mut room.supervisor, watch, control);
    bare.unmake(room)?;
    ran
}

/// Ends the session if the step's status is not accepted.
fn judge(index: usize, step: &Step, status: Status) -> Result<(), Fault> {
    let (Step::Run(command) | Step::RunOnHost { command, .. }) = step else { return Ok(()) };
    match status {
        Status::Exited(code) if code == 0 || command.ok.contains(&code) => Ok(()),
        // As a shell tells it. Nothing but SIGKILL is what we ourselves end commands with.
        Status::Killed(signal) if signal != libc::SIGKILL && command.ok.contains(&(128 + signal)) => Ok(()),
        // No shell knows a builtin, whose later arguments may be whole scripts.
        _ if command.builtin => {
            let command = as_line(command.argv.get(..2).unwrap_or(&command.argv));
            Err(Fault::Command { index, command, status })
        }
        _ => Err(Fault::Command { index, command: as_line(&command.argv), status }),
    }
}

/// The command as a line for a shell.
fn as_line(argv: &[Vec<u8>]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+=./:,@%".contains(byte);
    let words: Vec<String> = argv
        .iter()
        .map(|word| {
            let text = String::from_utf8_lossy(word);
            if !word.is_empty() && word.iter().all(plain) {
                text.into_owned()
            } else {
                format!("'{}'", text.replace('\'', "'\\''"))
            }
        })
        .collect();
    words.join(" ")
}

impl Room {
    /// A payload may have removed a mount point through the build side's view.
    fn ensure_mount_points(&self) -> Result<(), Fault> {
        let tree = self.tree()?;
        for (name, mode) in view::MOUNT_POINTS {
            if !stack::exists(tree, Path::new(OsStr::from_bytes(name.as_bytes()))) {
                rustix::fs::mkdirat(tree, name, rustix::fs::Mode::from_raw_mode(mode))
                    .doing("make a mount point", || format!("mkdir(/{name})"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_a_shell_takes_them() {
        let argv = [b"sh".to_vec(), b"-c".to_vec(), b"echo 'a b'".to_vec(), Vec::new()];
        assert_eq!(as_line(&argv), "sh -c 'echo '\\''a b'\\''' ''");
    }
}
