//! The same image wherever the store and the work lie: on every file system that people keep them on, and on an
//! overlay, which a container's root is, where the kernel takes no upper directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fidelity::odd;
use crate::support::{User, have, must, run, strict};
use crate::wrong::case::Case;

/// What a place is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    Xfs,
    Btrfs,
    Tmpfs,
    Overlay,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Ext4, Self::Xfs, Self::Btrfs, Self::Tmpfs, Self::Overlay];

    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Tmpfs => "tmpfs",
            Self::Overlay => "overlay",
        }
    }
}

/// Bytes of a place, as truncate(1) and mount(8) take them. The files of the images are sparse.
const SIZE: &str = "2G";

/// A mounted file system of a user's, for as long as it lives.
pub struct Place {
    pub path: PathBuf,
    base: PathBuf,
}

impl Place {
    /// Mounts one below an existing directory; `None` on a machine that has no such thing.
    pub fn mount(kind: Kind, user: User, below: &Path) -> Option<Self> {
        let name = kind.name();
        let tool = match kind {
            Kind::Tmpfs | Kind::Overlay => "mount".to_owned(),
            _ => format!("mkfs.{name}"),
        };
        if !have(&[&tool]) {
            return None;
        }
        let base = below.join(name);
        let path = base.join("mounted");
        must(Command::new("mkdir").args(["-p", "-m", "755"]).args([&base, &path]));
        let place = Self { path, base };
        let mut mount = Command::new("mount");
        match kind {
            Kind::Tmpfs => drop(mount.args(["-t", name, "-o", &format!("size={SIZE}"), name])),
            Kind::Overlay => {
                let [lower, upper, work] = ["lower", "upper", "work"].map(|part| place.base.join(part));
                must(Command::new("mkdir").args([&lower, &upper, &work]));
                let [lower, upper, work] = [lower, upper, work].map(|part| part.display().to_string());
                let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
                mount.args(["-t", name, "-o", &options, name]);
            }
            Kind::Ext4 | Kind::Xfs | Kind::Btrfs => {
                let image = place.base.join("image");
                must(Command::new("truncate").args(["-s", SIZE]).arg(&image));
                must(Command::new(&tool).arg("-q").arg(&image));
                mount.args(["-o", "loop", "-t", name]).arg(&image);
            }
        }
        if run(mount.arg(&place.path)).is_none() {
            assert!(!strict(), "{name} cannot be mounted");
            println!("skipped: {name} cannot be mounted");
            return None;
        }
        must(Command::new("chown").arg(user.name()).arg(&place.path));
        Some(place)
    }

    /// Has a case keep its store and its work here.
    pub fn take(&self, case: &mut Case) {
        let place = |name: &str| self.path.join(name).display().to_string();
        case.words = vec!["--cache-dir".into(), place("cache"), "--work-dir".into(), place("work")];
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Lazily: nothing of the test may keep the next one from its place.
        let _ = run(Command::new("umount").arg("-l").arg(&self.path));
        let _ = run(Command::new("rm").arg("-rf").arg(&self.base));
    }
}

/// What plain files cannot say, and what an upper directory has to hold: owners, devices, deletions, a directory
/// made anew, links.
const SCRIPT: &str = "#!/bin/sh
set -e
cd /var
mkdir a a/b; echo x > a/file; ln a/file a/other; ln -s file a/link; mknod a/pipe p; mknod a/null c 1 3
chown 5:6 a/file a/b; chown -h 7:8 a/link; chmod 4755 a/other; chmod 2770 a/b
rm /usr/share/tiny-hello/data; rm -r /usr/share/odd; mkdir /usr/share/odd; mv /etc/passwd /etc/moved; cp -p /etc/moved /etc/passwd
";

/// Builds, changes the script, builds again, has the image copied from the cache, and gives the checksums of both.
fn build(case: &Case) -> [String; 2] {
    let names = [&["tiny-hello"], &odd::names()[..]].concat();
    case.spec(&names, "  scripts:\n    - path: ./change.sh\n");
    case.write("change.sh", SCRIPT);
    case.build(&[]).with(0, &[]);
    case.all_is_there();
    let first = case.sums();
    case.write("change.sh", &format!("{SCRIPT}echo more > /var/more\n"));
    case.build(&["--force"]).with(0, &[]);
    case.all_is_there();
    let second = case.sums();
    must(Command::new("rm").arg("-rf").arg(case.directory.join("output")));
    case.build(&[]).with(0, &["copied from the image cache"]);
    case.all_is_there();
    assert_eq!(case.sums(), second);
    [first, second]
}

fn the_same_everywhere(user: User, name: &str) {
    let Some(mut case) = Case::of(user, name) else { return };
    let expected = build(&case);
    assert_ne!(expected[0], expected[1]);
    for kind in Kind::ALL {
        let Some(place) = Place::mount(kind, user, &case.directory) else { continue };
        place.take(&mut case);
        must(Command::new("rm").arg("-rf").arg(case.directory.join("output")));
        assert_eq!(build(&case), expected, "on {kind:?}");
        let text = case.run(&["doctor"]).text;
        let held = text.contains("cannot hold what the sandbox changes");
        assert_eq!(held, kind == Kind::Overlay, "on {kind:?}:\n{text}");
    }
}

#[test]
fn the_same_image_on_every_file_system() {
    the_same_everywhere(User::WithoutRange, "places");
}

#[test]
fn the_same_image_on_every_file_system_with_a_range() {
    the_same_everywhere(User::WithRange, "places");
}
