//! QEMU's copy-on-write container, version 3 (QEMU, docs/interop/qcow2.txt).
//!
//! [`Writer`] makes one in a single pass over ascending data, never by way of a raw file;
//! [`Reader`] reads what it or QEMU wrote.

pub(crate) mod format;
mod reach;
mod read;
mod write;

pub(crate) use format::MAGIC;
pub use reach::Reach;
pub use read::Reader;
pub use write::{Compression, Options, Writer};
