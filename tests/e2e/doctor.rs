//! What `doctor` says on machines that allow less: made here with the kernel's own means.

use std::path::Path;
use std::process::Command;

use crate::support::{User, as_user, have, is_root, jail, program, strict};

/// `doctor` run as an ordinary user by these words of a shell, and its exit code.
fn doctor(user: User, words: &str) -> Option<(Option<i32>, String)> {
    if !is_root() || !have(&["setpriv", "unshare", "newuidmap"]) {
        assert!(!strict(), "with CI set the suite must run as root");
        println!("skipped: the suite must run as root to be other users");
        return None;
    }
    let script = words.replace("DOCTOR", &format!("{} doctor", program().display()));
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(Path::new("/"));
    let output = as_user(user, &command).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    println!("$ {words}\n{text}");
    Some((output.status.code(), text))
}

/// `doctor` run by root in a container of Docker's defaults, and its exit code.
fn jailed(words: &[&str]) -> Option<(Option<i32>, String)> {
    if !is_root() {
        assert!(!strict(), "with CI set the suite must run as root");
        println!("skipped: the suite must run as root to be root in a container");
        return None;
    }
    let output = Command::new(jail()).args(words).arg(program()).arg("doctor").output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    println!("$ jail {}\n{text}", words.join(" "));
    Some((output.status.code(), text))
}

/// The lines from a heading to the next one.
fn part(text: &str, heading: &str) -> String {
    let is_heading = |line: &&str| *line == heading || line.starts_with(&format!("{heading}  ("));
    let mut lines = text.lines().skip_while(|line| !is_heading(line));
    let first = lines.next().expect("the heading");
    let rest: Vec<&str> = lines.take_while(|line| line.starts_with(' ')).collect();
    format!("{first}\n{}", rest.join("\n"))
}

#[test]
fn each_user_gets_the_best_rung_there_is() {
    let Some((code, text)) = doctor(User::WithRange, "DOCTOR") else { return };
    assert_eq!(code, Some(0));
    assert!(part(&text, "userns").starts_with("userns  (builds use this one)"), "{text}");
    let (code, text) = doctor(User::WithoutRange, "DOCTOR").unwrap();
    assert_eq!(code, Some(0));
    assert!(part(&text, "userns").contains("usermod --add-subuids"), "{text}");
    assert!(part(&text, "userns-single").starts_with("userns-single  (builds use this one)"), "{text}");
}

#[test]
fn no_user_namespaces_left_is_told_with_the_sysctl() {
    let words = "unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec DOCTOR'";
    let Some((code, text)) = doctor(User::WithoutRange, words) else { return };
    assert_eq!(code, Some(1));
    assert!(part(&text, "userns-single").contains("sysctl -w user.max_user_namespaces="), "{text}");
    assert!(part(&text, "settings").contains("note user.max_user_namespaces = 0"), "{text}");
    assert!(text.contains("no way to run package scripts works on this machine"), "{text}");
}

#[test]
fn no_new_privileges_close_the_first_rung_only() {
    let Some((code, text)) = doctor(User::WithRange, "exec setpriv --no-new-privs DOCTOR") else { return };
    assert_eq!(code, Some(0));
    assert!(part(&text, "userns").contains("no_new_privs is set"), "{text}");
    assert!(part(&text, "userns-single").starts_with("userns-single  (builds use this one)"), "{text}");
    assert!(part(&text, "settings").contains("note NoNewPrivs = 1"), "{text}");
}

#[test]
fn a_masked_proc_is_told_with_the_option_of_the_container() {
    let words =
        "unshare -Urm sh -c 'mount -t tmpfs none /proc/acpi 2>/dev/null || mount -t tmpfs none /proc/bus; exec DOCTOR'";
    let Some((code, text)) = doctor(User::WithoutRange, words) else { return };
    assert_eq!(code, Some(1));
    assert!(part(&text, "userns-single").contains("systempaths=unconfined"), "{text}");
}

#[test]
fn a_work_directory_on_an_overlay_is_noted() {
    let words = "unshare -Urm sh -c 'mount -t tmpfs t /mnt && cd /mnt && mkdir l u w m && \
                 mount -t overlay o -o userxattr,lowerdir=l,upperdir=u,workdir=w m && exec DOCTOR --work-dir /mnt/m'";
    let Some((_, text)) = doctor(User::WithoutRange, words) else { return };
    assert!(part(&text, "work: /mnt/m").contains("note overlay cannot hold what the sandbox changes"), "{text}");
}

#[test]
fn root_in_a_container_gets_the_rung_without_namespaces() {
    let Some((code, text)) = jailed(&[]) else { return };
    for rung in ["userns", "userns-single"] {
        assert!(part(&text, rung).contains("seccomp=unconfined"), "{text}");
    }
    // Whether it takes a word depends on the kernel that the suite runs on.
    let walls = part(&text, "root").contains("ok   walls");
    assert_eq!((code, text.contains("root  (builds use this one)")), (Some(i32::from(!walls)), walls), "{text}");
    // Without landlock it does, whatever the kernel.
    let (code, text) = jailed(&["--no-landlock"]).unwrap();
    assert_eq!(code, Some(1));
    assert!(part(&text, "root").contains("FAIL walls: no landlock"), "{text}");
    assert!(part(&text, "root").contains("--rung root takes it as it is"), "{text}");
}

#[test]
fn without_the_capability_for_devices_that_rung_says_so() {
    let words = ["setpriv", "--bounding-set=-mknod", "--inh-caps=-mknod"];
    let Some((code, text)) = jailed(&words) else { return };
    assert_eq!(code, Some(1));
    assert!(part(&text, "root").contains("--cap-add MKNOD"), "{text}");
}
