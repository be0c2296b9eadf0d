//! Time as the balancer sees it: an argument, never a call.

/// Milliseconds since some moment that the worker chose; it never runs backwards within a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// The moment `ms` milliseconds after the worker's beginning of time.
    pub const fn from_millis(ms: u64) -> Time {
        Time(ms)
    }

    /// Milliseconds since the worker's beginning of time.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The low 32 bits, which is what a flow table entry has room for: they come round after 49
    /// days, which is longer than any idle timeout and than a sweep of the table takes.
    #[expect(clippy::cast_possible_truncation, reason = "the truncation is the purpose")]
    pub(super) const fn stamp(self) -> u32 {
        self.0 as u32
    }
}
