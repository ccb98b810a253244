//! What a request names, found in the universe; or all that cannot be found.

use std::collections::{BTreeMap, BTreeSet};

use super::formula::{Clauses, clauses};
use super::universe::{PackageId, Term, Universe};
use super::{Origin, Request, Unsolvable};
use crate::glob;
use crate::lock::Why;
use crate::rpm::dependency::SyntaxError;
use crate::rpm::{Dependency, Evr};
use crate::spelling;
use crate::unsolvable::Problem;

/// Architectures that a wish may name after a dot (rpm's rpmrc, those of the last decades).
const ARCHITECTURES: &[&str] = &[
    "noarch",
    "x86_64",
    "aarch64",
    "i386",
    "i486",
    "i586",
    "i686",
    "athlon",
    "armv7hl",
    "armv7l",
    "ppc64le",
    "ppc64",
    "s390x",
    "riscv64",
    "loongarch64",
    "src",
    "nosrc",
    "x86_64_v2",
    "x86_64_v3",
    "x86_64_v4",
];

/// A wish, found: one of the candidates must be there.
#[derive(Clone, Debug)]
pub(super) struct GoalWish {
    pub candidates: Vec<PackageId>,
    pub why: Why,
}

/// What a request names, found in the universe.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    pub wishes: Vec<GoalWish>,
    pub forbidden: Vec<PackageId>,
}

/// Finds what a request names, or says all that cannot be found.
pub(super) fn settle(universe: &Universe, request: &Request) -> Result<Goal, Unsolvable> {
    let forbidden = removed(universe, &request.remove);
    let mut problems = Vec::new();
    let mut wishes: Vec<GoalWish> = Vec::new();
    // What the spec asks for decides why a package is there, wherever the defaults name it too.
    for wish in &request.install {
        let is_default = wish.origin == Origin::Default;
        match find(universe, &wish.text) {
            Ok(groups) => {
                let is_one = !glob::is_pattern(&wish.text);
                for mut candidates in groups {
                    let all = candidates.clone();
                    candidates.retain(|id| !forbidden.contains(id));
                    match (candidates.is_empty(), is_default || !is_one) {
                        (false, _) => {
                            let why = if is_default { Why::Default } else { Why::Requested };
                            match wishes.iter_mut().find(|known| known.candidates == candidates) {
                                Some(known) if !is_default => known.why = why,
                                Some(_) => {}
                                None => wishes.push(GoalWish { candidates, why }),
                            }
                        }
                        (true, true) => {}
                        (true, false) => {
                            let name = all.first().map_or(wish.text.as_str(), |&id| universe.name(id)).to_owned();
                            problems.push(Problem::Removed { name, chain: Vec::new(), essential: false });
                        }
                    }
                }
            }
            Err(_) if is_default && request.remove.iter().any(|pattern| glob::matches(pattern, &wish.text)) => {}
            Err(problem) => problems.push(problem),
        }
    }
    for &id in forbidden.iter().filter(|&&id| universe.is_installed(id)) {
        let (name, version) = (universe.name(id).to_owned(), universe.evr(id).to_string());
        problems.push(Problem::InBase { name, version });
    }
    match problems.is_empty() {
        true => Ok(Goal { wishes, forbidden: forbidden.into_iter().collect() }),
        false => Err(Unsolvable { problems }),
    }
}

fn removed(universe: &Universe, patterns: &[String]) -> BTreeSet<PackageId> {
    let mut removed = BTreeSet::new();
    for pattern in patterns {
        match glob::is_pattern(pattern) {
            false => removed.extend(universe.packages_named(pattern)),
            true => removed.extend(universe.ids().filter(|&id| glob::matches(pattern, universe.name(id)))),
        }
    }
    removed
}

/// Splits `name>=1.2` at its operator, where that is not within parentheses.
pub(super) fn versioned(text: &str) -> Option<(&str, &str, &str)> {
    let mut open = 0usize;
    let start = text.find(|c: char| {
        match c {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
        open == 0 && "<>=".contains(c)
    })?;
    let (name, rest) = text.split_at(start);
    let end = rest.find(|c: char| !"<>=".contains(c)).unwrap_or(rest.len());
    let (operator, version) = rest.split_at(end);
    Some((name.trim_ascii(), operator, version.trim_ascii()))
}

/// Reads a wish for a version or a capability.
pub(super) fn dependency(text: &str) -> Result<Dependency, SyntaxError> {
    match versioned(text) {
        Some((name, operator, version)) => Dependency::parse(&format!("{name} {operator} {version}")),
        None => Dependency::parse(text),
    }
}

/// The packages that a wish means: one of each group.
pub(super) fn find(universe: &Universe, text: &str) -> Result<Vec<Vec<PackageId>>, Problem> {
    if let Some((name, _, version)) = versioned(text) {
        return find_version(universe, text, name, version).map(|found| vec![found]);
    }
    let is_pattern = glob::is_pattern(text);
    let mut forms = Forms { universe, is_pattern, foreign: None };
    let found = forms.find(text);
    if let Some((found, is_name)) = found {
        return Ok(match is_pattern {
            true => by_name(universe, found, is_name),
            false if is_name => vec![with_obsoleters(universe, found)],
            false => vec![found],
        });
    }
    if let Some((name, architecture)) = forms.foreign {
        return Err(Problem::ForeignArchitecture { name, architecture });
    }
    let found = find_capability(universe, text);
    if !found.is_empty() {
        return Ok(vec![found]);
    }
    if let Some(problem) = other_version(universe, text) {
        return Err(problem);
    }
    let near = if is_pattern { Vec::new() } else { spelling::near(universe.package_names(), text) };
    Err(Problem::NotFound { name: text.to_owned(), near })
}

fn find_version(universe: &Universe, text: &str, name: &str, version: &str) -> Result<Vec<PackageId>, Problem> {
    let not_found = || Problem::NotFound {
        near: spelling::near(universe.package_names(), name),
        name: if universe.packages_named(name).is_empty() { name.to_owned() } else { text.to_owned() },
    };
    let Ok(dependency) = dependency(text) else { return Err(not_found()) };
    let found = universe.satisfiers(&dependency);
    if !found.is_empty() {
        return Ok(found);
    }
    match universe.packages_named(name) {
        [] => Err(not_found()),
        packages => Err(Problem::NoVersion {
            name: name.to_owned(),
            version: version.to_owned(),
            available: versions(universe, packages),
        }),
    }
}

/// The versions that there are, the best first.
pub(super) fn versions(universe: &Universe, packages: &[PackageId]) -> Vec<String> {
    let mut packages = packages.to_vec();
    packages.sort_by(|&a, &b| universe.evr(b).compare(universe.evr(a)));
    let mut versions: Vec<String> = packages.into_iter().map(|id| universe.shown_version(id)).collect();
    versions.dedup();
    versions
}

/// A wish that names a package's version, of which there are only others.
fn other_version(universe: &Universe, text: &str) -> Option<Problem> {
    let mut rest = text;
    // The version, and before it the release.
    for _ in 0..2 {
        let (name, _) = rest.rsplit_once('-')?;
        let packages = universe.packages_named(name);
        let version = text.get(name.len() + 1..).unwrap_or_default();
        if !packages.is_empty() && version.starts_with(|c: char| c.is_ascii_digit()) {
            return Some(Problem::NoVersion {
                name: name.to_owned(),
                version: version.to_owned(),
                available: versions(universe, packages),
            });
        }
        rest = name;
    }
    None
}

/// One group for each name; dnf takes those that obsolete a name along where only that was asked.
fn by_name(universe: &Universe, found: Vec<PackageId>, is_name: bool) -> Vec<Vec<PackageId>> {
    let mut places: BTreeMap<_, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<PackageId>> = Vec::new();
    for id in found {
        let place = *places.entry(universe.name_of(id)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.push(id);
        }
    }
    match is_name {
        true => groups.into_iter().map(|group| with_obsoleters(universe, group)).collect(),
        false => groups,
    }
}

fn with_obsoleters(universe: &Universe, mut found: Vec<PackageId>) -> Vec<PackageId> {
    let known: BTreeSet<PackageId> = found.iter().copied().collect();
    let obsoletes = |id: PackageId| {
        !universe.package(id).obsoletes.is_empty() && universe.obsoleted_by(id).any(|(_, other)| known.contains(&other))
    };
    found.extend(universe.ids().filter(|id| !known.contains(id)).filter(|&id| obsoletes(id)));
    found.sort_unstable();
    found
}

/// The ways in which a text can name packages, tried in dnf's order.
struct Forms<'u> {
    universe: &'u Universe,
    is_pattern: bool,
    /// A package that there is, in an architecture that is not the target's.
    foreign: Option<(String, String)>,
}

impl Forms<'_> {
    /// The packages, and whether only a name was given.
    fn find(&mut self, text: &str) -> Option<(Vec<PackageId>, bool)> {
        let with_architecture = text.rsplit_once('.').filter(|(_, architecture)| {
            ARCHITECTURES.contains(architecture) || (self.is_pattern && glob::is_pattern(architecture))
        });
        if let Some((rest, architecture)) = with_architecture {
            let mut found = Vec::new();
            if let Some((name, version, release)) = split_release(rest) {
                found = self.packages(name, Some((version, Some(release))), Some(architecture));
            }
            if found.is_empty() {
                found = self.packages(rest, None, Some(architecture));
            }
            if !found.is_empty() {
                return Some((found, false));
            }
            if !self.universe.packages_named(rest).is_empty() {
                self.foreign = Some((rest.to_owned(), architecture.to_owned()));
            }
        }
        let found = self.packages(text, None, None);
        if !found.is_empty() {
            return Some((found, true));
        }
        let mut found = Vec::new();
        if let Some((name, version, release)) = split_release(text) {
            found = self.packages(name, Some((version, Some(release))), None);
        }
        if found.is_empty()
            && let Some((name, version)) = text.rsplit_once('-')
        {
            found = self.packages(name, Some((version, None)), None);
        }
        (!found.is_empty()).then_some((found, false))
    }

    fn packages(
        &self,
        name: &str,
        version: Option<(&str, Option<&str>)>,
        architecture: Option<&str>,
    ) -> Vec<PackageId> {
        let universe = self.universe;
        let fits = |id: PackageId| {
            let package = universe.package(id);
            architecture.is_none_or(|pattern| glob::matches(pattern, &package.architecture))
                && version.is_none_or(|(version, release)| is_version(&package.evr, version, release))
        };
        match glob::is_pattern(name) {
            false => universe.packages_named(name).iter().copied().filter(|&id| fits(id)).collect(),
            true => universe.ids().filter(|&id| fits(id) && glob::matches(name, universe.name(id))).collect(),
        }
    }
}

fn split_release(text: &str) -> Option<(&str, &str, &str)> {
    let (rest, release) = text.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    Some((name, version, release))
}

/// Whether a version is the one written, which may be a pattern and may have an epoch.
fn is_version(evr: &Evr, version: &str, release: Option<&str>) -> bool {
    let (epoch, version) = match version.split_once(':') {
        Some((epoch, version)) => (Some(epoch), version),
        None => (None, version),
    };
    let part = |pattern: &str, text: &str| match glob::is_pattern(pattern) {
        true => glob::matches(pattern, text),
        false => crate::rpm::version::compare_part(pattern, text).is_eq(),
    };
    epoch.is_none_or(|epoch| glob::matches(epoch, &evr.epoch().to_string()))
        && part(version, &evr.version)
        && release.is_none_or(|release| part(release, evr.release.as_deref().unwrap_or_default()))
}

/// The packages that provide a capability, or own a file; also by a pattern of either.
fn find_capability(universe: &Universe, text: &str) -> Vec<PackageId> {
    let mut found: BTreeSet<PackageId> = BTreeSet::new();
    match glob::is_pattern(text) {
        false => found.extend(universe.satisfiers(&Dependency::any(text))),
        true => {
            let names = universe.capabilities().filter(|name| glob::matches(text, name));
            found.extend(names.flat_map(|name| universe.satisfiers(&Dependency::any(name))));
        }
    }
    if text.starts_with('/') || text.starts_with("*/") {
        let owns = |&id: &PackageId| universe.package(id).files.iter().any(|path| glob::matches(text, path));
        found.extend(universe.ids().filter(owns));
    }
    found.into_iter().collect()
}

/// The clauses that a requirement of a package comes to.
pub(super) fn needs(universe: &Universe, id: PackageId) -> Vec<(String, Clauses)> {
    let requires = universe.package(id).requires.iter();
    requires
        .map(|requirement| {
            let term: Term<'_> = universe.term(&requirement.relation);
            (requirement.relation.to_string(), clauses(universe, term, true))
        })
        .collect()
}
