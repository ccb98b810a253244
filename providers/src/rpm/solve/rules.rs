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
                .filter(|wish| !wish.candidates.iter().any(|&id| universe.is_installed(id)))
                .map(|wish| wish.candidates.iter().copied().map(Literal::there).collect())
                .collect(),
            forbidden: goal.forbidden.clone(),
            reached: BTreeSet::new(),
        };
        let mut literals = 0usize;
        let mut stack: Vec<PackageId> = rules.wishes.iter().flatten().map(|literal| literal.package).collect();
        for id in universe.installed() {
            if !rules.add_installed(universe, id, &mut stack, &mut literals) {
                return None;
            }
        }
        if recommends {
            stack.extend(universe.ids().filter(|&id| !universe.package(id).supplements.is_empty()));
        }
        while let Some(id) = stack.pop() {
            if !rules.reached.insert(id) || universe.is_installed(id) {
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
                self.push(universe, id, clause, stack);
            }
        }
        for (_, clause) in exclusions(universe, id) {
            // `unless` asks for something, too.
            self.push(universe, id, clause, stack);
        }
        if recommends {
            for relation in &package.recommends {
                for clause in clauses(universe, universe.term(relation), true) {
                    stack.extend(clause.iter().filter(|literal| literal.wanted).map(|literal| literal.package));
                }
            }
        }
    }

    fn push(&mut self, universe: &Universe, id: PackageId, clause: Vec<Literal>, stack: &mut Vec<PackageId>) {
        if clause.contains(&Literal::there(id)) {
            return;
        }
        let Some(mut clause) = left_open(universe, clause) else { return };
        stack.extend(clause.iter().filter(|literal| literal.wanted).map(|literal| literal.package));
        clause.retain(|&literal| literal != Literal::absent(id));
        clause.insert(0, Literal::absent(id));
        self.packages.push(clause);
    }

    /// What a package that is installed already says of new ones: what it excludes, and what it needs
    /// where they are there. The rest was settled, well or badly, when it was installed. False where that is too
    /// much.
    fn add_installed(
        &mut self,
        universe: &Universe,
        id: PackageId,
        stack: &mut Vec<PackageId>,
        literals: &mut usize,
    ) -> bool {
        let requires = universe.package(id).requires.iter().map(|requirement| &requirement.relation);
        let rich = requires.filter(|relation| matches!(relation, Relation::Rich(_)));
        let needed = rich.flat_map(|relation| clauses(universe, universe.term(relation), true));
        let excluded = exclusions(universe, id).map(|(_, clause)| clause);
        for clause in needed.chain(excluded) {
            let Some(clause) = left_open(universe, clause) else { continue };
            // It holds as things are if a new package has to be absent; and these come first.
            if clause.first().is_some_and(|literal| !literal.wanted) {
                stack.extend(clause.iter().filter(|literal| literal.wanted).map(|literal| literal.package));
                *literals = literals.saturating_add(clause.len());
                self.packages.push(clause);
                if self.packages.len() > CLAUSES_MAX || *literals > LITERALS_MAX {
                    return false;
                }
            }
        }
        true
    }
}

/// What a clause leaves open beside what is installed; `None` where that fulfils it.
fn left_open(universe: &Universe, mut clause: Vec<Literal>) -> Option<Vec<Literal>> {
    if clause.iter().any(|literal| literal.wanted && universe.is_installed(literal.package)) {
        return None;
    }
    clause.retain(|literal| !universe.is_installed(literal.package));
    Some(clause)
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
