//! Programs in C that a shell cannot say, linked so that they run in any tree.

use super::Bench;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What reaches for the outside.
pub const OUTSIDE: &str = include_str!("../payloads/outside.c");
/// What takes too much.
pub const LIMITS: &str = include_str!("../payloads/limits.c");
/// What abuses the supervisor.
pub const SUPERVISOR: &str = include_str!("../payloads/supervisor.c");

/// Puts the program into the bench's tree as /bin/payload; `false` if there is no compiler.
pub fn put(bench: &Bench, source: &str) -> bool {
    let path = bench.busybox().join("bin/payload");
    let built = build(source, &path);
    if !built {
        super::skip("gcc with a static C library is not installed");
    }
    built
}

fn build(source: &str, path: &Path) -> bool {
    // No red zone: the 32-bit entry is called with a word pushed.
    let words = ["-O1", "-w", "-static", "-pthread", "-mno-red-zone", "-x", "c", "-o"];
    let child = Command::new("gcc").args(words).arg(path).arg("-").stdin(Stdio::piped()).spawn();
    let Ok(mut child) = child else { return false };
    // A compiler that is not there to the end leaves a broken pipe.
    let written = child.stdin.take().is_some_and(|mut stdin| stdin.write_all(source.as_bytes()).is_ok());
    let built = child.wait().is_ok_and(|status| status.success());
    let mode = std::fs::Permissions::from_mode(0o755);
    written && built && std::fs::set_permissions(path, mode).is_ok()
}
