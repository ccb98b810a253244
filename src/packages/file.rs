//! The file of a package: in the cache, or still where it can be had.

use std::path::{Path, PathBuf};

use providers::cache::CacheDir;
use providers::fetch::{self, FileRequest};

use crate::context::Context;
use crate::error::Error;

/// The file of a package of a lock.
#[derive(Clone, Debug)]
pub struct PackageFile {
    request: FileRequest,
    path: PathBuf,
    /// Its bytes are in the cache, and have been verified in this build.
    is_here: bool,
    /// Its layer was asked for, since the file was missing.
    was_asked_for: bool,
}

impl PackageFile {
    /// The files of packages. Those that `is_needed` says are in the cache then, verified. Of those that
    /// `was_asked_for` says, layer caches were asked for the layers.
    ///
    /// # Errors
    /// A file that cannot be had.
    pub fn all(
        requests: Vec<FileRequest>,
        is_needed: &[bool],
        was_asked_for: &[bool],
        cx: &Context,
    ) -> Result<Vec<Self>, Error> {
        let needed = || is_needed.iter().copied().chain(std::iter::repeat(true));
        let asked = was_asked_for.iter().copied().chain(std::iter::repeat(false));
        let at_once: Vec<FileRequest> =
            requests.iter().zip(needed()).filter(|(_, needed)| *needed).map(|(request, _)| request.clone()).collect();
        let cache = CacheDir::new(&cx.cache_directory);
        cx.fetcher.files(&at_once, &cache).map_err(|error| failed(error, cx))?;
        let file = |((request, is_here), was_asked_for): ((FileRequest, bool), bool)| {
            let path = cache.package(&request.sha256);
            Self { request, path, is_here, was_asked_for }
        };
        Ok(requests.into_iter().zip(needed()).zip(asked).map(file).collect())
    }

    /// Where it is, or will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether layer caches have been asked for its layer already.
    pub fn was_asked_for(&self) -> bool {
        self.was_asked_for
    }

    /// Has it in the cache, verified.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn get(&self, cx: &Context) -> Result<&Path, Error> {
        if !self.is_here {
            let cache = CacheDir::new(&cx.cache_directory);
            cx.fetcher.files(std::slice::from_ref(&self.request), &cache).map_err(|error| failed(error, cx))?;
        }
        Ok(&self.path)
    }
}

fn failed(error: fetch::Error, cx: &Context) -> Error {
    if cx.cancel.is_cancelled() {
        return Error::interrupted();
    }
    let hint = error.hint();
    let wrapped = Error::build("failed to fetch the packages").caused_by(error);
    match hint {
        Some(hint) => wrapped.hint(hint),
        None => wrapped,
    }
}
