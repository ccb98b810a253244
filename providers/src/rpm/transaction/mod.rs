//! What rpm runs when it installs packages, and in which order, as data (rpm, lib/transaction.c
//! `rpmtsRun`, lib/psm.c `rpmPackageInstall`, lib/rpmtriggers.c): scriptlets, triggers between
//! packages, and triggers on files, with their arguments and what they read.
//!
//! The order is that of rpm 4.18, and with [`Rules`] of 4.19. Packages are only added: nothing is upgraded, obsoleted or erased.
//!
//! Some of it surprises, and is as rpm does it:
//! - File triggers without a stated priority run *before* `%post`, since their default (1,000,000)
//!   is above the bound (10,000).
//! - A package's own file trigger runs twice when the package has such files itself and another
//!   package has them too: once for its own, and once for those of all others.
//! - `%transfiletriggerin` goes by priority only among the triggers of one package; packages come in
//!   the order of their installation. Triggers of packages that were there before come first.
//! - A trigger on the package that has it runs once for that package.

mod action;
mod files;
mod ldconfig;
mod lua;
mod package;
mod plan;
mod users;

pub use action::{Action, Kind, Run};
pub use ldconfig::coalesce_ldconfig;
pub use package::Package;
pub use plan::{Rules, order};
pub use users::Users;

#[cfg(test)]
mod tests;
