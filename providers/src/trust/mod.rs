//! Whom to believe: keyrings, and signatures checked against them.
//!
//! The `pgp` crate reads packets and does the arithmetic; what counts as a good signature is
//! decided here. OpenPGP is RFC 9580.

mod arithmetic;
mod certificate;
mod keyring;
mod packets;
mod policy;
mod signature;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use keyring::Keyring;
pub(crate) use policy::CLOCK_TOLERANCE;
pub use signature::Verified;

/// Seconds since 1970-01-01 UTC, as the caller's clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnixTime(pub i64);

/// The fingerprint of a key: upper-case hexadecimal, 40 digits for version 4 keys, 64 for
/// version 6.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    pub(crate) fn of(key: &impl pgp::types::KeyDetails) -> Self {
        Self(key.fingerprint().to_string().to_ascii_uppercase())
    }

    /// Hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key or signature that is not good enough.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The keyring is not one.
    #[error("read the keyring: {0}")]
    Keyring(String),
    /// The keyring does not have a key that it is said to have.
    #[error("find the key {0} in the keyring")]
    MissingKey(String),
    /// The signed text or its signature cannot be read.
    #[error("read the signature: {0}")]
    Malformed(String),
    /// No signature is by a key of the keyring.
    #[error("verify the signature: it is by {}, which the keyring does not have", list_signers(.signers))]
    UnknownSigner {
        /// Key ids or fingerprints of the signers.
        signers: Vec<String>,
    },
    /// A signature that claims to be by a key of the keyring is not: the text or the signature has
    /// been altered.
    #[error("verify the signature: it does not match the text; one of them was altered (key {key})")]
    Bad {
        /// The key that it claims to be by.
        key: Fingerprint,
    },
    /// The signatures by keys of the keyring are genuine, but none of them counts.
    #[error("verify the signature: {}", list_reasons(.reasons))]
    Unusable {
        /// Per signature: the key, and why it does not count.
        reasons: Vec<(Fingerprint, Unusable)>,
    },
}

/// Why a genuine signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// The key has expired.
    #[error("expired on {}", date(*.0))]
    KeyExpired(UnixTime),
    /// The key's owner has revoked it.
    #[error("was revoked by its owner")]
    KeyRevoked,
    /// The key is not made, or not bound, for signing.
    #[error("is not valid for signing")]
    NotForSigning,
    /// Key or signature uses arithmetic that is too weak today.
    #[error("uses {0}, which is too weak")]
    Weak(String),
    /// The signature has an expiry of its own.
    #[error("made a signature that expired on {}", date(*.0))]
    SignatureExpired(UnixTime),
    /// The signature is dated later than now.
    #[error("made a signature in the future, on {}", date(*.0))]
    FromTheFuture(UnixTime),
    /// The signature carries something that must be understood, and is not.
    #[error("made a signature of a kind that this program does not know")]
    Unknown,
}

fn list_signers(signers: &[String]) -> String {
    if signers.is_empty() { "nobody".into() } else { format!("key {}", signers.join(" and key ")) }
}

fn list_reasons(reasons: &[(Fingerprint, Unusable)]) -> String {
    reasons.iter().map(|(key, why)| format!("key {key} {why}")).collect::<Vec<_>>().join("; ")
}

/// A date for people, in UTC.
pub(crate) fn date(time: UnixTime) -> String {
    match jiff::Timestamp::from_second(time.0) {
        Ok(timestamp) => timestamp.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => format!("second {}", time.0),
    }
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Keyring(_) => {
                Some("give the public keys, armored or binary, as `gpg --export` writes them".into())
            }
            Self::MissingKey(_) => None,
            Self::Malformed(_) => Some("a login page or a broken proxy may stand between here and the mirror".into()),
            Self::UnknownSigner { .. } => Some(
                "if the repository has a new key, get it from its owner, compare the fingerprint, and name its file as `key` of the repository".into(),
            ),
            Self::Bad { .. } => {
                Some("do not use it; try another mirror (providers.NAME.mirror in the configuration)".into())
            }
            Self::Unusable { reasons } if reasons.iter().any(|(_, why)| matches!(why, Unusable::FromTheFuture(_))) => {
                Some("check this machine's clock".into())
            }
            Self::Unusable { .. } => {
                Some("get the repository's present key from its owner, and name its file as `key` of the repository".into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
