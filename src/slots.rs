//! Who works in a cache directory at one time: so many builds, or one who must be alone with it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::config::Config;
use crate::error::{Error, Kind};
use crate::progress::Reporter;

/// A place among the builds of a cache directory, held until it is dropped.
#[derive(Debug)]
pub struct Slot {
    _gate: File,
    _number: File,
}

/// What every build shares and what whoever must be alone holds for itself: how many builds may run is said
/// by each one's configuration, so that their numbers do not tell whether another runs.
fn gate(config: &Config) -> Result<(PathBuf, File), Error> {
    let directory = config.cache_dir.join("slots");
    fs::create_dir_all(&directory).map_err(|source| {
        Error::io(Kind::Configuration, "create directory", &directory, source)
            .hint("name a directory that you can write to with --cache-dir")
    })?;
    let path = directory.join("all");
    let file = File::create(&path).map_err(|source| Error::io(Kind::Configuration, "create", &path, source))?;
    Ok((directory, file))
}

fn is_taken(locked: Result<(), TryLockError>, path: &Path) -> Result<bool, Error> {
    match locked {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(Error::io(Kind::Build, "lock", path, source)),
    }
}

/// Waits until fewer builds run with this cache directory than the configuration allows, and nobody is alone
/// with it.
///
/// # Errors
/// I/O errors; an interruption.
pub fn slot(config: &Config, interrupted: &AtomicBool, reporter: &dyn Reporter) -> Result<Slot, Error> {
    let mut told = false;
    loop {
        let (directory, gate) = gate(config)?;
        if is_taken(gate.try_lock_shared(), &directory)? {
            for number in 0..config.max_concurrent_builds.max(1) {
                let path = directory.join(number.to_string());
                let file =
                    File::create(&path).map_err(|source| Error::io(Kind::Configuration, "create", &path, source))?;
                if is_taken(file.try_lock(), &path)? {
                    return Ok(Slot { _gate: gate, _number: file });
                }
            }
        }
        drop(gate);
        if !told {
            reporter.info("waiting for other builds to end (core.max_concurrent_builds)");
            told = true;
        }
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Takes a cache directory for oneself, so that no build runs until the value is dropped.
///
/// # Errors
/// A build runs with this cache directory; I/O errors.
pub fn alone(config: &Config) -> Result<File, Error> {
    let (directory, gate) = gate(config)?;
    match is_taken(gate.try_lock(), &directory).map_err(|error| error.of_kind(Kind::Other))? {
        true => Ok(gate),
        false => Err(Error::other("a build is running with this cache directory").hint("try again when it has ended")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{ImageCache, LogLevel, PackageCache};

    #[test]
    fn who_must_be_alone_sees_every_build_whatever_its_number() {
        let home = tempfile::tempdir().unwrap();
        let allows = |max_concurrent_builds| Config {
            file: None,
            cache_dir: home.path().into(),
            work_dir: home.path().into(),
            provider_directories: Vec::new(),
            log_level: LogLevel::Info,
            max_concurrent_builds,
            cleanup_on_failure: true,
            package_cache: PackageCache { enabled: true, max_bytes: 0, retention_days: 0 },
            image_cache: ImageCache { enabled: true, max_count: 0 },
            remotes: Vec::new(),
            registries: Vec::new(),
            providers: BTreeMap::new(),
        };
        let reporter = crate::progress::Silent;
        let (many, one) = (allows(2), allows(1));
        let running = AtomicBool::new(false);
        let first = slot(&many, &running, &reporter).unwrap();
        let second = slot(&many, &running, &reporter).unwrap();
        drop(first);
        assert!(alone(&one).unwrap_err().to_string().contains("a build is running"));
        drop(second);
        let held = alone(&one).unwrap();
        assert!(alone(&many).is_err());
        // A build waits, until somebody interrupts it.
        assert_eq!(slot(&many, &AtomicBool::new(true), &reporter).unwrap_err().kind(), Kind::Interrupted);
        drop(held);
        slot(&one, &running, &reporter).unwrap();
    }
}
