//! What makes a repository unusable.

use std::path::PathBuf;

use layers::Sha256;

use crate::error::FileError;
use crate::repository::RepositoryId;
use crate::rpm::metadata;
use crate::trust::{UnixTime, date};
use crate::{fetch, trust};

/// A repository that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of it did not arrive.
    #[error("update the repository '{repository}'")]
    Fetch {
        /// Which.
        repository: RepositoryId,
        /// Why.
        #[source]
        source: fetch::Error,
    },
    /// The cache cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Neither its metadata nor its packages have to be signed, and the user has not said so.
    #[error("use the repository '{repository}': neither its metadata nor its packages are signed")]
    Unprotected {
        /// Which.
        repository: RepositoryId,
    },
    /// The list of mirrors is not one.
    #[error("read the mirrors of the repository '{repository}' from {url}: {sentence}")]
    Mirrors {
        /// Which.
        repository: RepositoryId,
        /// Where the list is.
        url: String,
        /// What is wrong with it.
        sentence: String,
    },
    /// No mirror has the repomd.xml whose digest the metalink states.
    #[error(
        "use the repository '{repository}': the repomd.xml of {from} has the SHA-256 {got}, which its metalink does not state"
    )]
    NotInMetalink {
        /// Which.
        repository: RepositoryId,
        /// The last mirror asked.
        from: String,
        /// The digest of what it sent.
        got: Sha256,
    },
    /// There is no repomd.xml: the URL is wrong.
    #[error("find repodata/repomd.xml of the repository '{repository}' at {url}")]
    NoRepomd {
        /// Which.
        repository: RepositoryId,
        /// Where it was looked for.
        url: String,
    },
    /// There is a repomd.xml, but no signature.
    #[error("find a signature for repomd.xml of the repository '{repository}' (repodata/repomd.xml.asc)")]
    NotSigned {
        /// Which.
        repository: RepositoryId,
    },
    /// The signature does not hold.
    #[error("trust repomd.xml of the repository '{repository}'")]
    Untrusted {
        /// Which.
        repository: RepositoryId,
        /// Why not.
        #[source]
        source: trust::Error,
    },
    /// A document is not well-formed.
    #[error("use the metadata of the repository '{repository}'")]
    Metadata {
        /// Which.
        repository: RepositoryId,
        /// What is wrong with it.
        #[source]
        source: metadata::Error,
    },
    /// repomd.xml has no date.
    #[error("use the repository '{repository}': its repomd.xml has neither a timestamp nor a revision that is a time")]
    NoDate {
        /// Which.
        repository: RepositoryId,
    },
    /// repomd.xml is dated in the future.
    #[error("use the repository '{repository}': its repomd.xml is dated {}, now it is {}", date(*.dated), date(*.now))]
    FromTheFuture {
        /// Which.
        repository: RepositoryId,
        /// Its own date.
        dated: UnixTime,
        /// The present.
        now: UnixTime,
    },
    /// repomd.xml is older than one that was already seen.
    #[error("use the repository '{repository}': its repomd.xml is dated {}, but one of {} has been seen", date(*.dated), date(*.seen))]
    Rollback {
        /// Which.
        repository: RepositoryId,
        /// Its own date.
        dated: UnixTime,
        /// The date of the newest one seen.
        seen: UnixTime,
        /// Where that is remembered.
        memory: PathBuf,
    },
    /// repomd.xml has the date of one that was already seen, and is another.
    #[error("use the repository '{repository}': its repomd.xml is dated {} like the one seen before, but is another", date(*.dated))]
    Changed {
        /// Which.
        repository: RepositoryId,
        /// The date of both.
        dated: UnixTime,
        /// Where the other is remembered.
        memory: PathBuf,
    },
    /// The repository does not have a document in a form that is understood.
    #[error("find '{kind}' in the repository '{repository}'{}", if *.only_zchunk { ": it is there as zchunk only" } else { "" })]
    NoDocument {
        /// Which.
        repository: RepositoryId,
        /// The type of the document.
        kind: &'static str,
        /// Whether it is there as `.zck`.
        only_zchunk: bool,
    },
    /// A document is not what repomd.xml says it is, or cannot be decompressed.
    #[error("read {path} of the repository '{repository}': {sentence}")]
    Document {
        /// Which.
        repository: RepositoryId,
        /// The document's path in it.
        path: String,
        /// What is wrong with it.
        sentence: String,
    },
    /// A package is said to lie on another server.
    #[error(
        "fetch {package} of the repository '{repository}': its metadata sends us to {base:?}, which is not the repository's own server"
    )]
    Elsewhere {
        /// Which.
        repository: RepositoryId,
        /// The package.
        package: String,
        /// Its `xml:base`.
        base: String,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        let memory = |path: &PathBuf| {
            Some(format!(
                "the mirror is behind or has been set back: wait, or use another; if this is meant, remove {}",
                path.display()
            ))
        };
        Some(match self {
            Self::Fetch { source, .. } => return source.hint(),
            Self::Untrusted { source, .. } => return source.hint(),
            Self::File(_) => return None,
            Self::Unprotected { .. } => "leave `gpgcheck` or `repo_gpgcheck` on; or, if nobody but you can change what it serves, write `trusted: true` at the repository".into(),
            Self::Mirrors { .. } => "name a mirror (providers.NAME.mirror in the configuration)".into(),
            Self::NotInMetalink { .. } => "the mirrors are behind or altered: wait, or name another (providers.NAME.mirror in the configuration)".into(),
            Self::NoRepomd { .. } => "check the repository's URL: it is the directory that has repodata in it".into(),
            Self::NotSigned { .. } => "ask its owner to sign it; where only packages are signed, write `repo_gpgcheck: false` at the repository; if nobody but you can change what it serves, `trusted: true`".into(),
            Self::Metadata { .. } | Self::Document { .. } => "try another mirror (providers.NAME.mirror in the configuration)".into(),
            Self::NoDate { .. } => "make its metadata again with createrepo_c".into(),
            Self::FromTheFuture { .. } => "check this machine's clock".into(),
            Self::Rollback { memory: path, .. } | Self::Changed { memory: path, .. } => return memory(path),
            Self::NoDocument { only_zchunk: true, .. } => "make its metadata again with createrepo_c, which writes a second form beside zchunk".into(),
            Self::NoDocument { .. } => "make its metadata again with createrepo_c".into(),
            Self::Elsewhere { .. } => "add the other server as a repository of its own, with its own keys".into(),
        })
    }
}
