//! Paths whose contents are secret, random, or tied to the machine and moment that made them:
//! each has a rule, so that no two images share a secret and no two builds differ.

use serde::{Deserialize, Serialize};

/// One path, or a family of paths, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolatilePath {
    /// Which paths.
    pub path: PathPattern,
    /// What becomes of them.
    pub rule: Rule,
    /// Why.
    pub why: String,
}

/// What becomes of a volatile path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The file goes; whoever needs it makes it again.
    Delete,
    /// The file stays, with no bytes in it.
    Empty,
    /// The file goes, and the first boot makes it: the configuration stage adds what does so.
    FirstBoot,
    /// What is below the directory goes; the directory stays.
    Contents,
}

/// Paths in an image: absolute, `*` for any bytes but `/` in the last part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern(String);

impl PathPattern {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that matching paths lie in, without a leading slash.
    pub fn directory(&self) -> &str {
        self.0.trim_start_matches('/').rsplit_once('/').map_or("", |(directory, _)| directory)
    }

    /// Whether a path of an image, without its leading slash, matches. Names are bytes.
    pub fn matches(&self, path: &[u8]) -> bool {
        let pattern = self.0.trim_start_matches('/').as_bytes();
        match pattern.iter().position(|&b| b == b'*') {
            None => pattern == path,
            Some(star) => {
                let (head, tail) = (pattern.get(..star), pattern.get(star.saturating_add(1)..));
                let (Some(head), Some(tail)) = (head, tail) else { return false };
                match path.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail)) {
                    Some(middle) => !middle.contains(&b'/'),
                    None => false,
                }
            }
        }
    }

    /// Whether a path matches, or a directory above it.
    pub fn covers(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.chain([path.len()]).any(|end| self.matches(path.get(..end).unwrap_or_default()))
    }
}

impl TryFrom<String> for PathPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let last = text.rsplit('/').next().unwrap_or_default();
        let stars = text.matches('*').count();
        let good = text.starts_with('/')
            && text.len() > 1
            && !text.ends_with('/')
            && text.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..")
            && (stars == 0 || (stars == 1 && last.contains('*')));
        if good {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is no absolute path with at most one '*', in its last part"))
        }
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> Self {
        pattern.0
    }
}
