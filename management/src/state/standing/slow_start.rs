//! The share of a backend during its slow start.
//!
//! A share holds for a second of the wall clock, the same for all backends, so that a pool needs at most one other
//! Maglev table a second. It is what the curve says for the middle of that second.

use std::time::Duration;

use guideway_config::Curve;

use guideway_chassis::wall::Wall;

/// The whole share of a backend.
pub const WHOLE: u32 = 1000;

const SECOND: u64 = 1000;

/// The share at `now` of a backend whose slow start began at `since`, and when that share ends; `None` if the slow
/// start is over.
pub(super) fn share(length: Duration, curve: Curve, since: Wall, now: Wall) -> Option<(u32, Wall)> {
    let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let second = now.0 - now.0 % SECOND;
    let end = Wall(second.saturating_add(SECOND));
    let begin = second.max(since.0);
    let middle = (begin + (end.0 - begin) / 2).saturating_sub(since.0);
    if middle >= length {
        return None;
    }
    let (middle, length, whole) = (u128::from(middle), u128::from(length), u128::from(WHOLE));
    let share = match curve {
        Curve::Linear => whole * middle / length,
        Curve::Quadratic => whole * middle * middle / (length * length),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the middle is below the length")]
    Some(((share as u32).max(1), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    /// Each share from 100,400 ms on, with the time at which it ends.
    fn shares(curve: Curve) -> Vec<(u32, u64)> {
        let since = Wall(100_400);
        let mut now = since;
        let mut shares = Vec::new();
        while let Some((part, end)) = share(TEN, curve, since, now) {
            assert!(end > now);
            shares.push((part, end.0));
            now = end;
        }
        shares
    }

    #[test]
    fn a_share_is_the_curve_in_the_middle_of_its_second() {
        let ends = (101..=110).map(|second| second * 1000);
        // 0.3 s, 1.1 s, 2.1 s ... of 10 s.
        let linear = [30, 110, 210, 310, 410, 510, 610, 710, 810, 910];
        assert_eq!(shares(Curve::Linear), linear.into_iter().zip(ends.clone()).collect::<Vec<_>>());
        let quadratic = [1, 12, 44, 96, 168, 260, 372, 504, 656, 828];
        assert_eq!(shares(Curve::Quadratic), quadratic.into_iter().zip(ends).collect::<Vec<_>>());
    }

    #[test]
    fn a_share_is_the_same_through_its_second() {
        for now in [103_000, 103_001, 103_999] {
            assert_eq!(
                share(TEN, Curve::Linear, Wall(100_400), Wall(now)),
                Some((310, Wall(104_000)))
            );
        }
        assert_eq!(share(TEN, Curve::Linear, Wall(100_400), Wall(110_000)), None);
        assert_eq!(share(TEN, Curve::Linear, Wall(100_400), Wall(u64::MAX)), None);
        let at_once = share(Duration::ZERO, Curve::Quadratic, Wall(5), Wall(5));
        assert_eq!(at_once, None);
    }

    #[test]
    fn no_share_is_nothing() {
        let hour = Duration::from_secs(3600);
        assert_eq!(share(hour, Curve::Quadratic, Wall(7), Wall(7)), Some((1, Wall(1000))));
    }
}
