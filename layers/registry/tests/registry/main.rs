//! The distribution protocol against a real registry, and against servers that misbehave.

mod auth;
mod cache;
mod faults;
mod real;
mod referee;
mod server;
mod support;
mod uploads;
