//! The tree that we compose is the tree that the distribution's own tools make of the same
//! packages. The referee is mmdebstrap.

pub mod compare;
mod initramfs;
pub mod known;
pub mod odd;
pub mod referee;
pub mod rpmdb;
pub mod side;
mod unpacking;

use layers::{Content, Kind, TreePath};
use providers::distro::Catalogue;
use providers::lock::Lock;

use crate::support::{User, composer, have, is_root, must, strict, workplace};
use compare::compare;
use known::{DEBIAN, unknown};
use side::Side;

/// A release with packages besides the example's.
struct Case {
    version: &'static str,
    packages: &'static [&'static str],
}

impl Case {
    fn name(&self) -> String {
        format!("fidelity-{}-{}", self.version, self.packages.len())
    }

    /// As examples/debian-minimal.yml, without what the configuration stage does.
    fn spec(&self) -> String {
        format!(
            "image:
  name: {}
  base: {{ os: debian, version: {}, type: minimal }}
kernel: {{ package: linux-image-cloud-amd64 }}
disk:
  size: 4GiB
  partitions: [{{ type: esp, size: 256MiB }}, {{ type: root, size: rest }}]
customizations:
  packages: {{ install: [{}] }}
output: {{ format: raw }}
",
            self.name(),
            self.version,
            self.packages.join(", ")
        )
    }

    /// Both trees; `None` on a machine that cannot make them.
    fn trees(&self) -> Option<(Side, Side)> {
        if !is_root() || !have(&["setpriv", "mmdebstrap"]) {
            println!("skipped: the referee must run as root");
            assert!(!strict(), "with CI set the suite must run as root");
            return None;
        }
        let user = User::WithoutRange;
        let directory = workplace(user, &self.name());
        std::fs::write(directory.join("spec.yml"), self.spec()).unwrap();
        // Every step is taken anew from its own key: an image in the cache says nothing of compose.
        let words = "build spec.yml --skip-stage configuration --no-image-cache --output-dir output --progress plain";
        println!("{}", must(&mut composer(user, &directory, &words.split(' ').collect::<Vec<_>>())));
        let output = directory.join("output");
        let lock = Lock::read(&std::fs::read(output.join(format!("{}.lock", self.name()))).unwrap()).unwrap();
        let theirs = referee::tree_of(&lock);
        Some((Side::of_disk(&output.join(format!("{}.raw", self.name()))), Side::of_tar(&theirs)))
    }

    fn agrees(&self) {
        let Some((ours, theirs)) = self.trees() else { return };
        assert!(theirs.tree.len() > 3000, "the referee's tree has only {} entries", theirs.tree.len());
        let catalogue = Catalogue::embedded().unwrap();
        let volatile = &catalogue.find("debian", self.version).unwrap().volatile;
        let differences = compare(&ours, &theirs);
        known::tell(DEBIAN, &differences);
        let unknown = unknown(DEBIAN, volatile, &differences);
        println!("{}: {} differences, {} of them unknown", self.name(), differences.len(), unknown.len());
        let lines: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        assert!(unknown.is_empty(), "{}", lines.join("\n"));
        for (what, change) in CHANGES {
            let mut changed = ours.clone();
            change(&mut changed);
            let found = known::unknown(DEBIAN, volatile, &compare(&changed, &theirs));
            assert_eq!(found.len(), 1, "{what}: {found:?}");
        }
    }
}

type Change = fn(&mut Side);

/// The comparison objects when there is something to object to.
const CHANGES: &[(&str, Change)] = &[
    ("a file that is gone", |side| drop(side.tree.remove(&path("usr/bin/dpkg")))),
    ("a file in another place", |side| {
        let entry = side.tree.get(&path("usr/bin/dpkg")).unwrap().clone();
        side.tree.insert(path("usr/bin/dpkg-2"), entry).unwrap();
    }),
    ("another mode", |side| side.tree.get_mut(&path("usr/bin/su")).unwrap().meta.mode = 0o755),
    ("another owner", |side| side.tree.get_mut(&path("etc/shadow")).unwrap().meta.gid = 0),
    ("another link", |side| side.tree.get_mut(&path("bin")).unwrap().kind = Kind::Symlink((*b"usr/sbin").into())),
    ("another content", |side| side.tree.get_mut(&path("usr/bin/su")).unwrap().kind = Kind::File(Content::of(b"x"))),
    ("a capability that is lost", |side| {
        let with = side.tree.iter_mut().find(|(_, entry)| !entry.meta.xattrs.is_empty());
        with.expect("a file with a capability").1.meta.xattrs.clear();
    }),
    ("a package in another state", |side| {
        let status = path("var/lib/dpkg/status");
        let text = String::from_utf8(side.texts[&status].clone()).unwrap();
        let text = text.replacen("install ok installed", "install ok unpacked", 1).into_bytes();
        side.tree.get_mut(&status).unwrap().kind = Kind::File(Content::of(&text));
        side.texts.insert(status, text);
    }),
];

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

#[test]
fn debian_13_is_what_mmdebstrap_makes() {
    Case { version: "13", packages: &["openssh-server"] }.agrees();
}

#[test]
fn debian_12_is_what_mmdebstrap_makes() {
    Case { version: "12", packages: &["openssh-server"] }.agrees();
}

/// The larger image of the matrix.
#[test]
fn debian_12_with_what_the_matrix_has_is_what_mmdebstrap_makes() {
    Case { version: crate::matrix::VERSION, packages: crate::matrix::PACKAGES }.agrees();
}

#[test]
fn debian_13_with_services_is_what_mmdebstrap_makes() {
    let packages = &["build-essential", "iputils-ping", "man-db", "nginx", "openssh-server", "postgresql", "python3"];
    Case { version: "13", packages }.agrees();
}
