//! One request: who may see the credentials, where redirects may lead, how long it may take.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, Response, StatusCode, Url};

use crate::client::Inner;
use crate::connection::{failure, same_origin, shown};
use crate::error::{Error, Reason, Refusals};
use crate::options::Options;
use crate::outgoing::Outgoing;
use crate::reference::{Host, Name, is_loopback};
use crate::retry::Stop;

/// How often the cancel flag is looked at.
pub(crate) const CANCEL_POLL: Duration = Duration::from_millis(50);
/// Redirects followed before giving up: a registry needs one, its storage perhaps another.
const MAX_REDIRECTS: usize = 5;
/// Bytes of an error's body that are read.
const ERROR_MAX: u64 = 64 << 10;

/// What a request may do, which is what a token is asked for.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) host: Host,
    pub(crate) name: Option<Name>,
    pub(crate) push: bool,
    /// A repository that a blob is mounted from.
    pub(crate) from: Option<Name>,
}

impl Access {
    /// The scopes of a token (distribution's token specification, "Requesting a Token").
    pub(crate) fn scopes(&self) -> Vec<String> {
        let actions = if self.push { "pull,push" } else { "pull" };
        let own = self.name.as_ref().map(|name| format!("repository:{name}:{actions}"));
        let from = self.from.as_ref().map(|name| format!("repository:{name}:pull"));
        own.into_iter().chain(from).collect()
    }
}

/// A request.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Option<&'a Outgoing>,
    pub(crate) access: &'a Access,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, url: Url, access: &'a Access) -> Self {
        Self { method, url, headers: Vec::new(), body: None, access }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: &'a Outgoing) -> Self {
        self.body = Some(body);
        self
    }
}

impl Inner {
    /// Sends a request, with credentials if the registry wants them; a 401 is answered once. The
    /// status of the answer is the caller's to judge.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Response, Stop> {
        let base = self.base(&call.access.host).await?;
        let mut renewed = false;
        loop {
            let authorization = self.authorization(call.access, &base).await?;
            let response = self.follow(&base, call, authorization.as_ref()).await?;
            let is_ours = same_origin(response.url(), &base);
            if response.status() == StatusCode::UNAUTHORIZED && is_ours {
                let challenges: Vec<String> = response
                    .headers()
                    .get_all(WWW_AUTHENTICATE)
                    .iter()
                    .filter_map(|value| value.to_str().ok().map(str::to_owned))
                    .collect();
                let refusals = self.refusals(response).await?;
                if renewed {
                    let had = self.has_credential(call.access).await;
                    return Err(Reason::Unauthorized { had, refusals }.into());
                }
                self.renew(call.access, &base, &challenges, authorization.as_ref(), refusals).await?;
                renewed = true;
                continue;
            }
            return Ok(response);
        }
    }

    /// Sends a request and follows redirects. Credentials go to the registry only: to no other
    /// host, and to none after another host had a say.
    async fn follow(&self, base: &Url, call: &Call<'_>, authorization: Option<&HeaderValue>) -> Result<Response, Stop> {
        let mut url = call.url.clone();
        let mut at_home = same_origin(&url, base);
        self.may_go(base, &url)?;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.clients.of(&url)?.request(call.method.clone(), url.clone());
            for (name, value) in &call.headers {
                request = request.header(name, value);
            }
            if let Some(authorization) = authorization.filter(|_| at_home) {
                request = request.header(AUTHORIZATION, authorization);
            }
            if let Some(body) = call.body {
                request = request.header(CONTENT_LENGTH, body.length).body(body.body());
            } else if call.method != Method::GET && call.method != Method::HEAD {
                request = request.header(CONTENT_LENGTH, 0).body(Bytes::new());
            }
            let reads = call.method == Method::GET || call.method == Method::HEAD;
            let response = self.watched(request.send(), reads, call.body).await?.map_err(failure)?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let next = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok())
                .and_then(|target| response.url().join(target).ok())
                .ok_or_else(|| Reason::Protocol("a redirect without a place to go".into()))?;
            self.may_go(base, &next)?;
            if !reads {
                let to = shown(&next);
                return Err(Reason::Unsafe { to, why: "but what is written is not sent elsewhere" }.into());
            }
            at_home = at_home && same_origin(&next, base);
            url = next;
        }
        Err(Reason::Protocol(format!("more than {MAX_REDIRECTS} redirects")).into())
    }

    /// Whether a registry may lead there: not from https to where everybody can read.
    fn may_go(&self, base: &Url, url: &Url) -> Result<(), Stop> {
        let host = url.host_str().unwrap_or_default();
        let refuse = |why| Err(Reason::Unsafe { to: shown(url), why }.into());
        match url.scheme() {
            "https" => Ok(()),
            "http" if base.scheme() == "http" => {
                let stays = is_loopback(base.host_str().unwrap_or_default()) && !is_loopback(host);
                if stays && !self.is_insecure_url(url) {
                    return refuse("which is plain http and not on this machine");
                }
                Ok(())
            }
            "http" => refuse("which is plain http"),
            _ => refuse("which is not http or https"),
        }
    }

    /// Waits for something, but not after the cancel flag is raised, and not for longer than an
    /// upload may stand still or an answer may take.
    pub(crate) async fn watched<T>(
        &self,
        future: impl Future<Output = T>,
        reads: bool,
        outgoing: Option<&Outgoing>,
    ) -> Result<T, Stop> {
        let left = |sent: u64| outgoing.is_some_and(|body| sent < body.length);
        let sent = || outgoing.map_or(0, Outgoing::sent);
        let mut window = (Instant::now(), sent());
        let mut was_left = left(window.1);
        let mut tick = tokio::time::interval(CANCEL_POLL);
        tokio::pin!(future);
        loop {
            tokio::select! {
                biased;
                result = &mut future => return Ok(result),
                _ = tick.tick() => {}
            }
            if self.options.cancel.is_cancelled() {
                return Err(Error::Cancelled.into());
            }
            let now_sent = sent();
            let is_left = left(now_sent);
            if was_left && !is_left {
                window = (Instant::now(), now_sent);
            }
            was_left = is_left;
            let limit = if reads || is_left { self.options.stall } else { self.options.answer };
            let elapsed = window.0.elapsed();
            if elapsed >= limit {
                let enough = self.options.slowest.saturating_mul(elapsed.as_secs()).max(1);
                if now_sent.saturating_sub(window.1) < enough {
                    return Err(Reason::Stalled(limit).into());
                }
                window = (Instant::now(), now_sent);
            }
        }
    }

    /// The next bytes of a body; `None` at its end.
    pub(crate) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, Stop> {
        Ok(self.watched(response.chunk(), true, None).await?.map_err(failure)?)
    }

    /// A whole body of at most `limit` bytes.
    pub(crate) async fn body(&self, mut response: Response, limit: u64) -> Result<Vec<u8>, Stop> {
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(Reason::Long { limit }.into());
        }
        let started = Instant::now();
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            if (bytes.len() as u64).saturating_add(chunk.len() as u64) > limit {
                return Err(Reason::Long { limit }.into());
            }
            bytes.extend_from_slice(&chunk);
            // Small things that come byte by byte are not waited for either.
            if started.elapsed() > self.options.patience {
                return Err(Reason::Stalled(self.options.patience).into());
            }
        }
        Ok(bytes)
    }

    /// What a registry says about its refusal. That it breaks off while saying it changes nothing.
    async fn refusals(&self, mut response: Response) -> Result<Refusals, Stop> {
        let mut bytes = Vec::new();
        let until = Instant::now() + self.options.stall;
        while (bytes.len() as u64) < ERROR_MAX && Instant::now() < until {
            match self.chunk(&mut response).await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Err(Stop::Fatal(error)) => return Err(error.into()),
                Ok(None) | Err(Stop::Failed(..)) => break,
            }
        }
        Ok(Refusals::read(&bytes))
    }

    /// An answer that is not a success, as what went wrong.
    pub(crate) async fn refused(&self, response: Response) -> Stop {
        let status = response.status();
        // Only seconds: a date would need a clock that agrees with theirs.
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let refusals = match self.refusals(response).await {
            Ok(refusals) => refusals,
            Err(stop) => return stop,
        };
        let reason = match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Reason::Missing(refusals),
            StatusCode::FORBIDDEN => Reason::Denied(refusals),
            StatusCode::TOO_MANY_REQUESTS => Reason::TooManyRequests { wait, refusals },
            _ => Reason::Status { status: status.as_u16(), refusals },
        };
        Stop::Failed(reason, wait)
    }
}

/// Watches that a body does not come far too slowly.
pub(crate) struct Pace {
    since: Instant,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }

    /// So many more bytes have come.
    pub(crate) fn step(&mut self, options: &Options, bytes: u64) -> Result<(), Reason> {
        self.bytes = self.bytes.saturating_add(bytes);
        let elapsed = self.since.elapsed();
        if elapsed >= options.stall {
            let least = options.slowest.saturating_mul(elapsed.as_secs());
            if self.bytes < least {
                return Err(Reason::Stalled(elapsed));
            }
            *self = Self::new();
        }
        Ok(())
    }
}

/// A header of an answer, as text.
pub(crate) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn https_is_not_left_for_plain_text() {
        let options = Options { insecure: ["ours.example:5000".parse().unwrap()].into(), ..Options::default() };
        let client = crate::Client::new(options, Arc::new(crate::Anonymous), Arc::new(crate::Silent)).unwrap();
        let remote = client.repository(&"h.example".parse().unwrap(), &"a".parse().unwrap()).remote;
        let may = |base: &str, to: &str| remote.inner.may_go(&base.parse().unwrap(), &to.parse().unwrap()).is_ok();
        for (base, to, expected) in [
            ("https://h.example/v2/", "https://cdn.example/x", true),
            ("https://h.example/v2/", "http://h.example/x", false),
            ("https://h.example/v2/", "http://127.0.0.1/x", false),
            ("https://h.example/v2/", "http://ours.example:5000/x", false),
            ("https://localhost/v2/", "http://localhost/x", false),
            ("http://ours.example:5000/v2/", "http://cdn.example/x", true),
            ("http://ours.example:5000/v2/", "https://cdn.example/x", true),
            ("http://localhost:5000/v2/", "http://127.0.0.1/x", true),
            ("http://localhost:5000/v2/", "http://ours.example:5000/x", true),
            ("http://localhost:5000/v2/", "http://ours.example/x", false),
            ("http://localhost:5000/v2/", "file:///etc/passwd", false),
        ] {
            assert_eq!(may(base, to), expected, "{base} {to}");
        }
    }
}
