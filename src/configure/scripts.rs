//! Scripts of the spec, in the image or on the build side.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use layers::{Content, RecipeBuilder, Stack};
use providers::distro::VolatilePath;
use sandbox::{Command, Step};

use super::trace;
use crate::compose::{Work, command_with, failure, mounted, run_step};
use crate::context::Context;
use crate::error::{Error, Kind, ResultExt};
use crate::spec::resolved::Script;

/// Grows whenever the same script may see another surrounding.
const SCRIPT_VERSION: u32 = 2;
/// Where a script lies while it runs in the image: in a lower directory on top, so that it never
/// becomes part of it. Not below /tmp or /run, over which the sandbox mounts its own.
const IN_IMAGE: &str = ".image-composer";

/// Runs one script on a stack; `position` tells scripts of the same name apart.
///
/// # Errors
/// The script ends with another exit code than 0, or changed since the spec was read.
pub fn run(
    cx: &Context,
    script: &Script,
    position: usize,
    volatile: &[VolatilePath],
    spec_directory: &Path,
    host: &HostDigest,
    stack: &mut Stack,
) -> Result<(), Error> {
    let mut recipe = RecipeBuilder::new("script", SCRIPT_VERSION)
        .list("below", stack.layers().iter().map(|layer| layer.id))
        .field("content", script.content.digest)
        .list("arguments", &script.args)
        .list("environment", script.environment.iter().map(|(name, value)| format!("{name}={value}")))
        .field("epoch", cx.epoch().to_le_bytes())
        .field("in the image", [u8::from(script.run_in_chroot)]);
    if !script.run_in_chroot {
        recipe = recipe.field("host", host.0.as_slice());
    }
    let title = format!("run {}", script.path);
    let started = Instant::now();
    let ran = run_step(cx, volatile, stack, &recipe.finish(), &title, |stack| {
        let bytes = read_checked(script)?;
        let argv = interpreter(&bytes);
        let hold = cx.work.stage().to("make a work directory")?;
        let steps = Run { cx, script, position, spec_directory, stack, top: hold.path() }.steps(&bytes, argv)?;
        Ok(Work {
            origin: failure::Origin::Script(script.path.clone()),
            steps,
            hold: vec![hold],
            note: None,
            tentative: false,
        })
    });
    ran.map_err(|error| {
        // Found by running it once more with the shell's trace on: the first run is never traced,
        // because a trace is seen by whatever reads the standard error of the script's commands.
        let traced = || {
            let bytes = read_checked(script).ok()?;
            let argv = trace::shell(&interpreter(&bytes))?;
            let hold = cx.work.stage().ok()?;
            let run = Run { cx, script, position, spec_directory, stack, top: hold.path() };
            let steps = run.steps(&bytes, argv).ok()?;
            trace::last_command(cx, steps, &script.path, &String::from_utf8_lossy(&bytes))
        };
        trace::tell(error, started.elapsed(), traced)
    })
}

/// One run of a script and its surroundings.
struct Run<'a> {
    cx: &'a Context,
    script: &'a Script,
    position: usize,
    spec_directory: &'a Path,
    stack: &'a Stack,
    /// An empty directory that stays until the script has run.
    top: &'a Path,
}

impl Run<'_> {
    /// What is done: the script is started by these words.
    fn steps(&self, bytes: &[u8], mut argv: Vec<String>) -> Result<Vec<Step>, Error> {
        let Self { cx, script, .. } = self;
        let variables: BTreeMap<&str, String> =
            script.environment.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let variables: Vec<(&str, String)> = variables.into_iter().collect();
        let mut above = Vec::new();
        let run = if script.run_in_chroot {
            argv.push(self.lay(bytes, &mut above)?);
            argv.extend(script.args.iter().cloned());
            Step::Run(command_with(&argv, cx.epoch(), &variables))
        } else {
            argv.push(format!("{}/{}", sandbox::HOST_VIEW_DIRECTORY, relative(script, self.spec_directory)?));
            argv.extend(script.args.iter().cloned());
            let command = Command {
                cwd: sandbox::HOST_VIEW_DIRECTORY.as_bytes().to_vec(),
                ..command_with(&argv, cx.epoch(), &variables)
            };
            Step::RunOnHost { command, directory: self.spec_directory.to_path_buf() }
        };
        let mut steps = mounted(self.stack, above);
        steps.push(run);
        Ok(steps)
    }

    /// Lays the script into a directory above the stack, and gives its path in the image.
    fn lay(&self, bytes: &[u8], above: &mut Vec<PathBuf>) -> Result<String, Error> {
        let name = Path::new(&self.script.path).file_name().map_or("script".into(), |name| name.to_string_lossy());
        let place = format!("{IN_IMAGE}/{:02}-{name}", self.position);
        let root = self.top.join("script");
        let (directory, file) = (root.join(IN_IMAGE), root.join(&place));
        let io = |source| Error::io(Kind::Build, "write", &file, source);
        std::fs::create_dir_all(&directory).map_err(io)?;
        std::fs::write(&file, bytes).map_err(io)?;
        // Whatever the umask: the topmost directory is what the script sees as the root.
        for path in [&root, &directory, &file] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(io)?;
        }
        above.push(root);
        Ok(format!("/{place}"))
    }
}

/// What the host gives to scripts on the build side, as a digest: such a step is not promised to
/// be the same on another machine.
#[derive(Clone, Debug, Default)]
pub struct HostDigest(pub Vec<u8>);

fn relative(script: &Script, directory: &Path) -> Result<String, Error> {
    let outside = || {
        Error::validation(format!(
            "failed to run '{}' on the build side: it lies outside the spec's directory",
            script.path
        ))
        .hint("scripts with run_in_chroot: false see the spec's own directory only; move it there")
    };
    let path = script.origin.strip_prefix(directory).map_err(|_| outside())?;
    Ok(path.to_str().ok_or_else(outside)?.to_owned())
}

/// Words before a script that cannot be started by itself: one without `#!` is the shell's.
fn interpreter(bytes: &[u8]) -> Vec<String> {
    if bytes.starts_with(b"#!") {
        // Its own first line says; the file may lack the executable bit on the build side.
        let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let words = String::from_utf8_lossy(&line[2..]).into_owned();
        let mut parts = words.trim().splitn(2, [' ', '\t']);
        let program = parts.next().unwrap_or("/bin/sh").to_owned();
        let mut argv = vec![program];
        // The kernel gives everything after the program as one argument (execve(2)).
        argv.extend(parts.next().map(|rest| rest.trim().to_owned()).filter(|rest| !rest.is_empty()));
        argv
    } else {
        vec!["/bin/sh".into()]
    }
}

fn read_checked(script: &Script) -> Result<Vec<u8>, Error> {
    let bytes =
        std::fs::read(&script.origin).map_err(|source| Error::io(Kind::Build, "read", &script.origin, source))?;
    if Content::of(&bytes) != script.content {
        return Err(Error::build(format!("failed to run '{}': it changed during the build", script.path))
            .hint("run the build again"));
    }
    Ok(bytes)
}

impl HostDigest {
    /// Of the machine's package database, which changes whenever what it gives changes.
    ///
    /// # Errors
    /// I/O errors other than "not there".
    pub fn of_machine() -> Result<Self, Error> {
        let mut digest = Vec::new();
        for path in ["/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/os-release"] {
            match std::fs::read(path) {
                Ok(bytes) => digest.extend_from_slice(layers::Blake3::of(&bytes).as_ref()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => digest.push(0),
                Err(error) => return Err(Error::io(Kind::Build, "read", Path::new(path), error)),
            }
        }
        Ok(Self(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::interpreter;

    #[test]
    fn a_script_runs_as_its_first_line_says() {
        assert_eq!(interpreter(b"echo hi\n"), ["/bin/sh"]);
        assert_eq!(interpreter(b"#!/usr/bin/env -S python3 -u\n"), ["/usr/bin/env", "-S python3 -u"]);
        assert_eq!(interpreter(b"#! /bin/bash\n"), ["/bin/bash"]);
    }
}
