//! Functions about processes and the environment.

use super::system::{group_id, user_id};
use crate::lua::function::{Answer, Arguments, Failure, errno_of};
use mlua::Value;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::{Gid, Uid};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::time::Duration;

/// Longest sleep in seconds; the session's own bound comes first.
const SLEEP: i64 = 86_400;

fn id(number: i32) -> Value {
    Value::Number(f64::from(number))
}

/// `exec(path, [argument]...)`; only in a process that `fork` made.
pub(super) fn exec(arguments: &Arguments<'_>) -> Answer {
    let path = arguments.string(1)?;
    if !arguments.shared.forked.get() {
        return Err(Failure::Said("exec not permitted in this context".into()));
    }
    let mut command = std::process::Command::new(OsStr::from_bytes(&path));
    for at in 2..=arguments.len() {
        command.arg(OsStr::from_bytes(&arguments.string(at)?));
    }
    let error = command.exec();
    arguments.failed(Some(&path), errno_of(&error))
}

/// `fork()`: the new process's id, 0 in the new process.
pub(super) fn fork(arguments: &Arguments<'_>) -> Answer {
    let Some(process) = arguments.shared.process else { return arguments.failed(None, Errno::NOSYS) };
    match process.fork() {
        Ok(Some(pid)) => Ok(vec![id(pid)]),
        Ok(None) => {
            arguments.shared.forked.set(true);
            Ok(vec![id(0)])
        }
        Err(error) => arguments.failed(None, errno_of(&error)),
    }
}

/// `wait([pid])`: the id of the process that ended.
pub(super) fn wait(arguments: &Arguments<'_>) -> Answer {
    let wanted = i32::try_from(arguments.optional_integer(1, -1)?).unwrap_or(0);
    let none = WaitOptions::empty();
    let ended = match wanted {
        -1 => rustix::process::wait(none),
        0 => rustix::process::waitpgid(rustix::process::getpgrp(), none),
        pid if pid < 0 => match pid.checked_neg().and_then(Pid::from_raw) {
            Some(group) => rustix::process::waitpgid(group, none),
            None => Err(Errno::CHILD),
        },
        pid => rustix::process::waitpid(Pid::from_raw(pid), none),
    };
    match ended {
        Ok(ended) => Ok(vec![id(ended.map_or(0, |(pid, _)| pid.as_raw_nonzero().get()))]),
        Err(errno) => arguments.failed(None, errno),
    }
}

/// `kill(pid, [signal])`.
pub(super) fn kill(arguments: &Arguments<'_>) -> Answer {
    use rustix::process as p;
    let term = i64::from(Signal::TERM.as_raw());
    let (pid, number) = (arguments.integer(1)?, arguments.optional_integer(2, term)?);
    let pid = i32::try_from(pid).unwrap_or(i32::MAX);
    let signal = match i32::try_from(number).ok() {
        Some(0) => None,
        Some(number) => match Signal::from_named_raw(number) {
            Some(signal) => Some(signal),
            None => return arguments.failed(None, Errno::INVAL),
        },
        None => return arguments.failed(None, Errno::INVAL),
    };
    // A number below zero names a group.
    let named = pid.checked_abs().and_then(Pid::from_raw).ok_or(Errno::SRCH);
    let result = match (pid, signal) {
        (0, Some(signal)) => p::kill_current_process_group(signal),
        (0, None) => p::test_kill_current_process_group(),
        // Everything at once is for the sandbox's own first process.
        (-1, _) => Err(Errno::PERM),
        (..0, Some(signal)) => named.and_then(|group| p::kill_process_group(group, signal)),
        (..0, None) => named.and_then(p::test_kill_process_group),
        (_, Some(signal)) => named.and_then(|process| p::kill_process(process, signal)),
        (_, None) => named.and_then(p::test_kill_process),
    };
    arguments.done(None, result)
}

/// `sleep(seconds)`.
pub(super) fn sleep(arguments: &Arguments<'_>) -> Answer {
    let seconds = arguments.integer(1)?.clamp(0, SLEEP);
    std::thread::sleep(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    Ok(vec![Value::Number(0.0)])
}

/// Sets or removes a variable.
fn set(arguments: &Arguments<'_>, name: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
    let Some(process) = arguments.shared.process else { return Err(Errno::NOSYS) };
    process.set_variable(name, value).map_err(|error: io::Error| errno_of(&error))
}

/// `getenv([name])`; all of them in a table if no name is given.
pub(super) fn getenv(arguments: &Arguments<'_>) -> Answer {
    if arguments.len() == 0 {
        let table = arguments.lua.create_table()?;
        for (name, value) in std::env::vars_os() {
            table.set(arguments.text(name.as_bytes())?, arguments.text(value.as_bytes())?)?;
        }
        let is_empty = table.is_empty();
        return Ok(vec![if is_empty { Value::Nil } else { Value::Table(table) }]);
    }
    let name = arguments.string(1)?;
    match std::env::var_os(OsStr::from_bytes(&name)) {
        Some(value) => Ok(vec![arguments.text(value.as_bytes())?]),
        None => Ok(vec![Value::Nil]),
    }
}

/// `setenv(name, value, [overwrite])`.
pub(super) fn setenv(arguments: &Arguments<'_>) -> Answer {
    let (name, value) = (arguments.string(1)?, arguments.string(2)?);
    let keeps = matches!(arguments.value(3), Some(Value::Boolean(false)));
    if keeps && std::env::var_os(OsStr::from_bytes(&name)).is_some() {
        return arguments.done(None, Ok(()));
    }
    let result = set(arguments, &name, Some(&value));
    arguments.done(Some(&name), result)
}

/// `putenv("name=value")`; without `=` the variable is removed.
pub(super) fn putenv(arguments: &Arguments<'_>) -> Answer {
    let text = arguments.string(1)?;
    let result = match text.iter().position(|byte| *byte == b'=') {
        Some(at) => set(arguments, text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => set(arguments, &text, None),
    };
    arguments.done(Some(&text), result)
}

/// `unsetenv(name)`; returns nothing.
pub(super) fn unsetenv(arguments: &Arguments<'_>) -> Answer {
    let name = arguments.string(1)?;
    let _ = set(arguments, &name, None);
    Ok(Vec::new())
}

/// `getprocessid([selector])`.
pub(super) fn getprocessid(arguments: &Arguments<'_>) -> Answer {
    use rustix::process as p;
    let number = |id: u32| Value::Number(f64::from(id));
    let pid = |pid: Option<Pid>| id(pid.map_or(0, |pid| pid.as_raw_nonzero().get()));
    let all = [
        ("egid", number(p::getegid().as_raw())),
        ("euid", number(p::geteuid().as_raw())),
        ("gid", number(p::getgid().as_raw())),
        ("uid", number(p::getuid().as_raw())),
        ("pgrp", pid(Some(p::getpgrp()))),
        ("pid", pid(Some(p::getpid()))),
        ("ppid", pid(p::getppid())),
    ];
    arguments.select(1, &all)
}

/// `setuid(user)`, a name or a number.
pub(super) fn setuid(arguments: &Arguments<'_>) -> Answer {
    let result = match user_id(arguments, 1)? {
        // The process has one thread.
        Some(user) => rustix::thread::set_thread_uid(Uid::from_raw(user)),
        None => Err(Errno::INVAL),
    };
    arguments.done(None, result)
}

/// `setgid(group)`, a name or a number.
pub(super) fn setgid(arguments: &Arguments<'_>) -> Answer {
    let result = match group_id(arguments, 1)? {
        Some(group) => rustix::thread::set_thread_gid(Gid::from_raw(group)),
        None => Err(Errno::INVAL),
    };
    arguments.done(None, result)
}
