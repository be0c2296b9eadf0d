//! Histograms with one writer: how often a value fell into each of a fixed number of buckets.
//!
//! [`Histogram`] names them. Their buckets are fixed: counting is a load, an addition and a store, and readings of
//! several workers add up.

use std::array;

use super::cell::Cell;
use super::metric::Histogram;

/// Buckets of each histogram.
pub const BUCKETS: usize = 33;

impl Histogram {
    /// The largest value of a bucket; `None` if there is no limit, as for the last bucket of a histogram whose buckets
    /// are powers of two.
    pub const fn bound(self, bucket: usize) -> Option<u64> {
        match self {
            Histogram::BurstPackets => Some(bucket as u64),
            Histogram::BurstCycles if bucket + 1 < BUCKETS => Some(1 << bucket),
            Histogram::BurstCycles => None,
        }
    }

    /// The bucket of a value.
    #[expect(clippy::cast_possible_truncation, reason = "less than the number of buckets")]
    #[inline]
    const fn bucket(self, value: u64) -> usize {
        let bucket = match self {
            Histogram::BurstPackets => value,
            // The exponent of the least power of two that is at least the value.
            Histogram::BurstCycles => (u64::BITS - value.saturating_sub(1).leading_zeros()) as u64,
        };
        if bucket < BUCKETS as u64 { bucket as usize } else { BUCKETS - 1 }
    }

    /// Whether all values of a bucket are equal, so that no sum need be kept.
    const fn is_exact(self) -> bool {
        matches!(self, Histogram::BurstPackets)
    }
}

/// The cells of one histogram.
#[derive(Debug)]
pub(super) struct HistogramCells {
    buckets: [Cell; BUCKETS],
    sum: Cell,
}

impl HistogramCells {
    pub(super) fn new() -> HistogramCells {
        HistogramCells { buckets: array::from_fn(|_| Cell::default()), sum: Cell::default() }
    }

    /// Counts a value.
    #[inline]
    pub(super) fn count(&self, of: Histogram, value: u64) {
        self.buckets[of.bucket(value)].add(1);
        if !of.is_exact() {
            self.sum.add(value);
        }
    }

    pub(super) fn read(&self, of: Histogram) -> Distribution {
        let buckets = array::from_fn(|bucket| self.buckets[bucket].read());
        let sum = match of.is_exact() {
            true => (0..).zip(buckets).map(|(value, count): (u64, u64)| value * count).sum(),
            false => self.sum.read(),
        };
        Distribution { buckets, sum }
    }
}

/// A reading of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// How many values fell into each bucket; [`Histogram::bound`] says which do.
    pub buckets: [u64; BUCKETS],
    /// The sum of all values.
    pub sum: u64,
}

impl Distribution {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_it_does_not_exceed() {
        for &histogram in Histogram::ALL {
            for value in
                (0..5000).chain((13..64).flat_map(|n| [(1 << n) - 1, 1 << n, (1 << n) + 1]))
            {
                let fits =
                    |bucket: &usize| histogram.bound(*bucket).is_none_or(|bound| value <= bound);
                let expected = (0..BUCKETS).find(fits).unwrap_or(BUCKETS - 1);
                assert_eq!(histogram.bucket(value), expected, "{histogram:?} of {value}");
            }
        }
    }

    #[test]
    fn a_reading_has_the_number_and_the_sum_of_the_values() {
        for &histogram in Histogram::ALL {
            let cells = HistogramCells::new();
            let values = [0, 1, 1, 2, 3, 17, 31, 32, 32];
            values.iter().for_each(|&value| cells.count(histogram, value));
            let read = cells.read(histogram);
            assert_eq!((read.count(), read.sum), (9, values.iter().sum()));
        }
    }
}
