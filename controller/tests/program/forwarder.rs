//! A forwarder that is played: it serves its control socket by the real server, and says what a test wants.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use guideway_api::{
    Announcing, AnnouncingState, Backend, BackendOrder, BackendSetting, BackendState, Daemon,
    Error, ErrorKind, Happening, NextHop, Protocol, Request, Response, Service, SetState, Source,
    Status, Traffic,
};
use guideway_chassis::event::Recorder;
use guideway_chassis::peer::Access;
use guideway_chassis::server::{Handle, Server};
use parking_lot::{Condvar, Mutex};

use crate::space::INTERFACE;

/// A configuration of two services on one address, a third one on another.
pub(crate) fn configuration(announce: &str) -> String {
    format!(
        r#"
[dpdk]
workers = [1]
hugepages = false
[hash]
key = "000102030405060708090a0b0c0d0e0f"
[node]
name = "lb1"
tunnel_source = ["192.0.2.1"]
[[port]]
name = "edge0"
device = "net_null0"
addresses = ["192.0.2.1/24"]
[[service]]
name = "web"
address = "203.0.113.10"
protocol = "tcp"
port = 80
pool = "web"
[[service]]
name = "web-tls"
address = "203.0.113.10"
protocol = "tcp"
port = 443
pool = "web"
[[service]]
name = "dns"
address = "2001:db8:f::53"
protocol = "udp"
port = 53
pool = "web"
[[pool]]
name = "web"
backends = []
{announce}
"#
    )
}

/// What is announced, with short times.
pub(crate) const ANNOUNCE: &str = "[announce]\nhold = 0\ndrain_time = 1\n";

/// What the forwarder says.
pub(crate) struct Said {
    pub(crate) generation: u64,
    pub(crate) in_force: u64,
    pub(crate) text: String,
    pub(crate) announcing: AnnouncingState,
    /// The names of the services that serve.
    pub(crate) serving: Vec<&'static str>,
    /// It answers nothing.
    pub(crate) is_silent: bool,
    /// The names of the requests that it got.
    pub(crate) asked: BTreeSet<&'static str>,
    /// The settings of source controller, by pool and backend.
    pub(crate) set: BTreeMap<(String, String), (SetState, String)>,
    /// Each change of them, in order: the backend, and its state or none.
    pub(crate) changes: Vec<(String, Option<SetState>)>,
}

/// A running forwarder. It ends when it is dropped.
pub(crate) struct Forwarder {
    said: Arc<(Mutex<Said>, Condvar)>,
    events: Recorder,
    server: Option<Handle>,
}

impl Forwarder {
    /// One that forwards and whose services serve.
    pub(crate) fn start(socket: &Path, announce: &str) -> Forwarder {
        let said = Said {
            generation: 1,
            in_force: 1,
            text: configuration(announce),
            announcing: AnnouncingState::Up,
            serving: vec!["web", "web-tls", "dns"],
            is_silent: false,
            asked: BTreeSet::new(),
            set: BTreeMap::new(),
            changes: Vec::new(),
        };
        let said = Arc::new((Mutex::new(said), Condvar::new()));
        let events = Recorder::default();
        let server = Server::bind(Daemon::Forwarder, socket, None, Access::Full).unwrap();
        let answering = Arc::clone(&said);
        let server = server.start(Arc::new(move |_, it| answer(&answering, &it)), events.clone());
        Forwarder { said, events, server: Some(server) }
    }

    /// Changes what it says, without an event.
    pub(crate) fn say(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.said.0.lock());
        self.said.1.notify_all();
    }

    /// Changes which services serve, with the event that follows.
    pub(crate) fn serve(&self, serving: &[&'static str]) {
        self.say(|said| said.serving = serving.to_vec());
        self.events.record(Happening::PoolEmpty { pool: "web".to_owned() });
    }

    /// The names of the requests that it got, but for those that the server itself answers.
    pub(crate) fn asked(&self) -> BTreeSet<&'static str> {
        self.said.0.lock().asked.clone()
    }

    /// Has another configuration in force.
    pub(crate) fn reload(&self, announce: &str) {
        self.reload_text(configuration(announce));
    }

    /// Has this configuration in force.
    pub(crate) fn reload_text(&self, text: String) {
        self.say(|said| {
            said.generation += 1;
            said.in_force += 1;
            said.text = text;
        });
    }

    /// What it was told of a backend of the pool `web`: a state, and why.
    pub(crate) fn set(&self, backend: &str) -> Option<(SetState, String)> {
        self.said.0.lock().set.get(&("web".to_owned(), backend.to_owned())).cloned()
    }

    /// Each change of settings so far.
    pub(crate) fn changes(&self) -> Vec<(String, Option<SetState>)> {
        self.said.0.lock().changes.clone()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.say(|said| said.is_silent = false);
        drop(self.server.take());
    }
}

fn answer(said: &(Mutex<Said>, Condvar), request: &Request) -> Response {
    let mut now = said.0.lock();
    while now.is_silent {
        said.1.wait(&mut now);
    }
    now.asked.insert(request.name());
    match request {
        Request::Status {} => Response::Status(Status {
            node: "lb1".to_owned(),
            version: "0.0.0".to_owned(),
            uptime_seconds: 1,
            generation: now.generation,
            generation_in_force: now.in_force,
            manager_restarts: 0,
            config_path: "/etc/guideway/guideway.toml".to_owned(),
            workers: 1,
            ports: 1,
            services: 3,
            backends: 0,
            flows: 0,
            flow_capacity: 1,
            fragments_waiting: 0,
            received: 0,
            transmitted: 0,
            announcing: Some(Announcing {
                interface: INTERFACE.to_owned(),
                state: now.announcing.clone(),
                dropped: 0,
            }),
        }),
        Request::ConfigShow {} => {
            Response::Config { generation: now.generation, text: now.text.clone() }
        }
        Request::ServiceList {} => {
            let services = [
                ("web", "203.0.113.10", 80),
                ("web-tls", "203.0.113.10", 443),
                ("dns", "2001:db8:f::53", 53),
            ];
            let service = |(name, address, port): (&str, &str, u16)| Service {
                name: name.to_owned(),
                address: address.parse().unwrap(),
                protocol: if port == 53 { Protocol::Udp } else { Protocol::Tcp },
                port,
                pool: "web".to_owned(),
                backends: 1,
                serves: now.serving.contains(&name),
                traffic: Traffic::default(),
            };
            Response::Services(services.map(service).to_vec())
        }
        Request::BackendList {} => Response::Backends(backends(&now)),
        Request::BackendSet { changes, source: Source::Controller, .. } => {
            for change in changes {
                let (Some(pool), Some(backend)) = (&change.pool, &change.backend) else {
                    return Response::Error(Error::new(ErrorKind::BadRequest, "of which pool?"));
                };
                let place = (pool.clone(), backend.clone());
                let state = match change.set {
                    BackendOrder::State(state) => {
                        let reason = change.reason.clone().unwrap_or_default();
                        now.set.insert(place, (state, reason));
                        Some(state)
                    }
                    _ => {
                        now.set.remove(&place);
                        None
                    }
                };
                now.changes.push((backend.clone(), state));
            }
            let (generation, backends) = (now.generation, Vec::new());
            Response::BackendsSet { generation, backends, stored: true }
        }
        // A controller asks nothing else: see `a_controller_only_reads_and_only_at_the_control_socket`.
        _ => Response::Error(Error::new(ErrorKind::Forbidden, "a controller must not ask this")),
    }
}

/// The backends of the configuration that it has.
fn backends(said: &Said) -> Vec<Backend> {
    let parsed = guideway_config::parse(&said.text).unwrap();
    let pools = parsed.configuration.pools.into_iter();
    let backend = |pool: &str, backend: guideway_config::Backend| Backend {
        settings: said
            .set
            .get(&(pool.to_owned(), backend.name.clone()))
            .map(|(state, reason)| BackendSetting {
                source: Source::Controller,
                state: Some(*state),
                weight: None,
                reason: Some(reason.clone()),
                since: String::new(),
                until: None,
            })
            .into_iter()
            .collect(),
        pool: pool.to_owned(),
        name: backend.name,
        address: backend.address,
        weight: 1,
        slow_start: None,
        state: BackendState::Active,
        since: String::new(),
        source: Source::File,
        reason: None,
        encapsulation: None,
        encapsulation_choice: None,
        share: 0.0,
        next_hop: NextHop::NoMac { port: "edge0".to_owned(), vlan: None, address: backend.address },
        traffic: Traffic::default(),
    };
    pools
        .flat_map(|pool| pool.backends.into_iter().map(move |it| backend(&pool.name, it)))
        .collect()
}
