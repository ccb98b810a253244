//! One request to one mirror, and the rule by which mirrors are asked again.

use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};

use super::{Error, Failure, Fetcher, LONGEST_WAIT, Reason, url};

/// How often the cancel flag is looked at.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// How one attempt ended, when not well.
pub(super) enum Stop {
    /// This mirror failed; the wait is one that the server asked for.
    Mirror(Reason, Option<Duration>),
    /// Nothing more is to be tried.
    Fatal(Error),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Mirror(reason, None)
    }
}

impl From<crate::error::FileError> for Stop {
    fn from(error: crate::error::FileError) -> Self {
        Self::Fatal(error.into())
    }
}

/// The body of an answer, read with a watch on its speed.
pub(super) struct Body {
    response: Response,
    /// The offset of its first byte in the file.
    pub(super) offset: u64,
    /// How many bytes the server says it has.
    pub(super) length: Option<u64>,
    window_start: Instant,
    window_bytes: u64,
}

impl Fetcher {
    /// Asks for a URL, from byte `offset` on if the server can.
    pub(super) async fn request(&self, url: &Url, offset: u64) -> Result<Body, Stop> {
        let mut url = url.clone();
        // The plain client stops at a redirect to https, which the other one then follows.
        for _ in 0..2 {
            let client = self.clients.of(&url).map_err(|sentence| Stop::from(Reason::Connection(sentence)))?;
            let mut request = client.get(url.clone());
            if offset > 0 {
                request = request.header(RANGE, format!("bytes={offset}-"));
            }
            let response = self
                .unless_stalled(request.send())
                .await?
                .map_err(|error| Stop::from(Reason::Connection(chain(&error.without_url()))))?;
            if response.status().is_redirection()
                && let Some(target) = response.headers().get(LOCATION).and_then(|value| value.to_str().ok())
                && let Ok(next) = response.url().join(target)
                && next.scheme() == "https"
            {
                url = next;
                continue;
            }
            return accept(response, offset);
        }
        Err(Reason::Connection("too many redirects".into()).into())
    }

    /// The next bytes of a body; `None` at its end.
    pub(super) async fn chunk(&self, body: &mut Body) -> Result<Option<bytes::Bytes>, Stop> {
        let chunk = self
            .unless_stalled(body.response.chunk())
            .await?
            .map_err(|error| Stop::from(Reason::Connection(chain(&error.without_url()))))?;
        if let Some(bytes) = &chunk {
            body.window_bytes = body.window_bytes.saturating_add(bytes.len() as u64);
            let elapsed = body.window_start.elapsed();
            if elapsed >= self.options.stall {
                if body.window_bytes < self.options.slowest.saturating_mul(elapsed.as_secs()) {
                    return Err(Reason::Stalled(elapsed).into());
                }
                body.window_start = Instant::now();
                body.window_bytes = 0;
            }
        }
        Ok(chunk)
    }

    /// Waits for something, but not longer than a mirror may stay silent, and not after the cancel
    /// flag is raised.
    async fn unless_stalled<T>(&self, future: impl Future<Output = T>) -> Result<T, Stop> {
        let cancelled = async {
            while !self.options.cancel.is_cancelled() {
                tokio::time::sleep(CANCEL_POLL).await;
            }
        };
        tokio::select! {
            biased;
            () = cancelled => Err(Stop::Fatal(Error::Cancelled)),
            result = tokio::time::timeout(self.options.stall, future) => {
                result.map_err(|_| Reason::Stalled(self.options.stall).into())
            }
        }
    }

    /// Asks the mirrors in turn until one attempt succeeds. A mirror whose failure will not pass is
    /// not asked again; when all that are left have failed, waits, longer from round to round.
    pub(super) async fn with_mirrors<T>(
        &self,
        what: &str,
        urls: &[Url],
        mut attempt: impl AsyncFnMut(&Url) -> Result<T, Stop>,
    ) -> Result<(T, String), Error> {
        let mut failed: Vec<Option<Reason>> = urls.iter().map(|_| None).collect();
        let mut wait = self.options.first_wait;
        for round in 0..=self.options.retries {
            let mut asked_wait = Duration::ZERO;
            let mut tried = false;
            for (url, last) in urls.iter().zip(failed.iter_mut()) {
                if last.as_ref().is_some_and(|reason| !reason.may_pass()) {
                    continue;
                }
                if self.options.cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                tried = true;
                match attempt(url).await {
                    Ok(value) => return Ok((value, url::shown(url))),
                    Err(Stop::Fatal(error)) => return Err(error),
                    Err(Stop::Mirror(reason, server_wait)) => {
                        tracing::debug!(what, url = url::shown(url), %reason, "a mirror failed");
                        // Not everything that is asked for has to be there, and asking again does not help.
                        if !matches!(reason, Reason::Missing) {
                            self.progress.retried(what, &url::shown(url), &reason.to_string());
                        }
                        asked_wait = asked_wait.max(server_wait.unwrap_or_default());
                        *last = Some(reason);
                    }
                }
            }
            let hopeless = failed.iter().all(|reason| reason.as_ref().is_some_and(|reason| !reason.may_pass()));
            if !tried || hopeless || round == self.options.retries {
                break;
            }
            self.pause(wait.max(asked_wait).min(LONGEST_WAIT)).await?;
            wait = wait.saturating_mul(2);
        }
        let attempts = urls
            .iter()
            .zip(failed)
            .filter_map(|(url, reason)| reason.map(|reason| Failure { url: url::shown(url), reason }))
            .collect();
        Err(Error::Exhausted { what: what.into(), attempts })
    }

    async fn pause(&self, wait: Duration) -> Result<(), Error> {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if self.options.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            tokio::time::sleep(CANCEL_POLL.min(wait)).await;
        }
        Ok(())
    }
}

/// Looks at status and headers (RFC 9110, sections 14.4 and 15).
fn accept(response: Response, asked: u64) -> Result<Body, Stop> {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let offset = match status {
        // The server does not do ranges: everything comes again.
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT if asked > 0 => {
            let start = header(CONTENT_RANGE).and_then(range_start);
            if start != Some(asked) {
                return Err(Reason::Connection("the server answered with another range than asked for".into()).into());
            }
            asked
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Reason::Missing.into()),
        _ => {
            let wait = header(RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
            return Err(Stop::Mirror(Reason::Status(status.as_u16()), wait));
        }
    };
    let length = header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
    Ok(Body { response, offset, length, window_start: Instant::now(), window_bytes: 0 })
}

/// The first position of `bytes FIRST-LAST/LENGTH`.
fn range_start(text: &str) -> Option<u64> {
    text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// An error and its causes in one line: what a connection failed of is in the last of them.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
