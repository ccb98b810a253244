//! Cleaning what is kept between builds: packages by age and size, layers that nothing needs,
//! images.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use layers::{Key, Store, size_of};

use crate::cli::options::CleanWhat;
use crate::config::Config;
use crate::error::{Error, Kind, ResultExt};
use crate::finalize::cache::ImageCache;
use crate::means;
use crate::slots;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Cleans the caches and gives the number of bytes that were freed. No build may be running with
/// the same cache directory: a running build's inputs are never swept.
///
/// # Errors
/// I/O errors; a build that runs.
pub fn clean(config: &Config, what: CleanWhat) -> Result<u64, Error> {
    let _alone = slots::alone(config)?;
    let packages = config.cache_dir.join("packages");
    let store = config.cache_dir.join("store");
    let images = ImageCache::new(&config.cache_dir, &means::boot());
    let below = |name: &str| config.cache_dir.join(name);
    let mut freed = 0u64;
    match what {
        CleanWhat::Expired => {
            freed = expire(&packages.join("sha256"), config)?;
            freed = freed.saturating_add(expire(&below("bases/sha256"), config)?);
            freed = freed.saturating_add(expire_layers(config)?);
        }
        CleanWhat::Packages => {
            // What says that damage was found goes with the store.
            if store.is_dir() {
                settle(config, &Store::open(&store, &means::boot()).to("clean the layers")?)?;
            }
            freed = remove(&packages)?.saturating_add(remove(&store)?);
        }
        CleanWhat::Images => freed = images.clear()?,
        CleanWhat::All => {
            for path in [
                &packages,
                &store,
                &below("indexes"),
                &below("releases"),
                &below("resolutions"),
                &below("stacks"),
                &below("builds"),
                &below("blobs"),
                &below("bases"),
            ] {
                freed = freed.saturating_add(remove(path)?);
            }
            freed = freed.saturating_add(images.clear()?);
        }
    }
    Ok(freed)
}

/// Removes the layers that were not used for too long and gives the number of bytes that were freed. A
/// running build's layers are never swept.
///
/// # Errors
/// I/O errors; a build that runs.
pub fn collect(config: &Config) -> Result<u64, Error> {
    let _alone = slots::alone(config)?;
    expire_layers(config)
}

fn expire_layers(config: &Config) -> Result<u64, Error> {
    let store = config.cache_dir.join("store");
    if !store.is_dir() {
        return Ok(0);
    }
    let age = DAY.saturating_mul(config.package_cache.retention_days);
    let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let layers = Store::open(&store, &means::boot()).and_then(|store| store.expire(before));
    layers.to("clean the layers")
}

/// Removes what was made of layers and is kept as finished, if damage was found since that was last done: images,
/// and the digests of packed layers. Gives how many images they were. Builds may be running.
///
/// # Errors
/// I/O errors.
pub fn settle(config: &Config, store: &Store) -> Result<usize, Error> {
    let damage = store.damage().to("see whether damage was found")?;
    if store.is_settled(&damage).to("see whether damage was found")? {
        return Ok(0);
    }
    let count = ImageCache::new(&config.cache_dir, &means::boot()).forget()?;
    // The directory stays: a build that runs may be writing to it.
    for entry in fs::read_dir(config.cache_dir.join("blobs")).into_iter().flatten().filter_map(Result::ok) {
        // What has another name is being written, or somebody else's.
        if !entry.file_name().to_str().is_some_and(|name| name.parse::<Key>().is_ok()) {
            continue;
        }
        let path = entry.path();
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(Kind::Other, "remove", &path, source));
            }
            _ => {}
        }
    }
    store.settle(&damage).to("note that nothing is left of damage")?;
    Ok(count)
}

/// Removes packages that were not used for too long, then the longest unused ones until the rest
/// fits.
fn expire(directory: &Path, config: &Config) -> Result<u64, Error> {
    let limits = &config.package_cache;
    let mut files: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            // Where the file system notes no reading, the time of writing counts.
            let used = meta.accessed().or_else(|_| meta.modified()).ok()?;
            Some((used, meta.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total = files.iter().fold(0u64, |sum, (_, size, _)| sum.saturating_add(*size));
    let oldest = SystemTime::now().checked_sub(DAY.saturating_mul(limits.retention_days));
    let mut freed = 0u64;
    for (used, size, path) in files {
        if total <= limits.max_bytes && oldest.is_none_or(|oldest| used >= oldest) {
            continue;
        }
        fs::remove_file(&path).map_err(|source| Error::io(Kind::Other, "remove", &path, source))?;
        if let (Some(parent), Some(name)) = (directory.parent(), path.file_name()) {
            // A note without its package costs some bytes and harms nobody.
            let _ = fs::remove_file(parent.join("checked").join(name));
        }
        total = total.saturating_sub(size);
        freed = freed.saturating_add(size);
    }
    Ok(freed)
}

/// Removes a directory and gives the bytes that its files had.
fn remove(directory: &Path) -> Result<u64, Error> {
    let bytes = size_of(directory);
    match fs::remove_dir_all(directory) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(Kind::Other, "remove", directory, source))
        }
        _ => Ok(bytes),
    }
}
