//! A package as a repository's metadata describes it.

use super::{Dependency, Evr, Relation};
use layers::Sha256;

/// What a package needs, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirement {
    /// What it needs.
    pub relation: Relation,
    /// Whether it needs it before its own scriptlets run (`Requires(pre)`, `pre="1"`).
    pub before: bool,
}

/// Where a package's file is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// The path relative to the repository, which leads nowhere else.
    pub path: Box<str>,
    /// `xml:base`: what the path is relative to where that is not the repository.
    pub base: Option<Box<str>>,
}

/// One package of a repository: what primary.xml says of it, and the file lists where they were
/// read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Package {
    /// Its name.
    pub name: Box<str>,
    /// Epoch, version and release; all are there.
    pub evr: Evr,
    /// Its architecture, such as `x86_64` or `noarch`.
    pub architecture: Box<str>,
    /// Digest of the package file.
    pub sha256: Sha256,
    /// Size of the package file in bytes.
    pub size: u64,
    /// Size of what it installs in bytes, as it states.
    pub installed_size: u64,
    /// When it was built, seconds since 1970-01-01 UTC.
    pub build_time: i64,
    /// Where its file is.
    pub location: Location,
    /// The source package's file name.
    pub source: Box<str>,
    /// Capabilities that it offers, itself among them.
    pub provides: Vec<Dependency>,
    /// What it needs.
    pub requires: Vec<Requirement>,
    /// What it cannot be installed with.
    pub conflicts: Vec<Relation>,
    /// What it takes the place of.
    pub obsoletes: Vec<Dependency>,
    /// What should be there too.
    pub recommends: Vec<Relation>,
    /// What might be there too.
    pub suggests: Vec<Relation>,
    /// What it should come along with.
    pub supplements: Vec<Relation>,
    /// What it might come along with.
    pub enhances: Vec<Relation>,
    /// Absolute paths of its files and directories: those of primary.xml (createrepo_c's rule:
    /// `/etc/*`, `*bin/*`, `/usr/lib/sendmail`), or all when the file lists were read.
    pub files: Vec<Box<str>>,
}
