//! What a spec was last built of.
//!
//! ```text
//! CACHE/builds/NAME.json   of the spec of this name; readable by its user alone
//! ```
//!
//! A record holds names, versions and digests, never what a spec says: that may be a secret.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use layers::{Blake3, Key, Recipe, Sha256, Store};
use providers::lock::Lock;
use serde::{Deserialize, Serialize};

use crate::context::SourceRecord;
use crate::error::{Error, Kind, ResultExt};
use crate::spec::choice::Stage;
use crate::spec::outline::Outline;

/// Version of the record. One of another version counts as none.
const FORMAT: u32 = 2;
/// Largest record that is read and written, in bytes. One of a thousand packages has half a MiB.
const RECORD_BYTES_MAX: u64 = 32 << 20;

/// What a build was made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    /// Version of the program.
    pub program: String,
    /// What the spec said.
    pub outline: Outline,
    /// Digest of the provider's data.
    pub provider: Blake3,
    /// Time of everything made, in seconds since the epoch.
    pub epoch: i64,
    /// The manifest of the image that it is put on, if it is.
    pub base: Option<Sha256>,
    /// All that is known of the keys that sign packages, as a digest, by repository.
    pub keyrings: BTreeMap<String, Sha256>,
    /// The lock's packages.
    pub packages: Vec<Package>,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// The key of the finished image.
    pub image: Option<Key>,
}

/// A package of a lock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of its file.
    pub sha256: Sha256,
}

/// A step that was done, or whose layer was at hand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// The stage.
    pub stage: String,
    /// What people call it.
    pub title: String,
    /// What it was made of.
    pub recipe: Recipe,
    /// What it made.
    pub layer: Blake3,
}

impl Record {
    /// The record of a build that begins.
    pub fn new(outline: Outline, provider: &[u8], epoch: i64, lock: &Lock, sources: &[SourceRecord]) -> Self {
        let keyring = |source: &SourceRecord| Some((source.repository.clone(), source.keyring?));
        let package = |package: &providers::lock::LockedPackage| Package {
            name: package.name.clone(),
            version: package.version.clone(),
            sha256: package.sha256,
        };
        Self {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            outline,
            provider: Blake3::of(provider),
            epoch,
            base: lock.base.as_ref().map(|base| base.manifest),
            keyrings: sources.iter().filter_map(keyring).collect(),
            packages: lock.packages.iter().map(package).collect(),
            steps: Vec::new(),
            image: None,
        }
    }

    /// That of the last build of a spec of this name. One that is not there, that cannot be read or that is
    /// of another version is none: a build does without.
    pub fn read(cache: &Path, name: &str) -> Option<Self> {
        let path = place(cache, name);
        let mut text = Vec::new();
        let file = File::open(&path).ok()?;
        file.take(RECORD_BYTES_MAX.saturating_add(1)).read_to_end(&mut text).ok()?;
        let found: Option<Self> = match text.len() as u64 > RECORD_BYTES_MAX {
            true => None,
            false => serde_json::from_slice(&text).ok(),
        };
        let found = found.filter(|record| record.format == FORMAT);
        if found.is_none() {
            tracing::debug!("{} cannot be read: no reasons are told", path.display());
        }
        found
    }

    /// Keeps it in the place of the last one.
    ///
    /// # Errors
    /// I/O errors.
    pub fn keep(&self, cache: &Path, name: &str, store: &Store) -> Result<(), Error> {
        let text = serde_json::to_vec(self).to("write the record of this build")?;
        let place = place(cache, name);
        if text.len() as u64 > RECORD_BYTES_MAX {
            return Err(Error::build(format!("{} would be larger than 32 MiB", place.display())));
        }
        let staging = store.stage().to("make a work directory")?;
        let passing = staging.path().join("record");
        let write = || -> io::Result<()> {
            fs::create_dir_all(place.parent().unwrap_or(cache))?;
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&passing)?.write_all(&text)?;
            fs::rename(&passing, &place)
        };
        write().map_err(|source| Error::io(Kind::Build, "write", &place, source))
    }

    /// The steps of a stage.
    pub fn of_stage(&self, stage: Stage) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| step.stage == stage.as_str())
    }

    /// The step of this title, the `number`th of those that have it.
    pub fn step(&self, title: &str, number: usize) -> Option<&Step> {
        self.steps.iter().filter(|step| step.title == title).nth(number)
    }
}

fn place(cache: &Path, name: &str) -> PathBuf {
    cache.join("builds").join(format!("{name}.json"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use layers::RecipeBuilder;

    use super::*;

    /// A record with these packages and versions.
    pub fn record(packages: &[(&str, &str)]) -> Record {
        let package = |(name, version): &(&str, &str)| Package {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            sha256: Sha256::of(format!("{name} {version}").as_bytes()),
        };
        Record {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            outline: Outline::default(),
            provider: Blake3::of(b"facts"),
            epoch: 1,
            base: None,
            keyrings: BTreeMap::new(),
            packages: packages.iter().map(package).collect(),
            steps: Vec::new(),
            image: None,
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_record() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::open(&cache.path().join("store"), "boot").unwrap();
        let mut kept = record(&[("nginx", "1.0")]);
        let recipe = RecipeBuilder::new("script", 1).field("content", b"x").members("packages", ["a"]).finish();
        let layer = Blake3::of(b"layer");
        kept.steps.push(Step { stage: "compose".to_owned(), title: "run ./x".to_owned(), recipe, layer });
        assert_eq!(Record::read(cache.path(), "small"), None);
        kept.keep(cache.path(), "small", &store).unwrap();
        kept.keep(cache.path(), "small", &store).unwrap();
        assert_eq!(Record::read(cache.path(), "small"), Some(kept.clone()));
        assert_eq!(Record::read(cache.path(), "other"), None);
        let path = cache.path().join("builds/small.json");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let text = fs::read_to_string(&path).unwrap();
        for damaged in [
            String::new(),
            text[..text.len() / 2].to_owned(),
            text.replacen("\"format\":2", "\"format\":1", 1),
            text.replacen("\"program\"", "\"programs\"", 1),
            "[".repeat(100_000),
        ] {
            assert_ne!(damaged, text);
            fs::write(&path, damaged).unwrap();
            assert_eq!(Record::read(cache.path(), "small"), None);
        }
    }
}
