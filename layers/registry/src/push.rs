//! Blobs to a registry (distribution-spec 1.1, "Pushing blobs"): in one request when they are
//! small, else in chunks, each of which is lost alone.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use layers::Sha256;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE};
use reqwest::{Method, Response, StatusCode, Url};

use crate::client::{Remote, Repository};
use crate::descriptor::digest_text;
use crate::error::{Error, FileError, Reason};
use crate::outgoing::{Outgoing, Source};
use crate::reference::Name;
use crate::request::{Access, Call, header};
use crate::retry::{Budget, Stop};

/// The type of a body that is part of a blob.
const OCTETS: &str = "application/octet-stream";
/// The largest chunk that a registry may insist on, in bytes.
const CHUNK_MAX: u64 = 1 << 30;
/// The smallest chunk that is tried when a registry finds chunks too large.
const CHUNK_MIN: u64 = 64 << 10;

/// How often another way to send a blob is tried: halving a chunk takes a few, and a registry that
/// refuses chunks in one way and the whole in another would be asked for ever.
const WAYS_MAX: u32 = 20;

/// Where the bytes of a blob are.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In a file, from the first to the last byte.
    File(PathBuf),
}

/// A blob to push.
#[derive(Debug, Clone)]
pub struct BlobPush {
    /// Its digest.
    pub digest: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes.
    pub content: Content,
    /// Repositories of the same registry that may have it, so that it need not be sent again.
    pub mount_from: Vec<Name>,
}

impl BlobPush {
    /// Of bytes in memory.
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            digest: Sha256::of(&bytes),
            size: bytes.len() as u64,
            content: Content::Bytes(bytes),
            mount_from: Vec::new(),
        }
    }
}

/// How a blob came to be at the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The repository had it.
    Present,
    /// Another repository had it.
    Mounted,
    /// It was sent.
    Sent,
}

impl Repository {
    /// Pushes blobs, several at a time; says for each how it came there, in their order.
    ///
    /// # Errors
    /// The first thing that went wrong. What is complete stays.
    pub fn push_blobs(&self, pushes: Vec<BlobPush>) -> Result<Vec<Pushed>, Error> {
        let tasks = pushes.into_iter().map(|push| {
            let remote = self.remote.clone();
            async move { remote.push_blob(&push).await }
        });
        self.run_all(tasks.collect())
    }
}

/// An upload that a registry has begun.
struct Upload {
    location: Url,
    /// The smallest chunk that the registry takes, in bytes.
    least: u64,
}

/// How the bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In chunks of at most so many bytes.
    Chunks(u64),
    /// All in the request that ends the upload.
    Whole,
}

/// What stays the same from attempt to attempt.
struct Job<'a> {
    push: &'a BlobPush,
    source: Source,
    what: String,
    access: Access,
}

impl Remote {
    async fn push_blob(&self, push: &BlobPush) -> Result<Pushed, Error> {
        let _turn = self.turn(&push.digest).await;
        let _permit = self.inner.pushes.acquire().await.map_err(|error| Error::Setup(Box::new(error)))?;
        let what = digest_text(&push.digest);
        let sentence = format!("push {what} to {}", self.place());
        self.inner.progress.started(&what, push.size);
        let pushed = if self.has(push, &sentence).await? {
            Pushed::Present
        } else if self.mount(&sentence, push).await? {
            Pushed::Mounted
        } else {
            let source = source_of(push, &sentence)?;
            let job = Job { push, source, what: what.clone(), access: self.access(true) };
            self.upload(&job, &sentence).await?;
            Pushed::Sent
        };
        self.inner.progress.finished(&what);
        Ok(pushed)
    }

    /// Whether the registry has a blob already. One of another size cannot be that blob.
    async fn has(&self, push: &BlobPush, what: &str) -> Result<bool, Error> {
        match self.look_for_blob(&push.digest).await? {
            None => Ok(false),
            Some(Some(got)) if got != push.size => {
                Err(Error::registry(what, Reason::Size { got, expected: push.size }))
            }
            Some(_) => Ok(true),
        }
    }

    /// Asks the registry to take a blob from another repository of its own.
    async fn mount(&self, what: &str, push: &BlobPush) -> Result<bool, Error> {
        for from in push.mount_from.iter().filter(|from| **from != self.name) {
            let access = Access { from: Some(from.clone()), ..self.access(true) };
            let attempt = async {
                let mut url = self.url("blobs/uploads/").await?;
                url.query_pairs_mut()
                    .append_pair("mount", &digest_text(&push.digest))
                    .append_pair("from", from.as_str());
                self.inner.send(&Call::new(Method::POST, url, &access)).await
            };
            match attempt.await {
                Ok(response) if response.status() == StatusCode::CREATED => return Ok(true),
                Ok(response) if response.status() == StatusCode::ACCEPTED => self.abandon(&response, &access).await,
                // Whatever keeps it from being mounted, sending it is the answer.
                Ok(_) | Err(Stop::Failed(..)) => {}
                Err(stop) => return Err(stop.into_error(what)),
            }
        }
        Ok(false)
    }

    /// Ends an upload that is not gone on with. Registries sweep those that stay, too.
    async fn abandon(&self, response: &Response, access: &Access) {
        if let Ok(url) = location(response) {
            let _ = self.inner.send(&Call::new(Method::DELETE, url, access)).await;
        }
    }

    async fn upload(&self, job: &Job<'_>, sentence: &str) -> Result<(), Error> {
        let chunk = self.inner.options.chunk.max(1);
        let mut way = if job.push.size <= chunk { Way::Whole } else { Way::Chunks(chunk) };
        let mut budget = Budget::new(&self.inner.options);
        let (mut moved, mut offset) = (0u64, 0u64);
        let mut upload: Option<Upload> = None;
        let mut ways_left = WAYS_MAX;
        loop {
            let stop = match self.go_on(job, &mut way, &mut upload, &mut offset, &mut moved).await {
                Ok(()) => return Ok(()),
                Err(stop) => stop,
            };
            let stop = match (&stop, way) {
                // A proxy limits requests, which is learned only by trying.
                (Stop::Failed(Reason::Status { status: 413, .. }, _), Way::Chunks(chunk))
                    if chunk > CHUNK_MIN && ways_left > 0 =>
                {
                    ways_left -= 1;
                    way = Way::Chunks((chunk / 2).max(CHUNK_MIN));
                    upload = None;
                    continue;
                }
                (Stop::Failed(Reason::Status { status: 413, .. }, _), Way::Whole)
                    if job.push.size > CHUNK_MIN && ways_left > 0 =>
                {
                    ways_left -= 1;
                    way = Way::Chunks((job.push.size / 2).max(CHUNK_MIN));
                    upload = None;
                    continue;
                }
                // Not every registry takes chunks.
                (Stop::Failed(Reason::Status { status: 400 | 405 | 411 | 415 | 501, .. }, _), Way::Chunks(_))
                    if offset == 0 && upload.is_some() && ways_left > 0 =>
                {
                    ways_left -= 1;
                    way = Way::Whole;
                    upload = None;
                    continue;
                }
                // The upload is gone, or somewhere else than we think: a new one may do.
                (Stop::Failed(Reason::Missing(_) | Reason::Status { status: 416, .. }, wait), _)
                    if upload.is_some() =>
                {
                    upload = None;
                    Stop::Failed(Reason::Connection("the registry lost the upload".into()), *wait)
                }
                _ => stop,
            };
            self.inner.again(sentence, &mut budget, stop, moved).await?;
            // The last answer may have been lost, and not what it was the answer to.
            if self.has(job.push, sentence).await? {
                return Ok(());
            }
            if let Some(open) = upload.take() {
                upload = self.resume(job, way, open, &mut offset).await?;
            }
        }
    }

    /// One attempt: from wherever the upload is to its end.
    async fn go_on(
        &self,
        job: &Job<'_>,
        way: &mut Way,
        upload: &mut Option<Upload>,
        offset: &mut u64,
        moved: &mut u64,
    ) -> Result<(), Stop> {
        let mut open = match upload.take() {
            Some(open) => open,
            None => {
                if *offset > 0 {
                    self.inner.progress.rewound(&job.what, 0);
                }
                *offset = 0;
                self.begin(job).await?
            }
        };
        if let Way::Chunks(chunk) = *way {
            let chunk = chunk.max(open.least);
            while *offset < job.push.size {
                let length = chunk.min(job.push.size.saturating_sub(*offset));
                *upload = Some(Upload { location: open.location.clone(), least: open.least });
                let response = self.patch(job, &open.location, *offset, length).await?;
                let sent_end = offset.saturating_add(length);
                // A registry may keep less than it was sent, but never more.
                let kept = range_end(&response).map_or(sent_end, |kept| kept.min(sent_end));
                *moved = moved.saturating_add(kept.saturating_sub(*offset));
                open.location = location(&response)?;
                *upload = Some(Upload { location: open.location.clone(), least: open.least });
                if kept <= *offset {
                    return Err(Reason::Connection("the registry kept nothing of a chunk".into()).into());
                }
                if kept < sent_end {
                    self.inner.progress.rewound(&job.what, kept);
                }
                *offset = kept;
            }
        }
        *upload = Some(Upload { location: open.location.clone(), least: open.least });
        self.finish(job, open.location, if *way == Way::Whole { job.push.size } else { 0 }).await
    }

    async fn begin(&self, job: &Job<'_>) -> Result<Upload, Stop> {
        let url = self.url("blobs/uploads/").await?;
        let response = self.inner.send(&Call::new(Method::POST, url, &job.access)).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.inner.refused(response).await);
        }
        let least = header(&response, "oci-chunk-min-length").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        if least > CHUNK_MAX {
            return Err(Reason::Protocol(format!("the registry wants chunks of {least} bytes")).into());
        }
        Ok(Upload { location: location(&response)?, least })
    }

    async fn patch(&self, job: &Job<'_>, location: &Url, offset: u64, length: u64) -> Result<Response, Stop> {
        let last = offset.saturating_add(length).saturating_sub(1);
        let body = self.outgoing(job, offset, length);
        let call = Call::new(Method::PATCH, location.clone(), &job.access)
            .header(CONTENT_TYPE, OCTETS)
            .header(CONTENT_RANGE, format!("{offset}-{last}"))
            .body(&body);
        let response = self.inner.send(&call).await;
        let response = match response {
            Ok(response) if matches!(response.status(), StatusCode::ACCEPTED | StatusCode::NO_CONTENT) => {
                return Ok(response);
            }
            Ok(response) => Err(self.inner.refused(response).await),
            Err(stop) => Err(stop),
        };
        self.inner.progress.rewound(&job.what, offset);
        response
    }

    async fn finish(&self, job: &Job<'_>, mut location: Url, length: u64) -> Result<(), Stop> {
        // The location may have a query of its own, which has to stay.
        location.query_pairs_mut().append_pair("digest", &digest_text(&job.push.digest));
        let body = self.outgoing(job, 0, length);
        let call = Call::new(Method::PUT, location, &job.access).header(CONTENT_TYPE, OCTETS).body(&body);
        let failed = match self.inner.send(&call).await {
            Ok(response) if response.status() == StatusCode::CREATED => {
                let got = header(&response, "docker-content-digest").and_then(crate::descriptor::read_digest);
                return match got.filter(|got| *got != job.push.digest) {
                    Some(got) => Err(Reason::Digest { got, expected: job.push.digest }.into()),
                    None => Ok(()),
                };
            }
            Ok(response) => self.inner.refused(response).await,
            Err(stop) => stop,
        };
        if length > 0 {
            self.inner.progress.rewound(&job.what, 0);
        }
        Err(failed)
    }

    /// Asks how far an upload has come. One that cannot be gone on with is given up.
    async fn resume(&self, job: &Job<'_>, way: Way, open: Upload, offset: &mut u64) -> Result<Option<Upload>, Error> {
        if way == Way::Whole {
            return Ok(None);
        }
        let call = Call::new(Method::GET, open.location.clone(), &job.access);
        let response = match self.inner.send(&call).await {
            Ok(response) if response.status().is_success() => response,
            Err(Stop::Fatal(error)) => return Err(error),
            Ok(_) | Err(Stop::Failed(..)) => return Ok(None),
        };
        let (Some(kept), Ok(location)) = (range_end(&response), location(&response)) else { return Ok(None) };
        if kept > job.push.size {
            return Ok(None);
        }
        if kept != *offset {
            self.inner.progress.rewound(&job.what, kept);
        }
        *offset = kept;
        Ok(Some(Upload { location, least: open.least }))
    }

    fn outgoing(&self, job: &Job<'_>, start: u64, length: u64) -> Outgoing {
        Outgoing::part(&job.source, start, length, Some((self.inner.progress.clone(), job.what.clone())))
    }
}

fn source_of(push: &BlobPush, what: &str) -> Result<Source, Error> {
    let (source, got) = match &push.content {
        Content::Bytes(bytes) => (Source::Memory(bytes.clone()), bytes.len() as u64),
        Content::File(path) => {
            let file = File::open(path).map_err(FileError::on("open", path))?;
            let length = file.metadata().map_err(FileError::on("look at", path))?.len();
            (Source::File(Arc::new(file)), length)
        }
    };
    if got == push.size { Ok(source) } else { Err(Error::registry(what, Reason::Size { got, expected: push.size })) }
}

/// Where an upload goes on.
fn location(response: &Response) -> Result<Url, Reason> {
    header(response, "location")
        .and_then(|target| response.url().join(target).ok())
        .ok_or_else(|| Reason::Protocol("an upload without a place to go on".into()))
}

/// How many bytes a registry has: one more than the last position of `Range: 0-LAST`. Registries
/// that have none say `0-0`, so that one byte cannot be told from none, and counts as none.
fn range_end(response: &Response) -> Option<u64> {
    let text = header(response, "range")?;
    let text = text.strip_prefix("bytes=").unwrap_or(text);
    let (first, last) = text.split_once('-')?;
    match (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}
