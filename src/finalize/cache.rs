//! The image cache: finished outputs by the digest of everything that went into them.
//!
//! ```text
//! CACHE/images/KEY/record.json   what belongs to it, and where it was written to
//! CACHE/images/KEY/NAME          the outputs, copies (shared blocks where the file system can)
//! ```
//! Outputs are copies, not links: a user may boot an image and change it, and must not thereby
//! change what the next build gets.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use layers::{Key, Sha256};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::copy::{Check, clone, copy, digest};
use super::output::Artifact;
use super::target::Target;
use crate::error::{Error, Kind, ResultExt};

/// The image cache below a cache directory.
#[derive(Clone, Debug)]
pub struct ImageCache {
    root: PathBuf,
    boot: String,
}

/// One image of the cache.
#[derive(Clone, Debug)]
pub struct CachedImage {
    /// Its key.
    pub hash: String,
    /// Its name.
    pub name: String,
    /// Sum of the sizes of its files.
    pub bytes: u64,
    /// What belongs to it.
    pub record: Record,
}

impl CachedImage {
    /// What `cache info` shows.
    pub fn describe(&self) -> String {
        let mut text = format!("name: {}\nhash: {}\n", self.name, self.hash);
        for file in &self.record.files {
            text.push_str(&format!("{} {} {} bytes sha256:{}\n", file.kind, file.name, file.size, file.sha256));
        }
        text
    }
}

/// What the cache knows of one image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The image's name; at most so many are kept of each.
    pub name: String,
    /// The boot of the machine in which the outputs were written, or found to be whole.
    #[serde(default)]
    boot: String,
    files: Vec<KeptFile>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeptFile {
    name: String,
    kind: String,
    sha256: Sha256,
    size: u64,
    /// Where it was written to last, as the file system tells files apart.
    written: Option<Place>,
}

/// Where the outputs of a record are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lying {
    /// In the target, as they were written.
    Whole,
    /// In the target and untouched since, but these have other bytes.
    Damaged(Vec<PathBuf>),
    /// Not all of them are there, or can be read.
    Elsewhere,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl Place {
    fn of(path: &Path) -> Option<Self> {
        let meta = path.symlink_metadata().ok()?;
        Some(Self {
            path: path.to_path_buf(),
            device: meta.dev(),
            inode: meta.ino(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            size: meta.size(),
        })
    }
}

impl ImageCache {
    /// The image cache below a cache directory; `boot` is the id of this boot of the machine.
    pub fn new(cache: &Path, boot: &str) -> Self {
        Self { root: cache.join("images"), boot: boot.to_owned() }
    }

    fn place(&self, key: &Key) -> PathBuf {
        self.root.join(key.to_hex())
    }

    /// What the cache knows of the image with this key; a damaged record counts as none.
    pub fn find(&self, key: &Key) -> Option<Record> {
        let file = File::open(self.place(key).join("record.json")).ok()?;
        let mut text = String::new();
        file.take(1 << 20).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Whether every output lies in the target just as it was written. Nothing of it was synced, so those of
    /// another boot of the machine are read through.
    ///
    /// # Errors
    /// Those of `check`.
    pub fn look(&self, key: &Key, record: &Record, target: &Target, check: Check<'_>) -> Result<Lying, Error> {
        let path = |file: &KeptFile| target.directory.join(&file.name);
        if !record.files.iter().all(|file| file.written.is_some() && Place::of(&path(file)) == file.written) {
            return Ok(Lying::Elsewhere);
        }
        if record.boot == self.boot {
            return Ok(Lying::Whole);
        }
        let found =
            |file: &KeptFile| File::open(path(file)).ok().and_then(|opened| digest(opened, &path(file), check).ok());
        let found = record.files.par_iter().map(found).collect::<Option<Vec<_>>>();
        check()?;
        let Some(found) = found else { return Ok(Lying::Elsewhere) };
        let damaged = record.files.iter().zip(found).filter(|(file, found)| *found != (file.sha256, file.size));
        let damaged: Vec<PathBuf> = damaged.map(|(file, _)| path(file)).collect();
        if !damaged.is_empty() {
            return Ok(Lying::Damaged(damaged));
        }
        let record = Record { boot: self.boot.clone(), ..record.clone() };
        // Without it the next build reads them again.
        let _ = write_record(&self.place(key), &record);
        Ok(Lying::Whole)
    }

    /// The artifacts of a record, where the target has or will have them.
    pub fn artifacts(&self, record: &Record, target: &Target) -> Vec<Artifact> {
        let artifact = |file: &KeptFile| Artifact {
            path: target.directory.join(&file.name),
            kind: file.kind.clone(),
            sha256: file.sha256,
            size: file.size,
        };
        record.files.iter().map(artifact).collect()
    }

    /// Copies an image out of the cache. `None`: what was kept is damaged or gone, and is dropped.
    ///
    /// # Errors
    /// The target cannot be written; those of `check`.
    pub fn restore(
        &self,
        key: &Key,
        record: &Record,
        target: &Target,
        check: Check<'_>,
    ) -> Result<Option<Vec<Artifact>>, Error> {
        let mut ready = Vec::new();
        for file in &record.files {
            let from = self.place(key).join(&file.name);
            let pending = target.begin(&file.name)?;
            let copied = File::open(&from).ok().map(|source| copy(&source, pending.handle()?, pending.path(), check));
            let whole = match copied {
                Some(result) => result.map(|digest| digest == (file.sha256, file.size))?,
                None => false,
            };
            if !whole {
                let _ = fs::remove_dir_all(self.place(key));
                return Ok(None);
            }
            ready.push(pending);
        }
        let named = target.publish_all(ready)?;
        // Without it the next build copies again; another process may just have cleared the cache.
        if let Err(error) = self.note_places(key, record.clone(), target) {
            tracing::debug!("where the image is is not noted: {}", crate::explain::chain(&error));
        }
        named.settle();
        Ok(Some(self.artifacts(record, target)))
    }

    /// Keeps the outputs of a build, and no more than `max_count` of its name.
    ///
    /// # Errors
    /// I/O errors.
    pub fn keep(
        &self,
        key: &Key,
        name: &str,
        artifacts: &[Artifact],
        target: &Target,
        max_count: u32,
    ) -> Result<(), Error> {
        let place = self.place(key);
        let making = self.root.join(format!(".{}-{}", key.to_hex(), std::process::id()));
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::io(Kind::Build, "write to the image cache", &path, source)
        };
        let _ = fs::remove_dir_all(&making);
        fs::create_dir_all(&making).map_err(io(&making))?;
        // Held while it is made: what nobody holds was left by a killed build.
        let held = File::open(&making).map_err(io(&making))?;
        let _ = held.try_lock();
        let record = self.fill(&making, name, artifacts).inspect_err(|_| {
            let _ = fs::remove_dir_all(&making);
        })?;
        let _ = fs::remove_dir_all(&place);
        fs::rename(&making, &place).map_err(io(&place))?;
        self.note_places(key, record, target)?;
        self.prune(name, max_count)
    }

    /// Copies outputs into a directory of the cache.
    fn fill(&self, making: &Path, name: &str, artifacts: &[Artifact]) -> Result<Record, Error> {
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::io(Kind::Build, "write to the image cache", &path, source)
        };
        let mut files = Vec::new();
        for artifact in artifacts {
            let file_name =
                artifact.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let to = making.join(&file_name);
            let source = File::open(&artifact.path).map_err(io(&artifact.path))?;
            let sink = File::create(&to).map_err(io(&to))?;
            clone(&source, sink, &to)?;
            files.push(KeptFile {
                name: file_name,
                kind: artifact.kind.clone(),
                sha256: artifact.sha256,
                size: artifact.size,
                written: None,
            });
        }
        let record = Record { name: name.to_owned(), boot: self.boot.clone(), files };
        write_record(making, &record)?;
        Ok(record)
    }

    /// Every image that is kept, by name, then by key.
    pub fn list(&self) -> Vec<CachedImage> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().filter_map(Result::ok);
        let mut found: Vec<CachedImage> = entries
            .filter_map(|entry| {
                let key: Key = entry.file_name().to_str()?.parse().ok()?;
                let record = self.find(&key)?;
                let bytes = record.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.size));
                Some(CachedImage { hash: key.to_hex(), name: record.name.clone(), bytes, record })
            })
            .collect();
        found.sort_by(|a, b| (&a.name, &a.hash).cmp(&(&b.name, &b.hash)));
        found
    }

    /// Removes every image.
    ///
    /// # Errors
    /// I/O errors.
    pub fn clear(&self) -> Result<u64, Error> {
        let freed = self.list().iter().fold(0u64, |sum, image| sum.saturating_add(image.bytes));
        match fs::remove_dir_all(&self.root) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(Kind::Other, "remove", &self.root, source))
            }
            _ => Ok(freed),
        }
    }

    /// Removes every image that is finished, and gives how many they were. Builds may be running: what one is
    /// making stays.
    ///
    /// # Errors
    /// I/O errors.
    pub fn forget(&self) -> Result<usize, Error> {
        let images = self.list();
        for image in &images {
            let place = self.root.join(&image.hash);
            match fs::remove_dir_all(&place) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(Kind::Other, "remove", &place, source));
                }
                _ => {}
            }
        }
        Ok(images.len())
    }

    fn note_places(&self, key: &Key, mut record: Record, target: &Target) -> Result<(), Error> {
        record.boot.clone_from(&self.boot);
        for file in &mut record.files {
            file.written = Place::of(&target.directory.join(&file.name));
        }
        write_record(&self.place(key), &record)
    }

    /// Removes the oldest images of a name beyond `max_count`, and what killed builds left.
    fn prune(&self, name: &str, max_count: u32) -> Result<(), Error> {
        let mut of_name: Vec<(SystemTime, PathBuf)> = Vec::new();
        let entries = fs::read_dir(&self.root).map_err(|e| Error::io(Kind::Build, "list", &self.root, e))?;
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            let record = fs::read_to_string(path.join("record.json")).ok();
            let record: Option<Record> = record.and_then(|text| serde_json::from_str(&text).ok());
            let modified = path.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            match record {
                Some(record) if record.name == name && !hidden => of_name.push((modified, path)),
                _ if hidden && File::open(&path).is_ok_and(|held| held.try_lock().is_ok()) => {
                    let _ = fs::remove_dir_all(&path);
                }
                _ => {}
            }
        }
        of_name.sort();
        let surplus = of_name.len().saturating_sub(max_count.max(1) as usize);
        for (_, path) in of_name.into_iter().take(surplus) {
            let _ = fs::remove_dir_all(path);
        }
        Ok(())
    }
}

fn write_record(directory: &Path, record: &Record) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(record).to("write the record of an image")?;
    let path = directory.join(format!("record.json.{}", std::process::id()));
    fs::write(&path, text).map_err(|e| Error::io(Kind::Build, "write", &path, e))?;
    let place = directory.join("record.json");
    fs::rename(&path, &place).map_err(|e| Error::io(Kind::Build, "rename to", &place, e))
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
