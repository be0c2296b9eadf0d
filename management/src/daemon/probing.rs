//! What becomes of the packets of the node's probes, as metrics show it.

use std::sync::atomic::{AtomicU64, Ordering};

use guideway_core::balancer::pin::Outcome;

/// Counts packets that the node has sent to be encapsulated for a backend, by what became of them. Any thread may count and
/// read.
#[derive(Debug, Default)]
pub struct Probing([AtomicU64; Outcome::ALL.len()]);

impl Probing {
    /// Counts packets.
    pub fn count(&self, outcome: Outcome, packets: u64) {
        self.0[outcome.index()].fetch_add(packets, Ordering::Relaxed);
    }

    /// How many packets had this outcome.
    pub fn packets(&self, outcome: Outcome) -> u64 {
        self.0[outcome.index()].load(Ordering::Relaxed)
    }
}
