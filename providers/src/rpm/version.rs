//! Versions: epoch, version and release (rpm-version(7)).

use std::fmt;

/// Epoch, version and release of a package, or of a constraint on one, in which parts may be missing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Evr {
    /// The epoch; a missing one counts as 0.
    pub epoch: Option<u32>,
    /// The version, without `-`.
    pub version: Box<str>,
    /// The release; a constraint without one leaves it open.
    pub release: Option<Box<str>>,
}

impl fmt::Display for Evr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(epoch) = self.epoch.filter(|epoch| *epoch != 0) {
            write!(f, "{epoch}:")?;
        }
        f.write_str(&self.version)?;
        match &self.release {
            Some(release) => write!(f, "-{release}"),
            None => Ok(()),
        }
    }
}
