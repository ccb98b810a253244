//! Why each package of a solution is there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::goal::Goal;
use super::universe::{PackageId, Term, Universe};
use super::{Chosen, Solution};
use crate::lock::Why;
use crate::rpm::Relation;

/// Walks from the wishes along what is satisfied, by the shortest ways: first what is needed, then
/// what is recommended, then what supplements; each package gets the first reason found.
pub(super) fn assemble(universe: &Universe, goal: &Goal, chosen: &[PackageId], recommends: bool) -> Solution {
    let there: BTreeSet<PackageId> = chosen.iter().copied().collect();
    let mut why: BTreeMap<PackageId, Why> = BTreeMap::new();
    let mut queue: VecDeque<PackageId> = VecDeque::new();
    let is_open = |id: &PackageId| !universe.is_installed(*id);
    for wish in goal.wishes.iter().filter(|wish| wish.candidates.iter().all(is_open)) {
        for &id in wish.candidates.iter().filter(|id| there.contains(id)) {
            match why.get(&id) {
                Some(Why::Requested) => {}
                _ => {
                    why.insert(id, wish.why.clone());
                }
            }
            queue.push_back(id);
        }
    }
    let wished: BTreeSet<PackageId> = queue.iter().copied().collect();
    let mut reached: Vec<PackageId> = Vec::new();
    // What is installed is the last to be asked: what it needs beside new packages.
    for (weakly, beside) in [(false, false), (true, false), (true, true)] {
        queue.extend(reached.iter().copied());
        queue.extend(universe.installed().filter(|_| beside));
        let mut walked = BTreeSet::new();
        loop {
            while let Some(id) = queue.pop_front() {
                if !walked.insert(id) {
                    continue;
                }
                let package = universe.package(id);
                // A conflict can ask for something: `(a unless b)`.
                let rich = package.conflicts.iter().filter(|relation| matches!(relation, Relation::Rich(_)));
                let requires = package.requires.iter().map(|requirement| &requirement.relation);
                let requires = requires.chain(rich.filter(|_| weakly)).map(|relation| (relation, true));
                let recommends =
                    package.recommends.iter().filter(|_| weakly && recommends).map(|relation| (relation, false));
                for (relation, is_needed) in requires.chain(recommends) {
                    for target in answers(universe, relation).into_iter().filter(|target| there.contains(target)) {
                        why.entry(target).or_insert_with(|| match is_needed {
                            true => Why::Dependency { of: package.name.to_string(), relation: relation.to_string() },
                            false => Why::Recommended { by: package.name.to_string() },
                        });
                        queue.push_back(target);
                    }
                }
            }
            if !weakly {
                break;
            }
            // What supplements something reached may in turn lead on.
            for &id in there.iter().filter(|id| !why.contains_key(id)) {
                let mut relations = universe.package(id).supplements.iter();
                let beside = relations.find_map(|relation| {
                    let is_there = |other: &PackageId| walked.contains(other) || universe.is_installed(*other);
                    answers(universe, relation).into_iter().find(|other| is_there(other) && *other != id)
                });
                if let Some(beside) = beside {
                    queue.push_back(id);
                    why.insert(id, Why::Supplements { of: universe.name(beside).to_owned() });
                    break;
                }
            }
            if queue.is_empty() {
                break;
            }
        }
        reached = walked.into_iter().collect();
    }
    let mut packages: Vec<Chosen> = why
        .into_iter()
        .filter(|(package, _)| there.contains(package))
        .map(|(package, why)| Chosen { package, why, automatic: !wished.contains(&package) })
        .collect();
    packages.sort_by(|a, b| universe.name(a.package).cmp(universe.name(b.package)));
    Solution { packages }
}

/// All packages that a relation speaks of.
fn answers(universe: &Universe, relation: &Relation) -> Vec<PackageId> {
    match universe.term(relation) {
        Term::Simple(dependency) => universe.satisfiers(dependency),
        Term::Rich(rich) => {
            rich.dependencies().into_iter().flat_map(|dependency| universe.satisfiers(dependency)).collect()
        }
    }
}
