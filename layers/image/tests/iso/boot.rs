//! What firmware finds: El Torito, the partition table, and what GRUB's images are told.

use std::os::unix::fs::FileExt;

use image::disk::{BootRecord, Copy, Scheme, Table, scan, types};
use image::iso::{self, BootEntry, EfiImage, Options, Volume};
use image::volume::{self, Format};
use image::{Medium, Source, Window};
use layers::Kind;

use super::referee::{Planter, noise, raw, run, text, tool};
use super::roundtrip::read;
use super::{CORE, MIB, bios, bootable, bytes_of, esp, everything, guid, medium, options, path};

#[test]
fn everything_that_boots_is_found() {
    let mut plant = Planter::default();
    let file = everything(&mut plant, 3 * MIB);
    let medium = medium(&file);
    let volume = Volume::open(&medium).unwrap();
    let [bios, uefi] = volume.boot_entries().unwrap()[..] else { panic!() };
    let expected = BootEntry { platform: 0, bootable: true, emulation: 0, start: bios.start, sectors: 4 };
    assert_eq!(bios, expected);
    let expected = BootEntry { platform: 0xef, start: uefi.start, sectors: 3 * 2048, ..expected };
    assert_eq!(uefi, expected);
    // The partition is the one that El Torito names, on a boundary that tools like.
    let table = Table::read(&medium).unwrap();
    assert_eq!((table.copy, &table.other_copy, table.disk_guid), (Copy::Primary, &None, guid(0xd)));
    let [partition] = &table.partitions[..] else { panic!("{table:?}") };
    assert_eq!((partition.start, partition.size, partition.guid), (uefi.start, 3 * MIB, guid(1)));
    assert_eq!((partition.type_guid, partition.start % MIB), (types::ESP, 0));
    let window = Window::new(&medium, partition.start, partition.size).unwrap();
    let found = read(&window).unwrap();
    let Some(Kind::File(content)) = found.get(&path("EFI/BOOT/BOOTX64.EFI")).map(|entry| &entry.kind) else { panic!() };
    assert_eq!(*content, layers::Content::of(&noise(77, 300_000, 255)));
    // As a whole it is a file system still.
    assert_eq!(volume::identify(&medium).unwrap(), Some(Format::Iso9660));
    assert!(matches!(scan(&medium).unwrap().0, Scheme::Gpt { .. }));
    assert!(BootRecord::read(&medium).unwrap().unwrap().is_protective());
}

#[test]
fn the_backup_table_survives_a_wiped_primary() {
    let mut plant = Planter::default();
    let file = everything(&mut plant, MIB);
    let before = Table::read(&medium(&file)).unwrap();
    file.as_file().write_all_at(&[0; 34 * 512], 0).unwrap();
    let after = Table::read(&medium(&file)).unwrap();
    assert_eq!((after.copy, &after.partitions, after.disk_guid), (Copy::Backup, &before.partitions, guid(0xd)));
    // Its header is the very last sector of the image.
    let mut last = [0; 8];
    let size = medium(&file).size();
    file.as_file().read_exact_at(&mut last, size - 512).unwrap();
    assert_eq!(&last, b"EFI PART");
    assert!(read(&medium(&file)).is_ok());
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()))
}

#[test]
fn grub_is_told_where_its_image_lies() {
    let mut plant = Planter::default();
    let file = everything(&mut plant, MIB);
    let original = bytes_of(&plant, CORE);
    let bytes = std::fs::read(file.path()).unwrap();
    let start = Volume::open(&bytes).unwrap().boot_entries().unwrap()[0].start;
    let image = &bytes[start as usize..][..original.len()];
    assert_eq!([8, 12, 16].map(|at| number(image, at)), [16, start / 2048, original.len() as u64]);
    assert_eq!((number(image, 2548), number(image, 2552)), (start / 512 + 5, 0));
    let word = |word: &[u8]| word.iter().rev().fold(0u32, |sum, &byte| sum << 8 | u32::from(byte));
    let sum = image[64..].chunks(4).map(word).fold(0, u32::wrapping_add);
    assert_eq!(number(image, 20), u64::from(sum));
    let kept = |bytes: &[u8]| [&bytes[..8], &bytes[64..2548], &bytes[2556..]].concat();
    assert!(kept(image) == kept(&original));
    // The boot record has GRUB's code, where its next part lies, and the active entry.
    let hybrid = noise(6, 512, 255);
    assert!(bytes[..0x1b0] == hybrid[..0x1b0]);
    assert_eq!((number(&bytes, 0x1b0), number(&bytes, 0x1b4)), (start / 512 + 4, 0));
    assert_eq!((bytes[446], bytes[450], bytes[462], bytes[466]), (0, 0xee, 0x80, 0));
    // Another file with the same content keeps it.
    let shown = read(&bytes).unwrap();
    let content = |name| match &shown.get(&path(name)).unwrap().kind {
        Kind::File(content) => *content,
        other => panic!("{other:?}"),
    };
    assert_eq!(content("boot/same"), layers::Content::of(&original));
    assert_eq!(content(CORE), layers::Content::of(image));
}

#[test]
fn a_link_to_the_image_boots_too() {
    let mut plant = Planter::default();
    bootable(&mut plant);
    let link = layers::Entry { kind: Kind::HardLink(path("boot/same")), meta: layers::Meta::default() };
    plant.tree.insert(path("boot/zlink"), link).unwrap();
    let bios = bios().map(|bios| iso::BiosBoot { image: path("boot/zlink"), ..bios });
    let file = raw(&iso::plan(&plant.tree, &Options { bios, ..options() }).unwrap(), &plant.contents);
    let shown = read(&medium(&file)).unwrap();
    let same = |name: &str| shown.get(&path(name)).unwrap().kind == plant.tree.get(&path(name)).unwrap().kind;
    assert!(same(CORE) && !same("boot/same") && same("boot/zlink"));
}

#[test]
fn a_large_partition_goes_to_the_end_of_the_medium() {
    let mut plant = Planter::default();
    let esp = esp(&mut plant, 40 * MIB);
    let uefi = Some(EfiImage { image: &esp, guid: guid(1) });
    let plan = iso::plan(&plant.tree, &Options { uefi, disk_guid: guid(2), ..options() }).unwrap();
    let file = raw(&plan, &plant.contents);
    let medium = medium(&file);
    let entries = Volume::open(&medium).unwrap().boot_entries().unwrap();
    let (start, length) = plan.efi_system_partition().unwrap();
    assert_eq!((start % MIB, length), (0, 40 * MIB));
    assert_eq!(entries, [BootEntry { platform: 0xef, bootable: true, emulation: 0, start, sectors: 1 }]);
    assert_eq!(BootRecord::read(&medium).unwrap().unwrap().partitions.len(), 1);
    let nil = Options { uefi, ..options() };
    assert!(iso::plan(&plant.tree, &nil).is_err(), "a disk without an identity");
}

#[test]
fn a_bios_alone_gets_an_active_partition() {
    let mut plant = Planter::default();
    bootable(&mut plant);
    let plan = iso::plan(&plant.tree, &Options { bios: bios(), ..options() }).unwrap();
    let file = raw(&plan, &plant.contents);
    let medium = medium(&file);
    let record = BootRecord::read(&medium).unwrap().unwrap();
    let [partition] = record.partitions[..] else { panic!("{record:?}") };
    assert!(partition.active && partition.system == 0xcd);
    assert_eq!((partition.start, partition.size), (512, plan.size() - 512));
    assert!(matches!(scan(&medium).unwrap().0, Scheme::Whole));
    // Without the boot record there is none.
    let only_discs = bios().map(|bios| iso::BiosBoot { hybrid: None, ..bios });
    let plan = iso::plan(&plant.tree, &Options { bios: only_discs, ..options() }).unwrap();
    let file = raw(&plan, &plant.contents);
    assert!(std::fs::read(file.path()).unwrap()[..32768].iter().all(|&byte| byte == 0));
}

#[test]
fn sgdisk_finds_no_problems() {
    let Some(sgdisk) = tool("sgdisk") else { return };
    let mut plant = Planter::default();
    let file = everything(&mut plant, 3 * MIB);
    // It exits with 0 whatever it finds.
    let verdict = run(&sgdisk, &["-v", text(&file)]);
    assert!(verdict.text.contains("No problems found") && !verdict.text.contains("corrupt"), "{}", verdict.text);
    let info = run(&sgdisk, &["-i", "1", text(&file)]);
    for expected in ["EFI system partition", "11112222-3333-4444-5555-666677770001"] {
        assert!(info.text.contains(expected), "{expected} in {}", info.text);
    }
    super::referee::flip(&file, medium(&file).size() - 500);
    let verdict = run(&sgdisk, &["-v", text(&file)]);
    assert!(verdict.text.contains("corrupt") && verdict.text.contains("Backup header: ERROR"), "{}", verdict.text);
    super::referee::flip(&file, 1024 + 5);
    let verdict = run(&sgdisk, &["-v", text(&file)]);
    assert!(!verdict.text.contains("No problems found"), "{}", verdict.text);
}

#[test]
fn xorriso_reports_what_boots() {
    let Some(xorriso) = tool("xorriso") else { return };
    let mut plant = Planter::default();
    let file = everything(&mut plant, 3 * MIB);
    let report = |file: &str| {
        run(&xorriso, &["-indev", file, "-report_el_torito", "plain", "-report_system_area", "plain"]).text
    };
    let found = report(text(&file));
    let expected = [
        "Volume id    : 'Test 1'",
        "1  BIOS  y   none  0x0000  0x00      4",
        "2  UEFI  y   none  0x0000  0x00   6144",
        "/boot/grub/eltorito.img",
        "boot-info-table grub2-boot-info",
        "MBR protective-msdos-label grub2-mbr cyl-align-off GPT",
        "2   0x80  0x00            0            1",
        "EFI system partition",
    ];
    for expected in expected {
        assert!(found.contains(expected), "{expected} in {found}");
    }
    // It sees when the image is told something else than where it lies.
    let start = Volume::open(&medium(&file)).unwrap().boot_entries().unwrap()[0].start;
    super::referee::flip(&file, start + 2548);
    super::referee::flip(&file, start + 12);
    super::referee::flip(&file, 0x1b0);
    let found = report(text(&file));
    assert!(!found.contains("grub2-boot-info") && !found.contains("boot-info-table"), "{found}");
}

/// The same patches as xorriso's, byte for byte.
#[test]
fn xorriso_tells_grub_the_same() {
    let Some(xorriso) = tool("xorriso") else { return };
    let mut plant = Planter::default();
    let ours = everything(&mut plant, MIB);
    let ours = std::fs::read(ours.path()).unwrap();
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(at("tree")).unwrap();
    std::fs::write(at("tree/core.img"), bytes_of(&plant, CORE)).unwrap();
    std::fs::write(at("hybrid.img"), bios().unwrap().hybrid.unwrap()).unwrap();
    let arguments = "-as mkisofs -quiet -R -b core.img -no-emul-boot -boot-load-size 4 -boot-info-table \
        --grub2-boot-info --protective-msdos-label --grub2-mbr";
    let mut arguments: Vec<&str> = arguments.split_whitespace().collect();
    let (hybrid, out, tree) = (at("hybrid.img"), at("out.iso"), at("tree"));
    arguments.extend([&hybrid, "-o", &out, &tree]);
    let verdict = run(&xorriso, &arguments);
    assert!(verdict.success, "{}", verdict.text);
    let theirs = std::fs::read(&out).unwrap();
    let start = |bytes: &Vec<u8>| Volume::open(bytes).unwrap().boot_entries().unwrap()[0].start as usize;
    let (ours_at, theirs_at) = (start(&ours), start(&theirs));
    let (our_image, their_image) = (&ours[ours_at..][..40_001], &theirs[theirs_at..][..40_001]);
    // The checksums cover the place, which differs.
    for range in [8..12, 16..20, 24..2548, 2556..40_001] {
        assert!(our_image[range.clone()] == their_image[range.clone()], "{range:?}");
    }
    let distance = |bytes: &[u8], at: usize, start: usize| number(bytes, at) - start as u64 / 512;
    assert_eq!(distance(our_image, 2548, ours_at), distance(their_image, 2548, theirs_at));
    assert_eq!(distance(&ours, 0x1b0, ours_at), distance(&theirs, 0x1b0, theirs_at));
}

/// `ISO_CORE=eltorito.img ISO_HYBRID=boot_hybrid.img ISO_EFI=bootx64.efi ISO_OUT=/tmp/x.iso cargo test -p image --test iso -- --ignored by_hand`
#[test]
#[ignore = "writes an image to be booted by hand"]
fn by_hand() {
    let given = |name: &str| std::fs::read(std::env::var_os(name).expect(name)).unwrap();
    let mut plant = super::corners();
    plant.file(CORE, given("ISO_CORE")).file("boot/grub/marker.txt", "THE-FILE-IS-READ\n");
    let mut own = Planter::default();
    own.file("EFI/BOOT/BOOTX64.EFI", given("ISO_EFI"));
    plant.contents.add(given("ISO_EFI"));
    let size: u64 = std::env::var("ISO_ESP_MIB").map_or(4, |size| size.parse().unwrap());
    let esp = image::fat::plan(&own.tree, &image::fat::Options::new(size * MIB)).unwrap();
    let bios = Some(iso::BiosBoot { image: path(CORE), hybrid: Some(given("ISO_HYBRID")) });
    let uefi = Some(EfiImage { image: &esp, guid: guid(1) });
    let options = Options { uefi, bios, disk_guid: guid(0xd), ..options() };
    let plan = iso::plan(&plant.tree, &options).unwrap();
    let file = raw(&plan, &plant.contents);
    std::fs::copy(file.path(), std::env::var_os("ISO_OUT").unwrap()).unwrap();
}
