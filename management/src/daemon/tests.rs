mod audit;
mod backends;
mod checks;
mod network;
mod pins;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use std::time::Duration;

use super::*;
use crate::sample::{Brake, THREE, text};
use crate::state::PortFacts;
use arc_swap::ArcSwap;
use guideway_core::balancer::Tables;
use guideway_core::balancer::backend::Serving;
use guideway_core::balancer::conntrack::State;
use guideway_core::balancer::id::BackendId;
use guideway_core::balancer::scan::FlowRow;
use guideway_core::balancer::services::ServiceAddress;
use guideway_core::stats::{self, Gauge};
use guideway_core::wire::protocol;

/// A daemon with one worker, which runs and sweeps every generation at once.
struct Lab {
    daemon: Daemon,
    tables: Arc<ArcSwap<Tables>>,
    brake: Arc<Brake>,
    done: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

/// A level of a log that there is not.
fn level() -> Level {
    let now = Mutex::new(api::LogLevel::Info);
    Level::new(move |level| {
        let mut now = now.lock();
        *now = level.unwrap_or(*now);
        *now
    })
}

impl Lab {
    fn new() -> Lab {
        Lab::with_limits(Limits::default())
    }

    fn with_limits(limits: Limits) -> Lab {
        Lab::of_file(PathBuf::from("/nonexistent/guideway.toml"), limits)
    }

    fn of_file(path: PathBuf, limits: Limits) -> Lab {
        Lab::of(text(THREE), path, limits)
    }

    fn of_text(text: &str) -> Lab {
        Lab::of(text.to_owned(), PathBuf::from("/nonexistent/guideway.toml"), Limits::default())
    }

    fn of(text: String, path: PathBuf, limits: Limits) -> Lab {
        let configuration = config::parse(&text).unwrap().configuration;
        let port = PortFacts { device_mac: [2, 0, 0, 0, 0, 1], filter: true };
        let facts = vec![port; configuration.ports.len()];
        let manager = Manager::new(configuration, text, facts).unwrap();
        let (mut writer, reader) = stats::channel(8, 16);
        let done = Arc::new(AtomicBool::new(false));
        let brake = Arc::new(Brake::default());
        let tables = manager.tables().clone();
        let (shared, stop, braked) = (tables.clone(), done.clone(), brake.clone());
        writer.traffic().count(0, manager.published().load().pools[0].backends[1].id.index(), 60);
        let worker = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if braked.holds() {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                let generation = shared.load().generation();
                writer.set(Gauge::SweptGeneration, generation);
                writer.set(Gauge::Generation, generation);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let workers = vec![Worker {
            stats: reader,
            cpu: Some(0),
            queues: vec![api::RxQueue { port: "edge0".to_owned(), queue: 0 }],
            flow_capacity: 64,
            tick_hz: 1_000_000_000,
            scan: Box::new(|mut scan| {
                scan.rows = vec![FlowRow {
                    tag: 0xabc,
                    backend: BackendId::new(1),
                    state: State::Syn,
                    idle_ms: 5,
                }];
                Some(scan)
            }),
        }];
        let ports = vec![Port {
            driver: "net_null".to_owned(),
            device_mac: [2, 0, 0, 0, 0, 1],
            rx_queues: 1,
            tx_queues: 1,
            steering: Box::new(|| api::Steering {
                method: api::SteeringMethod::OneWorker,
                filled_queues: None,
                crowded_queue: None,
            }),
            probe: Box::new(|| PortState {
                link: api::Link { up: true, ..Default::default() },
                counters: api::PortCounters { rx_packets: 3, ..Default::default() },
                ..PortState::default()
            }),
            is_up: Box::new(|| true),
            extended: Box::new(|| [("rx_good_packets".to_owned(), 3)].into()),
            functions: [Some("Vector AVX2".to_owned()), None],
            interface: None,
        }];
        let daemon = Daemon::with_limits(
            path,
            manager,
            (workers, ports),
            (Recorder::default(), level()),
            limits,
        );
        while daemon.overview.progress().generation == 0 {
            std::thread::yield_now();
        }
        Lab { daemon, tables, brake, done, worker: Some(worker) }
    }

    fn apply(&self, text: &str) -> Response {
        self.daemon.handle(Request::ConfigApply { text: text.to_owned(), reason: None })
    }

    fn applied(&self, text: &str) -> u64 {
        match self.apply(text) {
            Response::Applied { generation, .. } => generation,
            other => panic!("{other:?}"),
        }
    }

    fn backends(&self) -> Vec<api::Backend> {
        match self.daemon.handle(Request::BackendList {}) {
            Response::Backends(list) => list,
            other => panic!("{other:?}"),
        }
    }

    fn generation(&self) -> u64 {
        match self.daemon.handle(Request::ConfigShow {}) {
            Response::Config { generation, .. } => generation,
            other => panic!("{other:?}"),
        }
    }

    fn ids(&self) -> Vec<u32> {
        let published = self.daemon.overview.published.load();
        published.pools[0].backends.iter().map(|b| b.id.get()).collect()
    }
}

impl std::ops::Drop for Lab {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        self.worker.take().unwrap().join().unwrap();
    }
}

fn refusal(response: Response) -> api::Error {
    match response {
        Response::Error(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_apply_replies_when_every_worker_runs_the_tables() {
    let lab = Lab::new();
    assert_eq!(lab.applied(&text(&THREE[..2])), 2);
    assert_eq!(lab.daemon.overview.progress().generation, 2);
    assert_eq!(lab.backends().len(), 2);
    assert_eq!(lab.tables.load().generation(), 2);
}

#[test]
fn a_bad_configuration_changes_nothing_and_reports_every_mistake() {
    let lab = Lab::new();
    let bad = text(THREE).replace("192.0.2.11\"", "192.0.2.999\"").replace("weight", "wieght");
    let error = refusal(lab.apply(&bad.replace("port = 80", "prot = 80")));
    assert_eq!(error.kind, ErrorKind::Rejected);
    assert!(error.details.len() >= 3, "{error:?}");
    assert_eq!((lab.generation(), lab.backends().len()), (1, 3));
}

#[test]
fn what_needs_a_restart_is_refused() {
    let lab = Lab::new();
    let error = refusal(lab.apply(&text(THREE).replace("workers = [0]", "workers = [0, 1]")));
    assert_eq!(error.kind, ErrorKind::Rejected);
    assert!(error.details[0].contains("dpdk.workers"), "{error:?}");
    assert_eq!(lab.generation(), 1);
}

#[test]
fn a_reload_without_its_file_changes_nothing() {
    let lab = Lab::new();
    let error = refusal(lab.daemon.handle(Request::ConfigReload { reason: None }));
    assert!(error.message.contains("/nonexistent/guideway.toml"), "{error:?}");
    assert_eq!(lab.generation(), 1);
}

/// One client changes the file and reloads, others reload all the time. They may read the file before it changes, but
/// then their text must not come after the newer one.
#[test]
fn no_reload_puts_an_older_text_over_a_newer_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guideway.toml");
    std::fs::write(&path, text(THREE)).unwrap();
    let lab = Lab::of_file(path.clone(), Limits::default());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    lab.daemon.handle(Request::ConfigReload { reason: None });
                }
            });
        }
        let newest = (0..50).map(|n| {
            let newer = format!("# {n}\n{}", text(THREE));
            let written = directory.path().join("next.toml");
            std::fs::write(&written, &newer).unwrap();
            std::fs::rename(&written, &path).unwrap();
            let response = lab.daemon.handle(Request::ConfigReload { reason: None });
            let Response::Config { text, .. } = lab.daemon.handle(Request::ConfigShow {}) else {
                return false;
            };
            matches!(response, Response::Applied { .. }) && text == newer
        });
        let newest: Vec<bool> = newest.collect();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(newest, [true; 50]);
    });
}

#[test]
fn backends_keep_their_ids_and_counters() {
    let lab = Lab::new();
    assert_eq!(lab.ids(), [0, 1, 2]);
    assert_eq!(lab.backends()[1].traffic.packets, 1);
    lab.applied(&text(&[("z", 13, ""), ("b", 11, ""), ("a", 10, "")]));
    assert_eq!(lab.ids(), [3, 1, 0]);
    let list = lab.backends();
    assert_eq!((list[1].name.as_str(), list[1].traffic.packets), ("b", 1));
    // Generation 2 freed id 2, and every worker has swept it: the next new backend gets the id.
    lab.applied(&text(&[("y", 14, ""), ("b", 11, ""), ("a", 10, "")]));
    assert_eq!(lab.ids(), [2, 1, 0]);
    let tables = lab.tables.load_full();
    let since = |n| tables.backend(BackendId::new(n)).since;
    assert_eq!([0, 1, 2, 3].map(since), [1, 1, 3, 0], "0 is for vacant");
}

#[test]
fn a_new_backend_does_not_inherit_counters() {
    let lab = Lab::new();
    lab.applied(&text(&[("a", 10, "")]));
    std::thread::sleep(Duration::from_millis(20));
    lab.applied(&text(&[("a", 10, ""), ("new", 14, "")]));
    assert_eq!(lab.ids(), [0, 1]);
    assert_eq!(lab.backends()[1].traffic.packets, 0);
}

#[test]
fn the_order_of_the_file_does_not_change_the_choice() {
    let lab = Lab::new();
    let address_of = |slot: usize| {
        let tables = lab.tables.load_full();
        let published = lab.daemon.overview.published.load_full();
        let value = tables.pool(guideway_core::balancer::id::PoolIndex(0)).maglev.slots()[slot];
        let at = published.pools[0].backends.iter().position(|b| b.id.get() == value).unwrap();
        published.configuration.pools[0].backends[at].address
    };
    let before: Vec<_> = (0..1021).map(address_of).collect();
    lab.applied(&text(&[("c", 12, ""), ("x", 15, ", weight = 0"), ("b", 11, ""), ("a", 10, "")]));
    let after: Vec<_> = (0..1021).map(address_of).collect();
    assert_eq!(before, after);
}

#[test]
fn the_state_of_a_backend_shows_in_tables_and_listing() {
    let lab = Lab::new();
    lab.applied(&text(&[
        ("a", 10, ", weight = 3"),
        ("b", 11, ", weight = 0"),
        ("c", 12, ", enabled = false"),
        ("d", 30, ""),
    ]));
    let states: Vec<_> = lab.backends().iter().map(|b| b.state).collect();
    use api::BackendState::{Active, Disabled, Unresolved};
    assert_eq!(states, [Active, Active, Disabled, Unresolved]);
    let neighbor = |n: u8| api::NextHop::Resolved {
        port: "edge0".to_owned(),
        vlan: None,
        address: IpAddr::from([192, 0, 2, n]),
        mac: format!("02:00:00:00:00:{n}"),
    };
    let unknown = api::NextHop::NoMac {
        port: "edge0".to_owned(),
        vlan: None,
        address: [192, 0, 2, 30].into(),
    };
    let hops: Vec<_> = lab.backends().into_iter().map(|b| b.next_hop).collect();
    assert_eq!(hops, [neighbor(10), neighbor(11), neighbor(12), unknown]);
    let shares: Vec<_> = lab.backends().iter().map(|b| (b.share * 1021.0).round()).collect();
    assert_eq!(shares, [766.0, 0.0, 0.0, 255.0]);
    let tables = lab.tables.load_full();
    let serving: Vec<_> =
        lab.ids().into_iter().map(|n| tables.backend(BackendId::new(n)).serving).collect();
    assert_eq!(serving, [Serving::All, Serving::Existing, Serving::Nothing, Serving::All]);
}

#[test]
fn flows_are_listed_by_name() {
    let lab = Lab::new();
    let ask = |filter| lab.daemon.handle(Request::FlowList(filter));
    let Response::Flows(found) = ask(api::FlowFilter::default()) else { panic!() };
    let flow = &found.flows[0];
    assert_eq!((flow.tag.as_str(), flow.backend.as_str()), ("0000000000000abc", "b"));
    assert_eq!((flow.state, flow.idle_ms, found.truncated), (api::FlowState::Syn, 5, false));

    let none = api::FlowFilter { backend: Some("nobody".to_owned()), ..Default::default() };
    assert_eq!(refusal(ask(none)).kind, ErrorKind::NotFound);
    let none = api::FlowFilter { worker: Some(1), ..Default::default() };
    assert_eq!(refusal(ask(none)).kind, ErrorKind::NotFound);
    let mixed = api::FlowTuple {
        source: "192.0.2.1:1".parse().unwrap(),
        destination: "[2001:db8::1]:2".parse().unwrap(),
        protocol: api::Protocol::Tcp,
    };
    let mixed = api::FlowFilter { flow: Some(mixed), ..Default::default() };
    assert_eq!(refusal(ask(mixed)).kind, ErrorKind::BadRequest);
}

#[test]
fn counters_of_the_device_are_listed_on_request() {
    let lab = Lab::new();
    let stats = |extended| match lab.daemon.handle(Request::PortStats { extended }) {
        Response::PortStats(mut ports) if ports.len() == 1 => ports.remove(0),
        other => panic!("{other:?}"),
    };
    let plain = stats(false);
    assert_eq!((plain.name.as_str(), plain.counters["rx_packets"]), ("edge0", 3));
    assert!(plain.counters.len() == 8 && plain.extended.is_empty());
    assert_eq!(stats(true).extended, [("rx_good_packets".to_owned(), 3)].into());
    let Response::Ports(ports) = lab.daemon.handle(Request::PortList {}) else { panic!() };
    assert!(ports[0].link.up);
    let functions = [&ports[0].rx_function, &ports[0].tx_function];
    assert_eq!(functions.map(Option::as_deref), [Some("Vector AVX2"), None]);
}

#[test]
fn the_description_of_a_port_is_listed_and_changes_by_a_reload() {
    let lab = Lab::new();
    let description = || match lab.daemon.handle(Request::PortList {}) {
        Response::Ports(ports) => ports[0].description.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(description(), "");
    let port = "device = \"net_null0\"\n";
    lab.applied(&text(THREE).replace(port, &format!("{port}description = 'to the border'\n")));
    assert_eq!(description(), "to the border");
    let wrong =
        text(THREE).replace(port, &format!("{port}description = 'a\\tb'\n").replace('\'', "\""));
    assert!(
        matches!(lab.apply(&wrong), Response::Error(error) if error.details[0].contains("255"))
    );
}

#[test]
fn every_verdict_is_in_the_statistics() {
    let stats = Lab::new().daemon.stats();
    assert_eq!(stats.verdicts.len(), Verdict::COUNT);
    assert_eq!(stats.events.len(), Event::ALL.len());
}

#[test]
fn service_addresses_of_the_families_are_distinct() {
    let v4 = ServiceAddress::new("192.0.2.1".parse().unwrap(), protocol::TCP, 80);
    let mapped = ServiceAddress::new("::ffff:192.0.2.1".parse().unwrap(), protocol::TCP, 80);
    let compatible = ServiceAddress::new("::192.0.2.1".parse().unwrap(), protocol::TCP, 80);
    assert!(v4 != mapped && v4 != compatible);
}

#[test]
fn a_change_in_progress_delays_no_listing() {
    let lab = Lab::new();
    lab.brake.pull();
    std::thread::scope(|scope| {
        let apply = scope.spawn(|| lab.applied(&text(&THREE[..2])));
        while lab.generation() == 1 {
            std::thread::yield_now();
        }
        assert!(!apply.is_finished());
        assert_eq!(lab.backends().len(), 2);
        let Response::Status(status) = lab.daemon.handle(Request::Status {}) else { panic!() };
        assert_eq!((status.generation, status.generation_in_force), (2, 1));
        lab.brake.release();
        assert_eq!(apply.join().unwrap(), 2);
    });
}

#[test]
fn what_is_published_and_not_in_force_is_said_so() {
    let in_force = Duration::from_millis(50);
    let lab = Lab::with_limits(Limits { in_force, ..Limits::default() });
    lab.brake.pull();
    let error = refusal(lab.apply(&text(&THREE[..2])));
    assert_eq!(error.kind, ErrorKind::Failed);
    let message = "generation 2 is published, but not every worker runs it after 0.05 s";
    assert_eq!(error.message, message);
    assert_eq!((lab.generation(), lab.backends().len()), (2, 2));
}

#[test]
fn a_stop_ends_the_wait_for_the_workers() {
    let lab = Lab::new();
    lab.brake.pull();
    std::thread::scope(|scope| {
        let apply = scope.spawn(|| lab.apply(&text(&THREE[..2])));
        while lab.generation() == 1 {
            std::thread::yield_now();
        }
        lab.daemon.stop();
        let error = refusal(apply.join().unwrap());
        assert!(error.message.starts_with("generation 2 is published, but the daemon stops"));
    });
}

#[test]
fn a_daemon_that_stops_reads_no_configuration() {
    let lab = Lab::new();
    let Response::Config { text, .. } = lab.daemon.handle(Request::ConfigShow {}) else { panic!() };
    lab.daemon.stop();
    for request in
        [Request::ConfigCheck { text: text.clone() }, Request::ConfigApply { text, reason: None }]
    {
        let Response::Error(error) = lab.daemon.handle(request) else { panic!() };
        assert_eq!(error.message, "the daemon is stopping");
    }
    assert_eq!(lab.generation(), 1);
}
