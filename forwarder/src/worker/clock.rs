//! Time: the CPU's counter for a live run, the packets' time stamps for a replay.

use crate::balancer::Time;
use crate::dpdk::Burst;
use crate::dpdk::clock::{TimestampField, tsc};

/// Where a worker's time comes from.
#[derive(Debug)]
pub enum Clock {
    /// The CPU's counter, read once a round: reading it costs as much as a third of a packet, and it
    /// rises by microseconds in a round.
    Tsc {
        /// Ticks of a millisecond, not 0.
        per_ms: u64,
        /// The time of this round.
        now: Time,
        /// The ticks at which it is over, so that there is a division once a millisecond only.
        until: u64,
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
    /// The CPU's counter, which rises so many times in a millisecond.
    pub fn tsc(per_ms: u64) -> Clock {
        let mut clock = Clock::Tsc { per_ms: per_ms.max(1), now: Time::default(), until: 0 };
        clock.begin_round();
        clock
    }

    /// Looks at the time, which then stands until the next round.
    #[inline]
    pub(super) fn begin_round(&mut self) {
        if let Clock::Tsc { per_ms, now, until } = self {
            let ticks = tsc();
            if ticks >= *until {
                let ms = ticks / *per_ms;
                *now = Time::from_millis(ms);
                *until = (ms + 1).saturating_mul(*per_ms);
            }
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn time_stands_within_a_round_and_goes_on_with_the_next() {
        let mut clock = Clock::tsc(1000);
        let before = clock.now();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(2) {}
        assert_eq!(clock.now(), before);
        assert_eq!(clock.run(&Burst::new(), 0).1, before);
        clock.begin_round();
        // A counter of at least 1 MHz: two milliseconds are 2,000 ticks and more.
        assert!(clock.now().as_millis() >= before.as_millis() + 2);
        let least = clock.now();
        assert!(Time::from_millis(tsc() / 1000) >= least);
    }
}
