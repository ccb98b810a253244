//! A tree that means harm: links and mount points planted in it, hard links into the layers below,
//! set-uid files.

use super::Case;
use crate::support::{Bench, payload, shell, stack};
use sandbox::{Command, Placed, Step};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

pub const CASES: &[Case] = &[
    ("the_layers_below_keep_their_bytes", layers_below),
    ("planted_links_lead_nowhere", planted),
    ("odd_mount_points_lead_nowhere", mount_points),
    ("deletions_are_not_read_through_links", spelled_out),
    ("layers_are_not_laid_through_links", laid),
    ("a_directory_made_before_hides_nothing", made_before),
    ("what_overlay_keeps_cannot_be_forged", forged_overlay),
    ("set_uid_files_are_out_of_reach", set_uid),
    ("what_we_keep_beside_a_file_cannot_be_forged", forged),
];

/// Everything about the files of a directory that a payload could change.
fn facts(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let content = match stat.file_type() {
            kind if kind.is_dir() => {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                String::new()
            }
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
            _ if stat.len() < 4096 => format!("{:?}", fs::read(&path)),
            _ => stat.len().to_string(),
        };
        let text = format!(
            "{:o} {}:{} {} {}.{} {}.{} {content}",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.nlink(),
            stat.mtime(),
            stat.mtime_nsec(),
            // Tells of attributes too, and of what was changed back.
            stat.ctime(),
            stat.ctime_nsec()
        );
        found.insert(path, text);
    }
    found
}

fn layers_below(bench: &Bench) {
    let base = bench.busybox();
    let store = bench.path("store");
    fs::create_dir_all(store.join("etc/dir")).unwrap();
    fs::write(store.join("etc/file"), "bytes\n").unwrap();
    fs::write(store.join("etc/dir/set"), "bytes\n").unwrap();
    fs::set_permissions(store.join("etc/dir/set"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(store.join("etc/file"), store.join("etc/second")).unwrap();
    symlink("file", store.join("etc/link")).unwrap();
    let before = (facts(&base), facts(&store));
    let text = "cd /etc; ln file hard; ln link /var/hard; ln dir/set /var/set; ln second /var/second
         echo more >> hard; echo more >> /var/second; echo 1 > /var/set; : > file
         chmod 777 second dir hard; chown 5:6 second dir link -h; touch -d 2001-01-01 second dir .
         dd if=/dev/zero of=dir/set bs=1 count=3 conv=notrunc 2>/dev/null
         exec 7<>dir/set; echo x >&7; echo y > /proc/self/fd/7; exec 7>&-
         mv dir/set dir/unset; rm -r dir; rm link; ln -s dir link; ln -f /bin/busybox /var/busybox
         truncate -s 3 /var/busybox 2>/dev/null || true; echo done";
    let outcome = bench.run(vec![stack(&[base.clone(), store.clone()]), Step::Run(shell(text))]);
    assert_eq!(outcome.output, "done\n");
    let captured = outcome.captured();
    assert_eq!((facts(&base), facts(&store)), before);
    // What was captured is not the store's files either: changing it later changes nothing.
    fs::write(captured.upper.join("etc/second"), "other").unwrap();
    assert_eq!(facts(&store), before.1);
}

/// A directory of the machine, with a file, that no link may lead to.
fn secret(bench: &Bench) -> PathBuf {
    let secret = bench.path("secret");
    fs::create_dir_all(secret.join("sub")).unwrap();
    fs::write(secret.join("file"), "mine").unwrap();
    fs::write(secret.join("sub/hidden"), "mine").unwrap();
    secret
}

fn planted(bench: &Bench) {
    let secret = secret(bench);
    let before = facts(&secret);
    let base = bench.busybox();
    let up = format!("../../../../../../../../../../..{}", secret.display());
    symlink(&secret, base.join("out")).unwrap();
    symlink(&up, base.join("up")).unwrap();
    symlink(format!("/proc/self/cwd/{up}"), base.join("cwd")).unwrap();
    symlink(format!("/proc/1/root{}", secret.display()), base.join("init")).unwrap();
    symlink(secret.join("file"), base.join("file")).unwrap();
    let ways = ["out", "up", "cwd", "init"];
    let mut steps = vec![stack(std::slice::from_ref(&base))];
    let mut text = String::from("exec 2>/dev/null; set +e; cd /; ");
    // By the links, also from the root without a slash, and as if the machine's own names led there.
    let mut paths: Vec<String> = ways.iter().flat_map(|way| [format!("/{way}"), (*way).to_owned()]).collect();
    paths.extend([secret.display().to_string(), up.clone(), format!("/proc/self/root/{up}")]);
    for path in &paths {
        text += &format!(
            "at={path}; cat $at/file; ls $at; echo x > $at/new; echo x > $at/file; rm -f $at/file; mkdir $at/dir
             chown 5:5 $at $at/file; chmod 777 $at $at/file; ln $at/file /var/link; touch $at/file
             mknod $at/null c 1 3; ln -s x $at/link; mv $at/file /var/; cp -a $at/. /var/
             su ann -c 'echo x > {path}/new; mkdir {path}/dir; ln -s x {path}/link; mkfifo {path}/pipe'; \n"
        );
    }
    text += "cat /file; echo x > /file; chown 5 /file; true";
    steps.push(Step::Run(shell(&text)));
    // The session's own steps resolve in the tree too; below a link that leads nowhere is nothing.
    steps.extend(ways.map(|way| Step::Remove { path: format!("{way}/file").into_bytes() }));
    let outcome = bench.run(steps);
    assert_eq!(outcome.output, "");
    outcome.captured();
    for way in ways {
        for what in [Placed::File(b"x".to_vec()), Placed::Directory, Placed::Existing] {
            let path = format!("{way}/file").into_bytes();
            let place = Step::Place { path, what, mode: Some(0o777), uid: 0, gid: 0, mtime: None, xattrs: Vec::new() };
            bench.run(vec![stack(std::slice::from_ref(&base)), place]).error();
        }
        let command = Command { cwd: format!("/{way}").into_bytes(), ..shell("echo x > file") };
        bench.run(vec![stack(std::slice::from_ref(&base)), Step::Run(command)]).error();
    }
    assert_eq!(facts(&secret), before);
}

/// A package ships a link or a file where the sandbox mounts something.
fn mount_points(bench: &Bench) {
    let secret = secret(bench);
    let before = facts(&secret);
    for name in ["dev", "proc", "sys", "tmp", "run", "etc"] {
        for target in [Some(secret.clone()), Some("etc".into()), Some("nowhere".into()), Some("..".into()), None] {
            let bench = Bench::new(bench.rung);
            let base = bench.busybox();
            if name == "etc" {
                fs::remove_dir_all(base.join("etc")).unwrap();
            }
            match &target {
                Some(target) => symlink(target, base.join(name)).unwrap(),
                None => fs::write(base.join(name), "no directory").unwrap(),
            }
            let text = format!("echo x > /{name}/new; rm -rf /{name}/file /{name}/sub; chown 5 /{name}/.; true");
            // Whether it runs at all is a matter of taste.
            let outcome = bench.run(vec![stack(&[base]), Step::Run(shell(&text))]);
            if let Err(error) = outcome.result {
                assert!(!error.to_string().contains("panicked"), "{error}");
            }
            assert_eq!(facts(&secret), before, "/{name} -> {target:?}");
        }
    }
}

/// A layer below another has a link where the others have a directory: what lies behind the link
/// on the machine is not what a script hid.
fn spelled_out(bench: &Bench) {
    let secret = secret(bench);
    let base = bench.busybox();
    let layer = |name: &str| {
        let root = bench.path(name);
        fs::create_dir_all(root.join("opt/x/sub")).unwrap();
        fs::write(root.join("opt/x/sub").join(name), "x").unwrap();
        root
    };
    let link = bench.path("link");
    fs::create_dir_all(link.join("opt")).unwrap();
    symlink(&secret, link.join("opt/x")).unwrap();
    let (middle, new) = (layer("middle"), layer("new"));
    let outcome = bench.run(vec![
        stack(&[base.clone(), link.clone(), middle.clone()]),
        Step::Run(shell("ls /opt/x/sub; rm -r /opt/x/sub; mkdir /opt/x/sub; touch /opt/x/sub/mine")),
        stack(&[base, link, middle, new]),
        Step::Run(shell("ls /opt/x/sub")),
    ]);
    assert_eq!(outcome.output, "middle\nmine\nnew\n");
    let paths = crate::support::paths(&outcome.captured());
    assert_eq!(paths, ["opt", "opt/x", "opt/x/sub", "opt/x/sub/middle", "opt/x/sub/mine"]);
}

/// A layer that comes later has files where the payload has planted a link.
fn laid(bench: &Bench) {
    let secret = secret(bench);
    fs::create_dir_all(secret.join("app/a")).unwrap();
    fs::write(secret.join("app/a/tool"), "the machine's").unwrap();
    let before = facts(&secret);
    let base = bench.busybox();
    let layer = |name: &str| {
        let root = bench.path(name);
        fs::create_dir_all(root.join("srv/app/a")).unwrap();
        fs::write(root.join("srv/app/a/tool"), name).unwrap();
        root
    };
    let (one, two) = (layer("one"), layer("two"));
    let link = format!("rm -r /srv; ln -s {} /srv; ls /srv 2>/dev/null || echo nothing", secret.display());
    let outcome = bench.run(vec![
        stack(&[base.clone(), one.clone()]),
        Step::Run(shell(&link)),
        stack(&[base, one, two]),
        Step::Run(shell("readlink /srv >/dev/null && echo link")),
    ]);
    assert_eq!(outcome.output, "nothing\nlink\n");
    outcome.captured();
    assert_eq!(facts(&secret), before);
}

/// A directory that a step made, and a layer brings afterwards, hides nothing of what it brings.
fn made_before(bench: &Bench) {
    let base = bench.busybox();
    let new = bench.path("new");
    fs::create_dir_all(new.join("opt/made/sub")).unwrap();
    fs::write(new.join("opt/made/sub/shipped"), "x").unwrap();
    let outcome = bench.run(vec![
        stack(std::slice::from_ref(&base)),
        Step::Run(shell("mkdir -p /opt/made; touch /opt/made/own")),
        stack(&[base, new]),
        Step::Run(shell("ls /opt/made /opt/made/sub")),
    ]);
    assert_eq!(outcome.output, "/opt/made:\nown\nsub\n\n/opt/made/sub:\nshipped\n");
    let captured = outcome.captured();
    let of_made = captured.changes.iter().find(|change| change.path() == b"opt/made");
    assert!(matches!(of_made, Some(sandbox::Change::Changed { opaque: false, .. })), "{of_made:?}");
    assert_eq!(crate::support::paths(&captured), ["opt", "opt/made", "opt/made/own"]);
}

/// Attributes that are overlay's own language say nothing when a payload sets them.
fn forged_overlay(bench: &Bench) {
    if !payload::put(bench, payload::LIMITS) {
        return;
    }
    let outcome = bench.script("payload opaque 0 || true; touch /etc/new; ls /etc");
    assert!(outcome.output.contains("passwd"), "{}", outcome.output);
    let captured = outcome.captured();
    let opaque = captured.changes.iter().any(|change| matches!(change, sandbox::Change::Changed { opaque: true, .. }));
    assert!(!opaque, "{:#?}", crate::support::paths(&captured));
}

/// A program with the set-uid bit belongs to the builder while it lies on the machine.
fn set_uid(bench: &Bench) {
    // The suite's own directory must not be what keeps others out.
    fs::set_permissions(bench.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let scratch = bench.path("scratch");
    fs::create_dir(&scratch).unwrap();
    fs::set_permissions(&scratch, fs::Permissions::from_mode(0o777)).unwrap();
    let text = "cp /bin/busybox /var/evil; chmod 6777 /var/evil; chmod 777 /var /; echo up; sleep 0.3";
    let session = bench.session(vec![stack(&[bench.busybox()]), Step::Run(shell(text))]);
    let upper = scratch.join("upper/var/evil");
    let closed = || {
        let mode = fs::metadata(&scratch).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o700);
        if rustix::process::geteuid().is_root() {
            use std::os::unix::process::CommandExt;
            let mut other = std::process::Command::new(&upper);
            let error = other.arg0("id").uid(65534).gid(65534).spawn().map(drop).expect_err("it ran");
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        }
    };
    let mut observer = |event: sandbox::Event<'_>| {
        if let sandbox::Event::Line { .. } = event {
            closed();
        }
    };
    let captured = sandbox::run(&session, &mut observer, &sandbox::Cancel::new()).unwrap();
    assert_eq!(captured.upper, scratch.join("upper"));
    closed();
    assert_eq!(crate::support::entry(&captured, "var/evil").mode, 0o6777);
}

/// An ordinary user of the image would make a file root's own, with its set-uid bit; and a package
/// brings an attribute with our name, or with overlay's.
fn forged(bench: &Bench) {
    const NAME: &str = "user.image-composer.entry";
    // The form of an owner, 0:0; see the ledger.
    let value = [&[1u8, 1][..], &[0; 17]].concat();
    if !payload::put(bench, payload::OUTSIDE) {
        return;
    }
    let outcome = bench.script(
        "mkdir /home/ann; chown ann /home/ann
         su ann -c 'cd /home/ann; cp /bin/busybox f; chmod 4755 f; payload forge f'; stat -c %u /home/ann/f",
    );
    assert_eq!(outcome.output, "1234\n");
    assert_eq!(crate::support::entry(&outcome.captured(), "home/ann/f").uid, 1234);
    for name in [NAME, "user.overlay.opaque"] {
        let (path, what, xattrs) =
            (b"etc/passwd".to_vec(), Placed::Existing, vec![(name.as_bytes().to_vec(), value.clone())]);
        let place = Step::Place { path, what, mode: None, uid: 0, gid: 0, mtime: None, xattrs };
        let error = bench.run(vec![stack(&[bench.busybox()]), place]).error();
        assert!(error.to_string().contains("cannot be set in a sandbox"), "{error}");
    }
}
