//! File systems that lie: clear errors, no panic, and an end within bounded time and memory.

use std::time::{Duration, Instant};

use image::Error;
use image::squashfs::Options;
use tempfile::NamedTempFile;

use super::referee::{Planter, noise, run, text, tool};
use super::{options, read, set, written};

/// Far more than any of these small files takes, on a busy machine too.
const LONG: Duration = Duration::from_secs(120);

fn planted() -> Planter {
    let mut plant = Planter::default();
    for index in 0..400usize {
        plant.file(&format!("d/f{index}"), vec![index as u8; 10 * index]);
    }
    plant.file("large", noise(1, 300_000, 90)).directory("d/e/f");
    for name in ["large", "d/e"] {
        let meta = &mut plant.tree.get_mut(&super::path(name)).unwrap().meta;
        set(meta, "user.long", &[b'v'; 300]);
        set(meta, "trusted.own", name.as_bytes());
    }
    plant
}

fn bytes() -> Vec<u8> {
    let plant = planted();
    let file = written(&plant.tree, &plant.contents, &Options { block_size: 16384, ..options() });
    std::fs::read(file.path()).unwrap()
}

/// The same from mksquashfs with nothing compressed, so that a changed byte reaches every field.
fn plain() -> Option<Vec<u8>> {
    let mksquashfs = tool("mksquashfs")?;
    let from = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(from.path().join("outer/inner")).unwrap();
    std::fs::write(from.path().join("large"), noise(1, 300_000, 90)).unwrap();
    for index in 0..100 {
        std::fs::write(from.path().join(format!("outer/f{index}")), vec![index; 50 * usize::from(index)]).unwrap();
    }
    std::os::unix::fs::symlink("target", from.path().join("link")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    let _ = rustix::fs::setxattr(from.path().join("large"), "user.some", &[b'v'; 300], flags);
    let file = NamedTempFile::new().unwrap();
    let arguments = [from.path().to_str().unwrap(), text(&file), "-noappend", "-b", "16384"];
    let verdict = run(&mksquashfs, &[&arguments[..], &["-comp", "zstd", "-noI", "-noD", "-noF", "-noX"]].concat());
    assert!(verdict.success, "{}", verdict.text);
    Some(std::fs::read(file.path()).unwrap())
}

fn field(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The error of a file in which some bytes were replaced.
#[track_caller]
fn refused(bytes: &[u8], changes: &[(usize, &[u8])]) -> String {
    let mut bytes = bytes.to_vec();
    for (at, change) in changes {
        bytes[*at..*at + change.len()].copy_from_slice(change);
    }
    let started = Instant::now();
    let error = read(&bytes).expect_err("the lie is believed");
    assert!(started.elapsed() < LONG);
    assert!(matches!(error, Error::Damaged { .. } | Error::Unsupported { .. }), "{error:?}");
    println!("{error}");
    error.to_string()
}

#[test]
fn superblocks_that_lie_are_refused() {
    let bytes = bytes();
    assert!(read(&bytes).is_ok());
    let far = (1u64 << 60).to_le_bytes();
    assert!(refused(&bytes, &[(12, &0u32.to_le_bytes())]).contains("blocks of 0 bytes"));
    assert!(refused(&bytes, &[(12, &(1u32 << 30).to_le_bytes())]).contains("not possible"));
    assert!(refused(&bytes, &[(22, &[13, 0])]).contains("2 to the 13"));
    assert!(refused(&bytes, &[(28, &[3, 0])]).contains("version 3.0"));
    assert!(refused(&bytes, &[(20, &[5, 0])]).contains("lz4"));
    assert!(refused(&bytes, &[(26, &[0, 0])]).contains("no table of owners"));
    assert!(refused(&bytes, &[(26, &[255, 255])]).contains("referred to"));
    assert!(refused(&bytes, &[(32, &far)]).contains("referred to"));
    assert!(refused(&bytes, &[(40, &far)]).contains("ends at byte"));
    assert!(refused(&bytes, &[(48, &far)]).contains("owners"));
    assert!(refused(&bytes, &[(56, &far)]).contains("attributes"));
    assert!(refused(&bytes, &[(64, &far)]).contains("tables of inodes"));
    assert!(refused(&bytes, &[(72, &far)]).contains("tables of inodes"));
    assert!(refused(&bytes, &[(80, &far)]).contains("fragments"));
    // The root is a file: the first inode is.
    assert!(refused(&bytes, &[(32, &[0; 8])]).contains("not a directory"));
}

#[test]
fn a_directory_inside_itself_is_refused() {
    let Some(bytes) = plain() else { return };
    assert!(read(&bytes).is_ok());
    let at = bytes.windows(5).position(|window| window == b"inner").unwrap();
    // The entry before the name begins with the place of the inode in its block; all are in one.
    let root = (field(&bytes, 32) as u16).to_le_bytes();
    assert!(field(&bytes, 32) < 8192);
    assert!(refused(&bytes, &[(at - 8, &root)]).contains("comes before its own"));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let Some(bytes) = plain() else { return };
    let at = bytes.windows(5).position(|window| window == b"inner").unwrap();
    assert!(refused(&bytes, &[(at, b"in/er")]).contains("no file can have the name"));
    assert!(refused(&bytes, &[(at, b"in\0er")]).contains("no file can have the name"));
    assert!(refused(&bytes, &[(at - 2, &[255, 0])]).contains("cannot be"));
    let at = bytes.windows(3).position(|window| window == b"f99").unwrap();
    assert!(refused(&bytes, &[(at, b"f98")]).contains("two names f98"));
}

#[test]
fn a_small_file_cannot_claim_endless_bytes() {
    let Some(bytes) = plain() else { return };
    // The inode of "large" is an extended one, for its attributes: type 9, then its fields.
    let size = 300_000u64.to_le_bytes();
    let Some(at) = bytes.windows(8).position(|window| window == size) else {
        println!("skipped: the file system of the tests keeps no attributes");
        return;
    };
    assert_eq!(bytes[at - 24], 9);
    let mut bytes = bytes.clone();
    bytes[at..at + 8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    let volume = image::volume::open(&bytes).unwrap().unwrap();
    let (_, id) = volume.names(volume.root()).unwrap().into_iter().find(|(name, _)| **name == *b"large").unwrap();
    assert_eq!(volume.file(id).unwrap().size, 1 << 60);
    let started = Instant::now();
    let error = volume.read(id, 1 << 59, &mut [0; 100]).unwrap_err().to_string();
    assert!(error.contains("ends before what lies in it") || error.contains("cannot be"), "{error}");
    assert!(started.elapsed() < LONG);
}

#[test]
fn damage_never_hangs_or_panics() {
    let started = Instant::now();
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize
    };
    for bytes in [Some(bytes()), plain()].into_iter().flatten() {
        let tables = field(&bytes, 64) as usize;
        let end = field(&bytes, 40) as usize;
        let mut errors = 0;
        for round in 0..600 {
            let mut bytes = bytes.clone();
            for _ in 0..1 + round % 12 {
                // The superblock, the tables, or anywhere.
                let at = match random() % 8 {
                    0 => random() % 96,
                    1 => random() % end,
                    _ => tables + random() % (end - tables),
                };
                bytes[at] = random() as u8;
            }
            errors += u32::from(read(&bytes).is_err());
        }
        assert!(errors > 100, "{errors}");
        for part in 0..100 {
            assert!(read(&bytes[..end / 100 * part].to_vec()).is_err(), "{part} of 100");
        }
        assert!(read(&bytes[..end - 1].to_vec()).is_err(), "a byte less");
    }
    assert!(started.elapsed() < LONG);
}
