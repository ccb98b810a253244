//! What contradicts itself, told one relation after the other: for conflicts that no single
//! sentence holds.

use std::collections::BTreeSet;

use super::formula::Literal;
use super::goal::needs;
use super::rules::{Rules, exclusions};
use super::search::Core;
use super::universe::{PackageId, Universe};

/// Most relations that are told.
const TOLD_MAX: usize = 12;

/// Tells what contradicts itself: who is asked for, what needs and excludes what.
pub(super) fn account(universe: &Universe, rules: &Rules, core: &Core) -> String {
    let mut told: Vec<String> = Vec::new();
    let mut tell = |sentence: String| {
        if !told.contains(&sentence) {
            told.push(sentence);
        }
    };
    let wishes = core.clauses.iter().filter_map(|at| rules.wishes.get(at.checked_sub(rules.packages.len())?));
    for wish in wishes {
        let names: BTreeSet<&str> = wish.iter().map(|literal| universe.name(literal.package)).collect();
        tell(format!("{} is asked for", names.into_iter().collect::<Vec<_>>().join(" or ")));
    }
    // Packages of one name say mostly the same; what they say is told once.
    for clause in core.clauses.iter().filter_map(|&at| rules.packages.get(at)) {
        if let Some((first, rest)) = clause.split_first() {
            tell(sentence(universe, first.package, rest));
        }
    }
    for &package in &core.forbidden {
        tell(format!("{} must not be there", universe.name(package)));
    }
    let names: BTreeSet<&str> = core.same_name.iter().map(|&package| universe.name(package)).collect();
    for name in names {
        tell(format!("only one version of {name} can be there"));
    }
    let more = told.len().saturating_sub(TOLD_MAX);
    told.truncate(TOLD_MAX);
    let told = told.join(", ");
    if more == 0 { told } else { format!("{told} and {more} more") }
}

/// What a package says that a clause came from.
fn sentence(universe: &Universe, id: PackageId, rest: &[Literal]) -> String {
    let name = universe.name(id);
    let is_open = |literal: &&Literal| **literal != Literal::absent(id) && !universe.is_installed(literal.package);
    let is_it = |clause: &[Literal]| clause.iter().filter(is_open).eq(rest);
    for (relation, clauses) in needs(universe, id) {
        if clauses.iter().any(|clause| is_it(clause)) {
            return format!("{name} needs {relation}");
        }
    }
    if let Some((relation, _)) = exclusions(universe, id).find(|(_, clause)| is_it(clause)) {
        return format!("{name} excludes {relation}");
    }
    // It is what an installed package says of new ones.
    let is_whole = |clause: &[Literal]| {
        let open = clause.iter().filter(|literal| !universe.is_installed(literal.package));
        open.eq([Literal::absent(id)].iter().chain(rest))
    };
    for other in universe.installed() {
        let shown = || format!("{} {}", universe.name(other), universe.shown_version(other));
        if let Some((relation, _)) = exclusions(universe, other).find(|(_, clause)| is_whole(clause)) {
            return format!("{} excludes {relation}", shown());
        }
        let says = |(_, clauses): &(String, Vec<Vec<Literal>>)| clauses.iter().any(|clause| is_whole(clause));
        if let Some((relation, _)) = needs(universe, other).into_iter().find(says) {
            return format!("{} needs {relation}", shown());
        }
    }
    format!("{name} cannot be there")
}
