//! Where a layout is written: a directory or a tar file, whole or not at all.

use std::path::PathBuf;

use ::oci::{Form, Layout, Writer};

use super::failed;
use crate::error::Error;

/// A place for a layout.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The directory or file.
    pub path: PathBuf,
    /// Which of the two.
    pub form: Form,
    /// Whether one that is there is replaced.
    pub force: bool,
}

impl Destination {
    /// By a name as people write it: a tar file where it ends with `.tar`, unless they say.
    pub fn new(path: PathBuf, form: Option<Form>, force: bool) -> Self {
        let by_name = match path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tar")) {
            true => Form::Archive,
            false => Form::Directory,
        };
        Self { path, form: form.unwrap_or(by_name), force }
    }

    /// Begins a layout. Nothing is there before [`Destination::finish`].
    ///
    /// # Errors
    /// Something is in the way that may not be replaced; the directory cannot be written.
    pub fn begin(&self) -> Result<Writer, Error> {
        if self.path.symlink_metadata().is_ok() {
            if !self.force {
                return Err(Error::other(format!("failed to write {}: it exists already", self.path.display()))
                    .hint("--force overwrites it"));
            }
            self.check_replaceable()?;
        }
        let writer = match self.force {
            true => Writer::replacing(&self.path, self.form),
            false => Writer::create(&self.path, self.form),
        };
        writer.map_err(failed(&format!("write {}", self.path.display())))
    }

    /// Only what is a layout itself, or a file, is ever replaced.
    fn check_replaceable(&self) -> Result<(), Error> {
        let is_directory = self.path.is_dir();
        if is_directory && Layout::open(&self.path).is_err() {
            return Err(Error::other(format!(
                "failed to write {}: it is a directory that holds something else",
                self.path.display()
            ))
            .hint("name a directory that is not there yet"));
        }
        Ok(())
    }

    /// Gives a layout its place.
    ///
    /// # Errors
    /// Something came there meanwhile; I/O errors.
    pub fn finish(&self, writer: Writer) -> Result<(), Error> {
        writer.finish().map_err(failed(&format!("write {}", self.path.display())))
    }
}
