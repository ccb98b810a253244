//! apt's way of choosing (`apt-get install` on an empty system): each package that is asked for
//! is marked, then its dependencies are walked depth first, each settled by the first alternative
//! that can be installed. What is marked stays marked, so the order of walking decides; it is
//! apt's: Pre-Depends, Depends, then Recommends, alternatives from left to right, of several
//! providers the one of higher standing.
//!
//! A package that was asked for is protected, and so is whatever it needs without a choice:
//! marking something that conflicts with a protected package fails, and the next alternative is
//! tried; anything else that stands in the way is unmarked.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::goal::Goal;
use super::universe::{NameId, PackageId, Universe};
use crate::deb::relation::{self, Alternative};

/// How deep dependencies are followed; the deepest chains of Debian have some 200 links.
pub(super) const DEPTH_MAX: usize = 3000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Keep,
    Install,
    Forbidden,
}

#[derive(Clone, Copy, Debug)]
struct State {
    candidate: Option<PackageId>,
    mode: Mode,
    protected: bool,
}

/// The kinds of relation, in the order in which apt walks them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    PreDepends,
    Depends,
    Conflicts,
    Breaks,
    Recommends,
    Suggests,
}

impl Kind {
    pub fn is_negative(self) -> bool {
        matches!(self, Self::Conflicts | Self::Breaks)
    }

    pub fn is_critical(self) -> bool {
        !matches!(self, Self::Recommends | Self::Suggests)
    }
}

/// One relation with the packages that satisfy it, alternative by alternative.
#[derive(Clone, Debug)]
pub(super) struct Dependency<'u> {
    pub kind: Kind,
    pub alternatives: Vec<(Alternative<'u>, Vec<PackageId>)>,
}

impl Dependency<'_> {
    /// The packages of all alternatives.
    pub fn satisfiers(&self) -> impl Iterator<Item = PackageId> {
        self.alternatives.iter().flat_map(|(_, packages)| packages.iter().copied())
    }

    /// The relation as it was written.
    pub fn text(&self) -> String {
        self.alternatives.iter().map(|(target, _)| target.to_string()).collect::<Vec<_>>().join(" | ")
    }
}

/// The relations of a package in apt's order. A package's own conflicts do not count for itself.
/// A relation field that cannot be read makes the package impossible to satisfy, not free. Of a
/// package that is installed already only what it excludes among new ones counts: the rest was
/// settled, well or badly, when it was installed.
pub(super) fn dependencies<'u>(universe: &'u Universe, id: PackageId) -> Vec<Dependency<'u>> {
    let Ok(package) = universe.package(id) else { return Vec::new() };
    let fields = [
        (Kind::PreDepends, package.pre_depends),
        (Kind::Depends, package.depends),
        (Kind::Conflicts, package.conflicts),
        (Kind::Breaks, package.breaks),
        (Kind::Recommends, package.recommends),
        (Kind::Suggests, package.suggests),
    ];
    let mut found = Vec::new();
    let is_installed = universe.is_installed(id);
    for (kind, field) in fields.into_iter().filter(|(kind, _)| kind.is_negative() || !is_installed) {
        let Ok(relations) = relation::parse(field, universe.architecture()) else {
            if !kind.is_negative() {
                found.push(Dependency { kind, alternatives: Vec::new() });
            }
            continue;
        };
        for relation in relations {
            let alternatives = relation.alternatives.into_iter().map(|target| {
                let mut packages = universe.satisfiers(&target);
                if kind.is_negative() {
                    packages.retain(|&other| universe.name_of(other) != universe.name_of(id));
                    packages.retain(|&other| !is_installed || !universe.is_installed(other));
                }
                (target, packages)
            });
            found.push(Dependency { kind, alternatives: alternatives.collect() });
        }
    }
    found
}

pub(super) struct Marking<'u> {
    universe: &'u Universe,
    recommends: bool,
    states: Vec<State>,
    parsed: Vec<Option<Rc<[Dependency<'u>]>>>,
    /// Names in the order in which they were marked, unmarked ones included.
    order: Vec<NameId>,
}

impl<'u> Marking<'u> {
    pub fn new(universe: &'u Universe, recommends: bool) -> Self {
        let state =
            |name| State { candidate: universe.named(name).first().copied(), mode: Mode::Keep, protected: false };
        Self {
            universe,
            recommends,
            states: universe.names().map(state).collect(),
            parsed: vec![None; universe.len()],
            order: Vec::new(),
        }
    }

    /// Marks what a request names and what that needs.
    pub fn mark(&mut self, goal: &Goal) {
        for id in self.universe.installed() {
            let name = self.universe.name_of(id);
            let state = self.state_mut(name);
            state.candidate = Some(id);
            state.protected = true;
            self.install(name);
        }
        for &name in &goal.forbidden {
            let state = self.state_mut(name);
            state.mode = Mode::Forbidden;
            state.protected = true;
        }
        for wish in &goal.wishes {
            let name = self.universe.name_of(wish.package);
            let state = self.state_mut(name);
            state.candidate = Some(wish.package);
            state.protected = true;
            self.install(name);
        }
        for wish in &goal.wishes {
            self.mark_install(self.universe.name_of(wish.package), true, 0, true);
        }
    }

    /// The marked packages, in the order of marking.
    pub fn installed(&self) -> Vec<PackageId> {
        let mut seen = BTreeSet::new();
        let marked = self.order.iter().filter(|&&name| seen.insert(name) && self.state(name).mode == Mode::Install);
        marked.filter_map(|&name| self.state(name).candidate).collect()
    }

    /// Whether everything that marked packages need is marked, and nothing conflicts.
    pub fn is_sound(&mut self) -> bool {
        self.installed().into_iter().all(|id| !self.is_broken(id, false))
    }

    fn state(&self, name: NameId) -> State {
        self.states[name.0 as usize]
    }

    fn state_mut(&mut self, name: NameId) -> &mut State {
        &mut self.states[name.0 as usize]
    }

    fn name(&self, id: PackageId) -> NameId {
        self.universe.name_of(id)
    }

    fn install(&mut self, name: NameId) {
        let state = self.state_mut(name);
        if state.mode != Mode::Install {
            state.mode = Mode::Install;
            self.order.push(name);
        }
    }

    fn is_installed(&self, id: PackageId) -> bool {
        let state = self.state(self.name(id));
        state.mode == Mode::Install && state.candidate == Some(id)
    }

    fn is_candidate(&self, id: PackageId) -> bool {
        self.state(self.name(id)).candidate == Some(id)
    }

    fn dependencies(&mut self, id: PackageId) -> Rc<[Dependency<'u>]> {
        let at = id.0 as usize;
        if let Some(parsed) = &self.parsed[at] {
            return Rc::clone(parsed);
        }
        let parsed: Rc<[Dependency<'u>]> = dependencies(self.universe, id).into();
        self.parsed[at] = Some(Rc::clone(&parsed));
        parsed
    }

    fn matters(&self, kind: Kind) -> bool {
        kind.is_critical() || (kind == Kind::Recommends && self.recommends)
    }

    /// Whether a package lacks something; with `policy`, recommended packages count too.
    fn is_broken(&mut self, id: PackageId, policy: bool) -> bool {
        let dependencies = self.dependencies(id);
        dependencies.iter().any(|dependency| {
            let counts = dependency.kind.is_critical() || (policy && self.matters(dependency.kind));
            counts && dependency.satisfiers().any(|id| self.is_installed(id)) == dependency.kind.is_negative()
        })
    }

    fn keep(&mut self, name: NameId) -> bool {
        let state = self.state_mut(name);
        if state.mode == Mode::Keep {
            return true;
        }
        if state.protected {
            return false;
        }
        state.mode = Mode::Keep;
        true
    }

    fn discard(&mut self, name: NameId) {
        let state = self.state_mut(name);
        state.mode = Mode::Keep;
        state.candidate = None;
    }

    /// Candidates that satisfy a relation, in the order in which apt would try them.
    fn solutions(&self, dependency: &Dependency<'u>) -> Vec<PackageId> {
        let mut found: Vec<PackageId> = Vec::new();
        for (target, packages) in &dependency.alternatives {
            let mut candidates: Vec<PackageId> = packages.iter().copied().filter(|&id| self.is_candidate(id)).collect();
            if candidates.len() > 1 {
                let name = self.universe.name_id(target.name);
                candidates.sort_by_key(|&id| self.standing(id, name));
            }
            found.extend(candidates);
        }
        // Only neighbours that are equal fall together, as in apt.
        found.dedup();
        if !dependency.kind.is_negative() {
            found.retain(|&id| {
                let state = self.state(self.name(id));
                !(state.protected && state.mode != Mode::Install)
            });
        }
        found
    }

    /// Sorts providers: protected ones, the package of the name itself, essential and important
    /// ones, those of higher priority; at last the one that apt came across later.
    fn standing(&self, id: PackageId, target: Option<NameId>) -> impl Ord + use<> {
        let name = self.name(id);
        (
            !self.state(name).protected,
            Some(name) != target,
            !self.universe.is_essential(id),
            !self.universe.is_important(id),
            self.universe.priority(id),
            u32::MAX - self.universe.rank(name),
        )
    }

    /// Marks a package and, if `follow`, what it needs. False when that cannot be.
    fn mark_install(&mut self, name: NameId, follow: bool, depth: usize, by_user: bool) -> bool {
        let State { candidate, mode, protected } = self.state(name);
        if depth > DEPTH_MAX || (!by_user && mode != Mode::Install && protected) {
            return false;
        }
        let Some(id) = candidate else { return false };
        if !protected && mode == Mode::Install && !self.is_broken(id, true) {
            return true;
        }
        if follow && !self.is_satisfiable(id) {
            if !protected {
                self.discard(name);
            }
            return false;
        }
        if by_user {
            self.install(name);
        }
        // What the user asked for, or what is protected, is followed to the end in spite of
        // failures, so that the outcome shows all that is wrong.
        let persist = protected || by_user;
        let mut failed = false;
        let dependencies = self.dependencies(id);
        let mut needed = Vec::new();
        if follow {
            let mut unwanted = Vec::new();
            for dependency in dependencies.iter().filter(|dependency| self.matters(dependency.kind)) {
                let found = dependency.satisfiers().any(|id| self.is_installed(id));
                match dependency.kind.is_negative() {
                    true => unwanted.push(dependency),
                    false if found && !protected => {}
                    false => needed.push(dependency),
                }
            }
            if !self.clear_conflicts(&unwanted, protected, persist) {
                if !persist {
                    return false;
                }
                failed = true;
            }
        }
        self.install(name);
        if !follow {
            return !failed;
        }
        self.state_mut(name).protected = true;
        let complete = self.install_needed(&needed, depth, protected, persist);
        self.state_mut(name).protected = protected;
        if !complete {
            if !persist {
                self.discard(name);
                return false;
            }
            failed = true;
        }
        !failed
    }

    /// Whether each critical dependency has a candidate, or is satisfied.
    fn is_satisfiable(&mut self, id: PackageId) -> bool {
        let dependencies = self.dependencies(id);
        dependencies.iter().all(|dependency| {
            dependency.kind.is_negative()
                || !dependency.kind.is_critical()
                || dependency.satisfiers().any(|id| self.is_candidate(id))
        })
    }

    /// Unmarks what must not be beside a package.
    fn clear_conflicts(&mut self, unwanted: &[&Dependency<'u>], protected: bool, persist: bool) -> bool {
        let mut cleared = true;
        for dependency in unwanted {
            for other in self.solutions(dependency) {
                if !self.is_candidate(other) {
                    continue;
                }
                let name = self.name(other);
                if self.state(name).mode == Mode::Install && !self.keep(name) {
                    cleared = false;
                    if !persist {
                        return false;
                    }
                } else if protected {
                    // Never again, for the package that excludes it stays.
                    let state = self.state_mut(name);
                    state.candidate = None;
                    state.protected = true;
                }
            }
        }
        cleared
    }

    fn install_needed(&mut self, needed: &[&Dependency<'u>], depth: usize, protected: bool, persist: bool) -> bool {
        let mut complete = true;
        for dependency in needed {
            let critical = dependency.kind.is_critical();
            if dependency.satisfiers().any(|id| self.is_installed(id)) {
                if !protected || !critical {
                    continue;
                }
                // What a protected package needs without a choice is protected as well.
                let mut solutions = self.solutions(dependency);
                solutions.sort();
                solutions.dedup();
                if let [only] = solutions[..] {
                    let name = self.name(only);
                    if !self.state(name).protected {
                        self.state_mut(name).protected = true;
                        complete &= self.mark_install(name, true, depth + 1, false);
                    }
                }
                continue;
            }
            let solutions = self.solutions(dependency);
            let mut found = false;
            for &solution in &solutions {
                if !self.is_candidate(solution) {
                    continue;
                }
                let name = self.name(solution);
                if protected && critical && solutions.len() == 1 {
                    if !self.mark_install(name, false, depth + 1, false) {
                        continue;
                    }
                    self.state_mut(name).protected = true;
                }
                if self.mark_install(name, true, depth + 1, false) {
                    found = true;
                    break;
                }
            }
            if !found && critical {
                complete = false;
                if !persist {
                    break;
                }
            }
        }
        complete
    }
}
