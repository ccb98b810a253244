//! What goes wrong with a registry, for people.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use layers::Sha256;
use serde::Deserialize;

use crate::credentials::CredentialError;
use crate::descriptor::digest_text;

/// Errors of one answer that are told; one is usual.
const REFUSALS_MAX: usize = 5;
/// Characters of a registry's own words that are repeated.
const WORDS_MAX: usize = 300;

/// Why something did not get to a registry or from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Threads, certificates or the HTTP client could not be set up.
    #[error("prepare for talking to registries")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The cancel flag was raised.
    #[error("finish the transfer: interrupted")]
    Cancelled,
    /// A file on this machine cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The credentials for a registry could not be had.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The registry did not do what was asked.
    #[error("{what}: {reason}")]
    Registry {
        /// What was wanted, such as "pull sha256:… from HOST/REPOSITORY".
        what: String,
        /// Why it did not happen.
        reason: Box<Reason>,
    },
}

impl Error {
    pub(crate) fn registry(what: &str, reason: Reason) -> Self {
        Self::Registry { what: what.to_owned(), reason: Box::new(reason) }
    }

    /// Why the registry did not do it, when that is what happened.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Registry { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Whether the registry says that there is no such thing.
    pub fn is_missing(&self) -> bool {
        matches!(self.reason(), Some(Reason::Missing(_)))
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Credentials(error) => error.hint(),
            Self::Registry { reason, .. } => reason.hint(),
            Self::Setup(_) => {
                Some("check the certificates given, and that the package ca-certificates is installed".into())
            }
            Self::Cancelled | Self::File(_) => None,
        }
    }
}

/// A file on this machine that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}", .path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

impl FileError {
    pub(crate) fn on(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }
}

/// Why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// There is no such repository, manifest or blob (404).
    #[error("it is not there{0}")]
    Missing(Refusals),
    /// It wants to know who asks (401), also after it was told.
    #[error("{}{refusals}", if *.had { "the registry does not accept the credentials" } else { "the registry wants credentials, and none are known for it" })]
    Unauthorized {
        /// Whether credentials were sent.
        had: bool,
        /// In its words.
        refusals: Refusals,
    },
    /// It knows who asks, and does not allow it (403).
    #[error("the registry does not allow it{0}")]
    Denied(Refusals),
    /// Too much was asked of it (429).
    #[error("the registry has had too many requests{}{refusals}", .wait.map(|wait| format!(", and asks to wait {} s", wait.as_secs())).unwrap_or_default())]
    TooManyRequests {
        /// How long it asks to wait.
        wait: Option<Duration>,
        /// In its words.
        refusals: Refusals,
    },
    /// Another HTTP status that is not success.
    #[error("the registry answered {status}{refusals}")]
    Status {
        /// The status.
        status: u16,
        /// In its words.
        refusals: Refusals,
    },
    /// Nothing came or went, or far too slowly, for the stated time.
    #[error("next to nothing came through for {} s", .0.as_secs_f32())]
    Stalled(Duration),
    /// The connection failed or broke.
    #[error("{0}")]
    Connection(String),
    /// The certificate is not one to trust.
    #[error("the certificate of {host} is not trusted: {why}")]
    Certificate {
        /// Whose it is.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// Fewer bytes than stated.
    #[error("it ended after {got} of {expected} bytes")]
    Short {
        /// Bytes that came.
        got: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// More bytes than stated or allowed.
    #[error("it has more than the {limit} bytes expected")]
    Long {
        /// The bound in bytes.
        limit: u64,
    },
    /// Another number of bytes than stated.
    #[error("it has {got} bytes, not {expected}")]
    Size {
        /// Bytes there are.
        got: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// Not the bytes that were asked for.
    #[error("its digest is {}, not {}", digest_text(.got), digest_text(.expected))]
    Digest {
        /// What the bytes hash to.
        got: Sha256,
        /// What was asked for.
        expected: Sha256,
    },
    /// Another kind of thing than was asked for.
    #[error("it is of type {found:?}, not {expected}")]
    MediaType {
        /// What it is.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// Credentials or contents would travel where others can read them.
    #[error("the registry sends on to {to}, {why}")]
    Unsafe {
        /// Where, without query.
        to: String,
        /// Why that is refused.
        why: &'static str,
    },
    /// The answer is not one that the protocol has.
    #[error("the answer is not by the protocol: {0}")]
    Protocol(String),
    /// The answer of a layer cache is not one to be used.
    #[error("{0}")]
    Untrusted(#[from] crate::cache::AnswerError),
}

impl Reason {
    /// Whether asking again may help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::TooManyRequests { .. } | Self::Stalled(_) | Self::Connection(_) | Self::Short { .. } => true,
            // Another machine may just be sending the same blobs.
            Self::Status { refusals, .. } if refusals.has("MANIFEST_BLOB_UNKNOWN") => true,
            Self::Status { status, .. } => *status == 408 || (500..600).contains(status) && *status != 501,
            _ => false,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unauthorized { had: false, .. } => {
                "log in (docker login HOST, skopeo login HOST), or check the name: some registries say this of what does not exist"
            }
            Self::Unauthorized { had: true, .. } => {
                "log in again (docker login HOST): the password or token may have expired"
            }
            Self::Denied(_) => {
                "ask the registry's owner for the right to pull or push there, or log in as somebody who has it"
            }
            Self::Missing(_) => "check host, repository and tag",
            Self::TooManyRequests { .. } => "wait and try again; logging in often raises the limit",
            Self::Certificate { .. } => {
                "give the certificate of the authority that signed it (PEM), and check name and date"
            }
            Self::Digest { .. } | Self::Long { .. } | Self::Size { .. } => {
                "the registry serves something other than what was pushed: push it again, or ask its owner"
            }
            Self::Unsafe { .. } => "use https at the registry, or configure it as insecure if its network is yours",
            Self::Connection(_) | Self::Stalled(_) | Self::Short { .. } => {
                "check the network, the proxy, and that the registry runs; one that speaks only http must be configured as insecure"
            }
            Self::Status { status: 413, .. } => {
                "a proxy in front of the registry limits the size of requests: raise its limit, or push in smaller chunks"
            }
            Self::Status { status, .. } if *status >= 500 => "the registry has a problem of its own: try again later",
            Self::Untrusted(error) => return error.hint(),
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// One error in a registry's words (distribution-spec 1.1, "Error Codes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code, such as `MANIFEST_UNKNOWN`.
    pub code: String,
    /// The sentence, which may be empty.
    pub message: String,
}

/// All errors of one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals(pub Vec<Refusal>);

impl Refusals {
    /// Whether a code is among them.
    pub fn has(&self, code: &str) -> bool {
        self.0.iter().any(|refusal| refusal.code == code)
    }

    /// Reads the body of an answer; what is not by the protocol says nothing.
    pub(crate) fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            errors: Vec<One>,
        }
        #[derive(Deserialize)]
        struct One {
            #[serde(default)]
            code: serde_json::Value,
            #[serde(default)]
            message: serde_json::Value,
        }
        let errors = serde_json::from_slice::<Body>(body).map(|body| body.errors).unwrap_or_default();
        let words = |value: &serde_json::Value| told(value.as_str().unwrap_or_default());
        Self(
            errors
                .iter()
                .take(REFUSALS_MAX)
                .map(|one| Refusal { code: words(&one.code), message: words(&one.message) })
                .filter(|refusal| !refusal.code.is_empty() || !refusal.message.is_empty())
                .collect(),
        )
    }
}

/// A stranger's words, fit for a terminal.
pub(crate) fn told(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect()
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_str(" (")?;
        for (position, refusal) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            match (refusal.code.as_str(), refusal.message.as_str()) {
                (code, "") => f.write_str(code)?,
                ("", message) => f.write_str(message)?,
                (code, message) => write!(f, "{code}: {message}")?,
            }
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_words_are_told_and_cannot_drive_the_terminal() {
        let refusals = Refusals::read(
            br#"{"errors":[{"code":"DENIED","message":"no \u001b[31mway","detail":{"x":1}},{"code":7,"message":null}]}"#,
        );
        assert_eq!(refusals.to_string(), " (DENIED: no [31mway)");
        assert!(refusals.has("DENIED"));
        for nothing in [&b""[..], b"<html>", b"{}", b"[]", b"{\"errors\":3}", b"{\"errors\":[3]}"] {
            assert_eq!(Refusals::read(nothing).to_string(), "");
        }
        let reason = Reason::Denied(refusals);
        let error = Error::registry("push to h/r", reason);
        assert_eq!(error.to_string(), "push to h/r: the registry does not allow it (DENIED: no [31mway)");
        assert!(error.hint().is_some());
    }
}
