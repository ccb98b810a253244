//! The order of decisions: libsolv's, so that dnf's packages are found.

use std::collections::BTreeSet;

use super::formula::clauses;
use super::policy::{self, Mode};
use super::search::{Branch, Search, Stop};
use super::universe::{PackageId, Term};

/// Most choices that are made again because their package turned out not to be needed.
const REVISIONS_MAX: usize = 500;

/// Decides until every wish and every need is fulfilled, and what is recommended is there where it
/// can be.
pub(super) fn run(search: &mut Search<'_>, recommends: bool) -> Result<(), Stop> {
    let mut revisions = 0;
    loop {
        fulfil_wishes(search)?;
        if !fulfil_needs(search)? {
            continue;
        }
        if recommends && add_recommended(search)? {
            continue;
        }
        if revisions < REVISIONS_MAX && revise(search)? {
            revisions += 1;
            continue;
        }
        return Ok(());
    }
}

fn take(search: &mut Search<'_>, mut candidates: Vec<PackageId>) -> Result<(), Stop> {
    if candidates.len() > 1 {
        policy::choose(search, &mut candidates, Mode::Choose);
    }
    branch(search, &candidates);
    match candidates.first() {
        Some(&first) => search.decide(first),
        None => Ok(()),
    }
}

fn branch(search: &mut Search<'_>, candidates: &[PackageId]) {
    if candidates.len() > 1 {
        let candidates = candidates.iter().enumerate().map(|(at, &id)| (id, at == 0)).collect();
        let level = search.level();
        search.branches.push(Branch { level, candidates });
    }
}

fn fulfil_wishes(search: &mut Search<'_>) -> Result<(), Stop> {
    while let Some(mut candidates) = search.open_wish() {
        candidates.sort_unstable();
        take(search, candidates)?;
    }
    Ok(())
}

/// Fulfils what the chosen packages need; first where only one package can be meant, then in the
/// order of clauses. False where decisions from before were taken back.
fn fulfil_needs(search: &mut Search<'_>) -> Result<bool, Stop> {
    let level = search.level();
    let (mut at, mut passed) = (0, 0);
    let mut postponed: Option<usize> = None;
    let mut is_first_round = true;
    loop {
        let count = search.open_clauses();
        if passed >= count {
            match postponed.take() {
                Some(place) if is_first_round => {
                    is_first_round = false;
                    (at, passed) = (place, 0);
                }
                _ => return Ok(true),
            }
        }
        if at >= count {
            at = 0;
        }
        let place = at;
        at += 1;
        passed += 1;
        let Some(mut candidates) = search.open_candidates(place) else { continue };
        if candidates.len() > 1 && is_first_round {
            policy::choose(search, &mut candidates, Mode::Prune);
            if candidates.len() > 1 {
                postponed.get_or_insert(place);
                continue;
            }
        }
        take(search, candidates)?;
        if search.level() < level {
            return Ok(false);
        }
        passed = 0;
    }
}

/// Adds what is recommended and what supplements. True where something was decided.
fn add_recommended(search: &mut Search<'_>) -> Result<bool, Stop> {
    let universe = search.universe;
    let mut wanted: Vec<PackageId> = Vec::new();
    let mut known: BTreeSet<PackageId> = BTreeSet::new();
    let mut supplementing: Vec<PackageId> = Vec::new();
    let reached = &search.rules.reached;
    for &id in reached {
        match search.decided(id) {
            Some(false) => {}
            // What was there before asks for nothing any more.
            Some(true) if universe.is_installed(id) => {}
            Some(true) => {
                for relation in &universe.package(id).recommends {
                    for found in recommended(search, universe.term(relation), None) {
                        if known.insert(found) {
                            wanted.push(found);
                        }
                    }
                }
            }
            None => {
                if policy::supplements(search, id) {
                    supplementing.push(id);
                }
            }
        }
    }
    for &id in &supplementing {
        if known.insert(id) {
            wanted.push(id);
        }
    }
    match wanted[..] {
        [] => return Ok(false),
        [only] => {
            search.decide(only)?;
            return Ok(true);
        }
        _ => {}
    }
    policy::choose(search, &mut wanted, Mode::Recommend);
    let best: BTreeSet<PackageId> = wanted.into_iter().collect();
    supplementing.retain(|id| best.contains(id));
    if supplementing.len() > 1 {
        policy::choose(search, &mut supplementing, Mode::Supplement);
    }
    let decided = search.trail().len();
    for id in supplementing {
        if search.decided(id).is_some() {
            continue;
        }
        let level = search.level();
        search.decide(id)?;
        if search.level() <= level {
            return Ok(true);
        }
    }
    if search.trail().len() < decided {
        return Ok(true);
    }
    for at in 0..decided {
        let Some(literal) = search.trail().get(at).copied().filter(|literal| literal.wanted) else { continue };
        if universe.is_installed(literal.package) {
            continue;
        }
        for relation in &universe.package(literal.package).recommends {
            let mut candidates = recommended(search, universe.term(relation), Some(&best));
            if candidates.is_empty() {
                continue;
            }
            if candidates.len() > 1 {
                policy::choose(search, &mut candidates, Mode::Choose);
            }
            branch(search, &candidates);
            let Some(&first) = candidates.first() else { continue };
            let level = search.level();
            search.decide(first)?;
            if search.level() <= level || search.trail().len() < decided {
                return Ok(true);
            }
        }
    }
    Ok(true)
}

/// What is open of a recommendation: nothing where it is fulfilled.
fn recommended(search: &Search<'_>, term: Term<'_>, within: Option<&BTreeSet<PackageId>>) -> Vec<PackageId> {
    let is_within = |id: &PackageId| within.is_none_or(|within| within.contains(id));
    let mut found: Vec<PackageId> = Vec::new();
    match term {
        Term::Simple(dependency) => {
            let packages = search.universe.satisfiers(dependency);
            if packages.iter().any(|&id| search.has(id)) {
                return found;
            }
            found.extend(packages.into_iter().filter(|&id| search.decided(id).is_none()));
        }
        Term::Rich(_) => {
            for clause in clauses(search.universe, term, true) {
                let (wanted, absent): (Vec<_>, Vec<_>) = clause.into_iter().partition(|literal| literal.wanted);
                let is_due = absent.iter().all(|literal| search.has(literal.package));
                if !is_due || wanted.iter().any(|literal| search.has(literal.package)) {
                    continue;
                }
                for literal in wanted {
                    if search.decided(literal.package).is_none() && !found.contains(&literal.package) {
                        found.push(literal.package);
                    }
                }
            }
        }
    }
    found.retain(is_within);
    found
}

/// Makes a choice again where another candidate came along later anyway, or where one that is
/// recommended could not be had then. True where one was.
fn revise(search: &mut Search<'_>) -> Result<bool, Stop> {
    if search.branches.is_empty() {
        return Ok(false);
    }
    policy::refresh(search);
    let mut found: Option<(usize, usize)> = None;
    for (at, branch) in search.branches.iter().enumerate().rev() {
        let mut missed = None;
        let mut later = None;
        for (place, &(id, tried)) in branch.candidates.iter().enumerate() {
            if tried {
                continue;
            }
            if search.chosen_on(id) > branch.level {
                later = Some(place);
                break;
            }
            if missed.is_none() && policy::is_recommended(search, id) {
                missed = Some(place);
            }
        }
        if let Some(place) = later {
            found = Some((at, place));
        } else if let Some(place) = missed {
            let current =
                branch.candidates.iter().find(|&&(id, tried)| tried && search.chosen_on(id) == branch.level + 1);
            if current.is_some_and(|&(id, _)| !policy::is_recommended(search, id)) {
                found = Some((at, place));
            }
        }
    }
    let Some((at, place)) = found else { return Ok(false) };
    let mut branch = search.branches[at].clone();
    branch.candidates[place].1 = true;
    let (level, id) = (branch.level, branch.candidates[place].0);
    search.revert(level);
    search.branches.push(branch);
    search.decide(id)?;
    Ok(true)
}
