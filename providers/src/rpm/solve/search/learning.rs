//! What is learnt from decisions that contradict each other, and what that rests on.

use std::collections::BTreeSet;

use super::{Reason, Search, Stop};
use crate::rpm::solve::formula::Literal;
use crate::rpm::solve::universe::PackageId;

/// What contradicts itself, enough of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::rpm::solve) struct Core {
    /// Clauses, by their place among those of packages, with those of wishes after them.
    pub clauses: BTreeSet<usize>,
    /// Packages that must not be there.
    pub forbidden: BTreeSet<PackageId>,
    /// Packages of which there are other versions.
    pub same_name: BTreeSet<PackageId>,
}

/// A clause that became false.
pub(super) struct Conflict {
    pub literals: Vec<Literal>,
    /// The clause; none where two packages have the same name.
    pub clause: Option<usize>,
}

impl Search<'_> {
    /// From a conflict to the first decision that it implies (first unique implication point): a
    /// literal that must hold, those that were false all along, and what that was learnt from.
    pub(super) fn analyze(&self, conflict: Conflict) -> Option<(Literal, Vec<Literal>, Core)> {
        let level = i64::try_from(self.level()).unwrap_or(i64::MAX);
        let mut core = Core::default();
        let mut settled: Vec<PackageId> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut rest = Vec::new();
        let mut pending = 0usize;
        let mut at = self.trail.len();
        self.note(&conflict, &mut core);
        let mut literals = conflict.literals;
        let asserting = loop {
            for literal in literals {
                if self.value(literal) != Some(false) || !seen.insert(literal.package) {
                    continue;
                }
                match self.levels[literal.package.at()].abs() {
                    1 => settled.push(literal.package),
                    decided if decided == level => pending += 1,
                    _ => rest.push(literal),
                }
            }
            let literal = loop {
                at = at.checked_sub(1)?;
                let literal = *self.trail.get(at)?;
                if seen.contains(&literal.package) && self.levels[literal.package.at()].abs() == level {
                    break literal;
                }
            };
            pending = pending.checked_sub(1)?;
            if pending == 0 {
                break literal.not();
            }
            literals = match self.because(literal.package) {
                Some(because) => {
                    self.note(&because, &mut core);
                    because.literals
                }
                None => Vec::new(),
            };
        };
        self.trace(settled, &mut core);
        Some((asserting, rest, core))
    }

    /// The clause that decided on a package.
    fn because(&self, package: PackageId) -> Option<Conflict> {
        match self.reasons[package.at()] {
            Reason::Decision => None,
            Reason::Clause(at) => Some(Conflict { literals: self.clauses[at].clone(), clause: Some(at) }),
            Reason::SameName(other) => {
                Some(Conflict { literals: vec![Literal::absent(other), Literal::absent(package)], clause: None })
            }
        }
    }

    fn note(&self, conflict: &Conflict, core: &mut Core) {
        match conflict.clause {
            None => core.same_name.extend(conflict.literals.iter().map(|literal| literal.package)),
            Some(at) => match self.learnt.get(&at) {
                None => {
                    core.clauses.insert(at);
                }
                Some(from) => {
                    core.clauses.extend(&from.clauses);
                    core.forbidden.extend(&from.forbidden);
                    core.same_name.extend(&from.same_name);
                }
            },
        }
    }

    /// Adds all that led to decisions of the first level.
    fn trace(&self, packages: Vec<PackageId>, core: &mut Core) {
        let mut stack = packages;
        let mut seen = BTreeSet::new();
        while let Some(package) = stack.pop() {
            if !seen.insert(package) || self.decided(package).is_none() {
                continue;
            }
            match self.because(package) {
                Some(because) => {
                    self.note(&because, core);
                    stack.extend(because.literals.into_iter().map(|literal| literal.package));
                }
                None => {
                    core.forbidden.insert(package);
                }
            }
        }
    }

    pub(super) fn contradiction(&self, conflict: Conflict) -> Stop {
        let mut core = Core::default();
        self.note(&conflict, &mut core);
        self.trace(conflict.literals.into_iter().map(|literal| literal.package).collect(), &mut core);
        Stop::Contradiction(core)
    }
}
