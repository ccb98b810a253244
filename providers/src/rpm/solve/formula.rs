//! Relations as clauses: at least one literal of each must hold.

use std::collections::BTreeSet;

use super::universe::{PackageId, Term, Universe, is_rpms_own};
use crate::rpm::Rich;
use crate::rpm::rich::Conditional;

/// Most literals that one expression may grow to: or-combinations of and-combinations multiply.
/// Real expressions have some dozen.
const LITERALS_MAX: usize = 100_000;

/// A package that is to be there, or not to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Literal {
    pub package: PackageId,
    pub wanted: bool,
}

impl Literal {
    pub fn there(package: PackageId) -> Self {
        Self { package, wanted: true }
    }

    pub fn absent(package: PackageId) -> Self {
        Self { package, wanted: false }
    }

    pub fn not(self) -> Self {
        Self { wanted: !self.wanted, ..self }
    }

    /// The place that libsolv gives a literal: what must be absent first, later packages before
    /// earlier ones, then what may be there in order.
    pub fn rank(self) -> i64 {
        let place = i64::from(self.package.0) + 1;
        if self.wanted { place } else { -place }
    }
}

/// A conjunction of clauses. None at all always holds; an empty clause never does.
pub(super) type Clauses = Vec<Vec<Literal>>;

/// The clauses of a relation, or of its contrary. An expression that grows too large cannot be
/// fulfilled.
pub(super) fn clauses(universe: &Universe, term: Term<'_>, wanted: bool) -> Clauses {
    let builder = Builder { universe };
    let built = match term {
        Term::Simple(dependency) => builder.simple(dependency, wanted),
        Term::Rich(rich) => builder.rich(rich, wanted),
    };
    let mut clauses = built.unwrap_or_else(|| vec![Vec::new()]);
    if clauses.iter().any(Vec::is_empty) {
        // What cannot be fulfilled is not wanted in part.
        return vec![Vec::new()];
    }
    for clause in &mut clauses {
        clause.sort_unstable_by_key(|literal| literal.rank());
        clause.dedup();
    }
    // What holds in any case says nothing.
    clauses.retain(|clause| {
        let absent: BTreeSet<PackageId> =
            clause.iter().filter(|literal| !literal.wanted).map(|literal| literal.package).collect();
        absent.is_empty() || !clause.iter().any(|literal| literal.wanted && absent.contains(&literal.package))
    });
    clauses
}

struct Builder<'u> {
    universe: &'u Universe,
}

impl Builder<'_> {
    fn simple(&self, dependency: &crate::rpm::Dependency, wanted: bool) -> Option<Clauses> {
        if is_rpms_own(dependency) {
            return Some(if wanted { Vec::new() } else { vec![Vec::new()] });
        }
        Some(self.set(self.universe.satisfiers(dependency), wanted))
    }

    fn set(&self, packages: Vec<PackageId>, wanted: bool) -> Clauses {
        match wanted {
            true => vec![packages.into_iter().map(Literal::there).collect()],
            false => packages.into_iter().map(|id| vec![Literal::absent(id)]).collect(),
        }
    }

    fn rich(&self, rich: &Rich, wanted: bool) -> Option<Clauses> {
        match (rich, wanted) {
            (Rich::Simple(dependency), _) => self.simple(dependency, wanted),
            (Rich::And(parts), true) => self.all(parts, true),
            (Rich::Or(parts), false) => self.all(parts, false),
            (Rich::And(parts), false) => self.any(parts, false),
            (Rich::Or(parts), true) => self.any(parts, true),
            (Rich::With(_) | Rich::Without(_), _) => {
                Some(self.set(members(self.universe, rich).into_iter().collect(), wanted))
            }
            (Rich::If(conditional), _) => {
                let Conditional { then, condition, otherwise } = &**conditional;
                // Without an else, nothing is asked where the condition does not hold.
                let otherwise = match otherwise {
                    Some(otherwise) => self.rich(otherwise, wanted)?,
                    None if wanted => Vec::new(),
                    None => vec![Vec::new()],
                };
                self.choose(condition, self.rich(then, wanted)?, otherwise)
            }
            (Rich::Unless(conditional), _) => {
                let Conditional { then, condition, otherwise } = &**conditional;
                // Without an else, `unless` does not hold where the condition does.
                let otherwise = match otherwise {
                    Some(otherwise) => self.rich(otherwise, wanted)?,
                    None if wanted => vec![Vec::new()],
                    None => Vec::new(),
                };
                self.choose(condition, otherwise, self.rich(then, wanted)?)
            }
        }
    }

    /// The first where the condition holds, the second where it does not.
    fn choose(&self, condition: &Rich, then: Clauses, otherwise: Clauses) -> Option<Clauses> {
        let mut clauses = either(&self.rich(condition, false)?, &then)?;
        clauses.extend(either(&self.rich(condition, true)?, &otherwise)?);
        Some(clauses)
    }

    fn all(&self, parts: &[Rich], wanted: bool) -> Option<Clauses> {
        let mut clauses = Vec::new();
        for part in parts {
            clauses.extend(self.rich(part, wanted)?);
        }
        bounded(clauses)
    }

    fn any(&self, parts: &[Rich], wanted: bool) -> Option<Clauses> {
        let mut clauses = vec![Vec::new()];
        for part in parts {
            clauses = either(&clauses, &self.rich(part, wanted)?)?;
        }
        Some(clauses)
    }
}

/// One or the other.
fn either(a: &[Vec<Literal>], b: &[Vec<Literal>]) -> Option<Clauses> {
    let literals = |clauses: &[Vec<Literal>]| clauses.iter().map(|clause| clause.len().max(1)).sum::<usize>();
    let size = literals(a).checked_mul(b.len())?.checked_add(literals(b).checked_mul(a.len())?)?;
    if size > LITERALS_MAX.saturating_mul(2) {
        return None;
    }
    let mut clauses = Vec::with_capacity(a.len() * b.len());
    for first in a {
        for second in b {
            clauses.push(first.iter().chain(second).copied().collect());
        }
    }
    Some(clauses)
}

fn bounded(clauses: Clauses) -> Option<Clauses> {
    let size: usize = clauses.iter().map(Vec::len).sum();
    (size <= LITERALS_MAX && clauses.len() <= LITERALS_MAX).then_some(clauses)
}

/// The packages of which an expression about one package is true.
pub(super) fn members(universe: &Universe, rich: &Rich) -> BTreeSet<PackageId> {
    match rich {
        Rich::Simple(dependency) => universe.satisfiers(dependency).into_iter().collect(),
        Rich::Or(parts) => parts.iter().flat_map(|part| members(universe, part)).collect(),
        Rich::With(parts) => {
            let mut sets = parts.iter().map(|part| members(universe, part));
            let first = sets.next().unwrap_or_default();
            sets.fold(first, |known, set| known.intersection(&set).copied().collect())
        }
        Rich::Without(pair) => &members(universe, &pair.0) - &members(universe, &pair.1),
        // The parser lets none of these stand here.
        Rich::And(_) | Rich::If(_) | Rich::Unless(_) => BTreeSet::new(),
    }
}

/// Whether a relation holds where some packages are there.
pub(super) fn holds(universe: &Universe, term: Term<'_>, is_there: &impl Fn(PackageId) -> bool) -> bool {
    match term {
        Term::Simple(dependency) => {
            is_rpms_own(dependency) || universe.satisfiers(dependency).into_iter().any(is_there)
        }
        Term::Rich(rich) => rich_holds(universe, rich, is_there),
    }
}

fn rich_holds(universe: &Universe, rich: &Rich, is_there: &impl Fn(PackageId) -> bool) -> bool {
    let holds = |rich: &Rich| rich_holds(universe, rich, is_there);
    match rich {
        Rich::Simple(dependency) => self::holds(universe, Term::Simple(dependency), is_there),
        Rich::And(parts) => parts.iter().all(holds),
        Rich::Or(parts) => parts.iter().any(holds),
        Rich::With(_) | Rich::Without(_) => members(universe, rich).into_iter().any(is_there),
        Rich::If(parts) => match holds(&parts.condition) {
            true => holds(&parts.then),
            false => parts.otherwise.as_ref().is_none_or(holds),
        },
        Rich::Unless(parts) => match holds(&parts.condition) {
            true => parts.otherwise.as_ref().is_some_and(holds),
            false => holds(&parts.then),
        },
    }
}
