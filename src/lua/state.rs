//! A Lua state with rpm's libraries, and one script in it.

use super::function::{Body, Shared, install};
use super::{MEMORY, posix, rpm};
use mlua::{Function, Lua, MultiValue, Table};
use sandbox::Process;
use std::rc::Rc;
use thiserror::Error;

/// The part that is easier said in Lua.
const PRELUDE: &str = include_str!("prelude.lua");

/// A scriptlet.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// What messages call it.
    pub name: &'a [u8],
    /// The source; compiled Lua is refused.
    pub text: &'a [u8],
    /// From `arg[2]` on.
    pub arguments: &'a [Vec<u8>],
}

/// A script did not succeed, in rpm's words (rpmio/rpmlua.c, lib/rpmscript.c).
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Failed {
    /// It does not compile.
    #[error("invalid syntax in lua script: {0}")]
    Syntax(String),
    /// It ended with an error.
    #[error("lua script failed: {0}")]
    Script(String),
    /// It forked, and this is the new process, which ended without executing anything.
    #[error("No exec() called after fork() in lua scriptlet")]
    Forked,
}

impl Script<'_> {
    /// Runs the script in a state of its own. Without a process of the sandbox, what needs one
    /// (`posix.fork`, `posix.setenv` and its like) fails with "Function not implemented".
    ///
    /// # Errors
    ///
    /// How the script failed.
    pub fn run(self, process: Option<Process>) -> Result<(), Failed> {
        let shared = Rc::new(Shared::new(process));
        let failed = |error: mlua::Error| Failed::Script(error.to_string());
        let result = self.run_in(&Lua::new(), &shared).map_err(failed);
        // In a new process even what the script left behind goes another way.
        if shared.forked.get() { Err(Failed::Forked) } else { result? }
    }

    fn run_in(self, lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Result<(), Failed>> {
        lua.set_memory_limit(MEMORY)?;
        let wrap: Function = lua.load(WRAP).set_name("=rpm").eval()?;
        let library = |functions: &[(&'static str, Body)]| -> mlua::Result<Table> {
            let table = lua.create_table()?;
            for (name, body) in functions {
                table.set(*name, install(lua, &wrap, shared, name, *body)?)?;
            }
            Ok(table)
        };
        let native = library(rpm::NATIVE)?;
        let posix = library(posix::FUNCTIONS)?;
        posix.set("version", "posix library for Lua 5.4 / Nov 2003")?;
        let rpm = library(rpm::FUNCTIONS)?;
        let loaded: Table = lua.globals().get::<Table>("package")?.get("loaded")?;
        for (name, table) in [("posix", &posix), ("rpm", &rpm)] {
            lua.globals().set(name, table)?;
            loaded.set(name, table)?;
        }
        let run: Function = lua.load(PRELUDE).set_name("=rpm").call((posix, rpm, native))?;
        let arguments = lua.create_table()?;
        arguments.push("<lua>")?;
        for argument in self.arguments {
            arguments.push(lua.create_string(argument)?)?;
        }
        let answer: MultiValue = run.call((lua.create_string(self.name)?, lua.create_string(self.text)?, arguments))?;
        let text = |at: usize| match answer.get(at) {
            Some(value) => value.to_string().unwrap_or_default(),
            None => String::new(),
        };
        Ok(match text(0).as_str() {
            "ran" => Ok(()),
            "syntax" => Err(Failed::Syntax(text(1))),
            _ => Err(Failed::Script(text(1))),
        })
    }
}

/// Makes a function of ours raise its failures as Lua's own functions do: as a string, with the
/// place of the call before it.
const WRAP: &str = "
local error = error
local function finish(failure, ...)
  if failure then error(failure, 2) end
  return ...
end
return function(body)
  return function(...) return finish(body(...)) end
end";

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<(), Failed> {
        Script { name: b"%post(x)", text: text.as_bytes(), arguments: &[b"1".to_vec(), b"x".to_vec()] }.run(None)
    }

    fn said(text: &str) -> String {
        run(text).unwrap_err().to_string()
    }

    #[test]
    fn failures_have_their_place() {
        assert_eq!(run("local x = 1"), Ok(()));
        assert_eq!(said("\nerror('no')"), "lua script failed: [string \"%post(x)\"]:2: no");
        assert!(said("x = = 1").starts_with("invalid syntax in lua script: [string \"%post(x)\"]:1: "));
        assert_eq!(
            said("local a\nposix.mkdir()"),
            "lua script failed: [string \"%post(x)\"]:2: bad argument #1 to 'mkdir' (string expected, got no value)"
        );
        assert_eq!(said("error({})").split(':').next(), Some("lua script failed"));
    }

    #[test]
    fn arguments_are_as_rpm_passes_them() {
        assert_eq!(run("assert(arg[1] == '<lua>' and arg[2] == 1 and arg[3] == 'x' and #opt == 0)"), Ok(()));
    }

    #[test]
    fn what_could_break_the_runner_is_not_there() {
        assert_eq!(run("assert(debug == nil and not pcall(require, 'debug'))"), Ok(()));
        assert!(said("os.exit(0)").ends_with("exit not permitted in this context"));
        assert!(said("posix.exec('/bin/true')").ends_with("exec not permitted in this context"));
        assert!(said("local s = 'x' while true do s = s .. s end").contains("memory"));
        assert!(said("local function f() return 1 + f() end f()").contains("stack overflow"));
        assert!(said("string.dump = nil; f = load(('').dump(function() end)); f()").len() < 500);
    }

    #[test]
    fn hostile_arguments_are_errors_or_answers() {
        let calls = [
            "posix.chmod('/', ',,,')",
            "posix.chmod('/nonexistent', ('r'):rep(100000))",
            "posix.kill(-1 << 62)",
            "posix.kill(-1)",
            "posix.sleep(-1)",
            "posix.utime('/nonexistent', 1e300, 0/0)",
            "posix.chown('/nonexistent', 1e300, -5)",
            "posix.stat('/', 'nothing')",
            "posix.uname('%q')",
            "posix.wait(1 << 40)",
            "posix.getpasswd({})",
            "posix.setuid(1e300)",
            "rpm.expand(('%{?a:'):rep(100000))",
            "rpm.define('x %{x}%{x}'); rpm.expand('%x')",
            "rpm.glob(('{a,'):rep(10000))",
            "rpm.glob(('{a,b}'):rep(64))",
            "rpm.b64encode('xxxxx', 1 << 62)",
            "rpm.b64decode('====')",
            "rpm.ver({})",
            "rpm.vercmp('', '')",
            "rpm.spawn({})",
            "rpm.spawn({{}})",
            "rpm.execute('a\\0b')",
            "rpm.open('/nonexistent/x', 'q')",
            "posix.mkstemp('/nonexistent/XXXXXX')",
            "macros.x.y = 1",
        ];
        for call in calls {
            let begin = std::time::Instant::now();
            let _ = run(call);
            assert_eq!(run(&format!("pcall(function() {call} end)")), Ok(()), "{call}");
            assert!(begin.elapsed().as_secs() < 5, "{call}");
        }
    }
}
