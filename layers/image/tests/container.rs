//! Every container through one door: what qemu-img makes of ours and we of its, found by the
//! bytes alone; what we do not read is refused with what to do instead.

mod referee;

use std::path::Path;

use image::compress::Compression;
use image::container::{self, Format, Options, Writer};
use image::{HostFile, Medium, Source};
use layers::{MemoryContents, Time};
use referee::{Pieces, flip, noise, raw, run, text, tool};
use tempfile::NamedTempFile;
use uuid::Uuid;

const MIB: u64 = 1 << 20;

/// Text, noise, zeros and holes, over more than one table of each format, and the last sector.
fn disk() -> Pieces {
    let pieces = vec![
        (0, noise(1, 700_000, 30)),
        (2 * MIB + 100, noise(2, 300_000, 255)),
        (3 * MIB, vec![0; 500_000]),
        (5 * MIB, noise(3, 3_000_000, 3)),
        (40 * MIB - 512, noise(4, 512, 255)),
    ];
    Pieces { size: 40 * MIB, pieces }
}

fn written(disk: &Pieces, format: Format, compression: Option<Compression>, threads: usize) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let options = Options { format, size: disk.size, compression, created: Time::default(), threads };
    let mut writer = Writer::of(disk, file.reopen().unwrap(), file.path(), &options).unwrap();
    disk.write_to(&MemoryContents::default(), &mut writer).unwrap();
    writer.finish(Uuid::from_u128(7)).unwrap();
    file
}

fn medium(file: &NamedTempFile) -> HostFile {
    HostFile::new(file.reopen().unwrap(), file.path()).unwrap()
}

/// As qemu-img names it.
fn name(format: Format) -> &'static str {
    if format == Format::Vhd { "vpc" } else { format.as_str() }
}

/// Whether a file is found to be of this format, and holds exactly the disk: read whole, and by
/// what it tells of its data.
#[track_caller]
fn assert_holds(file: &NamedTempFile, format: Format, disk: &Pieces) {
    let (found, medium) = container::open(medium(file)).unwrap();
    assert_eq!((found, medium.size()), (format, disk.size));
    let expected = disk.bytes();
    let mut bytes = vec![1; expected.len()];
    for (at, chunk) in bytes.chunks_mut(1_000_003).enumerate() {
        medium.read_at(at as u64 * 1_000_003, chunk).unwrap();
    }
    assert!(bytes == expected, "{format}");
    let (mut at, mut told, mut pieces) = (0, 0, vec![0; expected.len()]);
    while let Some(range) = medium.data_from(at).unwrap() {
        assert!(range.start >= at && range.end > range.start && range.end <= disk.size, "{range:?}");
        medium.read_at(range.start, &mut pieces[range.start as usize..range.end as usize]).unwrap();
        told += range.end - range.start;
        at = range.end;
    }
    assert!(pieces == expected, "{format}");
    // Most of the disk is holes; preallocated files and fixed disks on some file systems tell none.
    println!("{format}: {told} bytes of {} may hold data", disk.size);
}

fn compare(qemu_img: &Path, format: &str, file: &NamedTempFile, raw: &NamedTempFile) -> bool {
    let verdict = run(qemu_img, &["compare", "-f", format, "-F", "raw", text(file), text(raw)]);
    verdict.success && verdict.text.contains("identical")
}

#[test]
fn qemu_img_reads_every_container() {
    let Some(qemu_img) = tool("qemu-img") else { return };
    let disk = disk();
    let raw = raw(&disk, &MemoryContents::default());
    for &format in Format::ALL {
        let file = written(&disk, format, None, 2);
        let info = run(&qemu_img, &["info", "-f", name(format), text(&file)]);
        assert!(info.text.contains("40 MiB (41943040 bytes)"), "{}", info.text);
        assert!(compare(&qemu_img, name(format), &file, &raw), "{format}");
        if !matches!(format, Format::Raw | Format::Vhd) {
            let verdict = run(&qemu_img, &["check", "-f", name(format), text(&file)]);
            assert!(verdict.success && verdict.text.contains("No errors"), "{format}: {}", verdict.text);
        }
        // A byte of the first block of data: the referee sees it.
        let first = match format {
            Format::Raw | Format::Vhd => 30,
            Format::Qcow2 | Format::Vmdk => 65_536 + 300,
            Format::Vdi => MIB + 30,
            _ => 4 * MIB + 30,
        };
        flip(&file, first);
        assert!(!compare(&qemu_img, name(format), &file, &raw), "{format}");
    }
}

#[test]
fn a_broken_table_is_seen() {
    let Some(qemu_img) = tool("qemu-img") else { return };
    let disk = disk();
    // Both headers of a VHDX; the magic of a VMDK's header; the map of a VDI.
    for (format, places) in
        [(Format::Vhdx, &[65_536 + 9, 131_072 + 9][..]), (Format::Vmdk, &[0][..]), (Format::Vdi, &[512, 513, 514][..])]
    {
        let file = written(&disk, format, None, 0);
        places.iter().for_each(|&place| flip(&file, place));
        let verdict = run(&qemu_img, &["check", "-f", name(format), text(&file)]);
        assert!(!verdict.success, "{format}: {}", verdict.text);
    }
}

#[test]
fn we_read_what_we_wrote() {
    let disk = disk();
    for &format in Format::ALL {
        assert_holds(&written(&disk, format, None, 1), format, &disk);
    }
    for level in [1, 9] {
        assert_holds(&written(&disk, Format::Vmdk, Some(Compression::Gzip(level)), 1), Format::Vmdk, &disk);
    }
    // Holes are told: only blocks that hold something are data.
    for format in [Format::Qcow2, Format::Vhdx, Format::Vmdk, Format::Vdi] {
        let file = written(&disk, format, None, 1);
        let (_, medium) = container::open(medium(&file)).unwrap();
        assert_eq!(medium.data_from(20 * MIB).unwrap().map(|range| range.start / MIB), Some(39), "{format}");
    }
}

#[test]
fn threads_do_not_change_the_bytes_and_the_bytes_are_pinned() {
    let disk = disk();
    let digest = |format, threads| {
        let bytes = std::fs::read(written(&disk, format, None, threads).path()).unwrap();
        blake3::hash(&bytes).to_hex()[..16].to_owned()
    };
    for threads in [1, 3] {
        assert_eq!(digest(Format::Vmdk, 0), digest(Format::Vmdk, threads));
    }
    let found = [Format::Vhdx, Format::Vmdk, Format::Vdi].map(|format| digest(format, 2));
    assert_eq!(found, ["b9cff47cfcb95ea5", "1630abaead0cfd7a", "bdc1fa77260ef5e3"]);
}

#[test]
fn a_compressed_vhd_is_the_vhd_compressed() {
    let Some(zstd) = tool("zstd") else { return };
    let disk = disk();
    let file = written(&disk, Format::Vhd, Some(Compression::Zstd(3)), 2);
    let unpacked = NamedTempFile::new().unwrap();
    let verdict = run(&zstd, &["-q", "-d", "-f", text(&file), "-o", text(&unpacked)]);
    assert!(verdict.success, "{}", verdict.text);
    let plain = written(&disk, Format::Vhd, None, 2);
    assert!(std::fs::read(unpacked.path()).unwrap() == std::fs::read(plain.path()).unwrap());
}

#[test]
fn we_read_what_qemu_img_wrote() {
    let Some(qemu_img) = tool("qemu-img") else { return };
    // The end of the disk is no whole cluster.
    let mut disk = Pieces { size: 20 * MIB + 512, pieces: disk().pieces[..4].to_vec() };
    disk.pieces.push((20 * MIB, noise(5, 512, 255)));
    let source = raw(&disk, &MemoryContents::default());
    let even = Pieces { size: 20 * MIB, pieces: disk.pieces[..4].to_vec() };
    let even_source = raw(&even, &MemoryContents::default());
    let target = NamedTempFile::new().unwrap();
    for arguments in [
        "qcow2",
        "qcow2 -c",
        "qcow2 -o compat=0.10",
        "qcow2 -c -o compat=0.10",
        "qcow2 -o cluster_size=512",
        "qcow2 -c -o cluster_size=2M",
        "qcow2 -c -o compression_type=zstd",
        "qcow2 -o lazy_refcounts=on",
        "qcow2 -c -o compression_type=zstd,cluster_size=4096",
        "qcow2 -o preallocation=metadata",
        "qcow2 -o preallocation=full",
        "qcow2 -o refcount_bits=1",
        "vhdx",
        "vhdx -o subformat=fixed",
        "vhdx -o block_size=2M",
        "vhdx -o block_state_zero=off",
        "vmdk",
        "vmdk -o subformat=streamOptimized",
        "vmdk -o zeroed_grain=on",
        "vdi",
        "vdi -o static=on",
        "vpc -o subformat=fixed,force_size=on",
        "vpc -o subformat=dynamic,force_size=on",
    ] {
        let words: Vec<&str> = arguments.split(' ').collect();
        // VHD and VHDX count in larger units.
        let (disk, source) = if words[0].starts_with('v') { (&even, &even_source) } else { (&disk, &source) };
        let all = [&["convert", "-f", "raw", "-O"], &words[..], &[text(source), text(&target)]].concat();
        let verdict = run(&qemu_img, &all);
        assert!(verdict.success, "{arguments}: {}", verdict.text);
        println!("{arguments}");
        let format = Format::ALL.iter().copied().find(|&format| name(format) == words[0]).unwrap();
        assert_holds(&target, format, disk);
        // Refcounts of one bit count no second user.
        if words[0] == "qcow2" && !arguments.contains("refcount_bits") {
            // A snapshot inside: the disk is what it is now.
            let verdict = run(&qemu_img, &["snapshot", "-c", "before", text(&target)]);
            assert!(verdict.success, "{}", verdict.text);
            assert_holds(&target, format, disk);
        }
    }
}

#[test]
fn what_is_not_read_is_refused_with_a_way_out() {
    let Some(qemu_img) = tool("qemu-img") else { return };
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (base, file, data) = (path("base.raw"), path("file"), path("data"));
    std::fs::write(&base, vec![1; 1 << 20]).unwrap();
    let backing = ["-F", "raw", "-b", &base];
    let secret =
        ["--object", "secret,id=key,data=abc", "-o", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10"];
    let external = format!("data_file={data}");
    let cases: [(&str, &[&str], &[&str]); 8] = [
        ("qcow2", &backing, &["a backing file", "qemu-img rebase"]),
        ("qcow2", &secret, &["encryption"]),
        ("qcow2", &["-o", "extended_l2=on"], &["extended L2"]),
        ("qcow2", &["-o", &external], &["an external data file"]),
        ("vmdk", &["-o", "subformat=monolithicFlat"], &["lies in other files", "qemu-img"]),
        ("vmdk", &["-o", "subformat=twoGbMaxExtentSparse"], &["lies in other files"]),
        ("qed", &[], &["qemu-img"]),
        ("qcow", &[], &["version 1", "qemu-img"]),
    ];
    for (format, options, words) in cases {
        let _ = std::fs::remove_file(&file);
        let verdict = run(&qemu_img, &[&["create", "-f", format], options, &[&file, "1M"]].concat());
        assert!(verdict.success, "{format} {options:?}: {}", verdict.text);
        let opened = HostFile::new(std::fs::File::open(&file).unwrap(), &file).unwrap();
        let said = container::open(opened).err().expect("it is refused").to_string();
        words.iter().for_each(|word| assert!(said.contains(word), "{format} {options:?}: {said}"));
    }
    for (bytes, word) in
        [(&b"\x1f\x8b\x08..."[..], "gunzip"), (b"\xfd7zXZ\0..", "unxz"), (b"\x28\xb5\x2f\xfd", "unzstd")]
    {
        assert!(container::open(bytes).err().expect("it is refused").to_string().contains(word));
    }
    assert_eq!(container::open(&b"short"[..]).unwrap().0, Format::Raw);
}
