//! One document of a repository: fetched by its digest, kept, and read as it is decompressed, with
//! a bound on how much may come out.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use layers::Sha256;
use sha2::Digest as _;

use super::Error;
use crate::cache::{self, CacheDir};
use crate::error::FileError;
use crate::fetch::{self, BaseUrl, Fetcher, FileRequest};
use crate::repository::compressed::Form;
use crate::repository::{RepositoryId, remove};
use crate::rpm::metadata::{self, Checksum, Entry, Repomd};

/// The largest document as it is fetched, in bytes: several times Fedora's largest.
const MAX_FILE: u64 = 1024 * 1024 * 1024;

/// A kind of document, and how much it may hold.
pub(super) struct Kind {
    /// The types that repomd.xml may know it by, the best first.
    types: &'static [&'static str],
    /// The largest, decompressed, in bytes.
    limit: u64,
}

/// What can be read of a repository; the bounds are several times what Fedora, the largest, has.
pub(super) const PRIMARY: Kind = Kind { types: &["primary"], limit: 1024 * 1024 * 1024 };
pub(super) const FILELISTS: Kind = Kind { types: &["filelists"], limit: 8 * 1024 * 1024 * 1024 };
pub(super) const GROUPS: Kind =
    Kind { types: &["group", "group_zst", "group_xz", "group_gz"], limit: 128 * 1024 * 1024 };
pub(super) const MODULES: Kind = Kind { types: &["modules"], limit: 256 * 1024 * 1024 };
pub(super) const ADVISORIES: Kind = Kind { types: &["updateinfo"], limit: 1024 * 1024 * 1024 };

impl Kind {
    fn name(&self) -> &'static str {
        self.types.first().copied().unwrap_or_default()
    }
}

/// What it takes to read the documents of one repository.
#[derive(Debug, Clone)]
pub(super) struct Documents {
    pub(super) repository: RepositoryId,
    pub(super) repomd: Repomd,
    pub(super) sources: Vec<BaseUrl>,
}

impl Documents {
    /// Reads a document that has to be there.
    pub(super) fn need<T>(
        &self,
        kind: &Kind,
        fetcher: &Fetcher,
        cache: &CacheDir,
        read: impl FnOnce(&mut BufReader<Decompressed>) -> Result<T, metadata::Error>,
    ) -> Result<T, Error> {
        self.read(kind, fetcher, cache, read)?.ok_or_else(|| Error::NoDocument {
            repository: self.repository.clone(),
            kind: kind.name(),
            only_zchunk: false,
        })
    }

    /// Reads a document; `None` when the repository does not have it.
    pub(super) fn read<T>(
        &self,
        kind: &Kind,
        fetcher: &Fetcher,
        cache: &CacheDir,
        read: impl FnOnce(&mut BufReader<Decompressed>) -> Result<T, metadata::Error>,
    ) -> Result<Option<T>, Error> {
        let Some(entry) = self.entry(kind)? else { return Ok(None) };
        let broken = |sentence: String| self.broken(entry, sentence);
        let path = self.fetch(kind, entry, fetcher, cache)?;
        let limit = entry.open_size.map_or(kind.limit, |size| size.min(kind.limit));
        let file = File::open(&path).map_err(FileError::on("open", &path))?;
        let inner = Form::of(&entry.location)
            .open(file)
            .map_err(|error| broken(format!("it cannot be decompressed: {error}")))?;
        let hasher = Hasher::like(entry.open_checksum.as_ref()).map_err(broken)?;
        let mut input = BufReader::with_capacity(128 * 1024, Decompressed { inner, hasher, length: 0, limit });
        let result = read(&mut input);
        // What cannot be decompressed, or is too long, is that first of all.
        let mut rest = input.into_inner();
        let finished = match &result {
            Ok(_) => io::copy(&mut rest, &mut io::sink()).map(|_| ()),
            Err(_) => Ok(()),
        };
        let value = match (result, finished) {
            (Err(source), _) => return Err(Error::Metadata { repository: self.repository.clone(), source }),
            (Ok(_), Err(error)) => return Err(broken(error.to_string())),
            (Ok(value), Ok(())) => value,
        };
        if let Some(stated) = entry.open_size.filter(|stated| *stated != rest.length) {
            return Err(broken(format!("decompressed, it has {} bytes, repomd.xml says {stated}", rest.length)));
        }
        match (rest.hasher.map(Hasher::finish), &entry.open_checksum) {
            (Some(got), Some(stated)) if got != *stated => {
                Err(broken(format!("decompressed, it is {got}, repomd.xml says {stated}")))
            }
            _ => Ok(Some(value)),
        }
    }

    fn entry(&self, kind: &Kind) -> Result<Option<&Entry>, Error> {
        let found = kind.types.iter().find_map(|name| self.repomd.entries.get(*name));
        let only_zchunk =
            || kind.types.iter().any(|name| self.repomd.entries.contains_key(format!("{name}_zck").as_str()));
        match found {
            Some(entry) if !entry.location.ends_with(".zck") => Ok(Some(entry)),
            None if !only_zchunk() => Ok(None),
            _ => Err(Error::NoDocument { repository: self.repository.clone(), kind: kind.name(), only_zchunk: true }),
        }
    }

    fn broken(&self, entry: &Entry, sentence: String) -> Error {
        Error::Document { repository: self.repository.clone(), path: entry.location.to_string(), sentence }
    }

    /// Has the file in the cache, verified.
    fn fetch(&self, kind: &Kind, entry: &Entry, fetcher: &Fetcher, cache: &CacheDir) -> Result<PathBuf, Error> {
        let size = entry.size.ok_or_else(|| self.broken(entry, "repomd.xml does not state its size".into()))?;
        let most = MAX_FILE.min(kind.limit);
        if size > most {
            return Err(self.broken(entry, format!("it has {size} bytes, more than the {most} allowed")));
        }
        let fail = |source| Error::Fetch { repository: self.repository.clone(), source };
        match &entry.checksum {
            Checksum::Sha256(sha256) => {
                let request = FileRequest {
                    what: format!("{} {}", self.repository, kind.name()),
                    mirrors: self.sources.clone(),
                    paths: vec![entry.location.to_string()],
                    size,
                    sha256: *sha256,
                };
                let paths = fetcher.files_into(&[request], &cache.indexes(), &cache.partial()).map_err(fail)?;
                Ok(paths.into_iter().next().unwrap_or_else(|| cache.index(sha256)))
            }
            Checksum::Sha512(digest) => {
                let path = cache.index_sha512(digest);
                let good = |bytes: &[u8]| entry.checksum.of_same_kind(bytes).as_ref() == Some(&entry.checksum);
                if let Some(bytes) = cache::read_bounded(&path, size)? {
                    if good(&bytes) {
                        return Ok(path);
                    }
                    tracing::warn!(path = %path.display(), "a damaged document in the cache is dropped");
                    remove(&path)?;
                }
                let what = format!("{} {}", self.repository, kind.name());
                for source in &self.sources {
                    match fetcher.document(&what, std::slice::from_ref(source), &entry.location, size) {
                        Ok(Some((bytes, _))) if good(&bytes) => {
                            cache::publish(&path, &bytes)?;
                            return Ok(path);
                        }
                        Ok(_) => {}
                        Err(error @ fetch::Error::Exhausted { .. }) => {
                            tracing::warn!(repository = %self.repository, %source, %error, "a mirror is passed over");
                        }
                        Err(error) => return Err(fail(error)),
                    }
                }
                Err(self.broken(entry, "no mirror has it with the SHA-512 that repomd.xml states".into()))
            }
            Checksum::Weak(kind) => Err(self.broken(
                entry,
                format!("its checksum is of the kind {kind:?}, which proves nothing; SHA-256 or SHA-512 is needed"),
            )),
        }
    }
}

/// What comes out of a compressed file: counted, bounded, hashed.
pub(super) struct Decompressed {
    inner: Box<dyn Read + Send>,
    hasher: Option<Hasher>,
    length: u64,
    limit: u64,
}

impl Read for Decompressed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = match self.inner.read(into) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(io::Error::new(error.kind(), format!("it cannot be decompressed: {error}"))),
        };
        self.length = self.length.saturating_add(count as u64);
        if self.length > self.limit {
            let sentence = format!("it has more than the {} bytes expected", self.limit);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, sentence));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(into.get(..count).unwrap_or_default());
        }
        Ok(count)
    }
}

/// Hashes as a stated digest wants it.
enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    fn like(stated: Option<&Checksum>) -> Result<Option<Self>, String> {
        match stated {
            None => Ok(None),
            Some(Checksum::Sha256(_)) => Ok(Some(Self::Sha256(sha2::Sha256::new()))),
            Some(Checksum::Sha512(_)) => Ok(Some(Self::Sha512(sha2::Sha512::new()))),
            Some(Checksum::Weak(kind)) => {
                Err(format!("its open-checksum is of the kind {kind:?}, which proves nothing"))
            }
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Checksum {
        match self {
            Self::Sha256(hasher) => Checksum::Sha256(Sha256(hasher.finalize().into())),
            Self::Sha512(hasher) => Checksum::Sha512(Box::new(hasher.finalize().into())),
        }
    }
}
