//! Hyper-V's virtual hard disks v2 (\[MS-VHDX\]: Virtual Hard Disk v2 File Format, 8.0): dynamic
//! ones, without a log that waits to be replayed.

mod format;
mod read;
mod write;

pub(crate) use format::MAGIC;
pub use read::Reader;
pub use write::{Options, Writer};
