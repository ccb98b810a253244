//! One cut point of the configure order: its packages are unpacked, segment by segment, then
//! configured by the image's own dpkg, in the order of the lock.

use std::collections::BTreeSet;
use std::path::PathBuf;

use layers::{Key, KeyBuilder, Stack};
use providers::deb::Aliases;
use providers::distro::VolatilePath;
use providers::lock::Group;
use sandbox::Step;

use super::materialise::{materialise, materialise_added};
use super::ownership::Ownership;
use super::plan::Planner;
use super::rules::{PRINTED, Rules};
use super::scaffold::{WAITING, add_control_files, scaffold};
use super::segment::{Ending, Progress, Segment, needs};
use super::settled::settle;
use super::step::{Work, run_noted_step};
use super::unpack::Unpacked;
use super::{command, command_with, failure, registry};
use crate::context::Context;
use crate::error::{Error, ResultExt};

/// Grows whenever the same packages may be configured in another way.
const GROUP_VERSION: u32 = 3;

/// Lays a package's control files where dpkg has them while it unpacks (its lib/dpkg/dpkg.h,
/// CONTROLDIRTMP) and runs the preinst there: debconf finds out from them whose questions are
/// asked, and some scripts look for the files beside them.
const PREINST: &str = "set -e; new=/var/lib/dpkg/tmp.ci; from=$1; shift; rm -rf $new; mkdir $new; \
                       cat >$new/control; for file; do cp -p \"$from$file\" \"$new/$file\"; done; \
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
    /// The links of a merged /usr.
    pub aliases: &'a Aliases,
    /// dpkg's name of the architecture.
    pub architecture: &'a str,
}

impl Groups<'_> {
    /// Unpacks and configures the packages of one group on top of a stack.
    ///
    /// # Errors
    /// Colliding packages; a maintainer script that fails, with its last lines.
    pub fn configure<'p>(
        &self,
        group: Group,
        packages: &'p [Unpacked],
        ownership: &mut Ownership<'p>,
        stack: &mut Stack,
    ) -> Result<(), Error> {
        if packages.is_empty() {
            return Ok(());
        }
        let packages: &[&Unpacked] = &packages.iter().collect::<Vec<_>>();
        registry::links(self.cx, packages, self.aliases, stack)?;
        if group == Group::Essential {
            return self.configure_essential(packages, ownership, stack);
        }
        let mut progress = Progress::default();
        loop {
            let to_come = packages.get(progress.next..).unwrap_or_default();
            // Most diversions concern no package of the same group. So all of it is tried at once,
            // and done again with care where one does.
            let watched = !progress.careful && to_come.iter().any(|package| package.is_marked("preinst"));
            let checkpoint = watched.then(|| (stack.clone(), ownership.clone(), progress.clone()));
            let first = progress.next == 0 && !progress.ran;
            let (before, rules) = (stack.clone(), Rules::read(stack)?);
            let mut segment = self.unpack(packages, &mut progress, &rules, ownership, stack)?;
            segment.watched = watched;
            let ran = self.run(group, &segment, &before, first, ownership, stack);
            if let Some((stack_then, ownership_then, progress_then)) = checkpoint {
                // A script that fails may do so because files are not where dpkg would have them.
                let concerned = match ran {
                    Ok(left) => segment.is_concerned(&rules, &left, stack),
                    Err(_) => true,
                };
                self.cx.check()?;
                if concerned {
                    (*stack, *ownership) = (stack_then, ownership_then);
                    progress = Progress { careful: true, ..progress_then };
                    continue;
                }
            } else {
                ran?;
            }
            if matches!(segment.ending, Ending::Configure(_)) {
                return Ok(());
            }
        }
    }

    /// Unpacks packages as far as one plan goes.
    fn unpack<'p>(
        &self,
        packages: &[&'p Unpacked],
        progress: &mut Progress,
        rules: &Rules,
        ownership: &mut Ownership<'p>,
        stack: &mut Stack,
    ) -> Result<Segment<'p>, Error> {
        let mut segment = Segment {
            packages: Vec::new(),
            first_ran: progress.ran,
            ending: Ending::Pause(Vec::new(), None),
            watched: false,
        };
        let mut unseen = false;
        while let Some(&package) = packages.get(progress.next) {
            let runs = package.has_script("preinst") && !progress.ran;
            let places = needs(packages, progress.next, &progress.configured, self.architecture)?;
            let cut = runs && progress.careful && package.is_marked("preinst");
            if !places.is_empty() || cut {
                let needed = places.iter().filter_map(|place| packages.get(*place).copied()).collect();
                progress.configured.extend(places);
                progress.ran = runs;
                segment.ending = Ending::Pause(needed, runs.then_some(package));
                return Ok(segment);
            }
            if let Err(error) = self.put(package, rules, ownership, stack) {
                // A preinst that has not run yet may be what makes room.
                match (runs, unseen) {
                    (true, _) => {
                        progress.ran = true;
                        segment.ending = Ending::Pause(Vec::new(), Some(package));
                    }
                    (false, true) => {}
                    (false, false) => return Err(error),
                }
                return Ok(segment);
            }
            unseen |= runs;
            segment.packages.push(package);
            progress.next += 1;
            progress.ran = false;
        }
        let left = packages.iter().enumerate().filter(|(place, _)| !progress.configured.contains(place));
        segment.ending = Ending::Configure(left.map(|(_, package)| *package).collect());
        Ok(segment)
    }

    /// Puts a package's files on a stack as dpkg would unpack them.
    fn put<'p>(
        &self,
        package: &'p Unpacked,
        rules: &Rules,
        ownership: &mut Ownership<'p>,
        stack: &mut Stack,
    ) -> Result<(), Error> {
        let planner = Planner { tree: stack.tree(), rules, aliases: self.aliases, architecture: self.architecture };
        let plan = planner.plan(package, ownership)?;
        ownership.enter(package, &plan.kept, &plan.taken)?;
        let layer = match plan.deviates {
            true => settle(self.cx, package, &plan, stack.tree())?,
            false => package.layer.clone(),
        };
        stack.push_as(layer, &plan.meaning).to("apply a package's layer")
    }

    /// Runs what a segment has to run and takes what it changed into a layer; gives the rules that
    /// its preinsts left behind.
    fn run(
        &self,
        group: Group,
        segment: &Segment<'_>,
        before: &Stack,
        first: bool,
        ownership: &mut Ownership<'_>,
        stack: &mut Stack,
    ) -> Result<Rules, Error> {
        let key = self.key(group, segment, before);
        let dropped = ownership.take_dropped();
        if !segment.packages.is_empty() {
            registry::register(self.cx, &segment.packages, &dropped, self.architecture, stack)?;
        }
        let registered = stack.clone();
        let title = match segment.ending {
            Ending::Configure(_) => format!("configure {} packages", group_name(group)),
            Ending::Pause(..) => format!("prepare {} packages", group_name(group)),
        };
        let note = run_noted_step(self.cx, self.volatile, stack, &key, &title, |_| {
            let hold = self.cx.work.stage().to("make a work directory")?;
            let top = scaffold(hold.path(), Some(self.deferred))?;
            if let Ending::Pause(_, Some(package)) = segment.ending {
                add_control_files(&top, package)?;
            }
            let steps = match group {
                // Nothing can run before the essential packages lie there, so their preinsts see
                // all of them, as in a system that debootstrap or mmdebstrap makes.
                Group::Essential => self.all_at_once(&segment.packages, &registered, top),
                _ => self.one_by_one(segment, before, &registered, first, top),
            };
            let printed = |step: &Step| matches!(step, Step::Run(command) if command.argv.last().is_some_and(|w| w == PRINTED.as_bytes()));
            let note = steps.iter().position(printed);
            Ok(Work { origin: failure::Origin::Packages, steps, hold: vec![hold], note })
        })?;
        match segment.prints_rules() {
            true => Rules::printed(&note),
            false => Rules::read(stack),
        }
    }

    fn configure_essential<'p>(
        &self,
        packages: &[&'p Unpacked],
        ownership: &mut Ownership<'p>,
        stack: &mut Stack,
    ) -> Result<(), Error> {
        let (before, rules) = (stack.clone(), Rules::read(stack)?);
        for package in packages {
            self.put(package, &rules, ownership, stack)?;
        }
        let ending = Ending::Configure(packages.to_vec());
        let segment = Segment { packages: packages.to_vec(), first_ran: false, ending, watched: false };
        self.run(Group::Essential, &segment, &before, true, ownership, stack).map(drop)
    }

    fn key(&self, group: Group, segment: &Segment<'_>, below: &Stack) -> Key {
        let digests = |packages: &[&Unpacked]| packages.iter().map(|one| one.package.sha256).collect::<Vec<_>>();
        let (preinst, configured, ending) = match &segment.ending {
            Ending::Configure(packages) => (Vec::new(), digests(packages), "configure"),
            Ending::Pause(needed, preinst) => {
                (preinst.iter().map(|one| one.package.sha256).collect(), digests(needed), "pause")
            }
        };
        KeyBuilder::new("configure deb packages", GROUP_VERSION)
            .field("group", group_name(group))
            .list("below", below.layers().iter().map(|layer| layer.id))
            .list("packages", digests(&segment.packages))
            .field("first preinst has run", [u8::from(segment.first_ran)])
            .field("ending", ending)
            .field("prints rules", [u8::from(segment.prints_rules())])
            .list("preinst", preinst)
            .list("configured", configured)
            .list("preseeds", self.preseeds)
            .field("architecture", self.architecture)
            .field("epoch", self.cx.epoch().to_le_bytes())
            .finish()
    }

    fn all_at_once(&self, packages: &[&Unpacked], after: &Stack, top: PathBuf) -> Vec<Step> {
        let mut steps = vec![mount(after, after.layers().len(), &top, Vec::new())];
        steps.extend(materialise(after));
        let preinsts = packages.iter().filter(|package| package.has_script("preinst"));
        steps.extend(preinsts.map(|package| self.preinst(package, &info_files(package))));
        steps.push(self.configure_step(packages));
        steps
    }

    /// A preinst must not see the files of its own package or of later ones: the stack is mounted
    /// anew before each package that has one.
    fn one_by_one(&self, segment: &Segment<'_>, before: &Stack, after: &Stack, first: bool, top: PathBuf) -> Vec<Step> {
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
            steps.extend(materialise_added(before.tree(), after));
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

/// The name of a cut point, for people and keys.
pub fn group_name(group: Group) -> &'static str {
    match group {
        Group::Essential => "essential",
        Group::Base => "base",
        Group::Kernel => "kernel",
        Group::Rest => "other",
    }
}
