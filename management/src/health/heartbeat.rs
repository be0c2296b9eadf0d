//! Whether a worker works.

use std::time::Duration;

use guideway_api::Happening;

use super::{MOST, STALLED};

/// The rounds of a worker, as its counter shows them.
#[derive(Clone, Debug, Default)]
pub(super) struct Heartbeat {
    rounds: u64,
    age: Duration,
    has_stalled: bool,
}

impl Heartbeat {
    /// Notes the count of rounds, some time after the last note. Returns what has happened to this worker.
    pub(super) fn note(
        &mut self,
        worker: usize,
        rounds: u64,
        passed: Duration,
    ) -> Option<Happening> {
        let age_ms = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.age += passed.min(MOST);
        if self.rounds != rounds {
            self.rounds = rounds;
            let age = std::mem::take(&mut self.age);
            return std::mem::take(&mut self.has_stalled)
                .then(|| Happening::WorkerResumed { worker, age_ms: age_ms(age) });
        }
        if self.age < STALLED || self.has_stalled {
            return None;
        }
        self.has_stalled = true;
        Some(Happening::WorkerStalled { worker, age_ms: age_ms(self.age) })
    }

    /// The time since the last round.
    pub(super) fn age(&self) -> Duration {
        self.age
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::PERIOD;

    #[test]
    fn a_worker_stalls_after_a_second_and_resumes_with_a_round() {
        let mut heart = Heartbeat::default();
        for rounds in 1..100 {
            assert_eq!(heart.note(3, rounds, PERIOD), None);
            assert_eq!(heart.age(), Duration::ZERO);
        }
        for tenths in 1..10 {
            assert_eq!(heart.note(3, 99, PERIOD), None);
            assert_eq!(heart.age(), PERIOD * tenths);
        }
        assert_eq!(
            heart.note(3, 99, PERIOD),
            Some(Happening::WorkerStalled { worker: 3, age_ms: 1000 })
        );
        for _ in 0..30 {
            assert_eq!(heart.note(3, 99, PERIOD), None, "said once");
        }
        assert_eq!(heart.age(), Duration::from_secs(4));
        assert_eq!(
            heart.note(3, 100, PERIOD),
            Some(Happening::WorkerResumed { worker: 3, age_ms: 4100 })
        );
        assert_eq!(heart.note(3, 101, PERIOD), None);
    }

    #[test]
    fn a_process_that_was_stopped_has_no_stalled_worker() {
        let mut heart = Heartbeat::default();
        assert_eq!(heart.note(0, 1, PERIOD), None);
        // The watch happens to run first.
        for _ in 0..4 {
            assert_eq!(heart.note(0, 1, Duration::from_secs(3600)), None);
        }
        assert_eq!(heart.note(0, 2, PERIOD), None);
        assert_eq!(heart.age(), Duration::ZERO);
    }
}
