//! A full disk, wherever it is met.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::case::Case;
use crate::support::{must, run};

/// A file system of this size, in KiB, at a directory of a case, for as long as it lives.
struct Small(PathBuf);

impl Small {
    fn mount(case: &Case, name: &str, size: u32) -> Option<Self> {
        let path = case.directory.join(name);
        std::fs::create_dir(&path).unwrap();
        let options = format!("size={size}k,mode=777");
        if run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path)).is_none() {
            assert!(!crate::support::strict(), "a tmpfs cannot be mounted");
            println!("skipped: a tmpfs cannot be mounted");
            return None;
        }
        Some(Self(path))
    }

    fn grow(&self, size: u32) {
        must(Command::new("mount").args(["-o", &format!("remount,size={size}k")]).arg(&self.0));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: nothing of the test may keep the next one from its place.
        let _ = run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

fn files_below(directory: &Path) -> usize {
    let output = Command::new("find").arg(directory).args(["-type", "f"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().count()
}

#[test]
fn a_full_disk_under_the_output_leaves_nothing_there() {
    let Some(case) = Case::new("full-output") else { return };
    let Some(small) = Small::mount(&case, "output", 4096) else { return };
    case.build(&[]).with(4, &["Insufficient disk space", "--output-dir"]);
    assert_eq!(files_below(&small.0), 0);
    small.grow(1 << 20);
    case.build(&[]).with(0, &[]);
    case.all_is_there();
    case.nothing_is_left();
}

#[test]
fn a_full_disk_under_the_cache_is_told_and_what_is_there_stays_good() {
    let Some(case) = Case::new("full-cache") else { return };
    let Some(small) = Small::mount(&case, "cache", 64) else { return };
    case.spec(&["tiny-big", "tiny-hello"], "");
    // Room for the indexes at most; for some of the packages; for the packages, but no layers;
    // for some layers.
    for size in [64, 3 << 10, 8 << 10, 12 << 10, 16 << 10] {
        small.grow(size);
        let ended = case.build(&[]);
        if ended.code == Some(0) {
            panic!("{size} KiB are enough for everything: the test must begin with less");
        }
        ended.with(4, &["Insufficient disk space", "--cache-dir"]);
        case.nothing_is_there().nobody_is_alive();
    }
    small.grow(1 << 20);
    case.build(&[]).with(0, &[]);
    case.all_is_there();
    case.nothing_is_left();
}

#[test]
fn an_image_that_cannot_be_kept_is_finished_all_the_same() {
    let Some(case) = Case::new("full-images") else { return };
    let Some(small) = Small::mount(&case, "cache", 1 << 20) else { return };
    case.build(&["--stage", "compose"]).with(0, &[]);
    let used = must(Command::new("df").args(["--output=used", "-k"]).arg(&small.0));
    let used: u32 = used.lines().nth(1).unwrap().trim().parse().unwrap();
    small.grow(used + 4096);
    case.build(&[]).with(0, &["the image is not kept in the cache"]);
    case.all_is_there();
    case.nothing_is_left();
}
