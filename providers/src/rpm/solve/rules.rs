//! Everything that holds of the packages a goal could lead to, as clauses.

use std::collections::BTreeSet;

use super::formula::{Clauses, Literal, clauses};
use super::goal::Goal;
use super::universe::{PackageId, Term, Universe};
use crate::rpm::Relation;

/// Most clauses of one goal. A whole distribution of 60,000 packages has some two million.
const CLAUSES_MAX: usize = 4 << 20;

/// Most literals in them: where everything needs what everything provides they grow much faster.
const LITERALS_MAX: usize = 32 << 20;

/// The clauses of a goal.
#[derive(Debug)]
pub(super) struct Rules {
    /// What packages say of each other, in libsolv's order: later packages first.
    pub packages: Clauses,
    /// One clause for each wish: one of its candidates must be there.
    pub wishes: Clauses,
    /// What must not be there.
    pub forbidden: Vec<PackageId>,
    /// The packages that the goal could lead to.
    pub reached: BTreeSet<PackageId>,
}

impl Rules {
    /// Collects the clauses; `None` where there are too many to think about.
    pub fn collect(universe: &Universe, goal: &Goal, recommends: bool) -> Option<Self> {
        let mut rules = Self {
            packages: Vec::new(),
            wishes: goal
                .wishes
                .iter()
                .map(|wish| wish.candidates.iter().copied().map(Literal::there).collect())
                .collect(),
            forbidden: goal.forbidden.clone(),
            reached: BTreeSet::new(),
        };
        let mut literals = 0usize;
        let mut stack: Vec<PackageId> = goal.wishes.iter().flat_map(|wish| wish.candidates.iter().copied()).collect();
        if recommends {
            stack.extend(universe.ids().filter(|&id| !universe.package(id).supplements.is_empty()));
        }
        while let Some(id) = stack.pop() {
            if !rules.reached.insert(id) {
                continue;
            }
            let known = rules.packages.len();
            rules.add(universe, id, recommends, &mut stack);
            literals = rules.packages.iter().skip(known).fold(literals, |sum, clause| sum.saturating_add(clause.len()));
            if rules.packages.len() > CLAUSES_MAX || literals > LITERALS_MAX {
                return None;
            }
        }
        rules
            .packages
            .sort_by(|a, b| a.iter().map(|literal| literal.rank()).cmp(b.iter().map(|literal| literal.rank())));
        rules.packages.dedup();
        Some(rules)
    }

    fn add(&mut self, universe: &Universe, id: PackageId, recommends: bool, stack: &mut Vec<PackageId>) {
        let package = universe.package(id);
        for requirement in &package.requires {
            for clause in clauses(universe, universe.term(&requirement.relation), true) {
                stack.extend(clause.iter().filter(|literal| literal.wanted).map(|literal| literal.package));
                self.push(id, clause);
            }
        }
        for (_, clause) in exclusions(universe, id) {
            // `unless` asks for something, too.
            stack.extend(clause.iter().filter(|literal| literal.wanted).map(|literal| literal.package));
            self.push(id, clause);
        }
        if recommends {
            for relation in &package.recommends {
                for clause in clauses(universe, universe.term(relation), true) {
                    stack.extend(clause.iter().filter(|literal| literal.wanted).map(|literal| literal.package));
                }
            }
        }
    }

    fn push(&mut self, id: PackageId, mut clause: Vec<Literal>) {
        if clause.contains(&Literal::there(id)) {
            return;
        }
        clause.retain(|&literal| literal != Literal::absent(id));
        clause.insert(0, Literal::absent(id));
        self.packages.push(clause);
    }
}

/// What a package cannot be beside, with the relation that says so: its Conflicts and Obsoletes.
pub(super) fn exclusions(universe: &Universe, id: PackageId) -> impl Iterator<Item = (String, Vec<Literal>)> {
    let package = universe.package(id);
    let conflicts = package.conflicts.iter().flat_map(move |relation: &Relation| {
        let term: Term<'_> = universe.term(relation);
        let clauses = clauses(universe, term, false).into_iter();
        // A package that conflicts with what it provides itself does not exclude itself.
        clauses
            .filter(move |clause| **clause != [Literal::absent(id)])
            .map(move |clause| (relation.to_string(), clause))
    });
    let obsoletes =
        universe.obsoleted_by(id).map(|(obsolete, other)| (obsolete.to_string(), vec![Literal::absent(other)]));
    conflicts.chain(obsoletes)
}
