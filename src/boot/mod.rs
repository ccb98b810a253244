//! Boot policy: which kernel, which command line, which files lie on the EFI system partition.
//!
//! The files lie where `kernel-install` (systemd, kernel-install(8)) would put them, so that a
//! kernel upgraded inside the running image is found by the same loader.

mod esp;
pub mod grub;
mod identity;

pub use esp::{Boot, Esp, esp, file_at, lay_over, os_release};
pub use identity::Identity;

use layers::{Entry, Tree, TreePath};

/// A kernel found in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledKernel {
    /// What `uname -r` will say.
    pub release: String,
    /// The kernel image.
    pub image: TreePath,
    /// The initial ramdisk, once it has been made.
    pub initrd: Option<TreePath>,
}

/// The kernels of a tree, the newest last, where `image` and `initrd` are the paths that the
/// provider gives, with `{release}` in them.
pub fn kernels(tree: &Tree, image: &str, initrd: &str) -> Vec<InstalledKernel> {
    let Some((prefix, suffix)) = image.trim_start_matches('/').split_once("{release}") else { return Vec::new() };
    let mut found: Vec<InstalledKernel> = tree
        .iter()
        .filter(|(_, entry)| !Entry::is_directory(entry))
        .filter_map(|(path, _)| {
            let text = std::str::from_utf8(path.as_bytes()).ok()?;
            let release = text.strip_prefix(prefix)?.strip_suffix(suffix)?;
            if release.is_empty() || release.contains('/') {
                return None;
            }
            let initrd = TreePath::new(initrd.replace("{release}", release)).ok()?;
            Some(InstalledKernel {
                release: release.to_owned(),
                image: path.clone(),
                initrd: tree.get(&initrd).is_some().then_some(initrd),
            })
        })
        .collect();
    // Debian policy's order of versions is also that of kernel releases.
    found.sort_by_key(|kernel| natural_key(&kernel.release));
    found
}

/// A key that sorts digits by value and the rest as text.
fn natural_key(text: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = rest[..digits].parse().unwrap_or(u64::MAX);
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        key.push((if digits == 0 { 0 } else { number }, rest[..letters].to_owned()));
        rest = &rest[letters..];
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use layers::{Content, Meta, Time};

    #[test]
    fn the_newest_kernel_comes_last_by_number_not_by_letter() {
        let mut tree = Tree::default();
        let meta = Meta::root_owned(0o755, Time::default());
        tree.create_directories(&TreePath::new("boot").unwrap(), &meta).unwrap();
        for release in ["6.12.100+deb13-amd64", "6.12.9+deb13-amd64"] {
            let path = TreePath::new(format!("boot/vmlinuz-{release}")).unwrap();
            tree.insert(path, Entry::file(Content::of(b"k"), meta.clone())).unwrap();
        }
        let found = kernels(&tree, "/boot/vmlinuz-{release}", "/boot/initrd.img-{release}");
        let releases: Vec<&str> = found.iter().map(|kernel| kernel.release.as_str()).collect();
        assert_eq!(releases, ["6.12.9+deb13-amd64", "6.12.100+deb13-amd64"]);
    }
}
