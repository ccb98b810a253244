//! VirtualBox's disks, version 1.1 (as VirtualBox's VDICore.h documents them): dynamic and static
//! ones are read, dynamic ones written.

mod format;
mod read;
mod write;

pub(crate) use format::{SIGNATURE, SIGNATURE_AT};
pub use read::Reader;
pub use write::{Options, Writer};
