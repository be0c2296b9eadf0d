//! What one worker balances with: its flow table, and the seed of its hashes.

use super::conntrack;
use super::flow::FlowKey;
use super::hash::LocalSeed;

/// What a worker balances with: its flow table.
pub struct Balancer {
    flows: conntrack::Table,
    seed: LocalSeed,
}

impl Balancer {
    /// A balancer with room for so many flows. Workers that hand packets to one another must have
    /// the same seed.
    pub fn new(flow_entries: usize, seed: LocalSeed) -> Balancer {
        Balancer { flows: conntrack::Table::new(flow_entries), seed }
    }

    /// The flow table.
    pub fn flows(&self) -> &conntrack::Table {
        &self.flows
    }

    /// The flow table, to be changed.
    #[inline(always)]
    pub(super) fn flows_mut(&mut self) -> &mut conntrack::Table {
        &mut self.flows
    }

    /// The seed of the hashes here.
    #[inline(always)]
    pub fn seed(&self) -> LocalSeed {
        self.seed
    }

    /// The hash that a flow has here.
    pub fn tag(&self, flow: &FlowKey) -> u64 {
        self.seed.hash(flow)
    }
}
