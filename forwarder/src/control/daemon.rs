//! The daemon's side of the control protocol: answers requests, applies configurations.
//!
//! It knows workers and ports only by what [`Worker`] and [`Port`] let it ask, so that it needs no
//! DPDK and tests need no device.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use guideway_api as api;
use guideway_api::{ErrorKind, FlowFilter, Request, Response};
use parking_lot::Mutex;

use super::config::{self, Configuration};
use super::publication::{Progress, Published, PublishedBackend, Publisher};
use crate::balancer::conntrack::State;
use crate::balancer::flow::FlowKey;
use crate::balancer::scan::{Scan, Wanted};
use crate::balancer::{FlowEvent, Verdict};
use crate::stats::{Reader, Scalar, Traffic};
use crate::wire::protocol;

/// How long an apply waits for the workers, which take tables up between two bursts.
const IN_FORCE: Duration = Duration::from_secs(5);

/// A worker, as the control plane sees it.
pub struct Worker {
    /// What it counts.
    pub stats: Reader,
    /// The CPU that it is pinned to.
    pub cpu: Option<u16>,
    /// The queues that it polls, `port:queue`.
    pub queues: Vec<String>,
    /// Entries of its flow table.
    pub flow_capacity: u64,
    /// Has it carry out a listing; none if it does not answer.
    pub scan: Box<dyn Fn(Scan) -> Option<Scan> + Send + Sync>,
}

/// A port, as the control plane sees it.
pub struct Port {
    /// The DPDK driver.
    pub driver: String,
    /// The device's own MAC address.
    pub device_mac: [u8; 6],
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// How packets reach their worker, and why so.
    pub steering: String,
    /// Asks the device for its link, in words, and its counters.
    pub probe: Box<dyn Fn() -> (String, api::PortCounters) + Send + Sync>,
}

/// What answers requests.
pub struct Daemon {
    started: Instant,
    path: PathBuf,
    workers: Vec<Worker>,
    ports: Vec<Port>,
    running: Mutex<Running>,
}

/// What is in force.
struct Running {
    publisher: Publisher,
    configuration: Configuration,
    text: String,
    published: Published,
    /// What a number had counted when its present owner got it.
    service_base: HashMap<u32, Traffic>,
    backend_base: HashMap<u32, Traffic>,
}

impl Daemon {
    /// A daemon for what `publisher` has just published from `text`, the contents of `path`.
    pub fn new(
        path: PathBuf,
        text: String,
        configuration: Configuration,
        publisher: Publisher,
        published: Published,
        workers: Vec<Worker>,
        ports: Vec<Port>,
    ) -> Daemon {
        let running = Running {
            publisher,
            configuration,
            text,
            published,
            service_base: HashMap::new(),
            backend_base: HashMap::new(),
        };
        Daemon { started: Instant::now(), path, workers, ports, running: Mutex::new(running) }
    }

    /// Carries out a request.
    pub fn answer(&self, request: Request) -> Response {
        match request {
            Request::Status {} => Response::Status(self.status()),
            Request::ServiceList {} => Response::Services(self.services()),
            Request::BackendList {} => Response::Backends(self.backends()),
            Request::WorkerList {} => Response::Workers(self.worker_list()),
            Request::PortList {} => Response::Ports(self.port_list()),
            Request::Stats {} => Response::Stats(self.stats()),
            Request::ConfigShow {} => {
                let running = self.running.lock();
                Response::Config {
                    text: running.text.clone(),
                    generation: running.published.generation,
                }
            }
            Request::ConfigCheck { text } => match self.check(&self.running.lock(), &text) {
                Ok(parsed) => Response::Checked { warnings: warnings(&parsed) },
                Err(error) => Response::Error(error),
            },
            Request::ConfigApply { text } => self.apply(text),
            Request::ConfigReload {} => match std::fs::read_to_string(&self.path) {
                Ok(text) => self.apply(text),
                Err(error) => Response::Error(api::Error {
                    kind: ErrorKind::Rejected,
                    message: format!("cannot read {}: {error}", self.path.display()),
                    details: Vec::new(),
                }),
            },
            Request::FlowList(filter) => match self.flows(&filter) {
                Ok(flows) => Response::Flows(flows),
                Err(error) => Response::Error(error),
            },
        }
    }

    /// All counters, summed over the workers.
    pub fn stats(&self) -> api::Stats {
        summary(self.workers.iter().map(|w| &w.stats))
    }

    fn status(&self) -> api::Status {
        let running = self.running.lock();
        let sum = |scalar| self.workers.iter().map(|w| w.stats.scalar(scalar)).sum();
        api::Status {
            node: running.configuration.node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            generation: running.published.generation,
            generation_in_force: self.progress().generation,
            config_path: self.path.display().to_string(),
            workers: self.workers.len(),
            ports: self.ports.len(),
            services: running.configuration.services.len(),
            backends: running.configuration.pools.iter().map(|p| p.backends.len()).sum(),
            flows: sum(Scalar::Flows),
            flow_capacity: self.workers.iter().map(|w| w.flow_capacity).sum(),
            received: sum(Scalar::Received),
            transmitted: sum(Scalar::Transmitted),
        }
    }

    fn services(&self) -> Vec<api::Service> {
        let running = self.running.lock();
        let configuration = &running.configuration;
        configuration
            .services
            .iter()
            .zip(&running.published.services)
            .map(|(service, id)| api::Service {
                name: service.name.clone(),
                address: service.address,
                protocol: service.protocol,
                port: service.port,
                pool: configuration.pools[service.pool].name.clone(),
                backends: running.published.backends[service.pool]
                    .iter()
                    .zip(&configuration.pools[service.pool].backends)
                    .filter(|(published, backend)| {
                        backend_state(published, backend) == api::BackendState::Active
                    })
                    .count(),
                traffic: traffic(
                    self.sum(|stats| stats.service(id.0 as usize)),
                    running.service_base.get(&id.0),
                ),
            })
            .collect()
    }

    fn backends(&self) -> Vec<api::Backend> {
        let running = self.running.lock();
        let configuration = &running.configuration;
        let mut list = Vec::new();
        for (pool, published) in configuration.pools.iter().zip(&running.published.backends) {
            for (backend, published) in pool.backends.iter().zip(published) {
                let id = published.id;
                list.push(api::Backend {
                    pool: pool.name.clone(),
                    name: backend.name.clone(),
                    address: backend.address,
                    weight: backend.weight,
                    state: backend_state(published, backend),
                    encapsulation: backend.encapsulation.name().to_owned(),
                    share: published.slots as f64 / f64::from(configuration.hash.table_size),
                    port: published.next_hop.map(|hop| configuration.ports[hop.port].name.clone()),
                    next_hop: next_hop(published),
                    traffic: traffic(
                        self.sum(|stats| stats.backend(id.index())),
                        running.backend_base.get(&id.get()),
                    ),
                });
            }
        }
        list
    }

    fn worker_list(&self) -> Vec<api::Worker> {
        (0..)
            .zip(&self.workers)
            .map(|(index, worker)| {
                let stats = &worker.stats;
                api::Worker {
                    worker: index,
                    cpu: worker.cpu,
                    queues: worker.queues.clone(),
                    generation: stats.scalar(Scalar::Generation),
                    received: stats.scalar(Scalar::Received),
                    transmitted: stats.scalar(Scalar::Transmitted),
                    dropped: stats.verdicts() - stats.verdict(Verdict::Forwarded),
                    flows: stats.scalar(Scalar::Flows),
                    flow_capacity: worker.flow_capacity,
                    polls: stats.scalar(Scalar::Polls),
                    busy_polls: stats.scalar(Scalar::BusyPolls),
                }
            })
            .collect()
    }

    fn port_list(&self) -> Vec<api::Port> {
        let running = self.running.lock();
        running
            .configuration
            .ports
            .iter()
            .zip(&self.ports)
            .map(|(configured, port)| {
                let (link, counters) = (port.probe)();
                api::Port {
                    name: configured.name.clone(),
                    device: configured.device.clone(),
                    driver: port.driver.clone(),
                    mac: format_mac(configured.mac.unwrap_or(port.device_mac)),
                    mtu: configured.mtu,
                    link,
                    rx_queues: port.rx_queues,
                    tx_queues: port.tx_queues,
                    steering: port.steering.clone(),
                    counters,
                }
            })
            .collect()
    }

    fn flows(&self, filter: &FlowFilter) -> Result<api::Flows, api::Error> {
        // The names belong to numbers that may change owners, so that they are read before and the
        // lock is not held while workers look.
        let (wanted, names) = {
            let running = self.running.lock();
            (wanted(&running, filter)?, names(&running))
        };
        let limit = filter.limit.unwrap_or(100).min(api::MAX_FLOWS);
        let mut answer = api::Flows::default();
        for (index, worker) in (0..).zip(&self.workers) {
            if filter.worker.is_some_and(|wanted| wanted != index) {
                continue;
            }
            let scan = Scan::new(wanted.clone(), limit - answer.flows.len());
            let Some(scan) = (worker.scan)(scan) else {
                return Err(api::Error {
                    kind: ErrorKind::Failed,
                    message: format!("worker {index} did not answer in time"),
                    details: Vec::new(),
                });
            };
            answer.truncated |= scan.truncated;
            answer.flows.extend(scan.rows.iter().filter_map(|row| {
                let (pool, backend) = names.get(&row.backend.get())?;
                Some(api::Flow {
                    worker: index,
                    tag: format!("{:016x}", row.tag),
                    pool: pool.clone(),
                    backend: backend.clone(),
                    state: api_state(row.state),
                    idle_ms: row.idle_ms.into(),
                })
            }));
        }
        if filter.worker.is_some_and(|worker| usize::from(worker) >= self.workers.len()) {
            return Err(not_found(format!("there are {} workers", self.workers.len())));
        }
        Ok(answer)
    }

    fn check(&self, running: &Running, text: &str) -> Result<config::Parsed, api::Error> {
        let parsed = config::parse(text).map_err(|mistakes| api::Error {
            kind: ErrorKind::Rejected,
            message: "the configuration has mistakes; nothing has changed".to_owned(),
            details: mistakes.iter().map(ToString::to_string).collect(),
        })?;
        let fixed = running.configuration.restart_only_differences(&parsed.configuration);
        if !fixed.is_empty() {
            return Err(api::Error {
                kind: ErrorKind::Rejected,
                message: "these keys need a restart to change; nothing has changed".to_owned(),
                details: fixed,
            });
        }
        Ok(parsed)
    }

    fn apply(&self, text: String) -> Response {
        let mut guard = self.running.lock();
        let running = &mut *guard;
        let parsed = match self.check(running, &text) {
            Ok(parsed) => parsed,
            Err(error) => return Response::Error(error),
        };
        let warnings = warnings(&parsed);
        let configuration = parsed.configuration;
        let published = match running.publisher.publish(&configuration, self.progress()) {
            Ok(published) => published,
            Err(error) => {
                return Response::Error(api::Error {
                    kind: ErrorKind::Failed,
                    message: error.to_string(),
                    details: Vec::new(),
                });
            }
        };
        for id in &published.new_services {
            let base = self.sum(|stats| stats.service(id.0 as usize));
            running.service_base.insert(id.0, base);
        }
        for id in &published.new_backends {
            let base = self.sum(|stats| stats.backend(id.index()));
            running.backend_base.insert(id.get(), base);
        }
        let generation = published.generation;
        running.configuration = configuration;
        running.text = text;
        running.published = published;
        drop(guard);
        if !self.wait_for(generation) {
            return Response::Error(api::Error {
                kind: ErrorKind::Failed,
                message: format!(
                    "generation {generation} is published, but not every worker runs it after {} s",
                    IN_FORCE.as_secs()
                ),
                details: Vec::new(),
            });
        }
        self.running.lock().publisher.release();
        Response::Applied { generation, warnings }
    }

    fn wait_for(&self, generation: u64) -> bool {
        let deadline = Instant::now() + IN_FORCE;
        while self.progress().generation < generation {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn progress(&self) -> Progress {
        let least = |scalar| self.workers.iter().map(|w| w.stats.scalar(scalar)).min().unwrap_or(0);
        Progress { generation: least(Scalar::Generation), swept: least(Scalar::SweptGeneration) }
    }

    fn sum(&self, of: impl Fn(&Reader) -> Traffic) -> Traffic {
        self.workers.iter().map(|w| of(&w.stats)).fold(Traffic::default(), |a, b| a + b)
    }
}

/// All counters of some workers, summed.
pub fn summary<'a>(workers: impl Iterator<Item = &'a Reader> + Clone) -> api::Stats {
    let sum = |of: &dyn Fn(&Reader) -> u64| workers.clone().map(of).sum();
    api::Stats {
        received: sum(&|stats| stats.scalar(Scalar::Received)),
        transmitted: sum(&|stats| stats.scalar(Scalar::Transmitted)),
        verdicts: Verdict::all()
            .map(|verdict| (verdict.name().to_owned(), sum(&|stats| stats.verdict(verdict))))
            .collect(),
        events: FlowEvent::ALL
            .iter()
            .map(|&event| (event.name().to_owned(), sum(&|stats| stats.event(event))))
            .collect(),
    }
}

fn warnings(parsed: &config::Parsed) -> Vec<String> {
    parsed.warnings.iter().map(ToString::to_string).collect()
}

fn traffic(now: Traffic, base: Option<&Traffic>) -> api::Traffic {
    let Traffic { packets, bytes, flows } = now - base.copied().unwrap_or_default();
    api::Traffic { packets, bytes, flows }
}

fn backend_state(published: &PublishedBackend, backend: &config::Backend) -> api::BackendState {
    let resolved = published.next_hop.is_some_and(|hop| hop.mac.is_some());
    match (backend.enabled, resolved, backend.weight) {
        (false, _, _) => api::BackendState::Disabled,
        (true, false, _) => api::BackendState::Unresolved,
        (true, true, 0) => api::BackendState::Draining,
        (true, true, _) => api::BackendState::Active,
    }
}

fn next_hop(published: &PublishedBackend) -> String {
    match published.next_hop {
        None => "no route".to_owned(),
        Some(hop) => match hop.mac {
            Some(mac) => format!("{} at {}", hop.address, format_mac(mac)),
            None => format!("{} (no neighbor)", hop.address),
        },
    }
}

fn format_mac([a, b, c, d, e, f]: [u8; 6]) -> String {
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

fn not_found(message: String) -> api::Error {
    api::Error { kind: ErrorKind::NotFound, message, details: Vec::new() }
}

/// The filter in the workers' terms.
fn wanted(running: &Running, filter: &FlowFilter) -> Result<Wanted, api::Error> {
    let flow = match &filter.flow {
        None => None,
        Some(tuple) => Some(flow_key(tuple).ok_or_else(|| api::Error {
            kind: ErrorKind::BadRequest,
            message: "source and destination must be of one address family".to_owned(),
            details: Vec::new(),
        })?),
    };
    let named = filter.pool.is_some() || filter.backend.is_some();
    let backends = named.then(|| {
        let mut ids: Vec<_> = running
            .configuration
            .pools
            .iter()
            .zip(&running.published.backends)
            .filter(|(pool, _)| filter.pool.as_ref().is_none_or(|name| *name == pool.name))
            .flat_map(|(pool, published)| pool.backends.iter().zip(published))
            .filter(|(b, _)| filter.backend.as_ref().is_none_or(|name| *name == b.name))
            .map(|(_, published)| published.id)
            .collect();
        ids.sort_unstable();
        ids
    });
    if backends.as_ref().is_some_and(Vec::is_empty) {
        return Err(not_found("no backend of that name, or no such pool".to_owned()));
    }
    Ok(Wanted { flow, backends, state: filter.state.map(balancer_state) })
}

/// Pool and name of each backend number.
fn names(running: &Running) -> HashMap<u32, (String, String)> {
    running
        .configuration
        .pools
        .iter()
        .zip(&running.published.backends)
        .flat_map(|(pool, published)| {
            pool.backends.iter().zip(published).map(|(backend, published)| {
                (published.id.get(), (pool.name.clone(), backend.name.clone()))
            })
        })
        .collect()
}

fn flow_key(tuple: &api::FlowTuple) -> Option<FlowKey> {
    let protocol = match tuple.protocol {
        api::Protocol::Tcp => protocol::TCP,
        api::Protocol::Udp => protocol::UDP,
    };
    FlowKey::new(tuple.source, tuple.destination, protocol)
}

fn balancer_state(state: api::FlowState) -> State {
    match state {
        api::FlowState::Syn => State::Syn,
        api::FlowState::Established => State::Established,
        api::FlowState::Closing => State::Closing,
        api::FlowState::Udp => State::Udp,
    }
}

fn api_state(state: State) -> api::FlowState {
    match state {
        State::Syn => api::FlowState::Syn,
        State::Established => api::FlowState::Established,
        State::Closing => api::FlowState::Closing,
        State::Udp => api::FlowState::Udp,
    }
}
