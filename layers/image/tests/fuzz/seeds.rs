//! Small inputs that are good: what our writers make.

use std::io::Write;

use image::compress::{Compression, Encoder};
use image::container::{self, Format, Writer};
use image::disk::{Disk, Partition, types};
use image::{Source, ext4, fat, iso, squashfs, vhd};
use layers::{MemoryContents, Time};
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::referee::corners::corners;
use crate::referee::{Pieces, Planter, TIME, noise, raw};

const MIB: u64 = 1 << 20;

fn bytes(file: &NamedTempFile) -> Vec<u8> {
    std::fs::read(file.path()).unwrap()
}

fn of(source: &dyn Source, contents: &MemoryContents) -> Vec<u8> {
    bytes(&raw(source, contents))
}

fn disk() -> Pieces {
    Pieces { size: MIB, pieces: vec![(0, noise(1, 100_000, 60)), (MIB / 2, noise(2, 50_000, 5))] }
}

pub fn containers() -> Vec<Vec<u8>> {
    let disk = disk();
    let compressed = [None, Some(Compression::Zstd(3)), Some(Compression::Gzip(6))];
    let kinds = compressed
        .into_iter()
        .map(|compression| (Format::Qcow2, compression))
        .chain([Format::Vhd, Format::Vhdx, Format::Vmdk, Format::Vdi].map(|format| (format, None)));
    let mut seeds: Vec<Vec<u8>> = kinds
        .map(|(format, compression)| {
            let file = NamedTempFile::new().unwrap();
            let created = Time::default();
            let options = container::Options { format, size: disk.size, compression, created, threads: 1 };
            let mut writer = Writer::new(file.reopen().unwrap(), file.path(), &options).unwrap();
            disk.write_to(&MemoryContents::default(), &mut writer).unwrap();
            writer.finish(Uuid::from_u128(7)).unwrap();
            bytes(&file)
        })
        .collect();
    let file = NamedTempFile::new().unwrap();
    let options = vhd::Options { size: disk.size, created: Time::default() };
    let mut writer = vhd::Dynamic::new(file.reopen().unwrap(), file.path(), &options).unwrap();
    disk.write_to(&MemoryContents::default(), &mut writer).unwrap();
    writer.finish(Uuid::from_u128(7)).unwrap();
    seeds.push(bytes(&file));
    seeds
}

pub fn tables() -> Vec<Vec<u8>> {
    let content = Pieces { size: 64 << 10, pieces: vec![(0, noise(3, 1000, 99))] };
    let partition = |number: u64| Partition {
        start: (number + 1) * (128 << 10),
        size: 64 << 10,
        type_guid: types::by_name("linux-generic").unwrap(),
        guid: Uuid::from_u128(u128::from(number) + 10),
        name: format!("part{number}"),
        attributes: 0,
        content: Some(&content),
    };
    let disk = Disk::new(MIB, Uuid::from_u128(9), (0..3).map(partition).collect()).unwrap();
    let gpt = of(&disk, &MemoryContents::default());
    // A master boot record with an extended partition and one logical in it.
    let mut mbr = vec![0; 256 << 10];
    let mut entry = |at: usize, kind: u8, start: u32, sectors: u32| {
        mbr[at + 4] = kind;
        mbr[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        mbr[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
    };
    entry(446, 0x83, 8, 64);
    entry(462, 0x05, 128, 256);
    entry(128 * 512 + 446, 0x83, 1, 32);
    entry(128 * 512 + 462, 0x05, 64, 64);
    entry(192 * 512 + 446, 0x82, 1, 32);
    for sector in [0, 128, 192] {
        mbr[sector * 512 + 510..sector * 512 + 512].copy_from_slice(&[0x55, 0xaa]);
    }
    vec![gpt, mbr]
}

pub fn ext4() -> Vec<Vec<u8>> {
    let plant = corners();
    // With sums most changes are found at once: those without let a reader see them.
    ["extent,^resize_inode", "extent,64bit,flex_bg,metadata_csum", "has_journal,extent,dir_nlink,extra_isize"]
        .into_iter()
        .zip([4 * MIB, 4 * MIB, 8 * MIB])
        .map(|(features, size)| {
            let features = ext4::Features::parse(features).unwrap();
            let options = ext4::Options { features, ..ext4::Options::new(size, [1; 16], [2; 16], TIME) };
            of(&ext4::plan(&plant.tree, &options).unwrap(), &plant.contents)
        })
        .collect()
}

pub fn fat() -> Vec<Vec<u8>> {
    let mut plant = Planter::default();
    plant.file("EFI/BOOT/BOOTX64.EFI", noise(4, 20_000, 80)).file("a rather long name.conf", "text");
    plant.directory("empty").file("loader/entries/one.conf", "title One\n");
    [fat::Wish::Kind(fat::Kind::Fat12), fat::Wish::Kind(fat::Kind::Fat16), fat::Wish::Kind(fat::Kind::Fat32)]
        .into_iter()
        .zip([MIB, 6 * MIB, 34 * MIB])
        .map(|(kind, size)| {
            let options = fat::Options { kind, label: "SEED".into(), ..fat::Options::new(size) };
            let whole = of(&fat::plan(&plant.tree, &options).unwrap(), &plant.contents);
            // What is behind the last file is never read.
            whole[..whole.len().min(2 << 20)].to_vec()
        })
        .collect()
}

fn plain() -> Planter {
    let mut plant = corners();
    plant.tree.remove(&layers::TreePath::new("big").unwrap());
    for (_, entry) in plant.tree.iter_mut() {
        entry.meta.mtime = TIME;
    }
    plant
}

pub fn iso() -> Vec<Vec<u8>> {
    let plant = plain();
    [true, false]
        .into_iter()
        .map(|joliet| {
            let options = iso::Options { joliet, ..iso::Options::new("SEED", TIME) };
            of(&iso::plan(&plant.tree, &options).unwrap(), &plant.contents)
        })
        .collect()
}

pub fn squashfs() -> Vec<Vec<u8>> {
    let plant = plain();
    [4096, 128 << 10]
        .into_iter()
        .map(|block_size| {
            let file = NamedTempFile::new().unwrap();
            let other_attributes = squashfs::OtherAttributes::LeaveOut;
            let options =
                squashfs::Options { block_size, level: 3, other_attributes, ..squashfs::Options::new(TIME, 1) };
            squashfs::write(&plant.tree, &plant.contents, &options, file.as_file(), file.path()).unwrap();
            bytes(&file)
        })
        .collect()
}

pub fn compressed() -> Vec<Vec<u8>> {
    [Compression::Gzip(6), Compression::Xz(0), Compression::Zstd(3)]
        .into_iter()
        .map(|compression| {
            let input = noise(5, 50_000, 30);
            let mut encoder = Encoder::new(Vec::new(), compression, input.len() as u64, 1).unwrap();
            encoder.write_all(&input).unwrap();
            encoder.finish().unwrap()
        })
        .collect()
}
