//! rpm's embedded Lua, for scriptlets with `-p <lua>`.
//!
//! Such scriptlets run inside rpm itself because the tree may have no shell yet (`%pretrans` of
//! `filesystem`). Here they run inside this program, as a function that the sandbox calls in the
//! place of a command ([`sandbox::Builtin`]): on the image's tree, behind a command's walls.
//!
//! What a script sees is what rpm 4.18 to 4.20 shows one: Lua 5.4 with its standard libraries, the
//! tables `posix` (rpmio/lposix.c) and `rpm` (rpmio/rpmlua.c), the table `macros`, and `opt` and
//! `arg` as lib/rpmscript.c passes them. Where the versions differ, 4.20 is followed, whose
//! functions are a superset. Known differences:
//!
//! - No library `debug`, no modules in C: with them a script could break what runs it.
//! - `posix.dir`, `posix.files` and `rpm.glob` sort their answers; the kernel's order of names
//!   would end up in images.
//! - There are no macro files: [`macros`] has the usual directories and what a script defines;
//!   everything else expands to itself, as macros do that rpm does not know.
//! - `posix.getpasswd` and its like read /etc/passwd and /etc/group and ask nobody else.
//! - `rpm.open` opens plain files only; hooks (`rpm.register`) are accepted and never called.

mod accounts;
mod base64;
mod function;
mod glob;
mod macros;
mod mode;
mod posix;
mod rpm;
mod state;
mod version;

pub use state::{Failed, Script};

use sandbox::{Builtin, Process};

/// What the sandbox's helper calls in the place of a command, see [`run`].
pub const BUILTIN: Builtin = Builtin { name: "lua", run };

/// Memory that a script's values may take, in bytes; scriptlets of distributions take well below one
/// megabyte.
const MEMORY: usize = 256 << 20;

/// Exit code of a script that failed, or is none.
const FAILED: i32 = 1;

/// Runs a script: `lua NAME TEXT [ARGUMENT]...`, where NAME is what messages call it (rpm takes
/// `%pretrans(filesystem-3.18-1.x86_64)`), and the arguments become `arg[2]` and on, as numbers if
/// they look like it; `arg[1]` is `<lua>`. For file triggers, standard input has the names that
/// `rpm.next_file` returns, one a line.
///
/// Returns the exit code: 0, or 1 with the reason on standard error, in rpm's words. A script that
/// forked and ended without `posix.exec` in the new process has failed there (rpm's rule).
pub fn run(process: Process, argv: &[Vec<u8>]) -> i32 {
    let [_, name, text, arguments @ ..] = argv else {
        eprintln!("error: lua script failed: a name and a script are expected");
        return FAILED;
    };
    let script = Script { name, text, arguments };
    match script.run(Some(process)) {
        Ok(()) => 0,
        Err(failed) => {
            eprintln!("error: {failed}");
            FAILED
        }
    }
}
