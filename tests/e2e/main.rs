//! End to end: real archives, real tools as referees, real boots. One binary, so that what is
//! expensive (an image, a tree) is made once.

mod archives;
mod base;
mod bounds;
mod build;
mod convert;
mod distributions;
mod doctor;
mod engines;
mod fidelity;
mod grub;
mod images;
mod layers;
mod live;
mod machine;
mod many;
mod matrix;
// The tests of the protocol use the rest of it.
#[allow(dead_code)]
#[path = "../../layers/registry/tests/registry/server.rs"]
mod misbehaving;
mod oci;
mod partitions;
mod places;
mod postgresql;
mod reasons;
mod registry;
mod remote;
mod rpm;
mod rpm_base;
mod rpm_cuts;
mod rpm_distribution;
mod rpm_fidelity;
mod support;
mod upgrade;
mod wrong;
