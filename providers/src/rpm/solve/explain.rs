//! Why a goal has no solution: what it needs without a choice, walked until that cannot be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Unsolvable;
use super::formula::Literal;
use super::goal::{Goal, needs, versions};
use super::rules::exclusions;
use super::universe::{NameId, PackageId, Term, Universe};
use crate::rpm::Relation;
use crate::unsolvable::Problem;

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

/// One thing that a package needs in any case: one of some packages.
#[derive(Clone)]
struct Need {
    text: String,
    packages: Vec<PackageId>,
}

/// Everything that a goal needs without a choice.
struct Forced<'u> {
    universe: &'u Universe,
    forbidden: BTreeSet<PackageId>,
    /// Names of which one version is meant.
    pinned: BTreeMap<NameId, PackageId>,
    /// What each package needs, of those the wishes could lead to.
    needs: BTreeMap<PackageId, Vec<Need>>,
    /// Packages that no solution has, because something they need is not there.
    dead: BTreeSet<PackageId>,
    /// Packages of which exactly one can be meant, with what needs them.
    parents: BTreeMap<PackageId, Option<PackageId>>,
    order: Vec<PackageId>,
    /// Wishes of which every candidate is dead.
    hopeless: Vec<PackageId>,
}

impl<'u> Forced<'u> {
    fn walk(universe: &'u Universe, goal: &Goal) -> Self {
        let pinned = goal.wishes.iter().filter_map(|wish| match wish.candidates[..] {
            [only] => Some((universe.name_of(only), only)),
            _ => None,
        });
        let mut forced = Self {
            universe,
            forbidden: goal.forbidden.iter().copied().collect(),
            pinned: pinned.collect(),
            needs: BTreeMap::new(),
            dead: BTreeSet::new(),
            parents: BTreeMap::new(),
            order: Vec::new(),
            hopeless: Vec::new(),
        };
        forced.find_dead(goal);
        let mut queue: VecDeque<(PackageId, Option<PackageId>)> = VecDeque::new();
        queue.extend(universe.installed().map(|id| (id, None)));
        for wish in &goal.wishes {
            let usable: Vec<PackageId> = wish.candidates.iter().copied().filter(|&id| forced.is_usable(id)).collect();
            match usable[..] {
                [] => {
                    let best =
                        wish.candidates.iter().copied().max_by(|&a, &b| universe.evr(a).compare(universe.evr(b)));
                    forced.hopeless.extend(best);
                }
                [only] => queue.push_back((only, None)),
                _ => {}
            }
        }
        while let Some((id, parent)) = queue.pop_front() {
            if forced.parents.contains_key(&id) {
                continue;
            }
            forced.parents.insert(id, parent);
            forced.order.push(id);
            for need in forced.needs.get(&id).into_iter().flatten() {
                let usable: Vec<PackageId> = need.packages.iter().copied().filter(|&id| forced.is_usable(id)).collect();
                if let [only] = usable[..] {
                    queue.push_back((only, Some(id)));
                }
            }
        }
        forced
    }

    fn is_usable(&self, id: PackageId) -> bool {
        if self.universe.is_installed(id) {
            return true;
        }
        let pin = self.pinned.get(&self.universe.name_of(id));
        !self.dead.contains(&id) && !self.forbidden.contains(&id) && pin.is_none_or(|&pin| pin == id)
    }

    /// Finds, among all that the wishes could lead to, the packages that cannot be installed.
    fn find_dead(&mut self, goal: &Goal) {
        let mut stack: Vec<PackageId> = goal.wishes.iter().flat_map(|wish| wish.candidates.iter().copied()).collect();
        while let Some(id) = stack.pop() {
            if self.needs.contains_key(&id) {
                continue;
            }
            let mut found = Vec::new();
            // What is installed needs nothing any more.
            let needs = if self.universe.is_installed(id) { Vec::new() } else { needs(self.universe, id) };
            for (text, clauses) in needs {
                for clause in clauses {
                    // What holds only under a condition is left to the solver's account.
                    let is_plain = clause.iter().all(|literal| literal.wanted);
                    if is_plain && !clause.contains(&Literal::there(id)) {
                        let packages = clause.into_iter().map(|literal| literal.package).collect();
                        found.push(Need { text: text.clone(), packages });
                    }
                }
            }
            stack.extend(found.iter().flat_map(|need| need.packages.iter().copied()));
            self.needs.insert(id, found);
        }
        loop {
            let is_dead = |(id, needs): (&PackageId, &Vec<Need>)| {
                let hopeless = needs.iter().any(|need| !need.packages.iter().any(|&id| self.is_usable(id)));
                (!self.dead.contains(id) && hopeless).then_some(*id)
            };
            let newly: Vec<PackageId> = self.needs.iter().filter_map(is_dead).collect();
            if newly.is_empty() {
                return;
            }
            self.dead.extend(newly);
        }
    }

    fn chain(&self, id: PackageId) -> Vec<String> {
        let name = |id: PackageId| match self.universe.is_installed(id) {
            true => format!("{} {}", self.universe.name(id), self.universe.shown_version(id)),
            false => self.universe.name(id).to_owned(),
        };
        let mut chain = vec![name(id)];
        let mut at = id;
        while let Some(&Some(parent)) = self.parents.get(&at) {
            chain.push(name(parent));
            at = parent;
        }
        chain.reverse();
        chain
    }

    /// Needs that nothing can give, followed down to where they start.
    fn dead_ends(&self) -> Vec<Problem> {
        self.hopeless.iter().filter_map(|&id| self.dead_end(id)).collect()
    }

    fn dead_end(&self, id: PackageId) -> Option<Problem> {
        let mut chain = self.chain(id);
        let mut at = id;
        let mut seen = BTreeSet::from([id]);
        // Down to the package whose own need has no answer at all.
        loop {
            let mut needs = self.needs.get(&at)?.iter();
            let need = needs.find(|need| !need.packages.iter().any(|&id| self.is_usable(id)))?;
            let removed = need.packages.iter().find(|id| self.forbidden.contains(id));
            let dead = need.packages.iter().filter(|id| self.dead.contains(*id)).find(|&&id| seen.insert(id));
            match (removed, dead) {
                (Some(&removed), _) => {
                    let name = self.universe.name(removed).to_owned();
                    return Some(Problem::Removed { name, chain, essential: false });
                }
                (None, Some(&next)) => {
                    chain.push(self.universe.name(next).to_owned());
                    at = next;
                }
                // Nothing has it, or only in a version that another wish excludes.
                (None, None) => return Some(self.missing(chain, at, need)),
            }
        }
    }

    fn missing(&self, chain: Vec<String>, id: PackageId, need: &Need) -> Problem {
        let mut available = Vec::new();
        let requires = self.universe.package(id).requires.iter().map(|requirement| &requirement.relation);
        for relation in requires.filter(|relation: &&Relation| relation.to_string() == need.text) {
            let dependencies = match self.universe.term(relation) {
                Term::Simple(dependency) => vec![dependency],
                Term::Rich(rich) => rich.dependencies(),
            };
            for dependency in dependencies {
                let named = self.universe.packages_named(&dependency.name);
                for version in versions(self.universe, named) {
                    let line = format!("{} {version}", dependency.name);
                    if !available.contains(&line) {
                        available.push(line);
                    }
                }
                // What has it would have to replace what is installed.
                for package in self.universe.passed_over(dependency) {
                    let installed = self.universe.candidate(&package.name);
                    let installed = installed.map(|id| self.universe.shown_version(id)).unwrap_or_default();
                    let line = format!("{} {} in place of {installed}", package.name, package.evr);
                    if named.is_empty() && !available.contains(&line) {
                        available.push(line);
                    }
                }
            }
        }
        Problem::Missing { chain, relation: need.text.clone(), available }
    }

    /// Two packages of which both are needed and one excludes the other.
    fn conflict(&self) -> Option<Problem> {
        for &id in &self.order {
            for (relation, clause) in exclusions(self.universe, id) {
                let [other] = clause[..] else { continue };
                let is_settled = self.universe.is_installed(id) && self.universe.is_installed(other.package);
                if !other.wanted && !is_settled && self.parents.contains_key(&other.package) {
                    return Some(Problem::Conflict {
                        chain: self.chain(id),
                        other: self.chain(other.package),
                        relation,
                    });
                }
            }
        }
        // Two versions of one package.
        let mut names: BTreeMap<NameId, PackageId> = BTreeMap::new();
        for &id in &self.order {
            if self.universe.is_installed(id) {
                continue;
            }
            if let Some(&other) = names.get(&self.universe.name_of(id)) {
                let relation = format!("every other version of {}", self.universe.name(id));
                return Some(Problem::Conflict { chain: self.chain(id), other: self.chain(other), relation });
            }
            names.insert(self.universe.name_of(id), id);
        }
        None
    }
}
