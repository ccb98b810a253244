//! ISO 9660 before its referees: xorriso, isoinfo, 7-Zip, sgdisk, the kernel, and our own reader.

mod boot;
mod hostile;
mod kernel;
#[path = "../referee/mod.rs"]
mod referee;
mod roundtrip;
mod tools;

use image::iso::{self, BiosBoot, EfiImage, Options};
use image::{HostFile, Source, fat};
use layers::{Contents, Entry, Kind, Meta, Time, TreePath};
use referee::{Planter, TIME, raw};
use tempfile::NamedTempFile;
use uuid::Uuid;

const MIB: u64 = 1 << 20;
/// The path of the image that a BIOS boots.
const CORE: &str = "boot/grub/eltorito.img";

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn guid(number: u128) -> Uuid {
    Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_0000 | number)
}

fn options() -> Options<'static> {
    Options { system_id: "LINUX".into(), publisher_id: "nobody".into(), ..Options::new("Test 1", TIME) }
}

fn medium(file: &NamedTempFile) -> HostFile {
    HostFile::new(file.reopen().unwrap(), file.path()).unwrap()
}

/// Every kind of entry, and the corners of each.
fn corners() -> Planter {
    let mut plant = Planter::default();
    plant.directory("etc").directory("empty").directory("usr/bin").directory("dev");
    plant.directory("1/2/3/4/5/6/7/8/9/10/11/12");
    plant.file("etc/hostname", "image\n").file("usr/bin/tool", referee::noise(7, 70_000, 200));
    plant.file("etc/empty", "").file("big", referee::noise(9, 3 << 20, 20));
    plant.file("1/2/3/4/5/6/7/8/9/10/11/12/deep.file.name", "deep");
    let content = plant.contents.add("set\n");
    let mut add = |name: &[u8], kind: Kind, change: &dyn Fn(&mut Meta)| {
        let mut meta = Meta::root_owned(0o644, TIME);
        change(&mut meta);
        plant.tree.insert(TreePath::new(name).unwrap(), Entry { kind, meta }).unwrap();
    };
    add(b"usr/bin/su", Kind::File(content), &|meta| meta.mode = 0o6755);
    add(b"usr/bin/owned", Kind::File(content), &|meta| (meta.uid, meta.gid) = (70_000, 4_000_000_000));
    add(b"usr/bin/old", Kind::File(content), &|meta| meta.mtime = Time::seconds(1));
    // Linux takes a later one for one before 1970, or for another still.
    add(b"usr/bin/new", Kind::File(content), &|meta| meta.mtime = Time::seconds(0x7fff_ffff));
    add(b"usr/bin/tool2", Kind::HardLink(path("usr/bin/tool")), &|_| ());
    add(b"zz", Kind::HardLink(path("usr/bin/tool")), &|_| ());
    for length in [1, 100, 248, 249, 250, 600, 4000] {
        let name = format!("links/to{length}");
        add(b"links", Kind::Directory, &|meta| meta.mode = 0o755);
        add(name.as_bytes(), Kind::Symlink(vec![b't'; length].into()), &|meta| meta.mode = 0o777);
    }
    let many = "../".repeat(600) + &"a/".repeat(1100) + "./end";
    let targets = ["/", "/etc/hostname", "../x/./y/..", "a//b/", "//a", "/usr/../lib/", ".", "..", many.as_str()];
    for (index, target) in targets.into_iter().enumerate() {
        let name = format!("links/like{index}");
        add(name.as_bytes(), Kind::Symlink(target.as_bytes().into()), &|meta| meta.mode = 0o777);
    }
    add(b"links/\xff\xfe latin", Kind::Symlink(b"\x80\xff".as_slice().into()), &|meta| meta.mode = 0o777);
    for length in [90, 127, 128, 200, 251, 253] {
        add(&vec![b'n'; length], Kind::File(content), &|_| ());
    }
    for name in ["Case.txt", "case.txt", "grüße 😀.txt", "a:b*c?.conf", "UPPER", "x;1", "...", "end."] {
        add(name.as_bytes(), Kind::File(content), &|_| ());
    }
    add(b"dev/null", Kind::CharDevice { major: 1, minor: 3 }, &|meta| meta.mode = 0o666);
    add(b"dev/big", Kind::CharDevice { major: 4095, minor: 0xf_ffff }, &|_| ());
    add(b"dev/none", Kind::CharDevice { major: 0, minor: 0 }, &|_| ());
    add(b"dev/nvme0n1p260", Kind::BlockDevice { major: 259, minor: 260 }, &|_| ());
    add(b"dev/fifo", Kind::Fifo, &|_| ());
    add(b"dev/socket", Kind::Socket, &|_| ());
    plant.tree.get_mut(&TreePath::root()).unwrap().meta =
        Meta { uid: 3, gid: 4, ..Meta::root_owned(0o1750, Time::seconds(1_600_000_000)) };
    plant
}

/// The bytes of a path.
fn bytes_of(plant: &Planter, name: &str) -> Vec<u8> {
    let Some(Entry { kind: Kind::File(content), .. }) = plant.tree.get(&path(name)) else { panic!("{name}") };
    let mut bytes = Vec::new();
    plant.contents.open(content).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// An EFI system partition with a file whose content comes from the tree's contents.
fn esp(plant: &mut Planter, size: u64) -> fat::Plan {
    let mut own = Planter::default();
    let program = referee::noise(77, 300_000, 255);
    own.file("EFI/BOOT/BOOTX64.EFI", program.clone());
    plant.contents.add(program);
    let options =
        fat::Options { label: "ESP".into(), volume_id: 0x1234_5678, created: TIME, ..fat::Options::new(size) };
    fat::plan(&own.tree, &options).unwrap()
}

/// A tree that boots every way, and what it is written with.
fn bootable(plant: &mut Planter) {
    plant.file(CORE, referee::noise(5, 40_001, 255)).file("boot/same", referee::noise(5, 40_001, 255));
}

fn bios() -> Option<BiosBoot> {
    let mut hybrid = referee::noise(6, 512, 255);
    hybrid[510..].copy_from_slice(&[0x55, 0xaa]);
    Some(BiosBoot { image: path(CORE), hybrid: Some(hybrid) })
}

/// An image that boots every way.
fn everything(plant: &mut Planter, esp_size: u64) -> NamedTempFile {
    bootable(plant);
    let esp = esp(plant, esp_size);
    let uefi = Some(EfiImage { image: &esp, guid: guid(1) });
    let options = Options { uefi, bios: bios(), disk_guid: guid(0xd), ..options() };
    let plan = iso::plan(&plant.tree, &options).unwrap();
    assert_eq!(plan.size() % 2048, 0);
    raw(&plan, &plant.contents)
}
