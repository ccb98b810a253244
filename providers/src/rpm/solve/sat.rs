//! The SAT solver behind a narrow door: for requests on which the search gives up. It gets the
//! clauses as they are.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider,
    HintDependenciesAvailable, Interner, KnownDependencies, LogicalOperator, Requirement, SolvableId, Solver,
    SolverCache, StringId, UnsolvableOrCancelled, VersionSetId, VersionSetUnionId,
};

use super::formula::Literal;
use super::rules::Rules;
use super::universe::{NameId, PackageId, Universe};

/// Most rounds of propagation before the solver is stopped: a few seconds.
const ROUNDS_MAX: u64 = 100_000;

/// Finds packages that fulfil the rules, or says that there are none. The solver's own account of
/// that is not asked for: writing it panics for some conflicts with conditions (resolvo 0.12.2,
/// an assertion in `Conflict::graph`).
pub(super) fn solve(universe: &Universe, rules: &Rules) -> Result<Vec<PackageId>, String> {
    let mut clauses: BTreeMap<PackageId, Vec<&[Literal]>> = BTreeMap::new();
    for clause in &rules.packages {
        if let Some((first, rest)) = clause.split_first() {
            clauses.entry(first.package).or_default().push(rest);
        }
    }
    let problem = Formulation {
        universe,
        forbidden: rules.forbidden.iter().copied().collect(),
        clauses,
        sets: RefCell::default(),
        unions: RefCell::default(),
        conditions: RefCell::default(),
        rounds: Cell::new(0),
    };
    let wishes = rules.wishes.iter().map(|clause| problem.requirement(clause).into()).collect();
    let request = resolvo::Problem::default().requirements(wishes);
    let mut solver = Solver::new(problem);
    match solver.solve(request) {
        Ok(found) => Ok(found.into_iter().map(package).collect()),
        Err(UnsolvableOrCancelled::Unsolvable(_)) => Err("the reasons are too many to be told".into()),
        Err(UnsolvableOrCancelled::Cancelled(_)) => Err("none was found in reasonable time".into()),
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

/// The rules in the solver's terms: a name is a package, of which at most one version is there.
struct Formulation<'u> {
    universe: &'u Universe,
    forbidden: BTreeSet<PackageId>,
    /// The rest of each clause that begins with a package's absence.
    clauses: BTreeMap<PackageId, Vec<&'u [Literal]>>,
    sets: RefCell<Vec<Set>>,
    unions: RefCell<Vec<Vec<VersionSetId>>>,
    conditions: RefCell<Vec<Condition>>,
    rounds: Cell<u64>,
}

/// The id of the last element of an arena.
fn last(length: usize) -> u32 {
    u32::try_from(length.saturating_sub(1)).unwrap_or(u32::MAX)
}

impl Formulation<'_> {
    fn set(&self, name: resolvo::NameId, packages: Vec<PackageId>, text: String) -> VersionSetId {
        let mut sets = self.sets.borrow_mut();
        sets.push(Set { name, packages, text });
        VersionSetId(last(sets.len()))
    }

    /// The name that stands for what nothing provides.
    fn nothing(&self) -> resolvo::NameId {
        resolvo::NameId::from_raw(u32::try_from(self.universe.name_count()).unwrap_or(u32::MAX))
    }

    fn text(&self, packages: &[PackageId]) -> String {
        packages.iter().map(|&id| self.universe.evr(id).to_string()).collect::<Vec<_>>().join(" or ")
    }

    /// That one of the packages which a clause wants is there.
    fn requirement(&self, clause: &[Literal]) -> Requirement {
        let mut groups: BTreeMap<NameId, Vec<PackageId>> = BTreeMap::new();
        for literal in clause.iter().filter(|literal| literal.wanted) {
            groups.entry(self.universe.name_of(literal.package)).or_default().push(literal.package);
        }
        let set = |(name, packages): (NameId, Vec<PackageId>)| {
            let text = self.text(&packages);
            self.set(resolvo::NameId::from_raw(name.0), packages, text)
        };
        let sets: Vec<VersionSetId> = groups.into_iter().map(set).collect();
        match sets[..] {
            [] => Requirement::Single(self.set(self.nothing(), Vec::new(), "that could answer".into())),
            [only] => Requirement::Single(only),
            _ => {
                let mut unions = self.unions.borrow_mut();
                unions.push(sets);
                Requirement::Union(VersionSetUnionId(last(unions.len())))
            }
        }
    }

    fn condition(&self, condition: Condition) -> ConditionId {
        let mut conditions = self.conditions.borrow_mut();
        conditions.push(condition);
        ConditionId::new(last(conditions.len()))
    }

    /// The packages that must all be there for a clause to ask for something.
    fn condition_of(&self, packages: &[PackageId]) -> Option<ConditionId> {
        let one = |id: PackageId| {
            let name = resolvo::NameId::from_raw(self.universe.name_of(id).0);
            self.condition(Condition::Requirement(self.set(name, vec![id], self.text(&[id]))))
        };
        let mut ids = packages.iter().map(|&id| one(id));
        let first = ids.next()?;
        Some(ids.fold(first, |a, b| self.condition(Condition::Binary(LogicalOperator::And, a, b))))
    }
}

impl Interner for Formulation<'_> {
    type NameId = resolvo::NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, id: SolvableId) -> impl Display + '_ {
        format!("{} {}", self.universe.name(package(id)), self.universe.evr(package(id)))
    }

    fn display_name(&self, name: resolvo::NameId) -> impl Display + '_ {
        let named = self.universe.named(NameId(name.into_raw()));
        named.first().map_or("nothing", |&id| self.universe.name(id))
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

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        self.conditions.borrow()[condition.as_u32() as usize].clone()
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
        let packages = self.universe.named(NameId(name.into_raw()));
        let (excluded, allowed): (Vec<_>, Vec<_>) = packages.iter().partition(|id| self.forbidden.contains(id));
        Some(Candidates {
            candidates: allowed.into_iter().map(solvable).collect(),
            excluded: excluded.into_iter().map(|id| (solvable(id), StringId(0))).collect(),
            hint_dependencies_available: HintDependenciesAvailable::None,
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        let universe = self.universe;
        solvables.sort_by(|&a, &b| {
            let (a, b) = (package(a), package(b));
            let priorities = universe.repository(a).priority.cmp(&universe.repository(b).priority);
            priorities.then_with(|| universe.evr(b).compare(universe.evr(a))).then(a.cmp(&b))
        });
    }

    async fn get_dependencies(&self, id: SolvableId) -> Dependencies {
        let mut known = KnownDependencies::default();
        for clause in self.clauses.get(&package(id)).into_iter().flatten() {
            let absent: Vec<PackageId> =
                clause.iter().filter(|literal| !literal.wanted).map(|literal| literal.package).collect();
            let is_exclusion = !clause.iter().any(|literal| literal.wanted);
            match absent[..] {
                [other] if is_exclusion => {
                    let named = self.universe.named(self.universe.name_of(other)).iter().copied();
                    let allowed = named.filter(|&id| id != other).collect();
                    let name = resolvo::NameId::from_raw(self.universe.name_of(other).0);
                    known.constrains.push(self.set(name, allowed, format!("not {}", self.universe.evr(other))));
                }
                _ => {
                    let requirement = self.requirement(clause);
                    known
                        .requirements
                        .push(ConditionalRequirement { condition: self.condition_of(&absent), requirement });
                }
            }
        }
        Dependencies::Known(known)
    }

    fn should_cancel_with_value(&self) -> Option<Box<dyn Any>> {
        self.rounds.set(self.rounds.get().saturating_add(1));
        (self.rounds.get() > ROUNDS_MAX).then(|| Box::new(()) as Box<dyn Any>)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Origin, RepositoryRef, Request, Source, Wish, goal, rules::Rules};
    use super::*;
    use crate::rpm::{Evr, Location, Package, Relation, Requirement};

    fn package(name: &str, version: &str, requires: &[&str], conflicts: &[&str]) -> Package {
        let relation = |text: &&str| Relation::parse(text).unwrap();
        Package {
            name: name.into(),
            evr: Evr::parse(version).unwrap(),
            architecture: "noarch".into(),
            sha256: "00".repeat(32).parse().unwrap(),
            size: 1,
            installed_size: 1,
            build_time: 1,
            location: Location { path: "x.rpm".into(), base: None },
            source: "".into(),
            provides: Vec::new(),
            requires: requires.iter().map(|text| Requirement { relation: relation(text), before: false }).collect(),
            conflicts: conflicts.iter().map(relation).collect(),
            obsoletes: Vec::new(),
            recommends: Vec::new(),
            suggests: Vec::new(),
            supplements: Vec::new(),
            enhances: Vec::new(),
            files: Vec::new(),
        }
    }

    fn solved(packages: Vec<Package>, install: &[&str]) -> Option<String> {
        let universe = Universe::new(vec![Source::new(RepositoryRef::new("test"), packages)], "x86_64");
        let install = install.iter().map(|text| Wish::parse(text, Origin::Requested).unwrap()).collect();
        let request = Request { install, ..Request::default() };
        let goal = goal::settle(&universe, &request).unwrap();
        let rules = Rules::collect(&universe, &goal, false).unwrap();
        let found = solve(&universe, &rules).ok()?;
        let mut names: Vec<String> =
            found.iter().map(|&id| format!("{}-{}", universe.name(id), universe.evr(id))).collect();
        names.sort();
        Some(names.join(" "))
    }

    #[test]
    fn clauses_mean_the_same_to_the_solver() {
        let packages = || {
            vec![
                package("a", "1", &["(b or c)", "lib < 2"], &[]),
                package("b", "1", &[], &["d"]),
                package("c", "1", &[], &[]),
                package("d", "1", &["(e if (c and lib))"], &[]),
                package("e", "1", &[], &[]),
                package("f", "1", &[], &["(a and lib)"]),
                package("lib", "1", &[], &[]),
                package("lib", "2", &[], &[]),
            ]
        };
        assert_eq!(solved(packages(), &["lib"]).as_deref(), Some("lib-2"));
        assert_eq!(solved(packages(), &["a", "d"]).as_deref(), Some("a-1 c-1 d-1 e-1 lib-1"));
        assert_eq!(solved(packages(), &["a", "lib-2"]), None);
        assert_eq!(solved(packages(), &["a", "f"]), None);
        assert_eq!(solved(packages(), &["f", "lib"]).as_deref(), Some("f-1 lib-2"));
    }
}
