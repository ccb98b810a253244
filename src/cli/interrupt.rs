//! Ctrl-C: the first asks the build to end, the second ends the program.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Error, Kind};

/// The flag that the first signal raises.
///
/// # Errors
/// The system refuses the handlers.
pub fn watch() -> Result<Arc<AtomicBool>, Error> {
    let raised = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the first signal finds the flag down, goes on, and raises it.
        flag::register_conditional_shutdown(signal, Kind::Interrupted.exit_code().into(), Arc::clone(&raised))
            .and_then(|_| flag::register(signal, Arc::clone(&raised)))
            .map_err(|source| Error::other("failed to watch for signals").caused_by(source))?;
    }
    Ok(raised)
}
