//! Files of known digest: from the cache if it has them, else from the mirrors into the cache.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use futures_util::stream::{self, StreamExt as _};
use layers::Sha256;
use rayon::prelude::*;
use reqwest::Url;

use super::attempt::Stop;
use super::document::open_local;
use super::partial::{Partial, sweep};
use super::{BaseUrl, Error, Fetcher, Reason, attempt, url};
use crate::cache::{CacheDir, digest_file};
use crate::error::FileError;

/// Bytes copied at once from a `file:` URL.
pub(super) const COPY_BLOCK: usize = 256 * 1024;

/// A file to be had, with what a verified index or a lock says about it.
#[derive(Debug, Clone)]
pub struct FileRequest {
    /// What people know it by, such as `bash 5.2.37-2 (amd64)`.
    pub what: String,
    /// Repositories or mirrors, in order of preference.
    pub mirrors: Vec<BaseUrl>,
    /// Paths below each of them, in order of preference.
    pub paths: Vec<String>,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256,
}

impl Fetcher {
    /// Has all files in the cache, verified, and gives their paths in the order asked for.
    ///
    /// What the cache holds is hashed again, in parallel; what is damaged is dropped and fetched.
    ///
    /// # Errors
    /// The first file that cannot be had ends the call; what has arrived stays for the next.
    pub fn files(&self, requests: &[FileRequest], cache: &CacheDir) -> Result<Vec<PathBuf>, Error> {
        self.files_into(requests, &cache.packages(), &cache.partial())
    }

    /// As [`Fetcher::files`], into a directory whose entries are named by their SHA-256.
    pub(crate) fn files_into(
        &self,
        requests: &[FileRequest],
        kept: &Path,
        growing: &Path,
    ) -> Result<Vec<PathBuf>, Error> {
        for directory in [kept, growing] {
            fs::create_dir_all(directory).map_err(FileError::on("create directory", directory))?;
        }
        if let Err(error) = sweep(growing) {
            tracing::debug!(%error, "interrupted downloads could not be swept");
        }
        // One digest asked for twice is fetched once.
        let mut wanted: BTreeMap<Sha256, &FileRequest> = BTreeMap::new();
        for request in requests {
            let known = wanted.entry(request.sha256).or_insert(request);
            if known.size != request.size {
                return Err(Error::TwoSizes { what: request.what.clone(), one: known.size, other: request.size });
            }
        }
        let present: Vec<(&FileRequest, bool)> = wanted
            .par_iter()
            .map(|(_, request)| {
                if self.options.cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                Ok((*request, self.hit(request, kept)?))
            })
            .collect::<Result<_, Error>>()?;
        let missing: Vec<&FileRequest> = present.iter().filter(|(_, hit)| !hit).map(|(request, _)| *request).collect();
        if self.options.offline {
            let unreachable: Vec<String> = missing
                .iter()
                .filter(|request| !request.mirrors.iter().any(BaseUrl::is_local))
                .map(|request| request.what.clone())
                .collect();
            if !unreachable.is_empty() {
                return Err(Error::Offline { missing: unreachable });
            }
        }
        self.runtime.block_on(async {
            let mut running = stream::iter(missing)
                .map(|request| self.fetch(request, kept, growing))
                .buffer_unordered(self.options.parallel.get());
            while let Some(result) = running.next().await {
                result?;
            }
            Ok::<(), Error>(())
        })?;
        Ok(requests.iter().map(|request| kept.join(request.sha256.to_hex())).collect())
    }

    /// Whether the cache has it, undamaged.
    fn hit(&self, request: &FileRequest, kept: &Path) -> Result<bool, Error> {
        let path = kept.join(request.sha256.to_hex());
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(FileError::on("open", &path)(error).into()),
        };
        let length = file.metadata().map_err(FileError::on("look at", &path))?.len();
        let good = length == request.size && {
            let (digest, _) = digest_file(&mut file).map_err(FileError::on("read", &path))?;
            digest == request.sha256
        };
        if good {
            self.progress.finished(&request.what, None);
        } else {
            tracing::warn!(what = request.what, path = %path.display(), "a damaged file in the cache is dropped");
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::on("remove", &path)(error).into());
                }
                _ => {}
            }
        }
        Ok(good)
    }

    async fn fetch(&self, request: &FileRequest, kept: &Path, growing: &Path) -> Result<(), Error> {
        let usable = || request.mirrors.iter().filter(|mirror| mirror.is_local() || !self.options.offline);
        let urls: Vec<Url> =
            request.paths.iter().flat_map(|path| usable().map(move |mirror| mirror.join(path))).collect();
        self.progress.started(&request.what, Some(request.size));
        let mut partial = Partial::open(growing, request)?;
        self.progress.advanced(&request.what, partial.length);
        let fetched = self.with_mirrors(&request.what, &urls, async |url| {
            match self.receive(url, request, &mut partial).await {
                // Bytes of an earlier run or another mirror may be to blame: once more from zero.
                Err(Stop::Mirror(Reason::Digest { .. } | Reason::Status(416), _)) if partial.resumed => {
                    self.restart(request, &mut partial)?;
                    self.receive(url, request, &mut partial).await
                }
                result => result,
            }
        });
        let from = match fetched.await {
            Ok(((), from)) => from,
            Err(error) => {
                partial.keep_if_useful();
                return Err(error);
            }
        };
        partial.publish(&kept.join(request.sha256.to_hex()))?;
        self.progress.finished(&request.what, Some(&from));
        Ok(())
    }

    fn restart(&self, request: &FileRequest, partial: &mut Partial) -> Result<(), FileError> {
        self.progress.restarted(&request.what);
        partial.truncate()
    }

    /// Receives what is still missing, from one mirror, and checks the whole.
    async fn receive(&self, url: &Url, request: &FileRequest, partial: &mut Partial) -> Result<(), Stop> {
        partial.resumed = partial.length > 0;
        if let Some(path) = url::local_path(url) {
            self.copy_local(&path, request, partial)?;
        } else if partial.length < request.size || request.size == 0 {
            let mut body = self.request(url, partial.length).await?;
            if body.offset == 0 && partial.length > 0 {
                self.restart(request, partial)?;
            }
            if body.length.is_some_and(|length| length > request.size.saturating_sub(body.offset)) {
                return Err(Reason::Long { limit: request.size }.into());
            }
            while let Some(chunk) = self.chunk(&mut body).await? {
                self.take(&chunk, request, partial)?;
            }
        }
        if partial.length < request.size {
            return Err(Reason::Short { got: partial.length, expected: request.size }.into());
        }
        let got = partial.digest();
        if got != request.sha256 {
            if !partial.resumed {
                self.restart(request, partial)?;
            }
            return Err(Reason::Digest { got, expected: request.sha256 }.into());
        }
        Ok(())
    }

    fn take(&self, bytes: &[u8], request: &FileRequest, partial: &mut Partial) -> Result<(), Stop> {
        if partial.length.saturating_add(bytes.len() as u64) > request.size {
            self.restart(request, partial)?;
            return Err(Reason::Long { limit: request.size }.into());
        }
        partial.append(bytes)?;
        self.progress.advanced(&request.what, bytes.len() as u64);
        Ok(())
    }

    fn copy_local(&self, path: &Path, request: &FileRequest, partial: &mut Partial) -> Result<(), Stop> {
        let mut source = open_local(path)?;
        self.restart(request, partial)?;
        let mut block = vec![0u8; COPY_BLOCK];
        loop {
            if self.options.cancel.is_cancelled() {
                return Err(Stop::Fatal(Error::Cancelled));
            }
            let count = match source.read(&mut block) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Reason::Local(attempt::chain(&FileError::on("read", path)(error))).into());
                }
            };
            if count == 0 {
                return Ok(());
            }
            self.take(block.get(..count).unwrap_or_default(), request, partial)?;
        }
    }
}
