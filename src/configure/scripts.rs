//! Scripts of the spec, in the image or on the build side.

use std::collections::BTreeMap;
use std::path::Path;

use layers::{Content, KeyBuilder, Stack};
use providers::distro::VolatilePath;
use sandbox::{Command, Placed, Step};

use crate::compose::{Work, command_with, failure, materialise, run_step};
use crate::context::Context;
use crate::error::{Error, Kind};
use crate::spec::resolved::Script;

/// Grows whenever the same script may see another surrounding.
const SCRIPT_VERSION: u32 = 1;
/// Where a script lies while it runs in the image: on a tmpfs of the sandbox.
const IN_IMAGE: &str = "tmp";

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
    let mut key = KeyBuilder::new("script", SCRIPT_VERSION)
        .list("below", stack.layers().iter().map(|layer| layer.id))
        .field("content", script.content.digest)
        .list("arguments", &script.args)
        .list("environment", script.environment.iter().map(|(name, value)| format!("{name}={value}")))
        .field("epoch", cx.epoch().to_le_bytes())
        .field("in the image", [u8::from(script.run_in_chroot)]);
    if !script.run_in_chroot {
        key = key.field("host", host.0.as_slice());
    }
    let title = format!("run {}", script.path);
    run_step(cx, volatile, stack, &key.finish(), &title, |stack| {
        let bytes = read_checked(script)?;
        let mut steps = vec![Step::Stack { lowers: stack.lower_directories(), keep: Vec::new() }];
        steps.extend(materialise(stack));
        let name = Path::new(&script.path).file_name().map_or("script".into(), |name| name.to_string_lossy());
        let variables: BTreeMap<&str, String> =
            script.environment.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let variables: Vec<(&str, String)> = variables.into_iter().collect();
        if script.run_in_chroot {
            let place = format!("{IN_IMAGE}/{position:02}-{name}");
            steps.push(Step::Place {
                path: place.clone().into_bytes(),
                what: Placed::File(bytes.clone()),
                mode: Some(0o755),
                uid: 0,
                gid: 0,
                mtime: None,
                xattrs: Vec::new(),
            });
            let mut argv = interpreter(&bytes);
            argv.push(format!("/{place}"));
            argv.extend(script.args.iter().cloned());
            steps.push(Step::Run(command_with(&argv, cx.epoch(), &variables)));
        } else {
            let inside = format!("{}/{}", sandbox::HOST_VIEW_DIRECTORY, relative(script, spec_directory)?);
            let mut argv = interpreter(&bytes);
            argv.push(inside);
            argv.extend(script.args.iter().cloned());
            let command = Command {
                cwd: sandbox::HOST_VIEW_DIRECTORY.as_bytes().to_vec(),
                ..command_with(&argv, cx.epoch(), &variables)
            };
            steps.push(Step::RunOnHost { command, directory: spec_directory.to_path_buf() });
        }
        Ok(Work { origin: failure::Origin::Script(script.path.clone()), steps, hold: Vec::new() })
    })
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
