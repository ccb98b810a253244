//! From a configured tree to finished files.

pub mod archives;
pub mod cache;
mod copy;
pub mod disk;
#[cfg(test)]
mod disk_tests;
pub mod divide;
pub mod documents;
mod follow;
pub mod live;
pub mod oci;
pub mod output;
pub mod passes;
mod shortage;
mod target;

pub use disk::Both;
pub use output::Artifact;
pub use target::{Named, Pending, Target, full};
