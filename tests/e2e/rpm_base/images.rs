//! Images to start from: made by dnf and umoci, changed by umoci, unpacked by umoci.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rpm_distribution::{Distribution, referee};
use crate::support::must;

/// An image of a layout directory.
pub struct Image {
    pub layout: PathBuf,
    pub name: String,
}

impl Image {
    fn reference(&self) -> String {
        format!("{}:{}", self.layout.display(), self.name)
    }
}

/// Unpacks an image and gives its root.
pub fn unpacked(image: &Image, to: &Path) -> PathBuf {
    must(Command::new("umoci").args(["unpack", "--image", &image.reference()]).arg(to));
    to.join("rootfs")
}

/// Makes a layer of what a script changes in an image; `$1` is its root, `$2` what it is given.
pub fn repack(image: &Image, change: &str, given: &Path) {
    let hold = tempfile::tempdir_in("/var/tmp").unwrap();
    let bundle = hold.path().join("bundle");
    let root = unpacked(image, &bundle);
    must(Command::new("sh").args(["-ec", change, "change"]).arg(&root).arg(given));
    let date = ["--history.created", "2020-01-01T00:00:00Z"];
    must(Command::new("umoci").args(["repack", "--image", &image.reference()]).args(date).arg(&bundle));
}

/// Another image under the name of ours, with what a script changes in a layer of its own.
pub fn packed(home: &Path, layout: &str, change: &str) {
    let image = Image { layout: home.join(layout), name: "base:1.0".into() };
    repack(&image, change, home);
    owned(home, layout);
}

/// Gives what root made to the user of a home.
pub fn owned(home: &Path, path: &str) {
    must(Command::new("chown").arg("-R").arg("--reference").arg(home).arg(home.join(path)));
}

/// An image that nothing of ours made: dnf's, packed by umoci, in a layout `base` of a home; and its tree.
pub fn independent(distribution: &Distribution, home: &Path, names: &[&str]) -> (Image, PathBuf) {
    let image = Image { layout: home.join("base"), name: "slim".into() };
    let root = PathBuf::from(format!("/var/tmp/image-composer-rpm-base-{}", std::process::id()));
    must(Command::new("rm").arg("-rf").arg(&root));
    referee::dnf_install(distribution, &root, names);
    must(Command::new("umoci").arg("init").arg("--layout").arg(&image.layout));
    must(Command::new("umoci").args(["new", "--image", &image.reference()]));
    // What was made within a second of the image may seem younger than that: umoci rounds times up.
    let copy = "tar -C \"$2\" --xattrs --xattrs-include='*' --numeric-owner -cf - . | \
                tar -C \"$1\" --xattrs --xattrs-include='*' --numeric-owner -xpf -; \
                find \"$1\" -mmin -120 -exec touch -h -d @1700000000 {} +";
    repack(&image, copy, &root);
    owned(home, "base");
    (image, root)
}
