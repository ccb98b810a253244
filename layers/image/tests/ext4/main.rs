//! ext4 before its referees: e2fsprogs, the kernel, and our own reader.

mod kernel;
mod measure;
#[path = "../referee/mod.rs"]
mod referee;
mod roundtrip;
mod sizes;
mod tools;

use image::ext4::{Features, Options};
use layers::{Entry, Kind, Meta, Time, TreePath};
use referee::{Planter, TIME, run, tool};

const UUID: [u8; 16] = *b"\x6f\x0d\x4a\x6e\x5c\x3b\x4f\x6a\x9d\x1e\x2f\x3a\x4b\x5c\x6d\x7e";
const SEED: [u8; 16] = *b"\x11\x22\x33\x44\x55\x66\x47\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x01";
const MIB: u64 = 1 << 20;

fn options(size: u64) -> Options {
    Options { label: b"root".to_vec(), ..Options::new(size, UUID, SEED, TIME) }
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// What e2fsck says when it is told to change nothing.
fn check(file: &str) -> Option<String> {
    let tool = tool("e2fsck")?;
    let verdict = run(&tool, &["-fn", file]);
    (!verdict.success).then_some(verdict.text)
}

fn assert_clean(file: &str) {
    if let Some(text) = check(file) {
        panic!("e2fsck objects:\n{}", text.chars().take(4000).collect::<String>());
    }
}

/// Every kind of entry, and the corners of each.
fn corners() -> Planter {
    let mut plant = Planter::default();
    plant.directory("etc").directory("empty").directory("usr/bin").directory("dev").directory("a/deep/er/place");
    plant.file("etc/hostname", "image\n").file("usr/bin/tool", referee::noise(7, 70_000, 200));
    plant.file("etc/empty", "").file("big", referee::noise(9, 3 << 20, 20));
    let mut add = |name: &[u8], kind: Kind, change: &dyn Fn(&mut Meta)| {
        let mut meta = Meta::root_owned(0o644, TIME);
        change(&mut meta);
        plant.tree.insert(TreePath::new(name).unwrap(), Entry { kind, meta }).unwrap();
    };
    let content = plant.contents.add("set\n");
    add(b"usr/bin/su", Kind::File(content), &|meta| meta.mode = 0o6755);
    add(b"usr/bin/owned", Kind::File(content), &|meta| (meta.uid, meta.gid) = (70_000, 4_000_000_000));
    add(b"usr/bin/old", Kind::File(content), &|meta| meta.mtime = Time { seconds: -1, nanoseconds: 1 });
    add(b"usr/bin/new", Kind::File(content), &|meta| {
        meta.mtime = Time { seconds: 0x3_7fff_ffff, nanoseconds: 999_999_999 };
    });
    add(b"usr/bin/tool2", Kind::HardLink(path("usr/bin/tool")), &|_| ());
    add(b"zz", Kind::HardLink(path("usr/bin/tool")), &|_| ());
    for length in [1, 59, 60, 61, 1000] {
        let name = format!("a/link{length}");
        add(name.as_bytes(), Kind::Symlink(vec![b't'; length].into()), &|meta| meta.mode = 0o777);
    }
    add(b"a/\xff\xfe latin", Kind::Symlink(b"\x80\xff".as_slice().into()), &|meta| meta.mode = 0o777);
    add(&[b'n'; 255], Kind::File(content), &|_| ());
    add(b"dev/null", Kind::CharDevice { major: 1, minor: 3 }, &|meta| meta.mode = 0o666);
    add(b"dev/big", Kind::CharDevice { major: 4095, minor: 0xf_ffff }, &|_| ());
    add(b"dev/nvme0n1p260", Kind::BlockDevice { major: 259, minor: 260 }, &|_| ());
    add(b"dev/fifo", Kind::Fifo, &|_| ());
    add(b"dev/socket", Kind::Socket, &|_| ());
    add(b"usr/bin/ping", Kind::File(content), &|meta| {
        set(meta, "security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    });
    add(b"usr/bin/labelled", Kind::File(content), &|meta| {
        set(meta, "security.selinux", b"system_u:object_r:bin_t:s0\0");
        set(meta, "security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        set(meta, "user.long", &[b'v'; 700]);
        set(meta, "user.empty", b"");
        set(meta, "trusted.overlay", b"y");
    });
    add(b"acl", Kind::Directory, &|meta| {
        meta.mode = 0o2775;
        let list = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x06\0\xe8\x03\0\0\x04\0\x05\0\xff\xff\xff\xff\x10\0\x07\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff";
        set(meta, "system.posix_acl_default", list);
        set(meta, "system.posix_acl_access", list);
    });
    plant
}

fn set(meta: &mut Meta, name: &str, value: &[u8]) {
    meta.xattrs.insert(name.as_bytes().into(), value.into());
}

fn feature_sets() -> Vec<Features> {
    [
        "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize",
        "has_journal,extent,huge_file,flex_bg,metadata_csum,metadata_csum_seed,64bit,dir_nlink,extra_isize,orphan_file",
        "has_journal,extent,huge_file,flex_bg,uninit_bg,dir_nlink,extra_isize",
        "extent,^resize_inode,^dir_index",
        "extent,64bit,metadata_csum",
        "extent,flex_bg,64bit",
    ]
    .into_iter()
    .map(|list| Features::parse(list).unwrap())
    .collect()
}
