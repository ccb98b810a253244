//! Compression: gzip, xz and zstd as referees, any number of threads, one pass into a digest.

mod referee;

use std::io::Write;

use image::Source;
use image::background::Background;
use image::compress::{Compression, Encoder};
use image::digest::{Digest, Hashed};
use image::sequential::Sequential;
use image::stream::Tee;
use layers::{MemoryContents, Sha256};
use referee::{Pieces, flip, noise, run, tool};
use tempfile::NamedTempFile;

const MIB: u64 = 1 << 20;
const FORMATS: [(Compression, &str); 4] = [
    (Compression::Gzip(6), "gzip"),
    (Compression::Xz(0), "xz"),
    (Compression::KernelXz(0), "xz"),
    (Compression::Zstd(3), "zstd"),
];

/// Text, noise and zeros, longer than a few parts of each format.
fn disk() -> Pieces {
    let pieces = vec![
        (0, noise(1, 3_000_000, 30)),
        (4 * MIB + 100, noise(2, 1_000_000, 255)),
        (12 * MIB, noise(3, 5_000_000, 3)),
        (30 * MIB - 512, noise(4, 512, 255)),
    ];
    Pieces { size: 30 * MIB + 1, pieces }
}

fn compressed(source: &dyn Source, compression: Compression, threads: usize) -> Vec<u8> {
    let encoder = Encoder::new(Vec::new(), compression, source.size(), threads).unwrap();
    let mut sink = Sequential::new(encoder, "memory");
    source.write_to(&MemoryContents::default(), &mut sink).unwrap();
    sink.finish(source.size()).unwrap().finish().unwrap()
}

fn stored(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn the_tools_read_what_was_written() {
    let disk = disk();
    let expected = Sha256::of(&disk.bytes());
    for (compression, name) in FORMATS {
        let Some(tool) = tool(name) else { continue };
        let file = stored(&compressed(&disk, compression, 2));
        let output = std::process::Command::new(&tool).arg("-dc").stdin(file.reopen().unwrap()).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(Sha256::of(&output.stdout), expected, "{name}");
        flip(&file, file.as_file().metadata().unwrap().len() / 2);
        let output = std::process::Command::new(&tool).arg("-t").stdin(file.reopen().unwrap()).output().unwrap();
        assert!(!output.status.success(), "{name} does not see a changed byte");
    }
}

#[test]
fn xz_knows_the_sizes_of_the_blocks() {
    let Some(xz) = tool("xz") else { return };
    let file = stored(&compressed(&disk(), Compression::Xz(0), 2));
    let path = file.path().with_extension("xz");
    std::fs::copy(file.path(), &path).unwrap();
    let listing = run(&xz, &["--list", "--robot", "-vv", path.to_str().unwrap()]);
    let _ = std::fs::remove_file(&path);
    let blocks: Vec<&str> = listing.text.lines().filter(|line| line.starts_with("block\t")).collect();
    assert_eq!(blocks.len(), 4, "{}", listing.text);
    // Both sizes in the header, and the block is sound.
    assert!(blocks.iter().all(|block| block.contains("\tcu\t")), "{}", listing.text);
}

#[test]
fn small_inputs() {
    for (compression, name) in FORMATS {
        let Some(tool) = tool(name) else { continue };
        for size in [0, 1, 100, 256 * 1024, 256 * 1024 + 1, 8 * MIB, 8 * MIB + 1] {
            let disk = Pieces { size, pieces: vec![(0, noise(size, size as usize, 20))] };
            let file = stored(&compressed(&disk, compression, 1));
            let output = std::process::Command::new(&tool).arg("-dc").stdin(file.reopen().unwrap()).output().unwrap();
            assert!(output.status.success() && output.stdout == disk.bytes(), "{name} with {size} bytes");
        }
    }
}

#[test]
fn threads_and_the_size_of_writes_do_not_change_the_bytes() {
    let disk = disk();
    for (compression, name) in FORMATS {
        let first = compressed(&disk, compression, 0);
        for threads in [1, 2, 5] {
            assert!(compressed(&disk, compression, threads) == first, "{name} with {threads} threads");
        }
        let mut encoder = Encoder::new(Vec::new(), compression, disk.size, 2).unwrap();
        for piece in disk.bytes().chunks(77_777) {
            encoder.write_all(piece).unwrap();
            encoder.flush().unwrap();
        }
        assert!(encoder.finish().unwrap() == first, "{name} in small writes");
    }
}

/// Real code, which made a reused state of zlib-rs give other bytes than a fresh one.
#[test]
fn what_a_thread_did_before_does_not_change_the_bytes() {
    let mut program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    program.truncate(12 << 20);
    let disk = Pieces { size: program.len() as u64, pieces: vec![(0, program)] };
    for compression in [Compression::Gzip(1), Compression::Gzip(6), Compression::Zstd(1)] {
        let first = compressed(&disk, compression, 0);
        for threads in [1, 3] {
            assert!(compressed(&disk, compression, threads) == first, "{compression:?} with {threads} threads");
        }
    }
}

#[test]
fn the_bytes_are_pinned() {
    let disk = disk();
    let found =
        FORMATS.map(|(compression, _)| blake3::hash(&compressed(&disk, compression, 2)).to_hex()[..16].to_owned());
    assert_eq!(found, ["6c079975a70cf0d6", "626e3fa9d04367cd", "7311aa41a766ee52", "f90c8477589fcdc0"]);
}

#[test]
fn one_pass_gives_a_compressed_file_and_both_digests() {
    let disk = disk();
    let encoder = Encoder::new(Hashed::new(Vec::new()), Compression::Zstd(3), disk.size, 1).unwrap();
    let mut stream = Sequential::new(encoder, "memory");
    let mut digest = Background::start(Digest::default()).unwrap();
    disk.write_to(&MemoryContents::default(), &mut Tee(vec![&mut stream, &mut digest])).unwrap();
    let (bytes, of_file, length) = stream.finish(disk.size).unwrap().finish().unwrap().finish();
    assert_eq!((of_file, length), (Sha256::of(&bytes), bytes.len() as u64));
    assert_eq!(digest.finish().unwrap().finish(disk.size).unwrap(), Sha256::of(&disk.bytes()));
}

#[test]
fn levels_that_are_not_there_are_refused() {
    for bad in [Compression::Gzip(0), Compression::Gzip(10), Compression::Xz(10), Compression::Zstd(20)] {
        assert!(Encoder::new(Vec::new(), bad, 0, 0).is_err(), "{bad:?}");
    }
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let disk = disk();
    for (compression, name) in FORMATS {
        let file = full.try_clone().unwrap();
        let mut sink = Sequential::new(Encoder::new(file, compression, disk.size, 2).unwrap(), "/dev/full");
        let written = disk.write_to(&MemoryContents::default(), &mut sink);
        let error = match written.and_then(|()| sink.finish(disk.size)) {
            Err(error) => error.to_string(),
            Ok(encoder) => encoder.finish().map(|_| ()).unwrap_err().to_string(),
        };
        assert!(error.contains("/dev/full") || error.contains("No space left"), "{name}: {error}");
    }
}
