//! Whether the node may announce its virtual addresses: a plain value that is told what is seen at each look, and how
//! much time has passed since the look before.
//!
//! A worker counts its rounds, at least one in 10 ms even while it sleeps for want of packets. A worker whose count
//! stands still for `announce.stall` has stalled.
//!
//! A process that was stopped, as by `SIGSTOP` or with its virtual machine, finds that much time has passed and that no
//! worker had a chance to work. So no look counts more than two periods, and a stall takes three looks at least.
//! A guard that is late itself therefore finds a stall late.

use std::time::Duration;

use guideway_api::AnnouncingState;

/// The longest time from one look to the next.
const LONGEST: Duration = Duration::from_millis(50);

/// The time from one look to the next: a stall is found within a fifth of its limit.
pub(super) fn period(stall: Duration) -> Duration {
    (stall / 5).min(LONGEST)
}

/// What the looks before have left.
#[derive(Debug, Default)]
pub(super) struct Guard {
    workers: Vec<Worker>,
}

#[derive(Clone, Debug, Default)]
struct Worker {
    rounds: u64,
    /// The time since its count of rounds changed.
    age: Duration,
}

impl Guard {
    /// Judges by the rounds of each worker and whether a port has a link, `passed` after the look before: up, or why
    /// the interface has to be down.
    pub(super) fn judge(
        &mut self,
        rounds: impl IntoIterator<Item = u64>,
        has_link: bool,
        passed: Duration,
        stall: Duration,
    ) -> AnnouncingState {
        let counted = passed.min(2 * period(stall));
        let mut stalled = None;
        for (worker, rounds) in rounds.into_iter().enumerate() {
            if self.workers.len() == worker {
                self.workers.push(Worker { rounds, age: Duration::ZERO });
                continue;
            }
            let known = &mut self.workers[worker];
            match known.rounds == rounds {
                true => known.age += counted,
                false => *known = Worker { rounds, age: Duration::ZERO },
            }
            if known.age >= stall {
                stalled = stalled.or(Some(worker));
            }
        }
        if let Some(worker) = stalled {
            return AnnouncingState::WorkerStalled { worker };
        }
        match has_link {
            true => AnnouncingState::Up,
            false => AnnouncingState::NoLink,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STALL: Duration = Duration::from_millis(500);
    const UP: AnnouncingState = AnnouncingState::Up;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn stalled(worker: usize) -> AnnouncingState {
        AnnouncingState::WorkerStalled { worker }
    }

    #[test]
    fn looks_are_frequent_enough_for_each_limit() {
        assert_eq!(
            [100, 200, 500, 60_000].map(|stall| period(ms(stall))),
            [20, 40, 50, 50].map(ms)
        );
    }

    #[test]
    fn a_worker_stalls_at_the_limit_and_is_well_with_its_next_round() {
        let mut guard = Guard::default();
        assert_eq!(guard.judge([7, 7], true, ms(50), STALL), UP);
        for look in 1..10 {
            assert_eq!(guard.judge([7 + look, 7], true, ms(50), STALL), UP, "{look}");
        }
        for look in 10..15 {
            assert_eq!(guard.judge([7 + look, 7], true, ms(50), STALL), stalled(1), "{look}");
        }
        assert_eq!(guard.judge([99, 8], true, ms(50), STALL), UP);
        // The first of several is named.
        let mut last = UP;
        for _ in 0..10 {
            last = guard.judge([99, 8], true, ms(50), STALL);
        }
        assert_eq!(last, stalled(0));
    }

    #[test]
    fn a_limit_that_a_reload_lowers_or_raises_holds_at_once() {
        let mut guard = Guard::default();
        for _ in 0..5 {
            assert_eq!(guard.judge([1], true, ms(50), STALL), UP);
        }
        assert_eq!(guard.judge([1], true, ms(20), ms(200)), stalled(0));
        assert_eq!(guard.judge([1], true, ms(50), STALL), UP);
    }

    #[test]
    fn a_process_that_was_stopped_has_no_stalled_worker() {
        for stall in [100, 500, 60_000].map(ms) {
            let mut guard = Guard::default();
            guard.judge([1], true, period(stall), stall);
            // It was stopped twice, and the guard happened to run first each time.
            for _ in 0..2 {
                assert_eq!(guard.judge([1], true, ms(3_600_000), stall), UP, "{stall:?}");
            }
            assert_eq!(guard.judge([2], true, period(stall), stall), UP);
        }
    }

    #[test]
    fn a_node_without_a_link_announces_nothing() {
        let mut guard = Guard::default();
        let with = |has_link| guard.judge([], has_link, ms(50), STALL);
        assert_eq!([true, false, true].map(with), [UP, AnnouncingState::NoLink, UP]);
    }

    #[test]
    fn a_stall_weighs_more_than_links() {
        let mut guard = Guard::default();
        let mut last = UP;
        for _ in 0..11 {
            last = guard.judge([1], false, ms(50), STALL);
        }
        assert_eq!(last, stalled(0));
        assert_eq!(guard.judge([2], false, ms(50), STALL), AnnouncingState::NoLink);
    }

    proptest! {
        /// Against the time since each worker's last round, summed up by hand.
        #[test]
        fn the_judgement_is_that_of_a_simple_model(
            stall in 100_u64..1000,
            looks in proptest::collection::vec((any::<[bool; 3]>(), any::<bool>(), 0_u64..200), 1..80),
        ) {
            let (stall, mut guard) = (ms(stall), Guard::default());
            let (mut rounds, mut ages) = ([0; 3], [Duration::ZERO; 3]);
            guard.judge(rounds, true, Duration::ZERO, stall);
            for (works, is_up, passed) in looks {
                let passed = ms(passed);
                for (worker, works) in works.into_iter().enumerate() {
                    rounds[worker] += u64::from(works);
                    ages[worker] += passed.min(2 * period(stall));
                    if works {
                        ages[worker] = Duration::ZERO;
                    }
                }
                let expected = match ages.iter().position(|&age| age >= stall) {
                    Some(worker) => stalled(worker),
                    None if is_up => UP,
                    None => AnnouncingState::NoLink,
                };
                prop_assert_eq!(guard.judge(rounds, is_up, passed, stall), expected);
            }
        }
    }
}
