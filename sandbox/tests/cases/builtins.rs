//! Functions of the program in the place of a command: what they can do, and that they are shut in
//! as a command is.

use super::Case;
use crate::support::{Bench, Outcome, entry, paths, shell, stack};
use caps::{CapSet, Capability};
use sandbox::{Builtin, Command, Error, Process, Rung, Status, Step};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

pub const CASES: &[Case] = &[
    ("a_builtin_works_in_the_tree", works),
    ("a_builtin_needs_nothing_of_the_image", bare_tree),
    ("a_builtin_inherits_no_descriptor", descriptors),
    ("a_builtin_has_the_environment_it_was_given", environment),
    ("a_builtin_has_the_capabilities_of_a_command", capabilities),
    ("a_builtin_does_not_leave_its_root", walls),
    ("a_builtin_forks_and_executes", children),
    ("a_builtin_that_fails_says_so", failing),
    ("an_unknown_builtin_is_refused", unknown),
];

pub const BUILTINS: &[Builtin] = &[
    Builtin { name: "work", run: work },
    Builtin { name: "descriptors", run: list_descriptors },
    Builtin { name: "environment", run: list_environment },
    Builtin { name: "capabilities", run: list_capabilities },
    Builtin { name: "escape", run: escape },
    Builtin { name: "fork", run: fork },
    Builtin { name: "exit", run: |_, argv| argv.len() as i32 },
    Builtin { name: "panic", run: |_, _| panic!("on purpose") },
];

fn builtin(words: &[&str]) -> Command {
    Command {
        argv: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: vec![(b"A".to_vec(), b"b=c".to_vec()), (b"PATH".to_vec(), b"/bin".to_vec())],
        builtin: true,
        ..Command::default()
    }
}

fn call(bench: &Bench, words: &[&str]) -> Outcome {
    bench.run(vec![stack(&[bench.busybox()]), Step::Run(builtin(words))])
}

fn work(_: Process, argv: &[Vec<u8>]) -> i32 {
    fs::create_dir_all("/var/made/below").unwrap();
    fs::set_permissions("/var/made", fs::Permissions::from_mode(0o2751)).unwrap();
    fs::write("/var/made/file", &argv[1]).unwrap();
    std::os::unix::fs::chown("/var/made/file", Some(12), Some(34)).unwrap();
    let made = fs::metadata("/var/made/file").unwrap();
    println!("{}:{} {}", made.uid(), made.gid(), std::env::current_dir().unwrap().display());
    std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
    0
}

fn works(bench: &Bench) {
    let command = Command { cwd: b"/etc".to_vec(), stdin: b"given\n".to_vec(), ..builtin(&["work", "text"]) };
    let outcome = bench.run(vec![
        stack(&[bench.busybox()]),
        Step::Run(command),
        Step::Run(shell("stat -c '%u:%g %a' /var/made/file; cat /var/made/file")),
    ]);
    assert_eq!(outcome.output, "12:34 /etc\ngiven\n12:34 644\ntext\n");
    let captured = outcome.captured();
    assert_eq!(entry(&captured, "var/made").mode & 0o7777, 0o2751);
    let file = entry(&captured, "var/made/file");
    assert_eq!((file.uid, file.gid), (12, 34));
}

fn bare_tree(bench: &Bench) {
    let empty = bench.path("empty");
    fs::create_dir(&empty).unwrap();
    fs::create_dir(empty.join("var")).unwrap();
    let outcome = bench.run(vec![stack(&[empty]), Step::Run(builtin(&["work", "x"]))]);
    assert_eq!(outcome.output, "12:34 /\n");
    assert!(paths(&outcome.captured()).contains(&"var/made/below".to_owned()));
}

fn list_descriptors(_: Process, _: &[Vec<u8>]) -> i32 {
    // Without namespaces nothing lists them; but the kernel gives the lowest number that is free.
    let files: Vec<_> = (0..200).map(|_| fs::File::open("/etc/passwd").unwrap()).collect();
    let numbers: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
    println!("{}", numbers.iter().copied().eq(3..203));
    0
}

fn descriptors(bench: &Bench) {
    let outcome = call(bench, &["descriptors"]);
    assert_eq!(outcome.output, "true\n");
    outcome.captured();
}

fn list_environment(process: Process, _: &[Vec<u8>]) -> i32 {
    let list = || println!("{:?}", std::env::vars_os().collect::<std::collections::BTreeMap<_, _>>());
    list();
    process.set_variable(b"A", None).unwrap();
    process.set_variable(b"B", Some(b"2")).unwrap();
    list();
    println!("{} {}", process.set_variable(b"", None).is_err(), process.set_variable(b"x=", Some(b"")).is_err());
    0
}

fn environment(bench: &Bench) {
    let outcome = call(bench, &["environment"]);
    let expected = "{\"A\": \"b=c\", \"PATH\": \"/bin\"}\n{\"B\": \"2\", \"PATH\": \"/bin\"}\ntrue true\n";
    assert_eq!(outcome.output, expected);
    outcome.captured();
}

fn list_capabilities(_: Process, _: &[Vec<u8>]) -> i32 {
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Bounding] {
        let held = caps::read(None, set).unwrap();
        let held = held.iter().map(|capability| 1u64 << capability.index()).sum::<u64>();
        println!("{held:016x}");
    }
    println!("{}", caps::has_cap(None, CapSet::Permitted, Capability::CAP_SYS_ADMIN).unwrap());
    0
}

fn capabilities(bench: &Bench) {
    let outcome = call(bench, &["capabilities"]);
    let lines: Vec<_> = outcome.output.lines().map(str::to_owned).collect();
    assert_eq!((lines[0].as_str(), lines[1].as_str(), lines[4].as_str()), (&*lines[3], &*lines[3], "false"));
    outcome.captured();
    if bench.rung == Rung::Root {
        return;
    }
    let command = bench.script("for name in Eff Prm Inh Bnd; do grep Cap$name /proc/self/status | cut -f2; done");
    assert_eq!(command.output.lines().collect::<Vec<_>>(), lines[..4]);
    command.captured();
}

fn escape(_: Process, argv: &[Vec<u8>]) -> i32 {
    use std::os::unix::ffi::OsStrExt;
    let outside = std::path::Path::new(std::ffi::OsStr::from_bytes(&argv[1]));
    let up = std::path::Path::new("../../../../../../..").join(outside.strip_prefix("/").unwrap());
    println!("{} {}", outside.exists(), up.exists());
    let unshared = std::process::Command::new("/bin/busybox").args(["unshare", "-m", "true"]).output();
    println!("{}", unshared.is_ok_and(|output| output.status.success()));
    // A root of its own below it, and then up from a directory that lies outside of that.
    let chrooted = fs::create_dir("/var/inner").is_ok() && rustix::process::chroot("/var/inner").is_ok();
    println!("{} {}", up.exists(), chrooted && outside.exists());
    let mounted = rustix::mount::mount("none", "/", "tmpfs", rustix::mount::MountFlags::empty(), None);
    println!("{}", mounted.is_ok());
    0
}

fn walls(bench: &Bench) {
    let mark = bench.path("outside");
    fs::write(&mark, "x").unwrap();
    let outcome = call(bench, &["escape", mark.to_str().unwrap()]);
    assert_eq!(outcome.output, "false false\nfalse\nfalse false\nfalse\n");
    outcome.captured();
}

fn fork(process: Process, _: &[Vec<u8>]) -> i32 {
    let Some(pid) = process.fork().unwrap() else {
        std::os::unix::fs::chown("/var", Some(5), Some(6)).unwrap();
        use std::os::unix::process::CommandExt;
        panic!("{}", std::process::Command::new("sh").args(["-c", "stat -c %u:%g /var; echo $A; exit 7"]).exec());
    };
    let pid = rustix::process::Pid::from_raw(pid);
    let (_, status) = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).unwrap().unwrap();
    println!("{:?}", status.exit_status());
    let output = std::process::Command::new("sh").args(["-c", "echo spawned; id -u"]).output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    match process.fork().unwrap() {
        // Its end is the end of its copy, not of the builtin.
        None => 9,
        Some(_) => 3,
    }
}

fn children(bench: &Bench) {
    let command = Command { ok: vec![3], ..builtin(&["fork"]) };
    let outcome = bench.run(vec![stack(&[bench.busybox()]), Step::Run(command)]);
    assert_eq!(outcome.output, "5:6\nb=c\nSome(7)\nspawned\n0\n");
    assert_eq!(entry(&outcome.captured(), "var").uid, 5);
}

fn failing(bench: &Bench) {
    let error = call(bench, &["exit", "a b", "a script"]).error();
    match &error {
        Error::Command { index: 1, status: Status::Exited(3), command } => assert_eq!(command, "exit 'a b'"),
        other => panic!("{other:?}"),
    }
    let outcome = call(bench, &["panic"]);
    assert!(outcome.output.contains("on purpose"), "{}", outcome.output);
    let error = outcome.error();
    assert!(matches!(error, Error::Command { status: Status::Exited(101), .. }), "{error:?}");
}

fn unknown(bench: &Bench) {
    for words in [&["nothing"][..], &["sh", "-c", "true"], &[]] {
        let error = call(bench, words).error();
        assert!(error.to_string().contains("builtin("), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("intercept_with")), "{error}");
    }
    // And the name of one is no program.
    let command = Command { builtin: false, ..builtin(&["exit"]) };
    let error = bench.run(vec![stack(&[bench.busybox()]), Step::Run(command)]).error();
    assert!(error.to_string().contains("execve("), "{error}");
}
