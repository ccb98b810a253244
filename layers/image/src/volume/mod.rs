//! File systems that are there, seen alike whatever their format: numbers of files, names,
//! metadata, bytes. What `ls`, `cat`, `extract` and a mount read from.

mod ext;
mod fat;
mod identify;
mod inside;
mod iso;
mod squashfs;

use layers::Meta;

use crate::Error;
use crate::medium::Medium;

pub use crate::ext4::read::FileKind;
pub use identify::{Format, identify};
pub use inside::Inside;

/// The number of a file within its volume.
pub type FileId = u64;

/// A file, of whatever kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Its number.
    pub id: FileId,
    /// What it is.
    pub kind: FileKind,
    /// Owner, permissions, times, attributes.
    pub meta: Meta,
    /// Length in bytes.
    pub size: u64,
    /// Names it has.
    pub links: u32,
}

/// A file system that can be read.
pub trait Volume: Sync {
    /// The number of the root directory.
    fn root(&self) -> FileId;

    /// The file of a number.
    ///
    /// # Errors
    /// A number that is not in use; damage.
    fn file(&self, id: FileId) -> Result<File, Error>;

    /// The names in a directory, sorted, without `.` and `..`.
    ///
    /// # Errors
    /// Damage; something that is no directory.
    fn names(&self, id: FileId) -> Result<Vec<(Box<[u8]>, FileId)>, Error>;

    /// Reads bytes of a file; fewer than asked for only at its end.
    ///
    /// # Errors
    /// Damage.
    fn read(&self, id: FileId, offset: u64, buffer: &mut [u8]) -> Result<usize, Error>;

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// Damage.
    fn target(&self, id: FileId) -> Result<Vec<u8>, Error>;

    /// Label, without padding; empty where the format has none.
    fn label(&self) -> String;

    /// The identity that `UUID=` finds it by; empty where the format has none.
    fn uuid(&self) -> String;

    /// Size, and how much of it is free if the file system keeps count; bytes.
    fn space(&self) -> (u64, Option<u64>);
}

/// Opens what lies in these bytes; `None` if it is nothing that can be read here.
///
/// # Errors
/// Damage.
pub fn open<'m>(medium: &'m dyn Medium) -> Result<Option<Box<dyn Volume + 'm>>, Error> {
    Ok(match identify(medium)? {
        Some(Format::Ext) => Some(Box::new(ext::Ext::open(medium)?)),
        Some(Format::Squashfs) => Some(Box::new(squashfs::Squashfs::open(medium)?)),
        Some(Format::Fat) => Some(Box::new(fat::Fat::open(medium)?)),
        Some(Format::Iso9660) => Some(Box::new(iso::Iso::open(medium)?)),
        _ => None,
    })
}
