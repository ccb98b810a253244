//! What runs in the sandbox for packages of a group: preinsts in turn with unpacking, then dpkg.

use std::collections::BTreeSet;
use std::path::PathBuf;

use layers::Stack;
use sandbox::Step;

use super::group::Groups;
use super::registry;
use super::rules::PRINTED;
use super::segment::{Ending, Segment};
use super::unpack::Unpacked;
use super::waiting::WAITING;
use crate::compose::materialise::{materialise, materialise_added};
use crate::compose::{command, command_with};

/// Lays a package's control files where dpkg has them while it unpacks (its lib/dpkg/dpkg.h,
/// CONTROLDIRTMP) and runs the preinst there: debconf finds out from them whose questions are
/// asked, and some scripts look for the files beside them.
const PREINST: &str = "set -e; new=/var/lib/dpkg/tmp.ci; from=$1; shift; rm -rf $new; mkdir $new; \
                       cat >$new/control; for file; do cp -p \"$from$file\" \"$new/$file\"; done; \
                       $new/preinst install </dev/null; rm -rf $new";

impl Groups<'_> {
    /// Every package lies there before anything runs.
    pub(super) fn all_at_once(&self, packages: &[&Unpacked], after: &Stack, top: PathBuf) -> Vec<Step> {
        let mut steps = vec![mount(after, after.layers().len(), &top, Vec::new())];
        steps.extend(materialise(after));
        let preinsts = packages.iter().filter(|package| package.has_script("preinst"));
        steps.extend(preinsts.map(|package| self.preinst(package, &info_files(package))));
        steps.push(self.configure_step(packages));
        steps
    }

    /// A preinst must not see the files of its own package or of later ones: the stack is mounted
    /// anew before each package that has one.
    pub(super) fn one_by_one(
        &self,
        segment: &Segment<'_>,
        before: &Stack,
        after: &Stack,
        first: bool,
        top: PathBuf,
    ) -> Vec<Step> {
        let (base, packages) = (before.layers().len(), &segment.packages);
        let mut steps = vec![mount(after, base, &top, Vec::new())];
        steps.extend(materialise(before));
        if first {
            steps.extend(self.preseed_step(before));
        }
        let mut mounted = 0;
        for (position, package) in packages.iter().enumerate() {
            if !package.has_script("preinst") || (position == 0 && segment.first_ran) {
                continue;
            }
            if position > mounted {
                steps.push(mount(after, base + position, &top, conffiles(&packages[mounted..position])));
                mounted = position;
            }
            steps.push(self.preinst(package, &info_files(package)));
        }
        if !packages.is_empty() {
            steps.push(mount(after, after.layers().len(), &top, conffiles(&packages[mounted..])));
            steps.extend(materialise_added(before, after));
        }
        if segment.prints_rules() {
            let argv = ["sh", "-c", PRINTED].map(String::from);
            steps.push(Step::Run(command(&argv, self.cx.epoch())));
        }
        match &segment.ending {
            Ending::Configure(packages) => steps.push(self.configure_step(packages)),
            Ending::Pause(needed, preinst) => {
                if !needed.is_empty() {
                    steps.push(self.configure_step(needed));
                }
                steps.extend(preinst.map(|package| self.preinst(package, &format!("{WAITING}/"))));
            }
        }
        steps
    }

    fn preseed_step(&self, below: &Stack) -> Option<Step> {
        let tool = layers::TreePath::new("usr/bin/debconf-set-selections").ok()?;
        if self.preseeds.is_empty() || below.tree().get(&tool).is_none() {
            return None;
        }
        let mut set = command(&["debconf-set-selections".into()], self.cx.epoch());
        set.stdin = self.preseeds.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
        Some(Step::Run(set))
    }

    /// Runs a preinst as dpkg would for a package that was never there (Debian policy 6.5;
    /// variables of dpkg(1), "Internal environment").
    fn preinst(&self, package: &Unpacked, files: &str) -> Step {
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
        argv.push(files.to_owned());
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
    let mut lowers = stack.lowest_directories(count);
    // The registry is the topmost layer: preinst scripts are in it.
    if let Some(registry) = stack.layers().get(count..).and_then(<[_]>::last) {
        lowers.push(registry.directory());
    }
    lowers.push(top.to_path_buf());
    Step::Stack { lowers, keep }
}

/// What the paths of a package's control files begin with, once dpkg knows it.
fn info_files(package: &Unpacked) -> String {
    format!("/var/lib/dpkg/info/{}.", registry::info_name(package))
}

fn conffiles(packages: &[&Unpacked]) -> Vec<Vec<u8>> {
    let mut paths = BTreeSet::new();
    for package in packages {
        paths.extend(package.note.conffiles.keys().map(|path| path.strip_prefix(b"/").unwrap_or(path).to_vec()));
    }
    paths.into_iter().collect()
}
