//! Bootable operating-system images from a distribution's own signed packages, as an ordinary
//! user: the pipeline behind the `image-composer` command.

pub mod error;
pub mod spec;

pub use error::{Error, Kind, ResultExt};
