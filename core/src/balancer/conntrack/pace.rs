//! How fast the sweep goes: by the time that passed, so that a whole pass takes no longer under load or in a large
//! table.
//!
//! A worker owes buckets for the time since its last round, and pays a bounded number in each round. What it
//! cannot pay it owes on, up to a whole pass: after a standstill or a jump of the clock, everything is swept once.

use super::super::time::Time;

/// Milliseconds in which the whole table is swept. A worker that falls behind has as long again: no entry stays
/// for 10 s after its time is over.
const PASS_MS: u64 = 5000;

/// Buckets that one round sweeps at most, in a table of up to 16 Mi entries. A bucket costs 10 to 50 ns
/// (docs/performance.md), so a round lasts 1 to 3 µs longer. A larger table has more in proportion. A table of 16 Mi
/// entries or more is swept in time if a worker that is behind makes a round in each 75 µs, one of 1 Mi entries if it
/// makes one in each millisecond.
const MOST: u64 = 64;

/// Buckets of a table of 16 Mi entries.
const LARGE: u64 = 1 << 22;

/// What a worker's sweep owes.
#[derive(Debug)]
pub struct SweepPace {
    /// Buckets of the table.
    buckets: u64,
    /// Buckets that one round sweeps at most.
    most: u64,
    /// The time of the last round.
    last: Time,
    /// What is owed: buckets times [`PASS_MS`].
    owed: u64,
}

impl SweepPace {
    /// The pace for a table of so many entries, of which nothing is owed.
    pub fn new(capacity: usize) -> SweepPace {
        let buckets = (capacity / super::WAYS) as u64;
        let most = MOST * buckets.div_ceil(LARGE).max(1);
        SweepPace { buckets, most, last: Time::default(), owed: 0 }
    }

    /// How many buckets this round sweeps: at least one, even if none is owed.
    #[inline]
    pub fn due(&mut self, now: Time) -> u64 {
        let elapsed = now.as_millis().saturating_sub(self.last.as_millis()).min(PASS_MS);
        self.last = now;
        self.owed = (self.owed + elapsed * self.buckets).min(PASS_MS * self.buckets);
        let due = (self.owed / PASS_MS).clamp(1, self.most);
        self.owed = self.owed.saturating_sub(due * PASS_MS);
        due
    }

    /// Whether more is owed than this round could pay: the next one follows at once and pays too.
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.owed >= PASS_MS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRIES: [usize; 6] = [4, 4096, 1 << 20, 1 << 22, 1 << 24, 1 << 28];

    /// Runs rounds until so many milliseconds have passed, each as long as the next number says, in microseconds; but
    /// rounds of a worker that is behind are no longer than `busy`, since it does not sleep. Returns the buckets swept.
    fn swept(pace: &mut SweepPace, from: u64, ms: u64, rounds: &[u64], busy: u64) -> u64 {
        let (mut micros, mut swept) = (from * 1000, 0);
        let mut rounds = rounds.iter().cycle();
        while micros < (from + ms) * 1000 {
            let round = *rounds.next().unwrap();
            micros += if pace.is_behind() { round.min(busy) } else { round };
            let due = pace.due(Time::from_millis(micros / 1000));
            assert!((1..=pace.most).contains(&due));
            swept += due;
        }
        swept
    }

    #[test]
    #[cfg_attr(miri, ignore = "millions of rounds: minutes under Miri")]
    fn ten_seconds_sweep_every_table_at_any_load() {
        for entries in ENTRIES {
            // Short rounds, bursts of expensive packets, sleeps of 10 ms.
            for rounds in [&[1][..], &[75], &[5, 75, 30], &[10_000], &[3, 10_000]] {
                let mut pace = SweepPace::new(entries);
                swept(&mut pace, 0, 1000, rounds, 75);
                let swept = swept(&mut pace, 1000, 10_000, rounds, 75);
                assert!(swept >= entries as u64 / 4, "{entries} {rounds:?}: {swept}");
            }
        }
    }

    #[test]
    fn a_table_of_a_million_entries_needs_a_round_in_a_millisecond() {
        let mut pace = SweepPace::new(1 << 20);
        let swept = swept(&mut pace, 0, 10_000, &[1000], 1000);
        assert!(swept >= 1 << 18, "{swept}");
    }

    /// Rounds that come seldom are not all that a standstill costs: what was not swept meanwhile is swept after it.
    #[test]
    fn a_standstill_is_made_up_for_once() {
        for (jump, passes) in [(1_000, 0.2), (PASS_MS, 1.0), (3_600_000, 1.0), (u64::MAX / 2, 1.0)]
        {
            let mut pace = SweepPace::new(1 << 16);
            pace.due(Time::from_millis(7));
            let mut swept = 0.0;
            while swept == 0.0 || pace.is_behind() {
                swept += pace.due(Time::from_millis(7 + jump)) as f64;
            }
            let expected = passes * f64::from(1 << 14);
            assert!((swept - expected).abs() <= 1.0, "{jump}: {swept}");
        }
    }

    #[test]
    fn time_that_runs_backwards_owes_nothing() {
        let mut pace = SweepPace::new(1 << 20);
        pace.due(Time::from_millis(1000));
        while pace.is_behind() {
            pace.due(Time::from_millis(1000));
        }
        assert_eq!(pace.due(Time::from_millis(10)), 1);
        assert!(!pace.is_behind());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 64 }))]

        /// Whatever the rounds: in 10 s every bucket comes up, no round sweeps more than it may, and a worker that
        /// is not behind owes less than a bucket.
        #[test]
        fn no_round_is_long_and_no_bucket_waits(
            entries in prop::sample::select(&ENTRIES[..]),
            rounds in proptest::collection::vec(prop_oneof![1u64..75, 50u64..12_000], 1..40),
            start in 0u64..100_000,
        ) {
            let mut pace = SweepPace::new(entries);
            pace.due(Time::from_millis(start));
            while pace.is_behind() {
                pace.due(Time::from_millis(start));
            }
            let swept = swept(&mut pace, start, 10_000, &rounds, 75);
            prop_assert!(swept >= entries as u64 / 4, "{} of {} entries", swept, entries);
        }
    }
}
