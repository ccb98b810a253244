//! The known differences between our trees and mmdebstrap's, each with its reason.

use super::compare::{Aspect, Difference};

/// A known difference.
pub struct Known {
    /// A path, or everything below a directory where it ends in `/*`.
    pub path: &'static str,
    pub aspect: Aspect,
    pub why: &'static str,
}

/// All of them. Whoever adds one says why it is right.
pub const KNOWN: &[Known] = &[
    Known {
        path: "/lost+found",
        aspect: Aspect::OnlyOurs,
        why: "belongs to the file system, not to the tree: e2fsck wants it (ext4, mke2fs(8))",
    },
];

impl Known {
    pub fn covers(&self, difference: &Difference) -> bool {
        let path = difference.path.to_string();
        let same = match self.path.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == self.path,
        };
        same && self.aspect == difference.aspect
    }
}

/// The differences that nobody knows of.
pub fn unknown(differences: &[Difference]) -> Vec<&Difference> {
    differences.iter().filter(|difference| !KNOWN.iter().any(|known| known.covers(difference))).collect()
}
