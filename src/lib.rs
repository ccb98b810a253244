//! Bootable operating-system images from a distribution's own signed packages, as an ordinary user.
//!
//! A build reads like this table of contents ([`build::run`] adds the caches and the clock):
//!
//! ```text
//! spec::read        text → value tree with places → typed spec → resolved spec
//! stages::validate  the spec fits the providers and this machine
//! stages::packages  what it means on the repositories → lock → package files
//! stages::compose   one layer per package, configured by the family's rules
//! stages::configuration   users, settings, files, services, scripts: one layer each
//! stages::finalize  tree → file systems → disk → raw, qcow2, …; SBOM, manifest, checksums
//! ```

pub mod base;
pub mod boot;
pub mod build;
pub mod checking;
pub mod cleaning;
pub mod cli;
pub mod compose;
pub mod config;
pub mod configure;
pub mod containers;
pub mod context;
pub mod convert;
pub mod draft;
pub mod error;
pub mod explain;
pub mod finalize;
pub mod history;
pub mod images;
pub mod inventory;
pub mod lua;
pub mod machine;
pub mod means;
pub mod packages;
pub mod patience;
pub mod permits;
pub mod progress;
pub mod remote;
pub mod sbom;
pub mod shell;
pub mod slots;
pub mod spec;
pub mod stages;
pub mod sysusers;
