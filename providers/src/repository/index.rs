//! One index: the smallest of its compressed forms, fetched, checked, decompressed within bounds,
//! checked again, and kept for the next run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use layers::Sha256;

use super::compressed::Form;
use super::{Error, IndexEntry, Release, Repository};
use crate::cache::{self, CacheDir};
use crate::error::FileError;
use crate::fetch::{Fetcher, FileRequest};

/// The largest index, in bytes: about ten times Debian's largest.
const MAX_INDEX: u64 = 640 * 1024 * 1024;

/// Suffixes of the compressed forms.
const FORMS: [(&str, Form); 4] = [("", Form::Plain), (".gz", Form::Gzip), (".xz", Form::Xz), (".zst", Form::Zstd)];

/// An index of a release, about to be read.
pub(super) struct Wanted<'a> {
    pub(super) repository: &'a Repository,
    pub(super) release: &'a Release,
    /// Where the release is, relative to the repository; empty or with a slash at its end.
    pub(super) directory: String,
    /// The path of the index relative to the release, uncompressed.
    pub(super) path: String,
}

impl Wanted<'_> {
    /// Whether the release has it in any form.
    pub(super) fn exists(&self) -> bool {
        !self.forms().is_empty()
    }

    /// The forms that the release lists, the smallest first. Releases list the plain form although
    /// mirrors do not have it, so it comes last.
    fn forms(&self) -> Vec<(Form, String, IndexEntry)> {
        let mut forms: Vec<_> = FORMS
            .iter()
            .filter_map(|(suffix, form)| {
                let path = format!("{}{suffix}", self.path);
                self.release.entries.get(&path).map(|entry| (*form, path, *entry))
            })
            .collect();
        forms.sort_by_key(|(form, _, entry)| (*form == Form::Plain, entry.size));
        forms
    }

    fn broken(&self, sentence: String) -> Error {
        Error::Index {
            repository: self.repository.id.clone(),
            index: format!("{}{}", self.directory, self.path),
            sentence,
        }
    }

    /// The index's text and its digest.
    pub(super) fn read(&self, fetcher: &Fetcher, cache: &CacheDir) -> Result<(Vec<u8>, Sha256), Error> {
        let plain = self.release.entries.get(&self.path);
        if let Some(entry) = plain
            && let Some(text) = self.recall(entry, cache)?
        {
            return Ok((text, entry.sha256));
        }
        let (form, entry, path) = self.fetch(fetcher, cache)?;
        let limit = plain.map_or(MAX_INDEX, |entry| entry.size.min(MAX_INDEX));
        let file = File::open(&path).map_err(FileError::on("open", &path))?;
        let expected = plain.map_or(0, |entry| usize::try_from(entry.size.min(MAX_INDEX)).unwrap_or(0));
        let text = match form.decompress(file, limit, expected) {
            Ok(text) => text,
            Err(error) => {
                remove(&path)?;
                return Err(self.broken(match error.kind() {
                    std::io::ErrorKind::FileTooLarge => format!("it has more than the {limit} bytes expected"),
                    _ => format!("it cannot be decompressed: {error}"),
                }));
            }
        };
        let digest = Sha256::of(&text);
        match plain {
            None => {
                // Only the compressed form has a digest that is signed: that is what is kept.
                tracing::debug!(index = self.path, compressed = %entry.sha256, "the release lists no plain form");
                Ok((text, digest))
            }
            Some(entry) if entry.sha256 == digest && entry.size == text.len() as u64 => {
                cache::publish(&cache.index(&digest), &text)?;
                if form != Form::Plain {
                    remove(&path)?;
                }
                Ok((text, digest))
            }
            Some(entry) => {
                remove(&path)?;
                Err(self.broken(format!("decompressed, its SHA-256 is {digest}, the release says {}", entry.sha256)))
            }
        }
    }

    fn recall(&self, entry: &IndexEntry, cache: &CacheDir) -> Result<Option<Vec<u8>>, Error> {
        if entry.size == 0 {
            return Ok(Some(Vec::new()));
        }
        let path = cache.index(&entry.sha256);
        let Some(text) = cache::read_bounded(&path, entry.size.min(MAX_INDEX))? else { return Ok(None) };
        if text.len() as u64 == entry.size && Sha256::of(&text) == entry.sha256 {
            return Ok(Some(text));
        }
        tracing::warn!(path = %path.display(), "a damaged index in the cache is dropped");
        remove(&path)?;
        Ok(None)
    }

    /// Fetches the smallest form that the mirrors have.
    fn fetch(&self, fetcher: &Fetcher, cache: &CacheDir) -> Result<(Form, IndexEntry, PathBuf), Error> {
        let fail = |source| Error::Fetch { repository: self.repository.id.clone(), source };
        let mut missing = None;
        for (form, path, entry) in self.forms() {
            if entry.size > MAX_INDEX {
                return Err(self.broken(format!("it has {} bytes, more than the {MAX_INDEX} allowed", entry.size)));
            }
            let usual = format!("{}{path}", self.directory);
            let mut paths = Vec::new();
            if self.release.by_hash {
                let parent = usual.rsplit_once('/').map_or(String::new(), |(parent, _)| format!("{parent}/"));
                paths.push(format!("{parent}by-hash/SHA256/{}", entry.sha256));
            }
            paths.push(usual);
            let request = FileRequest {
                what: format!("{} {}{path}", self.repository.id, self.directory.trim_start_matches("dists/")),
                mirrors: self.repository.sources().to_vec(),
                paths,
                size: entry.size,
                sha256: entry.sha256,
            };
            match fetcher.files_into(&[request], &cache.indexes(), &cache.partial()) {
                Ok(mut paths) => match paths.pop() {
                    Some(path) => return Ok((form, entry, path)),
                    None => continue,
                },
                Err(error) if error.is_missing() => missing = Some(error),
                Err(error) => return Err(fail(error)),
            }
        }
        Err(match missing {
            Some(error) => fail(error),
            None => self.broken("the release lists no form of it that is understood".into()),
        })
    }
}

/// Removes a file, which may be gone already.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FileError::on("remove", path)(error)),
        _ => Ok(()),
    }
}
