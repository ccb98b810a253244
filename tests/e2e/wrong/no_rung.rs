//! A machine that allows no rung at all: what needs no scripts works, and a build says what is
//! missing and how to get it.

use std::process::Command;
use std::time::Instant;

use super::case::{Case, Ended};
use crate::support::{as_user, have, program};

/// No user namespaces, and nobody's privileges: neither root nor its capabilities.
const NOTHING: &str = "unshare -U --map-user=1000 --map-group=1000 --keep-caps sh -c '\
                       echo 0 > /proc/sys/user/max_user_namespaces && \
                       exec setpriv --ambient-caps -all --inh-caps -all \"$@\"' sh \"$@\"";

/// `image-composer` with these words, on such a machine.
fn poor(case: &Case, words: &[&str]) -> Ended {
    let mut command = Command::new("sh");
    command.args(["-c", NOTHING, "sh"]).arg(program()).args(words).current_dir(&case.directory);
    command.env("XDG_CONFIG_HOME", case.directory.join("config"));
    command.env("XDG_CACHE_HOME", case.directory.join("default-cache"));
    let started = Instant::now();
    let output = as_user(case.user, &command).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
    println!("$ image-composer {} without a rung\n{text}-> {:?}\n", words.join(" "), output.status.code());
    Ended { code: output.status.code(), text, took: started.elapsed() }
}

#[test]
fn without_any_rung_only_what_needs_one_fails() {
    let Some(case) = Case::new("no-rung") else { return };
    if !have(&["unshare", "setpriv"]) {
        return;
    }
    case.spec(&["tiny-hello"], "");
    poor(&case, &["doctor"]).with(1, &["sysctl -w user.max_user_namespaces="]);
    poor(&case, &["validate", "small.yml"]).with(0, &[]);
    poor(&case, &["lock", "small.yml"]).with(0, &[]);
    poor(&case, &["build", "small.yml", "--stage", "packages"]).with(0, &[]);
    let missing = ["CLONE_NEWUSER", "sysctl -w user.max_user_namespaces=", "image-composer doctor"];
    poor(&case, &["build", "small.yml", "--force"]).with(4, &missing);
    for rung in ["userns", "userns-single"] {
        poor(&case, &["build", "small.yml", "--force", "--rung", rung]).with(4, &[rung]);
    }
    // The packages stage wrote its lock; a build that cannot be leaves nothing else.
    assert_eq!(case.output(), ["small.lock"]);
    case.nobody_is_alive();
    // What was locked and fetched there serves a build where there is a rung.
    case.build(&["--offline", "--force"]).with(0, &[]);
    case.all_is_there();
    case.nothing_is_left();
}
