//! Documents: small files whose digest is not known beforehand.

use std::fs::File;
use std::io::Read;

use reqwest::Url;

use super::attempt::Stop;
use super::{BaseUrl, DocumentUrl, Error, Fetcher, Reason, attempt, url};
use crate::error::FileError;

impl Fetcher {
    /// Fetches a document of at most `limit` bytes from the first mirror that has it; `None` when
    /// all say that there is no such file. The bytes are whatever the mirror sent: check them.
    ///
    /// # Errors
    /// [`Error::Offline`], [`Error::Cancelled`], or [`Error::Exhausted`].
    pub fn document(
        &self,
        what: &str,
        mirrors: &[BaseUrl],
        path: &str,
        limit: u64,
    ) -> Result<Option<(Vec<u8>, String)>, Error> {
        let urls: Vec<Url> = mirrors
            .iter()
            .filter(|mirror| mirror.is_local() || !self.options.offline)
            .map(|mirror| mirror.join(path))
            .collect();
        if urls.is_empty() {
            return Err(Error::Offline { missing: vec![what.into()] });
        }
        let fetched = self.runtime.block_on(self.with_mirrors(what, &urls, async |url| self.read(url, limit).await));
        match fetched {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fetches one document of at most `limit` bytes from where it is; `None` when it is not there.
    ///
    /// # Errors
    /// [`Error::Offline`], [`Error::Cancelled`], or [`Error::Exhausted`].
    pub fn document_at(&self, what: &str, url: &DocumentUrl, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        if self.options.offline && !url.is_local() {
            return Err(Error::Offline { missing: vec![what.into()] });
        }
        let urls = [url.0.clone()];
        match self.runtime.block_on(self.with_mirrors(what, &urls, async |url| self.read(url, limit).await)) {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, url: &Url, limit: u64) -> Result<Vec<u8>, Stop> {
        if let Some(path) = url::local_path(url) {
            let mut bytes = Vec::new();
            let file = open_local(&path)?;
            file.take(limit.saturating_add(1))
                .read_to_end(&mut bytes)
                .map_err(|error| Reason::Local(attempt::chain(&FileError::on("read", &path)(error))))?;
            return if bytes.len() as u64 > limit { Err(Reason::Long { limit }.into()) } else { Ok(bytes) };
        }
        let mut body = self.request(url, 0).await?;
        if body.length.is_some_and(|length| length > limit) {
            return Err(Reason::Long { limit }.into());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut body).await? {
            if (bytes.len() as u64).saturating_add(chunk.len() as u64) > limit {
                return Err(Reason::Long { limit }.into());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// Opens a regular file that a `file:` URL names.
pub(super) fn open_local(path: &std::path::Path) -> Result<File, Stop> {
    let fail = |error| Stop::from(Reason::Local(attempt::chain(&FileError::on("open", path)(error))));
    match std::fs::metadata(path) {
        // A fifo would hold us for ever.
        Ok(metadata) if !metadata.is_file() => return Err(Reason::Local("it is not a regular file".into()).into()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Reason::Missing.into()),
        Err(error) => return Err(fail(error)),
    }
    File::open(path).map_err(fail)
}
