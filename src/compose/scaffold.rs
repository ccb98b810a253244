//! What stands in the sandbox while packages are configured and is never part of the image: it
//! lies in a lower directory on top, so nothing has to be put back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use layers::{Tree, TreePath};

use super::unpack::Unpacked;
use crate::error::{Error, Kind, ResultExt};

/// Nothing is started while an image is built (Debian's invoke-rc.d(8), policy-rc.d).
const POLICY: &str = "#!/bin/sh\nexit 101\n";
/// The initial ramdisk is made once, in a step of its own.
const DEFERRED: &str = "#!/bin/sh\nexit 0\n";

/// Where a package's control files wait for a preinst that runs before dpkg knows the package.
pub const WAITING: &str = "/var/lib/dpkg/image-composer.new";

/// Adds the control files of a package to a scaffold.
///
/// # Errors
/// I/O errors; a file with a name that no tree may hold.
pub fn add_control_files(root: &Path, package: &Unpacked) -> Result<(), Error> {
    for (name, file) in &package.note.control.files {
        write(root, &format!("{WAITING}/{name}"), &file.bytes, file.mode)?;
    }
    Ok(())
}

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
    write(root, path, text.as_bytes(), 0o755)
}

fn write(root: &Path, path: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let path = TreePath::new(path).to("name a file of the scaffold")?;
    layers::make_parents(root, &path, &Tree::default()).to("make the scaffold")?;
    let host = path.under(root);
    let io = |source| Error::io(Kind::Build, "write", &host, source);
    fs::write(&host, bytes).map_err(io)?;
    fs::set_permissions(&host, fs::Permissions::from_mode(mode)).map_err(io)
}
