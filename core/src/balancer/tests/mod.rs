//! Tests of the whole balancer: its rules by subject, and random traffic against a model (`properties.rs`).
//!
//! [`Config`] is a small configuration, [`Rig`] a balancer with a clock.

mod backends;
mod bursts;
mod choices;
mod fates;
mod packets;
mod properties;
mod states;

use std::net::SocketAddr;
use std::sync::Arc;

use super::backend::{Backend, Leaving, MssLimit, Pool, Route, Serving};
use super::classify::{Exception, Unserved};
use super::conntrack::{State, Timeouts};
use super::encapsulation::{Encapsulation, Template, Tunnel};
use super::flow::FlowKey;
use super::frame::Buffer;
use super::hash::{FleetKey, LocalSeed};
use super::id::{BackendId, PolicyIndex, PoolIndex, PortIndex, ServiceId};
use super::maglev;
use super::node::Node;
use super::pin::Pins;
use super::port::Port;
use super::sample::{MAC, Sample, fix_checksum};
use super::services::{Service, ServiceAddress, Vip};
use super::tables::{TableChange, TableSpec};
use super::*;
use crate::wire::{Error as Malformed, Packet, protocol, tcp};

const ACK: u8 = tcp::ACK;
const SYN: u8 = tcp::SYN;
const FIN: u8 = tcp::FIN | tcp::ACK;
const RST: u8 = tcp::RST;
const PORT: PortIndex = PortIndex(0);
const OUT: PortIndex = PortIndex(7);
const SECOND: u64 = 1000;
const TIMEOUTS: Timeouts = Timeouts::DEFAULT;
const FLEET: FleetKey = FleetKey::new([3; 16]);

/// A small configuration: which flows each pool's backends accept. Backend ids count through all pools.
#[derive(Clone, Debug)]
struct Config {
    pools: Vec<Vec<Serving>>,
    /// The flows that leave backends with [`Serving::Existing`].
    leaving: Leaving,
    /// The pool of the first three services. The fourth always has pool 0.
    pool: usize,
    /// The service that is left out.
    without: Option<u32>,
    resolved: bool,
    mac: Option<[u8; 6]>,
    mtu: u16,
    /// The encapsulations of backends, in turns.
    encapsulations: Vec<Encapsulation>,
    mss: MssLimit,
}

impl Config {
    fn new(backends: &[Serving]) -> Config {
        let pools = vec![backends.to_vec()];
        Config {
            pools,
            leaving: Leaving::NONE,
            pool: 0,
            without: None,
            resolved: true,
            mac: None,
            mtu: 1500,
            encapsulations: vec![Encapsulation::Gre],
            mss: MssLimit::NONE,
        }
    }

    /// A pool of `n` backends that accept all flows.
    fn all(n: usize) -> Config {
        Config::new(&vec![Serving::All; n])
    }

    fn with(&self, backend: usize, serving: Serving) -> Config {
        let mut config = self.clone();
        config.pools[0][backend] = serving;
        config
    }

    fn tables(&self) -> Tables {
        let ids = |pool: usize| {
            let first: usize = self.pools[..pool].iter().map(Vec::len).sum();
            (first..).map(|n| u32::try_from(n).unwrap())
        };
        let service_address = |address: &str, protocol| {
            let address: SocketAddr = address.parse().unwrap();
            ServiceAddress::new(address.ip(), protocol, address.port())
        };
        let pool = PoolIndex(u16::try_from(self.pool).unwrap());
        // Each service has a policy of its own.
        let service = |id, address, protocol, pool| {
            let policy = PolicyIndex(u8::try_from(id).unwrap());
            let service = Service { id: ServiceId(id), pool, policy, fragments: true };
            (service_address(address, protocol), service)
        };
        let services = [
            service(0, "203.0.113.10:80", protocol::TCP, pool),
            service(1, "203.0.113.10:53", protocol::UDP, pool),
            service(2, "[2001:db8::10]:80", protocol::TCP, pool),
            service(3, "203.0.113.10:81", protocol::TCP, PoolIndex(0)),
        ];
        let is_there = |(_, service): &(_, Service)| Some(service.id.0) != self.without;
        Tables::new(TableSpec {
            generation: 1,
            fleet: FLEET,
            timeouts: TIMEOUTS,
            ports: vec![Port { mac: self.mac }],
            services: services.into_iter().filter(is_there).collect(),
            vips: Vec::new(),
            node: Node::default(),
            pins: Pins::default(),
            pools: (0..)
                .zip(&self.pools)
                .map(|(i, pool)| {
                    let candidates: Vec<_> = pool
                        .iter()
                        .zip(ids(i))
                        .filter(|&(&serving, _)| serving == Serving::All)
                        .map(|(_, n)| candidate(n))
                        .collect();
                    Pool::new(Arc::new(maglev::Table::build(&FLEET, 251, &candidates)))
                })
                .collect(),
            backends: (0..)
                .zip(&self.pools)
                .flat_map(|(i, pool)| pool.iter().map(move |&serving| (PoolIndex(i), serving)))
                .enumerate()
                .map(|(n, (pool, serving))| Backend {
                    pool,
                    serving,
                    leaving: self.leaving,
                    weight: 1,
                    route: self.resolved.then(|| {
                        let encapsulation = self.encapsulations[n % self.encapsulations.len()];
                        route(n, self.mtu, encapsulation)
                    }),
                    mss: self.mss,
                    since: 0,
                })
                .collect(),
        })
    }
}

fn candidate(n: u32) -> maglev::Candidate {
    let mut identity = [0; 16];
    identity[12..].copy_from_slice(&n.to_be_bytes());
    maglev::Candidate { identity, weight: 1, value: n }
}

/// The route to a backend: even ones are reached over IPv6, odd ones over IPv4.
fn route(backend: usize, mtu: u16, encapsulation: Encapsulation) -> Route {
    let (source, destination) = match backend % 2 {
        0 => ("2001:db8::1", "2001:db8:b::1"),
        _ => ("192.0.2.1", "10.0.0.5"),
    };
    let tunnel = Tunnel {
        source_mac: MAC,
        destination_mac: [2, 0, 0, 0, 0, 0xfe],
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    };
    Route { port: OUT, template: Template::new(encapsulation, &tunnel, mtu).unwrap() }
}

/// Why a packet gets no backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Drop(DropReason),
    Exception(Exception),
}

impl From<DropReason> for Refusal {
    fn from(drop: DropReason) -> Refusal {
        Refusal::Drop(drop)
    }
}

impl From<Exception> for Refusal {
    fn from(exception: Exception) -> Refusal {
        Refusal::Exception(exception)
    }
}

impl From<Unserved> for Refusal {
    fn from(unserved: Unserved) -> Refusal {
        match unserved {
            Unserved::Drop(drop) => Refusal::Drop(drop),
            Unserved::Exception(_, exception) => Refusal::Exception(exception),
        }
    }
}

/// A balancer with a clock.
struct Rig {
    balancer: Balancer,
    now: u64,
}

impl Rig {
    fn new(flow_entries: usize) -> Rig {
        Rig { balancer: Balancer::new(flow_entries, LocalSeed::new(1)), now: 5 }
    }

    fn wait(&mut self, ms: u64) -> &mut Rig {
        self.now += ms;
        self
    }

    /// Sends the handshake of a connection. Returns its backend.
    fn connect(&mut self, tables: &Tables, sample: &Sample) -> BackendId {
        let (backend, event) = self.send(tables, &sample.with_flags(SYN)).unwrap();
        assert_eq!(event, FlowEvent::New);
        assert_eq!(self.send(tables, &sample.with_flags(ACK)), Ok((backend, FlowEvent::Hit)));
        backend
    }

    fn send(
        &mut self,
        tables: &Tables,
        sample: &Sample,
    ) -> Result<(BackendId, FlowEvent), Refusal> {
        let frame = sample.frame();
        let classified = self.balancer.classify(tables, PORT, &frame)?;
        self.balancer
            .decide(tables, &frame, &classified, Time::from_millis(self.now))
            .map(|decision| (decision.backend, decision.flow))
            .map_err(Refusal::Drop)
    }

    /// Looks a plain packet's flow up as the fast path does.
    fn lookup(&mut self, tables: &Tables, sample: &Sample) {
        let buffer = Buffer::new(&sample.frame(), 0);
        let mut meta = PacketMeta::NONE;
        let (filter, head) = (tables.frame_filter(PORT), buffer.bytes().first_chunk().unwrap());
        let parsed = self.balancer.parse_plain(tables, &filter, head, &buffer, &mut meta);
        assert_eq!(parsed, PlainParse::Served);
        meta.look_up(&mut self.balancer.homes(), tables, Time::from_millis(self.now));
    }

    /// The state of the only flow in the table.
    fn state(&self) -> State {
        self.entry().1
    }

    /// The backend, the state and the idle time of the only flow in the table.
    fn entry(&self) -> (BackendId, State, u32) {
        let now = Time::from_millis(self.now);
        let entries = self.balancer.flows().entries(0..usize::MAX, now, &TIMEOUTS);
        let entries: Vec<_> = entries
            .map(|(_, entry)| (entry.backend(), entry.state(), entry.idle_ms(now)))
            .collect();
        assert_eq!(entries.len(), 1);
        entries[0]
    }
}

fn client(n: u16, flags: u8) -> Sample {
    Sample::tcp(&format!("198.51.100.1:{}", 1024 + n), "203.0.113.10:80", flags)
}

/// The Maglev table's choice: the choice of a balancer without flows.
fn choice(tables: &Tables, sample: &Sample) -> BackendId {
    Rig::new(4).send(tables, sample).unwrap().0
}

/// A client whose flow the Maglev table gives to this backend.
fn client_of(tables: &Tables, backend: u32, flags: u8) -> Sample {
    (0..).map(|n| client(n, flags)).find(|s| choice(tables, s).get() == backend).unwrap()
}
