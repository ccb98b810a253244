//! Where packages come from.
//!
//! A provider is one distribution and release as data ([`distro`]) on top of a package family,
//! which is code ([`deb`], [`rpm`]). Between the two stand the parts that every family needs: whom to
//! believe ([`trust`]), how bytes arrive ([`fetch`]), which indexes are genuine and current
//! ([`repository`]), and what was chosen, written down ([`lock`]).
//!
//! Nothing here runs a program, prints, reads the environment or asks the clock: the caller says
//! what time it is.

pub mod cache;
pub mod deb;
pub mod distro;
pub mod error;
pub mod fetch;
mod glob;
pub mod lock;
pub mod mirror;
pub mod repository;
pub mod rpm;
mod spelling;
pub mod trust;
pub mod unpack;
pub mod unsolvable;

pub use cache::CacheDir;
pub use distro::{Architecture, Distro};
pub use error::{Error, FileError};
pub use fetch::{Cancel, Fetcher};
pub use lock::Lock;
pub use repository::{Repository, RepositoryId};
pub use trust::Keyring;
