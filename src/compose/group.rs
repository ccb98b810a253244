//! One cut point of the configure order: its packages are unpacked, then configured by the image's
//! own dpkg, in the order of the lock.

use std::collections::BTreeSet;
use std::path::PathBuf;

use layers::{Key, KeyBuilder, Stack};
use providers::distro::VolatilePath;
use providers::lock::Group;
use sandbox::Step;

use super::materialise::{materialise, materialise_added};
use super::plan::Ownership;
use super::scaffold::scaffold;
use super::step::{Work, run_step};
use super::unpack::Unpacked;
use super::{command, command_with, failure, registry};
use crate::context::Context;
use crate::error::{Error, ResultExt};

/// Grows whenever the same packages may be configured in another way.
const GROUP_VERSION: u32 = 2;

/// Lays a package's control files where dpkg has them while it unpacks (its lib/dpkg/dpkg.h,
/// CONTROLDIRTMP) and runs the preinst there: debconf finds out from them whose questions are
/// asked, and some scripts look for the files beside them.
const PREINST: &str = "set -e; new=/var/lib/dpkg/tmp.ci; from=/var/lib/dpkg/info/$1; shift; rm -rf $new; mkdir $new; \
                       cat >$new/control; for file; do cp -p \"$from.$file\" \"$new/$file\"; done; \
                       $new/preinst install </dev/null; rm -rf $new";

/// What the groups of one build share.
pub struct Groups<'a> {
    /// The means.
    pub cx: &'a Context,
    /// The command that packages call to make an initial ramdisk, which waits.
    pub deferred: &'a str,
    /// Answers for debconf, one line each (debconf-set-selections(1)).
    pub preseeds: &'a [String],
    /// What must not enter a layer.
    pub volatile: &'a [VolatilePath],
    /// dpkg's name of the architecture.
    pub architecture: &'a str,
}

impl Groups<'_> {
    /// Unpacks and configures the packages of one group on top of a stack.
    ///
    /// # Errors
    /// Colliding packages; a maintainer script that fails, with its last lines.
    pub fn configure(
        &self,
        group: Group,
        packages: &[&Unpacked],
        ownership: &mut Ownership,
        stack: &mut Stack,
    ) -> Result<(), Error> {
        if packages.is_empty() {
            return Ok(());
        }
        let before = stack.clone();
        let key = self.key(group, packages, &before);
        for package in packages {
            ownership.stack(package, stack)?;
        }
        registry::register(self.cx, packages, self.architecture, stack)?;
        let registered = stack.clone();
        let title = format!("configure {} packages", group_name(group));
        run_step(self.cx, self.volatile, stack, &key, &title, |_| {
            let hold = self.cx.work.stage().to("make a work directory")?;
            let top = scaffold(hold.path(), Some(self.deferred))?;
            let steps = match group {
                // Nothing can run before the essential packages lie there, so their preinsts see
                // all of them, as in a system that debootstrap or mmdebstrap makes.
                Group::Essential => self.all_at_once(packages, &registered, top),
                _ => self.one_by_one(packages, &before, &registered, top),
            };
            Ok(Work { origin: failure::Origin::Packages, steps, hold: vec![hold] })
        })
    }

    fn key(&self, group: Group, packages: &[&Unpacked], below: &Stack) -> Key {
        KeyBuilder::new("configure deb packages", GROUP_VERSION)
            .field("group", group_name(group))
            .list("below", below.layers().iter().map(|layer| layer.id))
            .list("packages", packages.iter().map(|package| package.package.sha256))
            .list("preseeds", self.preseeds)
            .field("architecture", self.architecture)
            .field("epoch", self.cx.epoch().to_le_bytes())
            .finish()
    }

    fn all_at_once(&self, packages: &[&Unpacked], after: &Stack, top: PathBuf) -> Vec<Step> {
        let mut steps = vec![mount(after, after.layers().len(), &top, Vec::new())];
        steps.extend(materialise(after));
        steps.extend(packages.iter().filter(|package| package.has_script("preinst")).map(|p| self.preinst(p)));
        steps.push(self.configure_step(packages));
        steps
    }

    /// A preinst must not see the files of its own package or of later ones: the stack is mounted
    /// anew before each package that has one.
    fn one_by_one(&self, packages: &[&Unpacked], before: &Stack, after: &Stack, top: PathBuf) -> Vec<Step> {
        let base = before.layers().len();
        let mut steps = vec![mount(after, base, &top, Vec::new())];
        steps.extend(materialise(before));
        steps.extend(self.preseed_step(after));
        let mut mounted = 0;
        for (position, package) in packages.iter().enumerate() {
            if !package.has_script("preinst") {
                continue;
            }
            if position > mounted {
                steps.push(mount(after, base + position, &top, conffiles(&packages[mounted..position])));
                mounted = position;
            }
            steps.push(self.preinst(package));
        }
        steps.push(mount(after, after.layers().len(), &top, conffiles(&packages[mounted..])));
        steps.extend(materialise_added(before.tree(), after));
        steps.push(self.configure_step(packages));
        steps
    }

    fn preseed_step(&self, after: &Stack) -> Option<Step> {
        let tool = layers::TreePath::new("usr/bin/debconf-set-selections").ok()?;
        if self.preseeds.is_empty() || after.tree().get(&tool).is_none() {
            return None;
        }
        let mut set = command(&["debconf-set-selections".into()], self.cx.epoch());
        set.stdin = self.preseeds.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
        Some(Step::Run(set))
    }

    /// Runs a preinst as dpkg would for a package that was never there (Debian policy 6.5;
    /// variables of dpkg(1), "Internal environment").
    fn preinst(&self, package: &Unpacked) -> Step {
        let name = &package.package.name;
        let variables = [
            ("DPKG_MAINTSCRIPT_PACKAGE", name.clone()),
            ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1".into()),
            ("DPKG_MAINTSCRIPT_ARCH", package.package.architecture.clone()),
            ("DPKG_MAINTSCRIPT_NAME", "preinst".into()),
            ("DPKG_MAINTSCRIPT_DEBUG", "0".into()),
            ("DPKG_ADMINDIR", "/var/lib/dpkg".into()),
            ("DPKG_ROOT", String::new()),
            ("DPKG_RUNNING_VERSION", "1.21.0".into()),
        ];
        let mut argv = ["sh", "-c", PREINST, "preinst"].map(String::from).to_vec();
        argv.push(registry::info_name(package));
        argv.extend(package.note.control.files.keys().cloned());
        let mut run = command_with(&argv, self.cx.epoch(), &variables);
        run.stdin = package.note.control.stanza().as_str().as_bytes().to_vec();
        Step::Run(run)
    }

    fn configure_step(&self, packages: &[&Unpacked]) -> Step {
        let mut argv: Vec<String> = ["dpkg", "--force-confold", "--configure"].map(String::from).to_vec();
        argv.extend(packages.iter().map(|package| match package.package.architecture.as_str() {
            "all" => package.package.name.clone(),
            architecture => format!("{}:{architecture}", package.package.name),
        }));
        Step::Run(command(&argv, self.cx.epoch()))
    }
}

/// Mounts the lowest `count` layers of a stack, what dpkg knows of the whole group above them, and
/// the scaffold on top.
fn mount(stack: &Stack, count: usize, top: &std::path::Path, keep: Vec<Vec<u8>>) -> Step {
    let all = stack.lower_directories();
    let mut lowers: Vec<PathBuf> = all.iter().take(count).cloned().collect();
    // The registry is the topmost layer: preinst scripts are in it.
    if count < all.len() {
        lowers.extend(all.last().cloned());
    }
    lowers.push(top.to_path_buf());
    Step::Stack { lowers, keep }
}

fn conffiles(packages: &[&Unpacked]) -> Vec<Vec<u8>> {
    let mut paths = BTreeSet::new();
    for package in packages {
        paths.extend(package.note.conffiles.keys().map(|path| path.strip_prefix(b"/").unwrap_or(path).to_vec()));
    }
    paths.into_iter().collect()
}

/// The name of a cut point, for people and keys.
pub fn group_name(group: Group) -> &'static str {
    match group {
        Group::Essential => "essential",
        Group::Base => "base",
        Group::Kernel => "kernel",
        Group::Rest => "other",
    }
}
