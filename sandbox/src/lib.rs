//! Runs a list of steps in a view of the machine of its own, as an ordinary user.
#![allow(dead_code)]

mod changes;
mod error;
mod event;
mod rung;
mod session;
mod wire;

pub use changes::{Captured, Change, Kind, Meta};
pub use error::Error;
pub use event::{Cancel, Event, Status, Stream};
pub use rung::Rung;
pub use session::{Command, HOST_VIEW_DIRECTORY, HOST_VIEW_IMAGE, Limits, Placed, Session, Step};

/// Must be the first call in `main` of every binary that uses this crate.
pub fn intercept() {}

/// One check of one rung, for `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The rung it belongs to.
    pub rung: Rung,
    /// What was tried.
    pub name: String,
    /// Whether it worked.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// What would make it work.
    pub hint: Option<String>,
}

/// Tries every rung and says what works.
#[must_use]
pub fn probe() -> Vec<Check> {
    Vec::new()
}

/// The best rung the machine allows, or the forced one.
///
/// # Errors
/// When it does not work here.
pub fn choose(forced: Option<Rung>) -> Result<Rung, Error> {
    Ok(forced.unwrap_or(Rung::UsernsSingle))
}

/// Runs a session.
///
/// # Errors
/// See [`Error`].
pub fn run(session: &Session, _observer: &mut dyn FnMut(Event<'_>), _cancel: &Cancel) -> Result<Captured, Error> {
    Err(Error::Unavailable { rung: session.rung, reason: "not supported yet".into(), hint: None })
}

/// Removes a scratch directory that a killed session left behind, foreign owners and all.
///
/// # Errors
/// See [`Error`].
pub fn sweep(_scratch: &std::path::Path) -> Result<(), Error> {
    Ok(())
}
wire::wire_struct!(Check { rung, name, ok, detail, hint });
