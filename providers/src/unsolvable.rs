//! Reasons why a request cannot be fulfilled, and the words for them.

use std::fmt;

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
    /// A package must not be there, and the image to start from has it.
    InBase {
        /// The package.
        name: String,
        /// The version that it has there.
        version: String,
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
            Self::InBase { name, version } => {
                write!(f, "'{name}' cannot be removed: the base image has it, in version {version}")
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
