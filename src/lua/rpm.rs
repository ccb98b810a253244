//! The table `rpm` (rpmio/rpmlua.c), less what the prelude makes in Lua.

use super::function::{Answer, Arguments, Body, Failure, errno_of, words};
use super::{base64, glob, version};
use mlua::Value;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

/// Longest name that is read from standard input, in bytes: PATH_MAX of limits.h.
const NAME: u64 = 4096;

/// Names and functions.
pub(super) const FUNCTIONS: &[(&str, Body)] = &[
    ("b64decode", b64decode),
    ("b64encode", b64encode),
    ("define", define),
    ("execute", execute),
    ("expand", expand),
    ("glob", glob),
    ("isdefined", isdefined),
    ("next_file", next_file),
    ("redirect2null", redirect2null),
    ("spawn", spawn),
    ("undefine", undefine),
    ("vercmp", vercmp),
];

/// What the prelude makes the rest of.
pub(super) const NATIVE: &[(&str, Body)] = &[("compare", compare), ("exit", exit), ("parse", parse), ("plain", plain)];

/// `vercmp(a, b)`: -1, 0 or 1.
fn vercmp(arguments: &Arguments<'_>) -> Answer {
    let (a, b) = (arguments.string(1)?, arguments.string(2)?);
    let invalid = |at| Failure::Argument(at, "invalid version ".into());
    let a = version::parse(&a).ok_or_else(|| invalid(1))?;
    let b = version::parse(&b).ok_or_else(|| invalid(2))?;
    Ok(vec![Value::Integer(version::compare_parts(a, b) as i64)])
}

/// Epochs, versions and releases of two: -1, 0 or 1.
fn compare(arguments: &Arguments<'_>) -> Answer {
    let part = |at: usize| -> Result<Option<Vec<u8>>, Failure> {
        match arguments.value(at) {
            None | Some(Value::Nil) => Ok(None),
            Some(_) => arguments.string(at).map(Some),
        }
    };
    let (ae, av, ar) = (part(1)?, part(2)?, part(3)?);
    let (be, bv, br) = (part(4)?, part(5)?, part(6)?);
    let (av, bv) = (av.unwrap_or_default(), bv.unwrap_or_default());
    let order = version::compare_parts((ae.as_deref(), &av, ar.as_deref()), (be.as_deref(), &bv, br.as_deref()));
    Ok(vec![Value::Integer(order as i64)])
}

/// Epoch, version and release of a text; nothing of an empty one.
fn parse(arguments: &Arguments<'_>) -> Answer {
    let Ok(text) = arguments.string(1) else { return Ok(Vec::new()) };
    let Some((epoch, version, release)) = version::parse(&text) else { return Ok(Vec::new()) };
    let part = |part: Option<&[u8]>| part.map_or(Ok(Value::Nil), |part| arguments.text(part));
    Ok(vec![part(epoch)?, arguments.text(version)?, part(release)?])
}

/// `b64encode(data, [line])`.
fn b64encode(arguments: &Arguments<'_>) -> Answer {
    let data = arguments.bytes(1)?;
    let line = match arguments.len() {
        2 => usize::try_from(arguments.integer(2)?).ok(),
        _ => None,
    };
    if data.is_empty() {
        // rpm leaves its last argument as the answer.
        return Ok(arguments.value(arguments.len()).cloned().into_iter().collect());
    }
    Ok(vec![arguments.text(base64::encode(&data, line))?])
}

/// `b64decode(text)`: nil if it is none.
fn b64decode(arguments: &Arguments<'_>) -> Answer {
    match base64::decode(&arguments.string(1)?) {
        Some(data) => Ok(vec![arguments.text(data)?]),
        None => Ok(vec![Value::Nil]),
    }
}

/// `expand(text)`.
fn expand(arguments: &Arguments<'_>) -> Answer {
    let text = arguments.string(1)?;
    match arguments.shared.macros.borrow().expand(&text) {
        Ok(text) => Ok(vec![arguments.text(text)?]),
        Err(_) => Err(Failure::Said("error expanding macro".into())),
    }
}

/// `define("name body")`.
fn define(arguments: &Arguments<'_>) -> Answer {
    let text = arguments.string(1)?;
    match arguments.shared.macros.borrow_mut().define(&text) {
        Ok(()) => Ok(Vec::new()),
        Err(_) => Err(Failure::Said("error defining macro".into())),
    }
}

/// `undefine(name)`.
fn undefine(arguments: &Arguments<'_>) -> Answer {
    let name = arguments.string(1)?;
    arguments.shared.macros.borrow_mut().undefine(&name);
    Ok(Vec::new())
}

/// `isdefined(name)`: whether it is, and whether it has parameters, which none has here.
fn isdefined(arguments: &Arguments<'_>) -> Answer {
    let name = arguments.string(1)?;
    let is_defined = arguments.shared.macros.borrow().is_defined(&name);
    Ok(vec![Value::Boolean(is_defined), Value::Boolean(false)])
}

/// `glob(pattern, [flags])`; the pattern itself if nothing fits.
fn glob(arguments: &Arguments<'_>) -> Answer {
    let pattern = arguments.string(1)?;
    match glob::expand(&pattern) {
        Ok(paths) => Ok(vec![arguments.list(&paths)?]),
        Err(_) => {
            let name = String::from_utf8_lossy(&pattern).into_owned();
            Err(Failure::Said(format!("glob {name} failed: {}", words(Errno::TOOBIG.raw_os_error()))))
        }
    }
}

/// `next_file()`: the next name of a file trigger's list; nil after the last.
fn next_file(arguments: &Arguments<'_>) -> Answer {
    let mut name = Vec::new();
    let read = io::Read::take(io::stdin().lock(), NAME).read_until(b'\n', &mut name);
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    match read {
        Ok(1..) => Ok(vec![arguments.text(name)?]),
        _ => Ok(vec![Value::Nil]),
    }
}

/// `redirect2null(fd)`, of the first three descriptors, in a process that `posix.fork` made.
fn redirect2null(arguments: &Arguments<'_>) -> Answer {
    if !arguments.shared.forked.get() {
        return Err(Failure::Said("redirect2null not permitted in this context".into()));
    }
    let target = arguments.integer(1)?;
    let result = rustix::fs::open("/dev/null", OFlags::WRONLY, Mode::empty()).and_then(|null| match target {
        0 => rustix::stdio::dup2_stdin(null),
        1 => rustix::stdio::dup2_stdout(null),
        2 => rustix::stdio::dup2_stderr(null),
        _ => Err(Errno::BADF),
    });
    match result {
        Ok(()) => Ok(vec![Value::Integer(target)]),
        Err(errno) => arguments.failed(None, errno),
    }
}

/// `os.exit([code])`, in a process that `posix.fork` made.
fn exit(arguments: &Arguments<'_>) -> Answer {
    if !arguments.shared.forked.get() {
        return Err(Failure::Said("exit not permitted in this context".into()));
    }
    // The lowest eight bits count, as with exit(3).
    let code = arguments.optional_integer(1, 0)? & 0xff;
    std::process::exit(i32::try_from(code).unwrap_or(1))
}

/// How a program ended: 0, or nil, what the number is, and the number.
fn ended(arguments: &Arguments<'_>, result: io::Result<ExitStatus>) -> Answer {
    let status = match result {
        Ok(status) => status,
        Err(error) => return arguments.failed(None, errno_of(&error)),
    };
    let (what, number) = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(vec![Value::Number(0.0)]),
        (Some(code), _) => ("exit code", code),
        (None, signal) => ("exit signal", signal.unwrap_or(0)),
    };
    Ok(vec![Value::Nil, arguments.text(what)?, Value::Number(f64::from(number))])
}

/// `execute(program, [argument]...)`; waits for its end.
fn execute(arguments: &Arguments<'_>) -> Answer {
    let mut command = Command::new(OsStr::from_bytes(&arguments.string(1)?));
    for at in 2..=arguments.len() {
        command.arg(OsStr::from_bytes(&arguments.string(at)?));
    }
    ended(arguments, command.status())
}

/// `spawn({program, argument...}, {stdin = path, stdout = path, stderr = path})`.
fn spawn(arguments: &Arguments<'_>) -> Answer {
    let mut words = Vec::new();
    for word in arguments.table(1)?.sequence_values::<Value>() {
        let word = arguments.lua.coerce_string(word?)?;
        let word = word.ok_or_else(|| Failure::Said("string expected".into()))?;
        words.push(word.as_bytes().to_vec());
    }
    let [program, rest @ ..] = &words[..] else { return Err(Failure::Said("command not supplied".into())) };
    let mut command = Command::new(OsStr::from_bytes(program));
    command.args(rest.iter().map(|word| OsStr::from_bytes(word)));
    if let Some(Value::Table(streams)) = arguments.value(2) {
        for pair in streams.pairs::<mlua::LuaString, mlua::LuaString>() {
            let (stream, path) = pair?;
            let path = path.as_bytes().to_vec();
            let path = OsStr::from_bytes(&path);
            let append = || File::options().append(true).create(true).open(path);
            let stream = stream.as_bytes().to_vec();
            let opened = match &stream[..] {
                b"stdin" => File::open(path).map(|file| command.stdin(file)),
                b"stdout" => append().map(|file| command.stdout(file)),
                b"stderr" => append().map(|file| command.stderr(file)),
                other => {
                    let name = String::from_utf8_lossy(other).into_owned();
                    return Err(Failure::Said(format!("invalid spawn directive: {name}")));
                }
            };
            if let Err(error) = opened {
                return arguments.failed(None, errno_of(&error));
            }
        }
    }
    ended(arguments, command.status())
}

/// The mode of a plain file without rpm's name of the stream; nothing if it is not one.
fn plain(arguments: &Arguments<'_>) -> Answer {
    let mode = arguments.string(1)?;
    let (letters, stream) = match mode.iter().position(|byte| *byte == b'.') {
        Some(at) => (mode.get(..at).unwrap_or_default(), mode.get(at + 1..).unwrap_or_default()),
        None => (&mode[..], &b""[..]),
    };
    let is_mode = matches!(letters, b"r" | b"w" | b"a" | b"r+" | b"w+" | b"a+");
    let is_plain = matches!(stream, b"" | b"ufdio" | b"fdio" | b"fpio");
    Ok(vec![if is_mode && is_plain { arguments.text(letters)? } else { Value::Nil }])
}
