//! Threads that work on pieces of a stream and give the results in the order of the pieces.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

type Job<I, O> = (I, SyncSender<O>);
type Work<I, O> = Box<dyn FnMut(I) -> O>;

/// Threads that turn pieces `I` into results `O`, in order.
///
/// What comes out does not depend on the number of threads, if the work on a piece depends on
/// that piece alone.
pub(crate) struct Workers<I, O> {
    jobs: Option<Sender<Job<I, O>>>,
    waiting: VecDeque<Receiver<O>>,
    threads: Vec<JoinHandle<()>>,
    depth: usize,
    here: Option<Work<I, O>>,
    /// Raised when nobody wants the results any more.
    given_up: Arc<AtomicBool>,
}

impl<I: Send + 'static, O: Send + 'static> Workers<I, O> {
    /// Starts `threads` threads; with 0, or when the system gives none, the work is done by the
    /// caller's thread. `make` gives each thread its own state. At most `depth` pieces per thread
    /// are in flight: small ones need a few, so that no thread waits; large ones bound memory.
    pub(crate) fn start<M, W>(threads: usize, depth: usize, make: M) -> Self
    where
        M: Fn() -> W + Send + Sync + 'static,
        W: FnMut(I) -> O + 'static,
    {
        let make = Arc::new(make);
        let given_up = Arc::new(AtomicBool::new(false));
        let (jobs, receiver) = mpsc::channel::<Job<I, O>>();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut handles = Vec::with_capacity(threads);
        for number in 0..threads {
            let (make, receiver, given_up) = (Arc::clone(&make), Arc::clone(&receiver), Arc::clone(&given_up));
            let run = move || {
                let mut work = make();
                loop {
                    let next = match receiver.lock() {
                        Ok(receiver) => receiver.recv(),
                        Err(_) => return,
                    };
                    let Ok((piece, answer)) = next else { return };
                    if given_up.load(Ordering::Relaxed) {
                        return;
                    }
                    // The receiver is gone only when the whole was given up.
                    let _ = answer.send(work(piece));
                }
            };
            match Builder::new().name(format!("image-{number}")).spawn(run) {
                Ok(handle) => handles.push(handle),
                Err(_) => break,
            }
        }
        let here: Option<Work<I, O>> = if handles.is_empty() { Some(Box::new(make())) } else { None };
        Self { jobs: Some(jobs), waiting: VecDeque::new(), threads: handles, depth: depth.max(1), here, given_up }
    }

    /// Gives one more piece. When enough are in flight, waits for the oldest result and gives it.
    pub(crate) fn submit(&mut self, piece: I) -> io::Result<Option<O>> {
        if let Some(work) = &mut self.here {
            return Ok(Some(work(piece)));
        }
        let oldest = if self.waiting.len() >= self.threads.len().saturating_mul(self.depth) {
            self.next().transpose()?
        } else {
            None
        };
        let (answer, result) = mpsc::sync_channel(1);
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send((piece, answer)).is_ok());
        if !sent {
            return Err(ended());
        }
        self.waiting.push_back(result);
        Ok(oldest)
    }

    /// Waits for the oldest result still out; `None` when there is none.
    pub(crate) fn next(&mut self) -> Option<io::Result<O>> {
        self.waiting.pop_front().map(|result| result.recv().map_err(|_| ended()))
    }
}

fn ended() -> io::Error {
    io::Error::other("a worker thread ended before its work was done")
}

impl<I, O> Drop for Workers<I, O> {
    fn drop(&mut self) {
        // Pieces that wait are not worked on: whoever gives up, gives up at once.
        self.given_up.store(true, Ordering::Relaxed);
        self.waiting.clear();
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has already shown as a missing result.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(threads: usize) -> Vec<u64> {
        let mut workers = Workers::start(threads, 4, || |n: u64| n * n);
        let mut out = Vec::new();
        for n in 0..1000 {
            out.extend(workers.submit(n).unwrap());
        }
        while let Some(result) = workers.next() {
            out.push(result.unwrap());
        }
        out
    }

    #[test]
    fn results_come_in_order_with_any_number_of_threads() {
        let expected: Vec<u64> = (0..1000).map(|n| n * n).collect();
        for threads in [0, 1, 2, 7] {
            assert_eq!(run(threads), expected);
        }
    }

    #[test]
    fn a_panic_in_a_worker_is_an_error_not_a_hang() {
        let mut workers = Workers::start(1, 4, || |n: u64| if n == 3 { panic!("on purpose") } else { n });
        let mut failed = false;
        for n in 0..100 {
            failed |= workers.submit(n).is_err();
        }
        while let Some(result) = workers.next() {
            failed |= result.is_err();
        }
        assert!(failed);
    }
}
