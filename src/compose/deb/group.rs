//! One cut point of the configure order: its packages are unpacked, segment by segment, then
//! configured by the image's own dpkg, in the order of the lock.

use layers::{Recipe, RecipeBuilder, Stack};
use providers::deb::Aliases;
use providers::distro::{ScaffoldFile, VolatilePath};
use providers::lock::Group;
use sandbox::Step;

use super::ownership::Ownership;
use super::plan::Planner;
use super::registry;
use super::rules::{PRINTED, Rules};
use super::segment::{Ending, Progress, Segment, needs};
use super::unpack::Unpacked;
use super::waiting::add_control_files;
use crate::compose::failure;
use crate::compose::scaffold::{scaffold, wanted};
use crate::compose::settled::settle;
use crate::compose::step::{Work, run_noted_step};
use crate::context::Context;
use crate::error::{Error, ResultExt};

/// Grows whenever the same packages may be configured in another way.
const GROUP_VERSION: u32 = 3;

/// What the groups of one build share.
pub struct Groups<'a> {
    /// The means.
    pub cx: &'a Context,
    /// The command that packages call to make an initial ramdisk, which waits.
    pub deferred: &'a str,
    /// Files that stand there while the packages that read them are configured.
    pub scaffold: &'a [ScaffoldFile],
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
        match group {
            Group::Essential => self.configure_essential(packages, ownership, stack)?,
            _ => self.configure_others(group, packages, ownership, stack)?,
        }
        self.cx.history.cut_point(&format!("the {} packages", group_name(group)));
        Ok(())
    }

    /// Unpacks and configures the packages of a group other than the first.
    fn configure_others<'p>(
        &self,
        group: Group,
        packages: &[&'p Unpacked],
        ownership: &mut Ownership<'p>,
        stack: &mut Stack,
    ) -> Result<(), Error> {
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
            true => settle(self.cx, &package.layer, &plan.meaning, &plan.origins, stack.tree())?,
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
        let dropped = ownership.take_dropped();
        if !segment.packages.is_empty() {
            let title = format!("register {} packages", group_name(group));
            registry::register(self.cx, &segment.packages, &dropped, self.architecture, &title, stack)?;
        }
        let registered = stack.clone();
        let files = wanted(self.scaffold, registered.tree())?;
        let recipe = self.recipe(group, segment, before, &files);
        let title = match segment.ending {
            Ending::Configure(_) => format!("configure {} packages", group_name(group)),
            Ending::Pause(..) => format!("prepare {} packages", group_name(group)),
        };
        let note = run_noted_step(self.cx, self.volatile, stack, &recipe, &title, |_| {
            let hold = self.cx.work.stage().to("make a work directory")?;
            let top = scaffold(hold.path(), Some(self.deferred), &files, registered.tree())?;
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
            Ok(Work { origin: failure::Origin::Packages, steps, hold: vec![hold], note, tentative: segment.watched })
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

    fn recipe(&self, group: Group, segment: &Segment<'_>, below: &Stack, files: &[&ScaffoldFile]) -> Recipe {
        let digests = |packages: &[&Unpacked]| packages.iter().map(|one| one.package.sha256).collect::<Vec<_>>();
        let (preinst, configured, ending) = match &segment.ending {
            Ending::Configure(packages) => (Vec::new(), digests(packages), "configure"),
            Ending::Pause(needed, preinst) => {
                (preinst.iter().map(|one| one.package.sha256).collect(), digests(needed), "pause")
            }
        };
        RecipeBuilder::new("configure deb packages", GROUP_VERSION)
            .field("group", group_name(group))
            .list("below", below.layers().iter().map(|layer| layer.id))
            .members("packages", digests(&segment.packages))
            .field("first preinst has run", [u8::from(segment.first_ran)])
            .field("ending", ending)
            .field("prints rules", [u8::from(segment.prints_rules())])
            .members("preinst", preinst)
            .members("configured", configured)
            .list("preseeds", self.preseeds)
            .list("scaffold", files.iter().flat_map(|file| [&file.path, &file.text]))
            .field("architecture", self.architecture)
            .field("epoch", self.cx.epoch().to_le_bytes())
            .finish()
    }
}

/// The name of a cut point, for people and keys.
pub fn group_name(group: Group) -> &'static str {
    match group {
        Group::Essential => "essential",
        Group::Base => "base",
        Group::Kernel => "kernel",
        Group::Defaults => "default",
        Group::Rest => "other",
    }
}
