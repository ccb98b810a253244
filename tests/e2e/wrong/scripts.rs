//! Scripts that fail: a package's own, and those of the spec.

use super::case::Case;

#[test]
fn a_maintainer_script_that_fails_ends_the_build() {
    let Some(case) = Case::new("maintainer") else { return };
    case.spec(&["tiny-broken"], "");
    case.build(&[])
        .with(4, &["failed to configure packages", "tiny-broken", "about to break", "the command was: dpkg"]);
    case.nothing_is_there().nobody_is_alive();
    case.spec(&["tiny-hello"], "");
    case.build(&[]).with(0, &[]);
    case.all_is_there();
    case.nothing_is_left();
}

#[test]
fn a_script_that_fails_is_told_with_its_line() {
    let Some(case) = Case::new("script") else { return };
    let more = |place: bool| format!("  scripts:\n    - {{path: ./setup.sh, args: [one], run_in_chroot: {place}}}\n");
    for (shell, inside) in [("#!/bin/sh", true), ("#!/bin/bash", true), ("#!/bin/bash", false)] {
        case.write("setup.sh", &format!("{shell}\nset -e\n\necho \"working on $1\"\n/bin/false \"a b\"\necho never\n"));
        case.spec(&[], &more(inside));
        let words = [
            "Script returned non-zero exit code: './setup.sh' ended with exit code 1",
            "working on one",
            "setup.sh:5: /bin/false",
            "setup.sh one",
            "--keep-temp",
        ];
        case.build(&[]).with(4, &words);
        case.nothing_is_there().nobody_is_alive();
    }
    case.write("setup.sh", "#!/bin/sh\necho fine > /etc/fine\n");
    case.spec(&[], &more(true));
    case.build(&[]).with(0, &[]);
    case.all_is_there();
    case.nothing_is_left();
}

#[test]
fn a_script_in_no_known_language_is_told_as_a_whole() {
    let Some(case) = Case::new("script-other") else { return };
    case.write("setup", "#!/usr/bin/env -S false\n");
    case.spec(&[], "  scripts:\n    - {path: ./setup, run_in_chroot: true}\n");
    case.build(&[]).with(4, &["Script returned non-zero exit code: './setup' ended with exit code 1"]);
    case.write("setup", "#!/usr/bin/nothing\n");
    case.build(&[]).with(4, &["'./setup'", "/usr/bin/nothing"]);
    case.nothing_is_there();
}

#[test]
fn a_build_that_is_not_reproducible_is_found_out_by_building_twice() {
    let Some(case) = Case::new("twice") else { return };
    case.write("setup.sh", "#!/bin/sh\necho fine > /etc/fine\n");
    case.spec(&["tiny-hello"], "  scripts:\n    - {path: ./setup.sh, run_in_chroot: true}\n");
    case.build(&["--check"]).with(0, &["built twice with the same result"]);
    case.all_is_there();
    case.write("setup.sh", "#!/bin/sh\nset -e\ncat /proc/sys/kernel/random/uuid > /etc/chance\n");
    case.build(&["--check", "--force"]).with(4, &["1 path differs", "/etc/chance"]);
    case.build(&["--check", "--stage", "compose", "--force"]).with(2, &["--check compares finished images"]);
}
