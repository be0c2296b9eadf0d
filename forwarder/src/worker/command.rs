//! What the workers are told, and what they confirm.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// What the workers are to do; shared by all of them.
#[derive(Debug, Default)]
pub struct Command {
    order: AtomicU8,
    /// Workers that receive nothing more.
    draining: AtomicUsize,
}

impl Command {
    pub(super) const DRAIN: u8 = 1;
    pub(super) const STOP: u8 = 2;

    /// Receive nothing more, but finish what was received.
    pub fn drain(&self) {
        self.order.store(Command::DRAIN, Ordering::Relaxed);
    }

    /// Return from [`super::Worker::run`].
    pub fn stop(&self) {
        self.order.store(Command::STOP, Ordering::Relaxed);
    }

    /// How many workers have heard that they are to drain: their count of packets received is final,
    /// and seen by whoever asks here first.
    pub fn draining(&self) -> usize {
        self.draining.load(Ordering::Acquire)
    }

    /// Says that this worker receives nothing more.
    pub(super) fn confirm_drain(&self) {
        self.draining.fetch_add(1, Ordering::Release);
    }

    pub(super) fn is(&self, command: u8) -> bool {
        self.order.load(Ordering::Relaxed) == command
    }
}
