//! A terminal for a command, of its own.

use super::Case;
use crate::support::{Bench, shell, stack};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use sandbox::{Cancel, Command, Event, Step, run_at};

pub const CASES: &[Case] = &[("a_command_gets_the_terminal_that_it_asks_for", own)];

fn own(bench: &Bench) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let outer = openpt(flags).expect("a terminal");
    grantpt(&outer).expect("grantpt");
    unlockpt(&outer).expect("unlockpt");
    let inner = ioctl_tiocgptpeer(&outer, flags).expect("its other end");
    tcsetwinsize(&outer, Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
    rustix::io::write(&outer, b"hello\n").expect("keys");
    let talk = "test -t 0 && test -t 1 && test -t 2; read line; echo got $line; stty size; echo mine >/dev/tty";
    let steps = vec![
        stack(&[bench.busybox()]),
        Step::Run(shell("test -t 0 || test -t 1 || test -t 2 || echo none; echo x >/dev/tty || echo no tty")),
        Step::Run(Command { terminal: true, ..shell(talk) }),
    ];
    let mut lines = String::new();
    let mut observer = |event: Event<'_>| {
        if let Event::Line { text, .. } = event {
            lines.push_str(&String::from_utf8_lossy(text));
            lines.push('\n');
        }
    };
    run_at(Some(inner), &bench.session(steps), &mut observer, &Cancel::new()).expect("the session");
    assert!(lines.contains("none\n") && lines.contains("no tty\n"), "{lines}");
    let (mut said, mut block) = (String::new(), [0u8; 4096]);
    // EIO once nobody has the other end open.
    while let Ok(count @ 1..) = rustix::io::read(&outer, &mut block) {
        said.push_str(&String::from_utf8_lossy(&block[..count]));
    }
    for word in ["got hello\r\n", "33 77\r\n", "mine\r\n"] {
        assert!(said.contains(word), "no {word:?} in {said:?}");
    }
}
