//! Time: the CPU's counter for a live run, the packets' time stamps for a replay.

use crate::balancer::Time;
use crate::dpdk::Burst;
use crate::dpdk::clock::{TimestampField, tsc};

/// Where a worker's time comes from.
#[derive(Debug)]
pub enum Clock {
    /// The CPU's counter.
    Tsc {
        /// Ticks of a millisecond.
        per_ms: u64,
    },
    /// The time stamps of the packets, in microseconds.
    Capture {
        /// Where a packet has it.
        field: TimestampField,
        /// The latest seen: time does not run backwards, even if a capture does.
        latest: Time,
    },
}

impl Clock {
    pub(super) fn now(&self) -> Time {
        match self {
            Clock::Tsc { per_ms } => Time::from_millis(tsc() / per_ms),
            Clock::Capture { latest, .. } => *latest,
        }
    }

    /// The time of packets that another worker has handed over: that of the latest of them.
    pub(super) fn of(&mut self, burst: &Burst) -> Time {
        if let Clock::Capture { field, latest } = self {
            for micros in burst.iter().filter_map(|mbuf| mbuf.timestamp(field)) {
                *latest = Time::from_millis(micros / 1000).max(*latest);
            }
        }
        self.now()
    }

    /// The end of the run of packets from `start` on that share a moment, and that moment.
    pub(super) fn run(&mut self, burst: &Burst, start: usize) -> (usize, Time) {
        match self {
            Clock::Tsc { .. } => (burst.len(), self.now()),
            Clock::Capture { field, latest } => {
                let at = |i| {
                    let micros = burst.get(i).and_then(|mbuf| mbuf.timestamp(field));
                    micros.map_or(*latest, |micros| Time::from_millis(micros / 1000)).max(*latest)
                };
                let now = at(start);
                let end = (start + 1..burst.len()).find(|&i| at(i) != now).unwrap_or(burst.len());
                *latest = now;
                (end, now)
            }
        }
    }
}
