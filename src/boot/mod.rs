//! Boot policy: which kernel, which command line, which files lie on the EFI system partition.
//!
//! The files lie where `kernel-install` (systemd, kernel-install(8)) would put them, so that a
//! kernel upgraded inside the running image is found by the same loader.

mod esp;
pub mod grub;
mod identity;

pub use esp::{Boot, Esp, esp, file_at, lay_over, lay_over_fat, os_release, usual_files};
pub use identity::Identity;

use layers::{Entry, Tree, TreePath};
use providers::distro::Boot as Facts;

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

/// The kernels of a tree, the newest last. One that is in several places is taken from the first of
/// them that the provider names.
pub fn kernels(tree: &Tree, facts: &Facts) -> Vec<InstalledKernel> {
    let mut found: Vec<InstalledKernel> = Vec::new();
    for image in facts.kernel_places() {
        for kernel in kernels_at(tree, image, &facts.initrd) {
            if !found.iter().any(|known| known.release == kernel.release) {
                found.push(kernel);
            }
        }
    }
    // Debian policy's order of versions is also that of kernel releases.
    found.sort_by_key(|kernel| natural_key(&kernel.release));
    found
}

/// Where kernels are looked for, for messages.
pub fn kernel_places(facts: &Facts) -> String {
    facts.kernel_places().collect::<Vec<_>>().join(" and ")
}

fn kernels_at(tree: &Tree, image: &str, initrd: &str) -> Vec<InstalledKernel> {
    let Some((prefix, suffix)) = image.trim_start_matches('/').split_once("{release}") else { return Vec::new() };
    tree.iter()
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
        .collect()
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

    /// What a provider says, as far as it is about kernels.
    pub(super) fn facts(kernel: &str, elsewhere: &[&str], initrd: &str) -> Facts {
        Facts {
            package: String::new(),
            loader: String::new(),
            kernel: kernel.into(),
            kernel_elsewhere: elsewhere.iter().map(|place| (*place).to_owned()).collect(),
            initrd: initrd.into(),
            cmdline: Vec::new(),
            grub: std::collections::BTreeMap::new(),
            live: None,
        }
    }

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::default();
        let meta = Meta::root_owned(0o755, Time::default());
        for path in paths {
            let path = TreePath::new(path).unwrap();
            tree.create_directories(&path.parent().unwrap(), &meta).unwrap();
            tree.insert(path, Entry::file(Content::of(b"k"), meta.clone())).unwrap();
        }
        tree
    }

    #[test]
    fn a_kernel_that_was_not_copied_is_taken_from_its_modules() {
        let facts =
            facts("/boot/vmlinuz-{release}", &["/usr/lib/modules/{release}/vmlinuz"], "/boot/initramfs-{release}.img");
        let tree = tree(&[
            "boot/initramfs-6.12.0-1.el10.img",
            "boot/initramfs-6.12.0-2.el10.img",
            "boot/vmlinuz-6.12.0-1.el10",
            "usr/lib/modules/6.12.0-1.el10/vmlinuz",
            "usr/lib/modules/6.12.0-2.el10/vmlinuz",
            "usr/lib/modules/6.12.0-3.el10/modules.dep",
        ]);
        let found = kernels(&tree, &facts);
        let images: Vec<String> = found.iter().map(|kernel| kernel.image.to_string()).collect();
        assert_eq!(images, ["/boot/vmlinuz-6.12.0-1.el10", "/usr/lib/modules/6.12.0-2.el10/vmlinuz"]);
        assert!(found.iter().all(|kernel| kernel.initrd.is_some()));
        assert_eq!(kernel_places(&facts), "/boot/vmlinuz-{release} and /usr/lib/modules/{release}/vmlinuz");
    }

    #[test]
    fn the_newest_kernel_comes_last_by_number_not_by_letter() {
        let tree = tree(&["boot/vmlinuz-6.12.100+deb13-amd64", "boot/vmlinuz-6.12.9+deb13-amd64"]);
        let found = kernels(&tree, &facts("/boot/vmlinuz-{release}", &[], "/boot/initrd.img-{release}"));
        let releases: Vec<&str> = found.iter().map(|kernel| kernel.release.as_str()).collect();
        assert_eq!(releases, ["6.12.9+deb13-amd64", "6.12.100+deb13-amd64"]);
    }
}
