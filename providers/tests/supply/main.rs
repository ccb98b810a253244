//! Trust, fetching and repositories against real tools and a server that misbehaves on demand.

mod apt;
mod archive;
mod attacks;
mod downloads;
mod live;
mod referee;
mod rpm_archive;
mod rpm_attacks;
mod rpm_referee;
mod rpm_repositories;
mod rpm_speed;
mod server;
mod signatures;
