//! The five stages. Each takes the type that the one before gives, so a wrong order does not
//! compile.

mod compose;
mod configuration;
mod finalize;
mod packages;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use layers::Stack;
use providers::RepositoryId;
use providers::distro::Distro;
use providers::lock::Lock;
use providers::trust::Keyring;

use crate::base::Base;
use crate::packages::PackageFile;

pub use compose::compose;
pub use configuration::configuration;
pub use finalize::{finalize, finished};
pub use packages::{fetch, lock, packages};
pub use validate::validate;

/// The exact packages of an image, on this machine.
#[derive(Clone, Debug)]
pub struct PackageSet {
    /// Which they are, in the order in which they are configured.
    pub lock: Lock,
    /// The package files, in the same order; verified once they are here.
    pub files: Vec<PackageFile>,
    /// The facts about their distribution.
    pub distro: Distro,
    /// The image that they are put on; `None`: nothing.
    pub base: Option<Arc<Base>>,
    /// By repository the keys that sign its packages; repositories whose packages only the lock's
    /// digests vouch for are not here.
    pub keys: BTreeMap<RepositoryId, Keyring>,
}

/// A system with its packages configured.
#[derive(Clone)]
pub struct Composed(pub Stack);

/// A system with everything that the spec says done to it.
#[derive(Clone)]
pub struct Configured(pub Stack);
