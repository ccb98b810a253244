//! Why each package of a solution is there. What nothing leads to is left out: apt, too, drops
//! what an abandoned alternative had pulled in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::goal::Goal;
use super::marking::{Kind, dependencies};
use super::universe::{PackageId, Universe};
use super::{Chosen, Solution};
use crate::lock::Why;

/// Walks from the wishes along what is satisfied, by the shortest ways, and gives each package
/// the first reason found. Suggested packages stay, as in apt, but are a reason only at the end.
pub(super) fn assemble(universe: &Universe, goal: &Goal, installed: &[PackageId]) -> Solution {
    // What was installed before is no part of the solution, and no reason for anything.
    let is_new = |id: &PackageId| !universe.is_installed(*id);
    let there: BTreeSet<PackageId> = installed.iter().copied().filter(is_new).collect();
    let mut why: BTreeMap<PackageId, Why> = BTreeMap::new();
    let mut essential = BTreeSet::new();
    let wished: BTreeSet<PackageId> = goal.wishes.iter().map(|wish| wish.package).collect();
    for wish in &goal.wishes {
        why.entry(wish.package).or_insert_with(|| wish.why.clone());
        if wish.why == Why::Essential {
            essential.insert(wish.package);
        }
    }
    let needs = |kind: Kind| matches!(kind, Kind::PreDepends | Kind::Depends);
    let passes: [fn(Kind) -> bool; 3] = [
        |kind| matches!(kind, Kind::PreDepends | Kind::Depends),
        |kind| matches!(kind, Kind::PreDepends | Kind::Depends | Kind::Recommends),
        |kind| !kind.is_negative(),
    ];
    let mut queue: VecDeque<PackageId> = goal.wishes.iter().map(|wish| wish.package).collect();
    let mut reached: Vec<PackageId> = Vec::new();
    for follows in passes {
        // Each pass begins again from all that is known, with more kinds of relation.
        queue.extend(reached.iter().copied());
        let mut walked = BTreeSet::new();
        while let Some(id) = queue.pop_front() {
            if !walked.insert(id) {
                continue;
            }
            for dependency in dependencies(universe, id).iter().filter(|dependency| follows(dependency.kind)) {
                for target in dependency.satisfiers().filter(|target| there.contains(target)) {
                    why.entry(target).or_insert_with(|| match needs(dependency.kind) {
                        true => Why::Dependency { of: universe.name(id).to_owned(), relation: dependency.text() },
                        false => Why::Recommended { by: universe.name(id).to_owned() },
                    });
                    queue.push_back(target);
                }
            }
        }
        reached = walked.into_iter().collect();
    }
    spread(universe, &mut essential, &there);
    let mut packages: Vec<Chosen> = why
        .into_iter()
        .filter(|(package, _)| there.contains(package))
        .map(|(package, why)| {
            let essential = essential.contains(&package);
            let automatic = !essential && !wished.contains(&package);
            Chosen { package, why, automatic, essential }
        })
        .collect();
    packages.sort_by(|a, b| universe.name(a.package).cmp(universe.name(b.package)));
    Solution { packages }
}

/// Adds to a set all that it needs of what is there.
fn spread(universe: &Universe, set: &mut BTreeSet<PackageId>, there: &BTreeSet<PackageId>) {
    let mut stack: Vec<PackageId> = set.iter().copied().collect();
    while let Some(id) = stack.pop() {
        for dependency in dependencies(universe, id) {
            if matches!(dependency.kind, Kind::PreDepends | Kind::Depends) {
                let targets = dependency.satisfiers().filter(|target| there.contains(target));
                let new: Vec<PackageId> = targets.filter(|&target| set.insert(target)).collect();
                stack.extend(new);
            }
        }
    }
}
