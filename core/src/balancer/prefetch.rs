//! Asks the CPU to load a cache line without waiting for it.

/// Loads the cache line at `value`, where the CPU can be asked to.
#[inline(always)]
pub(super) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    safe_arch::prefetch_t0(value);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
