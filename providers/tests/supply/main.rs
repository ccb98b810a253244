//! Trust, fetching and repositories against real tools and a server that misbehaves on demand.

mod apt;
mod archive;
mod attacks;
mod downloads;
mod live;
mod referee;
mod server;
mod signatures;
