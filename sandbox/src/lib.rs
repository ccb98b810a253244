//! Runs a list of steps in a view of the machine of its own, as an ordinary user.
//!
//! The calling program starts itself again as a small single-threaded helper
//! ([`intercept`]), which enters new user, mount, pid, network, ipc and uts namespaces,
//! stacks the given layers by overlay, runs the steps, and reports what they changed.
//! How foreign owners and devices work depends on the [`Rung`] the machine allows; the
//! answer ([`Captured`]) is the same on each.
//!
//! Nothing here prints, reads the environment or asks the clock for a date.

mod builtin;
mod capability;
mod cgroup;
mod changes;
mod error;
mod event;
mod helper;
mod idmap;
mod knobs;
mod message;
mod place;
mod probe;
mod processes;
mod rung;
mod runner;
mod session;
mod supervisor;
mod sys;
mod wire;

pub use builtin::{Builtin, Process};
pub use cgroup::control_group;
pub use changes::{Captured, Change, Kind, Meta};
pub use error::Error;
pub use event::{Cancel, Event, Status, Stream};
pub use helper::{intercept, intercept_with};
pub use knobs::{Knob, knobs};
pub use place::{Place, look_at};
pub use probe::{Check, choose, probe};
pub use rung::Rung;
pub use runner::{run, run_at, sweep};
pub use session::{Command, HOST_VIEW_DIRECTORY, HOST_VIEW_IMAGE, Limits, Placed, Session, Step};
