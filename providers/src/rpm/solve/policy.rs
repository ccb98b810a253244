//! Which of several packages is taken: libsolv's policy, as dnf sets it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::formula::{Literal, clauses, holds};
use super::search::Search;
use super::universe::{PackageId, Term, Universe};
use crate::rpm::{Comparison, Evr, Relation};

/// What a choice is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// One must be chosen: by all rules.
    Choose,
    /// As [`Mode::Choose`], but only to see whether one remains; no order among equals.
    Prune,
    /// The best of what is recommended.
    Recommend,
    /// Only an order of what supplements.
    Supplement,
}

/// What the packages chosen so far would like to have beside them.
#[derive(Debug)]
pub(super) struct Weak {
    recommended: Vec<bool>,
    suggested: Vec<bool>,
    /// Of expressions: wanted where all that must be absent, in the clause, is there.
    recommended_if: Vec<Vec<Literal>>,
    suggested_if: Vec<Vec<Literal>>,
    /// How much of the trail was read.
    read: usize,
}

impl Weak {
    pub fn new(packages: usize) -> Self {
        Self {
            recommended: vec![false; packages],
            suggested: vec![false; packages],
            recommended_if: Vec::new(),
            suggested_if: Vec::new(),
            read: 0,
        }
    }

    /// Begins again: decisions were taken back.
    pub fn forget(&mut self) {
        if self.read > 0 {
            *self = Self::new(self.recommended.len());
        }
    }

    fn read(&mut self, universe: &Universe, trail: &[Literal]) {
        for literal in trail.iter().skip(self.read).filter(|literal| literal.wanted) {
            let package = universe.package(literal.package);
            note(universe, &package.recommends, &mut self.recommended, &mut self.recommended_if);
            note(universe, &package.suggests, &mut self.suggested, &mut self.suggested_if);
        }
        self.read = trail.len();
    }
}

fn note(universe: &Universe, relations: &[Relation], wanted: &mut [bool], wanted_if: &mut Vec<Vec<Literal>>) {
    for relation in relations {
        match universe.term(relation) {
            Term::Simple(dependency) => {
                for id in universe.satisfiers(dependency) {
                    wanted[id.at()] = true;
                }
            }
            term => wanted_if.extend(clauses(universe, term, true)),
        }
    }
}

/// Reduces candidates to the best and puts these in order, the one to take first.
pub(super) fn choose(search: &mut Search<'_>, candidates: &mut Vec<PackageId>, mode: Mode) {
    let universe = search.universe;
    if mode != Mode::Supplement {
        if candidates.len() > 1 {
            let best = candidates.iter().map(|&id| universe.repository(id).priority).min();
            candidates.retain(|&id| Some(universe.repository(id).priority) == best);
        }
        if candidates.len() > 1 {
            best_versions(universe, candidates);
        }
        if candidates.len() > 1 && mode != Mode::Recommend {
            keep_recommended(search, candidates);
        }
    }
    if candidates.len() > 1 && matches!(mode, Mode::Choose | Mode::Supplement) {
        put_last(candidates, |id| is_outdated(universe, id));
        by_common_capability(universe, candidates);
        by_kernel_and_locale(search, candidates);
        let (trail, weak) = search.weak_and_trail();
        weak.read(universe, trail);
        let liked: BTreeSet<PackageId> = candidates.iter().copied().filter(|&id| is_suggested(search, id)).collect();
        put_last(candidates, |id| !liked.contains(&id));
    }
}

/// One version of each name, the best, by name; without those that another one obsoletes.
fn best_versions(universe: &Universe, candidates: &mut Vec<PackageId>) {
    candidates.sort_by(|&a, &b| universe.name(a).cmp(universe.name(b)).then(a.cmp(&b)));
    let mut best: Vec<PackageId> = Vec::new();
    for &id in candidates.iter() {
        match best.last_mut() {
            Some(last) if universe.name_of(*last) == universe.name_of(id) => {
                if universe.evr(id).compare(universe.evr(*last)).is_gt() {
                    *last = id;
                }
            }
            _ => best.push(id),
        }
    }
    *candidates = best;
    if candidates.len() > 1 {
        drop_obsoleted(universe, candidates);
    }
}

/// Drops what another candidate obsoletes, unless they obsolete each other.
fn drop_obsoleted(universe: &Universe, candidates: &mut Vec<PackageId>) {
    let present: BTreeSet<PackageId> = candidates.iter().copied().collect();
    let mut below: BTreeMap<PackageId, Vec<PackageId>> = BTreeMap::new();
    for &id in candidates.iter() {
        let obsoleted = universe.obsoleted_by(id).map(|(_, other)| other);
        let obsoleted: Vec<_> = obsoleted
            .filter(|other| present.contains(other) && universe.name_of(*other) != universe.name_of(id))
            .collect();
        if !obsoleted.is_empty() {
            below.insert(id, obsoleted);
        }
    }
    if below.is_empty() {
        return;
    }
    let reach = |from: PackageId| {
        let mut reached = BTreeSet::new();
        let mut stack = vec![from];
        while let Some(id) = stack.pop() {
            for &next in below.get(&id).into_iter().flatten() {
                if reached.insert(next) {
                    stack.push(next);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<PackageId, BTreeSet<PackageId>> = below.keys().map(|&id| (id, reach(id))).collect();
    let obsoletes = |id: PackageId, other: PackageId| reached.get(&id).is_some_and(|set| set.contains(&other));
    let dropped: BTreeSet<PackageId> = reached
        .iter()
        .flat_map(|(&id, below)| below.iter().copied().filter(move |&other| other != id && !obsoletes(other, id)))
        .collect();
    candidates.retain(|id| !dropped.contains(id));
}

/// Only those that something chosen recommends, or that supplement something chosen, where there
/// are some.
fn keep_recommended(search: &mut Search<'_>, candidates: &mut Vec<PackageId>) {
    let universe = search.universe;
    let (trail, weak) = search.weak_and_trail();
    weak.read(universe, trail);
    let kept: Vec<PackageId> = candidates.iter().copied().filter(|&id| is_recommended(search, id)).collect();
    if !kept.is_empty() {
        *candidates = kept;
    }
}

/// Whether something chosen recommends a package, or it supplements something chosen. What was
/// chosen last counts only after [`refresh`].
pub(super) fn is_recommended(search: &Search<'_>, id: PackageId) -> bool {
    search.weak.recommended[id.at()] || is_wanted_if(search, &search.weak.recommended_if, id) || supplements(search, id)
}

/// Reads what was chosen since the last time.
pub(super) fn refresh(search: &mut Search<'_>) {
    let universe = search.universe;
    let (trail, weak) = search.weak_and_trail();
    weak.read(universe, trail);
}

fn is_suggested(search: &Search<'_>, id: PackageId) -> bool {
    let universe = search.universe;
    search.weak.suggested[id.at()]
        || is_wanted_if(search, &search.weak.suggested_if, id)
        || universe
            .package(id)
            .enhances
            .iter()
            .any(|relation| holds(universe, universe.term(relation), &|other| search.has(other)))
}

fn is_wanted_if(search: &Search<'_>, clauses: &[Vec<Literal>], id: PackageId) -> bool {
    clauses.iter().any(|clause| {
        clause.contains(&Literal::there(id))
            && clause.iter().all(|literal| literal.wanted || search.has(literal.package))
    })
}

/// Whether a package supplements something chosen: what it would supplement without that, too, was
/// there when somebody did without it (libsolv, `solver_is_supplementing_alreadyinstalled`).
pub(super) fn supplements(search: &Search<'_>, id: PackageId) -> bool {
    let universe = search.universe;
    let mut relations = universe.package(id).supplements.iter().map(|relation| universe.term(relation));
    let is_beside = universe.installed().next().is_some();
    relations.any(|term| {
        let before = || holds(universe, term, &|other| universe.is_installed(other));
        holds(universe, term, &|other| search.has(other)) && !(is_beside && before())
    })
}

fn put_last(candidates: &mut [PackageId], is_bad: impl Fn(PackageId) -> bool) {
    candidates.sort_by_key(|&id| is_bad(id));
}

/// Whether there is a better package of its name and architecture.
fn is_outdated(universe: &Universe, id: PackageId) -> bool {
    let (package, priority) = (universe.package(id), universe.repository(id).priority);
    universe.named(universe.name_of(id)).iter().any(|&other| {
        let theirs = universe.repository(other).priority;
        other != id
            && universe.package(other).architecture == package.architecture
            && match theirs.cmp(&priority) {
                Ordering::Less => true,
                Ordering::Greater => false,
                Ordering::Equal => universe.evr(other).compare(&package.evr).is_gt(),
            }
    })
}

/// Where several candidates provide one capability in different versions, the newest first.
fn by_common_capability(universe: &Universe, candidates: &mut [PackageId]) {
    struct Entry<'u> {
        candidate: usize,
        name: &'u str,
        evr: &'u Evr,
        below: bool,
    }
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for (candidate, &id) in candidates.iter().enumerate() {
        let package = universe.package(id);
        for provide in &package.provides {
            let Some((comparison, evr)) = &provide.versions else { continue };
            let below = match comparison {
                Comparison::Equal if is_hash(evr) => continue,
                Comparison::Equal | Comparison::LessOrEqual => false,
                Comparison::Less => true,
                _ => continue,
            };
            entries.push(Entry { candidate, name: &provide.name, evr, below });
        }
    }
    let order = |a: &Entry<'_>, b: &Entry<'_>| b.evr.compare(a.evr).then(a.below.cmp(&b.below));
    entries.sort_by(|a, b| a.name.cmp(b.name).then_with(|| order(a, b)));
    let mut badness = vec![0usize; candidates.len()];
    let mut bad = 0usize;
    for (at, entry) in entries.iter().enumerate() {
        match at.checked_sub(1).and_then(|before| entries.get(before)) {
            Some(before) if before.name == entry.name => {
                let is_worse = before.evr.compare_version(entry.evr).is_ne()
                    || (before.evr.release.is_some() && entry.evr.release.is_some() && order(before, entry).is_lt())
                    || (before.evr == entry.evr && before.below != entry.below);
                if before.candidate != entry.candidate && is_worse {
                    bad += 1;
                }
            }
            _ => bad = 0,
        }
        badness[entry.candidate] += bad;
    }
    let mut ranked: Vec<(usize, PackageId)> = badness.into_iter().zip(candidates.iter().copied()).collect();
    ranked.sort_by_key(|&(bad, _)| bad);
    for (slot, (_, id)) in candidates.iter_mut().zip(ranked) {
        *slot = id;
    }
}

/// Whether a version is a digest rather than a number: it then says nothing about age.
fn is_hash(evr: &Evr) -> bool {
    let text = evr.to_string();
    text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Packages for a language (those that need a `locales-*` capability) come after others unless it
/// is English or the language is there; headers (`kernel-*-devel-*`) of a kernel that is there
/// come first.
fn by_kernel_and_locale(search: &Search<'_>, candidates: &mut [PackageId]) {
    let universe = search.universe;
    let is_there = |name: &str| {
        let dependency = crate::rpm::Dependency::any(name);
        universe.satisfiers(&dependency).into_iter().any(|id| search.has(id))
    };
    let score = |id: PackageId| -> u8 {
        let name = universe.name(id);
        if name.starts_with("kernel-")
            && let Some((flavour, version)) = name.split_once("-devel-")
            && is_there(&format!("{flavour}-{version}"))
        {
            return 4;
        }
        for requirement in &universe.package(id).requires {
            let Relation::Simple(dependency) = &requirement.relation else { continue };
            let Some(at) = dependency.name.find("locales-") else { continue };
            let language = dependency.name.get(at + "locales-".len()..).unwrap_or_default();
            return match language.starts_with("en") {
                true => 2,
                false if is_there(&dependency.name) => 4,
                false => 0,
            };
        }
        1
    };
    let scores: BTreeMap<PackageId, u8> = candidates.iter().map(|&id| (id, score(id))).collect();
    candidates.sort_by_key(|id| std::cmp::Reverse(scores.get(id).copied()));
}
