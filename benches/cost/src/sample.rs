//! Repeats a measurement until its spread is small.

use std::time::Duration;

/// The least and the greatest number of repetitions.
const REPETITIONS: std::ops::RangeInclusive<usize> = 11..=61;
/// The spread that is small enough.
const SPREAD: f64 = 0.02;

/// The result of a repeated measurement.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The median.
    pub median: f64,
    /// Half the interquartile range over the median.
    pub spread: f64,
}

impl Measured {
    /// The result for these values, at least one.
    pub fn of(values: &[f64]) -> Measured {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |part: usize| sorted[(sorted.len() - 1) * part / 4];
        let median = at(2);
        Measured { median, spread: ((at(3) - at(1)) / 2.0 / median).abs() }
    }

    /// `12.3 ns`, for a table.
    pub fn ns(&self) -> String {
        format!("{:.1} ns", self.median)
    }

    /// `1.2 %`, for a table.
    pub fn percent(&self) -> String {
        format!("{:.1} %", self.spread * 100.0)
    }
}

/// Repeats a measurement until its spread is small, or up to the greatest number of repetitions.
pub fn repeat(mut once: impl FnMut() -> f64) -> Measured {
    let mut values = Vec::new();
    // The first run warms up the caches.
    once();
    loop {
        values.push(once());
        let measured = Measured::of(&values);
        let enough = values.len() >= *REPETITIONS.start() && measured.spread <= SPREAD;
        if enough || values.len() >= *REPETITIONS.end() {
            return measured;
        }
    }
}

/// Nanoseconds of each of `n`.
pub fn ns_of_each(spent: Duration, n: usize) -> f64 {
    spent.as_nanos() as f64 / n as f64
}
