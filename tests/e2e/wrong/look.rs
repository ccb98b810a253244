//! A look inside: a shell in the tree after a stage, and at the step that fails.

use std::io::Write;
use std::process::{Command, Stdio};

use super::case::Case;
use crate::support::{as_user, have};

fn with_script(name: &str, script: &str) -> Option<Case> {
    let case = Case::new(name)?;
    case.write("setup.sh", script);
    case.spec(&["tiny-hello"], "  scripts:\n    - {path: ./setup.sh, run_in_chroot: true}\n");
    Some(case)
}

impl Case {
    /// `image-composer shell` with this on its standard input.
    fn shell(&self, words: &[&str], input: &str) -> (Option<i32>, String) {
        let words = [&["shell", "small.yml", "-q", "--rung", self.user.rung()], words].concat();
        let mut command = self.command(&words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        println!("$ {}\n{text}-> {:?}", words.join(" "), output.status);
        (output.status.code(), text)
    }
}

#[test]
fn a_shell_shows_the_tree_after_a_stage_and_changes_nothing() {
    let Some(case) = with_script("look", "#!/bin/sh\necho fine > /etc/fine\n") else { return };
    assert_eq!(case.shell(&["--", "cat", "/etc/fine"], ""), (Some(0), "fine\n".into()));
    assert_eq!(case.shell(&["--stage", "compose", "--", "ls", "/etc/fine"], "").0, Some(2));
    assert_eq!(case.shell(&["--", "sh", "-c", "echo changed > /etc/fine; exit 7"], ""), (Some(7), String::new()));
    assert_eq!(case.shell(&[], "cat /etc/fine\nexit 3\n"), (Some(3), "fine\n".into()));
    assert_eq!(case.shell(&["--", "sh", "-c", "kill -9 $$"], "").0, Some(128 + 9));
    case.shell(&["--stage", "packages"], "").1.contains("leaves no tree").then_some(()).expect("no tree");
    case.nothing_is_left();
}

#[test]
fn a_shell_opens_at_the_step_that_fails() {
    let Some(case) = with_script("look-fails", "#!/bin/sh\ntouch /etc/half-done\nfalse\n") else { return };
    let shell = format!("`image-composer shell --rung {} small.yml` opens a shell just before", case.user.rung());
    case.build(&[]).with(4, &[&shell]);
    let look = "cat /.image-composer/00-setup.sh; ls /etc/half-done || echo not yet";
    let (code, text) = case.shell(&["--", "sh", "-c", look], "");
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("#!/bin/sh\ntouch /etc/half-done\n") && text.contains("not yet"), "{text}");
    case.spec(&["tiny-broken"], "");
    let (code, text) = case.shell(&["--", "dpkg-query", "-W", "-f", "${Package} ${Status}\\n", "tiny-broken"], "");
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("tiny-broken install ok unpacked"), "{text}");
    case.nobody_is_alive();
}

#[test]
fn a_shell_on_a_terminal_has_one_of_its_own() {
    for (name, script, code) in [("look-terminal", "true", 5), ("look-terminal-fails", "echo soon; false", 4)] {
        let Some(case) = with_script(name, &format!("#!/bin/sh\n{script}\n")) else { return };
        if !have(&["script"]) {
            return;
        }
        let shell = format!("{} shell small.yml --rung {}", crate::support::program().display(), case.user.rung());
        let mut command = Command::new("script");
        command.args(["-qec", &shell, "/dev/null"]).current_dir(&case.directory);
        command.env("XDG_CONFIG_HOME", case.directory.join("config")).env("TERM", "vt100");
        command.env("PATH", std::env::var("PATH").unwrap_or_default());
        let mut command = as_user(case.user, &command);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let typed = "test -t 0 && test -t 1 && echo on-$TERM-$((20 + 22)); sleep 1; exec 3<>/dev/tty && echo mine >&3; exit 5\n";
        // What is typed before the shell is there waits in the terminal, as a person's keys do.
        child.stdin.as_mut().unwrap().write_all(typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}");
        // Nothing else is drawn between the two, though they are a second apart.
        assert!(text.contains("on-vt100-42\r\nmine\r\n"), "{text:?}");
        assert_eq!(output.status.code(), Some(code));
        case.nobody_is_alive();
    }
}
