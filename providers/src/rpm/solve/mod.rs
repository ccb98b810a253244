//! The choice of packages: what a request means on the repositories at hand.
//!
//! The choice is the one that dnf (libsolv) makes on the same repositories for an empty system.
//! [`decisions`] takes decisions in libsolv's order and by its [`policy`], on a [`search`] that
//! follows each and learns from those that fail; where that takes too long, the SAT solver that
//! deb uses takes over ([`sat`]), and where no solution exists the reason is put into words
//! ([`explain`], [`account`]).

mod account;
mod decisions;
mod explain;
mod formula;
mod goal;
mod paths;
mod policy;
mod reasons;
mod rules;
mod sat;
mod search;
mod universe;

pub use crate::unsolvable::{Problem, Unsolvable};
pub use paths::wanted_paths;
pub use universe::{PackageId, RepositoryRef, Source, Universe};

use super::dependency::SyntaxError;
use crate::lock::Why;

/// Longest wish that is read, in bytes.
const WISH_MAX: usize = 1024;

/// One thing that the request names: a package (`name`, `name.arch`, `name-version`,
/// `name-version-release`, `name-version-release.arch`), a pattern of those (`systemd-*`, which
/// means every name that fits), a version (`name=1.2`, `name >= 1.2`), a capability
/// (`pkgconfig(zlib)`) or a file (`/usr/bin/vim`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// As it was written.
    pub text: String,
    /// Who asks for it, for [`Chosen::why`].
    pub origin: Origin,
}

/// Who asks for a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The spec names it.
    Requested,
    /// The provider's default set names it.
    Default,
}

impl Wish {
    /// Reads a wish. What it means depends on the packages that there are.
    ///
    /// # Errors
    /// [`SyntaxError`] for what cannot name anything.
    pub fn parse(text: &str, origin: Origin) -> Result<Self, SyntaxError> {
        let trimmed = text.trim_ascii();
        if trimmed.is_empty() {
            return Err(SyntaxError::new(text, 0, "a package's name is missing"));
        }
        if trimmed.len() > WISH_MAX {
            return Err(SyntaxError::new(text, WISH_MAX, "it is too long for a package's name"));
        }
        if let Some(at) = trimmed.find(char::is_control) {
            return Err(SyntaxError::new(trimmed, at, "a name cannot have this character"));
        }
        if goal::versioned(trimmed).is_some() || trimmed.contains(|c: char| c.is_ascii_whitespace()) {
            goal::dependency(trimmed)?;
        }
        Ok(Self { text: trimmed.to_owned(), origin })
    }
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// What must be there, in the order in which dnf would be told of it.
    pub install: Vec<Wish>,
    /// Names of packages that must not be there; patterns of names are allowed.
    pub remove: Vec<String>,
    /// Whether packages that are recommended, or that supplement others, are taken where they can
    /// be (dnf's `install_weak_deps`).
    pub recommends: bool,
}

/// One package of a solution.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// The package.
    pub package: PackageId,
    /// Why it is there.
    pub why: Why,
    /// Whether it is there only because something else wants it.
    pub automatic: bool,
}

/// The packages that fulfil a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Solution {
    /// The packages, sorted by name.
    pub packages: Vec<Chosen>,
}

/// Chooses the packages.
///
/// # Errors
/// [`Unsolvable`] says in words why no set of packages fulfils the request.
pub fn solve(universe: &Universe, request: &Request) -> Result<Solution, Unsolvable> {
    let goal = goal::settle(universe, request)?;
    let entangled = || {
        let account = "there are too many relations between the packages".to_owned();
        Unsolvable { problems: vec![Problem::Entangled { account }] }
    };
    let rules = rules::Rules::collect(universe, &goal, request.recommends).ok_or_else(entangled)?;
    let found = search::Search::begin(universe, &rules).and_then(|mut search| {
        decisions::run(&mut search, request.recommends)?;
        Ok(search.chosen())
    });
    let chosen = match found {
        Ok(chosen) => chosen,
        Err(search::Stop::Contradiction(core)) => {
            return Err(explain::explain(universe, &goal, account::account(universe, &rules, &core)));
        }
        Err(search::Stop::Budget) => {
            let needed = sat::solve(universe, &rules).map_err(|account| explain::explain(universe, &goal, account))?;
            weakly(universe, &rules, request, needed)
        }
    };
    Ok(reasons::assemble(universe, &goal, &chosen, request.recommends))
}

/// The packages that a wish may mean, whatever else is asked for; none where there is no such thing.
pub fn meant(universe: &Universe, wish: &Wish) -> Vec<PackageId> {
    goal::find(universe, &wish.text).unwrap_or_default().into_iter().flatten().collect()
}

/// Adds to packages that fulfil a request what is recommended, as far as that goes.
fn weakly(universe: &Universe, rules: &rules::Rules, request: &Request, needed: Vec<PackageId>) -> Vec<PackageId> {
    let added = search::Search::begin(universe, rules).and_then(|mut search| {
        for &package in &needed {
            if search.decided(package).is_none() {
                search.decide(package)?;
            }
        }
        decisions::run(&mut search, request.recommends)?;
        Ok(search.chosen())
    });
    // What is recommended is not worth a failure.
    added.unwrap_or(needed)
}
