//! What became of applies and reloads: counted by the threads that carry them out, read by any.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guideway_api::{ChangeOutcome, Error, ErrorKind, Response};

/// What became of an apply or a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApplyResult {
    /// The configuration is in force on every worker.
    Applied,
    /// The configuration is published, and some worker did not load the tables in time.
    Late,
    /// The configuration was refused.
    Refused,
    /// The daemon stopped, or the manager failed.
    Failed,
}

impl ApplyResult {
    pub(crate) const ALL: [ApplyResult; 4] =
        [ApplyResult::Applied, ApplyResult::Late, ApplyResult::Refused, ApplyResult::Failed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            ApplyResult::Applied => "applied",
            ApplyResult::Late => "late",
            ApplyResult::Refused => "refused",
            ApplyResult::Failed => "failed",
        }
    }
}

/// How many applies and reloads had each result, and how the last ended.
#[derive(Debug)]
pub(crate) struct Applies {
    counts: [AtomicU64; ApplyResult::ALL.len()],
    /// The milliseconds from 1970 on, twice; one more if the configuration was published. One number, so that no reader
    /// sees the time of one apply and the result of another.
    last: AtomicU64,
}

impl Default for Applies {
    /// The start put a configuration in force.
    fn default() -> Applies {
        Applies { counts: Default::default(), last: AtomicU64::new(now() * 2 + 1) }
    }
}

impl Applies {
    /// Counts the response to an apply or a reload.
    pub(super) fn count(&self, response: &Result<Response, Error>, outcome: ChangeOutcome) {
        let result = match (outcome, response) {
            (ChangeOutcome::Applied, _) => ApplyResult::Applied,
            (ChangeOutcome::Late, _) => ApplyResult::Late,
            (ChangeOutcome::Refused, Err(error)) if error.kind == ErrorKind::Rejected => {
                ApplyResult::Refused
            }
            (ChangeOutcome::Refused, _) => ApplyResult::Failed,
        };
        self.counts[result as usize].fetch_add(1, Ordering::Relaxed);
        let last =
            now() * 2 + u64::from(matches!(result, ApplyResult::Applied | ApplyResult::Late));
        self.last.store(last, Ordering::Relaxed);
    }

    /// How many had a result.
    pub(crate) fn of(&self, result: ApplyResult) -> u64 {
        self.counts[result as usize].load(Ordering::Relaxed)
    }

    /// Whether the last published its configuration, and when it ended, from 1970 on.
    pub(crate) fn last(&self) -> (bool, Duration) {
        let last = self.last.load(Ordering::Relaxed);
        (last % 2 == 1, Duration::from_millis(last / 2))
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0)
}
