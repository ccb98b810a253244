//! The name of a repository.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a repository in specs, locks and messages: lower-case letters, digits, `.`, `_`
/// and `-`, at most 64.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryId(String);

/// A text that cannot name a repository.
#[derive(Debug, thiserror::Error)]
#[error("name a repository {found:?}: expected lower-case letters, digits, '.', '_' and '-', at most 64")]
pub struct IdError {
    found: String,
}

impl RepositoryId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let good = (1..=64).contains(&text.len())
            && text.bytes().all(|b| plain(b) || b"._-".contains(&b))
            && text.bytes().next().is_some_and(plain);
        if good { Ok(Self(text.into())) } else { Err(IdError { found: text.chars().take(80).collect() }) }
    }
}

impl TryFrom<String> for RepositoryId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RepositoryId> for String {
    fn from(id: RepositoryId) -> Self {
        id.0
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
