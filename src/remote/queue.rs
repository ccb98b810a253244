//! What waits to be sent: layers of steps before those of packages, because few steps are worth more than many
//! packages, and should the build end early there may be time for nothing else.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Holding;

/// Things that wait for whoever takes them, from several threads.
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
}

struct Waiting<T> {
    steps: VecDeque<T>,
    packages: VecDeque<T>,
    is_closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let waiting = Waiting { steps: VecDeque::new(), packages: VecDeque::new(), is_closed: false };
        Self { waiting: Mutex::new(waiting), changed: Condvar::new() }
    }
}

impl<T> Queue<T> {
    /// Adds something. There is no bound: a build has a few dozen steps, and as many packages as its lock.
    pub(super) fn put(&self, holding: Holding, job: T) {
        let mut waiting = self.waiting();
        match holding {
            Holding::Step => waiting.steps.push_back(job),
            Holding::Package => waiting.packages.push_back(job),
        }
        self.changed.notify_one();
    }

    /// Waits for the next one; `None` when nothing is left and nothing more can come.
    pub(super) fn take(&self) -> Option<T> {
        let mut waiting = self.waiting();
        loop {
            let next = match waiting.steps.pop_front() {
                None => waiting.packages.pop_front(),
                step => step,
            };
            if next.is_some() || waiting.is_closed {
                return next;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.changed.notify_all();
    }

    /// Packages that wait are not sent.
    pub(super) fn forget_packages(&self) {
        self.waiting().packages.clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_first_and_packages_may_be_forgotten() {
        let queue = Queue::default();
        for (holding, job) in [(Holding::Package, 1), (Holding::Step, 2), (Holding::Package, 3), (Holding::Step, 4)] {
            queue.put(holding, job);
        }
        assert_eq!([queue.take(), queue.take(), queue.take()], [Some(2), Some(4), Some(1)]);
        queue.put(Holding::Step, 5);
        queue.forget_packages();
        queue.close();
        assert_eq!([queue.take(), queue.take()], [Some(5), None]);
    }

    #[test]
    fn whoever_waits_learns_of_the_end() {
        let queue = Queue::<u8>::default();
        std::thread::scope(|scope| {
            let waiting = [(); 3].map(|()| scope.spawn(|| queue.take()));
            queue.put(Holding::Package, 7);
            queue.close();
            let mut taken = waiting.map(|thread| thread.join().unwrap());
            taken.sort();
            assert_eq!(taken, [None, None, Some(7)]);
        });
    }
}
