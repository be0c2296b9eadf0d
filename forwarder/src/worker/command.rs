//! Orders to all workers, and what the workers confirm.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// An order to all workers, which share it. They read it in every round, so that nothing else is on its cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Command {
    order: AtomicU8,
    /// Workers that have stopped receiving.
    finishing: AtomicUsize,
}

impl Command {
    pub(super) const FINISH: u8 = 1;
    pub(super) const STOP: u8 = 2;

    /// Orders the workers to receive nothing more, but to finish what they have received.
    pub fn finish(&self) {
        self.order.store(Command::FINISH, Ordering::Relaxed);
    }

    /// Orders the workers to return from [`super::Worker::run`].
    pub fn stop(&self) {
        self.order.store(Command::STOP, Ordering::Relaxed);
    }

    /// The number of workers that have stopped receiving. Their counts of received packets are
    /// final, and visible to the caller.
    pub fn finishing(&self) -> usize {
        self.finishing.load(Ordering::Acquire)
    }

    /// Records that the calling worker has stopped receiving.
    pub(super) fn confirm_finish(&self) {
        self.finishing.fetch_add(1, Ordering::Release);
    }

    pub(super) fn is(&self, command: u8) -> bool {
        self.order.load(Ordering::Relaxed) == command
    }
}
