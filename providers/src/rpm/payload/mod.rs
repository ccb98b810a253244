//! What a package lays into the tree: its payload, extracted once into a directory of plain files,
//! and the entries that say what those files really are. Only the bytes of files come from the
//! payload's archive; everything that is said of them is in the signed header.

mod capabilities;
mod cpio;
mod lay;
mod list;
mod plan;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use layers::{Entry, TreePath};

pub use list::{FileFlags, FileType, PackagedFile};

use super::file::{Error, Verified};
use crate::unpack::{Aliases, Destination, Owner};
use cpio::Archive;
use lay::Layer;
use list::List;
use source::Source;

/// The version of the extractor: part of a package layer's key, grows when the result changes.
pub const VERSION: u32 = 1;

/// What a package lays into the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// Every entry at its real path, sorted by path, owned by 0:0. Parents of every entry but the
    /// root are among them; ghosts are not.
    pub entries: Vec<(TreePath, Entry)>,
    /// Names of owners, where they are not both `root`, by path in [`Payload::entries`].
    pub owners: BTreeMap<TreePath, Owner>,
    /// Directories among the entries that the package does not have: their metadata is made up and
    /// yields to any other package's.
    pub implied: BTreeSet<TreePath>,
    /// Every file of the package in the header's order, ghosts among them, with its literal path.
    pub files: Vec<PackagedFile>,
}

impl Payload {
    /// Reads the list of a package's files without its payload.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Path`] for a list that is damaged or hostile.
    pub fn list(package: &Verified, aliases: &Aliases) -> Result<Vec<PackagedFile>, Error> {
        Ok(List::read(package.header(), aliases, package.failure())?.files)
    }
}

/// Extracts a package's payload into an empty directory that belongs to the caller: directories with
/// mode 0755, files with their bits 0777 and at least 0600, symbolic links, hard links within the
/// package; times as in the header. Owners, special modes, capabilities, devices and fifos are in the
/// entries only. Nothing is synced: what must be durable is the caller's to make so.
///
/// What is extracted is what was verified: the payload is hashed again while it is read. The caller
/// must not use the directory unless this succeeds.
///
/// # Errors
/// I/O errors; [`Error::Damaged`] for what is damaged or hostile (names that the header does not
/// have, missing files, sizes that lie, paths through symbolic links); [`Error::Altered`] for a file
/// or a payload that does not have its digest. What was written stays in the destination, and nothing
/// outside it was touched.
pub fn extract(package: &Verified, destination: &Path, aliases: &Aliases) -> Result<Payload, Error> {
    let failure = package.failure();
    let list = List::read(package.header(), aliases, failure)?;
    let source = Source::of(package)?;
    let mut archive = Archive::new(source.decoded(), failure);
    let mut layer = Layer::new(&list, aliases, Destination::open(destination)?, failure)?;
    while let Some(member) = archive.next()? {
        layer.add(member, &mut archive)?;
    }
    archive.finish()?;
    source.check()?;
    let (entries, owners, implied) = layer.finish()?;
    Ok(Payload { entries, owners, implied, files: list.files })
}
