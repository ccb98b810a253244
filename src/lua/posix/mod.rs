//! The table `posix` (rpmio/lposix.c).
//!
//! Its functions return 0 or a value, and `nil`, words and errno when a call fails; numbers are
//! floats, which scripts see when they print them.

mod files;
mod process;
mod system;

use super::function::Body;

/// Names and functions.
pub(super) const FUNCTIONS: &[(&str, Body)] = &[
    ("access", files::access),
    ("chdir", files::chdir),
    ("chmod", files::chmod),
    ("chown", files::chown),
    ("dir", files::dir),
    ("files", files::files),
    ("getcwd", files::getcwd),
    ("link", files::link),
    ("mkdir", files::mkdir),
    ("mkfifo", files::mkfifo),
    ("mkstemp", files::mkstemp),
    ("readlink", files::readlink),
    ("rmdir", files::rmdir),
    ("stat", files::stat),
    ("symlink", files::symlink),
    ("umask", files::umask),
    ("unlink", files::unlink),
    ("utime", files::utime),
    ("exec", process::exec),
    ("fork", process::fork),
    ("getenv", process::getenv),
    ("getprocessid", process::getprocessid),
    ("kill", process::kill),
    ("putenv", process::putenv),
    ("setenv", process::setenv),
    ("setgid", process::setgid),
    ("setuid", process::setuid),
    ("sleep", process::sleep),
    ("unsetenv", process::unsetenv),
    ("wait", process::wait),
    ("ctermid", system::ctermid),
    ("errno", system::errno),
    ("getgroup", system::getgroup),
    ("getlogin", system::getlogin),
    ("getpasswd", system::getpasswd),
    ("pathconf", system::pathconf),
    ("sysconf", system::sysconf),
    ("times", system::times),
    ("ttyname", system::ttyname),
    ("uname", system::uname),
];
