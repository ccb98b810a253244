//! Functions of the program that run in the sandbox in the place of a command.
//!
//! An image has no interpreter before its first packages are unpacked, and some packages bring
//! scripts that must run even then. The process that would execute a command calls such a function
//! instead, behind the same walls: its view, its root, its ids and bounds, the capabilities that
//! exec would have left, the filter of system calls, and no descriptor but the first three.
//!
//! What exec does besides, it cannot do: the memory of the helper, of which the process is a copy,
//! stays readable to it. That holds the steps of the session and nothing of the machine's but
//! paths; a session with a secret in one of its steps must not run code of strangers as a builtin.

use crate::sys;
use std::io;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// A function that [`crate::Command::builtin`] can name.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// What the command's first word is.
    pub name: &'static str,
    /// Gets the whole argument vector, its own name included, and returns the exit code. The
    /// process's environment, directory and first three descriptors are those of the command.
    pub run: fn(Process, &[Vec<u8>]) -> i32,
}

/// The process that a builtin runs in: it was made for it, and has one thread.
///
/// What is offered here is sound only while that is so: a builtin must start no threads.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    // Neither `Send` nor to be made outside of this crate.
    alone: PhantomData<*const ()>,
}

impl Process {
    pub(crate) const fn new() -> Process {
        Process { alone: PhantomData }
    }

    /// Forks (fork(2)): the new process's id, or `None` in the new process, which ends when its
    /// copy of the builtin returns.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn fork(self) -> io::Result<Option<i32>> {
        Ok(match sys::fork(0)? {
            sys::Fork::Child => None,
            sys::Fork::Parent { pid, .. } => Some(pid),
        })
    }

    /// Sets a variable of the environment, or removes it (setenv(3)).
    ///
    /// # Errors
    ///
    /// The name is empty or holds `=`, or one of the two holds a NUL byte.
    pub fn set_variable(self, name: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        sys::set_variable(name, value)
    }
}

/// What [`crate::intercept_with`] was given.
static REGISTERED: OnceLock<&'static [Builtin]> = OnceLock::new();

pub(crate) fn register(builtins: &'static [Builtin]) {
    // The first call counts; there is only one.
    let _ = REGISTERED.set(builtins);
}

pub(crate) fn find(name: &[u8]) -> Option<Builtin> {
    REGISTERED.get()?.iter().find(|builtin| builtin.name.as_bytes() == name).copied()
}
