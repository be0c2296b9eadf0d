//! The clock of the CPU, which in a virtual machine may have half of its speed for minutes.

use std::hint::black_box;
use std::time::Instant;

use crate::sample::ns_of_each;

/// Steps of a chain: some ten microseconds.
const STEPS: usize = 10_000;
/// Cycles of a step, a multiplication and an exclusive or that wait for the step before: three and one on every x86-64
/// CPU of the last ten years.
const CYCLES: usize = 4;

/// Nanoseconds of a cycle of this CPU's clock, as it is now.
pub fn cycle() -> f64 {
    // The shortest of some, since the CPU may be taken away meanwhile.
    let chain = || {
        let start = Instant::now();
        let mut value = black_box(1_u64);
        for _ in 0..STEPS {
            // The compiler cannot make one step of several.
            value = value.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ value >> 32;
        }
        black_box(value);
        ns_of_each(start.elapsed(), STEPS * CYCLES)
    };
    (0..3).map(|_| chain()).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between 100 MHz, in case of a build without optimisation, and 10 GHz.
    #[test]
    fn a_cycle_has_a_likely_length() {
        let cycle = cycle();
        assert!((0.1..10.0).contains(&cycle), "{cycle} ns");
    }
}
