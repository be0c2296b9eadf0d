//! Rates of counters between two looks at a table.
//!
//! A counter is found again by its row's key, because rows come, go and move. A rate is left out where the
//! last look did not have the row, where the counter went back, which means that it began anew, and where
//! two rows have one key.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

/// The counters at the last look.
#[derive(Debug)]
pub(crate) struct Rates {
    now: Instant,
    last: Option<Look>,
}

#[derive(Debug)]
struct Look {
    at: Instant,
    counts: HashMap<Vec<String>, Vec<Option<u64>>>,
}

impl Rates {
    /// Counters that are read at `now`.
    pub(crate) fn new(now: Instant) -> Rates {
        Rates { now, last: None }
    }

    /// The next counters were read at `now`.
    pub(crate) fn look(&mut self, now: Instant) {
        self.now = now;
    }

    /// The rates a second of each row's counters. Keeps the counters for the next look.
    pub(super) fn of(
        &mut self,
        rows: impl Iterator<Item = (Vec<String>, Vec<Option<u64>>)> + Clone,
    ) -> Vec<Vec<Option<f64>>> {
        let mut look = Look { at: self.now, counts: HashMap::new() };
        for (key, counts) in rows.clone() {
            match look.counts.entry(key) {
                Entry::Vacant(entry) => _ = entry.insert(counts),
                Entry::Occupied(mut entry) => entry.get_mut().fill(None),
            }
        }
        let last = self.last.replace(look);
        let of_row = |(key, counts): (Vec<String>, Vec<Option<u64>>)| {
            let before = last.as_ref().and_then(|last| Some((last.at, last.counts.get(&key)?)));
            // Of two rows with one key, the new look has no counts.
            let is_known = self.last.as_ref().is_some_and(|look| look.counts[&key] == counts);
            let rate = |column: usize| {
                let (at, before) = before.filter(|_| is_known)?;
                let grown = counts[column]?.checked_sub(before[column]?)?;
                let seconds = self.now.saturating_duration_since(at).as_secs_f64();
                (seconds > 0.0).then(|| grown as f64 / seconds)
            };
            (0..counts.len()).map(rate).collect()
        };
        rows.map(of_row).collect()
    }
}

/// A rate as text: whole from 100 on, else with one decimal. A counter that stood still has `0`, so that
/// `0.0` says that it moved.
pub(super) fn shown(rate: f64) -> String {
    if rate == 0.0 {
        "0".to_owned()
    } else if rate < 99.95 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rows(rows: &[(&str, u64)]) -> Vec<(Vec<String>, Vec<Option<u64>>)> {
        rows.iter().map(|&(name, count)| (vec![name.into()], vec![None, Some(count)])).collect()
    }

    fn look(rates: &mut Rates, made: &[(&str, u64)]) -> Vec<Option<f64>> {
        rates.of(rows(made).into_iter()).into_iter().map(|row| row[1]).collect()
    }

    #[test]
    fn rates_follow_names_and_the_measured_time() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        assert_eq!(look(&mut rates, &[("a", 10), ("b", 1000)]), [None, None]);
        // Reordered, one added, and after 2.5 s rather than the 2 s asked for.
        rates.look(start + Duration::from_millis(2500));
        let seen = look(&mut rates, &[("new", 5), ("b", 1000), ("a", 60)]);
        assert_eq!(seen, [None, Some(0.0), Some(20.0)]);
        // The one that was away is new when it is back.
        rates.look(start + Duration::from_millis(3500));
        assert_eq!(look(&mut rates, &[("b", 1001)]), [Some(1.0)]);
        rates.look(start + Duration::from_millis(4500));
        assert_eq!(look(&mut rates, &[("a", 70), ("b", 1001)]), [None, Some(0.0)]);
    }

    #[test]
    fn a_counter_that_went_back_has_no_rate_until_the_next_look() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        look(&mut rates, &[("a", 1000)]);
        rates.look(start + Duration::from_secs(1));
        assert_eq!(look(&mut rates, &[("a", 10)]), [None]);
        rates.look(start + Duration::from_secs(2));
        assert_eq!(look(&mut rates, &[("a", 13)]), [Some(3.0)]);
    }

    #[test]
    fn rows_of_one_key_and_looks_at_one_time_have_no_rates() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        look(&mut rates, &[("a", 1), ("b", 1)]);
        assert_eq!(look(&mut rates, &[("a", 2), ("b", 2)]), [None, None]);
        rates.look(start + Duration::from_secs(1));
        assert_eq!(look(&mut rates, &[("a", 3), ("a", 9), ("b", 3)]), [None, None, Some(1.0)]);
        rates.look(start + Duration::from_secs(2));
        assert_eq!(look(&mut rates, &[("a", 4), ("b", 3)]), [None, Some(0.0)]);
    }

    #[test]
    fn rates_are_short() {
        for (rate, expected) in [
            (0.0, "0"),
            (0.01, "0.0"),
            (0.5, "0.5"),
            (99.94, "99.9"),
            (99.96, "100"),
            (1_234_567.8, "1234568"),
        ] {
            assert_eq!(shown(rate), expected);
        }
    }
}
