//! The file of a package: in the cache, or still where it can be had.

use std::path::{Path, PathBuf};

use providers::cache::CacheDir;
use providers::fetch::{self, FileRequest};

use crate::context::Context;
use crate::error::Error;

/// How a package is to be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// As its file.
    File,
    /// As its file, since no layer cache has its layer.
    FileOnly,
    /// As its layer, which is in the store.
    Layer,
}

/// The file of a package of a lock.
#[derive(Clone, Debug)]
pub struct PackageFile {
    request: FileRequest,
    path: PathBuf,
    wanted: Wanted,
}

impl PackageFile {
    /// The files of packages. Those that are wanted are in the cache then, verified.
    ///
    /// # Errors
    /// A file that cannot be had.
    pub fn all(requests: Vec<FileRequest>, wanted: &[Wanted], cx: &Context) -> Result<Vec<Self>, Error> {
        let cache = CacheDir::new(&cx.cache_directory);
        let file = |(request, wanted): (FileRequest, &Wanted)| {
            let path = cache.package(&request.sha256);
            Self { request, path, wanted: *wanted }
        };
        let all: Vec<Self> = requests.into_iter().zip(wanted).map(file).collect();
        let now = all.iter().filter(|file| file.wanted != Wanted::Layer).map(|file| file.request.clone());
        cx.fetcher.files(&now.collect::<Vec<_>>(), &cache).map_err(|error| failed(error, cx))?;
        Ok(all)
    }

    /// Where it is, or will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether layer caches have been asked for its layer already.
    pub fn was_asked_for(&self) -> bool {
        self.wanted == Wanted::FileOnly
    }

    /// Has it in the cache, verified.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn get(&self, cx: &Context) -> Result<&Path, Error> {
        if self.wanted == Wanted::Layer {
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
