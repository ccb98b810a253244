//! An rpm package as a layer of its own, and what installing it takes besides its files.

use layers::{KeyBuilder, Layer, StoredLayer};
use providers::lock::LockedPackage;
use providers::rpm::header::{Header, MAGIC};
use providers::rpm::payload::{PackagedFile, VERSION as EXTRACTOR_VERSION};
use providers::rpm::scripts::{Program, Scripts};
use providers::rpm::{Payload, extract};
use providers::trust::Keyring;
use providers::unpack::Aliases;

use super::note::Note;
use crate::compose::followed::Coming;
use crate::compose::unpack::{at_hand, keep, with_directory_modes};
use crate::context::{Context, Made};
use crate::error::{Error, ResultExt};
use crate::packages::{PackageFile, verify};
use crate::permits::Permits;

/// A package with its layer.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// As the lock names it.
    pub package: LockedPackage,
    /// Its files.
    pub layer: StoredLayer,
    /// What is kept beside the layer.
    pub note: Note,
    /// Its header.
    pub header: Header,
    /// Its signature header, some values of which the database has.
    pub signature: Header,
    /// Every file that it lists, ghosts among them.
    pub files: Vec<PackagedFile>,
}

/// Where users and groups are (passwd(5), group(5)).
const ACCOUNTS: [&[u8]; 2] = [b"etc/passwd", b"etc/group"];

impl Unpacked {
    /// Whether it has the files that users and groups are in.
    pub fn brings_accounts(&self) -> bool {
        self.layer.layer.changes.keys().any(|path| ACCOUNTS.contains(&path.as_bytes()))
    }

    /// What it wants to be run.
    ///
    /// # Errors
    /// Lists of unequal length in its header.
    pub fn scripts(&self) -> Result<Scripts, Error> {
        Scripts::read(&self.header).to(&format!("read the scripts of {}", self.package.name))
    }

    /// What an initial ramdisk may depend on; `scripts` are its own.
    pub fn coming<'s>(&'s self, scripts: &'s Scripts) -> Coming<'s> {
        let scriptlets = scripts.scriptlets.iter().map(|scriptlet| (scriptlet.phase.name(), &scriptlet.program));
        let triggers = scripts.triggers.iter().map(|trigger| &trigger.program);
        let triggers = triggers.chain(scripts.file_triggers.iter().map(|trigger| &trigger.program));
        let texts = scriptlets.chain(triggers.map(|program| ("trigger", program))).flat_map(|(name, program)| {
            let Program { interpreter, script, .. } = program;
            let words = interpreter.iter().map(|word| word.as_bytes());
            words.chain(script.as_deref()).map(move |text| (name, text))
        });
        Coming { name: &self.package.name, layer: &self.layer.layer, scripts: texts.collect() }
    }
}

/// Extracts a package, by permit, or takes its layer from the store or a layer cache. `keys` are those that sign the packages of
/// its repository, if any do.
///
/// # Errors
/// A package that is damaged or not genuine, by name; errors of the store.
pub fn unpack_one(
    package: &LockedPackage,
    file: &PackageFile,
    keys: Option<&Keyring>,
    aliases: &Aliases,
    permits: &Permits,
    cx: &Context,
) -> Result<Unpacked, Error> {
    let aliased: Vec<Vec<u8>> =
        aliases.iter().map(|(from, to)| [from.as_bytes(), b" ", to.as_bytes()].concat()).collect();
    let key = KeyBuilder::new("rpm package", EXTRACTOR_VERSION)
        .field("package", package.sha256)
        .list("aliases", aliased)
        .finish();
    let what = format!("unpack {} {}", package.name, package.version);
    let made = Made::package(&package.name, &package.version);
    let read = |note: &[u8]| {
        let note = Note::decode(note)?;
        let (header, signature) = (Header::parse(&note.header).ok()?, Header::parse_signature(&note.signature).ok()?);
        let files = Payload::stated(&header, file.path(), aliases).ok()?;
        Some((note, header, signature, files))
    };
    if let Some((layer, (note, header, signature, files))) = at_hand(&key, &made, file, cx, read)? {
        return Ok(Unpacked { package: package.clone(), layer, note, header, signature, files });
    }
    let path = file.get(cx)?;
    let _permit = permits.take();
    cx.check()?;
    let verified = verify(package, path, keys, cx)?;
    let staging = cx.store.stage().to("make a work directory")?;
    let files = staging.files().to("stage a layer")?;
    let payload = extract(&verified, &files, aliases).to(&what)?;
    with_directory_modes(&files, &payload.entries)?;
    let (header, signature) = (verified.header().clone(), verified.signature_header().clone());
    let note = Note {
        signature: with_magic(&signature),
        header: with_magic(&header),
        owners: payload.owners,
        implied: payload.implied,
    };
    let layer = keep(&key, made, staging, Layer::of(payload.entries), &note.encode(), cx)?;
    Ok(Unpacked { package: package.clone(), layer, note, header, signature, files: payload.files })
}

/// A header as it is in the file.
fn with_magic(header: &Header) -> Vec<u8> {
    [MAGIC.as_slice(), header.raw()].concat()
}
