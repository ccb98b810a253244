//! The kernel as referee: what it shows of a mounted image is the tree. Needs root.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use image::iso;
use layers::{Contents, Kind, Tree, TreePath};

use super::referee::{Planter, raw, run, text, tool};
use super::{corners, options, path};

/// A mounted image, unmounted when dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(file: &str, how: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root mounts");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let verdict = run(&tool("mount")?, &["-t", "iso9660", "-o", how, file, directory.path().to_str().unwrap()]);
        if !verdict.success {
            assert!(!verdict.text.contains("wrong fs type"), "{}", verdict.text);
            // Also where the kernel was built without isofs.
            println!("skipped: {}", verdict.text);
            return None;
        }
        Some(Self(directory))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// Every path below a directory, itself included.
fn paths(top: &Path) -> BTreeSet<TreePath> {
    let mut found = BTreeSet::from([TreePath::root()]);
    let mut pending = vec![TreePath::root()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory.under(top)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name().as_bytes()).unwrap();
            if entry.file_type().unwrap().is_dir() {
                pending.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

/// What a path is, in words.
fn described(path: &TreePath, tree: &Tree, plant: &Planter, links: u64) -> String {
    let entry = &tree.get(path).unwrap();
    let (kind, meta) = match &entry.kind {
        Kind::HardLink(target) => {
            let target = tree.get(target).unwrap();
            (&target.kind, &target.meta)
        }
        kind => (kind, &entry.meta),
    };
    let kind = match kind {
        Kind::File(content) => {
            let mut bytes = Vec::new();
            plant.contents.open(content).unwrap().read_to_end(&mut bytes).unwrap();
            format!("file {}", blake3::hash(&bytes))
        }
        Kind::Directory => "directory".into(),
        Kind::Symlink(target) => format!("link {}", target.escape_ascii()),
        Kind::CharDevice { major, minor } => format!("character {major}:{minor}"),
        Kind::BlockDevice { major, minor } => format!("block {major}:{minor}"),
        Kind::Fifo => "fifo".into(),
        Kind::Socket => "socket".into(),
        Kind::HardLink(_) => unreachable!("a link to a link"),
    };
    let links = if kind == "directory" { String::new() } else { links.to_string() };
    format!("{kind} {:o} {} {} {} {links}", meta.mode, meta.uid, meta.gid, meta.mtime.seconds)
}

fn shown(host: &Path) -> String {
    let metadata = fs::symlink_metadata(host).unwrap();
    let kind = metadata.file_type();
    let device = || format!("{}:{}", rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let kind = if kind.is_dir() {
        "directory".to_owned()
    } else if kind.is_symlink() {
        format!("link {}", fs::read_link(host).unwrap().as_os_str().as_bytes().escape_ascii())
    } else if kind.is_char_device() {
        format!("character {}", device())
    } else if kind.is_block_device() {
        format!("block {}", device())
    } else if kind.is_fifo() {
        "fifo".into()
    } else if kind.is_socket() {
        "socket".into()
    } else {
        format!("file {}", blake3::hash(&fs::read(host).unwrap()))
    };
    let links = if kind == "directory" { String::new() } else { metadata.nlink().to_string() };
    let mode = metadata.mode() & 0o7777;
    format!("{kind} {mode:o} {} {} {} {links}", metadata.uid(), metadata.gid(), metadata.mtime())
}

/// The differences between what is planned and what the kernel shows.
fn differences(tree: &Tree, plant: &Planter, top: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let there = paths(top);
    let first = |path: &TreePath| match &tree.get(path).unwrap().kind {
        Kind::HardLink(target) => target.clone(),
        _ => path.clone(),
    };
    for (path, _) in tree.iter() {
        if !there.contains(path) {
            found.push(format!("{path} is missing"));
            continue;
        }
        let links = tree.iter().filter(|(other, _)| first(other) == first(path)).count() as u64;
        let (planned, shown) = (described(path, tree, plant, links), shown(&path.under(top)));
        if planned != shown {
            found.push(format!("{path} is {shown} instead of {planned}"));
        }
    }
    if there.len() != tree.len() {
        found.push(format!("{} entries instead of {}", there.len(), tree.len()));
    }
    found
}

#[test]
fn the_kernel_shows_the_tree() {
    let plant = corners();
    let file = raw(&iso::plan(&plant.tree, &options()).unwrap(), &plant.contents);
    let Some(mounted) = Mounted::new(text(&file), "loop,ro") else { return };
    assert_eq!(differences(&plant.tree, &plant, mounted.0.path()), Vec::<String>::new());
    // The referee sees what is wrong.
    let changes: [fn(&mut Tree); 4] = [
        |tree| tree.get_mut(&path("etc/hostname")).unwrap().meta.mode ^= 1,
        |tree| tree.get_mut(&path("usr/bin/owned")).unwrap().meta.gid ^= 1,
        |tree| tree.get_mut(&path("usr/bin/old")).unwrap().meta.mtime.seconds += 1,
        |tree| tree.get_mut(&path("links/like3")).unwrap().kind = Kind::Symlink(b"a/b/"[..].into()),
    ];
    for change in changes {
        let mut other = plant.tree.clone();
        change(&mut other);
        assert_eq!(differences(&other, &plant, mounted.0.path()).len(), 1);
    }
}

#[test]
fn the_kernel_shows_joliet() {
    let plant = corners();
    let file = raw(&iso::plan(&plant.tree, &options()).unwrap(), &plant.contents);
    let Some(mounted) = Mounted::new(text(&file), "loop,ro,norock,utf8") else { return };
    let found = paths(mounted.0.path());
    for name in ["usr/bin/tool", "Case.txt", "case_1.txt", "grüße _.txt", "a_b_c_.conf", "UPPER", "x_1", "_", "end"] {
        assert!(found.contains(&path(name)), "{name} in {found:?}");
    }
    // Links, devices, pipes and sockets are not shown, all else is.
    let is_kept = |kind: &Kind| matches!(kind, Kind::File(_) | Kind::Directory | Kind::HardLink(_));
    assert_eq!(found.len(), plant.tree.iter().filter(|(_, entry)| is_kept(&entry.kind)).count());
    for name in ["usr/bin/tool", "usr/bin/tool2", "zz"] {
        assert!(fs::read(mounted.0.path().join(name)).unwrap() == super::bytes_of(&plant, "usr/bin/tool"));
    }
}

#[test]
fn the_kernel_reads_a_file_of_more_than_four_gib() {
    use std::os::unix::fs::FileExt;
    let size = (5 << 30) + 12_345;
    let (tree, contents) = super::roundtrip::huge(size);
    let file = raw(&iso::plan(&tree, &options()).unwrap(), &contents);
    for how in ["loop,ro", "loop,ro,norock"] {
        let Some(mounted) = Mounted::new(text(&file), how) else { return };
        let huge = fs::File::open(mounted.0.path().join("huge")).unwrap();
        assert_eq!(huge.metadata().unwrap().len(), size);
        let mut end = [1; 9];
        huge.read_exact_at(&mut end, size - 9).unwrap();
        assert_eq!(&end, b"\0\0the end");
    }
}
