//! The search: decisions, what follows from them, and what is learnt from those that fail.
//!
//! Conflict-driven clause learning over the [`Rules`], with the decisions in libsolv's order, so
//! that the packages found are those that dnf finds: wishes first, then what packages need, then
//! what they recommend; last, choices that turned out not to be needed are made again.

mod learning;

use std::collections::BTreeMap;

use learning::Conflict;
pub(super) use learning::Core;

use super::formula::Literal;
use super::policy::Weak;
use super::rules::Rules;
use super::universe::{PackageId, Universe};

/// Most conflicts of one search before the SAT solver proper takes over. Real requests have none
/// or a few.
const CONFLICTS_MAX: usize = 5_000;

/// Why a search ended without packages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// There is no solution.
    Contradiction(Core),
    /// It was looked for long enough.
    Budget,
}

/// What made a literal true.
#[derive(Clone, Copy, Debug)]
enum Reason {
    /// Nothing did: it was decided.
    Decision,
    /// A clause of which all other literals are false.
    Clause(usize),
    /// At most one package of a name can be there, and this one is.
    SameName(PackageId),
}

/// A choice between several packages that were equally good but for their order.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    /// The level on which it was chosen.
    pub level: usize,
    /// The candidates, and whether each was tried.
    pub candidates: Vec<(PackageId, bool)>,
}

/// A search under way.
pub(super) struct Search<'u> {
    pub universe: &'u Universe,
    pub rules: &'u Rules,
    clauses: Vec<Vec<Literal>>,
    /// Clauses between whose packages something may have to be chosen.
    open: Vec<usize>,
    /// Clauses by the place of a literal that was watched in them.
    watches: Vec<Vec<usize>>,
    /// The level on which a package was decided, negative where it was decided against; 0 where it
    /// was not.
    levels: Vec<i64>,
    reasons: Vec<Reason>,
    trail: Vec<Literal>,
    /// Where each level begins on the trail. The first level is 1: what is so in any case.
    starts: Vec<usize>,
    head: usize,
    conflicts: usize,
    /// What each learnt clause was learnt from.
    learnt: BTreeMap<usize, Core>,
    pub branches: Vec<Branch>,
    pub weak: Weak,
}

impl<'u> Search<'u> {
    /// Begins a search with all that is so in any case.
    pub fn begin(universe: &'u Universe, rules: &'u Rules) -> Result<Self, Stop> {
        let mut search = Self {
            universe,
            rules,
            clauses: Vec::with_capacity(rules.packages.len() + rules.wishes.len()),
            open: Vec::new(),
            watches: vec![Vec::new(); universe.len().saturating_mul(2)],
            levels: vec![0; universe.len()],
            reasons: vec![Reason::Decision; universe.len()],
            trail: Vec::new(),
            starts: vec![0],
            head: 0,
            conflicts: 0,
            learnt: BTreeMap::new(),
            branches: Vec::new(),
            weak: Weak::new(universe.len()),
        };
        // The rules say nothing more of what is installed, but what is chosen looks at it.
        for package in universe.installed() {
            search.enqueue(Literal::there(package), Reason::Decision);
        }
        for &package in &rules.forbidden {
            search.enqueue(Literal::absent(package), Reason::Decision);
        }
        for clause in rules.packages.iter().chain(&rules.wishes) {
            let at = search.attach(clause.clone());
            match clause[..] {
                [] => return Err(search.contradiction(Conflict { literals: Vec::new(), clause: Some(at) })),
                [only] => match search.value(only) {
                    Some(true) => {}
                    Some(false) => {
                        return Err(search.contradiction(Conflict { literals: vec![only], clause: Some(at) }));
                    }
                    None => search.enqueue(only, Reason::Clause(at)),
                },
                _ => {}
            }
        }
        search.settle()?;
        Ok(search)
    }

    fn attach(&mut self, clause: Vec<Literal>) -> usize {
        let at = self.clauses.len();
        if clause.len() > 1 {
            for &literal in clause.iter().take(2) {
                self.watches[place(literal)].push(at);
            }
        }
        if clause.iter().filter(|literal| literal.wanted).nth(1).is_some() {
            self.open.push(at);
        }
        self.clauses.push(clause);
        at
    }

    /// The level of the last decision, from 1.
    pub fn level(&self) -> usize {
        self.starts.len()
    }

    /// Whether a package is decided to be there; `None` where it is open.
    pub fn decided(&self, package: PackageId) -> Option<bool> {
        match self.levels[package.at()] {
            0 => None,
            level => Some(level > 0),
        }
    }

    /// Whether a package is there.
    pub fn has(&self, package: PackageId) -> bool {
        self.decided(package) == Some(true)
    }

    /// The level on which a package was chosen; 0 where it was not.
    pub fn chosen_on(&self, package: PackageId) -> usize {
        usize::try_from(self.levels[package.at()]).unwrap_or(0)
    }

    /// What was decided, in order.
    pub fn trail(&self) -> &[Literal] {
        &self.trail
    }

    /// The packages that are there and were not before.
    pub fn chosen(&self) -> Vec<PackageId> {
        let there = self.trail.iter().filter(|literal| literal.wanted).map(|literal| literal.package);
        there.filter(|&package| !self.universe.is_installed(package)).collect()
    }

    fn value(&self, literal: Literal) -> Option<bool> {
        self.decided(literal.package).map(|is_there| is_there == literal.wanted)
    }

    fn enqueue(&mut self, literal: Literal, reason: Reason) {
        let level = i64::try_from(self.level()).unwrap_or(i64::MAX);
        self.levels[literal.package.at()] = if literal.wanted { level } else { -level };
        self.reasons[literal.package.at()] = reason;
        self.trail.push(literal);
    }

    /// Decides on a package, and all that follows. Where that contradicts itself, decisions are
    /// taken back and something is learnt: the level afterwards is then not above the one before.
    pub fn decide(&mut self, package: PackageId) -> Result<(), Stop> {
        self.starts.push(self.trail.len());
        self.enqueue(Literal::there(package), Reason::Decision);
        self.settle()
    }

    fn settle(&mut self) -> Result<(), Stop> {
        while let Some(conflict) = self.propagate() {
            self.conflicts += 1;
            if self.level() == 1 {
                return Err(self.contradiction(conflict));
            }
            if self.conflicts > CONFLICTS_MAX {
                return Err(Stop::Budget);
            }
            // A conflict above the first level hangs on that level's decision.
            let (asserting, rest, core) = self.analyze(conflict).ok_or(Stop::Budget)?;
            let level = |literal: &Literal| {
                usize::try_from(self.levels[literal.package.at()].unsigned_abs()).unwrap_or(usize::MAX)
            };
            let back = rest.iter().map(level).max().unwrap_or(1);
            self.revert(back);
            let mut clause = vec![asserting];
            clause.extend(rest);
            // The literal of the highest level is watched beside the asserting one.
            if let Some(highest) =
                (1..clause.len()).max_by_key(|&at| self.levels[clause[at].package.at()].unsigned_abs())
            {
                clause.swap(1, highest);
            }
            let at = self.attach(clause);
            self.learnt.insert(at, core);
            self.enqueue(asserting, Reason::Clause(at));
        }
        Ok(())
    }

    /// Follows what was decided; the clause that became false, if one did.
    fn propagate(&mut self) -> Option<Conflict> {
        while let Some(&literal) = self.trail.get(self.head) {
            self.head += 1;
            if literal.wanted {
                for &other in self.universe.named(self.universe.name_of(literal.package)) {
                    // Of what is installed there may be several versions, and there are no others.
                    if other == literal.package || self.universe.is_installed(other) {
                        continue;
                    }
                    match self.decided(other) {
                        Some(true) => {
                            let literals = vec![literal.not(), Literal::absent(other)];
                            return Some(Conflict { literals, clause: None });
                        }
                        Some(false) => {}
                        None => self.enqueue(Literal::absent(other), Reason::SameName(literal.package)),
                    }
                }
            }
            let falsified = literal.not();
            let watching = std::mem::take(&mut self.watches[place(falsified)]);
            let mut kept = Vec::with_capacity(watching.len());
            let mut conflict = None;
            for (seen, &at) in watching.iter().enumerate() {
                match self.visit(at, falsified) {
                    Visit::Moved => {}
                    Visit::Kept => kept.push(at),
                    Visit::Conflict => {
                        kept.extend(watching.iter().skip(seen).copied());
                        conflict = Some(Conflict { literals: self.clauses[at].clone(), clause: Some(at) });
                        break;
                    }
                }
            }
            self.watches[place(falsified)] = kept;
            if conflict.is_some() {
                return conflict;
            }
        }
        None
    }

    fn visit(&mut self, at: usize, falsified: Literal) -> Visit {
        let clause = &mut self.clauses[at];
        // Order within a clause is the search's own: the watched ones are the first two.
        if clause[0] == falsified {
            clause.swap(0, 1);
        }
        let first = clause[0];
        if self.value(first) == Some(true) {
            return Visit::Kept;
        }
        let clause = &self.clauses[at];
        if let Some(next) = (2..clause.len()).find(|&next| self.value(clause[next]) != Some(false)) {
            let literal = clause[next];
            self.clauses[at].swap(1, next);
            self.watches[place(literal)].push(at);
            return Visit::Moved;
        }
        match self.value(first) {
            Some(_) => Visit::Conflict,
            None => {
                self.enqueue(first, Reason::Clause(at));
                Visit::Kept
            }
        }
    }

    /// Takes back all decisions above a level.
    pub fn revert(&mut self, level: usize) {
        let Some(&start) = self.starts.get(level) else { return };
        for literal in self.trail.drain(start..) {
            self.levels[literal.package.at()] = 0;
        }
        self.starts.truncate(level);
        self.head = self.head.min(start);
        self.branches.retain(|branch| branch.level < level);
        self.weak.forget();
    }

    /// The trail, and what is known of weak relations along it.
    pub fn weak_and_trail(&mut self) -> (&[Literal], &mut Weak) {
        (&self.trail, &mut self.weak)
    }

    /// The first wish that is not fulfilled, by its packages that are open.
    pub fn open_wish(&self) -> Option<Vec<PackageId>> {
        self.rules.wishes.iter().find_map(|clause| self.candidates(clause))
    }

    /// The candidates of the clause at a place of [`Search::open_clauses`], where it needs a choice.
    pub fn open_candidates(&self, place: usize) -> Option<Vec<PackageId>> {
        let &at = self.open.get(place)?;
        // The order of literals within a clause changes; the candidates' order must not.
        let mut candidates = self.candidates(&self.clauses[at])?;
        candidates.sort_unstable();
        Some(candidates)
    }

    /// Number of clauses that may need a choice.
    pub fn open_clauses(&self) -> usize {
        self.open.len()
    }

    fn candidates(&self, clause: &[Literal]) -> Option<Vec<PackageId>> {
        let mut open = Vec::new();
        for &literal in clause {
            match (self.value(literal), literal.wanted) {
                (Some(true), _) | (None, false) => return None,
                (None, true) => open.push(literal.package),
                (Some(false), _) => {}
            }
        }
        (!open.is_empty()).then_some(open)
    }
}

enum Visit {
    /// Another literal is watched.
    Moved,
    /// The same literal is watched still.
    Kept,
    /// No literal can be true.
    Conflict,
}

/// The place of a literal's watches.
fn place(literal: Literal) -> usize {
    literal.package.at().saturating_mul(2).saturating_add(usize::from(!literal.wanted))
}
