//! How often the tables are read because of others: at once at first, and ever more seldom if they do not rest.

use std::time::{Duration, Instant};

/// The first pause after a reading.
const SHORT: Duration = Duration::from_millis(10);
/// The longest one. What others removed is back within a second even then.
const LONG: Duration = Duration::from_millis(500);
/// After so long without a cause, the next one is a first one.
const QUIET: Duration = Duration::from_secs(5);

/// The pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pause: Duration,
    last: Option<Instant>,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { pause: SHORT, last: None }
    }

    /// When the next reading may be; `None` if at once.
    pub(super) fn next(&self) -> Option<Instant> {
        self.last.map(|last| last + self.pause)
    }

    /// Takes note of a reading that others caused.
    pub(super) fn note(&mut self, now: Instant) {
        let is_first = self.last.is_none_or(|last| now.duration_since(last) > QUIET);
        self.pause = if is_first { SHORT } else { (self.pause * 2).min(LONG) };
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_read_twice_a_second_and_a_single_event_at_once() {
        let begin = Instant::now();
        let mut pace = Pace::new();
        assert_eq!(pace.next(), None);
        let mut now = begin;
        let mut readings = 0;
        while now < begin + Duration::from_secs(60) {
            pace.note(now);
            readings += 1;
            let next = pace.next().unwrap();
            assert!(next - now >= SHORT && next - now <= LONG);
            now = next;
        }
        assert!((120..=130).contains(&readings), "{readings}");
        now += Duration::from_secs(6);
        assert!(pace.next().unwrap() < now);
        pace.note(now);
        assert_eq!(pace.next(), Some(now + SHORT));
    }
}
