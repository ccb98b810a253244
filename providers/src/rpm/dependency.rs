//! Dependencies between packages (rpm-dependencies(7)).

use super::Evr;

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

/// A capability, perhaps in certain versions: `name`, or `name >= 1:2.3-4`. The name of a file when
/// it begins with `/`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Dependency {
    /// The capability.
    pub name: Box<str>,
    /// The versions that are meant; all when absent.
    pub versions: Option<(Comparison, Evr)>,
}

/// What one package says of others: a dependency, or a rich one (`(a or b)`, `(a if b)`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Relation {
    /// One capability.
    Simple(Dependency),
    /// A boolean expression, as written, with its outer parentheses.
    Rich(Box<str>),
}
