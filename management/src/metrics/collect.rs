//! Collecting: what was published last, and what workers, ports and the daemon have counted, as a snapshot.
//!
//! Published values are those of one generation. Counters that are read one after another may be a few packets apart
//! while workers run, and agree when they rest. Drops are read before what was received, and so never exceed it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use prometheus::proto;
use rustc_hash::FxHashSet;

use guideway_api::{AnnouncingState, BackendState, Happening, NeighborState, Source};
use guideway_chassis::metrics::{Process, now};
use guideway_core::balancer::pin::Outcome;
use guideway_core::balancer::punt::Class;
use guideway_core::balancer::{Protocol, Verdict};
use guideway_core::stats::{BUCKETS, Counter, DropReason, Event, Gauge, Histogram, Reader};

use super::file::Comparison;
use super::snapshot::{
    Announcing, Backend, Buffers, Config, Count, Kernel, Packets, Pool, Port, Punts, Service,
    Snapshot, TheProcess, Worker,
};
use crate::daemon::{ApplyResult, Daemon, NeighborKey};
use crate::health::Health;
use crate::manager::{Published, Tally};
use crate::routing::{NextHop, Unreachable};
use crate::state::standing::{BackendStanding, PoolServing};
use crate::state::{Layer, Settings};

/// What is kept from one snapshot to the next.
pub(super) struct Collector {
    health: Arc<Health>,
    file: Comparison,
    /// When the daemon started, in seconds since 1970.
    started: f64,
    /// The neighbours that were counted.
    neighbors: FxHashSet<NeighborKey>,
}

impl Collector {
    pub(super) fn new(daemon: &Daemon, health: Arc<Health>) -> Collector {
        let overview = daemon.overview();
        Collector {
            health,
            file: Comparison::new(overview.path.clone()),
            started: now() - overview.started.elapsed().as_secs_f64(),
            neighbors: FxHashSet::default(),
        }
    }

    /// Fills a snapshot. Returns the most series of a page.
    pub(super) fn collect(&mut self, daemon: &Daemon, snapshot: &mut Snapshot) -> usize {
        let tally = daemon.overview().tally();
        let published = tally.published();
        self.node(daemon, published, snapshot);
        self.workers(daemon, snapshot);
        ports(daemon, published, snapshot);
        snapshot.clear();
        pools(&tally, snapshot);
        services(&tally, snapshot);
        published.configuration.metrics.max_series as usize
    }

    fn node(&mut self, daemon: &Daemon, published: &Arc<Published>, snapshot: &mut Snapshot) {
        let overview = daemon.overview();
        let sum = |of: &dyn Fn(&Reader) -> u64| daemon.readers().map(of).sum::<u64>();
        let verdict = |verdict| sum(&|stats| stats.verdict(verdict));
        let count = |count| Count { count };
        snapshot.build.fill([(env!("CARGO_PKG_VERSION").into(), ())]);
        snapshot.process.set(TheProcess { started: self.started, process: Process::read() });
        let verdicts = || Verdict::all().map(|of| (of, of.name().into(), count(verdict(of))));
        snapshot.verdicts.fill(verdicts().map(|(_, name, count)| (name, count)));
        let is_drop = |(of, ..): &(Verdict, _, _)| matches!(of, Verdict::Dropped(_));
        snapshot.drops.fill(verdicts().filter(is_drop).map(|(_, name, count)| (name, count)));
        snapshot.punts.fill(Class::ALL.iter().map(|&class| {
            let punted = sum(&|stats| stats.event(Event::from(class)));
            let limited = verdict(Verdict::Dropped(class.limited()));
            (class.name().into(), Punts { punted, limited })
        }));
        snapshot.packets.set(Packets {
            punt_queue_full: verdict(Verdict::Dropped(DropReason::PuntQueueFull)),
            fragments_waiting: sum(&|stats| stats.gauge(Gauge::FragmentsWaiting)),
            transmitted: sum(&|stats| stats.counter(Counter::Transmitted)),
            received: sum(&|stats| stats.counter(Counter::Received)),
        });
        let counted = |event: Event| sum(&|stats| stats.event(event));
        snapshot.events.fill(events(counted, &daemon.events().ring().counts()));
        let states = overview.neighbor_states(published, &mut self.neighbors);
        let states = NeighborState::ALL.into_iter().zip(states);
        snapshot.neighbors.fill(states.map(|(state, n)| (state.name().into(), count(n))));
        snapshot.routes.fill(routes(published).map(|(state, n)| (state.into(), count(n))));
        let view = daemon.view().load_full();
        snapshot.kernel.set(Kernel {
            is_followed: view.health.is_running,
            overruns: view.health.overruns,
            errors: view.health.errors,
        });
        match daemon.announcing() {
            Some(of) => snapshot.announcing.set(Announcing {
                is_up: of.state() == AnnouncingState::Up,
                dropped: of.dropped(),
            }),
            None => snapshot.announcing.clear(),
        }
        let has_probes = !published.configuration.node.check_sources.is_empty();
        let outcomes = Outcome::ALL.iter().filter(|_| has_probes);
        snapshot.probes.fill(
            outcomes
                .map(|&outcome| (outcome.name().into(), count(daemon.probing().packets(outcome)))),
        );
        snapshot.buffers.fill(daemon.buffers().iter().map(|pool| {
            let buffers = Buffers { total: pool.total, free: (pool.probe)() };
            (pool.name.clone().into(), buffers)
        }));
        let (last_apply_success, last_apply) = daemon.applies().last();
        snapshot.config.set(Config {
            generation: published.generation,
            generation_in_force: overview.progress().generation,
            waiting: self.health.waiting(Instant::now()).map(|age| age.as_secs_f64()),
            last_apply_success,
            last_apply: last_apply.as_secs_f64(),
            differs_from_file: self.file.differs(&published.text),
            is_stored: overview.is_stored.load(Ordering::Relaxed),
            compile: overview.timings.compile(),
            publish: overview.timings.publish(),
            manager_restarts: overview.restarts.load(Ordering::Relaxed),
        });
        let of = |result: ApplyResult| (result.name().into(), count(daemon.applies().of(result)));
        snapshot.applies.fill(ApplyResult::ALL.map(of));
        snapshot
            .settings
            .fill(settings(&published.settings).map(|(name, n)| (name.into(), count(n))));
    }

    fn workers(&self, daemon: &Daemon, snapshot: &mut Snapshot) {
        let (workers, now) = (daemon.overview().workers.iter().enumerate(), Instant::now());
        snapshot.workers.fill(workers.map(|(index, worker)| {
            let stats = &worker.stats;
            let row = Worker {
                dropped: stats.dropped(),
                received: stats.counter(Counter::Received),
                transmitted: stats.counter(Counter::Transmitted),
                polls: stats.counter(Counter::Polls),
                busy_polls: stats.counter(Counter::BusyPolls),
                busy_seconds: stats.seconds(Counter::BusyTicks, worker.tick_hz),
                idle_seconds: stats.seconds(Counter::IdleTicks, worker.tick_hz),
                burst_packets: histogram(stats, Histogram::BurstPackets),
                burst_cycles: histogram(stats, Histogram::BurstCycles),
                generation: stats.gauge(Gauge::Generation),
                heartbeat_age: self.health.heartbeat_age(index, now).map(|age| age.as_secs_f64()),
                flows: stats.gauge(Gauge::Flows),
                flow_capacity: worker.flow_capacity,
                flows_refused: stats.event(Event::FlowTableFull),
                flows_displaced: stats.event(Event::FlowDisplaced),
                flows_expired: stats.event(Event::FlowExpired),
            };
            (index.to_string().into(), row)
        }));
    }
}

/// The events that workers count and those that the daemon records. One that both have is the recorded one.
fn events(
    counted: impl Fn(Event) -> u64,
    recorded: &[u64],
) -> impl Iterator<Item = (Cow<'static, str>, Count)> {
    let is_recorded = |event: &Event| Happening::KINDS.iter().any(|kind| kind.0 == event.name());
    let counted = Event::ALL
        .iter()
        .copied()
        .filter(move |event| !is_recorded(event))
        .map(move |event| (event.name(), counted(event)));
    let recorded = Happening::KINDS.iter().map(|kind| kind.0).zip(recorded.iter().copied());
    counted.chain(recorded).map(|(name, count)| (name.into(), Count { count }))
}

fn histogram(stats: &Reader, of: Histogram) -> proto::Histogram {
    let read = stats.histogram(of);
    let mut below = 0;
    let buckets = (0..BUCKETS).filter_map(|bucket| {
        below += read.buckets[bucket];
        let mut cumulative = proto::Bucket::default();
        cumulative.set_upper_bound(of.bound(bucket)? as f64);
        cumulative.set_cumulative_count(below);
        Some(cumulative)
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_sum(read.sum as f64);
    histogram.set_sample_count(read.count());
    histogram
}

fn ports(daemon: &Daemon, published: &Published, snapshot: &mut Snapshot) {
    let ports = || published.configuration.ports.iter().zip(&daemon.overview().ports);
    snapshot.ports.fill(ports().map(|(configured, port)| {
        let state = (port.probe)();
        let speed = state.link.speed_mbps.map(|megabits| u64::from(megabits) * 125_000);
        let row = Port { counters: state.counters, is_up: state.link.up, speed };
        (configured.name.clone().into(), row)
    }));
    snapshot.interfaces.fill(ports().filter_map(|(configured, port)| {
        let interface = port.interface.as_ref()?;
        Some((configured.name.clone().into(), (interface.probe)().counters))
    }));
}

fn pools(tally: &Tally, snapshot: &mut Snapshot) {
    let published = tally.published();
    let pools = published.configuration.pools.iter().zip(&published.pools).enumerate();
    for (index, (pool, compiled)) in pools {
        let mut states = [0u32; STATES.len()];
        for (n, (backend, compiled)) in pool.backends.iter().zip(&compiled.backends).enumerate() {
            let state = compiled.state();
            let traffic = tally.backend(index, n);
            states[state as usize] += 1;
            let labels = snapshot.labels(&[
                ("pool", &pool.name),
                ("backend", &backend.name),
                ("address", &backend.address),
            ]);
            let with_state = snapshot.labels_and(labels.clone(), ("state", state.name()));
            let BackendStanding { weight, share, .. } = compiled.standing;
            snapshot.backends.push(labels, Backend { traffic, weight, share });
            snapshot.backend_states.push(with_state, ());
        }
        let labels = snapshot.labels(&[("pool", &pool.name)]);
        let mut rows = 0;
        for (state, &count) in STATES.iter().zip(&states) {
            if count > 0 && *state != BackendState::Active {
                let labels = snapshot.labels_and(labels.clone(), ("state", state.name()));
                snapshot.pool_states.push(labels, Count { count: count.into() });
                rows += 1;
            }
        }
        let (level, serves_down) = match compiled.serving {
            PoolServing::Level(level) => (level as f64, false),
            PoolServing::Down => (0.0, true),
            PoolServing::Nobody => (-1.0, false),
        };
        let row = Pool {
            traffic: tally.pool(index),
            backends: pool.included.iter().filter(|included| included.level == 0).count(),
            active: compiled.active,
            needed: pool.min_active,
            level,
            serves_down,
            states: rows,
        };
        snapshot.pools.push(labels, row);
    }
}

fn services(tally: &Tally, snapshot: &mut Snapshot) {
    for (index, service) in tally.published().configuration.services.iter().enumerate() {
        let labels = snapshot.labels(&[
            ("service", &service.name),
            ("address", &service.address),
            ("protocol", &protocol(service.protocol)),
            ("port", &service.port),
        ]);
        snapshot.services.push(labels, Service { traffic: tally.service(index) });
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// Every state of a backend, by its index.
const STATES: [BackendState; 6] = [
    BackendState::Active,
    BackendState::Draining,
    BackendState::Disabled,
    BackendState::Down,
    BackendState::Unresolved,
    BackendState::Unreachable,
];

/// How many backends have a state or a weight set, by who set it.
fn settings(of: &Settings) -> [(&'static str, u64); 2] {
    let is_set = |layer: &Layer| layer.state.is_some() || layer.weight.is_some();
    let (mut controller, mut operator) = (0, 0);
    for (.., setting) in of.iter() {
        controller += u64::from(is_set(&setting.controller));
        operator += u64::from(is_set(&setting.operator));
    }
    [(Source::Controller.name(), controller), (Source::Operator.name(), operator)]
}

/// How many backends have a resolved next hop, one without MAC address, or none for each reason.
fn routes(published: &Published) -> impl Iterator<Item = (&'static str, u64)> {
    const NAMES: [&str; 7] =
        ["resolved", "no_mac", "no_route", "not_a_port", "link_down", "refused", "own"];
    let mut counts = [0; NAMES.len()];
    for backend in published.pools.iter().flat_map(|pool| &pool.backends) {
        counts[match &backend.next_hop {
            Ok(NextHop { mac: Some(_), .. }) => 0,
            Ok(NextHop { mac: None, .. }) => 1,
            Err(Unreachable::NoRoute) => 2,
            Err(Unreachable::NotAPort { .. }) => 3,
            Err(Unreachable::LinkDown { .. }) => 4,
            Err(Unreachable::Refused(_)) => 5,
            Err(Unreachable::Own) => 6,
        }] += 1;
    }
    NAMES.into_iter().zip(counts)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The family of events has each name once, and only a link that went down is both counted and recorded.
    #[test]
    fn counted_and_recorded_events_have_names_of_their_own() {
        let counted: BTreeSet<_> = Event::ALL.iter().map(|event| event.name()).collect();
        let recorded: BTreeSet<_> = Happening::KINDS.iter().map(|kind| kind.0).collect();
        assert_eq!(counted.intersection(&recorded).collect::<Vec<_>>(), [&"link_down"]);
        let recorded_counts = vec![7; recorded.len()];
        let shown: Vec<_> = events(|_| 3, &recorded_counts).collect();
        assert_eq!(shown.len(), counted.union(&recorded).count());
        let link_down = shown.iter().find(|(name, _)| name == "link_down").unwrap();
        assert_eq!(link_down.1.count, 7);
    }

    #[test]
    fn a_state_is_found_by_its_index() {
        assert!((0..).zip(STATES).all(|(index, state)| state as usize == index));
    }
}
