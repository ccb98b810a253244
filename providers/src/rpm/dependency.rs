//! Dependencies between packages (rpm-dependencies(7)).

use std::cmp::Ordering;
use std::fmt;

use super::{Evr, Rich};

/// Most characters of a refused text that an error shows.
const SHOWN_MAX: usize = 120;

/// A version, dependency or rich dependency that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("read {text:?} at column {}: {reason}", at.saturating_add(1))]
pub struct SyntaxError {
    /// The beginning of the text.
    pub text: String,
    /// Where it goes wrong, in bytes from 0.
    pub at: usize,
    /// What is wrong.
    pub reason: &'static str,
}

impl SyntaxError {
    pub(super) fn new(text: &str, at: usize, reason: &'static str) -> Self {
        Self { text: text.chars().take(SHOWN_MAX).collect(), at, reason }
    }
}

/// How a version is to compare with the one that a dependency names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

impl Comparison {
    /// Reads an operator as dependencies are written; `==` is rpm's other spelling of `=`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "<" => Self::Less,
            "<=" | "=<" => Self::LessOrEqual,
            "=" | "==" => Self::Equal,
            ">=" | "=>" => Self::GreaterOrEqual,
            ">" => Self::Greater,
            _ => return None,
        })
    }

    /// Reads the `flags` attribute of primary.xml: `LT`, `LE`, `EQ`, `GE`, `GT`.
    pub fn from_flags(flags: &str) -> Option<Self> {
        Some(match flags {
            "LT" => Self::Less,
            "LE" => Self::LessOrEqual,
            "EQ" => Self::Equal,
            "GE" => Self::GreaterOrEqual,
            "GT" => Self::Greater,
            _ => return None,
        })
    }

    /// As dependencies are written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }

    fn allows_less(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual)
    }

    fn allows_equal(self) -> bool {
        matches!(self, Self::LessOrEqual | Self::Equal | Self::GreaterOrEqual)
    }

    fn allows_greater(self) -> bool {
        matches!(self, Self::Greater | Self::GreaterOrEqual)
    }
}

/// A capability, perhaps in certain versions: `name`, or `name >= 1:2.3-4`. The name of a file when
/// it begins with `/`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Dependency {
    /// The capability.
    pub name: Box<str>,
    /// The versions that are meant; all when absent.
    pub versions: Option<(Comparison, Evr)>,
}

impl Dependency {
    /// A capability in any version.
    pub fn any(name: impl Into<Box<str>>) -> Self {
        Self { name: name.into(), versions: None }
    }

    /// A capability in exactly one version.
    pub fn exact(name: impl Into<Box<str>>, evr: Evr) -> Self {
        Self { name: name.into(), versions: Some((Comparison::Equal, evr)) }
    }

    /// Reads `name` or `name OPERATOR version`, separated by white space.
    ///
    /// # Errors
    /// [`SyntaxError`] with the place.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let at = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
        let mut words = text.split_ascii_whitespace();
        let Some(name) = words.next() else {
            return Err(SyntaxError::new(text, 0, "the capability's name is missing"));
        };
        if let Some(place) = name.find(char::is_control) {
            return Err(SyntaxError::new(text, at(name) + place, "a name cannot have this character"));
        }
        if name.starts_with(['<', '>', '=']) {
            return Err(SyntaxError::new(text, at(name), "the capability's name is missing"));
        }
        let versions = match words.next() {
            None => None,
            Some(operator) => {
                let comparison = Comparison::parse(operator)
                    .ok_or_else(|| SyntaxError::new(text, at(operator), "an operator such as '>=' is expected here"))?;
                let version = words
                    .next()
                    .ok_or_else(|| SyntaxError::new(text, text.len(), "the version after the operator is missing"))?;
                let evr = Evr::parse(version)
                    .map_err(|error| SyntaxError::new(text, at(version) + error.at, error.reason))?;
                Some((comparison, evr))
            }
        };
        match words.next() {
            None => Ok(Self { name: name.into(), versions }),
            Some(more) => Err(SyntaxError::new(text, at(more), "the dependency should end here")),
        }
    }

    /// Whether something provided answers this: the names are the same, and some version is within
    /// both. Symmetric, as rpm's rpmdsCompare: what names no version is in all of them, and a side
    /// without a release leaves it open where it allows equality.
    pub fn matches(&self, provided: &Dependency) -> bool {
        self.name == provided.name && overlap(self.versions.as_ref(), provided.versions.as_ref())
    }

    /// Whether this names a package of a name and version (what Obsoletes look at, which asks for
    /// names and not for capabilities).
    pub fn names(&self, name: &str, evr: &Evr) -> bool {
        *self.name == *name && self.admits(evr)
    }

    /// Whether a version is within [`Dependency::versions`].
    pub fn admits(&self, evr: &Evr) -> bool {
        self.versions
            .as_ref()
            .is_none_or(|(comparison, bound)| ranges_overlap(*comparison, bound, Comparison::Equal, evr))
    }
}

/// Whether two ranges of versions have one in common.
pub(super) fn overlap(a: Option<&(Comparison, Evr)>, b: Option<&(Comparison, Evr)>) -> bool {
    let (Some((comparison, evr)), Some((other, bound))) = (a, b) else { return true };
    ranges_overlap(*comparison, evr, *other, bound)
}

fn ranges_overlap(a: Comparison, a_evr: &Evr, b: Comparison, b_evr: &Evr) -> bool {
    let order = a_evr.compare_version(b_evr);
    let order = match (order, &a_evr.release, &b_evr.release) {
        (Ordering::Equal, Some(release), Some(other)) => super::version::compare_part(release, other),
        // All releases of a version are meant by the side that has none.
        (Ordering::Equal, None, Some(_)) if a.allows_equal() => return true,
        (Ordering::Equal, Some(_), None) if b.allows_equal() => return true,
        (order, ..) => order,
    };
    let same_side = (a.allows_less() && b.allows_less()) || (a.allows_greater() && b.allows_greater());
    same_side
        || match order {
            Ordering::Less => a.allows_greater() || b.allows_less(),
            Ordering::Equal => a.allows_equal() && b.allows_equal(),
            Ordering::Greater => a.allows_less() || b.allows_greater(),
        }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.versions {
            Some((comparison, evr)) => write!(f, " {} {evr}", comparison.as_str()),
            None => Ok(()),
        }
    }
}

/// What one package says of others: a dependency, or a rich one (`(a or b)`, `(a if b)`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Relation {
    /// One capability.
    Simple(Dependency),
    /// A boolean expression, as written, with its outer parentheses.
    Rich(Box<str>),
}

impl Relation {
    /// Reads a dependency, or a rich one where the text begins with a parenthesis.
    ///
    /// # Errors
    /// [`SyntaxError`] with the place.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let trimmed = text.trim_ascii();
        match trimmed.starts_with('(') {
            true => Rich::parse(trimmed).map(|_| Self::Rich(trimmed.into())),
            false => Dependency::parse(text).map(Self::Simple),
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(dependency) => dependency.fmt(f),
            Self::Rich(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(wanted: &str, provided: &str) -> bool {
        let (wanted, provided) = (Dependency::parse(wanted).unwrap(), Dependency::parse(provided).unwrap());
        let answer = wanted.matches(&provided);
        assert_eq!(answer, provided.matches(&wanted), "{wanted} against {provided}");
        answer
    }

    #[test]
    fn ranges_overlap_as_rpm_says() {
        for (wanted, provided, answer) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a >= 2", "a", true),
            ("a", "a = 2-1", true),
            ("a >= 2", "a = 2-1", true),
            ("a <= 2", "a = 2-1", true),
            ("a = 2", "a = 2-1", true),
            ("a < 2", "a = 2-1", false),
            ("a > 2", "a = 2-1", false),
            ("a = 2-1", "a = 2-2", false),
            ("a = 2-1", "a = 2", true),
            ("a > 2-1", "a = 2-2", true),
            ("a > 2-1", "a = 2", true),
            ("a < 2-1", "a = 2", true),
            ("a = 1:2", "a = 2", false),
            ("a = 0:2", "a = 2", true),
            ("a >= 1", "a <= 2", true),
            ("a > 2", "a < 2", false),
            ("a >= 2", "a <= 2", true),
            ("a >= 3", "a <= 2", false),
            ("a < 3", "a < 1", true),
            ("a > 3", "a > 1", true),
            ("a < 1~", "a = 1~~", true),
            ("a >= 1^git", "a = 1", false),
        ] {
            assert_eq!(matches(wanted, provided), answer, "{wanted} against {provided}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_written_again() {
        for text in ["a", "a >= 1:2-3", "libc.so.6(GLIBC_2.4)(64bit)", "/bin/sh", "font(:lang=en) < 2", "a = 1~rc^x"] {
            assert_eq!(Dependency::parse(text).unwrap().to_string(), text);
            assert_eq!(Relation::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Dependency::parse(" a  ==  0:1 ").unwrap().to_string(), "a = 1");
        let refused = |text: &str| Relation::parse(text).unwrap_err().to_string();
        assert_eq!(refused(""), "read \"\" at column 1: the capability's name is missing");
        assert_eq!(refused(">= 1"), "read \">= 1\" at column 1: the capability's name is missing");
        assert_eq!(refused("a 1"), "read \"a 1\" at column 3: an operator such as '>=' is expected here");
        assert_eq!(refused("a >="), "read \"a >=\" at column 5: the version after the operator is missing");
        assert_eq!(refused("a >= 1:"), "read \"a >= 1:\" at column 8: the version is missing");
        assert_eq!(refused("a >= 1 b"), "read \"a >= 1 b\" at column 8: the dependency should end here");
    }
}
