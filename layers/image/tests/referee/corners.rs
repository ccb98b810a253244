//! A tree of all that a file system must hold.

use layers::{Entry, Kind, Meta, Time, TreePath};

use super::{Planter, TIME, noise};

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// Every kind of entry, and the corners of each.
pub fn corners() -> Planter {
    let mut plant = Planter::default();
    plant.directory("etc").directory("empty").directory("usr/bin").directory("dev").directory("a/deep/er/place");
    plant.file("etc/hostname", "image\n").file("usr/bin/tool", noise(7, 70_000, 200));
    plant.file("etc/empty", "").file("big", noise(9, 3 << 20, 20));
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
