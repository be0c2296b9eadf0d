//! Time: the CPU's counter in a live run, the packets' time stamps in a replay.

use crate::dpdk::clock::tsc;
use crate::dpdk::{Mbuf, TimestampField};
use guideway_core::balancer::Time;

/// Where a worker's time comes from.
#[derive(Debug)]
pub enum Clock {
    /// The CPU's counter. It is read at most once a round: a reading costs as much as a third of a
    /// packet, and a round lasts microseconds.
    Tsc {
        /// Ticks in a millisecond, not 0.
        per_ms: u64,
        /// The time of this round.
        now: Time,
        /// The ticks at which `now` is over, so that there is one division a millisecond.
        until: u64,
        /// The ticks at the last reading.
        last: u64,
    },
    /// The time stamps of the packets, in microseconds.
    Capture {
        /// The field of a packet that holds its time stamp.
        field: TimestampField,
        /// The latest time stamp seen: time does not run backwards, even if a capture does.
        latest: Time,
    },
}

impl Clock {
    /// The CPU's counter, with this many ticks in a millisecond.
    pub fn tsc(per_ms: u64) -> Clock {
        let (now, last) = (Time::default(), tsc());
        let mut clock = Clock::Tsc { per_ms: per_ms.max(1), now, until: 0, last };
        clock.begin_round();
        clock
    }

    /// Reads the time, which then stands still until the next reading. Returns the ticks since the last one; 0 in a
    /// replay.
    #[inline]
    pub(super) fn begin_round(&mut self) -> u64 {
        let Clock::Tsc { per_ms, now, until, last } = self else { return 0 };
        let ticks = tsc();
        if ticks >= *until {
            let ms = ticks / *per_ms;
            *now = Time::from_millis(ms);
            *until = (ms + 1).saturating_mul(*per_ms);
        }
        ticks.saturating_sub(std::mem::replace(last, ticks))
    }

    /// The CPU's counter now, to measure how long something takes; `None` in a replay.
    #[inline]
    pub(super) fn ticks(&self) -> Option<u64> {
        match self {
            Clock::Tsc { .. } => Some(tsc()),
            Clock::Capture { .. } => None,
        }
    }

    /// The time of this round, or of the latest packet.
    #[inline]
    pub(super) fn now(&self) -> Time {
        match self {
            Clock::Tsc { now, .. } => *now,
            Clock::Capture { latest, .. } => *latest,
        }
    }

    /// Whether each packet has a time of its own.
    #[inline]
    pub(super) fn is_per_packet(&self) -> bool {
        matches!(self, Clock::Capture { .. })
    }

    /// The time of a packet.
    pub(super) fn of(&mut self, mbuf: &Mbuf) -> Time {
        if let Clock::Capture { field, latest } = self
            && let Some(micros) = mbuf.timestamp(field)
        {
            *latest = Time::from_millis(micros / 1000).max(*latest);
        }
        self.now()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn time_stands_still_within_a_round_and_moves_on_with_the_next() {
        let mut clock = Clock::tsc(1000);
        let before = clock.now();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(2) {}
        assert_eq!(clock.now(), before);
        clock.begin_round();
        // A counter of at least 1 MHz: two milliseconds are 2,000 ticks and more.
        assert!(clock.now().as_millis() >= before.as_millis() + 2);
        let least = clock.now();
        assert!(Time::from_millis(tsc() / 1000) >= least);
    }

    #[test]
    fn readings_add_up_to_the_time_that_passes() {
        let before = tsc();
        let mut clock = Clock::tsc(1000);
        let begun = tsc();
        let read: u64 = (0..1000).map(|_| clock.begin_round()).sum();
        let after = tsc();
        assert!(clock.begin_round() > 0);
        assert!(read > 0 && read <= after - before, "{read}");
        assert!(read + 1_000_000 > after - begun, "{read} of {}", after - begun);
        assert!(clock.ticks() >= Some(after));
    }
}
