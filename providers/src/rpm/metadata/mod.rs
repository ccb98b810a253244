//! The metadata of an rpm repository, as createrepo_c writes it: repomd.xml, which names all other
//! documents with their digests, and those documents. There is no specification; the reference is
//! createrepo_c's own output, and libsolv's and libdnf's reading of it.
//!
//! Everything here reads from bytes and knows neither network nor signatures. Whatever the bytes
//! are, reading ends, and takes memory in proportion to the bytes at most.

mod comps;
mod filelists;
mod modules;
mod primary;
mod relations;
mod repomd;
mod updateinfo;
pub(super) mod xml;

pub use comps::{Category, Environment, Expansion, Group, GroupPackage, Groups, Membership};
pub use filelists::WantedFiles;
pub use modules::{Filter, Modules, Stream};
pub use repomd::{Checksum, Entry, Repomd};
pub use updateinfo::{Advisory, AdvisoryPackage, Reference};

pub(crate) use filelists::complete;
pub(crate) use primary::read as read_primary;
pub(crate) use updateinfo::read as read_advisories;

/// A document that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("read {document}{}: {sentence}", place(*.at))]
pub struct Error {
    /// Which document, such as `primary.xml`.
    pub document: &'static str,
    /// Where in it, in bytes from its (decompressed) beginning, when that is known.
    pub at: Option<u64>,
    /// What is wrong with it.
    pub sentence: String,
}

fn place(at: Option<u64>) -> String {
    at.map_or_else(String::new, |at| format!(" at byte {at}"))
}

/// A path below the repository, as documents name files: relative, with no part that leads out.
/// `None` when it is anything else.
pub(super) fn inner_path(text: &str) -> Option<&str> {
    /// The longest path taken: twice what a URL safely holds.
    const MAX_PATH: usize = 4096;
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    let text = text.strip_prefix("./").unwrap_or(text);
    let good = text.len() <= MAX_PATH
        && !text.chars().any(|c| c.is_control() || matches!(c, '\\' | '?' | '#'))
        // A scheme would make it a URL of its own.
        && !text.split('/').next().unwrap_or_default().contains(':')
        && text.split('/').all(plain);
    good.then_some(text)
}

#[cfg(test)]
mod tests;
