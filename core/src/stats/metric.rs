//! The one list of what is counted: every counter, gauge, event and histogram with its name and help text.
//!
//! `guidewayctl` and the documentation take their names from here. A new metric is one line in one of the four
//! enums below. Verdicts have their list in [`super::verdict`]; [`metrics`] has all five lists.

use super::verdict::Verdict;
use crate::named::named;

named! {
    /// A number of a worker that only grows.
    pub enum Counter {
        /// Packets received from the worker's device queues.
        Received = "received",
        /// Packets that devices took for transmission.
        Transmitted = "transmitted",
        /// Rounds over the worker's inputs.
        Polls = "polls",
        /// Rounds that found a packet.
        BusyPolls = "busy_polls",
        /// Ticks of the CPU's counter that were spent in rounds that found a packet.
        BusyTicks = "busy_ticks",
        /// Ticks of the CPU's counter that were spent in rounds that found no packet, or asleep.
        IdleTicks = "idle_ticks",
    }
}

named! {
    /// A number of a worker that rises and falls.
    pub enum Gauge {
        /// Rounds in a row, up to the latest, that found no packet.
        IdlePolls = "idle_polls",
        /// Fragments that wait for the first fragment of their datagram.
        FragmentsWaiting = "fragments_waiting",
        /// Flow table entries in use.
        Flows = "flows",
        /// The generation of the tables that the worker forwards by.
        Generation = "generation",
        /// The generation of the tables when the last whole sweep began: no flow table entry refers to a service
        /// or a backend that was removed before.
        SweptGeneration = "swept_generation",
    }
}

named! {
    /// What may happen to a packet besides its verdict, or to a port.
    pub enum Event {
        /// The packet's flow was in the flow table and keeps its backend.
        FlowHit = "flow_hit",
        /// The packet's flow was recorded in a free slot.
        FlowNew = "flow_new",
        /// The packet's flow was recorded in the slot of another flow: one with only a SYN, unconfirmed, or ended.
        FlowDisplaced = "flow_displaced",
        /// The packet's flow was not recorded: both of its buckets are full of live flows, and none can move.
        FlowTableFull = "flow_table_full",
        /// The packet's flow was in the flow table and got another backend.
        FlowMoved = "flow_moved",
        /// A flow table entry was emptied or replaced because its idle timeout had passed.
        FlowExpired = "flow_expired",
        /// The packet did not fit the MTU and was sent in fragments.
        Fragmented = "fragmented",
        /// A fragment had to wait for the first fragment of its datagram.
        FragmentWaited = "fragment_waited",
        /// A device did not take a packet whose verdict another worker had counted.
        TxFullLate = "tx_full_late",
        /// The packet was given to the kernel, as one of a routing protocol.
        PuntedRouting = "punted_routing",
        /// The packet was given to the kernel, as ARP or neighbour discovery.
        PuntedNeighbor = "punted_neighbor",
        /// The packet was given to the kernel, as an answer to one of the node's probes.
        PuntedProbe = "punted_probe",
        /// The packet was given to the kernel, as one to an address of the node.
        PuntedOwn = "punted_own",
        /// The packet was given to the kernel, as one of a protocol of the link.
        PuntedLinkLocal = "punted_link_local",
        /// The packet was given to the kernel, as one to a group.
        PuntedMulticast = "punted_multicast",
        /// The link of a port went down; counted once each time.
        LinkDown = "link_down",
    }
}

named! {
    /// A distribution of a worker's values.
    pub enum Histogram {
        /// Packets of a burst that a device queue gave the worker.
        BurstPackets = "burst_packets",
        /// Ticks of the CPU's counter that it took to process a burst; one burst in 64 rounds is measured.
        BurstCycles = "burst_cycles",
    }
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The metric only grows.
    Counter,
    /// The metric rises and falls.
    Gauge,
    /// The metric counts values by their size.
    Histogram,
}

/// The description of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// How the metric moves.
    pub kind: Kind,
    /// The metric's name.
    pub name: &'static str,
    /// What the metric means, in one line.
    pub help: &'static str,
}

/// Every metric of a worker: counters, gauges, events, verdicts, histograms.
pub fn metrics() -> impl Iterator<Item = Metric> {
    let metric = |kind| move |(name, help)| Metric { kind, name, help };
    let counters = Counter::ALL.iter().map(|counter| (counter.name(), counter.help()));
    let gauges = Gauge::ALL.iter().map(|gauge| (gauge.name(), gauge.help()));
    let events = Event::ALL.iter().map(|event| (event.name(), event.help()));
    let verdicts = Verdict::all().map(|verdict| (verdict.name(), verdict.help()));
    let counters = counters.chain(events).chain(verdicts).map(metric(Kind::Counter));
    let histograms = Histogram::ALL.iter().map(|histogram| (histogram.name(), histogram.help()));
    counters.chain(gauges.map(metric(Kind::Gauge))).chain(histograms.map(metric(Kind::Histogram)))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::balancer::FlowEvent;

    #[test]
    fn every_metric_has_a_name_of_its_own_and_a_help_text() {
        let metrics: Vec<Metric> = metrics().collect();
        let names: BTreeSet<&str> = metrics.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), metrics.len());
        for Metric { name, help, .. } in metrics {
            let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
            assert!(name.bytes().all(is_plain), "{name}");
            assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
            assert!(help.starts_with(|first: char| first.is_uppercase()), "{name}: {help}");
        }
    }

    /// An operator who meets a name must find what it means, and no name that does not exist.
    #[test]
    #[cfg_attr(miri, ignore = "reads a whole page: slow under Miri")]
    fn the_documentation_has_every_name_and_no_other() {
        let page = include_str!("../../../docs/operations.md");
        let rows = |heading: &str| -> BTreeSet<&str> {
            let (_, section) = page.split_once(heading).expect("the heading");
            let section = section.split("\n### ").next().unwrap_or_default();
            section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
        };
        let verdicts: BTreeSet<_> = Verdict::all().map(Verdict::name).collect();
        assert_eq!(rows("\n### Verdicts\n"), verdicts);
        let events: BTreeSet<_> = Event::ALL.iter().map(|event| event.name()).collect();
        assert_eq!(rows("\n### Events\n"), events);
    }

    #[test]
    fn what_a_flow_met_is_an_event_of_the_same_name() {
        let named = [
            (FlowEvent::Hit, "flow_hit"),
            (FlowEvent::New, "flow_new"),
            (FlowEvent::NewDisplacing, "flow_displaced"),
            (FlowEvent::Unrecorded, "flow_table_full"),
            (FlowEvent::Moved, "flow_moved"),
        ];
        let names: BTreeMap<usize, &str> =
            named.map(|(event, name)| (Event::from(event).index(), name)).into();
        // This one befalls an entry and no packet.
        let met = |event: &&Event| **event != Event::FlowExpired;
        let flows = Event::ALL.iter().filter(met).filter(|event| event.name().starts_with("flow_"));
        assert_eq!(
            flows.map(|event| event.name()).collect::<Vec<_>>(),
            Vec::from_iter(names.into_values())
        );
    }
}
