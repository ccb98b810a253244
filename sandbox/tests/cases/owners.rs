//! Owners, devices, capabilities and ids: asked for, seen again, and captured.

use super::Case;
use crate::support::{Bench, entry, paths, shell, stack};
use sandbox::{Kind, Placed, Rung, Step};

pub const CASES: &[Case] = &[
    ("a_script_runs_and_its_file_is_captured", plain),
    ("an_owner_is_seen_and_captured", owner),
    ("an_owner_goes_with_rename_link_and_copy_up", movement),
    ("su_prints_the_users_id", su),
    ("what_a_user_makes_is_the_users", made_by_user),
    ("a_set_gid_directory_hands_on_its_group", set_gid),
    ("devices_are_captured", devices),
    ("placed_entries_are_what_they_say", placed),
    ("set_uid_bits_act_on_exec", set_uid),
    ("ids_follow_orphans", orphans),
    ("both_rungs_capture_the_same", same),
    ("an_upper_that_the_disk_refuses_lies_in_memory", memory),
];

fn plain(bench: &Bench) {
    let outcome = bench.script("echo hello; echo text > /etc/new; id -u; exit 0");
    assert_eq!(outcome.output, "hello\n0\n");
    let captured = outcome.captured();
    let new = entry(&captured, "etc/new");
    assert_eq!(new.kind, Kind::File { size: 5 });
    assert_eq!((new.mode, new.uid, new.gid), (0o644, 0, 0));
    assert_eq!(std::fs::read(captured.upper.join("etc/new")).unwrap(), b"text\n");
    assert_eq!(paths(&captured), ["etc", "etc/new"]);
}

fn owner(bench: &Bench) {
    let outcome = bench.script(
        "touch /etc/new; chown 33:44 /etc/new; stat -c '%u:%g' /etc/new; chmod 2755 /etc/new
         stat -c '%u:%g %a' /etc/new; chown 0:0 /etc/passwd; chown 5 /etc/group
         ln -s nowhere /etc/link; chown -h 7:8 /etc/link; stat -c %u:%g /etc/link",
    );
    assert_eq!(outcome.output, "33:44\n33:44 2755\n7:8\n");
    let captured = outcome.captured();
    let new = entry(&captured, "etc/new");
    assert_eq!((new.mode, new.uid, new.gid), (0o2755, 33, 44));
    let group = entry(&captured, "etc/group");
    assert_eq!((group.uid, group.gid, group.content_unchanged), (5, 0, true));
    let link = entry(&captured, "etc/link");
    assert_eq!((link.uid, link.gid), (7, 8));
    assert_eq!(link.kind, Kind::Symlink { target: b"nowhere".to_vec() });
}

fn movement(bench: &Bench) {
    let outcome = bench.script(
        "chown 1:2 /etc/passwd; mv /etc/passwd /etc/moved; ln /etc/moved /var/hard
         mkdir /var/d; chown 3:4 /var/d; mv /var/d /home/d; chown 5 /etc/moved
         stat -c '%u:%g' /var/hard /home/d; ln -s x /var/l; chown -h 6:7 /var/l; mv /var/l /home/l
         chmod 000 /etc/group; chown 8:9 /etc/group; chown 0:0 /home/d; stat -c '%u:%g' /home/d",
    );
    assert_eq!(outcome.output, "5:2\n3:4\n0:0\n");
    let captured = outcome.captured();
    let (moved, hard) = (entry(&captured, "etc/moved"), entry(&captured, "var/hard"));
    assert_eq!((moved.uid, moved.gid), (5, 2));
    assert!(moved.hard_link_group.is_some());
    assert_eq!(moved.hard_link_group, hard.hard_link_group);
    let link = entry(&captured, "home/l");
    assert_eq!((link.uid, link.gid), (6, 7));
    let group = entry(&captured, "etc/group");
    assert_eq!((group.mode, group.uid, group.gid), (0, 8, 9));
    // The store can read it all the same.
    assert!(std::fs::read(captured.upper.join("etc/group")).is_ok());
    assert!(
        captured
            .changes
            .iter()
            .any(|change| { matches!(change, sandbox::Change::Removed { path } if path == b"etc/passwd") })
    );
}

fn su(bench: &Bench) {
    let outcome = bench.script(
        "su -s /bin/sh ann -c 'id -u; id -g; id -G; id -un'
         su ann -c 'chown 0 /etc/passwd' 2>/dev/null || echo refused
         su ann -c 'su root -c true' < /dev/null 2>/dev/null || echo refused",
    );
    assert_eq!(outcome.output, "1234\n1235\n1235 8\nann\nrefused\nrefused\n");
    outcome.captured();
}

fn made_by_user(bench: &Bench) {
    let outcome = bench.script(
        "mkdir /home/ann; chown ann:ann /home/ann; umask 027
         su ann -c 'cd /home/ann; echo x > f; mkdir d; ln -s f l; mkfifo p; touch d/g; echo y >> f
                    touch /etc/mine 2>/dev/null || echo refused'
         stat -c '%u:%g %a %n' /home/ann/* /home/ann/d/g",
    );
    let expected = "refused\n1234:1235 750 /home/ann/d\n1234:1235 640 /home/ann/f\n\
                    1234:1235 777 /home/ann/l\n1234:1235 640 /home/ann/p\n\
                    1234:1235 640 /home/ann/d/g\n";
    assert_eq!(outcome.output, expected);
    let captured = outcome.captured();
    for name in ["d", "f", "l", "p", "d/g"] {
        let entry = entry(&captured, &format!("home/ann/{name}"));
        assert_eq!((entry.uid, entry.gid), (1234, 1235), "{name}");
    }
    assert_eq!(std::fs::read(captured.upper.join("home/ann/f")).unwrap(), b"x\ny\n");
    assert!(!captured.upper.join("home/ann/p").exists());
}

fn set_gid(bench: &Bench) {
    let outcome = bench.script(
        "mkdir /var/mail; chown 0:8 /var/mail; chmod 2775 /var/mail
         touch /var/mail/f; mkdir /var/mail/d; ln -s x /var/mail/l; touch /var/mail/d/g
         stat -c '%u:%g %a %n' /var/mail/f /var/mail/d /var/mail/l /var/mail/d/g",
    );
    let expected = "0:8 644 /var/mail/f\n0:8 2755 /var/mail/d\n0:8 777 /var/mail/l\n\
                    0:8 644 /var/mail/d/g\n";
    assert_eq!(outcome.output, expected);
    assert_eq!(entry(&outcome.captured(), "var/mail/d").mode, 0o2755);
}

fn devices(bench: &Bench) {
    let make = "mkdir /var/dev; mknod -m 666 /var/dev/null c 1 3; mknod /var/dev/disk b 8 17
                chown 0:6 /var/dev/disk; mknod /var/dev/pipe p
                mknod /var/dev/null c 1 3 2>/dev/null || echo exists
                su ann -c 'mknod /tmp/null c 1 3' 2>/dev/null || echo refused";
    let look = "stat -c '%F %t:%T %u:%g %a' /var/dev/null /var/dev/disk; test -c /var/dev/null
                rm /var/dev/disk; mv /var/dev/null /var/dev/zero; test -c /var/dev/zero";
    let steps = vec![stack(&[bench.busybox()]), Step::Run(shell(make)), Step::Run(shell(look))];
    let outcome = bench.run(steps);
    let expected = "exists\nrefused\ncharacter special file 1:3 0:0 666\n\
                    block special file 8:11 0:6 644\n";
    assert_eq!(outcome.output, expected);
    let captured = outcome.captured();
    assert_eq!(entry(&captured, "var/dev/zero").kind, Kind::Device { char: true, major: 1, minor: 3 });
    assert_eq!(entry(&captured, "var/dev/pipe").kind, Kind::Fifo);
    assert_eq!(paths(&captured), ["var", "var/dev", "var/dev/pipe", "var/dev/zero"]);
    assert!(std::fs::read_dir(captured.upper.join("var/dev")).unwrap().next().is_none());
}

/// cap_net_raw=ep as version 2, include/uapi/linux/capability.h.
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// u::rwx, u:1234:r--, g::r-x, m::r-x, o::---, acl(5) in the kernel's form.
fn access_list() -> Vec<u8> {
    let any = u32::MAX;
    let entries = [(1u16, 7u16, any), (2, 4, 1234), (4, 5, any), (16, 5, any), (32, 0, any)];
    let mut list = vec![2, 0, 0, 0];
    for (tag, perm, id) in entries {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&perm.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    list
}

fn placed(bench: &Bench) {
    let place = |path: &str, what: Placed, mode: u32, uid: u32, gid: u32| Step::Place {
        path: path.as_bytes().to_vec(),
        what,
        mode: Some(mode),
        uid,
        gid,
        mtime: Some((1_600_000_000, 5)),
        xattrs: Vec::new(),
    };
    let with = |step: Step, attributes: &[(&[u8], Vec<u8>)]| match step {
        Step::Place { path, what, mode, uid, gid, mtime, .. } => {
            let xattrs = attributes.iter().map(|(name, value)| (name.to_vec(), value.clone()));
            Step::Place { path, what, mode, uid, gid, mtime, xattrs: xattrs.collect() }
        }
        other => other,
    };
    let steps = vec![
        stack(&[bench.busybox()]),
        place("/etc/passwd", Placed::Existing, 0o640, 0, 42),
        with(
            place("usr/bin/ping", Placed::File(b"ping".to_vec()), 0o4755, 3, 4),
            &[(b"security.capability", NET_RAW.to_vec()), (b"user.note", b"hi".to_vec())],
        ),
        with(place("var/log", Placed::Directory, 0o2755, 0, 999), &[(b"system.posix_acl_access", access_list())]),
        place("var/null", Placed::Device { char: true, major: 1, minor: 3 }, 0o666, 0, 0),
        place("var/pipe", Placed::Fifo, 0o600, 9, 9),
        place("var/link", Placed::Symlink(b"log".to_vec()), 0o777, 7, 7),
        Step::Remove { path: b"home".to_vec() },
        Step::Remove { path: b"not/there".to_vec() },
        Step::Run(shell(
            "stat -c '%u:%g %a %n' /etc/passwd /usr/bin/ping /var/log /var/link
                         test ! -e /home; test -c /var/null",
        )),
    ];
    let outcome = bench.run(steps);
    let expected = "0:42 640 /etc/passwd\n3:4 4755 /usr/bin/ping\n0:999 2750 /var/log\n\
                    7:7 777 /var/link\n";
    assert_eq!(outcome.output, expected);
    let captured = outcome.captured();
    let ping = entry(&captured, "usr/bin/ping");
    assert_eq!((ping.mode, ping.uid, ping.gid), (0o4755, 3, 4));
    assert_eq!(ping.mtime, (1_600_000_000, 5));
    let expected = [(b"security.capability".to_vec(), NET_RAW.to_vec()), (b"user.note".to_vec(), b"hi".to_vec())];
    assert_eq!(ping.xattrs, expected);
    let log = entry(&captured, "var/log");
    assert_eq!(log.xattrs, [(b"system.posix_acl_access".to_vec(), access_list())]);
    assert_eq!(entry(&captured, "var/pipe").uid, 9);
    // Its time was set, so only a digest can tell.
    assert!(!entry(&captured, "etc/passwd").content_unchanged);
}

fn set_uid(bench: &Bench) {
    // The build side is not on that rung; `su` below shows the same.
    if bench.rung == Rung::Root {
        return;
    }
    // Busybox gives such bits up itself, so the machine's own id is the program here.
    let text = "cp /usr/bin/id /image/bin/id2; chown 77:8 /image/bin/id2; chmod 6755 /image/bin/id2
                stat -c '%u:%g %a' /image/bin/id2
                setpriv --reuid 1234 --regid 1234 --clear-groups /image/bin/id2
                chmod 755 /image/bin/id2; setpriv --reuid 1234 --regid 1234 --clear-groups /image/bin/id2";
    let directory = bench.path("empty");
    std::fs::create_dir(&directory).unwrap();
    let command = shell(text);
    let outcome = bench.run(vec![stack(&[bench.busybox()]), Step::RunOnHost { command, directory }]);
    let expected = "77:8 6755\nuid=1234 gid=1234 euid=77 egid=8 groups=8\n\
                    uid=1234 gid=1234 groups=1234\n";
    assert_eq!(outcome.output, expected);
    assert_eq!(entry(&outcome.captured(), "bin/id2").uid, 77);
}

/// A script of everything that the rungs do in different ways.
const EVERYTHING: &str = "
    mkdir -p /var/a/b /home/ann; chown ann:ann /home/ann; chown 5:6 /var/a; chmod 2775 /var/a
    touch /var/a/f; mkdir /var/a/d; ln -s x /var/a/l; mkfifo /var/a/p; ln /var/a/f /var/a/g
    su ann -c 'cd /home/ann; umask 077; mkdir x; echo y > x/y; ln -s y x/z; mkfifo x/p; cp x/y x/c'
    mknod -m 600 /var/a/n c 1 3; mknod /var/a/m b 259 65537; chown -h 9:9 /var/a/l
    chown 65534:65534 /etc/group; chmod 4755 /bin/busybox; rm -r /root; rm /etc/passwd
    mkdir /root; chmod 0 /root; chown -R 1:1 /var/a/b; chown 0:0 /var/a/b; mv /var/a/f /var/f
    chown 100000:60000 /var/f 2>/dev/null || chown 60000:60000 /var/f
    echo x > /var/cleared; chmod 6755 /var/cleared; chown 3 /var/cleared
    chmod 700 /; chown 0:4 /; touch -d '2001-02-03 04:05:06' /var/f";

fn same(bench: &Bench) {
    if bench.rung != Rung::Userns {
        return;
    }
    let stripped = |rung: Rung| {
        let bench = Bench::new(rung);
        let captured = bench.script(&EVERYTHING.replace("100000:60000 ", "60000:60000 ")).captured();
        let mut changes = captured.changes;
        for change in &mut changes {
            if let sandbox::Change::Changed { path, entry, .. } = change
                && path != b"var/f"
            {
                entry.mtime = (0, 0);
            }
        }
        changes
    };
    let (range, single) = (stripped(Rung::Userns), stripped(Rung::UsernsSingle));
    assert!(range.len() > 20);
    assert_eq!(range.first().map(|change| change.path().len()), Some(0), "the root is listed");
    assert_eq!(range, single);
}

/// In a container the scratch directory lies on an overlay, which refuses an upper.
fn memory(bench: &Bench) {
    if bench.rung != Rung::UsernsSingle {
        return;
    }
    for name in ["l", "u", "w", "m"] {
        std::fs::create_dir(bench.path(name)).unwrap();
    }
    let base = bench.busybox();
    let me = std::env::current_exe().unwrap();
    let output = std::process::Command::new("unshare")
        .args([
            "-Urm",
            "sh",
            "-ec",
            "mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w,userxattr m
            mkdir m/s; exec \"$0\" --in-memory m/s \"$1\"",
        ])
        .args([me.as_os_str(), base.as_os_str()])
        .current_dir(bench.path(""))
        .output();
    let Ok(output) = output else {
        crate::support::skip("unshare(1) is not installed");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text, "5:6\n");
}

/// What runs on the overlay that [`memory`] mounts.
pub fn in_memory(scratch: &str, lower: &str) {
    let steps = vec![
        stack(&[lower.into()]),
        Step::Run(shell("touch /etc/x; chown 5:6 /etc/x; stat -c %u:%g /etc/x; ln /etc/x /etc/y; rm /etc/passwd")),
    ];
    let session = sandbox::Session {
        rung: Rung::UsernsSingle,
        scratch: scratch.into(),
        steps,
        limits: sandbox::Limits::default(),
        epoch: 0,
        assemble: false,
    };
    let outcome = crate::support::run(&session, &sandbox::Cancel::new());
    print!("{}", outcome.output);
    let captured = outcome.captured();
    assert_eq!(paths(&captured), ["etc", "etc/passwd", "etc/x", "etc/y"]);
    assert_eq!(entry(&captured, "etc/x").uid, 5);
    let names: Vec<_> = std::fs::read_dir(scratch).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["upper"]);
}

fn orphans(bench: &Bench) {
    let outcome = bench.script(
        "su ann -c '(sleep 0.2; id -u > /tmp/id) & exit 0' &
         wait; sleep 0.6; cat /tmp/id",
    );
    assert_eq!(outcome.output, "1234\n");
    outcome.captured();
}
