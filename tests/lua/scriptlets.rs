//! Scriptlets as packages bring them, in trees that have next to nothing.

use crate::bench::{Bench, Case, lua};
use sandbox::{Change, Command, Error, Kind, Status, Step};

pub const CASES: &[Case] = &[
    ("a_tree_is_begun_without_a_shell", begun),
    ("owners_are_those_of_the_tree", owners),
    ("file_triggers_get_their_names", names),
    ("programs_of_the_tree_are_run", programs),
    ("a_script_that_fails_says_where", failing),
    ("a_forked_script_must_execute", forked),
    ("a_script_does_not_leave_the_tree", shut_in),
];

/// What a package of the first directories does before anything is unpacked.
const BEGIN: &str = r#"
for _, name in ipairs({ "bin", "sbin", "lib", "lib64" }) do
  local target = "usr/" .. name
  posix.mkdir("/usr")
  if posix.mkdir("/" .. target) ~= 0 and posix.stat("/" .. target, "type") ~= "directory" then
    error("cannot make " .. target)
  end
  local there = posix.stat("/" .. name)
  if there and there.type == "directory" then assert(posix.rmdir("/" .. name) == 0) end
  if not there or there.type ~= "link" then assert(posix.symlink(target, "/" .. name) == 0) end
end
posix.umask("rwxrwxrwx")
posix.mkdir("/proc2")
posix.chmod("/proc2", "0555")
posix.mkdir("/var")
posix.mkdir("/var/lib")
assert(arg[2] == 1)
print("begun")
"#;

fn begun(bench: &Bench) {
    let tree = bench.tree(&[("lib/", "")]);
    let outcome = bench.script(tree, "%pretrans(filesystem-3.18-1.x86_64)", BEGIN);
    assert_eq!(outcome.output, "begun\n");
    let captured = outcome.captured();
    let entry = |path: &str| {
        captured.changes.iter().find_map(|change| match change {
            Change::Changed { path: at, entry, .. } if at == path.as_bytes() => Some(entry),
            _ => None,
        })
    };
    for name in ["bin", "sbin", "lib", "lib64"] {
        let link = entry(name).unwrap_or_else(|| panic!("/{name} is not there"));
        assert!(matches!(link.kind, Kind::Symlink { .. }), "{link:?}");
        assert!(entry(&format!("usr/{name}")).is_some());
    }
    assert_eq!(entry("proc2").unwrap().mode & 0o7777, 0o555);
    assert_eq!(entry("usr/bin").unwrap().mode & 0o7777, 0o755);
}

fn owners(bench: &Bench) {
    let tree = bench.tree(&[
        ("etc/passwd", "root:x:0:0::/:\nann:x:1234:5::/:\n"),
        ("etc/group", "root:x:0:\nmail:x:8:ann\n"),
        ("srv/", ""),
    ]);
    let text = "assert(posix.chown('/srv', 'ann', 'mail') == 0); assert(posix.chmod('/srv', '2770') == 0)
        local s = posix.stat('/srv') print(s.uid, s.gid, s.mode, posix.getgroup('mail')[1])
        posix.setgid('mail'); posix.setuid('ann'); posix.mkdir('/srv/own')
        print(posix.stat('/srv/own', 'uid'), posix.getprocessid('euid'))";
    let outcome = bench.script(tree, "%post(x)", text);
    assert_eq!(outcome.output, "1234.0\t8.0\trwxrws---\tann\n1234.0\t1234.0\n");
    let captured = outcome.captured();
    let owners: Vec<_> = captured
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Changed { path, entry, .. } if path.starts_with(b"srv") => Some((entry.uid, entry.gid)),
            _ => None,
        })
        .collect();
    assert_eq!(owners, [(1234, 8), (1234, 8)]);
}

fn names(bench: &Bench) {
    let tree = bench.tree(&[("var/", "")]);
    let command = lua("%transfiletriggerin(x)", "local f repeat f = rpm.next_file() print(f) until not f", &[]);
    let stdin = b"/usr/lib/a\n/usr/lib/b c".to_vec();
    let outcome = bench.run(tree, vec![Step::Run(Command { stdin, ..command })]);
    assert_eq!(outcome.output, "/usr/lib/a\n/usr/lib/b c\nnil\n");
    outcome.captured();
}

fn programs(bench: &Bench) {
    let tree = bench.tree(&[("bin/", "")]);
    std::fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
    let text = "io.write('first ')
        print(rpm.execute('busybox', 'echo', 'second'))
        print(rpm.execute('/bin/busybox', 'sh', '-c', 'exit 3'))
        print(rpm.spawn({ 'busybox', 'sh', '-c', 'read x; echo $x; echo $B' }, { stdin = '/in', stdout = '/out' }))
        for line in io.lines('/out') do print(line) end
        local pid = posix.fork()
        if pid == 0 then
          posix.redirect2null(2)
          posix.exec('/bin/busybox', 'sh', '-c', 'echo forked; echo unheard >&2')
        end
        posix.wait(pid)
        local file, path = posix.mkstemp('/tmpXXXXXX')
        file:write('kept')
        file:close()
        print('last', #path, posix.stat(path, 'mode'), posix.stat(path, 'size'))";
    let text = format!("local f = io.open('/in', 'w') f:write('third\\n') f:close() posix.setenv('B', 'set')\n{text}");
    let outcome = bench.script(tree, "%post(x)", &text);
    let expected = "first second\n0.0\nnil\texit code\t3.0\n0.0\nthird\nset\nforked\nlast\t10\trw-------\t4.0\n";
    assert_eq!(outcome.output, expected);
    outcome.captured();
}

fn failed(bench: &Bench, text: &str) -> String {
    let outcome = bench.script(bench.tree(&[("var/", "")]), "%pre(x-1-1.noarch)", text);
    match outcome.result {
        Err(Error::Command { index: 1, status: Status::Exited(1), command }) => {
            assert_eq!(command, "lua '%pre(x-1-1.noarch)'");
        }
        other => panic!("{other:?}"),
    }
    outcome.output
}

fn failing(bench: &Bench) {
    let said = failed(bench, "print('a')\nposix.mkdir('/var/x')\nerror('no use')");
    assert_eq!(said, "a\nerror: lua script failed: [string \"%pre(x-1-1.noarch)\"]:3: no use\n");
}

fn forked(bench: &Bench) {
    let text = "local pid = posix.fork() if pid ~= 0 then posix.wait(pid) error('parent') end";
    let said = failed(bench, text);
    let expected = "error: No exec() called after fork() in lua scriptlet\n\
                    error: lua script failed: [string \"%pre(x-1-1.noarch)\"]:1: parent\n";
    assert_eq!(said, expected);
}

fn shut_in(bench: &Bench) {
    // The sandbox's own tests know more ways out; this is that scripts meet the same walls.
    let text = "print(posix.stat('/usr'), posix.stat('/../../usr'), io.open('/etc/passwd'))
        print(#posix.dir('/proc/self/fd'))
        print(posix.getenv('HOME'), posix.getenv('PATH') ~= nil)";
    let outcome = bench.script(bench.tree(&[("var/", "")]), "%pre(x)", text);
    let missing = "No such file or directory";
    // Two dots, three streams, and the directory itself.
    let expected = format!("nil\tnil\tnil\t/etc/passwd: {missing}\t2\n6\nnil\ttrue\n");
    assert_eq!(outcome.output, expected);
    outcome.captured();
}
