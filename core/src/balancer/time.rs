//! Time as the balancer sees it: an argument, never a system call.

/// Milliseconds since a moment that the worker chose. It never runs backwards within a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// The moment `ms` milliseconds after the worker's zero.
    pub const fn from_millis(ms: u64) -> Time {
        Time(ms)
    }

    /// Milliseconds since the worker's zero.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The low 32 bits, which is the room that a flow table entry has. They wrap after 49 days: longer than any
    /// idle timeout and longer than a sweep of the table.
    #[expect(clippy::cast_possible_truncation, reason = "the truncation is the purpose")]
    pub(super) const fn stamp(self) -> u32 {
        self.0 as u32
    }
}
