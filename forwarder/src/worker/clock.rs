//! Time: the CPU's counter for a live run, the packets' time stamps for a replay.

use crate::balancer::Time;
use crate::dpdk::Burst;
use crate::dpdk::clock::{TimestampField, tsc};

/// Where a worker's time comes from.
#[derive(Debug)]
pub enum Clock {
    /// The CPU's counter.
    Tsc {
        /// Milliseconds of a tick, times 2^64: a multiplication instead of a division.
        of_tick: u64,
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
    /// The time of a counter that makes so many ticks in a second.
    pub fn tsc(hz: u64) -> Clock {
        // One tick in a millisecond is more than a counter with less would need.
        Clock::Tsc { of_tick: u64::MAX / (hz / 1000).max(1) }
    }

    #[inline]
    pub(super) fn now(&self) -> Time {
        match self {
            Clock::Tsc { of_tick } => {
                let product = u128::from(tsc()) * u128::from(*of_tick);
                Time::from_millis((product >> 64) as u64)
            }
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

    /// The end of the run of packets from `start` on that share a moment, and that moment: `now`, unless
    /// the packets know better.
    #[inline]
    pub(super) fn run(&mut self, burst: &Burst, start: usize, now: Time) -> (usize, Time) {
        match self {
            Clock::Tsc { .. } => (burst.len(), now),
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
