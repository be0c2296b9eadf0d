//! Flow scans: a worker lists flows of its table in small steps between its bursts.

use super::conntrack::{Entry, State, WAYS};
use super::flow::FlowKey;
use super::id::BackendId;
use super::tables::Tables;
use super::time::Time;
use super::worker_state::Balancer;

/// Buckets that one step reads: few enough that a step costs less than a burst.
const STEP: usize = 16;

/// Which flows to list. Every part that is set must match.
#[derive(Clone, Debug, Default)]
pub struct FlowMatch {
    /// Only this flow.
    pub flow: Option<FlowKey>,
    /// Only flows of these backends, in ascending order.
    pub backends: Option<Vec<BackendId>>,
    /// Only flows in this state.
    pub state: Option<State>,
}

impl FlowMatch {
    fn matches(&self, entry: Entry) -> bool {
        self.state.is_none_or(|state| state == entry.state())
            && self.backends.as_ref().is_none_or(|b| b.binary_search(&entry.backend()).is_ok())
    }
}

/// One flow that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRow {
    /// The flow's hash in this process.
    pub tag: u64,
    /// The backend that has it.
    pub backend: BackendId,
    /// Its state.
    pub state: State,
    /// Milliseconds since its last packet.
    pub idle_ms: u32,
}

/// A scan under way, and its result when it is complete.
#[derive(Debug)]
pub struct FlowScan {
    flow_match: FlowMatch,
    limit: usize,
    next_bucket: usize,
    /// The flows that were found, at most `limit`. Memory for them is reserved at the start.
    pub rows: Vec<FlowRow>,
    /// Whether more flows match than the limit allows.
    pub truncated: bool,
}

impl FlowScan {
    /// A scan that lists at most `limit` flows.
    pub fn new(flow_match: FlowMatch, limit: usize) -> FlowScan {
        FlowScan {
            flow_match,
            limit,
            next_bucket: 0,
            rows: Vec::with_capacity(limit),
            truncated: false,
        }
    }

    /// Reads a few more buckets. Returns whether the scan is complete.
    pub fn step(&mut self, balancer: &Balancer, tables: &Tables, now: Time) -> bool {
        let flows = balancer.flows();
        if let Some(flow) = &self.flow_match.flow {
            let tag = balancer.tag(flow);
            let found = flows.get(tag, now, tables.timeouts()).map(|(_, entry)| (tag, entry));
            self.collect(found.into_iter(), now);
            return true;
        }
        let end = self.next_bucket + STEP;
        let full = self.collect(flows.entries(self.next_bucket..end, now, tables.timeouts()), now);
        self.next_bucket = end;
        full || end >= flows.capacity() / WAYS
    }

    /// Adds the flows that match. Returns whether there were more than the limit allows.
    fn collect(&mut self, found: impl Iterator<Item = (u64, Entry)>, now: Time) -> bool {
        for (tag, entry) in found.filter(|&(_, entry)| self.flow_match.matches(entry)) {
            if self.rows.len() == self.limit {
                self.truncated = true;
                return true;
            }
            self.rows.push(FlowRow {
                tag,
                backend: entry.backend(),
                state: entry.state(),
                idle_ms: entry.idle_ms(now),
            });
        }
        false
    }
}
