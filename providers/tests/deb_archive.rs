//! Package archives against dpkg-deb, tar and dpkg; and archives that mean harm.

mod deb_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use deb_support::{Apt, run, text, tool};
use layers::{Kind, TreePath};
use providers::deb::dpkg::{Member, State, database, parse_status};
use providers::deb::{Aliases, extract, read_control};

/// Packages with hard links, odd owners, setuid files, many conffiles, long names, symbolic links
/// at the top, both compressions.
const AWKWARD: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "git",
    "libc6",
    "perl-base",
    "openssh-client",
    "sudo",
    "man-db",
    "systemd",
    "at",
    "login",
    "apt",
    "exim4-base",
    "ncurses-term",
    "ca-certificates",
    "libpam-runtime",
    "debconf",
    "tzdata",
];

fn downloaded(suite: &str) -> Option<Vec<PathBuf>> {
    if !(tool("dpkg-deb") && tool("tar")) {
        return None;
    }
    let apt = Apt::of(suite)?;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("debs-{suite}"));
    Some(apt.download(AWKWARD, &directory))
}

/// `type mode owner size-or-target time` of each path, as tar lists a package's data.
fn listing(deb: &Path) -> BTreeMap<String, String> {
    let script =
        "dpkg-deb --fsys-tarfile \"$1\" | tar --list --verbose --numeric-owner --full-time --quoting-style=escape";
    let output = run(Command::new("sh").args(["-c", script, "-"]).arg(deb).env("TZ", "UTC"));
    let mut found = BTreeMap::new();
    for line in text(&output).lines() {
        let mut words = line.split_ascii_whitespace();
        let (mode, owner, size) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let (date, time) = (words.next().unwrap(), words.next().unwrap());
        let rest = line.split_once(time).unwrap().1.trim_start();
        let (path, target) = match rest.split_once(" -> ").or_else(|| rest.split_once(" link to ")) {
            Some((path, target)) => (path, target),
            None => (rest, ""),
        };
        let size = if mode.starts_with('-') { size } else { "" };
        let meta = if mode.starts_with('h') { String::new() } else { format!("{mode} {owner} {size} {date} {time}") };
        let line = format!("{} {meta} {}", &mode[..1], hexadecimal(target));
        found.insert(hexadecimal(path.trim_end_matches('/')), line);
    }
    found
}

/// Turns tar's octal escapes into the hexadecimal ones of `escape_ascii`.
fn hexadecimal(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        shown.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                shown.push_str(&format!("\\x{byte:02x}"));
                rest = &after[3..];
            }
            None => {
                shown.push('\\');
                rest = after;
            }
        }
    }
    shown + rest
}

fn shown_mode(kind: char, mode: u32) -> String {
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn shown_time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[test]
fn entries_are_those_that_tar_lists() {
    for suite in ["bookworm", "trixie"] {
        let Some(debs) = downloaded(suite) else { return };
        assert!(debs.len() >= AWKWARD.len() - 2);
        for deb in debs {
            let scratch = tempfile::tempdir().unwrap();
            let payload = extract(&deb, scratch.path(), &Aliases::default()).unwrap();
            let theirs = listing(&deb);
            let mut ours = BTreeMap::new();
            let mut linked: BTreeSet<&TreePath> = BTreeSet::new();
            for (path, entry) in &payload.entries {
                if let Kind::HardLink(first) = &entry.kind {
                    linked.insert(first);
                    linked.insert(path);
                }
            }
            for (path, entry) in payload.entries.iter().filter(|(path, _)| !payload.implied.contains(path)) {
                let bytes = path.as_bytes();
                let name = if path.is_root() { ".".to_owned() } else { format!("./{}", bytes.escape_ascii()) };
                let meta = &entry.meta;
                let (kind, size, target) = match &entry.kind {
                    Kind::File(content) => ('-', content.size.to_string(), String::new()),
                    Kind::Directory => ('d', String::new(), String::new()),
                    Kind::Symlink(target) => ('l', String::new(), target.escape_ascii().to_string()),
                    Kind::HardLink(_) => ('-', String::new(), String::new()),
                    other => panic!("{other:?}"),
                };
                let line = format!(
                    "{} {}/{} {size} {}",
                    shown_mode(kind, meta.mode),
                    meta.uid,
                    meta.gid,
                    shown_time(meta.mtime.seconds)
                );
                ours.insert(name, (path, format!("{kind} {line} {target}")));
                // What lies on the disk is what the entry says.
                let host = path.under(scratch.path());
                match &entry.kind {
                    Kind::File(content) => {
                        let bytes = std::fs::read(&host).unwrap();
                        assert_eq!(layers::Content::of(&bytes), *content, "{path}");
                    }
                    Kind::Symlink(target) => {
                        use std::os::unix::ffi::OsStrExt;
                        assert_eq!(std::fs::read_link(&host).unwrap().as_os_str().as_bytes(), &**target);
                    }
                    _ => {}
                }
            }
            let (our_names, their_names): (Vec<_>, Vec<_>) = (ours.keys().collect(), theirs.keys().collect());
            let differing: Vec<_> = our_names.iter().zip(&their_names).filter(|(a, b)| a != b).take(3).collect();
            assert!(our_names == their_names, "{}: {differing:?}", deb.display());
            for (name, (path, line)) in &ours {
                // Which of a file's names is the link is our own choice.
                if !linked.contains(*path) {
                    assert_eq!(line, &theirs[name], "{}: {name}", deb.display());
                }
            }
        }
    }
}

#[test]
fn the_database_is_dpkgs() {
    if !tool("dpkg") {
        return;
    }
    for suite in ["bookworm", "trixie"] {
        let Some(debs) = downloaded(suite) else { return };
        let mut payloads = Vec::new();
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        let admin = root.join("var/lib/dpkg");
        std::fs::create_dir_all(admin.join("info")).unwrap();
        std::fs::create_dir_all(admin.join("triggers")).unwrap();
        std::fs::create_dir_all(admin.join("updates")).unwrap();
        std::fs::write(admin.join("status"), "").unwrap();
        let mut unpacked = Vec::new();
        for (at, deb) in debs.iter().enumerate() {
            // A preinst would run on this machine.
            if read_control(deb).unwrap().file("preinst").is_some() {
                continue;
            }
            let directory = scratch.path().join(format!("payload-{at}"));
            std::fs::create_dir(&directory).unwrap();
            payloads.push(extract(deb, &directory, &Aliases::default()).unwrap());
            unpacked.push(deb);
        }
        assert!(unpacked.len() >= 8, "{}", unpacked.len());
        let as_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        let mut command = if as_root { Command::new("dpkg") } else { Command::new("unshare") };
        if !as_root {
            command.args(["--map-root-user", "dpkg"]);
        }
        command.arg(format!("--root={}", root.display())).args(["--force-all", "--unpack"]).args(&unpacked);
        command.env("DPKG_FRONTEND_LOCKED", "").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        run(&mut command);
        let members: Vec<Member<'_>> = payloads.iter().map(|payload| Member::of(payload, State::Unpacked)).collect();
        let files = database(&members, "amd64").unwrap();
        let ours = |name: &str| &files[&TreePath::new(format!("var/lib/dpkg/{name}")).unwrap()].bytes;

        // dpkg notes "newconffile" until a package is configured; ours is what it becomes then.
        let plain = |text: &[u8]| {
            let text = String::from_utf8(text.to_vec()).unwrap();
            let lines = text.lines().map(|line| match line.split_once(" newconffile") {
                Some((path, rest)) if path.starts_with(" /") => format!("{path} SUM{rest}"),
                _ => match line.rsplit_once(' ') {
                    Some((path, sum)) if path.starts_with(" /") && sum.len() == 32 => format!("{path} SUM"),
                    _ => line.to_owned(),
                },
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        let theirs = std::fs::read(admin.join("status")).unwrap();
        assert_eq!(plain(ours("status")), plain(&theirs), "{suite}");
        let records = parse_status(ours("status")).unwrap();
        assert_eq!(records.len(), unpacked.len());

        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(admin.join("info")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert_eq!(
                String::from_utf8_lossy(ours(&format!("info/{name}"))),
                String::from_utf8_lossy(&std::fs::read(admin.join("info").join(&name)).unwrap()),
                "{suite}: {name}"
            );
            names.insert(name);
        }
        let made = files.keys().filter_map(|path| path.as_bytes().strip_prefix(b"var/lib/dpkg/info/"));
        let made: BTreeSet<String> = made.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect();
        assert_eq!(made, names);
        for name in ["triggers/File", "triggers/ldconfig"] {
            let Ok(theirs) = std::fs::read_to_string(admin.join(name)) else { continue };
            let sorted = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
            assert_eq!(sorted(std::str::from_utf8(ours(name)).unwrap()), sorted(&theirs), "{suite}: {name}");
        }

        // The referee objects to a database that was tampered with.
        let broken = String::from_utf8(theirs).unwrap().replacen("Version: ", "Version: 0+", 1);
        assert_ne!(plain(ours("status")), plain(broken.as_bytes()));
    }
}

#[test]
fn aliases_put_files_below_the_real_directory() {
    let Some(debs) = downloaded("bookworm") else { return };
    let deb = debs.iter().find(|deb| deb.file_name().unwrap().to_string_lossy().starts_with("bash_")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let payload = extract(deb, scratch.path(), &Aliases::merged_usr()).unwrap();
    let find = |name: &str| payload.entries.iter().find(|(path, _)| *path == TreePath::new(name).unwrap());
    assert!(find("usr/bin/bash").is_some() && find("bin/bash").is_none() && find("bin").is_none());
    assert!(payload.listed.contains(&b"/bin/bash".to_vec()));
    assert!(scratch.path().join("usr/bin/bash").is_file() && !scratch.path().join("bin").exists());
}

/// One entry of a made-up data archive.
struct Part<'a> {
    name: &'a [u8],
    kind: u8,
    link: &'a [u8],
    body: &'a [u8],
}

fn part<'a>(name: &'a str, kind: u8, link: &'a str, body: &'a str) -> Part<'a> {
    Part { name: name.as_bytes(), kind, link: link.as_bytes(), body: body.as_bytes() }
}

fn tarball(parts: &[Part<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        let mut header = [0u8; 512];
        header[..part.name.len()].copy_from_slice(part.name);
        header[100..107].copy_from_slice(b"0000644");
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", part.body.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[156] = part.kind;
        header[157..157 + part.link.len()].copy_from_slice(part.link);
        header[257..265].copy_from_slice(b"ustar  \0");
        header[329..336].copy_from_slice(b"0000000");
        header[337..344].copy_from_slice(b"0000000");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(part.body);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn ar(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, body) in members {
        bytes.extend_from_slice(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", body.len()).as_bytes(),
        );
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

const STANZA: &str = "Package: x\nVersion: 1\nArchitecture: all\nInstalled-Size: 1\n";

fn deb(data: Vec<u8>) -> Vec<u8> {
    let control = tarball(&[part("./control", b'0', "", STANZA), part("./conffiles", b'0', "", "/etc/x\n")]);
    ar(&[("debian-binary", b"2.0\n".to_vec()), ("control.tar", control), ("data.tar", data)])
}

fn try_extract(bytes: &[u8]) -> (tempfile::TempDir, Result<providers::deb::Payload, String>) {
    let scratch = tempfile::tempdir().unwrap();
    let (path, out) = (scratch.path().join("x.deb"), scratch.path().join("out"));
    std::fs::write(&path, bytes).unwrap();
    std::fs::create_dir(&out).unwrap();
    let result = extract(&path, &out, &Aliases::merged_usr()).map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        format!("{error}{source}")
    });
    (scratch, result)
}

#[test]
fn nothing_gets_out_of_the_destination() {
    let refused: &[(&str, &[Part<'_>])] = &[
        ("climbs out", &[part("./../evil", b'0', "", "x")]),
        ("climbs out", &[part("./a/../../evil", b'0', "", "x")]),
        ("absolute", &[part("/evil", b'0', "", "x")]),
        ("newline", &[part("./a\nb", b'0', "", "x")]),
        ("no directory", &[part("./a", b'2', "/tmp", ""), part("./a/evil", b'0', "", "x")]),
        ("no directory", &[part("./a", b'2', "..", ""), part("./a/evil", b'0', "", "x")]),
        ("no earlier file", &[part("./a", b'1', "../../etc/passwd", "")]),
        ("no earlier file", &[part("./a", b'1', "etc/passwd", "")]),
        ("no earlier file", &[part("./l", b'2', "/etc/passwd", ""), part("./a", b'1', "./l", "")]),
        ("unknown tar type", &[part("./a", b'S', "", "")]),
        ("no directory", &[part("./bin", b'0', "", "x")]),
        ("twice", &[part("./a", b'0', "", "x"), part("./a/", b'5', "", "")]),
    ];
    for (reason, parts) in refused {
        let (scratch, result) = try_extract(&deb(tarball(parts)));
        let error = result.expect_err(reason);
        assert!(error.contains(reason) || error.contains("climbs"), "{error} should say {reason}");
        let names: BTreeSet<_> =
            std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}

#[test]
fn what_is_odd_but_harmless_is_kept() {
    let parts = [
        part("./", b'5', "", ""),
        part("./bin/", b'5', "", ""),
        part("./bin/x", b'0', "", "first"),
        part("./usr/bin/y", b'1', "./bin/x", ""),
        part("./usr/bin/x", b'0', "", "second"),
    ];
    // A file that others link to cannot be replaced.
    assert!(try_extract(&deb(tarball(&parts))).1.unwrap_err().contains("twice"));
    let parts = [
        part("./etc/x", b'0', "", "conf"),
        part("./dev/null", b'3', "", ""),
        part("./run/fifo", b'6', "", ""),
        part("./sbin/z", b'0', "", "z"),
        part("./usr/sbin/a", b'1', "sbin/z", ""),
        part("./bin/c", b'2', "/usr/bin/c", ""),
        Part { name: b"./caf\xe9", kind: b'0', link: b"", body: b"" },
    ];
    let (scratch, result) = try_extract(&deb(tarball(&parts)));
    let payload = result.unwrap();
    let kinds: BTreeMap<String, Kind> =
        payload.entries.iter().map(|(path, entry)| (path.to_string(), entry.kind.clone())).collect();
    assert!(matches!(kinds["/usr/sbin/a"], Kind::File(_)), "the first name by path holds the content");
    assert_eq!(kinds["/usr/sbin/z"], Kind::HardLink(TreePath::new("usr/sbin/a").unwrap()));
    assert_eq!(kinds["/dev/null"], Kind::CharDevice { major: 0, minor: 0 });
    assert_eq!(kinds["/run/fifo"], Kind::Fifo);
    assert!(kinds.contains_key("/caf\\xe9"));
    assert!(!kinds.contains_key("/usr/bin/c"), "a link that leads to itself");
    assert!(payload.implied.contains(&TreePath::new("usr/sbin").unwrap()));
    assert_eq!(hex::encode(payload.conffiles[&b"/etc/x"[..]]), "3a8e4c06e471595f6eb262bb9b5582d9");
    assert!(!scratch.path().join("out/dev/null").exists());
    assert_eq!(payload.listed[0], b"/.");
}

#[test]
fn damage_is_noticed() {
    let good = deb(tarball(&[part("./a", b'0', "", "hello")]));
    assert!(try_extract(&good).1.is_ok());
    for end in [0, 4, 30, 100, good.len() / 2, good.len() - 2000] {
        assert!(try_extract(&good[..end]).1.is_err(), "cut at {end}");
    }
    let mut sum = good.clone();
    let at = sum.windows(3).rposition(|window| window == b"./a").unwrap();
    sum[at + 2] = b'b';
    assert!(try_extract(&sum).1.unwrap_err().contains("checksum"));
    let no_data = ar(&[("debian-binary", b"2.0\n".to_vec())]);
    assert!(try_extract(&no_data).1.unwrap_err().contains("lacks"));
    let version =
        ar(&[("debian-binary", b"3.0\n".to_vec()), ("control.tar", tarball(&[])), ("data.tar", tarball(&[]))]);
    assert!(try_extract(&version).1.unwrap_err().contains("format"));
}

#[test]
fn a_bomb_is_stopped() {
    // A gibibyte of zeros, said to have one kibibyte.
    let mut data = tarball(&[part("./a", b'0', "", "")]);
    data.truncate(512);
    data[124..135].copy_from_slice(format!("{:011o}", 1u64 << 30).as_bytes());
    data[148..156].copy_from_slice(b"        ");
    let sum: u32 = data.iter().map(|&byte| u32::from(byte)).sum();
    data[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    std::io::Write::write_all(&mut encoder, &data).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 1 << 30), &mut encoder).unwrap();
    let packed = encoder.finish().unwrap();
    assert!(packed.len() < 1 << 20);
    let control = tarball(&[part("./control", b'0', "", STANZA)]);
    let bytes = ar(&[("debian-binary", b"2.0\n".to_vec()), ("control.tar", control), ("data.tar.zst", packed)]);
    assert!(try_extract(&bytes).1.unwrap_err().contains("far more than it states"));
}
