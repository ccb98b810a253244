//! The release file: what a suite is, until when it holds, and the digest of every index
//! (<https://wiki.debian.org/DebianRepository/Format>, "Release files").

use std::collections::{BTreeMap, BTreeSet};

use jiff::fmt::rfc2822::DateTimeParser;
use layers::Sha256;

use crate::trust::UnixTime;

/// The largest number of indexes in one release: Debian's has some three thousand.
const MAX_ENTRIES: usize = 200_000;

/// A release file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `Suite`.
    pub suite: Option<String>,
    /// `Codename`.
    pub codename: Option<String>,
    /// `Date`.
    pub date: UnixTime,
    /// `Valid-Until`.
    pub valid_until: Option<UnixTime>,
    /// `Acquire-By-Hash`: indexes can be fetched by their digest, so that an update of the
    /// repository between two requests does no harm.
    pub by_hash: bool,
    /// `Architectures`.
    pub architectures: BTreeSet<String>,
    /// `Components`, without the directory that old security archives put before them.
    pub components: Vec<String>,
    /// Whether the index of each architecture has the packages of `all` in it.
    pub all_included: bool,
    /// The files that the release vouches for, by their path relative to it.
    pub entries: BTreeMap<String, IndexEntry>,
}

/// What a release says about one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its digest.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
}

/// A release file that is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// A line that is neither a field nor a continuation.
    #[error("read line {line}: expected a field")]
    Line {
        /// Its number, from 1.
        line: usize,
    },
    /// A field that stands twice.
    #[error("read line {line}: the field {field} is there already")]
    Twice {
        /// Its number, from 1.
        line: usize,
        /// Which.
        field: String,
    },
    /// A field that is not there.
    #[error("find the field {0}")]
    Missing(&'static str),
    /// A date that is not one.
    #[error("read the date {text:?} of the field {field}")]
    Date {
        /// Which.
        field: &'static str,
        /// What it says.
        text: String,
    },
    /// A line of the list of digests that is not one.
    #[error("read the digest {text:?}")]
    Entry {
        /// What it says.
        text: String,
    },
    /// More files than any release has.
    #[error("read more than {MAX_ENTRIES} digests")]
    TooMany,
}

impl Release {
    /// Reads a release file.
    ///
    /// # Errors
    /// See [`ReleaseError`]; a release without SHA-256 digests or a date is refused.
    pub fn parse(text: &str) -> Result<Self, ReleaseError> {
        let fields = fields(text)?;
        let get = |name: &str| fields.get(name).map(|value| value.trim().to_owned());
        let time = |field: &'static str, name: &str| get(name).map(|text| parse_date(field, &text)).transpose();
        let words = |name: &str| -> Vec<String> {
            get(name).unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
        };
        let date = time("Date", "date")?.ok_or(ReleaseError::Missing("Date"))?;
        let list = fields.get("sha256").ok_or(ReleaseError::Missing("SHA256"))?;
        let architectures: BTreeSet<String> = words("architectures").into_iter().collect();
        let without_all = words("no-support-for-architecture-all").iter().any(|kind| kind == "Packages");
        Ok(Self {
            suite: get("suite"),
            codename: get("codename"),
            date,
            valid_until: time("Valid-Until", "valid-until")?,
            by_hash: get("acquire-by-hash").is_some_and(|value| value == "yes"),
            all_included: without_all || !architectures.contains("all"),
            architectures,
            components: words("components")
                .into_iter()
                .map(|component| component.rsplit('/').next().unwrap_or_default().to_owned())
                .collect(),
            entries: entries(list)?,
        })
    }

    /// Whether the release calls itself by this name.
    pub fn is_named(&self, suite: &str) -> bool {
        self.suite.as_deref() == Some(suite) || self.codename.as_deref() == Some(suite)
    }

    /// What the release calls itself, for people.
    pub fn names(&self) -> String {
        match (&self.suite, &self.codename) {
            (Some(suite), Some(codename)) if suite != codename => format!("'{suite}' ({codename})"),
            (Some(name), _) | (None, Some(name)) => format!("'{name}'"),
            (None, None) => "nameless".into(),
        }
    }
}

/// The fields of the one paragraph, by lower-case name; continuation lines keep their line ends.
fn fields(text: &str) -> Result<BTreeMap<String, String>, ReleaseError> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut current: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        let line_number = number.saturating_add(1);
        if line.starts_with([' ', '\t']) {
            let value = current.as_ref().and_then(|name| fields.get_mut(name));
            let value = value.ok_or(ReleaseError::Line { line: line_number })?;
            value.push('\n');
            value.push_str(line);
        } else if line.trim().is_empty() {
            if fields.is_empty() {
                continue;
            }
            break;
        } else {
            let (name, value) = line.split_once(':').ok_or(ReleaseError::Line { line: line_number })?;
            let name = name.to_ascii_lowercase();
            if fields.insert(name.clone(), value.to_owned()).is_some() {
                return Err(ReleaseError::Twice { line: line_number, field: name });
            }
            current = Some(name);
        }
    }
    Ok(fields)
}

fn entries(list: &str) -> Result<BTreeMap<String, IndexEntry>, ReleaseError> {
    let mut entries = BTreeMap::new();
    for line in list.lines().filter(|line| !line.trim().is_empty()) {
        let fail = || ReleaseError::Entry { text: line.trim().chars().take(120).collect() };
        let mut words = line.split_ascii_whitespace();
        let (Some(digest), Some(size), Some(path), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(fail());
        };
        let entry = IndexEntry { sha256: digest.parse().map_err(|_| fail())?, size: size.parse().map_err(|_| fail())? };
        if !crate::lock::is_relative_path(path) {
            return Err(fail());
        }
        if entries.len() >= MAX_ENTRIES {
            return Err(ReleaseError::TooMany);
        }
        // One path with two digests is a release that contradicts itself.
        let path = path.strip_prefix("./").unwrap_or(path).to_owned();
        if entries.insert(path, entry).is_some_and(|other| other != entry) {
            return Err(fail());
        }
    }
    Ok(entries)
}

/// `Sat, 12 Sep 2026 07:55:41 UTC`: RFC 2822, but for the name of the zone.
fn parse_date(field: &'static str, text: &str) -> Result<UnixTime, ReleaseError> {
    let fail = || ReleaseError::Date { field, text: text.chars().take(80).collect() };
    let numeric = ["UTC", "GMT", "Z"]
        .iter()
        .find_map(|zone| text.trim().strip_suffix(zone))
        .map_or_else(|| text.to_owned(), |start| format!("{} +0000", start.trim_end()));
    // The day of the week is redundant; generators get it wrong, and apt does not look.
    let parser = DateTimeParser::new().relaxed_weekday(true);
    parser.parse_timestamp(&numeric).map(|timestamp| UnixTime(timestamp.as_second())).map_err(|_| fail())
}
