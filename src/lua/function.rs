//! Functions of ours as Lua's: their arguments, answers and failures.

use super::macros::Macros;
use mlua::{Function, Lua, MultiValue, Value};
use rustix::io::Errno;
use sandbox::Process;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

/// What the functions of one state share.
pub(super) struct Shared {
    /// The sandbox's process, if the script runs in one.
    pub(super) process: Option<Process>,
    /// What C's `errno` would be.
    pub(super) errno: Cell<i32>,
    /// Whether this is a process that the script forked.
    pub(super) forked: Cell<bool>,
    pub(super) macros: RefCell<Macros>,
}

impl Shared {
    pub(super) fn new(process: Option<Process>) -> Shared {
        let macros = RefCell::new(Macros::default());
        Shared { process, errno: Cell::new(0), forked: Cell::new(false), macros }
    }
}

/// Why a function raises an error.
#[derive(Debug)]
pub(super) enum Failure {
    /// An argument, by number from 1, and what about it.
    Argument(usize, String),
    /// A sentence.
    Said(String),
    /// Of Lua itself.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Failure {
        Failure::Lua(error)
    }
}

/// What a function returns.
pub(super) type Answer = Result<Vec<Value>, Failure>;

/// A function of ours.
pub(super) type Body = fn(&Arguments<'_>) -> Answer;

/// Makes a Lua function of one of ours.
pub(super) fn install(
    lua: &Lua,
    wrap: &Function,
    shared: &Rc<Shared>,
    name: &'static str,
    body: Body,
) -> mlua::Result<Function> {
    let shared = Rc::clone(shared);
    let raw = lua.create_function(move |lua, values: MultiValue| {
        let arguments = Arguments { lua, shared: &shared, values: values.into_vec() };
        let mut answer = vec![Value::Nil];
        match body(&arguments) {
            Ok(values) => answer.extend(values),
            Err(Failure::Argument(number, text)) => {
                answer = vec![arguments.text(format!("bad argument #{number} to '{name}' ({text})"))?];
            }
            Err(Failure::Said(text)) => answer = vec![arguments.text(text)?],
            Err(Failure::Lua(error)) => return Err(error),
        }
        Ok(MultiValue::from_vec(answer))
    })?;
    wrap.call(raw)
}

/// The words of an errno, strerror(3).
pub(super) fn words(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    let end = text.rfind(" (os error").unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_owned()
}

/// Whole part of a number that a C cast to an integer would take.
#[allow(clippy::cast_possible_truncation, reason = "saturates, which is what is wanted of numbers out of range")]
pub(super) fn whole(number: f64) -> i64 {
    number as i64
}

/// A count as Lua's number; those above 2^53 lose their last digits, as in rpm.
#[allow(clippy::cast_precision_loss, reason = "rpm does the same")]
pub(super) fn number(count: u64) -> Value {
    Value::Number(count as f64)
}

/// What a function was called with.
pub(super) struct Arguments<'a> {
    pub(super) lua: &'a Lua,
    pub(super) shared: &'a Shared,
    values: Vec<Value>,
}

impl Arguments<'_> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// One of them, from 1; `None` beyond the last.
    pub(super) fn value(&self, at: usize) -> Option<&Value> {
        self.values.get(at.checked_sub(1)?)
    }

    fn is_nothing(&self, at: usize) -> bool {
        matches!(self.value(at), None | Some(Value::Nil))
    }

    fn expected(&self, at: usize, what: &str) -> Failure {
        let got = match self.value(at) {
            None => "no value",
            Some(Value::Integer(_)) => "number",
            Some(Value::LightUserData(_)) => "light userdata",
            Some(value) => value.type_name(),
        };
        Failure::Argument(at, format!("{what} expected, got {got}"))
    }

    /// A string, or a number as one, with all its bytes.
    pub(super) fn bytes(&self, at: usize) -> Result<Vec<u8>, Failure> {
        match self.value(at) {
            Some(value @ (Value::String(_) | Value::Integer(_) | Value::Number(_))) => {
                let text = self.lua.coerce_string(value.clone())?;
                Ok(text.map(|text| text.as_bytes().to_vec()).unwrap_or_default())
            }
            _ => Err(self.expected(at, "string")),
        }
    }

    /// A string as C reads it: up to the first NUL.
    pub(super) fn string(&self, at: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = self.bytes(at)?;
        if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            bytes.truncate(end);
        }
        Ok(bytes)
    }

    /// As [`Arguments::string`], with a default for one that is not given.
    pub(super) fn optional_string(&self, at: usize, default: &str) -> Result<Vec<u8>, Failure> {
        if self.is_nothing(at) { Ok(default.into()) } else { self.string(at) }
    }

    /// A whole number.
    pub(super) fn integer(&self, at: usize) -> Result<i64, Failure> {
        match self.value(at) {
            Some(value @ (Value::String(_) | Value::Integer(_) | Value::Number(_))) => {
                let found = self.lua.coerce_integer(value.clone())?;
                found.ok_or_else(|| match self.lua.coerce_number(value.clone()) {
                    Ok(Some(_)) => Failure::Argument(at, "number has no integer representation".into()),
                    _ => self.expected(at, "number"),
                })
            }
            _ => Err(self.expected(at, "number")),
        }
    }

    /// As [`Arguments::integer`], with a default for one that is not given.
    pub(super) fn optional_integer(&self, at: usize, default: i64) -> Result<i64, Failure> {
        if self.is_nothing(at) { Ok(default) } else { self.integer(at) }
    }

    /// A number, or a string that reads as one.
    pub(super) fn as_number(&self, at: usize) -> Option<f64> {
        match self.value(at)? {
            value @ (Value::String(_) | Value::Integer(_) | Value::Number(_)) => {
                self.lua.coerce_number(value.clone()).ok().flatten()
            }
            _ => None,
        }
    }

    /// A number, with a default for one that is not given.
    pub(super) fn optional_number(&self, at: usize, default: f64) -> Result<f64, Failure> {
        if self.is_nothing(at) {
            return Ok(default);
        }
        self.as_number(at).ok_or_else(|| self.expected(at, "number"))
    }

    /// Fails for an argument that is no string and no number.
    pub(super) fn neither(&self, at: usize) -> Failure {
        self.expected(at, "string or number")
    }

    /// A table, or what else is said about it.
    pub(super) fn table(&self, at: usize) -> Result<&mlua::Table, Failure> {
        match self.value(at) {
            Some(Value::Table(table)) => Ok(table),
            _ => Err(self.expected(at, "table")),
        }
    }

    /// A Lua string.
    pub(super) fn text(&self, bytes: impl AsRef<[u8]>) -> mlua::Result<Value> {
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    /// A list of strings.
    pub(super) fn list<T: AsRef<[u8]>>(&self, items: &[T]) -> Result<Value, Failure> {
        let table = self.lua.create_table()?;
        for item in items {
            table.push(self.text(item)?)?;
        }
        Ok(Value::Table(table))
    }

    /// lposix's way to say that a call failed: nil, words, number.
    pub(super) fn failed(&self, about: Option<&[u8]>, errno: Errno) -> Answer {
        self.shared.errno.set(errno.raw_os_error());
        let words = words(errno.raw_os_error());
        let text = match about {
            Some(about) => [about, b": ", words.as_bytes()].concat(),
            None => words.into_bytes(),
        };
        Ok(vec![Value::Nil, self.text(text)?, Value::Number(f64::from(errno.raw_os_error()))])
    }

    /// lposix's way to say how a call went: 0, or as [`Arguments::failed`].
    pub(super) fn done(&self, about: Option<&[u8]>, result: Result<(), Errno>) -> Answer {
        match result {
            Ok(()) => Ok(vec![Value::Number(0.0)]),
            Err(errno) => self.failed(about, errno),
        }
    }

    /// One of several values by name, or all of them in a table if no name is given.
    pub(super) fn select(&self, at: usize, all: &[(&str, Value)]) -> Answer {
        if self.value(at).is_none() {
            let table = self.lua.create_table()?;
            for (name, value) in all {
                table.set(*name, value)?;
            }
            return Ok(vec![Value::Table(table)]);
        }
        let wanted = self.string(at)?;
        match all.iter().find(|(name, _)| name.as_bytes() == wanted) {
            Some((_, value)) => Ok(vec![value.clone()]),
            None => Err(Failure::Argument(at, format!("invalid option '{}'", String::from_utf8_lossy(&wanted)))),
        }
    }
}

/// The errno of an error of the standard library's.
pub(super) fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::INVAL)
}
