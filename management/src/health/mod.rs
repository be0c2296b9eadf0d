//! The health of the node, as a thread of its own finds it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the thread found last. Any thread may read it.
#[derive(Debug, Default)]
pub struct Health {
    /// For each worker, milliseconds since its last round.
    heartbeats: Box<[AtomicU64]>,
}

impl Health {
    /// Of so many workers, which have just begun.
    pub fn new(workers: usize) -> Health {
        Health { heartbeats: std::iter::repeat_with(AtomicU64::default).take(workers).collect() }
    }

    /// The time since a worker's last round, to a tenth of a second. 0 without such a worker or a thread.
    pub fn heartbeat_age(&self, worker: usize) -> Duration {
        let age = self.heartbeats.get(worker).map(|age| age.load(Ordering::Relaxed));
        Duration::from_millis(age.unwrap_or(0))
    }
}
