//! The tar of a layer (image-spec, layer.md): [`Plan`] settles its size and [`Plan::write`] gives its
//! bytes; [`Members`] reads those of others.
//!
//! The tar is a function of the layer alone. Entries are in the order of paths; a directory is
//! followed by what is gone from it, so that whiteouts come before siblings, as the specification
//! recommends. Owners are numbers, without names. Times keep their fractions. An opaque directory
//! is `.wh..wh..opq`, a removed path `.wh.`*name*.

mod read;
mod write;

pub(crate) use read::shown;
pub use read::{Form, Head, Members, Refusal, Rewind, Source};
pub use write::Plan;

/// What names of whiteouts begin with.
pub const WHITEOUT: &[u8] = b".wh.";
/// What names that are not of files begin with.
pub const WHITEOUT_META: &[u8] = b".wh..wh.";
/// The file that makes its directory opaque.
pub const OPAQUE: &[u8] = b".wh..wh..opq";
