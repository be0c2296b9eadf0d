//! Hints to the CPU about memory that is read or written soon.

/// Asks the CPU to load the cache line at `value`, without waiting for it.
#[inline(always)]
pub fn prefetch<T: ?Sized>(value: &T) {
    prefetch_at(std::ptr::from_ref(value).cast());
}

/// Asks the CPU to load the cache line at any address, without waiting for it.
#[inline(always)]
pub(super) fn prefetch_at(address: *const u8) {
    let address = address.cast::<i8>();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and cannot fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch reads nothing and cannot fault, whatever the address. The instruction
    // changes neither memory, stack nor flags, as the options state.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// Asks the CPU to load the cache line at any address and to take it from the other CPUs, without waiting for it: the line
/// is written soon, and another CPU may have written it last.
#[inline(always)]
pub(super) fn prefetch_to_write(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and cannot fault, whatever the address. A CPU without the instruction does
    // nothing. It changes neither memory, stack nor flags, as the options state.
    unsafe {
        std::arch::asm!("prefetchw [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch reads nothing and cannot fault, whatever the address. The instruction
    // changes neither memory, stack nor flags, as the options state.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
