//! What has no referee here: what newer systemd does, and hostile input.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::entry::{Entry, Group, Gshadow, Passwd, Shadow};
use super::item::{Line, parse};
use super::{Error, LINES_MAX, apply, take};

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

fn lines(root: &Path, lines: &str) -> Result<Vec<String>, Error> {
    apply(root, None, lines.as_bytes(), 19000)
}

#[test]
fn an_empty_tree_gets_its_files() {
    let root = tree(&[]);
    let notes = lines(root.path(), "u! ann - \"Ann A\" /srv /bin/sh\nu root 0\nm ann wheel\n").unwrap();
    assert_eq!(notes.len(), 5, "{notes:#?}");
    assert_eq!(
        read(root.path(), "etc/passwd"),
        "ann:x:998:998:Ann A:/srv:/bin/sh\nroot:x:0:0::/:/bin/sh\n",
        "{notes:#?}"
    );
    assert_eq!(read(root.path(), "etc/group"), "wheel:x:999:ann\nann:x:998:\nroot:x:0:\n");
}

#[test]
fn passwords_and_expiry_are_those_of_newer_systemd() {
    let root = tree(&[("etc/group", "root:x:0:\n")]);
    lines(root.path(), "u! ann\nu root 0:root\n").unwrap();
    assert_eq!(read(root.path(), "etc/shadow"), "ann:!*:19000:::::1:\nroot:!unprovisioned:19000::::::\n");
    let mode = |path: &str| fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(["passwd", "group", "shadow", "gshadow"].map(|name| mode(&format!("etc/{name}"))), [0o644, 0o644, 0, 0]);
}

/// Version 252 takes no number for a group that any user has.
#[test]
fn a_group_may_have_the_number_of_the_user_of_its_name() {
    let root = tree(&[("etc/passwd", "old:x:999:100::/:/bin/sh\nelse:x:998:100::/:/bin/sh\n")]);
    lines(root.path(), "g old\ng other\n").unwrap();
    assert_eq!(read(root.path(), "etc/group"), "old:x:999:\nother:x:997:\n");
}

#[test]
fn wrong_lines_are_errors_and_change_nothing() {
    let wrong = [
        ("u", "no name"),
        ("u -", "no name"),
        ("x ann", "not known"),
        ("u!! ann", "not known"),
        ("\"\" ann", "no type"),
        ("g! ann", "only a user"),
        ("g ann - text", "only a user"),
        ("u ann 1 2 3 4 5", "more than six"),
        ("u 5ann", "a name"),
        ("u ann.b", "a name"),
        ("u \u{e4}nn", "a name"),
        ("u aaaaaaaaaabbbbbbbbbbccccccccccdd", "a name"),
        ("u ann 4294967295", "no id"),
        ("u ann 65535", "no id"),
        ("u ann 01", "no id"),
        ("u ann 1:", "no id"),
        ("u ann :5", "no id"),
        ("u ann - a:b", "a description"),
        ("u ann - - home", "a home"),
        ("u ann - - /a/../b", "a home"),
        ("u ann - - / sh", "a shell"),
        ("u ann - 'open", "not closed"),
        ("u ann - open\\", "backslash"),
        ("u ann - %H", "'%H'"),
        ("r", "needs its numbers"),
        ("r ann 1-2", "no name"),
        ("r - 2-1", "no range"),
        ("m ann", "no group"),
        ("m ann 5", "a name"),
    ];
    for (line, reason) in wrong {
        let root = tree(&[]);
        let error = lines(root.path(), &format!("# first\nu good\n  {line}\n")).unwrap_err().to_string();
        assert!(error.starts_with("read line 3 of standard input: ") && error.contains(reason), "{line}: {error}");
        assert!(!root.path().join("etc").exists(), "{line}");
    }
}

#[test]
fn words_lose_quotes_and_percent_signs() {
    let Ok(Line::User(user)) = parse(br#"u "a"nn '-' "A \"b\" 'c' %% %- 5%" /a//./b/ //"#) else { panic!() };
    assert_eq!(user.description.as_deref(), Some(&b"A \"b\" 'c' % %- 5%"[..]));
    assert_eq!((&user.name[..], user.uid), (&b"ann"[..], None));
    assert_eq!((user.home.as_deref(), user.shell.as_deref()), (Some(&b"/a/b"[..]), Some(&b"/"[..])));
}

#[test]
fn what_is_there_must_be_a_plain_file_of_some_size() {
    let root = tree(&[("etc/group", ""), ("etc/passwd/is-a-directory", "")]);
    let error = lines(root.path(), "u ann\n").unwrap_err().to_string();
    assert!(error.contains("no plain file"), "{error}");

    let root = tree(&[("etc/passwd", ""), ("etc/gshadow", "ann:!::\n")]);
    let error = lines(root.path(), "g ann\n").unwrap_err().to_string();
    assert!(error.contains("the new group 'ann' is there"), "{error}");
    assert!(!root.path().join("etc/group").exists());
    let left: Vec<_> = fs::read_dir(root.path().join("etc")).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");

    let root = tree(&[("etc/passwd", "bob:x:5:5::/:/bin/sh:more\n")]);
    let error = lines(root.path(), "u ann\n").unwrap_err().to_string();
    assert!(error.contains("'bob' does not fit"), "{error}");

    let large = usize::try_from(LINES_MAX).unwrap() + 1;
    assert!(matches!(take(&vec![b'\n'; large][..], "a test", LINES_MAX), Err(Error::TooLarge { .. })));
}

#[test]
fn any_bytes_are_read_in_little_time() {
    let begin = std::time::Instant::now();
    let many: String = (0..10_000).map(|number| format!("m m{number} g\nr - {}\n", 100_000 + 2 * number)).collect();
    let root = tree(&[]);
    let notes = lines(root.path(), &many).unwrap();
    assert!(notes.iter().any(|note| note.contains("no id is free")));
    assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());

    let mut state = 1_u64;
    let alphabet = b"ab:,+-0159 \t'\"\\%/!#ugmr\n\0\xff";
    for _ in 0..5_000 {
        let bytes: Vec<u8> = (0..24)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                alphabet[usize::try_from(state >> 40).unwrap() % alphabet.len()]
            })
            .collect();
        let _ = parse(&bytes);
        let written = [
            Passwd::parse(&bytes).and_then(|entry| entry.line()),
            Group::parse(&bytes).and_then(|entry| entry.line()),
            Shadow::parse(&bytes).and_then(|entry| entry.line()),
            Gshadow::parse(&bytes).and_then(|entry| entry.line()),
        ];
        for line in written.into_iter().flatten() {
            assert!(line.iter().filter(|byte| **byte == b':').count() >= 3, "{}", line.escape_ascii());
        }
    }
}

#[test]
fn a_file_of_higher_rank_comes_instead_of_the_lines() {
    let with = |other: &str| {
        let root = tree(&[("usr/lib/sysusers.d/a.conf", "u first\n"), (other, "u other\n")]);
        let replaced = Some(Path::new("/usr/lib/sysusers.d/b.conf"));
        apply(root.path(), replaced, b"u ann\n", 0).unwrap();
        let names = read(root.path(), "etc/passwd");
        names.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(with("etc/sysusers.d/b.conf"), ["first", "other"]);
    assert_eq!(with("usr/lib/sysusers.d/b.conf"), ["first", "ann"]);
    assert_eq!(with("run/sysusers.d/aa.conf"), ["first", "other", "ann"]);
    assert_eq!(with("etc/sysusers.d/.b.conf"), ["first", "ann"]);

    let root = tree(&[("usr/lib/sysusers.d/a.conf", "u ann %H\nu bob\n")]);
    fs::create_dir_all(root.path().join("etc/sysusers.d")).unwrap();
    symlink("/dev/null", root.path().join("etc/sysusers.d/c.conf")).unwrap();
    let notes = apply(root.path(), Some(Path::new("/usr/lib/sysusers.d/c.conf")), b"u eve\n", 0).unwrap();
    assert!(notes.iter().any(|note| note.contains("line 1 of /usr/lib/sysusers.d/a.conf")), "{notes:?}");
    assert_eq!(read(root.path(), "etc/group"), "bob:x:999:\n");
}
