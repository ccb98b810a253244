//! OCI images (image-spec 1.1): the tars of layers, configurations, manifests and indexes, image
//! layouts as directories and as tar files; written from a [`layers::Tree`], and read from whatever
//! gives blobs. No network, no clock, no environment.
//!
//! Writing: [`export()`] does it all; [`split()`] cuts a tree into layers, [`Writer`] packs them and
//! keeps the blobs, [`image::write`] adds the documents. Reading: [`image::find`] goes from an index to an image,
//! [`import::import`] takes its layers into a store.

pub mod archive;
pub mod artifact;
pub mod blob;
pub mod document;
pub mod error;
pub mod export;
pub mod image;
pub mod import;
pub mod layout;
pub mod memory;
pub mod pack;
pub mod split;

pub use blob::Blobs;
pub use error::Error;
pub use export::{Base, Export, Exported, export};
pub use layout::{Form, Layout, Writer};
pub use oci_spec;
pub use pack::{Packed, pack};
pub use split::{Origin, Part, split};
