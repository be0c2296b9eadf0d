//! How many packets of each class a worker gives to the kernel.

use super::class::Class;
use super::punts::{Limit, Punts};
use crate::balancer::reply::Limiter;
use crate::balancer::time::Time;

/// A limit for each class, so that none uses up what another has.
pub(in crate::balancer) struct PuntLimits {
    /// Each limiter, and what it was made from.
    limiters: [(Limit, Limiter); Class::ALL.len()],
}

impl PuntLimits {
    /// Limits that allow nothing until they meet tables.
    pub(in crate::balancer) fn new() -> PuntLimits {
        PuntLimits { limiters: std::array::from_fn(|_| (Limit::default(), Limiter::new(0, 0))) }
    }

    /// Whether a packet of this class may be given to the kernel now. If so, it counts as given.
    pub(in crate::balancer) fn allow(&mut self, class: Class, punts: &Punts, now: Time) -> bool {
        let limit = punts.limits[class.index()];
        let (of, limiter) = &mut self.limiters[class.index()];
        if *of != limit {
            (*of, *limiter) = (limit, Limiter::new(limit.rate, limit.burst));
        }
        limiter.allow(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn punts(rate: u32) -> Punts {
        let mut punts = Punts::default();
        for (n, limit) in (1..).zip(&mut punts.limits) {
            *limit = Limit { rate: rate * n, burst: n };
        }
        punts
    }

    fn allowed(limits: &mut PuntLimits, class: Class, punts: &Punts, ms: u64) -> usize {
        (0..100).filter(|_| limits.allow(class, punts, Time::from_millis(ms))).count()
    }

    #[test]
    fn each_class_has_an_allowance_of_its_own() {
        let (mut limits, punts) = (PuntLimits::new(), punts(10));
        for (burst, &class) in (1..).zip(Class::ALL) {
            assert_eq!(allowed(&mut limits, class, &punts, 1000), burst, "{class:?}");
            assert_eq!(allowed(&mut limits, class, &punts, 1099), burst - 1, "{class:?}");
        }
    }

    /// A reload under a flood must not give every class a new burst.
    #[test]
    fn a_class_whose_limit_stays_keeps_what_it_used_up() {
        let (mut limits, mut punts) = (PuntLimits::new(), punts(10));
        for &class in Class::ALL {
            allowed(&mut limits, class, &punts, 1000);
        }
        punts.limits[Class::Own.index()] = Limit { rate: 1, burst: 7 };
        for &class in Class::ALL {
            let expected = if class == Class::Own { 7 } else { 0 };
            assert_eq!(allowed(&mut limits, class, &punts, 1000), expected, "{class:?}");
        }
    }
}
