//! One layer per package: its payload, extracted once per machine, whatever the spec.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use layers::{Entry, TreePath, plain_mode};
use providers::lock::{Group, LockedPackage};
use rayon::prelude::*;

use crate::context::Context;
use crate::error::Error;
use crate::stages::PackageSet;

/// The groups of a package set, extracted ahead of their being configured: one is configured by
/// one process after another, which leaves the other processors to this.
pub struct Groups<U> {
    groups: Receiver<Result<Vec<U>, Error>>,
}

impl<U> Groups<U> {
    /// The packages of the next group, in the lock's order.
    ///
    /// # Errors
    /// A damaged package, by name; errors of the store; an interruption.
    pub fn next(&self) -> Result<Vec<U>, Error> {
        self.groups.recv().unwrap_or_else(|_| Err(Error::build("failed to unpack the packages")))
    }
}

/// Extracts every package that no layer holds yet, several at once, group by group, while the
/// groups that are there are worked with.
///
/// # Errors
/// The work's.
pub fn unpack_ahead<T, U: Send>(
    set: &PackageSet,
    groups: &[Group],
    cx: &Context,
    unpack: impl Fn(&LockedPackage, &Path) -> Result<U, Error> + Sync,
    work: impl FnOnce(&Groups<U>) -> Result<T, Error>,
) -> Result<T, Error> {
    let (done, total) = (AtomicU64::new(0), set.lock.packages.len() as u64);
    let stopped = AtomicBool::new(false);
    let unpack_group = |group: Group| -> Result<Vec<U>, Error> {
        let packages: Vec<_> = set.lock.packages.iter().zip(&set.files).filter(|(one, _)| one.group == group).collect();
        packages
            .into_par_iter()
            .map(|(package, file)| {
                cx.check()?;
                if stopped.load(Ordering::Relaxed) {
                    return Err(Error::interrupted());
                }
                let unpacked = unpack(package, file)?;
                let count = done.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                cx.reporter.items("unpack packages", count, total);
                Ok(unpacked)
            })
            .collect()
    };
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        scope.spawn(move || {
            for group in groups {
                let unpacked = unpack_group(*group);
                let failed = unpacked.is_err();
                if sender.send(unpacked).is_err() || failed {
                    break;
                }
            }
        });
        let result = work(&Groups { groups: receiver });
        stopped.store(true, Ordering::Relaxed);
        result
    })
}

/// Gives the directories of an extracted payload their modes: extractors make them 0755, and few
/// packages ship others.
///
/// # Errors
/// I/O errors.
pub fn with_directory_modes(files: &Path, entries: &[(TreePath, Entry)]) -> Result<(), Error> {
    for (path, entry) in entries {
        if entry.is_directory() && plain_mode(entry) != 0o755 {
            let host = path.under(files);
            fs::set_permissions(&host, fs::Permissions::from_mode(plain_mode(entry)))
                .map_err(|source| Error::io(crate::error::Kind::Build, "change the mode of", &host, source))?;
        }
    }
    Ok(())
}
