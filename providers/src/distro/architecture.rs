//! The target architecture, as a value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A target architecture in the package family's own spelling: `amd64`, `arm64`; `x86_64`,
/// `aarch64`. Lower-case letters, digits, `_` and `-`: it becomes part of paths and URLs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Architecture(String);

/// A text that names no architecture.
#[derive(Debug, thiserror::Error)]
#[error("read the architecture {found:?}: expected lower-case letters, digits, '_' and '-'")]
pub struct ArchitectureError {
    found: String,
}

impl Architecture {
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Architecture {
    type Err = ArchitectureError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
            && text.starts_with(|c: char| c.is_ascii_lowercase());
        if good { Ok(Self(text.into())) } else { Err(ArchitectureError { found: text.chars().take(40).collect() }) }
    }
}

impl TryFrom<String> for Architecture {
    type Error = ArchitectureError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Architecture> for String {
    fn from(architecture: Architecture) -> Self {
        architecture.0
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
