//! What a provider file says of a repository.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Architecture;
use crate::repository::RepositoryId;

/// One repository of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryFacts {
    /// Its name in locks and messages.
    pub id: RepositoryId,
    /// The canonical URL, without a trailing slash; `{arch}` stands for the architecture.
    pub url: String,
    /// Its suites; none in the rpm family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<String>,
    /// Its components; none in the rpm family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Whether its metadata is signed (dnf.conf(5)); only the rpm family asks.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub repo_gpgcheck: bool,
    /// Whether its packages are signed (dnf.conf(5)); only the rpm family asks.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub gpgcheck: bool,
    /// The URL of a metalink, which names mirrors and the digest of the metadata; `{arch}` stands
    /// for the architecture. Only in the rpm family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metalink: Option<String>,
    /// The URL of a list of mirrors; `{arch}` stands for the architecture. Only in the rpm family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirrorlist: Option<String>,
    /// Only for these architectures; for all of the release's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architectures: Option<BTreeSet<Architecture>>,
    /// The file with its signing keys, below `keys/`; absent when the program has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
    /// Fingerprints of primary keys, upper-case hexadecimal. Of the key file, only these count.
    #[serde(default)]
    pub fingerprints: BTreeSet<String>,
    /// Where the owner publishes the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_url: Option<String>,
    /// Which entries of the machine's own package configuration are mirrors of this repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorRule>,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

impl RepositoryFacts {
    /// A URL of this repository for one architecture.
    pub fn for_architecture(&self, url: &str, architecture: &Architecture) -> String {
        url.replace("{arch}", architecture.as_str())
    }
}

/// How to tell that an entry of the machine's package configuration is a mirror of a repository:
/// its suite without the release name has this form, or its URL's path ends so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorRule {
    /// The machine's own `ID` (os-release) for which this may hold.
    pub os: String,
    /// Release names of that distribution: a suite is one of them plus `suffixes`.
    pub releases: BTreeSet<String>,
    /// What may follow the release name in a suite, such as an empty text or `-updates`.
    pub suffixes: BTreeSet<String>,
}
