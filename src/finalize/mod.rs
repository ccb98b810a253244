//! From a configured tree to finished files.

pub mod cache;
pub mod disk;
pub mod documents;
pub mod output;
pub mod passes;
mod target;

pub use disk::Both;
pub use output::Artifact;
pub use target::{Named, Pending, Target, full};
