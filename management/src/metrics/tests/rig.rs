//! A daemon with two workers that count what a test tells them to.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use guideway_api::{self as api, AnnouncingState, Request, Response};
use guideway_core::stats::{self, Counter, Event, Gauge, Verdict, Writer};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::super::encode;
use super::super::request::Wanted;
use super::{Exporter, Page};
use crate::daemon::{
    Announcing, Buffers, Daemon, Interface, InterfaceState, Port, PortState, Worker,
};
use crate::health::{Findings, Health};
use crate::manager::{Manager, Published};
use crate::state::PortFacts;
use guideway_chassis::http::Query;

/// Two pools, of which backends have all states but one.
pub(super) const SAMPLE: &str = r#"
[node]
name = "lb1"
tunnel_source = ["192.0.2.1"]
check_source = ["198.18.0.1"]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
table_size = 1021
[dpdk]
workers = [0, 1]
[[port]]
name = "edge0"
device = "net_null0"
addresses = ["192.0.2.1/24"]
[[neighbor]]
address = "192.0.2.10"
mac = "02:00:00:00:00:10"
[[neighbor]]
address = "192.0.2.12"
mac = "02:00:00:00:00:12"
[[pool]]
name = "web"
backends = [
    { name = "a", address = "192.0.2.10", weight = 2 },
    { name = "b", address = "192.0.2.11" },
    { name = "c", address = "192.0.2.12", weight = 0 },
]
[[pool]]
name = "dns"
backends = [
    { name = "a", address = "192.0.2.10" },
    { name = "b", address = "198.51.100.1" },
]
[[service]]
name = "web"
address = "203.0.113.10"
protocol = "tcp"
port = 80
pool = "web"
[[service]]
name = "dns"
address = "2001:db8::10"
protocol = "udp"
port = 53
pool = "dns"
[announce]
"#;

/// A configuration of so many services, each with a pool of two backends.
pub(super) fn large(services: usize) -> String {
    let (head, _) = SAMPLE.split_once("[[pool]]").unwrap();
    let mut text = head.replace("table_size = 1021", "table_size = 211");
    for n in 0..services {
        let (high, low) = (n / 250, n % 250 + 1);
        let _ = write!(
            text,
            r#"
[[pool]]
name = "pool{n}"
backends = [
    {{ name = "a", address = "10.1.{high}.{low}" }}, {{ name = "b", address = "10.2.{high}.{low}" }},
]
[[service]]
name = "service{n}"
address = "203.0.{high}.{low}"
protocol = "tcp"
port = 80
pool = "pool{n}"
"#
        );
    }
    text
}

pub(super) fn query(scopes: &[&str], names: &[&str]) -> Query {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Query { scope: owned(scopes), name: owned(names) }
}

pub(super) struct Rig {
    pub(super) daemon: Arc<Daemon>,
    pub(super) exporter: Exporter,
    writers: Arc<[Mutex<Writer>; 2]>,
    /// The time of the next page, in seconds.
    clock: Mutex<Instant>,
    directory: TempDir,
    is_over: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Rig {
    pub(super) fn new(text: &str) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guideway.toml");
        std::fs::write(&path, text).unwrap();
        let configuration = guideway_config::parse(text).unwrap().configuration;
        let facts = vec![PortFacts { device_mac: [2, 0, 0, 0, 0, 1], filter: true }];
        let manager = Manager::new(configuration, text.to_owned(), facts).unwrap();
        let tables = Arc::clone(manager.tables());
        let (writers, readers): (Vec<_>, Vec<_>) =
            (0..2).map(|_| stats::channel(1 << 16, 1 << 16)).unzip();
        let writers: Vec<_> = writers.into_iter().map(Mutex::new).collect();
        let writers: Arc<[Mutex<Writer>; 2]> = Arc::new(writers.try_into().unwrap());
        let worker = |stats| Worker {
            stats,
            cpu: None,
            queues: Vec::new(),
            flow_capacity: 1 << 20,
            tick_hz: 1_000_000_000,
            scan: Box::new(|_| None),
        };
        let port = Port {
            driver: "net_null".to_owned(),
            device_mac: [2, 0, 0, 0, 0, 1],
            rx_queues: 1,
            tx_queues: 1,
            steering: Box::new(api::Steering::default),
            probe: Box::new(|| PortState {
                link: api::Link { up: true, speed_mbps: Some(10_000), ..Default::default() },
                ..PortState::default()
            }),
            is_up: Box::new(|| true),
            extended: Box::new(Default::default),
            functions: [None, None],
            interface: Some(Interface {
                name: "edge0".to_owned(),
                index: 7,
                probe: Box::new(InterfaceState::default),
            }),
        };
        let workers = readers.into_iter().map(worker).collect();
        let buffers = Buffers { name: "packets".to_owned(), total: 9, probe: Box::new(|| 7) };
        let announces = manager.published().load().configuration.announce.is_some();
        let mut daemon = Daemon::new(path, manager, workers, vec![port], Default::default())
            .with_buffers(vec![buffers]);
        if announces {
            let announcing = Announcing::new("gwvip".to_owned());
            announcing.set_state(AnnouncingState::Up);
            daemon = daemon.with_announcing(Arc::new(announcing));
        }
        let daemon = Arc::new(daemon);
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, counting) = (Arc::clone(&is_over), Arc::clone(&writers));
        let worker = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                for writer in &*counting {
                    let generation = tables.load().generation();
                    let mut writer = writer.lock();
                    writer.set(Gauge::SweptGeneration, generation);
                    writer.set(Gauge::Generation, generation);
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        while daemon.overview().progress().generation == 0 {
            std::thread::yield_now();
        }
        let health = Health::default();
        health.found(Findings {
            at: Instant::now(),
            heartbeats: vec![Duration::ZERO; 2],
            ports: Vec::new(),
            low: Vec::new(),
            waiting: None,
        });
        let exporter = Exporter::new(Arc::clone(&daemon), Arc::new(health));
        let clock = Mutex::new(Instant::now());
        let worker = Some(worker);
        Rig { daemon, exporter, writers, clock, directory, is_over, worker }
    }

    pub(super) fn published(&self) -> Arc<Published> {
        self.daemon.published().load_full()
    }

    /// Has a worker count packets of a service for each backend of its pool, more for later ones.
    pub(super) fn traffic(&self, worker: usize, service: &str, packets: u64) {
        let published = self.published();
        let configuration = &published.configuration;
        let index = configuration.services.iter().position(|of| of.name == service).unwrap();
        let backends = published.ids.backends[configuration.services[index].pool].iter();
        for (more, backend) in (0..).zip(backends) {
            self.count(
                worker,
                published.ids.services[index].0 as usize,
                backend.index(),
                packets + more,
            );
        }
    }

    /// Has a worker count packets of 100 bytes by ids, the first of a new flow.
    pub(super) fn count(&self, worker: usize, service: usize, backend: usize, packets: u64) {
        let mut writer = self.writers[worker].lock();
        writer.begins(service, backend);
        (0..packets).for_each(|_| writer.traffic().count(service, backend, 100));
        writer.add(Counter::Received, packets);
        writer.add(Counter::Transmitted, packets);
        writer.verdict(Verdict::Forwarded, packets);
        writer.event(Event::FlowNew, 1);
        writer.observe(stats::Histogram::BurstPackets, packets.min(32));
        writer.observe(stats::Histogram::BurstCycles, packets * 1000);
    }

    /// The whole page, each time of values of its own.
    pub(super) fn page(&self) -> String {
        self.narrowed(&query(&[], &[]))
    }

    pub(super) fn parsed(&self) -> Page {
        Page::parse(&self.page())
    }

    pub(super) fn narrowed(&self, query: &Query) -> String {
        let mut clock = self.clock.lock();
        *clock += Duration::from_secs(1);
        let page = self.exporter.page_at(query, *clock).unwrap();
        String::from_utf8(page.to_vec()).unwrap()
    }

    /// A page of the current values within a bound.
    pub(super) fn bounded(&self, query: &Query, max_series: usize) -> String {
        let mut page = BytesMut::new();
        let mut state = self.exporter.state.lock();
        let (_, snapshot) = state.current.as_mut().unwrap();
        encode::page(snapshot, &Wanted::of(query).unwrap(), max_series, &mut page);
        String::from_utf8(page.to_vec()).unwrap()
    }

    #[track_caller]
    pub(super) fn apply(&self, text: &str) {
        let response =
            self.daemon.handle(Request::ConfigApply { text: text.to_owned(), reason: None });
        assert!(matches!(response, Response::Applied { .. }), "{response:?}");
    }

    #[track_caller]
    pub(super) fn refused(&self, text: &str) {
        let response =
            self.daemon.handle(Request::ConfigApply { text: text.to_owned(), reason: None });
        assert!(matches!(response, Response::Error(_)), "{response:?}");
    }

    #[track_caller]
    pub(super) fn reload(&self) {
        let response = self.daemon.handle(Request::ConfigReload { reason: None });
        assert!(matches!(response, Response::Applied { .. }), "{response:?}");
        assert!(self.directory.path().exists());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.daemon.stop();
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            worker.join().unwrap();
        }
    }
}
