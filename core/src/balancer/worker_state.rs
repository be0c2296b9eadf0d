//! What one worker keeps from packet to packet: its flow table, the seed of its hashes, and its turns.
//!
//! The steps of [`Balancer`] are in `classify.rs`, `full_path.rs` and `fast_path.rs`.

use super::chooser::Chooser;
use super::conntrack;
use super::flow::FlowKey;
use super::hash::LocalSeed;
use crate::stats::FlowWriter;

/// A worker's balancer. Each worker has its own and shares it with nobody.
pub struct Balancer {
    flows: conntrack::Table,
    seed: LocalSeed,
    chooser: Chooser,
}

impl Balancer {
    /// A balancer with room for `flow_entries` flows. Workers that hand packets to one another must have the
    /// same seed.
    pub fn new(flow_entries: usize, seed: LocalSeed) -> Balancer {
        Balancer { flows: conntrack::Table::new(flow_entries), seed, chooser: Chooser::new(seed) }
    }

    /// The flow table.
    pub fn flows(&self) -> &conntrack::Table {
        &self.flows
    }

    /// The flow table, for changes.
    #[inline(always)]
    pub(super) fn flows_mut(&mut self) -> &mut conntrack::Table {
        &mut self.flows
    }

    /// The flow table, to look up the flows of a burst.
    #[inline(always)]
    pub fn homes(&mut self) -> conntrack::Homes<'_> {
        self.flows.homes()
    }

    /// The state of choices at random and in turn.
    pub(super) fn chooser(&mut self) -> &mut Chooser {
        &mut self.chooser
    }

    /// Has the flow table count its entries where the worker counts.
    pub(super) fn count_by(&mut self, counts: FlowWriter) {
        self.flows.count_by(counts);
    }

    /// The seed of this worker's hashes.
    #[inline(always)]
    pub fn seed(&self) -> LocalSeed {
        self.seed
    }

    /// The hash of a flow under this worker's seed.
    pub fn tag(&self, flow: &FlowKey) -> u64 {
        self.seed.hash(flow)
    }
}
