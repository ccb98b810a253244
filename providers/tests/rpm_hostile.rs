//! Packages that lie, in their headers and in their payloads.

mod package_files;

use std::path::Path;

use layers::{Kind, Sha256, TreePath};
use package_files::made_up::{
    self, Item, Value, Values, cpio, end, honest, longs, main_header, package, sha256, shorts, signature_header,
    string, strings, stripped, words,
};
use providers::rpm::file::Error;
use providers::rpm::{Payload, Unverified, extract};
use providers::unpack::Aliases;

/// Every path below a directory.
fn below(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            found.extend(below(&entry.path()));
        }
    }
    found
}

/// Extracts what trusted metadata vouch for, and looks for what lies beside where it was to go.
#[track_caller]
fn unpack(bytes: &[u8], look: impl FnOnce(&Path)) -> Result<Payload, Error> {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("a/b/out");
    std::fs::create_dir_all(&out).unwrap();
    let path = made_up::write(scratch.path(), bytes);
    let opened = Unverified::open(&path).and_then(|package| package.accept(Sha256::of(bytes)));
    let result = opened.and_then(|package| extract(&package, &out, &Aliases::merged_usr()));
    look(&out);
    let beside: Vec<String> = below(scratch.path()).into_iter().filter(|path| !path.contains("/out/")).collect();
    // The package, and three directories.
    assert_eq!(beside.len(), 4, "{beside:?}");
    result
}

#[track_caller]
fn refused(what: &str, bytes: &[u8]) {
    let error = unpack(bytes, |_| {}).map(drop).expect_err(what);
    assert!(error.to_string().contains("x.rpm") || matches!(error, Error::Io(_)), "{what}: {error}");
}

/// A package with one file, whose payload has something else.
#[track_caller]
fn refused_payload(what: &str, payload: &[Vec<u8>]) {
    refused(what, &honest(&[Item::file("/a", b"body")], &payload.concat()));
}

fn payload_of(items: &[(&Item, &[u8])]) -> Vec<u8> {
    let members = items.iter().map(|(item, body)| cpio(&format!(".{}", item.path), body.len(), body));
    [members.collect::<Vec<_>>().concat(), end()].concat()
}

#[test]
fn the_same_means_serve_an_honest_package() {
    let content = b"content".as_slice();
    let linked = |path: &str| Item { inode: 7, ..Item::file(path, content) };
    let items = [
        Item::directory("/d"),
        linked("/d/one"),
        linked("/d/two"),
        Item::symlink("/link", "d/one"),
        Item { capabilities: "cap_net_raw=ep".into(), mode: 0o104_755, ..Item::file("/bin/tool", content) },
        Item { flags: 1 << 6, ..Item::file("/ghost", b"never there") },
    ];
    let plain = [
        cpio("./d", 0, b""),
        cpio("./d/one", 0, b""),
        cpio("./d/two", 7, content),
        cpio("./link", 5, b"d/one"),
        cpio("/bin/tool", 7, content),
        end(),
    ];
    let numbers = [
        stripped(0, b""),
        stripped(1, b""),
        stripped(2, content),
        stripped(3, b"d/one"),
        stripped(4, content),
        stripped(u32::MAX, b""),
    ];
    // Content with the first of the names, as other programs write it.
    let first = [cpio("./d", 0, b""), cpio("./d/one", 7, content), cpio("./d/two", 0, b""), plain[3..].concat()];
    for payload in [plain.concat(), numbers.concat(), first.concat()] {
        let payload = unpack(&honest(&items, &payload), |out| {
            assert_eq!(std::fs::read(out.join("d/one")).unwrap(), content);
            assert_eq!(std::fs::read(out.join("usr/bin/tool")).unwrap(), content);
            assert!(!out.join("ghost").exists());
        });
        let payload = payload.unwrap();
        let kinds: Vec<_> = payload.entries.iter().map(|(path, entry)| (path.to_string(), &entry.kind)).collect();
        let paths: Vec<&str> = kinds.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["/d", "/d/one", "/d/two", "/link", "/usr", "/usr/bin", "/usr/bin/tool"]);
        assert_eq!(kinds[2].1, &Kind::HardLink(TreePath::new("d/one").unwrap()));
        assert_eq!(payload.files.len(), 6);
        assert_eq!(payload.entries[6].1.meta.mode, 0o4755);
    }
}

#[test]
fn names_do_not_climb() {
    for evil in ["/../evil", "/a/../../evil", "/a/..", "//evil", "/a//b", "/a/./b", "evil", "a/b", "/a\nb", "/."] {
        let item = Item::file(evil, b"x");
        let payload = payload_of(&[(&item, b"x")]);
        refused(evil, &honest(&[item], &payload));
    }
    let long = format!("/{}", "n".repeat(300));
    let deep = "/d".repeat(3000);
    for evil in [long, deep] {
        let item = Item::file(&evil, b"x");
        refused("a long name", &honest(std::slice::from_ref(&item), &payload_of(&[(&item, b"x")])));
    }
    for evil in ["../a", "./../a", "/../../evil", "./b", "b", "", ".", "./a/", "././a", "./a\0b"] {
        refused_payload(evil, &[cpio(evil, 4, b"body"), end()]);
    }
    for number in [1, 2, 0x7fff_ffff, 0xffff_fffe] {
        refused_payload("a number", &[stripped(number, b"body"), end()]);
    }
}

#[test]
fn links_lead_nowhere() {
    let link = Item::symlink("/a", "/tmp");
    let below = Item::file("/a/b", b"x");
    let first = [(&link, b"/tmp".as_slice()), (&below, b"x")];
    refused("a file through a link", &honest(&[link.clone(), below.clone()], &payload_of(&first)));
    let last = [(&below, b"x".as_slice()), (&link, b"/tmp")];
    refused("a link in place of a directory", &honest(&[below.clone(), link.clone()], &payload_of(&last)));
    refused("another target", &honest(std::slice::from_ref(&link), &payload_of(&[(&link, b"/etc")])));
    refused("no target", &honest(&[Item::symlink("/a", "")], &payload_of(&[(&link, b"")])));
    let file = Item::file("/bin", b"x");
    refused("a file in place of an alias", &honest(std::slice::from_ref(&file), &payload_of(&[(&file, b"x")])));
    // A link that an alias makes a link to itself is left out, with its neighbours left alone.
    let items = [Item::symlink("/bin/x", "../usr/bin/x"), Item::file("/usr/bin/x", b"x")];
    let payload = payload_of(&[(&items[0], b"../usr/bin/x"), (&items[1], b"x")]);
    let found = unpack(&honest(&items, &payload), |_| {}).unwrap();
    assert!(
        found
            .entries
            .iter()
            .any(|(path, entry)| path.as_bytes() == b"usr/bin/x" && matches!(entry.kind, Kind::File(_)))
    );
}

#[test]
fn payloads_have_what_the_header_has() {
    let body = || cpio("./a", 4, b"body");
    refused_payload("nothing", &[end()]);
    refused_payload("no end", &[body()]);
    refused_payload("a file twice", &[body(), body(), end()]);
    refused_payload("a file too many", &[body(), cpio("./b", 0, b""), end()]);
    refused_payload("a file too large", &[cpio("./a", 5, b"body!"), end()]);
    refused_payload("a file too small", &[cpio("./a", 3, b"bod"), end()]);
    refused_payload("another content", &[cpio("./a", 4, b"BODY"), end()]);
    refused_payload("a size without bytes", &[cpio("./a", 0xffff_ffff, b"body"), end()]);
    refused_payload("no archive", &[b"body".repeat(100)]);
    refused_payload("bytes behind the end", &[body(), end(), vec![0; 100_000]]);
    refused_payload("a name without an end", &[body()[..111].to_vec()]);
    let mut name = body();
    name[94..102].copy_from_slice(b"ffffffff");
    refused_payload("a long name", &[name, end()]);
    let mut number = body();
    number[54..62].copy_from_slice(b"+0000004");
    refused_payload("a number with a sign", &[number, end()]);
    for length in 1..body().len() {
        refused_payload("an archive cut short", &[body()[..length].to_vec()]);
    }
    let empty = honest(&[], &end());
    assert!(unpack(&empty, |_| {}).unwrap().entries.is_empty());
}

#[test]
fn names_of_one_file_agree() {
    let one = Item { inode: 7, ..Item::file("/one", b"content") };
    let two = Item { path: "/two".into(), ..one.clone() };
    let both = |payload: &[Vec<u8>], items: &[Item]| honest(items, &payload.concat());
    let items = [one.clone(), two.clone()];
    let with = |name: &str| cpio(name, 7, b"content");
    let without = |name: &str| cpio(name, 0, b"");
    unpack(&both(&[without("./one"), with("./two"), end()], &items), |_| {}).unwrap();
    refused("no content", &both(&[without("./one"), without("./two"), end()], &items));
    refused("content twice", &both(&[with("./one"), with("./two"), end()], &items));
    refused("half the names", &both(&[with("./two"), end()], &items));
    let other = Item { inode: 7, ..Item::file("/two", b"another") };
    refused("other content", &both(&[without("./one"), cpio("./two", 7, b"another"), end()], &[one.clone(), other]));
    let longer = Item { size: 8, ..two };
    refused("other sizes", &both(&[without("./one"), with("./two"), end()], &[one, longer]));
}

#[test]
fn lists_that_lie_are_refused() {
    let items = [Item::file("/a", b"body"), Item::file("/b", b"body")];
    let payload = payload_of(&[(&items[0], b"body"), (&items[1], b"body")]);
    let with = |tag: u32, value: Value| {
        let main = main_header(&items, &payload).set(tag, value).bytes(63);
        package(&signature_header(&main, &payload), &main, &payload)
    };
    unpack(&with(1037, words(&[0, 0])), |_| {}).unwrap();
    let lies = [
        (1116, words(&[0, 2])),
        (1116, words(&[0, u32::MAX])),
        (1116, words(&[0])),
        (1117, strings(&["a", "a"])),
        (1118, strings(&["/", "/b/../"])),
        (1030, shorts(&[0o100_644])),
        (1030, shorts(&[0o100_644, 0o644])),
        (1030, shorts(&[0o100_644, 0o170_644])),
        (5008, longs(&[4])),
        (5008, longs(&[4, u64::MAX])),
        (5008, longs(&[4, 65 << 30])),
        (1034, words(&[0])),
        (1035, strings(&["", "xyz"])),
        (1035, strings(&["00", "00"])),
        (1036, strings(&[""])),
        (1039, strings(&["root"])),
        (1037, words(&[])),
        (1027, strings(&["/a", "/b"])),
        (5010, strings(&["cap_everything=ep", ""])),
        (5011, words(&[99])),
        (1124, string("drpm")),
        (1125, string("zip")),
        (1125, string("gzip")),
        (1125, string("xz")),
        (1125, string("lzma")),
        (1125, string("zstd")),
        (1125, string("bzip2")),
        (1106, words(&[1])),
        (1000, string("")),
    ];
    for (tag, value) in lies {
        refused(&format!("tag {tag}"), &with(tag, value));
    }
    for tag in [1000, 1001, 1002, 1022, 1030, 1034, 1036, 1037, 1039, 1040, 1116] {
        let main = main_header(&items, &payload).without(&[tag]).bytes(63);
        refused(&format!("no tag {tag}"), &package(&signature_header(&main, &payload), &main, &payload));
    }
}

#[test]
fn headers_that_lie_take_no_memory() {
    let sound = honest(&[Item::file("/a", b"body")], &[cpio("./a", 4, b"body"), end()].concat());
    unpack(&sound, |_| {}).unwrap();
    let main = sound.windows(8).rposition(|window| window == [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0]).unwrap();
    for header in [96, main] {
        for (field, value) in
            [(8, u32::MAX), (12, u32::MAX), (8, 0x1000_0000), (12, 0x0fff_ffff), (8, 0), (12, 0), (8, 65_535)]
        {
            let mut bytes = sound.clone();
            bytes[header + field..header + field + 4].copy_from_slice(&value.to_be_bytes());
            refused("a size of a header", &bytes);
        }
    }
    // A file that is nothing but promises.
    let mut bytes = sound[..main + 16].to_vec();
    bytes[main + 12..main + 16].copy_from_slice(&(100u32 << 20).to_be_bytes());
    refused("a promise", &bytes);
    let many: Vec<Item> = (0..3).map(|number| Item::file(&format!("/{number}"), b"")).collect();
    let mut values = main_header(&many, b"");
    values = values.set(1117, Value(8, 1_000_001, vec![0; 1_000_001]));
    let main = values.bytes(63);
    refused("a million names", &package(&signature_header(&main, b""), &main, b""));
}

/// Gigabytes of zeros in some KiB.
#[test]
fn bombs_are_stopped() {
    let mut zeros = Vec::new();
    let mut encoder = zstd::Encoder::new(&mut zeros, 1).unwrap();
    std::io::Write::write_all(&mut encoder, &[cpio("./a", 4, b"body"), end()].concat()).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 1 << 30), &mut encoder).unwrap();
    encoder.finish().unwrap();
    assert!(zeros.len() < 1 << 20);
    let main = main_header(&[Item::file("/a", b"body")], &zeros).set(1125, string("zstd")).bytes(63);
    refused("a bomb behind the end", &package(&signature_header(&main, &zeros), &main, &zeros));
    // A window of 2 GiB.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(31).unwrap();
    encoder.long_distance_matching(false).unwrap();
    std::io::Write::write_all(&mut encoder, &[cpio("./a", 4, b"body"), end()].concat()).unwrap();
    let window = encoder.finish().unwrap();
    let main = main_header(&[Item::file("/a", b"body")], &window).set(1125, string("zstd")).bytes(63);
    refused("a window", &package(&signature_header(&main, &window), &main, &window));
}

#[test]
fn special_files_are_entries_and_nothing_else() {
    let special = |path: &str, kind: u16| Item { mode: kind | 0o600, digest: String::new(), ..Item::file(path, b"") };
    let items = [
        special("/block", 0o060_000),
        special("/char", 0o020_000),
        special("/fifo", 0o010_000),
        special("/socket", 0o140_000),
    ];
    let members: Vec<(&Item, &[u8])> = items.iter().map(|item| (item, &b""[..])).collect();
    let payload = unpack(&honest(&items, &payload_of(&members)), |out| assert!(below(out).is_empty())).unwrap();
    let kinds: Vec<&Kind> = payload.entries.iter().map(|(_, entry)| &entry.kind).collect();
    let none = (0, 0);
    let (major, minor) = none;
    assert_eq!(
        kinds,
        [&Kind::BlockDevice { major, minor }, &Kind::CharDevice { major, minor }, &Kind::Fifo, &Kind::Socket]
    );
    for item in &items {
        let payload = [cpio(&format!(".{}", item.path), 4, b"body"), end()].concat();
        refused("a device with content", &honest(std::slice::from_ref(item), &payload));
    }
    let ghost = Item { flags: 1 << 6, ..Item::file("/ghost", b"body") };
    let payload = unpack(&honest(std::slice::from_ref(&ghost), &payload_of(&[(&ghost, b"body")])), |out| {
        assert!(below(out).is_empty())
    });
    assert!(payload.unwrap().entries.is_empty());
    refused("a large ghost", &honest(&[ghost], &[cpio("./ghost", 5, b"body!"), end()].concat()));
}

#[test]
fn triggers_that_lie_are_refused() {
    use providers::rpm::{Header, Scripts};
    let sound = Values::default()
        .set(1000, string("x"))
        .set(1065, strings(&["one", "two"]))
        .set(1066, strings(&["bash", "dash", "zsh"]))
        .set(1067, strings(&["", "", ""]))
        .set(1068, words(&[1 << 16, 1 << 16, 1 << 17]))
        .set(1069, words(&[0, 0, 1]))
        .set(1092, strings(&["/bin/sh", "<lua>"]));
    let read = |values: &Values| Scripts::read(&Header::parse(&values.bytes(63)).unwrap());
    assert_eq!(read(&sound).unwrap().triggers.len(), 2);
    for (what, lie) in [
        ("a script that is not there", sound.clone().set(1069, words(&[0, 0, 2]))),
        ("a script without a condition", sound.clone().set(1069, words(&[0, 0, 0]))),
        ("two events", sound.clone().set(1068, words(&[1 << 16, 1 << 17, 1 << 17]))),
        ("no event", sound.clone().set(1068, words(&[0, 0, 0]))),
        ("too few versions", sound.clone().set(1067, strings(&["", ""]))),
        ("too few programs", sound.clone().set(1092, strings(&["/bin/sh"]))),
        ("no programs", sound.clone().without(&[1092])),
        ("no scripts", sound.clone().without(&[1065])),
        ("too many", sound.clone().set(1066, strings(&vec!["x"; 20_000]))),
    ] {
        assert!(read(&lie).is_err(), "{what}");
    }
}

#[test]
fn a_digest_of_the_payload_that_is_weak_does_not_count() {
    let payload = [cpio("./a", 4, b"body"), end()].concat();
    let items = [Item::file("/a", b"body")];
    for (algorithm, digest) in [(1, "0".repeat(32)), (2, "0".repeat(40)), (99, sha256(&payload)), (8, "00".into())] {
        let main = main_header(&items, &payload).set(5092, strings(&[digest])).set(5093, words(&[algorithm])).bytes(63);
        refused("a digest", &package(&signature_header(&main, &payload), &main, &payload));
    }
}
