//! Image layouts (image-spec, image-layout.md): a directory, or a tar file of one.
//!
//! ```text
//! oci-layout          says that this is one
//! index.json          names images by `org.opencontainers.image.ref.name`
//! blobs/sha256/HEX    everything else
//! ```

pub mod place;
mod read;
mod staging;
mod write;

pub use read::Layout;
pub use write::{Form, Writer};

/// The marker of a layout, with the version of the format.
const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const MARKER_NAME: &str = "oci-layout";
const INDEX_NAME: &str = "index.json";
const BLOBS: &str = "blobs/sha256";
