//! repomd.xml: the one document that is signed. It names the others.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead;

use layers::Sha256;

use super::xml::Xml;
use super::{Error, inner_path};
use crate::trust::UnixTime;

/// The largest number of documents: repositories have about ten kinds.
const MAX_ENTRIES: usize = 256;

/// The digest of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Box<[u8; 64]>),
    /// Of a kind that proves nothing any more (MD5, SHA-1), or is unknown: its name.
    Weak(Box<str>),
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => write!(f, "sha256:{digest}"),
            Self::Sha512(digest) => write!(f, "sha512:{}", hex::encode(digest.as_slice())),
            Self::Weak(kind) => f.write_str(kind),
        }
    }
}

impl Checksum {
    /// Reads a digest; `None` when it does not have the length of its kind.
    pub(in crate::rpm) fn parse(kind: &str, digits: &str) -> Option<Self> {
        let bytes = || hex::decode(digits.trim()).ok();
        match kind {
            "sha256" => <[u8; 32]>::try_from(bytes()?).ok().map(|digest| Self::Sha256(Sha256(digest))),
            "sha512" => <[u8; 64]>::try_from(bytes()?).ok().map(|digest| Self::Sha512(Box::new(digest))),
            other => Some(Self::Weak(other.chars().take(40).collect())),
        }
    }

    /// The digest of these bytes, of the same kind; `None` for one that is not computed.
    pub(in crate::rpm) fn of_same_kind(&self, bytes: &[u8]) -> Option<Self> {
        use sha2::Digest as _;
        match self {
            Self::Sha256(_) => Some(Self::Sha256(Sha256::of(bytes))),
            Self::Sha512(_) => Some(Self::Sha512(Box::new(sha2::Sha512::digest(bytes).into()))),
            Self::Weak(_) => None,
        }
    }
}

/// One document of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the repository.
    pub location: Box<str>,
    /// The digest of the file.
    pub checksum: Checksum,
    /// The size of the file in bytes.
    pub size: Option<u64>,
    /// The digest of what it holds, decompressed.
    pub open_checksum: Option<Checksum>,
    /// The size of what it holds, in bytes.
    pub open_size: Option<u64>,
    /// When it was made.
    pub timestamp: Option<UnixTime>,
}

/// What repomd.xml says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repomd {
    /// The revision: often the time of its making in seconds, but any text.
    pub revision: Option<Box<str>>,
    /// The documents by their type, such as `primary`.
    pub entries: BTreeMap<Box<str>, Entry>,
}

impl Repomd {
    /// Reads repomd.xml.
    ///
    /// # Errors
    /// Not XML, not whole, a document twice, without place or digest, or with a path that leads out
    /// of the repository.
    pub fn parse(input: impl BufRead) -> Result<Self, Error> {
        let mut xml = Xml::open(input, "repomd.xml", "repomd")?;
        let level = xml.level();
        let mut repomd = Self::default();
        while xml.child(level)? {
            match xml.name() {
                "revision" => {
                    let revision = xml.word("the revision", 256)?;
                    repomd.revision = Some(revision).filter(|text| !text.is_empty());
                }
                "data" => {
                    let kind = xml.attribute("type")?.ok_or_else(|| xml.wrong("a document has no type"))?;
                    if kind.is_empty() || kind.len() > 64 || repomd.entries.len() >= MAX_ENTRIES {
                        return Err(xml.wrong("it names too many documents, or one with an odd name"));
                    }
                    let entry = read_entry(&mut xml, &kind)?;
                    if repomd.entries.insert(kind.as_str().into(), entry).is_some() {
                        return Err(xml.wrong(format!("it names the document '{kind}' twice")));
                    }
                }
                _ => {}
            }
        }
        xml.finish()?;
        Ok(repomd)
    }

    /// When the repository was last changed: the newest of its documents' times, or, where they
    /// have none, the revision when it is a number.
    pub fn date(&self) -> Option<UnixTime> {
        let newest = self.entries.values().filter_map(|entry| entry.timestamp).max();
        newest.filter(|date| date.0 > 0).or_else(|| self.number().map(UnixTime))
    }

    /// The revision as a number, where it is one.
    pub fn number(&self) -> Option<i64> {
        self.revision.as_ref().and_then(|text| text.parse().ok()).filter(|number| *number > 0)
    }
}

fn read_entry<R: BufRead>(xml: &mut Xml<R>, kind: &str) -> Result<Entry, Error> {
    let level = xml.level();
    let (mut location, mut checksum, mut open_checksum) = (None, None, None);
    let (mut size, mut open_size, mut timestamp) = (None, None, None);
    while xml.child(level)? {
        match xml.name() {
            "location" => {
                if xml.attribute("xml:base")?.is_some() {
                    return Err(xml.wrong(format!("the document '{kind}' lies elsewhere (xml:base)")));
                }
                let href = xml.attribute("href")?.unwrap_or_default();
                let path = inner_path(&href).ok_or_else(|| {
                    xml.wrong(format!("the document '{kind}' has a path that is not below the repository: {href:?}"))
                })?;
                location = Some(path.into());
            }
            "checksum" => checksum = Some(read_checksum(xml, kind)?),
            "open-checksum" => open_checksum = Some(read_checksum(xml, kind)?),
            "size" => size = Some(xml.number("the size")?),
            "open-size" => open_size = Some(xml.number("the open-size")?),
            "timestamp" => {
                // Some tools write fractions.
                let text = xml.word("the timestamp", 64)?;
                let seconds = text.split('.').next().unwrap_or_default().parse().ok();
                let seconds = seconds.ok_or_else(|| xml.wrong(format!("the timestamp is no number: {text:?}")))?;
                timestamp = Some(UnixTime(seconds));
            }
            _ => {}
        }
    }
    let missing = |what: &str| xml.wrong(format!("the document '{kind}' has no {what}"));
    Ok(Entry {
        location: location.ok_or_else(|| missing("location"))?,
        checksum: checksum.ok_or_else(|| missing("checksum"))?,
        size,
        open_checksum,
        open_size,
        timestamp,
    })
}

fn read_checksum<R: BufRead>(xml: &mut Xml<R>, kind: &str) -> Result<Checksum, Error> {
    let how = xml.attribute("type")?.unwrap_or_default();
    let digits = xml.word("a checksum", 256)?;
    Checksum::parse(&how, &digits)
        .ok_or_else(|| xml.wrong(format!("the document '{kind}' has a checksum that is no {how}: {digits:?}")))
}
