//! qcow2 and VHD: qemu-img as referee, round trips, any number of threads, hostile input.

mod referee;

use std::path::Path;

use image::qcow2::{self, Compression};
use image::raw::RawFile;
use image::stream::Tee;
use image::vhd;
use image::{HostFile, Medium, Sink, Source};
use layers::{MemoryContents, Time};
use proptest::prelude::*;
use referee::{Pieces, flip, noise, raw, run, text, tool};
use tempfile::NamedTempFile;
use uuid::Uuid;

const MIB: u64 = 1 << 20;
const COMPRESSIONS: [Compression; 4] =
    [Compression::None, Compression::Zlib(6), Compression::Zstd(1), Compression::Zstd(9)];

/// A disk with text, noise, zeros and holes.
fn disk() -> Pieces {
    let pieces = vec![
        (0, noise(1, 700_000, 30)),
        (2 * MIB + 100, noise(2, 300_000, 255)),
        (3 * MIB, vec![0; 500_000]),
        (5 * MIB, noise(3, 3_000_000, 3)),
        (700 * MIB - 512, noise(4, 512, 255)),
    ];
    Pieces { size: 700 * MIB, pieces }
}

fn qcow2(source: &dyn Source, compression: Compression, cluster_size: u32, threads: usize) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let options = qcow2::Options { compression, cluster_size, threads, ..qcow2::Options::new(source.size()) };
    let mut writer = qcow2::Writer::new(file.reopen().unwrap(), file.path(), &options).unwrap();
    source.write_to(&MemoryContents::default(), &mut writer).unwrap();
    writer.finish().unwrap();
    file
}

fn vhd_options(size: u64) -> vhd::Options {
    vhd::Options { size, created: Time::seconds(1_709_213_862) }
}

fn fixed(source: &dyn Source) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let mut writer = vhd::Fixed::new(file.reopen().unwrap(), file.path(), &vhd_options(source.size())).unwrap();
    source.write_to(&MemoryContents::default(), &mut writer).unwrap();
    writer.finish(Uuid::from_u128(7)).unwrap();
    file
}

fn dynamic(source: &dyn Source) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let mut writer = vhd::Dynamic::new(file.reopen().unwrap(), file.path(), &vhd_options(source.size())).unwrap();
    source.write_to(&MemoryContents::default(), &mut writer).unwrap();
    writer.finish(Uuid::from_u128(7)).unwrap();
    file
}

fn medium(file: &NamedTempFile) -> HostFile {
    HostFile::new(file.reopen().unwrap(), file.path()).unwrap()
}

/// Whether a medium holds exactly the pieces and zeros.
fn assert_holds(medium: &dyn Medium, pieces: &Pieces) {
    assert_eq!(medium.size(), pieces.size);
    let expected = pieces.bytes();
    let mut found = vec![0; expected.len()];
    for (at, chunk) in found.chunks_mut(1_000_003).enumerate() {
        medium.read_at(at as u64 * 1_000_003, chunk).unwrap();
    }
    assert!(found == expected);
}

fn compare(qemu_img: &Path, format: &str, file: &NamedTempFile, raw: &NamedTempFile) -> bool {
    let verdict = run(qemu_img, &["compare", "-f", format, "-F", "raw", text(file), text(raw)]);
    verdict.success && verdict.text.contains("identical")
}

#[test]
fn qemu_img_reads_what_was_written() {
    let Some(qemu_img) = tool("qemu-img") else { return };
    let disk = disk();
    let raw = raw(&disk, &MemoryContents::default());
    for compression in COMPRESSIONS {
        for cluster_size in [512, 4096, 65_536, 2 << 20] {
            let file = qcow2(&disk, compression, cluster_size, 2);
            let verdict = run(&qemu_img, &["check", "-f", "qcow2", text(&file)]);
            let sound = verdict.success && verdict.text.contains("No errors were found");
            assert!(sound, "{compression:?} {cluster_size}: {}", verdict.text);
            assert!(!verdict.text.contains("Leaked"), "{}", verdict.text);
            assert!(compare(&qemu_img, "qcow2", &file, &raw), "{compression:?} {cluster_size}");
        }
        let file = qcow2(&disk, compression, 65_536, 2);
        let info = run(&qemu_img, &["info", text(&file)]);
        let name = if matches!(compression, Compression::Zstd(_)) { "zstd" } else { "zlib" };
        assert!(info.text.contains(&format!("compression type: {name}")), "{}", info.text);
        assert!(info.text.contains("compat: 1.1"), "{}", info.text);
    }
}

/// Passes on, and compares what was settled on the way with the file as it is in the end.
struct Settling<'a> {
    writer: qcow2::Writer,
    file: &'a NamedTempFile,
    seen: Vec<Vec<u8>>,
}

impl Sink for Settling<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), image::Error> {
        self.writer.data(offset, bytes)?;
        let settled = self.writer.settled().expect("a header that comes first") as usize;
        let mut bytes = std::fs::read(self.file.path()).unwrap();
        bytes.truncate(settled);
        self.seen.push(bytes);
        Ok(())
    }
}

#[test]
fn where_the_reach_is_known_the_file_is_settled_from_its_beginning() {
    let Some(qemu_img) = tool("qemu-img") else { return };
    let disk = disk();
    let raw = raw(&disk, &MemoryContents::default());
    for cluster_size in [512, 4096, 65_536, 2 << 20] {
        let file = NamedTempFile::new().unwrap();
        let reach = Some(qcow2::Reach::of(&disk, cluster_size).unwrap());
        let options = qcow2::Options { cluster_size, reach, ..qcow2::Options::new(disk.size()) };
        let writer = qcow2::Writer::new(file.reopen().unwrap(), file.path(), &options).unwrap();
        let mut settling = Settling { writer, file: &file, seen: Vec::new() };
        disk.write_to(&MemoryContents::default(), &mut settling).unwrap();
        let Settling { writer, seen, .. } = settling;
        writer.finish().unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(seen.iter().all(|seen| bytes.starts_with(seen)), "{cluster_size}");
        assert!(seen.last().is_some_and(|seen| seen.len() > 3_000_000), "{cluster_size}");
        let verdict = run(&qemu_img, &["check", "-f", "qcow2", text(&file)]);
        let sound = verdict.success && verdict.text.contains("No errors were found");
        assert!(sound && !verdict.text.contains("Leaked"), "{cluster_size}: {}", verdict.text);
        assert!(compare(&qemu_img, "qcow2", &file, &raw), "{cluster_size}");
        assert_holds(&qcow2::Reader::open(&medium(&file)).unwrap(), &disk);
        // What turned out to be zero is a hole in the file, and QEMU may use it.
        let plain = qcow2(&disk, Compression::None, cluster_size, 1).as_file().metadata().unwrap().len();
        assert!(bytes.len() as u64 >= plain && bytes.len() as u64 <= plain + 600_000 + 4 * (2 << 20), "{cluster_size}");
        let grow = run(&tool("qemu-io").unwrap(), &["-c", "write -P 9 100M 1M", text(&file)]);
        assert!(grow.success, "{}", grow.text);
        let verdict = run(&qemu_img, &["check", "-f", "qcow2", text(&file)]);
        assert!(verdict.success, "{cluster_size}: {}", verdict.text);
    }
}

#[test]
fn more_data_than_was_announced_is_refused() {
    let less = Pieces { size: disk().size, pieces: disk().pieces[..1].to_vec() };
    let reach = qcow2::Reach::of(&less, 65_536).unwrap();
    let file = NamedTempFile::new().unwrap();
    let write = |options: &qcow2::Options| {
        let mut writer = qcow2::Writer::new(file.reopen().unwrap(), file.path(), options)?;
        disk().write_to(&MemoryContents::default(), &mut writer)?;
        writer.finish()
    };
    let options = qcow2::Options { reach: Some(reach), ..qcow2::Options::new(disk().size) };
    assert!(write(&options).unwrap_err().to_string().contains("announced"));
    assert!(write(&qcow2::Options { cluster_size: 4096, ..options }).unwrap_err().to_string().contains("65536"));
}

#[test]
fn qemu_img_would_have_found_something() {
    let Some(qemu_img) = tool("qemu-img") else { return };
    let disk = disk();
    let raw = raw(&disk, &MemoryContents::default());
    for compression in [Compression::None, Compression::Zstd(1)] {
        let file = qcow2(&disk, compression, 65_536, 2);
        // A byte of the first cluster of data.
        flip(&file, 65_536 + 30);
        assert!(!compare(&qemu_img, "qcow2", &file, &raw), "{compression:?}");
        // A refcount: the table and its block are the last two clusters.
        let end = file.as_file().metadata().unwrap().len();
        flip(&file, end - 65_536 + 3);
        let verdict = run(&qemu_img, &["check", "-f", "qcow2", text(&file)]);
        assert!(!verdict.success, "{}", verdict.text);
    }
}

#[test]
fn we_read_what_we_wrote() {
    let disk = disk();
    for compression in COMPRESSIONS {
        let file = qcow2(&disk, compression, 65_536, 1);
        assert_holds(&qcow2::Reader::open(&medium(&file)).unwrap(), &disk);
    }
    assert_holds(&vhd::Reader::open(&medium(&fixed(&disk))).unwrap(), &disk);
    assert_holds(&vhd::Reader::open(&medium(&dynamic(&disk))).unwrap(), &disk);
}

#[test]
fn we_read_what_qemu_img_wrote() {
    let Some(qemu_img) = tool("qemu-img") else { return };
    let disk = Pieces { size: 20 * MIB, pieces: disk().pieces[..4].to_vec() };
    let raw = raw(&disk, &MemoryContents::default());
    let target = NamedTempFile::new().unwrap();
    for arguments in [
        &["-O", "qcow2"][..],
        &["-O", "qcow2", "-c"],
        &["-O", "qcow2", "-o", "compat=0.10"],
        &["-O", "qcow2", "-c", "-o", "compression_type=zstd,cluster_size=4096"],
        &["-O", "vpc", "-o", "subformat=fixed,force_size=on"],
        &["-O", "vpc", "-o", "subformat=dynamic,force_size=on"],
    ] {
        let all = [&["convert", "-f", "raw"], arguments, &[text(&raw), text(&target)]].concat();
        let verdict = run(&qemu_img, &all);
        assert!(verdict.success, "{}", verdict.text);
        let medium = medium(&target);
        if arguments[1] == "vpc" {
            assert_holds(&vhd::Reader::open(&medium).unwrap(), &disk);
        } else {
            assert_holds(&qcow2::Reader::open(&medium).unwrap(), &disk);
        }
    }
}

#[test]
fn threads_do_not_change_the_bytes() {
    let disk = disk();
    for compression in COMPRESSIONS {
        let digest = |threads| {
            let file = qcow2(&disk, compression, 65_536, threads);
            blake3::hash(&std::fs::read(file.path()).unwrap())
        };
        let first = digest(0);
        for threads in [1, 2, 5] {
            assert_eq!(digest(threads), first, "{compression:?} with {threads} threads");
        }
    }
}

#[test]
fn the_bytes_are_pinned() {
    let disk = disk();
    let digest = |file: NamedTempFile| blake3::hash(&std::fs::read(file.path()).unwrap()).to_hex()[..16].to_owned();
    let found: Vec<String> = COMPRESSIONS.map(|compression| digest(qcow2(&disk, compression, 65_536, 2))).to_vec();
    assert_eq!(found, ["815852340a67656d", "aeee1b0056b29835", "79aa3943a8a01640", "4087953b5443d096"]);
    assert_eq!([digest(fixed(&disk)), digest(dynamic(&disk))], ["22130c66ed05c7ca", "34bc9c96391d64be"]);
}

#[test]
fn qemu_img_reads_virtual_hard_disks() {
    let Some(qemu_img) = tool("qemu-img") else { return };
    let disk = disk();
    let raw = raw(&disk, &MemoryContents::default());
    for (file, broken_at) in [(fixed(&disk), 30), (dynamic(&disk), 2048 + 2048 + 2048)] {
        let info = run(&qemu_img, &["info", "-f", "vpc", text(&file)]);
        assert!(info.text.contains("700 MiB (734003200 bytes)"), "{}", info.text);
        assert!(compare(&qemu_img, "vpc", &file, &raw));
        flip(&file, broken_at);
        assert!(!compare(&qemu_img, "vpc", &file, &raw));
    }
    assert_eq!(fixed(&disk).as_file().metadata().unwrap().len(), 700 * MIB + 512);
}

#[test]
fn one_pass_feeds_several_containers() {
    let disk = disk();
    let (first, second) = (NamedTempFile::new().unwrap(), NamedTempFile::new().unwrap());
    let mut raw_file = RawFile::new(first.reopen().unwrap(), first.path(), disk.size).unwrap();
    let options = qcow2::Options { compression: Compression::Zstd(1), threads: 2, ..qcow2::Options::new(disk.size) };
    let mut writer = qcow2::Writer::new(second.reopen().unwrap(), second.path(), &options).unwrap();
    disk.write_to(&MemoryContents::default(), &mut Tee(vec![&mut raw_file, &mut writer])).unwrap();
    raw_file.finish().unwrap();
    writer.finish().unwrap();
    assert_holds(&medium(&first), &disk);
    assert_holds(&qcow2::Reader::open(&medium(&second)).unwrap(), &disk);
}

#[test]
fn what_does_not_fit_is_refused() {
    let file = NamedTempFile::new().unwrap();
    let mut writer = qcow2::Writer::new(file.reopen().unwrap(), file.path(), &qcow2::Options::new(MIB)).unwrap();
    assert!(writer.data(MIB - 1, b"xx").is_err());
    assert!(vhd::Fixed::new(file.reopen().unwrap(), file.path(), &vhd_options(MIB + 512)).is_err());
    let odd = qcow2::Options { cluster_size: 3 * 65_536, ..qcow2::Options::new(MIB) };
    assert!(qcow2::Writer::new(file.reopen().unwrap(), file.path(), &odd).is_err());
}

fn read_all(medium: &dyn Medium) {
    let mut buffer = vec![0; 100_000];
    let mut at = 0;
    // The size may be a lie: a few reads over its whole length must do.
    while at + 100_000 <= medium.size() {
        let _ = medium.read_at(at, &mut buffer);
        at += (medium.size() / 50).max(100_000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn any_pieces_come_back(
        parts in proptest::collection::vec((0u64..300_000, 1usize..200_000, any::<u8>()), 1..12),
        which in 0usize..4,
        bits in 9u32..18,
    ) {
        let mut pieces = Pieces { size: 0, pieces: Vec::new() };
        for (seed, (gap, length, level)) in (0..).zip(parts) {
            pieces.pieces.push((pieces.size + gap, noise(seed, length, level)));
            pieces.size += gap + length as u64;
        }
        pieces.size = pieces.size.next_multiple_of(MIB);
        let file = qcow2(&pieces, COMPRESSIONS[which], 1 << bits, 2);
        assert_holds(&qcow2::Reader::open(&medium(&file)).unwrap(), &pieces);
        if let Some(qemu_img) = tool("qemu-img") {
            let verdict = run(&qemu_img, &["check", "-f", "qcow2", text(&file)]);
            prop_assert!(verdict.success && !verdict.text.contains("Leaked"), "{}", verdict.text);
        }
        assert_holds(&vhd::Reader::open(&medium(&dynamic(&pieces))).unwrap(), &pieces);
    }

    #[test]
    fn a_damaged_container_never_hangs_or_panics(
        head in proptest::collection::vec((0usize..120, any::<u8>()), 0..6),
        rest in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..60),
        kind in 0usize..4,
    ) {
        let disk = Pieces { size: 4 * MIB, pieces: vec![(0, noise(1, 300_000, 60)), (2 * MIB, noise(2, 100_000, 5))] };
        let file = match kind {
            0 => qcow2(&disk, Compression::None, 4096, 0),
            1 => qcow2(&disk, Compression::Zlib(1), 65_536, 0),
            2 => qcow2(&disk, Compression::Zstd(1), 4096, 0),
            _ => dynamic(&disk),
        };
        let mut bytes = std::fs::read(file.path()).unwrap();
        let length = bytes.len();
        for (at, value) in head {
            bytes[at] = value;
        }
        for (at, value) in rest {
            bytes[at.index(length)] = value;
        }
        if let Ok(reader) = qcow2::Reader::open(&bytes) {
            read_all(&reader);
        }
        if let Ok(reader) = vhd::Reader::open(&bytes) {
            read_all(&reader);
        }
    }
}
