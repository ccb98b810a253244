//! Package archives that lie in the fields behind the plain ones: long names, PAX records, sizes in
//! other notations, members of the outer archive, the control archive.

use std::io::Write as _;
use std::path::Path;

use providers::deb::{Aliases, extract, read_control};

const STANZA: &str = "Package: x\nVersion: 1\nArchitecture: all\nInstalled-Size: 1\n";

/// A tar entry whose size field is given as its bytes say.
fn entry(name: &str, kind: u8, link: &str, size: [u8; 12], body: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    for field in [100, 108, 116] {
        header[field..field + 7].copy_from_slice(b"0000644");
    }
    header[124..136].copy_from_slice(&size);
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..265].copy_from_slice(b"ustar  \0");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut bytes = [&header, body].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn octal(size: usize) -> [u8; 12] {
    let mut field = [0; 12];
    field[..11].copy_from_slice(format!("{size:011o}").as_bytes());
    field
}

/// An entry that says what it is.
fn plain(name: &str, kind: u8, link: &str, body: &[u8]) -> Vec<u8> {
    entry(name, kind, link, octal(body.len()), body)
}

/// Another name, or whatever the record says, for the entry that follows.
fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    plain("./PaxHeaders/x", b'x', "", format!("{length}{rest}").as_bytes())
}

fn tar(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn ar(members: &[(&str, String, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, size, body) in members {
        writeln!(bytes, "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, 0, "100644").unwrap();
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

fn honest(control: &[u8], data: &[u8]) -> Vec<u8> {
    let member = |name, body: &'static [u8]| (name, body.len().to_string(), body);
    ar(&[
        member("debian-binary", b"2.0\n"),
        ("control.tar", control.len().to_string(), control),
        ("data.tar", data.len().to_string(), data),
    ])
}

fn control() -> Vec<u8> {
    tar(&[plain("./control", b'0', "", STANZA.as_bytes())])
}

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

/// The package is refused, in words, and nothing lies beside where it was to go.
#[track_caller]
fn refused(what: &str, bytes: &[u8]) {
    let scratch = tempfile::tempdir().unwrap();
    let (path, out) = (scratch.path().join("x.deb"), scratch.path().join("a/b/out"));
    std::fs::write(&path, bytes).unwrap();
    std::fs::create_dir_all(&out).unwrap();
    let error = extract(&path, &out, &Aliases::merged_usr()).map(drop).expect_err(what);
    assert!(error.to_string().contains("x.deb"), "{what}: {error}");
    let beside: Vec<String> = below(scratch.path()).into_iter().filter(|path| !path.contains("/out/")).collect();
    // The package, and three directories.
    assert_eq!(beside.len(), 4, "{what}: {beside:?}");
}

#[test]
fn the_same_means_serve_an_honest_package() {
    let parts = [pax("path", "./fine"), plain("./short", b'0', "", b"x"), plain("././@LongLink", b'L', "", b"./good")];
    let bytes = honest(&control(), &tar(&[parts.concat(), plain("./short", b'1', "./fine", b"")]));
    let scratch = tempfile::tempdir().unwrap();
    let (path, out) = (scratch.path().join("x.deb"), scratch.path().join("out"));
    std::fs::write(&path, bytes).unwrap();
    std::fs::create_dir(&out).unwrap();
    extract(&path, &out, &Aliases::merged_usr()).unwrap();
    assert_eq!(std::fs::read(out.join("fine")).unwrap(), b"x");
    assert_eq!(std::fs::read(out.join("good")).unwrap(), b"x");
}

#[test]
fn long_names_do_not_climb() {
    let file = || plain("./short", b'0', "", b"x");
    let link = || plain("./short", b'1', "./short", b"");
    for evil in ["../evil", "./a/../../evil", "/evil", "a\nb", "..", &format!("{}evil", "../".repeat(400))] {
        refused("a GNU name", &honest(&control(), &tar(&[plain("././@LongLink", b'L', "", evil.as_bytes()), file()])));
        refused("a PAX name", &honest(&control(), &tar(&[pax("path", evil), file()])));
        refused("a GNU link", &honest(&control(), &tar(&[plain("././@LongLink", b'K', "", evil.as_bytes()), link()])));
        refused("a PAX link", &honest(&control(), &tar(&[pax("linkpath", evil), link()])));
    }
    let huge = "a/".repeat(40_000);
    refused(
        "a name without end",
        &honest(&control(), &tar(&[plain("././@LongLink", b'L', "", huge.as_bytes()), file()])),
    );
}

#[test]
fn sizes_that_lie_are_refused() {
    let base256 = |first: u8, rest: u8| {
        let mut field = [rest; 12];
        field[0] = first;
        field
    };
    let sizes = [
        base256(0x80, 0xff),
        base256(0xff, 0xff),
        base256(0x80, 0x7f),
        octal(1 << 32),
        *b"7777777777777777"[..12].first_chunk().unwrap(),
        [b'x'; 12],
    ];
    for size in sizes {
        refused("a size", &honest(&control(), &tar(&[entry("./a", b'0', "", size, b"x")])));
        refused("a size of a name", &honest(&control(), &tar(&[entry("././@LongLink", b'L', "", size, b"x")])));
        refused("a size in the control archive", &honest(&tar(&[entry("./control", b'0', "", size, b"x")]), &tar(&[])));
    }
    for size in ["18446744073709551615", "9223372036854775808", "100000", "-1", "", "x"] {
        refused("a PAX size", &honest(&control(), &tar(&[pax("size", size), plain("./a", b'0', "", b"x")])));
    }
    for record in ["0 a=b\n", "99999 a=b\n", "-1 a=b\n", "5\n", "3 =", "18446744073709551616 a=b\n"] {
        let header = plain("./PaxHeaders/x", b'x', "", record.as_bytes());
        refused("a PAX record", &honest(&control(), &tar(&[header, plain("./a", b'0', "", b"x")])));
    }
    let (control, data) = (control(), tar(&[plain("./a", b'0', "", b"x")]));
    for size in [(data.len() * 2).to_string(), "9999999999".into(), "-1".into(), String::new(), "0x10".into()] {
        let members = |control_size: String, data_size: String| {
            ar(&[
                ("debian-binary", "4".into(), b"2.0\n".as_slice()),
                ("control.tar", control_size, control.as_slice()),
                ("data.tar", data_size, data.as_slice()),
            ])
        };
        refused("the size of the data archive", &members(control.len().to_string(), size.clone()));
        refused("the size of the control archive", &members(size, data.len().to_string()));
    }
}

#[test]
fn a_control_archive_holds_files_and_nothing_else() {
    let stanza = || plain("./control", b'0', "", STANZA.as_bytes());
    let many: Vec<Vec<u8>> = (0..5000).map(|number| plain(&format!("./f{number}"), b'0', "", b"")).collect();
    let odd = [
        vec![plain("./../postinst", b'0', "", b"x"), stanza()],
        vec![plain("/postinst", b'0', "", b"x"), stanza()],
        vec![plain("./a/b", b'0', "", b"x"), stanza()],
        vec![plain("./postinst", b'2', "/etc/shadow", b""), stanza()],
        vec![plain("./postinst", b'1', "./control", b""), stanza()],
        vec![plain("./postinst", b'3', "", b""), stanza()],
        vec![plain("./post\ninst", b'0', "", b"x"), stanza()],
        vec![stanza(), stanza()],
        [vec![stanza()], many].concat(),
        vec![pax("path", "../postinst"), plain("./postinst", b'0', "", b"x"), stanza()],
        Vec::new(),
    ];
    for parts in odd {
        let bytes = honest(&tar(&parts), &tar(&[]));
        refused("a control archive", &bytes);
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("x.deb");
        std::fs::write(&path, bytes).unwrap();
        assert!(read_control(&path).is_err());
    }
}

/// 100 MiB of zeros in some KiB.
#[test]
fn a_bomb_in_the_control_archive_is_stopped() {
    let zeros = vec![0u8; 100 << 20];
    let packed = zstd::encode_all(&tar(&[plain("./control", b'0', "", &zeros)])[..], 1).unwrap();
    assert!(packed.len() < 1 << 20);
    let data = tar(&[]);
    let bytes = ar(&[
        ("debian-binary", "4".into(), b"2.0\n".as_slice()),
        ("control.tar.zst", packed.len().to_string(), packed.as_slice()),
        ("data.tar", data.len().to_string(), data.as_slice()),
    ]);
    refused("a bomb", &bytes);
}
