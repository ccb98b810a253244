//! Where a layout is written: a directory or a tar file, whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use ::oci::layout::place::{hidden, is_mount_point, place};
use ::oci::{Form, Layout, Writer};

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
        // Links, `.` and `..` have no place that something else could take.
        let path = path.canonicalize().unwrap_or_else(|_| path.components().collect());
        Self { path, form: form.unwrap_or(by_name), force }
    }

    /// Begins a layout. Nothing is there before [`Destination::finish`].
    ///
    /// # Errors
    /// Something is in the way that may not be replaced; the directory cannot be written.
    pub fn begin(&self) -> Result<Writer, Error> {
        if self.path.file_name().is_none() {
            return Err(Error::usage(format!("'{}' is no name of a directory or file", self.path.display())));
        }
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
        let io = |source| Error::io(Kind::Other, "look at", &self.path, source);
        if is_mount_point(&self.path).map_err(io)? {
            return Err(Error::other(format!("failed to write {}: something is mounted there", self.path.display()))
                .hint("name a directory below it"));
        }
        if !may_go(&self.path) {
            return Err(Error::other(format!(
                "failed to write {}: it is a directory that holds something else",
                self.path.display()
            ))
            .hint("name a directory that is not there yet"));
        }
        Ok(())
    }

    /// The name that it has until it has its place.
    fn beside(&self) -> PathBuf {
        hidden(&self.path, "new")
    }

    /// Gives a layout its place. What cannot get it is kept beside it.
    ///
    /// # Errors
    /// Something came there meanwhile; I/O errors.
    pub fn finish(&self, writer: Writer) -> Result<(), Error> {
        let beside = self.beside();
        let sentence = format!("write {}", self.path.display());
        writer.finish().map_err(failed(&sentence))?;
        let may_go = |path: &Path| self.force && may_go(path);
        let is_replaced = place(&beside, &self.path, &may_go).map_err(|error| {
            failed(&sentence)(error).hint(format!("what was to be written is whole, and kept as {}", beside.display()))
        })?;
        if is_replaced {
            remove(&beside);
        }
        Ok(())
    }
}

/// Whether a path holds nothing that could be missed by who said `--force`: a layout, or a file.
fn may_go(path: &Path) -> bool {
    !path.is_dir() || Layout::open(path).is_ok()
}

/// Removes what was replaced. It is no failure of the command if that fails, and is told.
fn remove(path: &Path) {
    let is_directory = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    if let Err(error) = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) } {
        tracing::warn!("failed to remove what was replaced, {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(destination: &Destination, name: &str) -> Result<(), Error> {
        let mut writer = destination.begin()?;
        let kind = ::oci::oci_spec::image::MediaType::ImageManifest;
        let descriptor = writer.blob(kind, &mut name.as_bytes()).unwrap();
        writer.add(descriptor, Some(name));
        destination.finish(writer)
    }

    fn name(path: &Path) -> String {
        let layout = Layout::open(path).unwrap();
        let named = layout.index().manifests()[0].annotations().clone().unwrap();
        named.into_values().next().unwrap()
    }

    #[test]
    fn a_layout_is_replaced_and_nothing_else_is_lost() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let count = || fs::read_dir(&home).unwrap().count();
        for form in [Form::Directory, Form::Archive] {
            let at = home.join("image");
            let to = |force| Destination::new(at.clone(), Some(form), force);
            write(&to(false), "one").unwrap();
            assert!(write(&to(false), "two").is_err());
            write(&to(true), "two").unwrap();
            assert_eq!((name(&at).as_str(), count()), ("two", 1));
            remove(&at);
        }
        // As it is named by who is in it, and through a link.
        let at = home.join("image");
        write(&Destination::new(at.clone(), None, false), "one").unwrap();
        for path in [at.join("."), at.join("blobs/.."), home.join("link")] {
            let _ = std::os::unix::fs::symlink("image", home.join("link"));
            write(&Destination::new(path.clone(), None, true), &path.display().to_string()).unwrap();
            assert_eq!((name(&at), count()), (path.display().to_string(), 2));
        }
        assert!(home.join("link").is_symlink());
        let nowhere = Destination::new(home.join("none/.."), None, true);
        assert!(write(&nowhere, "three").unwrap_err().to_string().contains("no name"));
    }

    #[test]
    fn what_came_meanwhile_stays_and_what_was_written_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().canonicalize().unwrap().join("image");
        for force in [false, true] {
            let destination = Destination::new(at.clone(), None, force);
            let writer = destination.begin().unwrap();
            fs::create_dir(&at).unwrap();
            fs::write(at.join("precious"), b"").unwrap();
            let error = destination.finish(writer).unwrap_err();
            let hint = error.hint_text().unwrap().to_owned();
            let kept = PathBuf::from(hint.rsplit(' ').next().unwrap());
            Layout::open(&kept).unwrap();
            assert!(at.join("precious").exists());
            remove(&kept);
            remove(&at);
        }
        let mounted = Destination::new("/proc".into(), None, true);
        assert!(write(&mounted, "one").unwrap_err().to_string().contains("mounted"));
    }
}
