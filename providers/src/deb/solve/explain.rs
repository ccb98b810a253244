//! Why a goal has no solution: what it needs without a choice, walked until that cannot be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::goal::Goal;
use super::marking::{Dependency, dependencies};
use super::universe::{NameId, PackageId, Universe};
use crate::unsolvable::{Problem, Unsolvable};

/// Puts into words why a goal has no solution. `account` is the solver's own, for what is too
/// entangled to be said in a sentence.
pub(super) fn explain(universe: &Universe, goal: &Goal, account: String) -> Unsolvable {
    let forced = Forced::walk(universe, goal);
    let mut problems: Vec<Problem> = Vec::new();
    for problem in forced.dead_ends() {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    if problems.is_empty() {
        problems.extend(forced.conflict());
    }
    if problems.is_empty() {
        problems.push(Problem::Entangled { account });
    }
    Unsolvable { problems }
}

/// Everything that a goal needs without a choice.
struct Forced<'u> {
    universe: &'u Universe,
    forbidden: BTreeSet<NameId>,
    /// Packages of which exactly one version can be meant, with what needs them.
    parents: BTreeMap<PackageId, Option<PackageId>>,
    order: Vec<PackageId>,
    /// Packages that no solution has, because something they need is not there.
    dead: BTreeSet<PackageId>,
}

impl<'u> Forced<'u> {
    fn walk(universe: &'u Universe, goal: &Goal) -> Self {
        let mut forced = Self {
            universe,
            forbidden: goal.forbidden.iter().copied().collect(),
            parents: BTreeMap::new(),
            order: Vec::new(),
            dead: BTreeSet::new(),
        };
        forced.find_dead(goal);
        let roots = goal.wishes.iter().map(|wish| wish.package).chain(universe.installed());
        let mut queue: VecDeque<(PackageId, Option<PackageId>)> = roots.map(|id| (id, None)).collect();
        let pinned: BTreeMap<NameId, PackageId> =
            goal.wishes.iter().map(|wish| (universe.name_of(wish.package), wish.package)).collect();
        while let Some((id, parent)) = queue.pop_front() {
            if forced.parents.contains_key(&id) {
                continue;
            }
            forced.parents.insert(id, parent);
            forced.order.push(id);
            for dependency in forced.needs(id) {
                let mut usable: Vec<PackageId> =
                    dependency.satisfiers().filter(|&id| forced.is_usable(id, &pinned)).collect();
                usable.sort();
                usable.dedup();
                if let [only] = usable[..] {
                    queue.push_back((only, Some(id)));
                }
            }
        }
        forced
    }

    fn needs(&self, id: PackageId) -> Vec<Dependency<'u>> {
        let mut needs = dependencies(self.universe, id);
        needs.retain(|dependency| dependency.kind.is_critical() && !dependency.kind.is_negative());
        needs
    }

    fn is_usable(&self, id: PackageId, pinned: &BTreeMap<NameId, PackageId>) -> bool {
        let name = self.universe.name_of(id);
        !self.dead.contains(&id) && !self.forbidden.contains(&name) && pinned.get(&name).is_none_or(|&pin| pin == id)
    }

    /// Finds, among all that the wishes could lead to, the packages that cannot be installed.
    fn find_dead(&mut self, goal: &Goal) {
        let mut reached: BTreeMap<PackageId, Vec<Vec<PackageId>>> = BTreeMap::new();
        let mut stack: Vec<PackageId> = goal.wishes.iter().map(|wish| wish.package).collect();
        while let Some(id) = stack.pop() {
            if reached.contains_key(&id) {
                continue;
            }
            let needs: Vec<Vec<PackageId>> = self.needs(id).iter().map(|need| need.satisfiers().collect()).collect();
            stack.extend(needs.iter().flatten());
            reached.insert(id, needs);
        }
        let pinned: BTreeMap<NameId, PackageId> =
            goal.wishes.iter().map(|wish| (self.universe.name_of(wish.package), wish.package)).collect();
        loop {
            let newly: Vec<PackageId> = reached
                .iter()
                .filter(|(id, needs)| {
                    !self.dead.contains(id)
                        && needs.iter().any(|need| !need.iter().any(|&id| self.is_usable(id, &pinned)))
                })
                .map(|(&id, _)| id)
                .collect();
            if newly.is_empty() {
                return;
            }
            self.dead.extend(newly);
        }
    }

    fn chain(&self, id: PackageId) -> Vec<String> {
        let name = self.universe.name(id);
        if self.universe.is_installed(id) {
            return vec![format!("{name} {}", self.universe.version_told(id))];
        }
        let mut chain = vec![name.to_owned()];
        let mut at = id;
        while let Some(&Some(parent)) = self.parents.get(&at) {
            chain.push(self.universe.name(parent).to_owned());
            at = parent;
        }
        chain.reverse();
        chain
    }

    /// Needs that nothing can give, followed down to where they start.
    fn dead_ends(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for &id in &self.order {
            if !self.dead.contains(&id) {
                continue;
            }
            let mut chain = self.chain(id);
            let mut at = id;
            let mut seen = BTreeSet::from([id]);
            // Down to the package whose own need has no answer at all.
            'down: loop {
                for need in self.needs(at) {
                    let mut packages = need.satisfiers().peekable();
                    let blocked = |id: PackageId| self.forbidden.contains(&self.universe.name_of(id));
                    if packages.peek().is_none() {
                        problems.push(self.missing(chain, &need));
                        break 'down;
                    }
                    let packages: Vec<PackageId> = packages.collect();
                    if let Some(&removed) = packages.iter().find(|&&id| blocked(id))
                        && packages.iter().all(|&id| blocked(id) || self.dead.contains(&id))
                    {
                        let name = self.universe.name(removed).to_owned();
                        problems.push(Problem::Removed { name, chain, essential: false });
                        break 'down;
                    }
                    if packages.iter().all(|id| self.dead.contains(id))
                        && let Some(&next) = packages.iter().find(|&&id| seen.insert(id))
                    {
                        chain.push(self.universe.name(next).to_owned());
                        at = next;
                        continue 'down;
                    }
                }
                // What remains is a version that another wish excludes.
                if let Some(need) = self.needs(at).into_iter().find(|need| {
                    !need.satisfiers().any(|id| !self.dead.contains(&id) && self.parents.contains_key(&id))
                }) {
                    problems.push(self.missing(chain, &need));
                }
                break;
            }
        }
        problems
    }

    fn missing(&self, chain: Vec<String>, need: &Dependency<'_>) -> Problem {
        let mut available = Vec::new();
        for (target, _) in &need.alternatives {
            for &id in self.universe.packages_named(target.name) {
                available.push(format!("{} {}", target.name, self.universe.version_told(id)));
            }
        }
        Problem::Missing { chain, relation: need.text(), available }
    }

    /// Two packages of which both are needed and one excludes the other.
    fn conflict(&self) -> Option<Problem> {
        for &id in &self.order {
            for dependency in dependencies(self.universe, id) {
                if !dependency.kind.is_negative() {
                    continue;
                }
                if let Some(other) = dependency.satisfiers().find(|other| self.parents.contains_key(other)) {
                    let relation = dependency.text();
                    return Some(Problem::Conflict { chain: self.chain(id), other: self.chain(other), relation });
                }
            }
        }
        // Two versions of one package.
        let mut names: BTreeMap<NameId, PackageId> = BTreeMap::new();
        for &id in &self.order {
            if let Some(&other) = names.get(&self.universe.name_of(id)) {
                let relation = format!("every other version of {}", self.universe.name(id));
                return Some(Problem::Conflict { chain: self.chain(id), other: self.chain(other), relation });
            }
            names.insert(self.universe.name_of(id), id);
        }
        None
    }
}
