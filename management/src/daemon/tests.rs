use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::*;
use crate::progress::Progress;
use crate::sample::{THREE, text};
use crate::state::PortFacts;
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
    done: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Lab {
    fn new() -> Lab {
        let text = text(THREE);
        let configuration = config::parse(&text).unwrap().configuration;
        let facts = vec![PortFacts { device_mac: [2, 0, 0, 0, 0, 1], filter: true }];
        let (publisher, published) = Publisher::new(&configuration, facts).unwrap();
        let (mut writer, reader) = stats::channel(8, 8);
        let done = Arc::new(AtomicBool::new(false));
        let (shared, stop) = (publisher.shared().clone(), done.clone());
        writer.traffic().count(0, published.backends[0][1].id.index(), 60);
        let worker = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
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
            extended: Box::new(|| [("rx_good_packets".to_owned(), 3)].into()),
            functions: [Some("Vector AVX2".to_owned()), None],
        }];
        let daemon = Daemon::new(
            PathBuf::from("/nonexistent/guideway.toml"),
            text,
            configuration,
            publisher,
            published,
            workers,
            ports,
        );
        Lab { daemon, done, worker: Some(worker) }
    }

    fn apply(&self, text: &str) -> Response {
        self.daemon.handle(Request::ConfigApply { text: text.to_owned() })
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
        let running = self.daemon.overview.running.lock();
        running.published.backends[0].iter().map(|b| b.id.get()).collect()
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
    assert_eq!(lab.daemon.changes.lock().publisher.shared().load().generation(), 2);
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
    let error = refusal(lab.daemon.handle(Request::ConfigReload {}));
    assert!(error.message.contains("/nonexistent/guideway.toml"), "{error:?}");
    assert_eq!(lab.generation(), 1);
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
    let tables = lab.daemon.changes.lock().publisher.shared().load_full();
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
        let tables = lab.daemon.changes.lock().publisher.shared().load_full();
        let running = lab.daemon.overview.running.lock();
        let value = tables.pool(guideway_core::balancer::id::PoolIndex(0)).maglev.slots()[slot];
        let at = running.published.backends[0].iter().position(|b| b.id.get() == value).unwrap();
        running.configuration.pools[0].backends[at].address
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
    use api::BackendState::{Active, Disabled, Draining, Unresolved};
    assert_eq!(states, [Active, Draining, Disabled, Unresolved]);
    let neighbor = |n: u8| api::NextHop::Resolved {
        port: "edge0".to_owned(),
        address: IpAddr::from([192, 0, 2, n]),
        mac: format!("02:00:00:00:00:{n}"),
    };
    let unknown = api::NextHop::NoMac { port: "edge0".to_owned(), address: [192, 0, 2, 30].into() };
    let hops: Vec<_> = lab.backends().into_iter().map(|b| b.next_hop).collect();
    assert_eq!(hops, [neighbor(10), neighbor(11), neighbor(12), unknown]);
    let shares: Vec<_> = lab.backends().iter().map(|b| (b.share * 1021.0).round()).collect();
    assert_eq!(shares, [766.0, 0.0, 0.0, 255.0]);
    let tables = lab.daemon.changes.lock().publisher.shared().load_full();
    let serving: Vec<_> =
        lab.ids().into_iter().map(|n| tables.backend(BackendId::new(n)).serving).collect();
    assert_eq!(serving, [Serving::All, Serving::Existing, Serving::Nothing, Serving::All]);
}

#[test]
fn retired_tables_are_kept_while_a_worker_holds_them() {
    let text = text(THREE);
    let configuration = config::parse(&text).unwrap().configuration;
    let facts = vec![PortFacts { device_mac: [2, 0, 0, 0, 0, 1], filter: true }];
    let (mut publisher, _) = Publisher::new(&configuration, facts).unwrap();
    let held = publisher.shared().load_full();
    let weak = Arc::downgrade(&held);
    publisher.publish(&configuration, Progress::default()).unwrap();
    drop(held);
    assert!(weak.upgrade().is_some(), "the worker's was the last reference");
    publisher.release();
    assert!(weak.upgrade().is_none(), "nothing holds them any more");
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
    let changing = lab.daemon.changes.lock();
    assert!(matches!(lab.daemon.handle(Request::Status {}), Response::Status(_)));
    assert_eq!(lab.generation(), 1);
    assert!(!lab.backends().is_empty());
    drop(changing);
}

#[test]
fn a_daemon_that_stops_reads_no_configuration() {
    let lab = Lab::new();
    let Response::Config { text, .. } = lab.daemon.handle(Request::ConfigShow {}) else { panic!() };
    lab.daemon.stop();
    for request in [Request::ConfigCheck { text: text.clone() }, Request::ConfigApply { text }] {
        let Response::Error(error) = lab.daemon.handle(request) else { panic!() };
        assert_eq!(error.message, "the daemon is stopping");
    }
    assert_eq!(lab.generation(), 1);
}
