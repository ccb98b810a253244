//! One layer per package: its payload, extracted once per machine, whatever the spec.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use layers::{KeyBuilder, Layer, StoredLayer, plain_mode};
use providers::deb::payload::VERSION as EXTRACTOR_VERSION;
use providers::deb::{Aliases, extract};
use providers::lock::{Group, LockedPackage};
use rayon::prelude::*;

use super::note::Note;
use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::stages::PackageSet;

/// A package with its layer.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// As the lock names it.
    pub package: LockedPackage,
    /// Its files.
    pub layer: StoredLayer,
    /// What dpkg's database needs of it.
    pub note: Note,
}

impl Unpacked {
    /// Whether the package brings a control file, such as a maintainer script, of this name.
    pub fn has_script(&self, name: &str) -> bool {
        self.note.control.files.contains_key(name)
    }
}

/// The groups of a package set, extracted ahead of their being configured: one is configured by
/// one process after another, which leaves the other processors to this.
pub struct Groups {
    groups: Receiver<Result<Vec<Unpacked>, Error>>,
}

impl Groups {
    /// The packages of the next group, in the lock's order.
    ///
    /// # Errors
    /// A damaged package, by name; errors of the store; an interruption.
    pub fn next(&self) -> Result<Vec<Unpacked>, Error> {
        self.groups.recv().unwrap_or_else(|_| Err(Error::build("failed to unpack the packages")))
    }
}

/// Extracts every package that no layer holds yet, several at once, group by group, while the
/// groups that are there are worked with.
///
/// # Errors
/// The work's.
pub fn unpack_ahead<T>(
    set: &PackageSet,
    groups: &[Group],
    aliases: &Aliases,
    cx: &Context,
    work: impl FnOnce(&Groups) -> Result<T, Error>,
) -> Result<T, Error> {
    let (done, total) = (AtomicU64::new(0), set.lock.packages.len() as u64);
    let stopped = AtomicBool::new(false);
    let unpack_group = |group: Group| -> Result<Vec<Unpacked>, Error> {
        let packages: Vec<_> = set.lock.packages.iter().zip(&set.files).filter(|(one, _)| one.group == group).collect();
        packages
            .into_par_iter()
            .map(|(package, file)| {
                cx.check()?;
                if stopped.load(Ordering::Relaxed) {
                    return Err(Error::interrupted());
                }
                let unpacked = unpack_one(package, file, aliases, cx)?;
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

fn unpack_one(package: &LockedPackage, file: &Path, aliases: &Aliases, cx: &Context) -> Result<Unpacked, Error> {
    let aliased: Vec<Vec<u8>> =
        aliases.iter().map(|(from, to)| [from.as_bytes(), b" ", to.as_bytes()].concat()).collect();
    let key = KeyBuilder::new("deb package", EXTRACTOR_VERSION)
        .field("package", package.sha256)
        .list("aliases", aliased)
        .finish();
    if let Some((layer, note)) = cx.recall(&key)?
        && let Some(note) = Note::decode(&note)
    {
        return Ok(Unpacked { package: package.clone(), layer, note });
    }
    let what = format!("unpack {} {}", package.name, package.version);
    let staging = cx.store.stage().to("make a work directory")?;
    let files = staging.files().to("stage a layer")?;
    let payload = extract(file, &files, aliases).to(&what)?;
    for (path, entry) in &payload.entries {
        // The extractor makes directories 0755; few packages ship others.
        if entry.is_directory() && plain_mode(entry) != 0o755 {
            let host = path.under(&files);
            fs::set_permissions(&host, fs::Permissions::from_mode(plain_mode(entry)))
                .map_err(|source| Error::io(crate::error::Kind::Build, "change the mode of", &host, source))?;
        }
    }
    let note = Note {
        control: payload.control,
        listed: payload.listed,
        conffiles: payload.conffiles,
        implied: payload.implied,
        md5sums: payload.md5sums,
    };
    let layer = cx.store.publish(staging, Layer::of(payload.entries), &key, &note.encode()).to("keep a layer")?;
    Ok(Unpacked { package: package.clone(), layer, note })
}
