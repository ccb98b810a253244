//! Swap space in the eyes of blkid, file and the kernel.

mod referee;

use std::process::Command;

use image::swap::Swap;
use layers::MemoryContents;
use referee::{flip, raw, run, text, tool};

const UUID: [u8; 16] = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0x8d, 0xef, 0x81, 2, 3, 4, 5, 6, 7, 8];
const UUID_TEXT: &str = "12345678-9abc-8def-8102-030405060708";

fn space(size: u64) -> tempfile::NamedTempFile {
    raw(&Swap::new(size, UUID, b"spare").unwrap(), &MemoryContents::default())
}

#[test]
fn blkid_reads_type_label_and_uuid() {
    let Some(blkid) = tool("blkid") else { return };
    let file = space(3 << 20);
    let seen = run(&blkid, &["-p", "-o", "export", text(&file)]);
    assert!(seen.success, "{}", seen.text);
    for line in ["TYPE=swap", "VERSION=1", "LABEL=spare", &format!("UUID={UUID_TEXT}")] {
        assert!(seen.text.lines().any(|known| known == line), "no {line} in:\n{}", seen.text);
    }
    // A byte of the signature, and it is no swap space any more.
    flip(&file, 4090);
    let seen = run(&blkid, &["-p", "-o", "export", text(&file)]);
    assert!(!seen.text.contains("TYPE=swap"), "{}", seen.text);
}

#[test]
fn the_header_is_mkswaps_own() {
    let Some(mkswap) = tool("mkswap") else { return };
    // The last number of pages is not a whole one.
    for size in [40_960, (3 << 20) + 512, 70 << 20] {
        let ours = space(size);
        let theirs = tempfile::NamedTempFile::new().unwrap();
        theirs.as_file().set_len(size).unwrap();
        let made = run(&mkswap, &["-p", "4096", "-U", UUID_TEXT, "-L", "spare", text(&theirs)]);
        assert!(made.success, "{}", made.text);
        assert!(std::fs::read(ours.path()).unwrap() == std::fs::read(theirs.path()).unwrap(), "of {size} bytes");
        flip(&ours, 1028);
        assert!(std::fs::read(ours.path()).unwrap() != std::fs::read(theirs.path()).unwrap());
    }
}

/// At home only: in CI what cannot be seen is a failure.
fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {reason}");
    println!("skipped: {reason}");
}

#[test]
fn the_kernel_takes_it() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root may swap");
    }
    let (Some(swapon), Some(swapoff), Some(losetup)) = (tool("swapon"), tool("swapoff"), tool("losetup")) else {
        return;
    };
    let file = space(8 << 20);
    let attached = run(&losetup, &["--find", "--show", text(&file)]);
    if !attached.success {
        return skip(&format!("no loop device: {}", attached.text));
    }
    let device = attached.text.trim().to_owned();
    let on = run(&swapon, &[&device]);
    let listed = std::fs::read_to_string("/proc/swaps").unwrap();
    let off = on.success.then(|| run(&swapoff, &[&device]));
    // The negative control: without its signature the kernel refuses it.
    flip(&file, 4090);
    let _ = Command::new("blockdev").args(["--flushbufs", &device]).status();
    let refused = run(&swapon, &[&device]);
    run(&losetup, &["-d", &device]);
    if !on.success && on.text.contains("Operation not permitted") {
        return skip(&format!("swapping is not allowed here: {}", on.text));
    }
    assert!(on.success, "{}", on.text);
    let line = listed.lines().find(|line| line.starts_with(&device)).unwrap_or_else(|| panic!("{listed}"));
    // All pages but the header's, in KiB.
    assert_eq!(line.split_whitespace().nth(2), Some("8188"), "{listed}");
    assert!(off.is_some_and(|off| off.success));
    assert!(!refused.success, "{}", refused.text);
}
