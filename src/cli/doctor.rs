//! `doctor`: what this machine allows, and what would allow more.

use std::fmt::Write;
use std::path::Path;

use sandbox::{Check, Knob, Place, Rung};

use crate::config::Config;
use crate::error::{Error, Kind};

use super::print;

/// Prints each rung with its checks and which one a build would take, the places that a build uses,
/// and the settings that decide.
///
/// # Errors
/// No rung works here.
pub(super) fn run(config: Option<&Config>) -> Result<(), Error> {
    let checks = sandbox::probe();
    let chosen = sandbox::choose(None);
    let places: Vec<(&str, &Path)> =
        config.map_or(Vec::new(), |config| vec![("store", &config.cache_dir), ("work", &config.work_dir)]);
    print(
        &[
            rungs(&checks, chosen.as_ref().ok().copied()),
            said_of(&places),
            bounds(sandbox::control_group()),
            settings(&sandbox::knobs()),
        ]
        .concat(),
    )?;
    match chosen {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::new(Kind::Other, "no way to run package scripts works on this machine")
            .caused_by(error)
            .hint("validate, lock and `build --stage packages` work all the same")),
    }
}

fn rungs(checks: &[Check], chosen: Option<Rung>) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    for rung in Rung::ALL {
        let _ = writeln!(text, "{rung}{}", if chosen == Some(rung) { "  (builds use this one)" } else { "" });
        for check in checks.iter().filter(|check| check.rung == rung) {
            let mark = if check.ok { "ok  " } else { "FAIL" };
            let _ = writeln!(text, "  {mark} {}: {}", check.name, check.detail);
            for line in check.hint.iter().filter(|_| !check.ok).flat_map(|hint| hint.lines()) {
                let _ = writeln!(text, "         {line}");
            }
        }
    }
    text
}

/// What the file systems of these directories can do, or of the nearest directory above that is there.
fn said_of(places: &[(&str, &Path)]) -> String {
    let mut text = String::new();
    for (name, path) in places {
        let there = path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/"));
        let _ = writeln!(text, "{name}: {}", path.display());
        let _ = match sandbox::look_at(there) {
            Ok(Place { kind, refused: None }) => writeln!(text, "  ok   {kind}"),
            // The store's layers are only read through an overlay; any file system does.
            Ok(Place { kind, .. }) if *name == "store" => writeln!(text, "  ok   {kind}, which layers can lie on"),
            Ok(Place { kind, refused: Some(why) }) => writeln!(
                text,
                "  note {kind} cannot hold what the sandbox changes ({why}): it is kept in memory, 4 GiB at most\n         \
                 --work-dir or core.work_dir: a directory on ext4, xfs or btrfs (tmpfs from Linux 6.6 on)"
            ),
            Err(error) => writeln!(text, "  FAIL {}: {error}", there.display()),
        };
    }
    text
}

/// How the memory and the number of processes of scripts are bounded.
fn bounds(group: Result<&Path, &str>) -> String {
    match group {
        Ok(group) => format!("bounds\n  ok   held by control groups below {}\n", group.display()),
        Err(reason) => format!(
            "bounds\n  note watched four times a second, not held by a control group: {reason}\n         \
             systemd-run --user --scope -p Delegate=yes image-composer ..., where systemd runs the session\n"
        ),
    }
}

fn settings(knobs: &[Knob]) -> String {
    let mut text = String::from("settings\n");
    for Knob { name, value, hurts, decides, fix } in knobs {
        let _ = writeln!(text, "  {} {name} = {value}: {decides}", if *hurts { "note" } else { "ok  " });
        if *hurts {
            let _ = writeln!(text, "         {fix}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_says_what_to_do() {
        let check = |rung, ok| Check {
            rung,
            name: "newuidmap".into(),
            ok,
            detail: "not installed".into(),
            hint: Some("apt install uidmap".into()),
        };
        let text = rungs(&[check(Rung::Userns, false), check(Rung::UsernsSingle, true)], Some(Rung::UsernsSingle));
        assert!(text.contains("FAIL newuidmap: not installed\n         apt install uidmap"), "{text}");
        assert!(text.contains("userns-single  (builds use this one)\n  ok   newuidmap"), "{text}");
    }
}
