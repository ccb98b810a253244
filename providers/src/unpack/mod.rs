//! What the package families have in common when they unpack: directories with two names, owners by
//! name, compressors, and a directory of the host that nothing gets out of.

mod aliases;
mod compression;
mod destination;

pub use aliases::Aliases;
pub(crate) use compression::Compression;
pub(crate) use destination::Destination;

/// The owner of an entry as the archive names it. Both families look the names up in the passwd and
/// group of the system they install: dpkg takes the archive's numbers where it does not find them,
/// rpm takes root and drops the setuid or setgid bit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// User name; may be empty.
    pub user: Box<[u8]>,
    /// Group name; may be empty.
    pub group: Box<[u8]>,
}
