//! The data that dpkg and apt keep of the packages on a system, as bytes to be laid into a tree.

pub mod database;
pub mod filters;
pub mod installed;
pub mod overrides;
pub mod status;

pub use database::{Conffile, Member, State, database, extended_states};
pub use filters::PathFilters;
pub use installed::{Installed, InstalledPackage};
pub use overrides::{Diversion, Diversions, Principal, StatOverride, StatOverrides};
pub use status::{Record, parse_status};
