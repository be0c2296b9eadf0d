//! What passed between a port and its interface.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guideway_management::daemon::InterfaceCounters;

/// The counters of one port. Any thread may add and read.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames that the interface took.
    pub(super) to_packets: AtomicU64,
    pub(super) to_bytes: AtomicU64,
    /// Frames that the interface did not take, or that lie in several buffers.
    pub(super) to_refused: AtomicU64,
    /// Frames for which a worker's queue had no room.
    pub(super) to_queue_full: AtomicU64,
    /// Frames that the kernel sent and a worker was given.
    pub(super) from_packets: AtomicU64,
    pub(super) from_bytes: AtomicU64,
    /// Frames that the kernel sent and the port did not: no buffer, no room, longer than a buffer.
    pub(super) from_dropped: AtomicU64,
    /// The interface was removed.
    pub(super) removed: AtomicBool,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counters {
    /// A punted frame did not find room in its queue.
    #[cold]
    pub fn queue_full(&self) {
        add(&self.to_queue_full, 1);
    }

    /// The device did not take frames of the kernel.
    #[cold]
    pub fn not_sent(&self, frames: usize) {
        add(&self.from_dropped, frames as u64);
    }

    /// The counters, read one after the other.
    pub fn read(&self) -> InterfaceCounters {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        InterfaceCounters {
            to_kernel_packets: load(&self.to_packets),
            to_kernel_bytes: load(&self.to_bytes),
            to_kernel_refused: load(&self.to_refused),
            to_kernel_queue_full: load(&self.to_queue_full),
            from_kernel_packets: load(&self.from_packets),
            from_kernel_bytes: load(&self.from_bytes),
            from_kernel_dropped: load(&self.from_dropped),
        }
    }

    /// Whether the interface was removed.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    pub(super) fn set_removed(&self) {
        self.removed.store(true, Ordering::Relaxed);
    }
}
