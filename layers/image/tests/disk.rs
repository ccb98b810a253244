//! Partition tables: sgdisk and sfdisk as referees, and a disk that survives a wiped primary.

mod referee;

use std::os::unix::fs::FileExt;

use image::disk::{Copy, Disk, Partition, PartitionSize, Table, attributes, layout, types};
use image::{Error, HostFile, Source};
use layers::MemoryContents;
use proptest::prelude::*;
use referee::{Pieces, flip, noise, raw, run, text, tool};
use tempfile::NamedTempFile;
use uuid::Uuid;

const MIB: u64 = 1 << 20;

fn guid(number: u128) -> Uuid {
    Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_0000 | number)
}

fn partition<'a>(number: u128, start: u64, size: u64, content: Option<&'a dyn Source>) -> Partition<'a> {
    Partition {
        start,
        size,
        type_guid: if number == 1 { types::ESP } else { types::X86_64.root },
        guid: guid(number),
        name: if number == 1 { "ESP".into() } else { format!("root-{number} ä") },
        attributes: if number == 1 { 0 } else { attributes::GROW_FILE_SYSTEM },
        content,
    }
}

fn written() -> (NamedTempFile, Vec<u8>) {
    let esp = Pieces { size: 3 * MIB, pieces: vec![(0, noise(1, 5000, 255)), (2 * MIB, noise(2, 777, 255))] };
    let root = Pieces { size: 4 * MIB, pieces: vec![(MIB, noise(3, 100_000, 255))] };
    let wishes = [PartitionSize::Bytes(3 * MIB), PartitionSize::Rest { at_least: 4 * MIB }];
    let layout = layout(Some(16 * MIB), &wishes).unwrap();
    let [first, second] = layout.partitions[..] else { panic!() };
    let partitions =
        vec![partition(1, first.start, first.size, Some(&esp)), partition(2, second.start, second.size, Some(&root))];
    let disk = Disk::new(layout.size, guid(0xd), partitions).unwrap();
    let mut expected = vec![0; 16 * MIB as usize];
    expected[MIB as usize..][..3 * MIB as usize].copy_from_slice(&esp.bytes());
    expected[4 * MIB as usize..][..4 * MIB as usize].copy_from_slice(&root.bytes());
    (raw(&disk, &MemoryContents::default()), expected)
}

fn medium(file: &NamedTempFile) -> HostFile {
    HostFile::new(file.reopen().unwrap(), file.path()).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let (file, expected) = written();
    let table = Table::read(&medium(&file)).unwrap();
    assert_eq!((table.copy, &table.other_copy, table.disk_guid), (Copy::Primary, &None, guid(0xd)));
    let [esp, root] = &table.partitions[..] else { panic!("{table:?}") };
    assert_eq!((esp.number, esp.start, esp.size, esp.type_guid), (1, MIB, 3 * MIB, types::ESP));
    assert_eq!((root.start, root.size, root.name.as_str()), (4 * MIB, 11 * MIB, "root-2 ä"));
    assert_eq!((root.guid, root.attributes), (guid(2), attributes::GROW_FILE_SYSTEM));
    let bytes = std::fs::read(file.path()).unwrap();
    let (from, to) = (MIB as usize, 15 * MIB as usize);
    assert!(bytes[from..to] == expected[from..to]);
}

#[test]
fn the_bytes_are_pinned() {
    let (file, _) = written();
    let digest = blake3::hash(&std::fs::read(file.path()).unwrap());
    assert_eq!(&digest.to_hex()[..16], "680967ae7ac97866");
}

#[test]
fn parted_shows_the_same_partitions() {
    let Some(parted) = tool("parted") else { return };
    let (file, _) = written();
    let shown = |file: &NamedTempFile| run(&parted, &["-sm", text(file), "unit", "B", "print"]);
    let verdict = shown(&file);
    assert!(verdict.success, "{}", verdict.text);
    let lines: Vec<&str> = verdict.text.lines().skip(2).collect();
    let expected = ["1:1048576B:4194303B:3145728B::ESP:boot, esp;", "2:4194304B:15728639B:11534336B::root-2 ä:;"];
    assert_eq!(lines, expected, "{}", verdict.text);
    // The primary header's own sum: it says that it takes the backup.
    flip(&file, 512 + 40);
    let verdict = shown(&file);
    assert!(verdict.text.contains("corrupt"), "{}", verdict.text);
}

#[test]
fn sgdisk_finds_no_problems() {
    let Some(sgdisk) = tool("sgdisk") else { return };
    let (file, _) = written();
    // It exits with 0 whatever it finds.
    let verdict = run(&sgdisk, &["-v", text(&file)]);
    assert!(verdict.text.contains("No problems found"), "{}", verdict.text);
    let info = run(&sgdisk, &["-i", "2", text(&file)]);
    for expected in ["Linux x86-64 root", "11112222-3333-4444-5555-666677770002", "'root-2 ä'", "0800000000000000"] {
        assert!(info.text.contains(expected), "{expected} in {}", info.text);
    }
    flip(&file, 1024 + 5);
    let verdict = run(&sgdisk, &["-v", text(&file)]);
    assert!(!verdict.text.contains("No problems found"), "{}", verdict.text);
}

#[test]
fn sfdisk_agrees() {
    let Some(sfdisk) = tool("sfdisk") else { return };
    let (file, _) = written();
    let verdict = run(&sfdisk, &["--verify", text(&file)]);
    let sound = verdict.text.contains("No errors detected") && !verdict.text.contains("corrupt");
    assert!(verdict.success && sound, "{}", verdict.text);
    let dump = run(&sfdisk, &["-J", text(&file)]);
    for expected in ["\"firstlba\": 34", "\"lastlba\": 32734", "\"start\": 8192", "\"size\": 22528", "\"size\": 6144"] {
        assert!(dump.text.contains(expected), "{expected} in {}", dump.text);
    }
    flip(&file, 16 * MIB - 512 + 60);
    let verdict = run(&sfdisk, &["--verify", text(&file)]);
    assert!(verdict.text.contains("corrupt"), "{}", verdict.text);
}

#[test]
fn the_disk_survives_a_wiped_primary() {
    let (file, _) = written();
    let before = Table::read(&medium(&file)).unwrap();
    file.as_file().write_all_at(&[0; 34 * 512], 0).unwrap();
    let after = Table::read(&medium(&file)).unwrap();
    assert_eq!((after.copy, &after.partitions, after.disk_guid), (Copy::Backup, &before.partitions, guid(0xd)));
    assert!(after.other_copy.is_some());
}

#[test]
fn sfdisk_repairs_the_primary_from_the_backup() {
    let Some(sfdisk) = tool("sfdisk") else { return };
    let (file, _) = written();
    let before = Table::read(&medium(&file)).unwrap();
    file.as_file().write_all_at(&[0; 33 * 512], 512).unwrap();
    // A change that changes nothing writes both copies anew, out of the one that is left.
    let verdict = run(&sfdisk, &["--part-attrs", text(&file), "1", ""]);
    assert!(verdict.success && verdict.text.contains("the backup appears OK"), "{}", verdict.text);
    let repaired = Table::read(&medium(&file)).unwrap();
    assert_eq!((repaired.copy, &repaired.other_copy), (Copy::Primary, &None));
    assert_eq!(repaired.partitions, before.partitions);
}

#[test]
fn a_backup_that_names_the_primary_is_refused() {
    let (file, _) = written();
    // The primary header at the place of the backup: sgdisk takes it, we must not.
    let mut header = [0; 512];
    file.as_file().read_exact_at(&mut header, 512).unwrap();
    file.as_file().write_all_at(&header, 16 * MIB - 512).unwrap();
    let table = Table::read(&medium(&file)).unwrap();
    assert!(table.other_copy.unwrap().contains("lies at sector 1"));
    file.as_file().write_all_at(&[0; 34 * 512], 0).unwrap();
    assert!(Table::read(&medium(&file)).is_err());
}

#[test]
fn types_are_those_that_fdisk_knows() {
    let Some(sfdisk) = tool("sfdisk") else { return };
    let known = run(&sfdisk, &["--list-types", "-X", "gpt"]).text.to_lowercase();
    let label_of = |guid: Uuid| {
        let line = known.lines().find(|line| line.starts_with(&guid.to_string()))?;
        Some(line.split_once("  ")?.1.to_owned())
    };
    let expected = [
        ("esp", "efi system"),
        ("xbootldr", "linux extended boot"),
        ("bios-boot", "bios boot"),
        ("swap", "linux swap"),
        ("home", "linux home"),
        ("srv", "linux server data"),
        ("var", "linux variable data"),
        ("tmp", "linux temporary data"),
        ("linux-generic", "linux filesystem"),
        ("root-x86-64", "linux root (x86-64)"),
        ("root-x86-64-verity", "linux root verity (x86-64)"),
        ("root-x86-64-verity-sig", "linux root verity sign. (x86-64)"),
        ("usr-x86-64", "linux /usr (x86-64)"),
        ("usr-x86-64-verity", "linux /usr verity (x86-64)"),
        ("usr-x86-64-verity-sig", "linux /usr verity sign. (x86-64)"),
        ("root-arm64", "linux root (arm-64)"),
        ("root-arm64-verity", "linux root verity (arm-64)"),
        ("root-arm64-verity-sig", "linux root verity sign. (arm-64)"),
        ("usr-arm64", "linux /usr (arm-64)"),
        ("usr-arm64-verity", "linux /usr verity (arm-64)"),
        ("usr-arm64-verity-sig", "linux /usr verity sign. (arm-64)"),
    ];
    assert_eq!(expected.map(|(name, _)| name), *types::NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, label) in expected {
        assert_eq!(label_of(types::by_name(name).unwrap()).as_deref(), Some(label), "{name}");
    }
}

#[test]
fn disks_that_make_no_sense_are_refused() {
    let disk = |partitions| Disk::new(16 * MIB, guid(0xd), partitions).map(|_| ()).unwrap_err();
    let overlap = disk(vec![partition(1, MIB, 2 * MIB, None), partition(2, 2 * MIB, MIB, None)]);
    assert!(overlap.to_string().contains("overlaps"), "{overlap}");
    let same = disk(vec![partition(1, MIB, MIB, None), partition(1, 2 * MIB, MIB, None)]);
    assert!(same.to_string().contains("same GUID"), "{same}");
    let beyond = disk(vec![partition(1, MIB, 15 * MIB, None)]);
    assert!(matches!(beyond, Error::TooSmall { needed, .. } if needed == 16 * MIB + 33 * 512), "{beyond}");
    let large = Pieces { size: 2 * MIB, pieces: vec![] };
    let content = disk(vec![partition(1, MIB, MIB, Some(&large))]);
    assert!(matches!(content, Error::TooSmall { needed, available, .. } if (needed, available) == (2 * MIB, MIB)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_damaged_table_never_panics(changes in proptest::collection::vec((512usize..3000, any::<u8>()), 1..20)) {
        thread_local! {
            static IMAGE: Vec<u8> = std::fs::read(written().0.path()).unwrap();
        }
        let mut bytes = IMAGE.with(Vec::clone);
        for (at, value) in changes {
            bytes[at] = value;
        }
        // The checksum is made right again, so that the fields behind it are looked at.
        bytes[528..532].fill(0);
        let length = u32::from_le_bytes(bytes[524..528].try_into().unwrap()).min(512) as usize;
        let crc = crc32fast::hash(&bytes[512..512 + length]);
        bytes[528..532].copy_from_slice(&crc.to_le_bytes());
        let _ = Table::read(&bytes);
    }
}
