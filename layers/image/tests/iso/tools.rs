//! xorriso, isoinfo and 7-Zip read what we write, and we read what xorriso and genisoimage write.

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use image::iso::{self, Extensions, Volume};
use image::volume;
use layers::{Content, Kind};

use super::referee::{Planter, noise, raw, run, text, tool};
use super::roundtrip::read;
use super::{MIB, bytes_of, corners, everything, medium, options, path};

/// A tree without the links that are too long for libisofs and isoinfo, which keep 1024 bytes of a
/// path.
fn modest() -> Planter {
    let mut plant = corners();
    for name in ["links/to4000", "links/to600", "links/like8"] {
        plant.tree.remove(&path(name)).expect("a link");
    }
    plant
}

#[test]
fn xorriso_lists_the_tree() {
    let Some(xorriso) = tool("xorriso") else { return };
    let plant = modest();
    let file = raw(&iso::plan(&plant.tree, &options()).unwrap(), &plant.contents);
    let list = |file: &str| run(&xorriso, &["-indev", file, "-find", "/", "-exec", "lsdl"]);
    let verdict = list(text(&file));
    assert!(verdict.success, "{}", verdict.text);
    assert!(!verdict.text.contains("SORRY") && !verdict.text.contains("FAILURE"), "{}", verdict.text);
    let entries = verdict.text.lines().filter(|line| line.contains(" '/") && !line.starts_with("Drive")).count();
    assert_eq!(entries, plant.tree.len(), "{}", verdict.text);
    let line = |name: &str| {
        let end = format!("'{name}'");
        verdict.text.lines().find(|line| line.ends_with(&end) || line.contains(&format!("{end} -> "))).unwrap_or("")
    };
    assert!(line("/usr/bin/su").starts_with("-rwsr-sr-x"), "{}", verdict.text);
    assert!(line("/usr/bin/owned").contains(" 70000"), "{}", line("/usr/bin/owned"));
    assert!(line("/etc/hostname").contains("Feb 29") && line("/etc/hostname").contains(" 6 "), "{}", verdict.text);
    assert!(line("/links/like1").ends_with("-> '/etc/hostname'"), "{}", verdict.text);
    assert!(line("/dev/null").starts_with("crw-rw-rw-") && line("/dev/null").contains(" 1,3 "), "{}", verdict.text);
    assert!(verdict.text.contains(&"n".repeat(253)));
    // It sees a record that does not fit.
    let root = Volume::open(&medium(&file)).unwrap().boot_entries();
    assert!(root.unwrap().is_empty());
    let mut at = [0; 4];
    file.as_file().read_exact_at(&mut at, 32768 + 158).unwrap();
    file.as_file().write_all_at(&[0xff; 64], u64::from(u32::from_le_bytes(at)) * 2048).unwrap();
    // It turns to Joliet then.
    assert!(!list(text(&file)).text.contains("'/dev/null'"));
}

#[test]
fn isoinfo_finds_both_extensions() {
    let Some(isoinfo) = tool("isoinfo") else { return };
    let mut plant = modest();
    let file = everything(&mut plant, MIB);
    let verdict = run(&isoinfo, &["-d", "-i", text(&file)]);
    let expected = [
        "System id: LINUX",
        "Volume id: Test 1",
        "Publisher id: nobody",
        "El Torito VD version 1 found",
        "Joliet with UCS level 3 found",
        "Rock Ridge signatures version 1 found",
        "Bootid 88 (bootable)",
        "Nsect 4",
    ];
    for expected in expected {
        assert!(verdict.text.contains(expected), "{expected} in {}", verdict.text);
    }
    let rock = run(&isoinfo, &["-l", "-R", "-i", text(&file)]);
    for expected in ["hostname", "70000", "like1 -> /etc/hostname", "deep.file.name", "drwxr-x---"] {
        assert!(rock.text.contains(expected), "{expected} in {}", rock.text);
    }
    let joliet = run(&isoinfo, &["-f", "-J", "-i", text(&file)]);
    for expected in ["/usr/bin/tool;1", "/Case.txt;1", "/case_1.txt;1", "/a_b_c_.conf;1"] {
        assert!(joliet.text.contains(expected), "{expected} in {}", joliet.text);
    }
    let plain = run(&isoinfo, &["-f", "-i", text(&file)]);
    for expected in ["/USR/BIN/TOOL.;1", "/CASE.TXT;1", "/BOOT/GRUB/ELTORITO.IMG;1", "DEEP_FILE.NAME;1"] {
        assert!(plain.text.contains(expected), "{expected} in {}", plain.text);
    }
    // It takes the bytes of a path from where the record says.
    let read = run(&isoinfo, &["-R", "-x", "/etc/hostname", "-i", text(&file)]);
    assert_eq!(read.text, "image\n");
    let sector = std::fs::read(file.path()).unwrap().windows(6).position(|bytes| bytes == b"image\n").unwrap();
    super::referee::flip(&file, sector as u64);
    assert_ne!(run(&isoinfo, &["-R", "-x", "/etc/hostname", "-i", text(&file)]).text, "image\n");
    file.as_file().write_all_at(b"X", 18 * 2048 + 88).unwrap();
    assert!(!run(&isoinfo, &["-d", "-i", text(&file)]).text.contains("Joliet with UCS level 3 found"));
}

#[test]
fn seven_zip_finds_no_errors() {
    let Some(tool) = tool("7z") else { return };
    let mut plant = Planter::default();
    plant.file("etc/hostname", "image\n").file("a long name with äöü.text", noise(3, 100_000, 255));
    let file = raw(&iso::plan(&plant.tree, &options()).unwrap(), &plant.contents);
    let verdict = run(&tool, &["t", text(&file)]);
    assert!(verdict.success && verdict.text.contains("Everything is Ok"), "{}", verdict.text);
    let list = run(&tool, &["l", text(&file)]);
    assert!(list.text.contains("a long name with äöü.text"), "{}", list.text);
    assert!(list.text.contains("Type = Iso") && !list.text.contains("Warning"), "{}", list.text);
    let length = file.as_file().metadata().unwrap().len();
    file.as_file().set_len(length - 50 * 1024).unwrap();
    assert!(!run(&tool, &["t", text(&file)]).success);
}

/// A directory of this machine, and what its files hold.
fn planted() -> (tempfile::TempDir, Vec<u8>) {
    let from = tempfile::tempdir().unwrap();
    let at = |name: &str| from.path().join(name);
    let large = noise(3, 2 << 20, 99);
    // Deeper than the standard has it, so that Rock Ridge moves directories.
    std::fs::create_dir_all(at("1/2/3/4/5/6/7/8/9/10/11")).unwrap();
    std::fs::write(at("1/2/3/4/5/6/7/8/9/10/11/large"), &large).unwrap();
    std::fs::create_dir(at("d")).unwrap();
    for index in 0..300 {
        std::fs::write(at(&format!("d/file number {index}")), index.to_string()).unwrap();
    }
    std::fs::write(at(&"n".repeat(240)), "long").unwrap();
    std::fs::write(at("tool"), "tool").unwrap();
    std::fs::set_permissions(at("tool"), std::fs::Permissions::from_mode(0o750)).unwrap();
    std::fs::hard_link(at("tool"), at("tool2")).unwrap();
    std::os::unix::fs::symlink(format!("../x/./{}/y", "t".repeat(240)), at("link")).unwrap();
    (from, large)
}

#[test]
fn images_of_others_are_read() {
    let (from, large) = planted();
    let source = from.path().to_str().unwrap();
    let ways: [(&str, &[&str]); 5] = [
        ("xorriso", &["-as", "mkisofs", "-quiet", "-R", "-J"]),
        ("xorriso", &["-hardlinks", "on", "-as", "mkisofs", "-quiet", "-R", "-D"]),
        ("genisoimage", &["-quiet", "-R", "-J"]),
        ("genisoimage", &["-quiet", "-J", "-D"]),
        ("genisoimage", &["-quiet", "-l", "-D"]),
    ];
    for (name, arguments) in ways {
        let Some(tool) = tool(name) else { return };
        let file = tempfile::NamedTempFile::new().unwrap();
        let arguments = [arguments, &["-V", "VOLUME", "-o", text(&file), source]].concat();
        let verdict = run(&tool, &arguments);
        assert!(verdict.success, "{arguments:?}: {}", verdict.text);
        let medium = medium(&file);
        let inner = Volume::open(&medium).unwrap();
        assert_eq!(inner.volume_id(), "VOLUME");
        assert!(inner.modified().is_some(), "{arguments:?}");
        let tree = read(&medium).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        let deep = if inner.extensions() == Extensions::None { None } else { tree.get(&path(DEEP)) };
        match inner.extensions() {
            Extensions::RockRidge => {
                let expected = 318;
                // Where directories are moved to stays visible.
                let moved = tree.iter().filter(|(path, _)| path.as_bytes().starts_with(b"rr_moved")).count();
                assert!(tree.len() - moved == expected, "{arguments:?}: {}", tree.len());
                assert!(moved <= 1);
                let tool = &tree.get(&path("tool")).unwrap().meta;
                let host = std::fs::metadata(from.path().join("tool")).unwrap();
                assert_eq!((tool.mtime.seconds, tool.mode & 0o700), (host.mtime(), 0o700));
                let target = format!("../x/./{}/y", "t".repeat(240));
                assert_eq!(tree.get(&path("link")).unwrap().kind, Kind::Symlink(target.as_bytes().into()));
                assert!(tree.get(&path(&"n".repeat(240))).is_some());
            }
            Extensions::Joliet => assert!(tree.get(&path("d/file number 299")).is_some()),
            Extensions::None => assert!(tree.iter().any(|(path, _)| path.to_string().contains("/d/file_num"))),
        }
        if let Some(deep) = deep {
            assert_eq!(deep.kind, Kind::File(Content::of(&large)), "{arguments:?}");
        }
    }
}

/// The file that lies deepest.
const DEEP: &str = "1/2/3/4/5/6/7/8/9/10/11/large";

#[test]
fn blkid_names_it_as_we_do() {
    let Some(blkid) = tool("blkid") else { return };
    let mut plant = corners();
    let file = everything(&mut plant, MIB);
    let medium = medium(&file);
    let volume = volume::open(&medium).unwrap().unwrap();
    let verdict = run(&blkid, &["-p", "-o", "export", text(&file)]);
    for expected in [format!("UUID={}", volume.uuid()), format!("LABEL={}", volume.label()), "TYPE=iso9660".into()] {
        let expected = expected.replace(' ', "\\ ");
        assert!(verdict.text.contains(&expected), "{expected} in {}", verdict.text);
    }
    assert_eq!(bytes_of(&plant, "etc/hostname"), b"image\n");
}
