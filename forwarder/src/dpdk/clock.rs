//! Time for the packet path: the CPU's counter.

use dpdk_sys as sys;

use super::eal::Eal;

/// The CPU's time-stamp counter. It rises at the rate [`tsc_hz`] on every CPU alike.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: reads a register.
    unsafe { sys::guideway_tsc() }
}

/// Ticks of [`tsc`] in a second, as the EAL measured them when it started.
pub fn tsc_hz(_eal: &Eal) -> u64 {
    // SAFETY: returns a number that the EAL has set when it started.
    unsafe { sys::rte_get_tsc_hz() }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::dpdk::testing::eal;

    #[test]
    fn the_counter_rises_at_its_stated_rate() {
        let hz = tsc_hz(eal()) as f64;
        let (ticks, clock) = (tsc(), Instant::now());
        thread::sleep(Duration::from_millis(20));
        let elapsed = clock.elapsed().as_secs_f64();
        let counted = (tsc() - ticks) as f64 / hz;
        // The counter was read outside the clock, so it can only have counted more.
        assert!(counted > elapsed * 0.99, "{counted} s by the counter, {elapsed} s by the clock");
    }
}
