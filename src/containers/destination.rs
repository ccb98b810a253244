//! Where a layout is written: a directory or a tar file, whole or not at all.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use ::oci::{Form, Layout, Writer};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::failed;
use crate::error::{Error, Kind};

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
        Writer::create(&self.beside(), self.form).map_err(failed(&format!("write {}", self.path.display())))
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

    /// The name that it has until it is whole.
    fn beside(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(format!(".{}", std::process::id()));
        self.path.with_file_name(name)
    }

    /// Gives a layout its place.
    ///
    /// # Errors
    /// Something came there meanwhile; I/O errors.
    pub fn finish(&self, writer: Writer) -> Result<(), Error> {
        let beside = self.beside();
        writer.finish().map_err(failed(&format!("write {}", self.path.display())))?;
        let placed = self.place(&beside);
        if placed.is_err() {
            remove(&beside);
        }
        placed
    }

    fn place(&self, whole: &Path) -> Result<(), Error> {
        let io = |source: std::io::Error| Error::io(Kind::Other, "write", &self.path, source);
        match renameat_with(CWD, whole, CWD, &self.path, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            // File systems that cannot do both at once: looking first is the next best.
            Err(rustix::io::Errno::INVAL) if self.path.symlink_metadata().is_err() => {
                return fs::rename(whole, &self.path).map_err(io);
            }
            Err(rustix::io::Errno::EXIST | rustix::io::Errno::INVAL) if self.force => {}
            Err(error) => return Err(io(error.into())),
        }
        match renameat_with(CWD, whole, CWD, &self.path, RenameFlags::EXCHANGE) {
            Ok(()) => remove(whole),
            Err(_) => {
                remove(&self.path);
                fs::rename(whole, &self.path).map_err(io)?;
            }
        }
        Ok(())
    }
}

/// Best effort: what stays has a hidden name.
fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}
