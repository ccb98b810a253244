//! Images that lie: clear errors, no panic, and an end within bounded time and memory.

use std::time::{Duration, Instant};

use image::Error;
use image::iso::{self, Volume};
use proptest::prelude::*;

use super::referee::{Planter, raw};
use super::roundtrip::read;
use super::{MIB, corners, everything, options};

/// Far more than any of these small images takes, on a busy machine too.
const LONG: Duration = Duration::from_secs(20);

fn small() -> Vec<u8> {
    let mut plant = Planter::default();
    plant.file("a/b/c", "c").file("a/file", "file");
    plant.file(&"n".repeat(200), "long");
    let file = raw(&iso::plan(&plant.tree, &options()).unwrap(), &plant.contents);
    std::fs::read(file.path()).unwrap()
}

/// Where a text is.
#[track_caller]
fn find(bytes: &[u8], text: &[u8]) -> usize {
    bytes.windows(text.len()).position(|window| window == text).expect("the text is there")
}

/// The error of an image in which some bytes were replaced.
#[track_caller]
fn refused(bytes: &[u8], at: usize, change: &[u8], reason: &str) {
    let mut bytes = bytes.to_vec();
    bytes[at..at + change.len()].copy_from_slice(change);
    let started = Instant::now();
    let error = read(&bytes).expect_err("the lie is believed");
    assert!(started.elapsed() < LONG);
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains(reason), "{error}");
}

#[test]
fn lies_are_refused() {
    let bytes = small();
    assert!(read(&bytes).is_ok());
    // The record of a/b: its identifier "B" lies 33 bytes behind its start.
    let record = (0..bytes.len() - 40)
        .find(|&at| bytes[at + 32..at + 34] == *b"\x01B" && bytes[at + 25] == 2)
        .expect("a record of B");
    let root = u32::from_le_bytes(bytes[32768 + 158..][..4].try_into().unwrap());
    refused(&bytes, record + 2, &root.to_le_bytes(), "by itself");
    refused(&bytes, record + 10, &u32::MAX.to_le_bytes(), "have more than 512 MiB");
    refused(&bytes, record, &[20], "does not fit");
    refused(&bytes, record + 32, &[200], "longer than the record");
    refused(&bytes, record + 2, &0x00ff_ffffu32.to_le_bytes(), "ends at byte");
    // A continuation that leads to itself.
    let lead = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"CE\x1c\x01")).nth(1).expect("a continuation");
    let sector = u32::try_from(lead / 2048).unwrap();
    let offset = u32::try_from(lead % 2048).unwrap();
    let circle = [sector.to_le_bytes(), [0; 4], offset.to_le_bytes(), [0; 4], 28u32.to_le_bytes()].concat();
    refused(&bytes, lead + 4, &circle, "continuations");
    refused(&bytes, lead + 20, &5000u32.to_le_bytes(), "leaves its sector");
    // A name that climbs out.
    let name = find(&bytes, b"NM\x09\x01\0file");
    refused(&bytes, name + 5, b"../x", "cannot have the name");
    refused(&bytes, name + 2, &[3], "system use entry");
    refused(&bytes, 32768 + 128, &4096u16.to_le_bytes(), "logical blocks");
    refused(&bytes, 32768, &[9], "no primary volume descriptor");
}

#[test]
fn a_directory_is_no_file_and_a_file_no_directory() {
    let bytes = small();
    let name = find(&bytes, b"NM\x09\x01\0file");
    // The attributes lie 56 bytes before the name: PX of 44, TF of 12.
    let mode = name - 56 + 4;
    assert_eq!(bytes[mode - 4..mode - 2], *b"PX");
    refused(&bytes, mode, &0o040_755u32.to_le_bytes(), "directory");
    refused(&bytes, mode, &0o030_755u32.to_le_bytes(), "no kind of file");
}

#[test]
fn a_truncated_image_is_never_taken_for_whole() {
    let mut plant = corners();
    let bytes = std::fs::read(everything(&mut plant, 2 * MIB).path()).unwrap();
    let whole = read(&bytes).unwrap();
    for part in 0..100 {
        let cut = &bytes[..bytes.len() / 100 * part].to_vec();
        let found = match image::volume::identify(cut).unwrap() {
            Some(_) => read(cut),
            None => continue,
        };
        // The EFI system partition lies behind every file.
        assert!(found.is_err() || found.is_ok_and(|found| found == whole && part > 50), "{part} of 100");
    }
}

#[test]
fn a_catalog_that_lies_is_refused() {
    let mut plant = corners();
    let bytes = std::fs::read(everything(&mut plant, 2 * MIB).path()).unwrap();
    assert_eq!(Volume::open(&bytes).unwrap().boot_entries().unwrap().len(), 2);
    let catalog = u32::from_le_bytes(bytes[17 * 2048 + 71..][..4].try_into().unwrap()) as usize * 2048;
    for at in [0, 1, 5, 28, 30] {
        let mut bytes = bytes.clone();
        bytes[catalog + at] ^= 0xff;
        assert!(Volume::open(&bytes).unwrap().boot_entries().is_err(), "{at}");
    }
    let mut bytes = bytes;
    bytes[17 * 2048 + 71..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Volume::open(&bytes).unwrap().boot_entries().is_err());
    // What lies in the rest of it may be anything.
    bytes[17 * 2048 + 71..][..4].copy_from_slice(&(catalog as u32 / 2048).to_le_bytes());
    bytes[catalog + 64..catalog + 2048].fill(0x90);
    assert!(Volume::open(&bytes).unwrap().boot_entries().unwrap().len() < 64);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn changed_bytes_never_hang_or_panic(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30),
        joliet: bool,
    ) {
        let mut bytes = small();
        if joliet {
            let at = find(&bytes, b"SP\x07\x01\xbe\xef");
            bytes[at] = 0;
        }
        let (start, end) = (32768, bytes.len());
        for (at, value) in places {
            bytes[start + at.index(end - start)] = value;
        }
        let started = Instant::now();
        if let Ok(volume) = Volume::open(&bytes) {
            let _ = volume.boot_entries();
            let _ = read(&bytes);
        }
        prop_assert!(started.elapsed() < LONG);
    }
}
