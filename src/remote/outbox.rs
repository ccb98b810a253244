//! What caches are to have, sent by threads of their own: a slow registry delays no step. Who drops the outbox
//! waits until all is sent, or until somebody asks for the end of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use layers::{Key, StoredLayer};

use super::queue::Queue;
use super::{Failure, Holding, Means, Offer, Remote};

/// Threads that send: most of the time they wait for an answer.
const SENDERS: usize = 4;

/// Takes layers and sends them.
pub(super) struct Outbox {
    remotes: Arc<[Remote]>,
    means: Means,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: Option<Arc<Queue<Job>>>,
    senders: Vec<JoinHandle<()>>,
    /// How it went so far, by cache.
    troubles: Arc<Mutex<Vec<Trouble>>>,
    /// Each key is looked at once.
    seen: BTreeSet<Key>,
}

/// A layer to send.
struct Job {
    key: Key,
    holding: Holding,
    layer: StoredLayer,
    note: Vec<u8>,
    is_new: bool,
}

impl Outbox {
    /// An empty one; its threads start with the first layer.
    pub(super) fn new(remotes: Arc<[Remote]>, means: Means) -> Self {
        Self { remotes, means, state: Mutex::default() }
    }

    /// Takes a layer, if there is anybody to send it to.
    pub(super) fn send(&self, offer: Offer<'_>) {
        let Offer { key, holding, layer, note, is_new } = offer;
        if self.means.cancel.is_cancelled() || !self.remotes.iter().any(|remote| remote.takes(holding)) {
            return;
        }
        let Some(queue) = self.queue(key, is_new) else { return };
        queue.put(holding, Job { key: *key, holding, layer: layer.clone(), note: note.to_vec(), is_new });
    }

    /// The build has failed, and whoever waits for it wants to know why: what the next one makes again in no time
    /// is not sent.
    pub(super) fn hurry(&self) {
        if let Some(queue) = &self.state().queue {
            queue.forget_packages();
        }
    }

    /// The only cache has what answers this key.
    pub(super) fn needs_not(&self, key: &Key) {
        self.state().seen.insert(*key);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        held(&self.state)
    }

    /// Where a layer with this key goes; nowhere if it went there before, unless this one `is_new`: then what went
    /// there was of no use here.
    fn queue(&self, key: &Key, is_new: bool) -> Option<Arc<Queue<Job>>> {
        let mut state = self.state();
        if !state.seen.insert(*key) && !is_new {
            return None;
        }
        if let Some(queue) = &state.queue {
            return Some(queue.clone());
        }
        let queue = Arc::new(Queue::default());
        held(&state.troubles).resize_with(self.remotes.len(), Trouble::default);
        for number in 0..SENDERS {
            let remotes = self.remotes.clone();
            let means = Means { threads: self.means.threads.div_ceil(SENDERS), ..self.means.clone() };
            let (troubles, queue) = (state.troubles.clone(), queue.clone());
            let work = move || work(&remotes, &means, &queue, &troubles);
            match thread::Builder::new().name("outbox".into()).spawn(work) {
                Ok(thread) => state.senders.push(thread),
                // Fewer do, too.
                Err(error) if number == 0 => {
                    self.means.reporter.warn(&format!("the layer caches take nothing: {error}"));
                    break;
                }
                Err(_) => break,
            }
        }
        state.queue = Some(queue.clone());
        Some(queue)
    }
}

impl Drop for Outbox {
    /// What went wrong is told at the end, once for each cache.
    fn drop(&mut self) {
        let State { queue, senders, troubles, .. } = std::mem::take(&mut *self.state());
        queue.iter().for_each(|queue| queue.close());
        let mut is_whole = true;
        for thread in senders {
            is_whole &= thread.join().is_ok();
        }
        if !is_whole {
            self.means.reporter.warn("the layer caches did not take all layers: a thread that sends them failed");
        }
        if self.means.cancel.is_cancelled() {
            return;
        }
        for (remote, Trouble { unsent, of, first, .. }) in self.remotes.iter().zip(&*held(&troubles)) {
            if let Some(why) = first {
                let name = &remote.name;
                self.means
                    .reporter
                    .warn(&format!("the layer cache {name} did not take {unsent} of {of} layers: {why}"));
            }
        }
    }
}

/// What went wrong with one cache.
#[derive(Default)]
struct Trouble {
    /// Layers that it does not have now.
    unsent: usize,
    /// Of so many that it was to have.
    of: usize,
    first: Option<String>,
    /// There is no use in sending more.
    is_over: bool,
    /// Nor is there in sending more layers of packages.
    is_over_for_packages: bool,
}

fn held<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends layer after layer to each cache.
fn work(remotes: &[Remote], means: &Means, queue: &Queue<Job>, troubles: &Mutex<Vec<Trouble>>) {
    while let Some(job) = queue.take() {
        for (number, remote) in remotes.iter().enumerate().filter(|(_, remote)| remote.takes(job.holding)) {
            if means.cancel.is_cancelled() {
                continue;
            }
            let is_over = held(troubles).get_mut(number).is_some_and(|trouble| {
                let is_over = trouble.is_over || (trouble.is_over_for_packages && job.holding == Holding::Package);
                trouble.of = trouble.of.saturating_add(1);
                trouble.unsent = trouble.unsent.saturating_add(usize::from(is_over));
                is_over
            });
            if is_over {
                continue;
            }
            if let Err(failure) = offer(remote, &job, means)
                && let Some(trouble) = held(troubles).get_mut(number)
            {
                trouble.note(failure, job.holding);
            }
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
    fn note(&mut self, failure: Failure, holding: Holding) {
        self.unsent = self.unsent.saturating_add(1);
        let words = match failure {
            Failure::Answer(words) | Failure::Damaged(words) => words,
            // Packages are many; the few steps may still come through.
            Failure::Busy(words) if holding == Holding::Package => {
                self.is_over_for_packages = true;
                words
            }
            Failure::Busy(words) | Failure::Registry(words) => {
                self.is_over = true;
                words
            }
        };
        self.first.get_or_insert(words);
    }
}
