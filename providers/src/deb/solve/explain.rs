//! What a request names, found in the universe; and why a request cannot be fulfilled, in words.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::marking::{Dependency, dependencies};
use super::universe::{NameId, PackageId, Priority, Universe};
use super::{Origin, Request, Variant};
use crate::lock::Why;

/// Most names that are offered for one that does not exist.
const NEAR_MAX: usize = 3;
/// Most versions or providers that a message lists.
const LISTED_MAX: usize = 5;

/// One reason why a request cannot be fulfilled.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// No index has the package.
    NotFound {
        /// The name that was asked for.
        name: String,
        /// Names that are spelled nearly so, the nearest first.
        near: Vec<String>,
    },
    /// The name is provided by several packages.
    Virtual {
        /// The name that was asked for.
        name: String,
        /// The packages that provide it.
        providers: Vec<String>,
    },
    /// The package exists, but not in this version.
    NoVersion {
        /// The package.
        name: String,
        /// The version that was asked for.
        version: String,
        /// The versions that there are, the best first.
        available: Vec<String>,
    },
    /// The wish names an architecture that is not the target's.
    ForeignArchitecture {
        /// The package.
        name: String,
        /// The architecture that was asked for.
        architecture: String,
    },
    /// A package must not be there, and something needs it.
    Removed {
        /// The package that must not be there.
        name: String,
        /// What needs it, from the wish on; empty when it is asked for itself.
        chain: Vec<String>,
        /// Whether it is essential.
        essential: bool,
    },
    /// Something needs what no package can give.
    Missing {
        /// What needs it, from the wish on.
        chain: Vec<String>,
        /// The relation, as it was written.
        relation: String,
        /// What there is instead: packages with their versions.
        available: Vec<String>,
    },
    /// Two packages exclude each other.
    Conflict {
        /// What leads to the first, from the wish on.
        chain: Vec<String>,
        /// What leads to the second, from the wish on.
        other: Vec<String>,
        /// The relation that excludes, as it was written.
        relation: String,
    },
    /// Something more entangled, as the solver tells it.
    Entangled {
        /// The solver's account.
        account: String,
    },
}

/// Why a request cannot be fulfilled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsolvable {
    /// The reasons, each enough on its own.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Unsolvable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unsolvable {}

fn listed(items: &[String]) -> String {
    let more = items.len().saturating_sub(LISTED_MAX);
    let shown = items.iter().take(LISTED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn chained(chain: &[String]) -> String {
    match chain {
        [] => "the request".to_owned(),
        [only] => only.clone(),
        [first, .., last] => {
            let between = chain.len() - 2;
            match between {
                0 => format!("{last} (needed by {first})"),
                _ => {
                    let steps =
                        chain[1..chain.len() - 1].iter().rev().cloned().collect::<Vec<_>>().join(", needed by ");
                    format!("{last} (needed by {steps}, needed by {first})")
                }
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { name, near } => {
                write!(f, "package not found: '{name}'")?;
                match &near[..] {
                    [] => Ok(()),
                    near => write!(f, "; did you mean '{}'?", near.join("', '")),
                }
            }
            Self::Virtual { name, providers } => {
                write!(f, "'{name}' is no package of its own, name one that provides it: {}", listed(providers))
            }
            Self::NoVersion { name, version, available } => {
                write!(f, "'{name}' has no version {version}; there is {}", listed(available))
            }
            Self::ForeignArchitecture { name, architecture } => {
                write!(f, "'{name}' is wanted for {architecture}, which is not the image's architecture")
            }
            Self::Removed { name, chain, .. } if chain.is_empty() => {
                write!(f, "'{name}' is to be both installed and removed")
            }
            Self::Removed { name, essential: true, .. } => {
                write!(f, "'{name}' cannot be removed: every system needs it")
            }
            Self::Removed { name, chain, .. } => {
                write!(f, "'{name}' cannot be removed: {} needs it", chained(chain))
            }
            Self::Missing { chain, relation, available } => {
                write!(f, "{} needs {relation}, ", chained(chain))?;
                match &available[..] {
                    [] => f.write_str("which no repository has"),
                    available => write!(f, "but there is only {}", listed(available)),
                }
            }
            Self::Conflict { chain, other, relation } => {
                write!(f, "{} cannot be beside {}: it excludes {relation}", chained(chain), chained(other))
            }
            Self::Entangled { account } => write!(f, "no set of packages fits together: {account}"),
        }
    }
}

/// A wish, found.
#[derive(Clone, Debug)]
pub(super) struct GoalWish {
    pub package: PackageId,
    pub why: Why,
}

/// What a request names, found in the universe.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    pub wishes: Vec<GoalWish>,
    pub forbidden: Vec<NameId>,
}

/// Finds what a request names, or says all that cannot be found.
pub(super) fn settle(universe: &Universe, request: &Request) -> Result<Goal, Unsolvable> {
    let removed: BTreeSet<&str> = request.remove.iter().map(String::as_str).collect();
    let mut problems = Vec::new();
    let mut wishes: Vec<GoalWish> = Vec::new();
    let mut seen = BTreeSet::new();
    for (package, why) in roots(universe, request.variant) {
        let name = universe.name(package);
        match (removed.contains(name), &why) {
            (true, Why::Essential) => {
                let chain = vec![name.to_owned()];
                problems.push(Problem::Removed { name: name.to_owned(), chain, essential: true });
            }
            (true, _) => {}
            (false, _) => {
                seen.insert(package);
                wishes.push(GoalWish { package, why });
            }
        }
    }
    for wish in &request.install {
        let default = wish.origin == Origin::Default;
        if removed.contains(wish.name.as_str()) {
            if !default {
                let name = wish.name.clone();
                problems.push(Problem::Removed { name, chain: Vec::new(), essential: false });
            }
            continue;
        }
        match find(universe, wish) {
            Ok(package) => {
                // The same package may be a default or another wish; the exact version counts.
                let same_name = |known: &&mut GoalWish| universe.name_of(known.package) == universe.name_of(package);
                match wishes.iter_mut().find(same_name) {
                    Some(known) => {
                        if wish.version.is_some() {
                            known.package = package;
                        }
                        if !default && known.why == Why::Default {
                            known.why = Why::Requested;
                        }
                    }
                    None if seen.insert(package) => {
                        let why = if default { Why::Default } else { Why::Requested };
                        wishes.push(GoalWish { package, why });
                    }
                    None => {}
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(Unsolvable { problems });
    }
    let forbidden = request.remove.iter().filter_map(|name| universe.name_id(name)).collect();
    Ok(Goal { wishes, forbidden })
}

/// The packages that every system of a variant has, by name.
fn roots(universe: &Universe, variant: Variant) -> Vec<(PackageId, Why)> {
    let limit = match variant {
        Variant::Custom => return Vec::new(),
        Variant::Essential | Variant::Apt => None,
        Variant::Minbase => Some(Priority::Required),
        Variant::Important => Some(Priority::Important),
        Variant::Standard => Some(Priority::Standard),
    };
    let mut essential = BTreeMap::new();
    let mut others = BTreeMap::new();
    for id in universe.names().filter_map(|name| universe.named(name).first().copied()) {
        let name = universe.name(id);
        if universe.is_essential(id) {
            essential.insert(name, id);
        } else if limit.is_some_and(|limit| universe.priority(id) <= limit) {
            others.insert(name, id);
        }
    }
    if variant != Variant::Essential
        && let Some(apt) = universe.candidate("apt")
    {
        others.entry("apt").or_insert(apt);
    }
    let essential = essential.into_values().map(|id| (id, Why::Essential));
    essential.chain(others.into_values().map(|id| (id, Why::Default))).collect()
}

fn find(universe: &Universe, wish: &super::Wish) -> Result<PackageId, Problem> {
    let name = wish.name.clone();
    if let Some(architecture) = &wish.architecture
        && architecture != universe.architecture()
        && architecture != "all"
    {
        return Err(Problem::ForeignArchitecture { name, architecture: architecture.clone() });
    }
    let packages = universe.packages_named(&wish.name);
    match (&wish.version, packages) {
        (Some(version), [_, ..]) => {
            let same = |&&id: &&PackageId| crate::deb::version::compare(universe.version(id), version).is_eq();
            packages.iter().find(same).copied().ok_or_else(|| Problem::NoVersion {
                name,
                version: version.clone(),
                available: packages.iter().map(|&id| universe.version(id).to_owned()).collect(),
            })
        }
        (None, [best, ..]) => Ok(*best),
        (_, []) => {
            let target = crate::deb::relation::Alternative { name: &wish.name, qualifier: None, bound: None };
            let mut providers = universe.satisfiers(&target);
            providers.retain(|&id| universe.named(universe.name_of(id)).first() == Some(&id));
            match &providers[..] {
                [] => Err(Problem::NotFound { near: near(universe, &name), name }),
                [only] => Ok(*only),
                providers => {
                    let mut providers: Vec<String> = providers.iter().map(|&id| universe.name(id).to_owned()).collect();
                    providers.sort();
                    Err(Problem::Virtual { name, providers })
                }
            }
        }
    }
}

/// Names spelled nearly as one that does not exist.
fn near(universe: &Universe, name: &str) -> Vec<String> {
    let allowed = (name.len() / 4).clamp(1, 3);
    let mut found: Vec<(usize, &str)> = universe
        .package_names()
        .filter(|known| known.len().abs_diff(name.len()) <= allowed)
        .filter_map(|known| distance(name, known, allowed).map(|distance| (distance, known)))
        .collect();
    found.sort();
    let Some(&(best, _)) = found.first() else { return Vec::new() };
    found
        .into_iter()
        .filter(|(distance, _)| *distance == best)
        .map(|(_, name)| name.to_owned())
        .take(NEAR_MAX)
        .collect()
}

/// How many letters must be changed, added, dropped or swapped with their neighbour (restricted
/// Damerau-Levenshtein distance); `None` above a limit.
fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        if row.iter().all(|&distance| distance > limit) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|&distance| distance <= limit)
}

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
        let mut queue: VecDeque<(PackageId, Option<PackageId>)> =
            goal.wishes.iter().map(|wish| (wish.package, None)).collect();
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
        let mut chain = vec![self.universe.name(id).to_owned()];
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
                available.push(format!("{} {}", target.name, self.universe.version(id)));
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

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn swapped_letters_are_one_step() {
        assert_eq!(distance("ngnix", "nginx", 3), Some(1));
        assert_eq!(distance("nginx", "nginx", 3), Some(0));
        assert_eq!(distance("abc", "", 2), None);
        assert_eq!(distance("vim", "vi", 1), Some(1));
    }
}
