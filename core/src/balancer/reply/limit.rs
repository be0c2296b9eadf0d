//! The limit on replies: a token bucket in whole numbers, filled by the time that passes.

use crate::balancer::Time;

/// Parts of a token: at a rate of r tokens a second, r parts come each millisecond.
const PARTS: u64 = 1000;

/// Allows `rate` replies a second, and up to `burst` at once after a rest.
#[derive(Clone, Debug)]
pub struct Limiter {
    /// Tokens a second, or parts a millisecond.
    rate: u64,
    /// Parts that the bucket holds at most.
    capacity: u64,
    /// Parts that the bucket holds.
    parts: u64,
    /// When the bucket was last filled.
    filled: Time,
}

impl Limiter {
    /// A limiter with a full bucket. A rate or a burst of 0 allows no reply.
    pub fn new(rate: u32, burst: u32) -> Limiter {
        let capacity = if rate == 0 { 0 } else { u64::from(burst) * PARTS };
        Limiter { rate: rate.into(), capacity, parts: capacity, filled: Time::default() }
    }

    /// Whether a reply may be sent now. If so, it counts as sent.
    pub fn allow(&mut self, now: Time) -> bool {
        let elapsed = now.as_millis().saturating_sub(self.filled.as_millis());
        let gained = elapsed.saturating_mul(self.rate);
        self.parts = self.parts.saturating_add(gained).min(self.capacity);
        self.filled = self.filled.max(now);
        match self.parts.checked_sub(PARTS) {
            Some(left) => {
                self.parts = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allowed(limiter: &mut Limiter, ms: u64, attempts: u32) -> usize {
        (0..attempts).filter(|_| limiter.allow(Time::from_millis(ms))).count()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut limiter = Limiter::new(10, 3);
        assert_eq!(allowed(&mut limiter, 5, 9), 3);
        assert_eq!(allowed(&mut limiter, 104, 9), 0, "99 ms are not yet a token");
        assert_eq!(allowed(&mut limiter, 105, 9), 1);
        assert_eq!(allowed(&mut limiter, 355, 9), 2);
        assert_eq!(allowed(&mut limiter, 404, 9), 0);
        assert_eq!(allowed(&mut limiter, 405, 9), 1, "the half token was kept");
        assert_eq!(allowed(&mut limiter, 1_000_000, 9), 3);
    }

    #[test]
    fn nothing_is_allowed_at_a_rate_or_burst_of_0() {
        assert_eq!(allowed(&mut Limiter::new(0, 5), u64::MAX, 9), 0);
        assert_eq!(allowed(&mut Limiter::new(5, 0), u64::MAX, 9), 0);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut limiter = Limiter::new(u32::MAX, u32::MAX);
        assert!(limiter.allow(Time::from_millis(u64::MAX)));
        assert!(limiter.allow(Time::from_millis(u64::MAX)));
    }

    #[test]
    fn time_that_runs_backwards_gives_nothing() {
        let mut limiter = Limiter::new(1000, 1);
        assert_eq!(allowed(&mut limiter, 100, 2), 1);
        assert_eq!(allowed(&mut limiter, 0, 2), 0);
        assert_eq!(allowed(&mut limiter, 100, 2), 0, "these 100 ms were counted before");
        assert_eq!(allowed(&mut limiter, 101, 2), 1);
    }

    proptest! {
        /// Never allows more than the burst and the tokens that came since, nor less if there are enough attempts.
        #[test]
        fn all_that_comes_in_and_no_more(
            rate in 0u32..5000,
            burst in 1u32..100,
            steps in proptest::collection::vec((0u64..50, 0u32..200), 0..60),
        ) {
            let mut limiter = Limiter::new(rate, burst);
            let (mut now, mut passed) = (0, 0);
            for (wait, attempts) in steps {
                now += wait;
                let got = allowed(&mut limiter, now, attempts) as u64;
                passed += got;
                prop_assert!(got <= u64::from(burst));
                prop_assert!(passed <= u64::from(burst) + now * u64::from(rate) / 1000);
            }
            let greedy: usize = (0..100).map(|i| allowed(&mut limiter, now + 1000 + i, 200)).sum();
            let least = if rate == 0 { 0 } else { u64::from(burst.min(rate)) };
            prop_assert!(greedy as u64 >= least);
        }
    }
}
