//! Functions about paths.

use super::system::{group_id, user_id};
use crate::lua::function::{Answer, Arguments, Failure, number, whole};
use crate::lua::{glob, mode};
use mlua::{MultiValue, Value};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::cell::Cell;

/// Modes of what is made, less the mask.
const ALL: Mode = Mode::from_raw_mode(0o777);

/// Names that [`mkstemp`] tries before it gives up.
const ATTEMPTS: u32 = 1000;

/// A call with one path.
fn on_path(arguments: &Arguments<'_>, call: impl Fn(&[u8]) -> Result<(), Errno>) -> Answer {
    let path = arguments.string(1)?;
    arguments.done(Some(&path), call(&path))
}

/// A call with an old and a new path.
fn on_two(arguments: &Arguments<'_>, call: impl Fn(&[u8], &[u8]) -> Result<(), Errno>) -> Answer {
    let (old, new) = (arguments.string(1)?, arguments.string(2)?);
    arguments.done(None, call(&old, &new))
}

/// `access(path, [mode])`; modes are `r`, `w`, `x` and `f`.
pub(super) fn access(arguments: &Arguments<'_>) -> Answer {
    let path = arguments.string(1)?;
    let mut wanted = rustix::fs::Access::EXISTS;
    for letter in arguments.optional_string(2, "f")? {
        wanted |= match letter {
            b'r' => rustix::fs::Access::READ_OK,
            b'w' => rustix::fs::Access::WRITE_OK,
            b'x' => rustix::fs::Access::EXEC_OK,
            b'f' | b' ' => continue,
            other => return Err(Failure::Argument(2, format!("unknown mode option `{}'", char::from(other)))),
        };
    }
    arguments.done(Some(&path), rustix::fs::access(path.as_slice(), wanted))
}

/// `chdir(path)`.
pub(super) fn chdir(arguments: &Arguments<'_>) -> Answer {
    on_path(arguments, |path| rustix::process::chdir(path))
}

/// `chmod(path, mode)`; the mode is octal, `rwxr-xr-x`, or changes such as `u+w`.
pub(super) fn chmod(arguments: &Arguments<'_>) -> Answer {
    let (path, text) = (arguments.string(1)?, arguments.string(2)?);
    let now = match rustix::fs::stat(path.as_slice()) {
        Ok(stat) => stat.st_mode & 0o7777,
        Err(errno) => return arguments.failed(Some(&path), errno),
    };
    let Some(mode) = mode::read(now, &text) else { return Err(Failure::Argument(2, "bad mode".into())) };
    arguments.done(Some(&path), rustix::fs::chmod(path.as_slice(), Mode::from_raw_mode(mode & 0o7777)))
}

/// `chown(path, user, group)`, each a name or a number. A name that nobody has changes nothing.
pub(super) fn chown(arguments: &Arguments<'_>) -> Answer {
    let path = arguments.string(1)?;
    let user = user_id(arguments, 2)?.map(Uid::from_raw);
    let group = group_id(arguments, 3)?.map(Gid::from_raw);
    arguments.done(Some(&path), rustix::fs::chown(path.as_slice(), user, group))
}

/// `dir([path])`: the names in a directory.
pub(super) fn dir(arguments: &Arguments<'_>) -> Answer {
    let path = arguments.optional_string(1, ".")?;
    match glob::list(&path) {
        Ok(names) => Ok(vec![arguments.list(&names)?]),
        Err(errno) => arguments.failed(Some(&path), errno),
    }
}

/// `files([path])`: a function that returns the names in a directory one after the other.
pub(super) fn files(arguments: &Arguments<'_>) -> Answer {
    let path = arguments.optional_string(1, ".")?;
    let names = match glob::list(&path) {
        Ok(names) => names,
        Err(errno) => return arguments.failed(Some(&path), errno),
    };
    let next = Cell::new(0usize);
    let iterator = arguments.lua.create_function(move |lua, _: MultiValue| {
        let at = next.replace(next.get().saturating_add(1));
        match names.get(at) {
            Some(name) => Ok(Some(lua.create_string(name)?)),
            None if at == names.len() => Ok(None),
            None => Err(mlua::Error::runtime("attempt to use closed dir")),
        }
    })?;
    Ok(vec![Value::Function(iterator)])
}

/// `getcwd()`.
pub(super) fn getcwd(arguments: &Arguments<'_>) -> Answer {
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) => Ok(vec![arguments.text(path.as_bytes())?]),
        Err(errno) => arguments.failed(Some(b"."), errno),
    }
}

/// `link(old, new)`.
pub(super) fn link(arguments: &Arguments<'_>) -> Answer {
    on_two(arguments, |old, new| rustix::fs::link(old, new))
}

/// `mkdir(path)`.
pub(super) fn mkdir(arguments: &Arguments<'_>) -> Answer {
    on_path(arguments, |path| rustix::fs::mkdir(path, ALL))
}

/// `mkfifo(path)`.
pub(super) fn mkfifo(arguments: &Arguments<'_>) -> Answer {
    on_path(arguments, |path| rustix::fs::mknodat(CWD, path, FileType::Fifo, ALL, 0))
}

/// `mkstemp(template)`: the path of a new file; the prelude opens it.
pub(super) fn mkstemp(arguments: &Arguments<'_>) -> Answer {
    use rustix::fs::OFlags;
    let template = arguments.string(1)?;
    let Some(start) = template.strip_suffix(b"XXXXXX") else { return arguments.failed(None, Errno::INVAL) };
    for attempt in 0..ATTEMPTS {
        // The name is gone before the script ends, or is the script's fault: it need not be random,
        // and nobody else is in the tree.
        let path = [start, format!("{attempt:06}").as_bytes()].concat();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        match rustix::fs::open(path.as_slice(), flags, Mode::from_raw_mode(0o600)) {
            Ok(_) => return Ok(vec![arguments.text(path)?]),
            Err(Errno::EXIST) => {}
            Err(errno) => return arguments.failed(None, errno),
        }
    }
    arguments.failed(None, Errno::EXIST)
}

/// `readlink(path)`.
pub(super) fn readlink(arguments: &Arguments<'_>) -> Answer {
    let path = arguments.string(1)?;
    match rustix::fs::readlink(path.as_slice(), Vec::new()) {
        Ok(target) => Ok(vec![arguments.text(target.as_bytes())?]),
        Err(errno) => arguments.failed(Some(&path), errno),
    }
}

/// `rmdir(path)`.
pub(super) fn rmdir(arguments: &Arguments<'_>) -> Answer {
    on_path(arguments, |path| rustix::fs::rmdir(path))
}

fn kind(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "regular",
        FileType::Symlink => "link",
        FileType::Directory => "directory",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::Unknown => "?",
    }
}

/// Seconds as a number.
#[allow(clippy::cast_precision_loss, reason = "times of files lie far below 2^53")]
fn seconds(time: i64) -> Value {
    Value::Number(time as f64)
}

/// `stat(path, [selector])`; of the link itself.
pub(super) fn stat(arguments: &Arguments<'_>) -> Answer {
    let path = arguments.string(1)?;
    let stat = match rustix::fs::lstat(path.as_slice()) {
        Ok(stat) => stat,
        Err(errno) => return arguments.failed(Some(&path), errno),
    };
    let all = [
        ("mode", arguments.text(mode::show(stat.st_mode))?),
        ("ino", number(stat.st_ino)),
        ("dev", number(stat.st_dev)),
        ("nlink", number(u64::from(stat.st_nlink))),
        ("uid", Value::Number(f64::from(stat.st_uid))),
        ("gid", Value::Number(f64::from(stat.st_gid))),
        ("size", number(u64::try_from(stat.st_size).unwrap_or(0))),
        ("atime", seconds(stat.st_atime)),
        ("mtime", seconds(stat.st_mtime)),
        ("ctime", seconds(stat.st_ctime)),
        ("type", arguments.text(kind(&stat))?),
        ("_mode", Value::Number(f64::from(stat.st_mode))),
    ];
    arguments.select(2, &all)
}

/// `symlink(target, path)`.
pub(super) fn symlink(arguments: &Arguments<'_>) -> Answer {
    on_two(arguments, |target, path| rustix::fs::symlink(target, path))
}

/// `umask([mode])`: what is allowed, as letters, and not what is masked.
pub(super) fn umask(arguments: &Arguments<'_>) -> Answer {
    let mask = rustix::process::umask(Mode::empty());
    rustix::process::umask(mask);
    let mut allowed = !mask.as_raw_mode() & 0o777;
    if arguments.len() > 0 {
        let Some(wanted) = mode::read(allowed, &arguments.string(1)?) else { return Ok(vec![Value::Nil]) };
        allowed = wanted & 0o777;
        rustix::process::umask(Mode::from_raw_mode(!allowed & 0o777));
    }
    Ok(vec![arguments.text(mode::show(allowed))?])
}

/// `unlink(path)`.
pub(super) fn unlink(arguments: &Arguments<'_>) -> Answer {
    on_path(arguments, |path| rustix::fs::unlink(path))
}

/// `utime(path, [mtime, atime])`; the present where nothing is given.
#[allow(clippy::cast_precision_loss, reason = "seconds of clocks lie far below 2^53")]
pub(super) fn utime(arguments: &Arguments<'_>) -> Answer {
    let path = arguments.string(1)?;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec as f64;
    let time = |at: usize| -> Result<Timespec, Failure> {
        Ok(Timespec { tv_sec: whole(arguments.optional_number(at, now)?), tv_nsec: 0 })
    };
    let times = Timestamps { last_modification: time(2)?, last_access: time(3)? };
    arguments.done(Some(&path), rustix::fs::utimensat(CWD, path.as_slice(), &times, AtFlags::empty()))
}
