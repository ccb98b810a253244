//! The URL of a repository, and of the files below it.

use std::fmt;
use std::path::PathBuf;

use reqwest::Url;

/// The URL of a repository or mirror: `http`, `https` or `file`, without a trailing slash, query
/// or fragment. It may carry a user and password, which are never shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseUrl(Url);

/// A text that is not the URL of a repository.
#[derive(Debug, thiserror::Error)]
#[error("read the URL {shown:?}: {why}")]
pub struct UrlError {
    shown: String,
    why: String,
}

impl BaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// Not a URL, of another scheme, or with a query or fragment.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        // What comes before an '@' may be a password.
        let shown = || text.rsplit('@').next().unwrap_or_default().chars().take(200).collect::<String>();
        let fail = |why: &str| UrlError { shown: shown(), why: why.to_owned() };
        let mut url = Url::parse(text).map_err(|error| fail(&error.to_string()))?;
        match url.scheme() {
            "http" | "https" if url.host_str().is_some() => {}
            "file" if matches!(url.host_str(), None | Some("" | "localhost")) => {}
            "file" => return Err(fail("a file: URL must not name a host")),
            _ => return Err(fail("expected http, https or file")),
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fail("a repository has no query or fragment"));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }

    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        self.0.scheme() == "file"
    }

    /// The URL of a path below it. Bytes that a URL cannot hold are escaped.
    pub(super) fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let mut joined = url.path().trim_end_matches('/').to_owned();
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            joined.push('/');
            // Url escapes what must be; only a percent sign it takes for an escape already made.
            joined.push_str(&part.replace('%', "%25"));
        }
        url.set_path(&joined);
        url
    }

    /// As text, without user and password: what may be written down.
    pub fn without_credentials(&self) -> String {
        shown(&self.0)
    }

    /// Whether another URL is on the same server: same scheme, host and port (RFC 6454).
    pub fn has_origin_of(&self, other: &Self) -> bool {
        let (one, other) = (&self.0, &other.0);
        one.scheme() == other.scheme()
            && one.host_str() == other.host_str()
            && one.port_or_known_default() == other.port_or_known_default()
    }

    /// Where a relative or absolute reference leads to from here.
    ///
    /// # Errors
    /// What it leads to is no URL of a repository.
    pub(crate) fn resolve(&self, reference: &str) -> Result<Self, UrlError> {
        let mut directory = self.0.clone();
        directory.set_path(&format!("{}/", directory.path().trim_end_matches('/')));
        match directory.join(reference) {
            Ok(url) => Self::parse(url.as_str()),
            Err(error) => Err(UrlError { shown: reference.chars().take(200).collect(), why: error.to_string() }),
        }
    }

    /// The last part of its path, such as `debian`.
    pub fn last_part(&self) -> &str {
        self.0.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// The same with another last part.
    pub(crate) fn with_last_part(&self, name: &str) -> Self {
        let mut url = self.0.clone();
        let parent = url.path().rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
        url.set_path(&format!("{parent}/{name}"));
        Self(url)
    }
}

/// The URL of one document, such as a list of mirrors: as that of a repository, but it may have a
/// query.
#[derive(Clone, PartialEq, Eq)]
pub struct DocumentUrl(pub(super) Url);

impl DocumentUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// Not a URL, of another scheme than `http`, `https` or `file`, or with a fragment.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let base = text.split('?').next().unwrap_or_default();
        BaseUrl::parse(base)?;
        let fail = |why: &str| UrlError { shown: base.chars().take(200).collect(), why: why.to_owned() };
        let url = Url::parse(text).map_err(|error| fail(&error.to_string()))?;
        if url.fragment().is_some() { Err(fail("a document has no fragment")) } else { Ok(Self(url)) }
    }

    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        self.0.scheme() == "file"
    }
}

impl fmt::Display for DocumentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

impl fmt::Debug for DocumentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DocumentUrl({self})")
    }
}

/// A URL as text, without user and password.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // These fail only for URLs that cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let text = url.to_string();
    text.trim_end_matches('/').to_owned()
}

/// The path of a `file:` URL.
pub(super) fn local_path(url: &Url) -> Option<PathBuf> {
    if url.scheme() == "file" { url.to_file_path().ok() } else { None }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_credentials())
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({self})")
    }
}
