//! Containers that lie: clear errors, no panic, and an end within bounded time and memory.

mod referee;

use std::time::{Duration, Instant};

use image::container::{self, Format, Options, Writer};
use image::vhd;
use image::{Error, Medium, Source};
use layers::{MemoryContents, Time};
use proptest::prelude::*;
use referee::{Pieces, noise};
use tempfile::NamedTempFile;
use uuid::Uuid;

const MIB: u64 = 1 << 20;
const CONTAINERS: [Format; 4] = [Format::Qcow2, Format::Vhdx, Format::Vmdk, Format::Vdi];
/// Far more than any of these small files takes, on a busy machine too.
const LONG: Duration = Duration::from_secs(20);

fn disk() -> Pieces {
    Pieces { size: 4 * MIB, pieces: vec![(0, noise(1, 300_000, 60)), (2 * MIB, noise(2, 100_000, 5))] }
}

fn written(format: Format) -> Vec<u8> {
    let (disk, file) = (disk(), NamedTempFile::new().unwrap());
    let options = Options { format, size: disk.size, compression: None, created: Time::default(), threads: 0 };
    let mut writer = Writer::new(file.reopen().unwrap(), file.path(), &options).unwrap();
    disk.write_to(&MemoryContents::default(), &mut writer).unwrap();
    writer.finish(Uuid::from_u128(7)).unwrap();
    std::fs::read(file.path()).unwrap()
}

fn dynamic_vhd() -> Vec<u8> {
    let (disk, file) = (disk(), NamedTempFile::new().unwrap());
    let options = vhd::Options { size: disk.size, created: Time::default() };
    let mut writer = vhd::Dynamic::new(file.reopen().unwrap(), file.path(), &options).unwrap();
    disk.write_to(&MemoryContents::default(), &mut writer).unwrap();
    writer.finish(Uuid::from_u128(7)).unwrap();
    std::fs::read(file.path()).unwrap()
}

/// Reads what can be read: where data is said to be, and here and there. The size may be a lie.
fn read_all(bytes: &[u8]) -> Result<(), Error> {
    let (_, disk) = container::open(bytes)?;
    let mut buffer = vec![0; 100_000];
    let (mut at, mut result) = (0, Ok(()));
    for _ in 0..50 {
        let Some(range) = disk.data_from(at)? else { break };
        assert!(range.start >= at && range.start < range.end && range.end <= disk.size(), "{range:?}");
        let count = (range.end - range.start).min(buffer.len() as u64) as usize;
        result = result.and(disk.read_at(range.start, &mut buffer[..count]));
        at = range.end;
    }
    for part in 0..20 {
        let at = disk.size() / 20 * part;
        let count = (disk.size() - at).min(buffer.len() as u64) as usize;
        result = result.and(disk.read_at(at, &mut buffer[..count]));
    }
    result
}

/// The error of a file in which some bytes were replaced.
#[track_caller]
fn refused(bytes: &[u8], changes: &[(usize, &[u8])]) -> String {
    let mut bytes = bytes.to_vec();
    for (at, change) in changes {
        bytes[*at..*at + change.len()].copy_from_slice(change);
    }
    let started = Instant::now();
    let error = read_all(&bytes).expect_err("the lie is believed");
    assert!(started.elapsed() < LONG);
    assert!(matches!(error, Error::Damaged { .. } | Error::Unsupported { .. } | Error::Overflow(_)), "{error:?}");
    println!("{error}");
    error.to_string()
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let huge = 1u64 << 60;
    assert!(refused(&written(Format::Qcow2), &[(24, &huge.to_be_bytes())]).contains("L1 table covers"));
    let all = [(24, &huge.to_be_bytes()[..]), (36, &u32::MAX.to_be_bytes())];
    assert!(refused(&written(Format::Qcow2), &all).contains("too large"));
    // As many entries as are allowed, and a file that has not as many bytes.
    assert!(refused(&written(Format::Qcow2), &[(36, &(4u32 << 20).to_be_bytes())]).contains("past the end"));
    assert!(refused(&written(Format::Vdi), &[(368, &huge.to_le_bytes())]).contains("not possible"));
    let many = [(368, &(huge >> 8).to_le_bytes()[..]), (384, &u32::MAX.to_le_bytes())];
    assert!(refused(&written(Format::Vdi), &many).contains("not possible"));
    assert!(refused(&written(Format::Vmdk), &[(12, &(huge >> 9).to_le_bytes())]).contains("not possible"));
    // The second item of the metadata, 8 bytes behind the first.
    let size_at = 2 * MIB as usize + (64 << 10) + 8;
    assert!(refused(&written(Format::Vhdx), &[(size_at, &huge.to_le_bytes())]).contains("not possible"));
    let more = (63u64 << 40).to_le_bytes();
    assert!(refused(&written(Format::Vhdx), &[(size_at, &more)]).contains("does not hold"));
}

#[test]
fn tables_that_point_elsewhere_are_refused() {
    let far = 1u64 << 50;
    let qcow2 = written(Format::Qcow2);
    let l1_at = u64::from_be_bytes(qcow2[40..48].try_into().unwrap());
    assert!(refused(&qcow2, &[(40, &far.to_be_bytes())]).contains("past the end"));
    assert!(refused(&qcow2, &[(l1_at as usize, &far.to_be_bytes())]).contains("expected here"));
    // The first L1 entry names the L1 table itself, whose entries are then those of clusters.
    let itself = read_all(&{
        let mut bytes = qcow2.clone();
        bytes[l1_at as usize..][..8].copy_from_slice(&l1_at.to_be_bytes());
        bytes
    });
    println!("{itself:?}");
    // Two tables at one place: a small file would be a disk of any length.
    let twice = [(36, &2u32.to_be_bytes()[..]), (l1_at as usize + 8, &qcow2[l1_at as usize..][..8])];
    assert!(refused(&qcow2, &twice).contains("twice"));
    let map_at = 3 * MIB as usize;
    assert!(refused(&written(Format::Vhdx), &[(map_at, &(far | 6).to_le_bytes())]).contains("expected here"));
    assert!(refused(&written(Format::Vdi), &[(512, &0x7fff_ffffu32.to_le_bytes())]).contains("the file ends"));
    let vmdk = written(Format::Vmdk);
    let footer = vmdk.len() - 1024;
    let directory = u64::from_le_bytes(vmdk[footer + 56..][..8].try_into().unwrap()) as usize * 512;
    assert!(refused(&vmdk, &[(footer + 56, &far.to_le_bytes())]).contains("directory"));
    assert!(refused(&vmdk, &[(directory, &u32::MAX.to_le_bytes())]).contains("expected here"));
    // A table that is the directory: its entry is the place of a table, and no grain lies there.
    let itself = u32::try_from(directory / 512).unwrap().to_le_bytes();
    refused(&vmdk, &[(directory, &itself)]);
    let vhd = dynamic_vhd();
    assert!(refused(&vhd, &[(1536, &0x7fff_ffffu32.to_be_bytes())]).contains("expected here"));
}

#[test]
fn a_truncated_file_is_never_taken_for_whole() {
    let files = CONTAINERS.map(written).into_iter().chain([dynamic_vhd(), written(Format::Vhd)]);
    for bytes in files {
        for part in [0, 1, 2, 3, 10, 50, 90, 99] {
            let length = bytes.len() / 100 * part;
            match container::open(&bytes[..length]) {
                // Without its footer or its head nothing tells a container from the bytes of a disk.
                Ok((Format::Raw, _)) => assert!(length < 512 || bytes[..8] == written(Format::Vhd)[..8]),
                // What was cut off may hold nothing that a reader needs, such as refcounts.
                Ok((format, medium)) => {
                    let mut found = vec![1; medium.size() as usize];
                    let whole = medium.read_at(0, &mut found).is_ok();
                    assert!(!whole || found == disk().bytes(), "{format}: {part} of 100");
                }
                Err(error) => println!("{error}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn changed_bytes_never_hang_or_panic(
        kind in 0usize..5,
        places in proptest::collection::vec((0usize..40, any::<proptest::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = if kind < 4 { written(CONTAINERS[kind]) } else { dynamic_vhd() };
        let end = bytes.len();
        // Headers, maps and metadata are where it hurts.
        let interesting = [(0, 520), (512, 2048), (1 << 16, 600), (2 << 20, 1024), ((2 << 20) + (1 << 16), 64), (3 << 20, 64), (end - 2048, 2048)];
        for (which, at, value) in places {
            let (start, length) = *interesting.get(which).unwrap_or(&(0, end));
            let start = if start < end { start } else { 0 };
            let place = start + at.index(length.min(end - start));
            bytes[place] = value;
        }
        let started = Instant::now();
        let _ = read_all(&bytes);
        prop_assert!(started.elapsed() < LONG);
    }
}
