//! One layer per package: its payload, extracted once per machine, whatever the spec.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use layers::{KeyBuilder, Layer, StoredLayer, plain_mode};
use providers::deb::payload::VERSION as EXTRACTOR_VERSION;
use providers::deb::{Aliases, extract};
use providers::lock::LockedPackage;
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

/// Extracts every package that no layer holds yet, several at once; in the lock's order.
///
/// # Errors
/// A damaged package, by name; errors of the store; an interruption.
pub fn unpack(set: &PackageSet, aliases: &Aliases, cx: &Context) -> Result<Vec<Unpacked>, Error> {
    let done = AtomicU64::new(0);
    let total = set.lock.packages.len() as u64;
    let unpacked: Result<Vec<Unpacked>, Error> = (set.lock.packages.par_iter().zip(&set.files))
        .map(|(package, file)| {
            cx.check()?;
            let unpacked = unpack_one(package, file, aliases, cx)?;
            let count = done.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            cx.reporter.items("unpack packages", count, total);
            Ok(unpacked)
        })
        .collect();
    unpacked
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
