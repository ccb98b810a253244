//! `doctor`: what this machine allows, and what would allow more.

use std::fmt::Write;

use sandbox::{Check, Rung};

use crate::error::{Error, Kind};

use super::print;

/// Prints each rung with its checks, and which one a build would take.
///
/// # Errors
/// No rung works here.
pub(super) fn run() -> Result<(), Error> {
    let checks = sandbox::probe();
    let chosen = sandbox::choose(None);
    print(&text(&checks, chosen.as_ref().ok().copied()))?;
    match chosen {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::new(Kind::Other, "no way to run package scripts works on this machine")
            .caused_by(error)
            .hint("validate and lock work all the same")),
    }
}

fn text(checks: &[Check], chosen: Option<Rung>) -> String {
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
        let text = text(&[check(Rung::Userns, false), check(Rung::UsernsSingle, true)], Some(Rung::UsernsSingle));
        assert!(text.contains("FAIL newuidmap: not installed\n         apt install uidmap"), "{text}");
        assert!(text.contains("userns-single  (builds use this one)\n  ok   newuidmap"), "{text}");
    }
}
