//! systemd-sysusers on the same trees: every file of /etc must come out the same.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::apply;

const PROGRAM: &str = "systemd-sysusers";

/// A path with a text or a mode.
type Files<'a> = &'a [(&'a str, &'a str)];

/// Day of the tests, in days since 1970.
const TODAY: i64 = 19_675;

/// A system's usual files.
const USUAL: Files<'static> = &[
    ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nbin:x:1:1:bin:/bin:/sbin/nologin\nold:x:999:100:Old:/o:/bin/sh\n"),
    ("etc/group", "root:x:0:\nbin:x:1:\nwheel:x:10:root\nusers:x:100:\nsame:x:998:zoe,bob,zoe\n"),
    ("etc/shadow", "root:*:19000:0:99999:7:::\nbin:*:19000:0:99999:7:::\nann:!!:1::::::\n"),
    ("etc/gshadow", "root:::\nbin:::\nwheel::ann:root\nusers:::\nsame:::zoe\n"),
];

/// What is read and written in other forms.
const ODD: Files<'static> = &[
    (
        "etc/passwd",
        "# comment\n\n  root:x:0:0:root:/root:/bin/bash\nshort:x:5:6\nbad\nbad:x:y:5:::\nhigh:x:4294967296:5:a:b:c\nminus:x:-1:5:::\ntop:x:4294967295:5: a:b:c\n\
         root:x:7:7:again:/:/bin/sh\n+nis:x:::::\n+\n-gone\nafter:x:8:8::/:\n",
    ),
    ("etc/group", "root:x:0: a,,b , c\nbad:x:\nplain:x:20\n\tspace:!:21:d\n+nis::5:\n+\nafter:x:22:\n"),
    (
        "etc/shadow",
        "root:*\nold:*:1:2:3\nold2:*:1:2:3   \nfull:*:1:2:3:4:5:6:7\nneg:*:-1:-5:::::\nbad:*:x:::::\n+\nlate:*:1::::::\n",
    ),
    ("etc/gshadow", "root:*\nplain:!:a, b:c,,d\nspace:!:\n"),
];

/// No accounts. A tree without the directory is an error to older versions of systemd.
const EMPTY: Files<'static> = &[("etc/hostname", "empty\n")];

/// Lines on the usual tree, on one with odd files, and on an empty one.
const LINES: &[&str] = &[
    "u ann\n",
    "u ann 70 \"Ann A\" /var/lib/ann /bin/sh\nu bob 71:users\nu cat -:wheel - /cat\nu dog 999\n",
    "g grp\ng grp2 60\ng grp3 10\ng grp4 999\nu grp\nu own 61\nu late -:own\nu worse -:absent\n",
    "m root wheel\nm ann wheel\nm ann newgroup\nm bob newgroup\nm ann same\nm aaa same\n",
    "m zoe same\n",
    "m root wheel\n",
    "u same 998\nu users\nu nob 65534\n",
    "u a 50:51\nu b 52:10\nu c 50:10\nu d 52:users\nu root 0\n",
    "r - 500-510\nr - 505-512\nr - 300\nu a\ng b\nu c 400\nm d e\n",
    "r - 300-301\nu a\nu b\nu c\ng d\n",
    "r - 999\nu a\ng b\n",
    "# comment\n\n   u   'a'  \t 80   \"A \\\"quoted\\\" 'text' 100%% %- 5%\"\\ more   //srv//./a/   /bin//sh  \n",
    "u a 50\nu a 51\nu a 50\ng a 52\ng a\n",
    "u a 0\nu b 0\nu c 1\nu d 1:1\n",
    "u p /srv/owned\ng q /srv/owned\nu r /absent\ng s /\n",
    "u ann - - - -\nu bob - \"\" \"\" \"\"\n",
    "u ann\nu bob 5 a:b\nu cat\n",
    "u ann 5 a /b c\n",
    "u -x\n",
    "g g 4294967295\n",
    "m a\n",
    "r - 5-\n",
    "u a 5 6 /7 /8 9\n",
    "u a 5 'open\n",
    "t a\n",
    "u a 07\n",
    "u a +7\n",
    "u aaaaaaaaaabbbbbbbbbbccccccccccd\n",
    "u aaaaaaaaaabbbbbbbbbbccccccccccde\n",
    "u a 1 x\\\n",
    "",
];

fn tree(files: Files<'_>) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let owned = root.path().join("srv/owned");
    for (path, text) in [files, &[("srv/owned", "")]].concat() {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(owned, Some(123), Some(124)).unwrap();
    }
    root
}

/// Everything in /etc: mode, owner and text.
fn state(root: &Path) -> BTreeMap<String, (u32, u32, u32, String)> {
    let mut state = BTreeMap::new();
    let Ok(entries) = fs::read_dir(root.join("etc")) else { return state };
    for entry in entries {
        let (name, metadata) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
        let text = if metadata.is_file() {
            // The owner of a file may always open up its mode.
            let mode = fs::metadata(&name).unwrap().permissions();
            fs::set_permissions(&name, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            let text = fs::read(&name).unwrap();
            fs::set_permissions(&name, mode).unwrap();
            text.escape_ascii().to_string().replace("\\n", "\n")
        } else {
            String::new()
        };
        let name = name.file_name().unwrap().to_string_lossy().into_owned();
        state.insert(name, (metadata.mode(), metadata.uid(), metadata.gid(), text));
    }
    // A lock is for those who share a tree.
    state.remove(".pwd.lock");
    state
}

fn systemd(root: &Path, replaced: Option<&str>, lines: &str) -> bool {
    let mut command = Command::new(PROGRAM);
    command.arg("--root").arg(root).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    command.env("SOURCE_DATE_EPOCH", (TODAY * 86400 + 5).to_string()).stderr(Stdio::null());
    command.args(replaced.map(|file| format!("--replace={file}")));
    let mut child = command.arg("-").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait().unwrap().success()
}

/// Whether the referee can be asked.
fn is_there() -> bool {
    let is_there = Command::new(PROGRAM).arg("--version").output().is_ok();
    if !is_there {
        assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {PROGRAM} is not installed");
        println!("skipped: {PROGRAM} is not installed");
    }
    is_there
}

/// Both on the same tree; what differs, if anything.
fn compare(files: Files<'_>, replaced: Option<&str>, ours: &str, theirs: &str) -> Option<String> {
    let (our_tree, their_tree) = (tree(files), tree(files));
    let result = apply(our_tree.path(), replaced.map(Path::new), ours.as_bytes(), TODAY);
    let success = systemd(their_tree.path(), replaced, theirs);
    let (our_state, their_state) = (state(our_tree.path()), state(their_tree.path()));
    let is_same = our_state == their_state && result.is_ok() == success;
    (!is_same).then(|| format!("{ours}ours: {result:#?} {our_state:#?}\nsystemd's: {success} {their_state:#?}"))
}

#[test]
fn systemd_makes_the_same_files() {
    if !is_there() {
        return;
    }
    for files in [USUAL, ODD, EMPTY] {
        for lines in LINES {
            // What newer versions do about a root that is new is among our own tests.
            if files == EMPTY && lines.contains("root") {
                continue;
            }
            let difference = compare(files, None, lines, lines);
            assert!(difference.is_none(), "{}", difference.unwrap());
        }
    }
}

#[test]
fn systemd_reads_the_same_configuration_files() {
    if !is_there() {
        return;
    }
    let more: Files<'_> = &[
        ("usr/lib/sysusers.d/10-a.conf", "u early\nu both 20\n"),
        ("usr/lib/sysusers.d/50-b.conf", "u replaced\n"),
        ("usr/lib/sysusers.d/90-c.conf", "u late\nbad line\nu later\n"),
        ("usr/lib/sysusers.d/60-d.conf", "u hidden\n"),
        ("etc/sysusers.d/60-d.conf", "u shown\n"),
        ("etc/sysusers.d/70-e", "u no\n"),
        ("usr/local/lib/sysusers.d/15-f.conf", "u local\n"),
    ];
    let files = [USUAL, more].concat();
    let lines = "u both 21\nu mine\nm mine wheel\n";
    for replaced in ["50-b", "10-a", "60-d", "99-absent", "15-f"] {
        for directory in ["/usr/lib/sysusers.d", "/etc/sysusers.d", "/run/sysusers.d"] {
            let replaced = format!("{directory}/{replaced}.conf");
            let difference = compare(&files, Some(&replaced), lines, lines);
            assert!(difference.is_none(), "{replaced}: {}", difference.unwrap());
        }
    }
}

/// The referee must notice each kind of difference.
#[test]
fn systemd_notices_another_request() {
    if !is_there() {
        return;
    }
    let pairs = [
        ("u ann 70\n", "u ann 71\n"),
        ("m ann same\n", "m bob same\n"),
        ("g a\ng b\n", "g b\ng a\n"),
        ("u a\n", "u\n"),
    ];
    for (ours, theirs) in pairs {
        assert!(compare(USUAL, None, ours, theirs).is_some(), "{ours}{theirs}");
    }
}
