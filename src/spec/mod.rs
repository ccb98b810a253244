//! Reading a spec, in three passes.
//!
//! 1. [`read`]: text to a tree of values, each with its file, line and column ([`tree`]).
//! 2. [`lower`]: tree to tree. The short form becomes the long one here; variables, templates and
//!    merging will stand beside it.
//! 3. [`typed`]: tree to [`typed::Spec`], what was written, as types ([`decode`]).
//!
//! [`resolve`] then makes a [`ResolvedSpec`] of it: what it means. Each pass collects every
//! [`Problem`] it meets, and each problem keeps its place.

pub mod choice;
pub mod decode;
pub mod load;
pub mod lower;
pub mod names;
pub mod outline;
pub mod partition;
pub mod problem;
pub mod read;
pub mod resolve;
pub mod resolved;
pub mod scalar;
pub mod schema;
pub mod space;
pub mod tree;
pub mod typed;
pub mod written;

mod base;
mod copied;
pub(crate) mod customized;
mod disk;
mod encode;
mod keys;
mod possible;
mod unsupported;

pub use load::{load, load_resolved, parse, resolve_text};
pub use problem::{Problem, Severity};
pub use resolve::{KnownProviders, Release, Surroundings, resolve};
pub use resolved::ResolvedSpec;
pub use typed::Spec;

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
pub(crate) mod tests;
