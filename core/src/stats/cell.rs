//! A number with one writer.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number with one writer.
#[derive(Debug, Default)]
pub(super) struct Cell(AtomicU64);

impl Cell {
    #[inline]
    pub(super) fn add(&self, n: u64) {
        // One writer: a load and a store are an addition, and need no locked instruction.
        self.0.store(self.read().wrapping_add(n), Ordering::Relaxed);
    }

    /// Sets the number. Whoever reads it by [`Cell::read_published`] also reads what was counted before.
    #[inline]
    pub(super) fn publish(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    #[inline]
    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn read_published(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
