//! Files that stand in the tree while packages are configured, and that no image has: for scripts
//! that ask a file of configuration, not debconf, what they may do.

use layers::TreePath;
use serde::{Deserialize, Serialize};

/// One such file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaffoldFile {
    /// Where it stands, absolute. No package may ship a file there: this one would hide it.
    pub path: String,
    /// The package that reads it: without it in the tree, the file is not there.
    pub package: String,
    /// What it says; only root writes it, everybody reads it.
    pub text: String,
    /// Why it is there.
    pub why: String,
}

/// What the types cannot say.
pub(super) fn check(file: &ScaffoldFile) -> Result<(), String> {
    let ScaffoldFile { path, package, .. } = file;
    match (path.strip_prefix('/').map(TreePath::new), package.as_str()) {
        (_, "") => Err(format!("the scaffold's {path:?} is for no package")),
        (Some(Ok(place)), _) if !place.is_root() => Ok(()),
        _ => Err(format!("the scaffold's {path:?} is no absolute path of a file")),
    }
}
