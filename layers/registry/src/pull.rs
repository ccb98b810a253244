//! Blobs from a registry (distribution-spec 1.1, "Pulling blobs").

use std::path::PathBuf;

use layers::Sha256;
use reqwest::header::RANGE;
use reqwest::{Method, Response, StatusCode};

use crate::client::{Remote, Repository};
use crate::descriptor::{Descriptor, digest_text};
use crate::error::{Error, FileError, Reason};
use crate::partial::Partial;
use crate::request::{Call, Pace, header};
use crate::retry::{Budget, Stop};

/// A blob that is wanted as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPull {
    /// Its digest.
    pub digest: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// Where it is to be. Beside it, `NAME.part` is what an interrupted pull leaves for the next.
    pub target: PathBuf,
}

impl Repository {
    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// The registry does not answer.
    pub fn has_blob(&self, digest: &Sha256) -> Result<bool, Error> {
        Ok(self.block_on(self.remote.look_for_blob(digest))?.is_some())
    }

    /// Pulls blobs into files, several at a time. A file is there under its name only when it has
    /// the size and digest that it should have.
    ///
    /// # Errors
    /// The first thing that went wrong; what has come is there, and goes on where it stopped.
    pub fn pull_blobs(&self, pulls: Vec<BlobPull>) -> Result<(), Error> {
        let tasks = pulls.into_iter().map(|pull| {
            let remote = self.remote.clone();
            async move { remote.pull_blob(&pull).await }
        });
        self.run_all(tasks.collect()).map(|_| ())
    }

    /// Pulls a small blob into memory; one of more than `limit` bytes is refused unasked.
    ///
    /// # Errors
    /// It is not there, larger than stated or allowed, or not what its digest says.
    pub fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        self.block_on(self.remote.read_blob(descriptor, limit))
    }
}

impl Remote {
    /// The size in bytes of a blob, if the registry says one; `None` when there is no such blob.
    pub(crate) async fn look_for_blob(&self, digest: &Sha256) -> Result<Option<Option<u64>>, Error> {
        let what = format!("look for {} at {}", digest_text(digest), self.place());
        let access = self.access(false);
        let mut budget = Budget::new(&self.inner.options);
        loop {
            let attempt = async {
                let url = self.url(&format!("blobs/{}", digest_text(digest))).await?;
                let response = self.inner.send(&Call::new(Method::HEAD, url, &access)).await?;
                match response.status() {
                    StatusCode::OK => Ok(Some(header(&response, "content-length").and_then(|text| text.parse().ok()))),
                    StatusCode::NOT_FOUND => Ok(None),
                    _ => Err(self.inner.refused(response).await),
                }
            };
            match attempt.await {
                Ok(size) => return Ok(size),
                Err(stop) => self.inner.again(&what, &mut budget, stop, 0).await?,
            }
        }
    }

    async fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        let (digest, size) = (descriptor.digest, descriptor.size);
        let what = format!("pull {} from {}", digest_text(&digest), self.place());
        if size > limit {
            return Err(Error::registry(&what, Reason::Long { limit }));
        }
        let mut budget = Budget::new(&self.inner.options);
        loop {
            let attempt = async {
                let response = self.get_blob(&digest, 0).await?;
                if response.status() != StatusCode::OK {
                    return Err(self.inner.refused(response).await);
                }
                if let Some(got) = response.content_length().filter(|got| *got != size) {
                    return Err(Reason::Size { got, expected: size }.into());
                }
                let bytes = self.inner.body(response, size).await?;
                if bytes.len() as u64 != size {
                    return Err(Reason::Short { got: bytes.len() as u64, expected: size }.into());
                }
                let got = Sha256::of(&bytes);
                if got == digest { Ok(bytes) } else { Err(Reason::Digest { got, expected: digest }.into()) }
            };
            match attempt.await {
                Ok(bytes) => return Ok(bytes),
                Err(stop) => self.inner.again(&what, &mut budget, stop, 0).await?,
            }
        }
    }

    async fn get_blob(&self, digest: &Sha256, offset: u64) -> Result<Response, Stop> {
        let access = self.access(false);
        let url = self.url(&format!("blobs/{}", digest_text(digest))).await?;
        let mut call = Call::new(Method::GET, url, &access);
        if offset > 0 {
            call = call.header(RANGE, format!("bytes={offset}-"));
        }
        self.inner.send(&call).await
    }

    async fn pull_blob(&self, pull: &BlobPull) -> Result<(), Error> {
        let _permit = self.inner.pulls.acquire().await.map_err(|error| Error::Setup(Box::new(error)))?;
        let what = digest_text(&pull.digest);
        let sentence = format!("pull {what} from {}", self.place());
        let mut partial = Partial::open(&pull.target, pull.size)?;
        self.inner.progress.started(&what, pull.size);
        if partial.length > 0 {
            self.inner.progress.advanced(&what, partial.length);
        }
        let mut budget = Budget::new(&self.inner.options);
        let mut moved = 0u64;
        loop {
            let stop = match self.attempt(pull, &what, &mut partial, &mut moved).await {
                Ok(()) => break,
                Err(stop) => stop,
            };
            // What an earlier run left may be the fault; it has been thrown away, so that this
            // happens once.
            if matches!(stop, Stop::Failed(Reason::Digest { .. }, _)) && partial.resumed {
                self.rewind(&what, &mut partial)?;
                continue;
            }
            if let Err(error) = self.inner.again(&sentence, &mut budget, stop, moved).await {
                // Bytes that are known to be wrong are of no use to anybody.
                if matches!(error.reason(), Some(Reason::Digest { .. } | Reason::Long { .. } | Reason::Size { .. })) {
                    partial.truncate()?;
                }
                return Err(error);
            }
        }
        partial.publish(&pull.target)?;
        self.inner.progress.finished(&what);
        Ok(())
    }

    fn rewind(&self, what: &str, partial: &mut Partial) -> Result<(), FileError> {
        if partial.length > 0 {
            partial.truncate()?;
            self.inner.progress.rewound(what, 0);
        }
        Ok(())
    }

    async fn attempt(&self, pull: &BlobPull, what: &str, partial: &mut Partial, moved: &mut u64) -> Result<(), Stop> {
        if partial.length < pull.size || pull.size == 0 {
            let mut response = self.get_blob(&pull.digest, partial.length).await?;
            self.place_of(&response, pull, what, partial)?;
            if !response.status().is_success() {
                if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && partial.length > 0 {
                    self.rewind(what, partial)?;
                    return Err(Reason::Connection("the registry has no such range".into()).into());
                }
                return Err(self.inner.refused(response).await);
            }
            let mut pace = Pace::new();
            while let Some(bytes) = self.inner.chunk(&mut response).await? {
                let count = bytes.len() as u64;
                pace.step(&self.inner.options, count)?;
                if partial.length.saturating_add(count) > pull.size {
                    return Err(Reason::Long { limit: pull.size }.into());
                }
                partial.append(&bytes)?;
                *moved = moved.saturating_add(count);
                self.inner.progress.advanced(what, count);
            }
        }
        if partial.length < pull.size {
            return Err(Reason::Short { got: partial.length, expected: pull.size }.into());
        }
        let got = partial.digest();
        if got != pull.digest {
            return Err(Reason::Digest { got, expected: pull.digest }.into());
        }
        Ok(())
    }

    /// Looks where in the blob the bytes of an answer belong (RFC 9110, section 14.4).
    fn place_of(&self, response: &Response, pull: &BlobPull, what: &str, partial: &mut Partial) -> Result<(), Stop> {
        match response.status() {
            StatusCode::OK => {
                if let Some(got) = response.content_length().filter(|got| *got != pull.size) {
                    return Err(Reason::Size { got, expected: pull.size }.into());
                }
                // The registry does not do ranges: everything comes again.
                self.rewind(what, partial)?;
                Ok(())
            }
            StatusCode::PARTIAL_CONTENT => {
                let start = header(response, "content-range")
                    .and_then(|text| text.strip_prefix("bytes ")?.split('-').next()?.trim().parse::<u64>().ok());
                if start == Some(partial.length) && partial.length > 0 {
                    return Ok(());
                }
                self.rewind(what, partial)?;
                Err(Reason::Connection("the registry answered with another range than asked for".into()).into())
            }
            _ => Ok(()),
        }
    }
}
