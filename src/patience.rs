//! How long a build may go on: until somebody interrupts it, or until its time is up. Whatever
//! works or waits (downloads, the sandbox, the writers) looks at one flag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};

use crate::cli::options::BuildRequest;
use crate::error::Error;
use crate::explain;

/// Watches the time of one build; ends with it.
pub struct Patience {
    stop: Arc<AtomicBool>,
    time_is_up: Arc<AtomicBool>,
    cache: std::path::PathBuf,
    _watch: Option<Sender<()>>,
}

impl Patience {
    /// Starts the clock of a request that has a limit.
    pub fn start(request: &BuildRequest) -> Self {
        let time_is_up = Arc::new(AtomicBool::new(false));
        let watch = request.options.timeout.map(|limit| {
            let (alive, ended) = channel();
            let (stop, up) = (request.interrupted.clone(), time_is_up.clone());
            std::thread::spawn(move || {
                if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    up.store(true, Ordering::SeqCst);
                    stop.store(true, Ordering::SeqCst);
                }
            });
            alive
        });
        Self { stop: request.interrupted.clone(), time_is_up, cache: request.config.cache_dir.clone(), _watch: watch }
    }

    /// What an error of the build really is. A build that was told to end fails in many places and
    /// words; a full disk is met wherever something is written.
    pub fn judge(&self, error: Error) -> Error {
        if self.time_is_up.load(Ordering::SeqCst) {
            return Error::build("failed to finish in time: the limit of --timeout is reached")
                .hint("what is finished is kept: the next build goes on from there; allow more with --timeout");
        }
        if self.stop.load(Ordering::SeqCst) {
            return Error::interrupted();
        }
        let named = explain::chain(&error).contains("Insufficient disk space");
        if explain::is_full_disk(&error) && !named {
            return Error::build("Insufficient disk space").caused_by(error).hint(format!(
                "free some space on the file system of the cache ({}) or of the output directory, \
                 or name others with --cache-dir and --output-dir",
                self.cache.display()
            ));
        }
        error
    }
}
