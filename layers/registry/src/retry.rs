//! The rule by which something is tried again.

use std::time::{Duration, Instant};

use crate::client::Inner;
use crate::error::{Error, Reason};
use crate::options::Options;
use crate::request::CANCEL_POLL;

/// Bytes that an attempt must bring to count as getting anywhere.
const PROGRESS_MIN: u64 = 256 << 10;

/// How one attempt ended, when not well.
pub(crate) enum Stop {
    /// It failed; the wait is one that the registry asked for.
    Failed(Reason, Option<Duration>),
    /// Nothing more is to be tried.
    Fatal(Error),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Failed(reason, None)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl From<crate::error::FileError> for Stop {
    fn from(error: crate::error::FileError) -> Self {
        Self::Fatal(error.into())
    }
}

impl Stop {
    /// As an error, when nothing is tried again.
    pub(crate) fn into_error(self, what: &str) -> Error {
        match self {
            Self::Failed(reason, _) => Error::registry(what, reason),
            Self::Fatal(error) => error,
        }
    }
}

/// What is left of the patience for one undertaking.
pub(crate) struct Budget {
    failures: u32,
    since: Instant,
    wait: Duration,
    mark: u64,
}

impl Budget {
    pub(crate) fn new(options: &Options) -> Self {
        Self { failures: 0, since: Instant::now(), wait: options.first_wait, mark: 0 }
    }

    /// How long to wait before the next attempt; `None` when there is to be none. `moved` is the
    /// number of bytes that all attempts together have brought.
    fn next(&mut self, options: &Options, asked: Option<Duration>, moved: u64) -> Option<Duration> {
        if moved.saturating_sub(self.mark) >= PROGRESS_MIN {
            *self = Self { mark: moved, ..Self::new(options) };
        }
        if self.failures >= options.retries {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        let own = self.wait.min(options.longest_wait);
        self.wait = self.wait.saturating_mul(2);
        let wait = own.max(asked.unwrap_or_default());
        (self.since.elapsed().saturating_add(wait) <= options.patience).then_some(wait)
    }
}

impl Inner {
    /// After a failure: waits, if there is to be another attempt; an error otherwise.
    pub(crate) async fn again(&self, what: &str, budget: &mut Budget, stop: Stop, moved: u64) -> Result<(), Error> {
        let (reason, asked) = match stop {
            Stop::Fatal(error) => return Err(error),
            Stop::Failed(reason, _) if !reason.may_pass() => return Err(Error::registry(what, reason)),
            Stop::Failed(reason, asked) => (reason, asked),
        };
        let Some(wait) = budget.next(&self.options, asked, moved) else {
            return Err(Error::registry(what, reason));
        };
        tracing::debug!(what, %reason, ?wait, "trying again");
        self.progress.retried(what, &reason.to_string());
        self.pause(wait).await
    }

    async fn pause(&self, wait: Duration) -> Result<(), Error> {
        let until = Instant::now() + wait;
        loop {
            if self.options.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(CANCEL_POLL.min(left)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_unless_something_is_brought() {
        let options = Options { retries: 2, patience: Duration::from_secs(60), ..Options::default() };
        let mut budget = Budget::new(&options);
        assert_eq!(budget.next(&options, None, 0), Some(options.first_wait));
        assert_eq!(budget.next(&options, None, 0), Some(options.first_wait * 2));
        assert_eq!(budget.next(&options, None, PROGRESS_MIN - 1), None);
        assert_eq!(budget.next(&options, None, PROGRESS_MIN), Some(options.first_wait));
        assert_eq!(budget.next(&options, Some(Duration::from_secs(7)), PROGRESS_MIN), Some(Duration::from_secs(7)));
        let mut budget = Budget::new(&options);
        assert_eq!(budget.next(&options, Some(Duration::from_secs(3600)), 0), None);
    }
}
