//! Compose for the rpm family.
//!
//! One layer per package; then the scriptlets and triggers run in the order of a transaction of rpm
//! (rpm-scriptlets(7)), each seeing what rpm would let it see; the database is written by us.
//!
//! ```text
//! every %pretrans → per package: %pre, its files, file triggers, %post, %triggerin
//!                 → the database → every %posttrans, %transfiletriggerin
//! ```

mod note;
mod place;
mod registry;
mod scriptlet;
mod segment;
mod unpack;

use std::path::Path;

use layers::{KeyBuilder, Stack};
use providers::distro::{Distro, VolatilePath};
use providers::lock::{Group, LockedPackage};
use providers::rpm::transaction::Transaction;
use providers::unpack::Aliases;

use place::{Members, knows_owners, plan};
use scriptlet::Scriptlet;
use segment::Segment;
use unpack::{Unpacked, unpack_one};

use super::scaffold::scaffold;
use super::settled::settle;
use super::step::run_step;
use super::unpack::unpack_ahead;
use super::{initramfs, registry_title};
use crate::configure::Accounts;
use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::stages::PackageSet;

/// Grows whenever the same packages may be installed in another way.
const TRANSACTION_VERSION: u32 = 1;

/// The cut points of the order, and what people call what comes before each.
const GROUPS: [(Group, &str); 4] = [
    (Group::Essential, "install essential packages"),
    (Group::Base, "install base packages"),
    (Group::Kernel, "install kernel packages"),
    (Group::Rest, "install other packages"),
];

/// What happens in a transaction, in order.
pub enum Action {
    /// The files of the package at this place of the order are laid.
    Lay(usize),
    /// A scriptlet runs.
    Run(Scriptlet),
}
