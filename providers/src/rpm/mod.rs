//! The `rpm` package family: versions, dependencies, repositories, package files, the choice of
//! packages, the order in which they are installed, and the database that rpm keeps of them. All of
//! it describes; nothing here runs a command.

pub mod check;
pub mod database;
pub mod dependency;
pub mod file;
pub mod header;
pub mod installed;
pub mod metadata;
pub mod order;
pub mod package;
pub mod payload;
pub mod repository;
pub mod rich;
pub mod scripts;
pub mod signature;
pub mod solve;
pub mod transaction;
pub mod version;

pub use dependency::{Comparison, Dependency, Relation, SyntaxError};
pub use file::{Unverified, Verified};
pub use header::Header;
pub use package::{Location, Package, Requirement};
pub use payload::{Payload, extract};
pub use rich::Rich;
pub use scripts::Scripts;
pub use signature::verify;
pub use version::Evr;
