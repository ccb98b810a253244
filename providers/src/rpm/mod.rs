//! The `rpm` package family: versions, dependencies, repositories, package files, the choice of
//! packages, the order in which they are installed, and the database that rpm keeps of them. All of
//! it describes; nothing here runs a command.

pub mod dependency;
pub mod order;
pub mod package;
pub mod rich;
pub mod solve;
pub mod version;

pub use dependency::{Comparison, Dependency, Relation, SyntaxError};
pub use package::{Location, Package, Requirement};
pub use rich::Rich;
pub use version::Evr;
