//! A payload that means harm, and what it does not reach.

use super::Case;
use crate::support::{Bench, paths, run, shell, stack};
use sandbox::{Cancel, Command, Error, Limits, Status, Step};
use std::fs;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    ("no_network", network),
    ("no_environment_and_no_home", environment),
    ("no_descriptor_is_inherited", descriptors),
    ("only_its_own_processes", processes),
    ("no_mounts_and_no_namespaces", mounts),
    ("knobs_of_the_machine_stay", knobs),
    ("the_helper_cannot_be_written", helper_file),
    ("devices_of_the_machine_keep_their_modes", device_modes),
    ("daemons_die_with_their_step", daemons),
    ("a_failing_command_ends_the_session", failing),
    ("a_missing_program_says_so", missing),
    ("listed_exit_codes_are_fine", listed),
    ("time_is_bounded", time),
    ("processes_are_bounded", forks),
    ("memory_is_bounded", memory),
    ("bytes_are_bounded", disk),
    ("cancelling_kills_everything", cancelling),
    ("killing_the_helper_leaves_nothing", killing),
    ("sync_costs_nothing_and_succeeds", sync),
    ("standard_input_is_what_was_given", input),
    ("the_build_side_sees_usr_and_the_image", build_side),
    ("the_build_side_cannot_write_the_machine", build_side_writes),
    ("links_do_not_lead_out", links),
];

/// Whether there are no namespaces, and the filter alone keeps things apart.
fn is_bare(bench: &Bench) -> bool {
    bench.rung == sandbox::Rung::Root
}

fn network(bench: &Bench) {
    if is_bare(bench) {
        let outcome = bench.script(
            "ip -o link 2>&1 | cut -d: -f2-; nc -w 1 127.0.0.1 22 </dev/null 2>&1 || echo none
             ping -c 1 -W 1 127.0.0.1 2>&1 || echo none",
        );
        let refused = "socket: Address family not supported by protocol";
        assert_eq!(outcome.output.matches(refused).count(), 3, "{}", outcome.output);
        assert_eq!(outcome.output.matches("none").count(), 2, "{}", outcome.output);
        outcome.captured();
        return;
    }
    let outcome = bench.script(
        "ip -o link | cut -d: -f2; ip route; nc -w 1 1.1.1.1 53 </dev/null 2>/dev/null || echo none
         ping -c 1 -W 1 127.0.0.1 >/dev/null && echo loopback",
    );
    assert_eq!(outcome.output, " lo\nnone\nloopback\n");
    outcome.captured();
}

fn environment(bench: &Bench) {
    let steps = vec![
        stack(&[bench.busybox()]),
        Step::Run(Command {
            argv: vec![b"/bin/env".to_vec()],
            env: vec![(b"A".to_vec(), b"b".to_vec())],
            ..Command::default()
        }),
        Step::Run(shell("ls -a /home /root; ls /; hostname; umask")),
    ];
    let outcome = bench.run(steps);
    let expected = "A=b\n/home:\n.\n..\n\n/root:\n.\n..\nbin\ndev\netc\nhome\nproc\nroot\nrun\n\
                    sys\ntmp\nusr\nvar\nlocalhost\n0022\n";
    assert_eq!(outcome.output, expected);
    outcome.captured();
}

fn descriptors(bench: &Bench) {
    // ls opens one more: the directory itself.
    let outcome = bench.script("ls /proc/self/fd | grep -v 3; cat /proc/self/mountinfo | grep -c ' / / ' ");
    assert_eq!(outcome.output, "0\n1\n2\n1\n");
    outcome.captured();
}

fn processes(bench: &Bench) {
    let outcome = bench.script(
        "set -- /proc/[0-9]*; echo $#; cat /proc/1/environ /proc/1/maps 2>/dev/null | wc -c
         readlink /proc/1/exe || echo hidden; ls /proc/1/root/ >/dev/null 2>&1 || echo hidden
         kill -9 1 2>/dev/null || true; sleep 0.1; echo alive; cat /proc/cmdline /proc/swaps | wc -c",
    );
    // Pid 1 and the shell; without a procfs no process is listed, and the pattern stays as it is.
    let listed = if is_bare(bench) { 1 } else { 2 };
    assert_eq!(outcome.output, format!("{listed}\n0\nhidden\nhidden\nalive\n0\n"));
    outcome.captured();
}

fn mounts(bench: &Bench) {
    let outcome = bench.script(
        "mount -t tmpfs none /mnt 2>/dev/null || echo refused
         umount /proc 2>/dev/null || echo refused
         unshare -U true 2>/dev/null || echo refused
         unshare -m true 2>/dev/null || echo refused
         hostname other 2>/dev/null || echo refused
         date -s 2000-01-01 >/dev/null 2>&1; test $(date +%Y) = 2000 || echo refused",
    );
    assert_eq!(outcome.output, "refused\n".repeat(6));
    outcome.captured();
}

fn knobs(bench: &Bench) {
    let pattern = || fs::read("/proc/sys/kernel/core_pattern").unwrap();
    let before = pattern();
    let outcome = bench.script(
        "(echo x > /proc/sys/kernel/core_pattern) 2>/dev/null || echo refused
         (echo h > /proc/sysrq-trigger) 2>/dev/null || echo refused",
    );
    // Without a procfs these are plain files that end with the step.
    let refused = if is_bare(bench) { "" } else { "refused\nrefused\n" };
    assert_eq!(outcome.output, refused);
    assert_eq!(pattern(), before);
    assert!(paths(&outcome.captured()).is_empty());
}

/// The way of CVE-2019-5736: a program of the image that is a link to the helper itself.
fn helper_file(bench: &Bench) {
    let me = std::env::current_exe().unwrap();
    let before = fs::read(&me).unwrap();
    let base = bench.busybox();
    fs::write(base.join("bin/evil"), "#!/proc/self/exe\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(base.join("bin/evil"), mode).unwrap();
    let outcome = bench.run(vec![
        stack(&[base]),
        Step::Run(shell(
            "(exec /bin/evil) & pid=$!; for i in 1 2 3 4 5 6 7 8 9; do
             (echo x > /proc/$pid/exe) 2>/dev/null && echo written; done; wait; exit 0",
        )),
    ]);
    assert!(!outcome.output.contains("written"));
    outcome.captured();
    assert_eq!(fs::read(me).unwrap().len(), before.len());
}

fn device_modes(bench: &Bench) {
    use std::os::unix::fs::PermissionsExt;
    let outcome = bench.script(
        "chmod 600 /dev/null 2>/dev/null || echo refused; chown 5 /dev/zero 2>/dev/null || echo refused
         echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c
         rm /dev/null 2>/dev/null || echo busy",
    );
    // Without mounts the nodes are the payload's own, and end with the step.
    let refused = if is_bare(bench) { "3\n3\n" } else { "refused\nrefused\n3\n3\nbusy\n" };
    assert_eq!(outcome.output, refused);
    outcome.captured();
    assert_eq!(fs::metadata("/dev/null").unwrap().permissions().mode() & 0o777, 0o666);
}

fn daemons(bench: &Bench) {
    let begin = Instant::now();
    let steps = vec![
        stack(&[bench.busybox()]),
        Step::Run(shell("setsid sleep 31415 & (sleep 31415 &) ; trap '' TERM; echo done")),
        Step::Run(shell("set -- /proc/[0-9]*; echo $#")),
    ];
    let outcome = bench.run(steps);
    // pid 1 and the shell.
    assert_eq!(outcome.output, if is_bare(bench) { "done\n1\n" } else { "done\n2\n" });
    assert_eq!(marked("31415"), 0);
    assert!(begin.elapsed() < Duration::from_secs(30));
    outcome.captured();
}

fn failing(bench: &Bench) {
    let outcome = bench.script("echo before; touch /etc/x; chown 5 /etc/x; exit 3");
    assert_eq!(outcome.output, "before\n");
    match outcome.error() {
        Error::Command { index: 1, status: Status::Exited(3), command } => {
            assert!(command.starts_with("sh -ec 'echo before;"), "{command}");
        }
        other => panic!("{other:?}"),
    }
    // Nothing that only another id could remove stays.
    assert!(fs::read_dir(bench.path("scratch")).unwrap().next().is_none());
    let killed = bench.script("kill -9 $$").error();
    assert!(matches!(killed, Error::Command { status: Status::Killed(9), .. }), "{killed:?}");
}

fn missing(bench: &Bench) {
    let command = Command { argv: vec![b"no-such".to_vec()], ..Command::default() };
    let error = bench.run(vec![stack(&[bench.busybox()]), Step::Run(command)]).error();
    let text = error.to_string();
    assert!(text.contains("execve") && text.contains("/bin/no-such"), "{text}");
}

fn listed(bench: &Bench) {
    let command = Command { ok: vec![3], ..shell("exit 3") };
    bench.run(vec![stack(&[bench.busybox()]), Step::Run(command)]).captured();
    // As a shell has it: a program that is not there, an end by a signal.
    let absent = Command { argv: vec![b"no-such".to_vec()], ok: vec![127], ..Command::default() };
    let ended = Command { ok: vec![128 + 15], ..shell("kill -TERM $$; sleep 9") };
    let steps = vec![stack(&[bench.busybox()]), Step::Run(absent), Step::Run(ended)];
    let outcome = bench.run(steps);
    assert!(outcome.output.contains("/bin/no-such"), "{}", outcome.output);
    outcome.captured();
    let killed = Command { ok: (1..256).collect(), ..shell("kill -KILL $$") };
    bench.run(vec![stack(&[bench.busybox()]), Step::Run(killed)]).error();
}

pub fn limited(bench: &Bench, text: &str, limits: Limits) -> Error {
    let begin = Instant::now();
    let steps = vec![stack(&[bench.busybox()]), Step::Run(shell(text))];
    let mut session = bench.session(steps);
    session.limits = limits;
    let error = run(&session, &Cancel::new()).error();
    assert!(begin.elapsed() < Duration::from_secs(60), "{error}");
    error
}

fn time(bench: &Bench) {
    let limits = Limits { seconds: 1, ..Limits::default() };
    let error = limited(bench, "trap '' TERM INT; sleep 100", limits);
    assert!(matches!(&error, Error::Limit { what, .. } if what == "time"), "{error:?}");
}

fn forks(bench: &Bench) {
    let limits = Limits { processes: 100, seconds: 30, ..Limits::default() };
    // Either the kernel refuses, or the watchdog stops it: in both cases it ends.
    let error = limited(bench, "f() { f | f & }; f; sleep 4; exit 9", limits.clone());
    assert!(matches!(error, Error::Limit { .. } | Error::Command { .. }), "{error:?}");
    let error = limited(bench, "i=0; while [ $i -lt 110 ]; do sleep 20 & i=$((i+1)); done; wait", limits);
    assert!(matches!(&error, Error::Limit { what, .. } if what == "processes"), "{error:?}");
}

fn memory(bench: &Bench) {
    let limits = Limits { memory: 100 << 20, seconds: 50, ..Limits::default() };
    // awk doubles a string until it is stopped.
    let error = limited(
        bench,
        "awk 'BEGIN { s = \"x\"; while (length(s) < 400000000) s = s s; system(\"sleep 20\") }'",
        limits,
    );
    assert!(matches!(&error, Error::Limit { what, .. } if what == "memory"), "{error:?}");
}

fn disk(bench: &Bench) {
    let limits = Limits { upper_bytes: 20 << 20, seconds: 50, ..Limits::default() };
    let text = "for i in 1 2 3 4; do dd if=/dev/zero of=/etc/$i bs=1M count=10 2>/dev/null; done; sleep 20";
    let error = limited(bench, text, limits.clone());
    assert!(matches!(&error, Error::Limit { what, .. } if what == "bytes written"), "{error:?}");
    let error = limited(bench, "dd if=/dev/zero of=/etc/big bs=1M count=30 2>/dev/null", limits.clone());
    assert!(matches!(&error, Error::Command { .. } | Error::Limit { .. }), "{error:?}");
    let tmp = Limits { tmpfs_bytes: 1 << 20, ..limits };
    let error = limited(bench, "dd if=/dev/zero of=/tmp/big bs=1M count=30 2>/dev/null", tmp);
    assert!(matches!(&error, Error::Command { .. }), "{error:?}");
}

/// Processes of this machine whose command line holds a mark that only one test uses.
pub fn marked(mark: &str) -> usize {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    entries
        .flatten()
        .filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).split('\0').any(|word| word == mark)
        })
        .count()
}

fn cancelling(bench: &Bench) {
    let cancel = Cancel::new();
    let seconds = format!("{}.5", 100_000 + std::process::id());
    let steps = vec![
        stack(&[bench.busybox()]),
        Step::Run(shell(&format!("touch /etc/x; chown 7 /etc/x; echo up; sleep {seconds}"))),
    ];
    let session = bench.session(steps);
    let flag = cancel.clone();
    let mut saw = false;
    let mut observer = |event: sandbox::Event<'_>| {
        if let sandbox::Event::Line { .. } = event {
            saw = true;
            flag.cancel();
        }
    };
    let error = sandbox::run(&session, &mut observer, &cancel).expect_err("cancelled");
    assert!(saw && matches!(error, Error::Cancelled), "{error:?}");
    assert_eq!(marked(&seconds), 0);
    assert!(fs::read_dir(bench.path("scratch")).unwrap().next().is_none());
}

fn killing(bench: &Bench) {
    let seconds = format!("{}.25", 100_000 + std::process::id());
    let steps = vec![
        stack(&[bench.busybox()]),
        Step::Run(shell(&format!("touch /etc/x; chown 7 /etc/x; echo up; sleep {seconds}"))),
    ];
    let session = bench.session(steps);
    let me = std::process::id();
    let mut observer = |event: sandbox::Event<'_>| {
        if let sandbox::Event::Line { .. } = event {
            // The helper is our only child.
            let children = fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap();
            for pid in children.split_whitespace() {
                std::process::Command::new("kill").args(["-9", pid]).status().unwrap();
            }
        }
    };
    let error = sandbox::run(&session, &mut observer, &Cancel::new()).expect_err("killed");
    assert!(matches!(error, Error::Helper { .. }), "{error:?}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while marked(&seconds) > 0 {
        assert!(Instant::now() < deadline, "the payload outlives the helper");
        std::thread::sleep(Duration::from_millis(20));
    }
    sandbox::sweep(&bench.path("scratch")).unwrap();
    assert!(fs::read_dir(bench.path("scratch")).unwrap().next().is_none());
}

fn sync(bench: &Bench) {
    let outcome = bench.script("sync; echo x > /etc/x; dd if=/etc/x of=/etc/y conv=fsync 2>/dev/null; echo ok");
    assert_eq!(outcome.output, "ok\n");
    outcome.captured();
}

fn input(bench: &Bench) {
    let command =
        Command { stdin: b"one\ntwo".to_vec(), ..shell("cat; echo; (echo x >&0) 2>/dev/null || echo sealed") };
    let outcome = bench.run(vec![stack(&[bench.busybox()]), Step::Run(command), Step::Run(shell("cat"))]);
    assert_eq!(outcome.output, "one\ntwo\nsealed\n");
    outcome.captured();
}

fn on_host(bench: &Bench, text: &str) -> Step {
    let directory = bench.path("spec");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("file"), "from the spec").unwrap();
    Step::RunOnHost { command: shell(text), directory }
}

fn build_side(bench: &Bench) {
    if is_bare(bench) {
        let error = bench.run(vec![stack(&[bench.busybox()]), on_host(bench, "true")]).error();
        assert!(error.hint().is_some_and(|hint| hint.contains("run_in_chroot")), "{error}");
        return;
    }
    let text = "echo $IMAGE_ROOT; cat /spec/file; echo; ls /; ls /image/etc; id -un
                cp /spec/file /image/etc/copied; chown 12:13 /image/etc/copied
                stat -c '%u:%g' /image/etc/copied; awk 'BEGIN { print 1 + 1 }'; pwd";
    let outcome = bench.run(vec![stack(&[bench.busybox()]), on_host(bench, text)]);
    let listing = outcome.output.clone();
    assert!(listing.starts_with("/image\nfrom the spec\n"), "{listing}");
    assert!(!listing.contains("home\n") && !listing.contains("run\n"), "{listing}");
    assert!(listing.ends_with("group\npasswd\nroot\n12:13\n2\n/\n"), "{listing}");
    let captured = outcome.captured();
    assert_eq!(crate::support::entry(&captured, "etc/copied").uid, 12);
    assert_eq!(crate::support::paths(&captured), ["etc", "etc/copied"]);
}

fn build_side_writes(bench: &Bench) {
    if is_bare(bench) {
        return;
    }
    let text = "for f in /usr/x /spec/x /spec/file /etc/x /x /bin/x; do
                (echo x > $f) 2>/dev/null && echo written $f; done; echo x > /tmp/x; echo done";
    let outcome = bench.run(vec![stack(&[bench.busybox()]), on_host(bench, text)]);
    assert_eq!(outcome.output, "done\n");
    outcome.captured();
    assert_eq!(fs::read(bench.path("spec/file")).unwrap(), b"from the spec");
}

fn links(bench: &Bench) {
    let secret = bench.path("secret");
    fs::create_dir(&secret).unwrap();
    let base = bench.busybox();
    std::os::unix::fs::symlink(&secret, base.join("out")).unwrap();
    std::os::unix::fs::symlink("../../../../../../../..", base.join("up")).unwrap();
    let place = |path: String| Step::Place {
        path: path.into_bytes(),
        what: sandbox::Placed::File(b"x".to_vec()),
        mode: None,
        uid: 3,
        gid: 3,
        mtime: None,
        xattrs: Vec::new(),
    };
    let error = bench.run(vec![stack(std::slice::from_ref(&base)), place("out/x".into())]).error();
    assert!(matches!(error, Error::System { .. }), "{error:?}");
    // Up and up stays in the tree.
    let up = format!("up{}/x", secret.parent().unwrap().display());
    let error = bench.run(vec![stack(std::slice::from_ref(&base)), place(up)]).error();
    assert!(matches!(error, Error::System { .. }), "{error:?}");
    let outcome = bench.run(vec![
        stack(&[base]),
        Step::Run(shell("chown 5 /up/etc/passwd; stat -c %u /up/up/etc/passwd; ls /out 2>/dev/null || echo nothing")),
    ]);
    assert_eq!(outcome.output, "5\nnothing\n");
    outcome.captured();
    assert!(fs::read_dir(secret).unwrap().next().is_none());
}
