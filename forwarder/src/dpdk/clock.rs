//! Time for the packet path: the CPU's counter, and the timestamps of received packets.

use dpdk_sys as sys;

use super::eal::Eal;

/// The CPU's time-stamp counter. Rises at [`tsc_hz`] on every CPU alike.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: reads a register.
    unsafe { sys::guideway_tsc() }
}

/// Ticks of [`tsc`] in a second, as the EAL found it when it started.
pub fn tsc_hz(_eal: &Eal) -> u64 {
    // SAFETY: returns a number that the EAL has set when it started.
    unsafe { sys::rte_get_tsc_hz() }
}

/// Where mbufs keep the time of their receipt: a field that a device adds when it is configured.
#[derive(Clone, Copy, Debug)]
pub struct TimestampField {
    offset: u32,
    flag: u64,
}

impl TimestampField {
    /// The field, if a device of this process has added it. The pcap device does.
    pub fn lookup(_eal: &Eal) -> Option<TimestampField> {
        let mut field = sys::rte_mbuf_dynfield::default();
        // SAFETY: a C string, and a place for the result.
        let offset = unsafe {
            sys::rte_mbuf_dynfield_lookup(c"rte_dynfield_timestamp".as_ptr(), &raw mut field)
        };
        // SAFETY: a C string; null is allowed for the details.
        let bit = unsafe {
            sys::rte_mbuf_dynflag_lookup(c"rte_dynflag_rx_timestamp".as_ptr(), std::ptr::null_mut())
        };
        let bit = u32::try_from(bit).ok()?;
        let offset = u32::try_from(offset).ok()?;
        let flag = 1_u64.checked_shl(bit)?;
        let whole =
            field.size == size_of::<u64>() && (offset as usize).is_multiple_of(align_of::<u64>());
        whole.then_some(TimestampField { offset, flag })
    }

    pub(super) fn offset(&self) -> u32 {
        self.offset
    }

    pub(super) fn flag(&self) -> u64 {
        self.flag
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::dpdk::testing::eal;

    #[test]
    fn the_counter_rises_at_the_rate_it_says() {
        let hz = tsc_hz(eal()) as f64;
        let (ticks, clock) = (tsc(), Instant::now());
        thread::sleep(Duration::from_millis(20));
        let elapsed = clock.elapsed().as_secs_f64();
        let counted = (tsc() - ticks) as f64 / hz;
        // The counter was read outside the clock, so it can only have counted more.
        assert!(counted > elapsed * 0.99, "{counted} s by the counter, {elapsed} s by the clock");
    }
}
