//! What caches are to have, sent by a thread of its own: a slow registry delays no step. Who drops the outbox
//! waits until all is sent, or until somebody asks for the end of it.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use layers::{Key, StoredLayer};

use super::{Failure, Means, Remote};

/// Layers that wait to be sent, at most; then whoever has another waits. A build has a few dozen steps.
const WAITING_MAX: usize = 64;

/// Takes layers and sends them.
pub(super) struct Outbox {
    remotes: Arc<[Remote]>,
    means: Means,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: Option<SyncSender<Job>>,
    worker: Option<JoinHandle<()>>,
    /// Each key is looked at once.
    seen: BTreeSet<Key>,
}

/// A layer to send.
struct Job {
    key: Key,
    layer: StoredLayer,
    note: Vec<u8>,
    is_new: bool,
}

impl Outbox {
    /// An empty one; its thread starts with the first layer.
    pub(super) fn new(remotes: Arc<[Remote]>, means: Means) -> Self {
        Self { remotes, means, state: Mutex::default() }
    }

    /// Takes a layer, if there is anybody to send it to.
    pub(super) fn send(&self, key: &Key, layer: &StoredLayer, note: &[u8], is_new: bool) {
        if self.means.cancel.is_cancelled() || !self.remotes.iter().any(Remote::takes) {
            return;
        }
        let Some(queue) = self.queue(key) else { return };
        // Fails when the thread has died, of which the one who waits for it tells.
        let _ = queue.send(Job { key: *key, layer: layer.clone(), note: note.to_vec(), is_new });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a layer with this key goes; nowhere if it went there before.
    fn queue(&self, key: &Key) -> Option<SyncSender<Job>> {
        let mut state = self.state();
        if !state.seen.insert(*key) {
            return None;
        }
        if let Some(queue) = &state.queue {
            return Some(queue.clone());
        }
        let (sender, jobs) = sync_channel(WAITING_MAX);
        let (remotes, means) = (self.remotes.clone(), self.means.clone());
        let started = thread::Builder::new().name("outbox".into()).spawn(move || work(&remotes, &means, &jobs));
        match started {
            Ok(worker) => state.worker = Some(worker),
            Err(error) => self.means.reporter.warn(&format!("the layer caches take nothing: {error}")),
        }
        state.queue = Some(sender.clone());
        Some(sender)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let State { queue, worker, .. } = std::mem::take(&mut *self.state());
        // The thread ends when nothing more can come.
        drop(queue);
        if worker.is_some_and(|worker| worker.join().is_err()) {
            self.means.reporter.warn("the layer caches did not take all layers: the thread that sends them failed");
        }
    }
}

/// What went wrong with one cache.
#[derive(Default)]
struct Trouble {
    /// Layers that it does not have now.
    unsent: usize,
    first: Option<String>,
    /// There is no use in sending more.
    is_over: bool,
}

/// Sends layer after layer to each cache; what went wrong is told at the end, once for each.
fn work(remotes: &[Remote], means: &Means, jobs: &Receiver<Job>) {
    let mut troubles: Vec<Trouble> = remotes.iter().map(|_| Trouble::default()).collect();
    let mut count = 0usize;
    for job in jobs {
        count = count.saturating_add(1);
        for (remote, trouble) in remotes.iter().zip(&mut troubles).filter(|(remote, _)| remote.takes()) {
            if means.cancel.is_cancelled() {
                continue;
            }
            if trouble.is_over {
                trouble.unsent = trouble.unsent.saturating_add(1);
                continue;
            }
            if let Err(failure) = offer(remote, &job, means) {
                trouble.note(failure);
            }
        }
    }
    if means.cancel.is_cancelled() {
        return;
    }
    for (remote, Trouble { unsent, first, .. }) in remotes.iter().zip(troubles) {
        if let Some(why) = first {
            let name = &remote.name;
            means.reporter.warn(&format!("the layer cache {name} did not take {unsent} of {count} layers: {why}"));
        }
    }
}

fn offer(remote: &Remote, job: &Job, means: &Means) -> Result<(), Failure> {
    // What is damaged there counts as nothing.
    if !job.is_new && !remote.damaged().contains_key(&job.key) && remote.has(&job.key)? {
        return Ok(());
    }
    remote.send(&job.key, &job.layer, &job.note, means)
}

impl Trouble {
    fn note(&mut self, failure: Failure) {
        self.unsent = self.unsent.saturating_add(1);
        let (words, is_over) = match failure {
            Failure::Answer(words) | Failure::Damaged(words) => (words, false),
            Failure::Registry(words) => (words, true),
        };
        self.is_over |= is_over;
        self.first.get_or_insert(words);
    }
}
