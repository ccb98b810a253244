//! The choice of packages: what a request means on the indexes at hand.
//!
//! The choice is the one that apt makes on the same indexes from an empty system. [`marking`]
//! walks the dependencies in apt's order; where that ends in a conflict, a SAT solver takes over
//! with the marked set as its preference ([`sat`]), and where no solution exists the reason is put
//! into words ([`explain`]).

mod explain;
mod goal;
mod marking;
mod reasons;
mod sat;
mod universe;

pub use crate::unsolvable::{Problem, Unsolvable};
pub use universe::{Index, Options, PackageId, RepositoryRef, Universe};

use crate::lock::Why;

/// Stack of the thread that chooses, in bytes. Dependencies are followed by recursion, at most
/// [`marking::DEPTH_MAX`] deep, which takes less than half of it.
const STACK_BYTES: usize = 64 << 20;

/// One package that the request names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// The package's name; a name that only others provide is allowed where one package does.
    pub name: String,
    /// The exact version; `None` for the best.
    pub version: Option<String>,
    /// The architecture; `None` for the target's own.
    pub architecture: Option<String>,
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
    /// Reads `name`, `name=version`, `name:architecture` or both.
    ///
    /// # Errors
    /// [`super::Error::Relation`] when the name or the version cannot be one.
    pub fn parse(text: &str, origin: Origin) -> Result<Self, super::Error> {
        let refuse = |reason| super::Error::Relation { text: text.chars().take(120).collect(), reason };
        let (rest, version) = match text.split_once('=') {
            Some((rest, version)) => (rest, Some(super::Version::new(version)?.as_str().to_owned())),
            None => (text, None),
        };
        let (name, architecture) = match rest.split_once(':') {
            Some((_, "")) => return Err(refuse("the architecture after the colon is missing")),
            Some((name, architecture)) => (name, Some(architecture.to_owned())),
            None => (rest, None),
        };
        if !super::control::is_package_name(name) {
            return Err(refuse("it is not a package name"));
        }
        Ok(Self { name: name.to_owned(), version, architecture, origin })
    }
}

/// The packages that a system has before anything is asked for, named as mmdebstrap names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Variant {
    /// Only what is asked for.
    Custom,
    /// `Essential: yes`
    Essential,
    /// Essential packages and apt.
    Apt,
    /// Essential packages, those of priority required, and apt.
    #[default]
    Minbase,
    /// As [`Variant::Minbase`], and those of priority important.
    Important,
    /// As [`Variant::Important`], and those of priority standard.
    Standard,
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// The packages that every system has.
    pub variant: Variant,
    /// Packages that must be there, in the order in which apt would be told of them.
    pub install: Vec<Wish>,
    /// Names of packages that must not be there.
    pub remove: Vec<String>,
    /// Whether recommended packages are taken where they can be.
    pub recommends: bool,
}

/// One package of a solution.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// The package.
    pub package: PackageId,
    /// Why it is there.
    pub why: Why,
    /// Whether it is there only because something else wants it (apt's `Auto-Installed`).
    pub automatic: bool,
    /// Whether it is essential, or an essential package needs it.
    pub essential: bool,
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
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().name("choose-packages".into()).stack_size(STACK_BYTES);
        match worker.spawn_scoped(scope, || choose(universe, request)) {
            Ok(handle) => handle.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)),
            // No thread to be had: this one's stack is enough for any but odd indexes.
            Err(_) => choose(universe, request),
        }
    })
}

fn choose(universe: &Universe, request: &Request) -> Result<Solution, Unsolvable> {
    let goal = goal::settle(universe, request)?;
    let mut marking = marking::Marking::new(universe, request.recommends);
    marking.mark(&goal);
    let chosen = match marking.is_sound() {
        true => marking.installed(),
        false => {
            sat::solve(universe, &goal, &marking.installed()).map_err(|text| explain::explain(universe, &goal, text))?
        }
    };
    Ok(reasons::assemble(universe, &goal, &chosen))
}
