//! The distribution protocol against a real registry, and against servers that misbehave.

mod auth;
mod cache;
mod faults;
mod real;
mod referee;
// The tests of the command use the rest of it.
#[allow(dead_code)]
mod server;
mod support;
mod uploads;
