//! What repositories of both families have in common: a place among the others, and keys.

use providers::distro::{Catalogue, Distro, RepositoryFacts};
use providers::trust::Keyring;

use crate::context::Context;
use crate::error::{Error, ResultExt};

/// A repository with its priority, whose meaning is the family's.
pub struct Ranked<R> {
    /// The repository.
    pub repository: R,
    /// Its priority.
    pub priority: i32,
}

/// The keys of a repository of the provider: those that are configured on this machine, or ours.
///
/// # Errors
/// No keys; keys that cannot be read.
pub fn keys(catalogue: &Catalogue, distro: &Distro, facts: &RepositoryFacts, cx: &Context) -> Result<Keyring, Error> {
    match cx.machine.key(&distro.os) {
        Some(bytes) => Keyring::parse(bytes).to("read the configured key"),
        None => built_in(catalogue, distro, facts),
    }
}

fn built_in(catalogue: &Catalogue, distro: &Distro, facts: &RepositoryFacts) -> Result<Keyring, Error> {
    catalogue.keyring(distro, facts).map_err(|error| {
        let hint = error.hint();
        let wrapped = Error::build(format!("failed to find the key of the repository '{}'", facts.id)).caused_by(error);
        match hint {
            Some(hint) => wrapped.hint(hint),
            None => wrapped,
        }
    })
}
