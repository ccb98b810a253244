//! A package's control files, where its preinst finds them before dpkg knows the package.

use std::path::Path;

use layers::Tree;

use super::unpack::Unpacked;
use crate::compose::scaffold::write;
use crate::error::Error;

/// Where they wait.
pub const WAITING: &str = "/var/lib/dpkg/image-composer.new";

/// Adds the control files of a package to a scaffold.
///
/// # Errors
/// I/O errors; a file with a name that no tree may hold.
pub fn add_control_files(root: &Path, package: &Unpacked) -> Result<(), Error> {
    for (name, file) in &package.note.control.files {
        write(root, &format!("{WAITING}/{name}"), &file.bytes, file.mode, &Tree::default())?;
    }
    Ok(())
}
