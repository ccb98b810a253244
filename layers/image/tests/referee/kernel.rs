//! The kernel as referee: what it shows of a mounted file system. Needs root.

use std::path::Path;
use std::process::Command;

use layers::{Contents, Kind, MemoryContents, Tree, TreePath};

use super::host::read;
use super::{run, tool};

/// A mounted file system, unmounted when dropped.
pub struct Mounted(pub tempfile::TempDir);

impl Mounted {
    pub fn new(file: &str, how: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root mounts");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let verdict = run(&tool("mount")?, &["-o", how, file, directory.path().to_str().unwrap()]);
        if !verdict.success {
            assert!(!verdict.text.contains("wrong fs type"), "{}", verdict.text);
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

/// The differences between what is planned and what the kernel shows.
pub fn differences(tree: &Tree, contents: &MemoryContents, top: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let (mut shown, _) = read(top);
    shown.remove(&TreePath::new("lost+found").unwrap());
    for (path, entry) in tree.iter() {
        let Some(other) = shown.get(path) else {
            found.push(format!("{path} is missing"));
            continue;
        };
        match (&entry.kind, &other.kind) {
            (Kind::File(content), Kind::File(_)) => {
                let mut bytes = Vec::new();
                contents.open(content).unwrap().read_to_end(&mut bytes).unwrap();
                if std::fs::read(path.under(top)).unwrap() != bytes {
                    found.push(format!("{path} has another content"));
                }
            }
            (Kind::HardLink(_), Kind::HardLink(_)) => continue,
            (planned, shown) if planned == shown => {}
            (planned, shown) => found.push(format!("{path} is {shown:?} instead of {planned:?}")),
        }
        if entry.meta != other.meta {
            found.push(format!("{path} has {:?} instead of {:?}", other.meta, entry.meta));
        }
    }
    if shown.len() != tree.len() {
        found.push(format!("{} entries instead of {}", shown.len(), tree.len()));
    }
    found
}
