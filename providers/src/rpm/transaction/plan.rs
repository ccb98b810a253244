//! The order of an installation.

use std::cmp::Reverse;

use super::action::{Action, Kind, Run};
use super::files;
use super::package::Package;
use crate::rpm::scripts::{Event, FileTrigger, Phase, Program};

/// File triggers from this priority on run before `%post`, the others after `%triggerin` (rpm,
/// lib/rpmtriggers.c, `TRIGGER_PRIORITY_BOUND`).
const EARLY: u32 = 10_000;

/// In what one rpm's order differs from another's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// Whether users and groups that a package provides are made before its files are laid: rpm 4.19
    /// and later do, where `%__systemd_sysusers` is set.
    pub users: bool,
}

/// All that rpm does to install packages, in order, beside those that are installed already (in the
/// order of their installation). The packages are laid in the order in which they are given.
pub fn order(installed: &[Package], new: &[Package], rules: Rules) -> Vec<Action> {
    let mut plan = Plan { before: installed.len(), there: installed.iter().collect(), actions: Vec::new() };
    for package in new {
        plan.scriptlet(package, Phase::PreTrans, plan.count(&package.name).saturating_add(1));
    }
    for ((place, package), is_laid) in new.iter().enumerate().zip(files::laid(new)) {
        for users in package.users.iter().filter(|_| rules.users) {
            plan.actions.push(Action::MakeUsers { package: place, users: users.clone() });
        }
        plan.install(package, place, &is_laid);
    }
    for package in new {
        plan.scriptlet(package, Phase::PostTrans, plan.count(&package.name));
    }
    plan.transaction_file_triggers();
    plan.actions
}

struct Plan<'a> {
    /// How many packages were there before.
    before: usize,
    /// The packages that are there, in the order of their installation.
    there: Vec<&'a Package>,
    actions: Vec<Action>,
}

/// What makes one run of a script differ from another.
struct Cause {
    kind: Kind,
    arguments: Vec<u32>,
    input: Vec<u8>,
    is_critical: bool,
}

impl<'a> Plan<'a> {
    fn count(&self, name: &str) -> u32 {
        let count = self.there.iter().filter(|package| *package.name == *name).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn run(&mut self, package: &Package, program: &Program, body: Option<&[u8]>, cause: Cause) {
        self.actions.push(Action::Script(Run {
            package: package.label.clone(),
            kind: cause.kind,
            interpreter: program.interpreter.clone(),
            body: body.map(Into::into),
            expand: program.expand,
            query: program.query,
            arguments: cause.arguments,
            input: cause.input,
            prefixes: package.prefixes.clone(),
            is_critical: cause.is_critical,
        }));
    }

    fn scriptlet(&mut self, package: &Package, phase: Phase, count: u32) {
        let Some(program) = package.scripts.scriptlet(phase) else { return };
        let is_critical = phase.is_critical() || program.critical;
        let cause = Cause { kind: Kind::Scriptlet(phase), arguments: vec![count], input: Vec::new(), is_critical };
        self.run(package, program, program.script.as_deref(), cause);
    }

    /// A trigger always has a script, be it an empty one, so that even a program that runs alone
    /// gets the script's path and the arguments.
    fn triggered(&mut self, package: &Package, program: &Program, kind: Kind, arguments: Vec<u32>, input: Vec<u8>) {
        let cause = Cause { kind, arguments, input, is_critical: program.critical };
        self.run(package, program, Some(program.script.as_deref().unwrap_or_default()), cause);
    }

    fn install(&mut self, package: &'a Package, place: usize, is_laid: &[bool]) {
        let count = self.count(&package.name).saturating_add(1);
        self.triggers(package, Event::PreIn);
        self.scriptlet(package, Phase::Pre, count);
        self.actions.push(Action::Lay { package: place });
        self.there.push(package);
        self.file_triggers(package, is_laid, |priority| priority >= EARLY);
        self.scriptlet(package, Phase::Post, count);
        self.triggers(package, Event::In);
        self.file_triggers(package, is_laid, |priority| priority < EARLY);
    }

    /// The triggers that a package sets off, and those of its own that the packages set off that are
    /// there.
    fn triggers(&mut self, package: &'a Package, event: Event) {
        let count = self.count(&package.name);
        for other in self.there.clone() {
            if let Some(trigger) = other.set_off_by(package, event) {
                self.trigger(other, trigger, event, count);
            }
        }
        let mut has_run = vec![false; package.scripts.triggers.len()];
        for condition in &package.conditions {
            if has_run.get(condition.trigger).is_none_or(|has_run| *has_run) {
                continue;
            }
            let name = &condition.dependency.name;
            let count = self.count(name);
            for other in self.there.clone().into_iter().filter(|other| other.name == *name) {
                let Some(trigger) = package.set_off_by(other, event) else { continue };
                let first = has_run.get_mut(trigger).is_some_and(|has_run| !std::mem::replace(has_run, true));
                if first {
                    self.trigger(package, trigger, event, count);
                }
            }
        }
    }

    fn trigger(&mut self, package: &Package, trigger: usize, event: Event, others: u32) {
        let Some(trigger) = package.scripts.triggers.get(trigger) else { return };
        let arguments = vec![self.count(&package.name), others];
        self.triggered(package, &trigger.program, Kind::Trigger(event), arguments, Vec::new());
    }

    /// The file triggers that a package's files set off, its own among them, and then its own for
    /// the files of all others.
    fn file_triggers(&mut self, package: &'a Package, is_laid: &[bool], is_due: impl Fn(u32) -> bool) {
        let owners: Vec<&Package> = self.there.clone();
        for (owner, trigger) in by_priority(&owners, false) {
            let input = files::of_package(trigger, &package.files, is_laid);
            if is_due(trigger.priority) && !input.is_empty() {
                self.file_trigger(owner, trigger, Kind::FileTrigger(Event::In), input);
            }
        }
        for (owner, trigger) in by_priority(&[package], false) {
            // Its own files have no state yet while it is being installed, so rpm leaves them out.
            let others = owners.iter().copied().filter(|other| !std::ptr::eq(*other, package));
            let input = files::of_system(trigger, others);
            if is_due(trigger.priority) && !input.is_empty() {
                self.file_trigger(owner, trigger, Kind::FileTrigger(Event::In), input);
            }
        }
    }

    fn file_trigger(&mut self, package: &Package, trigger: &FileTrigger, kind: Kind, input: Vec<u8>) {
        self.triggered(package, &trigger.program, kind, vec![0], input);
    }

    /// The file triggers of packages that were there before, for the files that are new; and then
    /// those of each new package, for all files.
    fn transaction_file_triggers(&mut self) {
        let kind = Kind::TransactionFileTrigger(Event::In);
        let there = self.there.clone();
        let (before, new) = there.split_at(self.before.min(there.len()));
        for (owner, trigger) in by_priority(before, true) {
            let input = files::of_system(trigger, new.iter().copied());
            if !input.is_empty() {
                self.file_trigger(owner, trigger, kind, input);
            }
        }
        for package in new {
            for (owner, trigger) in by_priority(&[package], true) {
                let input = files::of_system(trigger, there.iter().copied());
                if !input.is_empty() {
                    self.file_trigger(owner, trigger, kind, input);
                }
            }
        }
    }
}

/// The file triggers of packages: by priority, then in the order of installation, then as in the
/// header.
fn by_priority<'a>(packages: &[&'a Package], per_transaction: bool) -> Vec<(&'a Package, &'a FileTrigger)> {
    let triggers = packages.iter().enumerate().flat_map(|(number, package)| {
        package.file_triggers(per_transaction).map(move |(at, trigger)| (number, at, *package, trigger))
    });
    let mut triggers: Vec<_> = triggers.collect();
    triggers.sort_by_key(|(number, at, _, trigger)| (Reverse(trigger.priority), *number, *at));
    triggers.into_iter().map(|(_, _, package, trigger)| (package, trigger)).collect()
}
