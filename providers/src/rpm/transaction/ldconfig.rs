//! Leaving out runs of ldconfig that nobody sees the effect of.

use super::action::{Action, Run};

/// Where ldconfig is called from.
const PROGRAMS: [&str; 4] = ["/sbin/ldconfig", "/usr/sbin/ldconfig", "/bin/ldconfig", "/usr/bin/ldconfig"];
/// What a Lua script starts other programs with: `posix.fork`, `posix.exec`, `rpm.execute`,
/// `os.execute`, `io.popen`, `rpm.spawn`.
const STARTS: [&[u8]; 4] = [b"fork", b"exec", b"popen", b"spawn"];

/// Leaves out the runs of ldconfig whose cache and links the next run makes anew before anybody
/// looks at them. Of several runs with no other script between them the last one stays where it is;
/// so every other script finds what it would have found, and so does who boots the image.
///
/// This holds since ldconfig makes both from the directories alone: what it does depends on the
/// files that are there, and not on how often it ran before. Nearly half of the scriptlets of a small
/// image are runs of ldconfig.
pub fn coalesce_ldconfig(actions: Vec<Action>) -> Vec<Action> {
    let mut is_kept = vec![true; actions.len()];
    let mut last: Option<usize> = None;
    for (at, action) in actions.iter().enumerate() {
        let Action::Script(run) = action else { continue };
        if is_ldconfig(run) {
            if let Some(superseded) = last.and_then(|last| is_kept.get_mut(last)) {
                *superseded = false;
            }
            last = Some(at);
        } else if starts_programs(run) {
            last = None;
        }
    }
    actions.into_iter().zip(is_kept).filter_map(|(action, is_kept)| is_kept.then_some(action)).collect()
}

/// Whether a run does nothing but call ldconfig.
fn is_ldconfig(run: &Run) -> bool {
    let is_program = |word: &str| PROGRAMS.contains(&word);
    match (run.interpreter.as_slice(), &run.body) {
        ([program], None) => is_program(program),
        ([shell], Some(body)) if matches!(&**shell, "/bin/sh" | "/usr/bin/sh" | "/bin/bash" | "/usr/bin/bash") => {
            let Ok(body) = std::str::from_utf8(body) else { return false };
            let mut lines = body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.next().is_some_and(is_program) && lines.next().is_none()
        }
        _ => false,
    }
}

/// Whether a run may start a program, which then may look into the cache.
fn starts_programs(run: &Run) -> bool {
    let Some(body) = run.body.as_deref().filter(|_| run.is_lua()) else { return true };
    STARTS.iter().any(|word| body.windows(word.len()).any(|part| part == *word))
}
