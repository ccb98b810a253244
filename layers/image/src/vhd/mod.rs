//! Microsoft's virtual hard disks (Virtual Hard Disk Image Format Specification 1.0): fixed, as
//! Azure takes them, and dynamic.

mod format;
mod read;
mod write;

pub(crate) use format::FOOTER_COOKIE;
pub use format::{FOOTER_BYTES, SIZE_MAX, SIZE_UNIT_BYTES};
pub use read::Reader;
pub use write::{Dynamic, Fixed, Options, fixed_footer};
