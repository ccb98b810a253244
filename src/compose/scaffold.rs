//! What stands in the sandbox while packages are configured and is never part of the image: it
//! lies in a lower directory on top, so nothing has to be put back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use layers::{Tree, TreePath};

use crate::error::{Error, Kind, ResultExt};

/// Nothing is started while an image is built (Debian's invoke-rc.d(8), policy-rc.d).
const POLICY: &str = "#!/bin/sh\nexit 101\n";
/// The initial ramdisk is made once, at the end of compose.
const DEFERRED: &str = "#!/bin/sh\nexit 0\n";

/// Makes the scaffold in a directory; `deferred` is the initramfs command that packages call.
///
/// # Errors
/// I/O errors.
pub fn scaffold(directory: &Path, deferred: Option<&str>) -> Result<PathBuf, Error> {
    let root = directory.join("scaffold");
    program(&root, "usr/sbin/policy-rc.d", POLICY)?;
    if let Some(path) = deferred {
        let path = if path.contains('/') { path.to_owned() } else { format!("usr/sbin/{path}") };
        program(&root, &path, DEFERRED)?;
    }
    Ok(root)
}

fn program(root: &Path, path: &str, text: &str) -> Result<(), Error> {
    let path = TreePath::new(path).to("name a program of the scaffold")?;
    layers::make_parents(root, &path, &Tree::default()).to("make the scaffold")?;
    let host = path.under(root);
    let io = |source| Error::io(Kind::Build, "write", &host, source);
    fs::write(&host, text).map_err(io)?;
    fs::set_permissions(&host, fs::Permissions::from_mode(0o755)).map_err(io)
}
