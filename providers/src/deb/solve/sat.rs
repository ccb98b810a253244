//! The SAT solver behind a narrow door: for requests on which apt's way of choosing runs into a
//! conflict. It gets the relations as they are and the marked set as its preference; a marked
//! package that cannot be had is left out.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;

use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider,
    HintDependenciesAvailable, Interner, KnownDependencies, Requirement, SolvableId, Solver, SolverCache, StringId,
    UnsolvableOrCancelled, VersionSetId, VersionSetUnionId,
};

use super::goal::Goal;
use super::marking::{Dependency, dependencies};
use super::universe::{NameId, PackageId, Universe};

/// Longest account of a conflict that is kept, in characters: the solver's can fill pages.
const ACCOUNT_MAX: usize = 2000;

/// Finds packages that fulfil a goal, as near to the marked ones as can be; or the solver's
/// account of why there are none.
pub(super) fn solve(universe: &Universe, goal: &Goal, marked: &[PackageId]) -> Result<Vec<PackageId>, String> {
    let problem = Formulation {
        universe,
        forbidden: goal.forbidden.iter().copied().collect(),
        marked: marked.iter().copied().collect(),
        sets: RefCell::default(),
        unions: RefCell::default(),
    };
    let needed = universe.installed().chain(goal.wishes.iter().map(|wish| wish.package));
    let wishes = needed.map(|id| {
        let name = universe.name_of(id);
        Requirement::Single(problem.set(name, vec![id], universe.version(id).to_owned())).into()
    });
    let request = resolvo::Problem::default()
        .requirements(wishes.collect())
        .soft_requirements(marked.iter().map(|&id| solvable(id)).collect::<Vec<_>>());
    let mut solver = Solver::new(problem);
    match solver.solve(request) {
        Ok(found) => Ok(found.into_iter().map(package).collect()),
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => {
            let account = conflict.display_user_friendly(&solver).to_string();
            Err(account.trim().chars().take(ACCOUNT_MAX).collect())
        }
        Err(UnsolvableOrCancelled::Cancelled(_)) => Err("the solver stopped".into()),
    }
}

fn solvable(id: PackageId) -> SolvableId {
    SolvableId::from_raw(id.0)
}

fn package(id: SolvableId) -> PackageId {
    PackageId(id.into_raw())
}

/// Some packages of one name.
struct Set {
    name: resolvo::NameId,
    packages: Vec<PackageId>,
    text: String,
}

/// The universe in the solver's terms: a name is a package, of which at most one version is there;
/// a virtual name is the union of its providers; a conflict allows all versions but some.
struct Formulation<'u> {
    universe: &'u Universe,
    forbidden: BTreeSet<NameId>,
    marked: BTreeSet<PackageId>,
    sets: RefCell<Vec<Set>>,
    unions: RefCell<Vec<Vec<VersionSetId>>>,
}

impl Formulation<'_> {
    fn set(&self, name: NameId, packages: Vec<PackageId>, text: String) -> VersionSetId {
        self.raw_set(resolvo::NameId::from_raw(name.0), packages, text)
    }

    fn raw_set(&self, name: resolvo::NameId, packages: Vec<PackageId>, text: String) -> VersionSetId {
        let mut sets = self.sets.borrow_mut();
        sets.push(Set { name, packages, text });
        VersionSetId(sets.len() as u32 - 1)
    }

    /// The name that stands for what nothing provides.
    fn nothing(&self) -> resolvo::NameId {
        resolvo::NameId::from_raw(self.universe.name_count() as u32)
    }

    fn requirement(&self, dependency: &Dependency<'_>) -> ConditionalRequirement {
        let mut packages: Vec<PackageId> = dependency.satisfiers().collect();
        // What was marked first; beyond that the order in which apt tries.
        packages.sort_by_key(|id| !self.marked.contains(id));
        let mut groups: Vec<(NameId, Vec<PackageId>)> = Vec::new();
        for id in packages {
            let name = self.universe.name_of(id);
            match groups.iter_mut().find(|(known, _)| *known == name) {
                Some((_, packages)) => packages.push(id),
                None => groups.push((name, vec![id])),
            }
        }
        let text = dependency.text();
        let mut sets: Vec<VersionSetId> =
            groups.into_iter().map(|(name, packages)| self.set(name, packages, format!("for {text}"))).collect();
        match sets.len() {
            0 => Requirement::Single(self.raw_set(self.nothing(), Vec::new(), text)).into(),
            1 => Requirement::Single(sets.remove(0)).into(),
            _ => {
                let mut unions = self.unions.borrow_mut();
                unions.push(sets);
                Requirement::Union(VersionSetUnionId(unions.len() as u32 - 1)).into()
            }
        }
    }

    fn constraints(&self, dependency: &Dependency<'_>, constrains: &mut Vec<VersionSetId>) {
        let excluded: BTreeSet<PackageId> = dependency.satisfiers().collect();
        let names: BTreeSet<NameId> = excluded.iter().map(|&id| self.universe.name_of(id)).collect();
        for name in names {
            let allowed = self.universe.named(name).iter().copied().filter(|id| !excluded.contains(id));
            constrains.push(self.set(name, allowed.collect(), format!("not {}", dependency.text())));
        }
    }
}

impl Interner for Formulation<'_> {
    type NameId = resolvo::NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, id: SolvableId) -> impl Display + '_ {
        format!("{} {}", self.universe.name(package(id)), self.universe.version(package(id)))
    }

    fn display_name(&self, name: resolvo::NameId) -> impl Display + '_ {
        if name == self.nothing() { "nothing" } else { self.universe.name_text(NameId(name.into_raw())) }
    }

    fn display_version_set(&self, set: VersionSetId) -> impl Display + '_ {
        self.sets.borrow()[set.0 as usize].text.clone()
    }

    fn display_string(&self, _: StringId) -> impl Display + '_ {
        "it must not be in the image"
    }

    fn version_set_name(&self, set: VersionSetId) -> resolvo::NameId {
        self.sets.borrow()[set.0 as usize].name
    }

    fn solvable_name(&self, id: SolvableId) -> resolvo::NameId {
        resolvo::NameId::from_raw(self.universe.name_of(package(id)).0)
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.unions.borrow()[union.0 as usize].clone().into_iter()
    }

    fn resolve_condition(&self, _: ConditionId) -> Condition {
        // No relation of ours has a condition, so no id was ever given out.
        Condition::Requirement(VersionSetId(0))
    }
}

impl DependencyProvider for Formulation<'_> {
    async fn filter_candidates(&self, candidates: &[SolvableId], set: VersionSetId, inverse: bool) -> Vec<SolvableId> {
        let sets = self.sets.borrow();
        let packages = &sets[set.0 as usize].packages;
        candidates.iter().copied().filter(|&id| packages.contains(&package(id)) != inverse).collect()
    }

    async fn get_candidates(&self, name: resolvo::NameId) -> Option<Candidates<SolvableId>> {
        if name == self.nothing() {
            return None;
        }
        let name = NameId(name.into_raw());
        let packages = self.universe.named(name);
        if self.forbidden.contains(&name) {
            let excluded = packages.iter().map(|&id| (solvable(id), StringId(0))).collect();
            return Some(Candidates { excluded, ..Candidates::default() });
        }
        Some(Candidates {
            candidates: packages.iter().map(|&id| solvable(id)).collect(),
            favored: packages.iter().find(|id| self.marked.contains(id)).map(|&id| solvable(id)),
            hint_dependencies_available: HintDependenciesAvailable::None,
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        let place = |id: SolvableId| {
            let named = self.universe.named(self.universe.name_of(package(id)));
            named.iter().position(|&other| other == package(id))
        };
        solvables.sort_by_key(|&id| place(id));
    }

    async fn get_dependencies(&self, id: SolvableId) -> Dependencies {
        let mut known = KnownDependencies::default();
        for dependency in dependencies(self.universe, package(id)) {
            match (dependency.kind.is_critical(), dependency.kind.is_negative()) {
                (true, true) => self.constraints(&dependency, &mut known.constrains),
                (true, false) => known.requirements.push(self.requirement(&dependency)),
                (false, _) => {}
            }
        }
        Dependencies::Known(known)
    }
}
