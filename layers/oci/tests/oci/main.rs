//! OCI images: what is written comes back, what is hostile is refused, and what others read is the
//! same tree.

#[path = "../../../image/tests/referee/mod.rs"]
mod referee;

mod engines;
mod hostile;
mod images;
mod lies;
mod roundtrip;
mod splitting;
