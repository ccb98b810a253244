//! Functions about accounts, the machine and its bounds.

use crate::lua::accounts::{By, find_group, find_user};
use crate::lua::function::{Answer, Arguments, Failure, number, whole, words};
use mlua::Value;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// A user by name or number, as `chown` and its like take one; `None` for no argument, for -1 and
/// for a name that nobody has.
pub(super) fn user_id(arguments: &Arguments<'_>, at: usize) -> Result<Option<u32>, Failure> {
    id(arguments, at, |name| find_user(&By::Name(name)).map(|user| user.uid))
}

/// A group, as [`user_id`].
pub(super) fn group_id(arguments: &Arguments<'_>, at: usize) -> Result<Option<u32>, Failure> {
    id(arguments, at, |name| find_group(&By::Name(name)).map(|group| group.gid))
}

fn id(arguments: &Arguments<'_>, at: usize, find: impl Fn(Vec<u8>) -> Option<u32>) -> Result<Option<u32>, Failure> {
    let found = match arguments.value(at) {
        None => None,
        Some(_) if arguments.as_number(at).is_some() => arguments.as_number(at).and_then(as_id),
        Some(Value::String(_)) => find(arguments.string(at)?),
        Some(_) => return Err(arguments.neither(at)),
    };
    // The kernel's word for "unchanged".
    Ok(found.filter(|id| *id != u32::MAX))
}

fn as_id(number: f64) -> Option<u32> {
    u32::try_from(whole(number)).ok()
}

/// What an entry is asked for by.
fn by(arguments: &Arguments<'_>) -> Result<By, Failure> {
    match arguments.value(1) {
        Some(_) if arguments.as_number(1).is_some() => {
            Ok(By::Id(arguments.as_number(1).and_then(as_id).unwrap_or(u32::MAX)))
        }
        Some(Value::String(_)) => Ok(By::Name(arguments.string(1)?)),
        _ => Err(arguments.neither(1)),
    }
}

/// `getpasswd([user], [selector])`; nothing is the process's own user.
pub(super) fn getpasswd(arguments: &Arguments<'_>) -> Answer {
    let by = match arguments.value(1) {
        None | Some(Value::Nil) => By::Id(rustix::process::geteuid().as_raw()),
        Some(_) => by(arguments)?,
    };
    let Some(user) = find_user(&by) else { return Ok(vec![Value::Nil]) };
    let all = [
        ("name", arguments.text(user.name)?),
        ("uid", Value::Number(f64::from(user.uid))),
        ("gid", Value::Number(f64::from(user.gid))),
        ("dir", arguments.text(user.directory)?),
        ("shell", arguments.text(user.shell)?),
        ("gecos", arguments.text(user.gecos)?),
        ("passwd", arguments.text(user.password)?),
    ];
    arguments.select(2, &all)
}

/// `getgroup(group)`: a table of its name, its number, and its members.
pub(super) fn getgroup(arguments: &Arguments<'_>) -> Answer {
    let Some(group) = find_group(&by(arguments)?) else { return Ok(vec![Value::Nil]) };
    let members = arguments.list(&group.members)?;
    if let Value::Table(table) = &members {
        table.set("name", arguments.text(group.name)?)?;
        table.set("gid", Value::Number(f64::from(group.gid)))?;
    }
    Ok(vec![members])
}

/// `errno()`: words and number of the last failure.
pub(super) fn errno(arguments: &Arguments<'_>) -> Answer {
    let errno = arguments.shared.errno.get();
    Ok(vec![arguments.text(words(errno))?, Value::Number(f64::from(errno))])
}

/// `getlogin()`: nobody is logged in at a build.
pub(super) fn getlogin(_: &Arguments<'_>) -> Answer {
    Ok(vec![Value::Nil])
}

/// `ctermid()`.
pub(super) fn ctermid(arguments: &Arguments<'_>) -> Answer {
    Ok(vec![arguments.text("/dev/tty")?])
}

/// `ttyname([fd])`, of the first three descriptors.
pub(super) fn ttyname(arguments: &Arguments<'_>) -> Answer {
    let name = match arguments.optional_integer(1, 0)? {
        0 => rustix::termios::ttyname(rustix::stdio::stdin(), Vec::new()),
        1 => rustix::termios::ttyname(rustix::stdio::stdout(), Vec::new()),
        2 => rustix::termios::ttyname(rustix::stdio::stderr(), Vec::new()),
        _ => return Ok(vec![Value::Nil]),
    };
    match name {
        Ok(name) => Ok(vec![arguments.text(name.as_bytes())?]),
        Err(_) => Ok(vec![Value::Nil]),
    }
}

/// `uname([format])` with `%m`, `%n`, `%r`, `%s` and `%v`.
pub(super) fn uname(arguments: &Arguments<'_>) -> Answer {
    let format = arguments.optional_string(1, "%s %n %r %v %m")?;
    let system = rustix::system::uname();
    let mut out = Vec::new();
    let mut letters = format.into_iter();
    while let Some(letter) = letters.next() {
        if letter != b'%' {
            out.push(letter);
            continue;
        }
        out.extend_from_slice(match letters.next() {
            Some(b'%') => b"%",
            Some(b'm') => system.machine().to_bytes(),
            Some(b'n') => system.nodename().to_bytes(),
            Some(b'r') => system.release().to_bytes(),
            Some(b's') => system.sysname().to_bytes(),
            Some(b'v') => system.version().to_bytes(),
            other => {
                let letter = other.map(char::from).unwrap_or_default();
                return Err(Failure::Argument(2, format!("unknown format option `{letter}'")));
            }
        });
    }
    Ok(vec![arguments.text(out)?])
}

/// `pathconf(path, [selector])`, with the values of Linux; those of a path that cannot be asked
/// are -1 (fpathconf(3)).
pub(super) fn pathconf(arguments: &Arguments<'_>) -> Answer {
    let path = arguments.string(1)?;
    let volume = rustix::fs::statvfs(path.as_slice());
    let value = |value: u32| Value::Number(if volume.is_ok() { f64::from(value) } else { -1.0 });
    let name_max = volume.as_ref().map_or(Value::Number(-1.0), |volume| number(volume.f_namemax));
    let all = [
        ("link_max", value(127)),
        ("max_canon", value(255)),
        ("max_input", value(255)),
        ("name_max", name_max),
        ("path_max", value(4096)),
        ("pipe_buf", value(4096)),
        ("chown_restricted", value(1)),
        ("no_trunc", value(1)),
        ("vdisable", value(0)),
    ];
    arguments.select(2, &all)
}

/// `sysconf([selector])`, with the values of Linux.
pub(super) fn sysconf(arguments: &Arguments<'_>) -> Answer {
    let bound = |resource| getrlimit(resource).current.map_or(Value::Number(-1.0), number);
    // A quarter of the stack (sysconf(3)).
    let arguments_max = getrlimit(Resource::Stack).current.map_or(u64::MAX / 4, |stack| stack / 4).max(131_072);
    let all = [
        ("arg_max", number(arguments_max)),
        ("child_max", bound(Resource::Nproc)),
        ("clk_tck", Value::Number(100.0)),
        ("ngroups_max", Value::Number(65_536.0)),
        ("stream_max", Value::Number(16.0)),
        ("tzname_max", Value::Number(-1.0)),
        ("open_max", bound(Resource::Nofile)),
        ("job_control", Value::Number(1.0)),
        ("saved_ids", Value::Number(1.0)),
        ("version", Value::Number(200_809.0)),
    ];
    arguments.select(1, &all)
}

/// `times([selector])`: ticks divided by a million, as lposix has it; no one's children are counted.
pub(super) fn times(arguments: &Arguments<'_>) -> Answer {
    let ticks = |clock| {
        let time = clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let part = u64::try_from(time.tv_nsec).unwrap_or(0) / 10_000_000;
        match number(seconds.saturating_mul(100).saturating_add(part)) {
            Value::Number(ticks) => Value::Number(ticks / 1e6),
            other => other,
        }
    };
    let all = [
        ("utime", ticks(ClockId::ProcessCPUTime)),
        ("stime", Value::Number(0.0)),
        ("cutime", Value::Number(0.0)),
        ("cstime", Value::Number(0.0)),
        ("elapsed", ticks(ClockId::Monotonic)),
    ];
    arguments.select(1, &all)
}
