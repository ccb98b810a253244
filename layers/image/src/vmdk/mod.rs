//! VMware's disks in one file (VMware Virtual Disk Format 1.1): sparse ones and stream-optimised
//! ones are read, stream-optimised ones written, as vSphere and OVA files want them.

mod format;
mod read;
mod write;

pub(crate) use format::MAGIC;
pub use read::Reader;
pub use write::{Options, Writer};
