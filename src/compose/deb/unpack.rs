//! A deb package as a layer of its own, and what dpkg's database needs of it.

use layers::{Key, KeyBuilder, Layer, StoredLayer};
use providers::deb::payload::VERSION as EXTRACTOR_VERSION;
use providers::deb::{Aliases, extract};
use providers::lock::LockedPackage;

use super::note::Note;
use crate::compose::followed::Coming;
use crate::compose::unpack::{at_hand, keep, with_directory_modes};
use crate::context::{Context, Made};
use crate::error::{Error, ResultExt};
use crate::packages::PackageFile;
use crate::permits::Permits;

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

    /// What an initial ramdisk may depend on.
    pub fn coming(&self) -> Coming<'_> {
        let scripts = self.note.control.files.iter().map(|(name, file)| (name.as_str(), file.bytes.as_slice()));
        Coming { name: &self.package.name, layer: &self.layer.layer, scripts: scripts.collect() }
    }
}

/// The key of a package's layer.
pub fn key_of(package: &LockedPackage, aliases: &Aliases) -> Key {
    let aliased: Vec<Vec<u8>> =
        aliases.iter().map(|(from, to)| [from.as_bytes(), b" ", to.as_bytes()].concat()).collect();
    KeyBuilder::new("deb package", EXTRACTOR_VERSION).field("package", package.sha256).list("aliases", aliased).finish()
}

/// Extracts a package, by permit, or takes its layer from the store or a layer cache.
///
/// # Errors
/// A damaged package, by name; errors of the store.
pub fn unpack_one(
    package: &LockedPackage,
    file: &PackageFile,
    aliases: &Aliases,
    permits: &Permits,
    cx: &Context,
) -> Result<Unpacked, Error> {
    let key = key_of(package, aliases);
    let made = Made::package(&package.name, &package.version);
    if let Some((layer, note)) = at_hand(&key, &made, file, cx, Note::decode)? {
        return Ok(Unpacked { package: package.clone(), layer, note });
    }
    let path = file.get(cx)?;
    let _permit = permits.take();
    cx.check()?;
    let what = format!("unpack {} {}", package.name, package.version);
    let staging = cx.store.stage().to("make a work directory")?;
    let files = staging.files().to("stage a layer")?;
    let payload = extract(path, &files, aliases).to(&what)?;
    with_directory_modes(&files, &payload.entries)?;
    let note = Note {
        control: payload.control,
        listed: payload.listed,
        conffiles: payload.conffiles,
        implied: payload.implied,
        md5sums: payload.md5sums,
    };
    let layer = keep(&key, made, staging, Layer::of(payload.entries), &note.encode(), cx)?;
    Ok(Unpacked { package: package.clone(), layer, note })
}
