//! Repeats a measurement until its spread is small.

use std::time::Duration;

use anyhow::Result;

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
        if is_enough(values.len(), measured.spread) {
            return measured;
        }
    }
}

/// As [`repeat`], for a measurement that may fail.
///
/// # Errors
/// The error of a failed one.
pub fn try_repeat(mut once: impl FnMut() -> Result<f64>) -> Result<Measured> {
    let mut failure = None;
    let measured = repeat(|| {
        once().unwrap_or_else(|error| {
            failure = Some(error);
            0.0
        })
    });
    failure.map_or(Ok(measured), Err)
}

/// Repeats two measurements in turns, which return one value each. Returns the result for the second value, and that
/// for the ratio of the second to the first. These two end the repetition.
///
/// # Errors
/// The error of a failed one.
pub fn repeat_in_turns(
    mut once: impl FnMut() -> Result<(f64, f64)>,
) -> Result<(Measured, Measured)> {
    let (mut values, mut ratios) = (Vec::new(), Vec::new());
    once()?;
    loop {
        let (base, value) = once()?;
        values.push(value);
        ratios.push(value / base);
        let (measured, ratio) = (Measured::of(&values), Measured::of(&ratios));
        if is_enough(values.len(), measured.spread.max(ratio.spread)) {
            return Ok((measured, ratio));
        }
    }
}

fn is_enough(repetitions: usize, spread: f64) -> bool {
    let is_small = repetitions >= *REPETITIONS.start() && spread <= SPREAD;
    is_small || repetitions >= *REPETITIONS.end()
}

/// Nanoseconds of each of `n`.
pub fn ns_of_each(spent: Duration, n: usize) -> f64 {
    spent.as_nanos() as f64 / n as f64
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn the_spread_is_half_the_interquartile_range_over_the_median() {
        let Measured { median, spread } = Measured::of(&[5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!((median, spread), (3.0, 1.0 / 3.0));
    }

    #[test]
    fn a_calm_measurement_ends_early_and_a_wild_one_at_the_limit() {
        for (step, expected) in [(0.0, *REPETITIONS.start()), (1.0, *REPETITIONS.end())] {
            let mut runs = 0.0;
            repeat(|| {
                runs += 1.0;
                1.0 + step * runs
            });
            assert_eq!(runs, 1.0 + expected as f64, "one more warms up");
        }
    }

    #[test]
    fn a_ratio_is_of_one_turn() {
        // Both become slower and slower, the second always by half.
        let mut turn = 1.0;
        let (value, ratio) = repeat_in_turns(|| {
            turn *= 1.1;
            Ok((turn, 1.5 * turn))
        })
        .unwrap();
        assert!(value.spread > SPREAD);
        assert!((ratio.median - 1.5).abs() < 1e-9 && ratio.spread < 1e-9);
    }

    #[test]
    fn a_failed_measurement_is_an_error() {
        let mut runs = 0;
        assert!(
            try_repeat(|| {
                runs += 1;
                if runs == 5 { bail!("five") } else { Ok(1.0) }
            })
            .is_err()
        );
        assert!(repeat_in_turns(|| bail!("at once")).is_err());
    }
}
