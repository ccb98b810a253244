//! Bytes of file systems and disks.
//!
//! Three levels that never mix: a tree becomes a file system ([`ext4`], [`fat`], [`iso`], [`squashfs`]; [`swap`]
//! holds none) or an [`archive`], file systems become a disk ([`disk`]; an ISO 9660 image is one by
//! itself), a disk becomes a container file ([`raw`], [`qcow2`], [`vhd`], [`vhdx`], [`vmdk`], [`vdi`]; any
//! of them by [`container`]).
//! Each writer settles every position first (a plan), then gives its bytes in the order they lie;
//! only squashfs cannot, whose positions depend on how far its bytes are compressed.
//! Nothing here knows a store, a spec, a package, a clock or chance.

pub mod archive;
pub mod background;
mod blocks;
mod bytes;
pub mod compress;
pub mod container;
pub mod digest;
pub mod disk;
pub mod error;
pub mod ext4;
pub mod fat;
pub mod iso;
pub mod medium;
pub mod qcow2;
pub mod raw;
pub mod sequential;
pub mod squashfs;
pub mod stream;
pub mod swap;
pub mod vdi;
pub mod vhd;
pub mod vhdx;
pub mod vmdk;
pub mod volume;
mod workers;

pub use error::Error;
pub use medium::{HostFile, Medium, Window};
pub use stream::{Sink, Source};
