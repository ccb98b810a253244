//! What a request names, found in the universe; or all that cannot be found.

use std::collections::{BTreeMap, BTreeSet};

use super::universe::{NameId, PackageId, Priority, Universe};
use super::{Origin, Request, Variant};
use crate::lock::Why;
use crate::spelling;
use crate::unsolvable::{Problem, Unsolvable};

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
    for name in &request.remove {
        if let Some(id) = universe.candidate(name).filter(|&id| universe.is_installed(id)) {
            problems.push(Problem::InBase { name: name.clone(), version: universe.version(id).to_owned() });
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
                available: packages.iter().map(|&id| universe.version_told(id)).collect(),
            })
        }
        (None, [best, ..]) => Ok(*best),
        (_, []) => {
            let target = crate::deb::relation::Alternative { name: &wish.name, qualifier: None, bound: None };
            let mut providers = universe.satisfiers(&target);
            providers.retain(|&id| universe.named(universe.name_of(id)).first() == Some(&id));
            match &providers[..] {
                [] => Err(Problem::NotFound { near: spelling::near(universe.package_names(), &name), name }),
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
