//! Several workers in one thread, over frames in ordinary memory: what a worker hands to another is delivered at once,
//! and what leaves is recorded. Unit tests, property tests and a fuzz target share this file.
//!
//! After every step each packet has ended in one verdict, or waits.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use guideway_core::balancer::action::{Actions, BurstActions};
use guideway_core::balancer::backend::{Backend, Leaving, MssLimit, Pool, Route, Serving};
use guideway_core::balancer::burst::Batch;
use guideway_core::balancer::cluster::{Cluster, Member};
use guideway_core::balancer::conntrack::Timeouts;
use guideway_core::balancer::decapsulation::Decapsulator;
use guideway_core::balancer::encapsulation::{Encapsulation, Template, Tunnel};
use guideway_core::balancer::exception::Exceptions;
use guideway_core::balancer::fragment::Capacity;
use guideway_core::balancer::frame::{Allocator, BURST, Buffer, BufferBurst};
use guideway_core::balancer::handoff::{Handoff, owner};
use guideway_core::balancer::hash::{FleetKey, LocalSeed};
use guideway_core::balancer::id::{PolicyIndex, PoolIndex, PortIndex, ServiceId};
use guideway_core::balancer::node::Node;
use guideway_core::balancer::passed::Passed;
use guideway_core::balancer::pin::{Outcome, Pins};
use guideway_core::balancer::pipeline::{Pipeline, Round};
use guideway_core::balancer::port::Port;
use guideway_core::balancer::punt::{Class, Limit, Punts};
use guideway_core::balancer::services::{Service, ServiceAddress, Vip};
use guideway_core::balancer::source::OwnAddresses;
use guideway_core::balancer::tables::TableSpec;
use guideway_core::balancer::{Balancer, Frame, Tables, Time, maglev};
use guideway_core::stats::{self, Counter, DropReason, Gauge, Reader, Verdict, Writer};
use guideway_core::wire::protocol;

pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The port of clients.
pub(crate) const CLIENTS: PortIndex = PortIndex(0);
/// The port of backends, peers and members.
pub(crate) const BACKENDS: PortIndex = PortIndex(1);
/// Backends, each with an address of its own in its outer header.
pub(crate) const BACKEND_COUNT: u8 = 4;

/// Addresses that probes come from.
pub(crate) const CHECK_SOURCES: [&str; 2] = ["10.255.0.9", "2001:db8:e::9"];

const HEADROOM: usize = 128;
/// Bytes of a frame that is made here.
const ROOM: usize = 2048;
const FLEET: FleetKey = FleetKey::new([3; 16]);

/// What an operator could configure.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) workers: u16,
    /// Rings divide the flows, so that a flow's owner follows from its hash.
    pub(crate) steers: bool,
    pub(crate) encapsulation: Encapsulation,
    pub(crate) mtu: u16,
    pub(crate) vip: Vip,
    /// The services take fragments.
    pub(crate) fragments: bool,
    pub(crate) reply_rate: u32,
    /// Another member owns about half of the datagrams.
    pub(crate) clustered: bool,
    /// What backend 0 accepts.
    pub(crate) serving: Serving,
    /// What the other backends accept.
    pub(crate) others: Serving,
    /// The flows that leave backends which accept existing ones.
    pub(crate) leaving: Leaving,
    /// Packets without a backend are answered.
    pub(crate) resets: bool,
    pub(crate) generation: u64,
    pub(crate) waiting: Capacity,
    /// Whether [`CLIENTS`] and [`BACKENDS`] have an interface.
    pub(crate) interfaces: [bool; 2],
    /// The limit of each class of punts.
    pub(crate) punt_limit: Limit,
    /// The VLAN of the backends and members.
    pub(crate) vlan: Option<u16>,
    /// The port of the services over TCP.
    pub(crate) tcp_port: u16,
}

impl Setup {
    /// One worker, 1,500 bytes, every reply.
    pub(crate) const PLAIN: Setup = Setup {
        workers: 1,
        steers: true,
        encapsulation: Encapsulation::Gre,
        mtu: 1500,
        vip: Vip { echo: true, unreachable: true },
        fragments: true,
        reply_rate: u32::MAX,
        clustered: false,
        serving: Serving::All,
        others: Serving::All,
        leaving: Leaving::NONE,
        resets: false,
        generation: 1,
        waiting: Capacity {
            datagrams: 64,
            packets: 64,
            bytes: 1 << 20,
            packets_per_datagram: 32,
            timeout_ms: 2000,
        },
        interfaces: [false; 2],
        punt_limit: Limit { rate: u32::MAX, burst: u32::MAX },
        vlan: None,
        tcp_port: 80,
    };

    pub(crate) fn tables(&self) -> Tables {
        let v4 = |last| IpAddr::from([203, 0, 113, last]);
        let v6 = IpAddr::from(0x2001_0db8_0000_0000_0000_0000_0000_0010u128.to_be_bytes());
        let service = |id| Service {
            id: ServiceId(id),
            pool: PoolIndex(0),
            policy: PolicyIndex(0),
            fragments: self.fragments,
        };
        let address = ServiceAddress::new;
        let peers = ["192.0.2.0/24", "2001:db8:a::/64"];
        let own = ["192.0.2.1/32", "2001:db8:a::1/128"];
        let networks = |texts: [&str; 2]| texts.map(|text| text.parse().expect("a network"));
        let member =
            |last, is_own| Member { address: [192, 0, 2, last].into(), is_own, is_down: false };
        let members = [member(1, true), member(2, false)];
        let cluster =
            if self.clustered { Cluster::new(&FLEET, &members) } else { Cluster::default() };
        let to_member =
            Template::redirecting(&tunnel([192, 0, 2, 2]), self.mtu).expect("one family");
        let to_member = to_member.with_vlan(self.vlan);
        let backends: Vec<Backend> = (0..BACKEND_COUNT)
            .map(|n| Backend {
                pool: PoolIndex(0),
                serving: self.serving_of(n),
                leaving: self.leaving,
                weight: 1,
                route: Some(self.route(n)),
                mss: MssLimit::NONE,
                since: 0,
            })
            .collect();
        let candidates: Vec<_> = (0..BACKEND_COUNT)
            .filter(|&n| self.serving_of(n) == Serving::All)
            .map(|n| maglev::Candidate { identity: [n; 16], weight: 1, value: n.into() })
            .collect();
        Tables::new(TableSpec {
            generation: self.generation,
            fleet: FLEET,
            timeouts: Timeouts::DEFAULT,
            ports: vec![Port { mac: Some(MAC) }, Port { mac: None }],
            services: vec![
                (address(v4(10), protocol::TCP, self.tcp_port), service(0)),
                (address(v4(10), protocol::UDP, 53), service(1)),
                (address(v6, protocol::TCP, self.tcp_port), service(2)),
                (address(v6, protocol::UDP, 53), service(3)),
            ],
            vips: vec![(v4(10), self.vip), (v6, self.vip)],
            pools: vec![Pool {
                resets: self.resets,
                ..Pool::new(Arc::new(maglev::Table::build(&FLEET, 251, &candidates)))
            }],
            backends,
            pins: Pins::default(),
            node: Node {
                own: OwnAddresses {
                    macs: vec![MAC],
                    addresses: vec![[192, 0, 2, 1].into()],
                    networks: Vec::new(),
                },
                tunnel: Decapsulator::new(networks(own), networks(peers)),
                cluster,
                members: vec![None, Some(Route { port: BACKENDS, template: to_member })],
                reply_rate: self.reply_rate,
                reply_burst: self.reply_rate,
                mtus: vec![self.mtu; 2],
                shared: vec![[198, 51, 100, 255].into()],
                punts: Arc::new(self.punts()),
            },
        })
    }

    fn serving_of(&self, backend: u8) -> Serving {
        if backend == 0 { self.serving } else { self.others }
    }

    /// Own addresses of the tunnel, of a port and of a loopback; the virtual addresses are among them.
    fn punts(&self) -> Punts {
        let addresses = [
            "198.51.100.200",
            "10.255.0.1",
            "2001:db8:c::200",
            "fe80::200",
            "203.0.113.10",
            "2001:db8::10",
            CHECK_SOURCES[0],
            CHECK_SOURCES[1],
        ];
        let networks = |texts: &[&str]| {
            texts.iter().map(|text| text.parse().expect("a network")).collect::<Vec<_>>()
        };
        Punts {
            interfaces: self.interfaces.to_vec(),
            addresses: addresses
                .map(|text| text.parse().expect("an address"))
                .into_iter()
                .collect(),
            prefixes: networks(&["192.0.2.1/32", "2001:db8:a::1/128"]),
            on_link: networks(&["198.51.100.0/24", "2001:db8:c::/64"]),
            routing_peers: networks(&["10.9.0.0/16", "2001:db8:9::/48"]),
            check_sources: CHECK_SOURCES.map(|text| text.parse().expect("an address")).to_vec(),
            limits: [self.punt_limit; Class::ALL.len()],
        }
    }

    fn route(&self, backend: u8) -> Route {
        let tunnel = tunnel([10, 0, 0, backend]);
        let template = Template::new(self.encapsulation, &tunnel, self.mtu).expect("one family");
        Route { port: BACKENDS, template: template.with_vlan(self.vlan) }
    }
}

fn tunnel(destination: [u8; 4]) -> Tunnel {
    Tunnel {
        source_mac: MAC,
        // The MAC address names the backend too, also where there is no outer header.
        destination_mac: [2, 0, 0, 0, 1, destination[3]],
        source: [192, 0, 2, 1].into(),
        destination: destination.into(),
    }
}

/// A frame that left, and the port that it left by.
pub(crate) type Sent = (PortIndex, Vec<u8>);

/// A frame that the kernel got, its class, and the port that it came by.
pub(crate) type Punted = (PortIndex, Class, Vec<u8>);

/// Buffers for frames that are made here, as long as there are any.
#[derive(Clone)]
struct Buffers(Rc<Cell<usize>>);

impl Allocator<Box<Buffer>> for Buffers {
    fn allocate(&self) -> Option<Box<Buffer>> {
        self.0.set(self.0.get().checked_sub(1)?);
        Some(Box::new(Buffer::empty(HEADROOM, ROOM)))
    }
}

/// A packet on its way between workers.
enum Way {
    /// To the owner of its flow, by the ring of the port that it came by, with what is known about it.
    Passed(PortIndex, Passed),
    /// With a handoff.
    Handed(Handoff),
}

/// Packets on their way, each with the worker that it goes to.
type UnderWay = VecDeque<(usize, Box<Buffer>, Way)>;

/// Where the packets of one worker go.
struct Outputs<'a> {
    /// The number of workers among which the burst's packets are divided, and which of them this one is.
    divides: Option<(usize, usize)>,
    port: PortIndex,
    device_is_full: bool,
    sent: &'a mut Vec<Sent>,
    punted: &'a mut Vec<Punted>,
    under_way: &'a mut UnderWay,
}

impl Actions<Box<Buffer>> for Outputs<'_> {
    fn transmit(&mut self, port: PortIndex, frame: Box<Buffer>, stats: &mut Writer) {
        let sent = self.transmit_decided(port, frame, stats);
        stats.verdict(sent.map_or_else(Verdict::Dropped, |()| Verdict::Forwarded), 1);
    }

    fn transmit_decided(
        &mut self,
        port: PortIndex,
        frame: Box<Buffer>,
        _stats: &mut Writer,
    ) -> Result<(), DropReason> {
        if self.device_is_full {
            return Err(DropReason::TxFull);
        }
        self.sent.push((port, frame.bytes().to_vec()));
        Ok(())
    }

    fn punt(
        &mut self,
        port: PortIndex,
        class: Class,
        frame: Box<Buffer>,
        _stats: &mut Writer,
    ) -> Result<(), DropReason> {
        if self.device_is_full {
            return Err(DropReason::PuntQueueFull);
        }
        self.punted.push((port, class, frame.bytes().to_vec()));
        Ok(())
    }

    fn hand_off(&mut self, worker: u16, frame: Box<Buffer>, handoff: Handoff, _: &mut Writer) {
        self.under_way.push_back((worker.into(), frame, Way::Handed(handoff)));
    }
}

impl BurstActions<BufferBurst> for Outputs<'_> {
    fn transmit_burst(&mut self, port: PortIndex, burst: &mut BufferBurst, stats: &mut Writer) {
        burst.drain(..).for_each(|frame| self.transmit(port, frame, stats));
    }

    fn divides(&self) -> bool {
        self.divides.is_some()
    }

    fn pass(&mut self, passed: &Passed, frame: Box<Buffer>) -> Result<(), Box<Buffer>> {
        let (workers, own) = self.divides.expect("asked only if it divides");
        let owner = owner(passed.tag(), workers);
        if owner == own {
            return Err(frame);
        }
        self.under_way.push_back((owner, frame, Way::Passed(self.port, *passed)));
        Ok(())
    }
}

/// Takes the first packet out if it is passed on to this worker by the ring of this port.
fn next_passed(
    under_way: &mut UnderWay,
    worker: usize,
    port: PortIndex,
) -> Option<(Box<Buffer>, Passed)> {
    match under_way.pop_front()? {
        (to, frame, Way::Passed(by, passed)) if to == worker && by == port => Some((frame, passed)),
        other => {
            under_way.push_front(other);
            None
        }
    }
}

struct Worker {
    pipeline: Pipeline<Box<Buffer>, Buffers>,
    reader: Reader,
    batch: Batch<BufferBurst>,
}

/// Some workers, and the tables that they forward by.
pub(crate) struct Workers {
    setup: Setup,
    pub(crate) tables: Tables,
    workers: Vec<Worker>,
    now: u64,
    buffers: Buffers,
    /// Comes into force when a packet is passed on, before its owner takes it.
    pub(crate) meanwhile: Option<Setup>,
    /// Devices and the kernel take nothing.
    pub(crate) device_is_full: bool,
    /// What the kernel got.
    pub(crate) punted: Vec<Punted>,
}

impl Workers {
    pub(crate) fn new(setup: Setup) -> Workers {
        let buffers = Buffers(Rc::new(Cell::new(usize::MAX)));
        let seed = LocalSeed::new(1);
        let worker = |index| {
            let (writer, reader) = stats::channel(4, BACKEND_COUNT.into());
            let Setup { workers, steers, waiting, .. } = setup;
            let exceptions =
                Exceptions::new(index, workers, steers, waiting, seed, buffers.clone());
            let pipeline = Pipeline::new(Balancer::new(256, seed), writer, exceptions);
            Worker { pipeline, reader, batch: Batch::new() }
        };
        let workers = (0..setup.workers).map(worker).collect();
        let tables = setup.tables();
        Workers {
            setup,
            tables,
            workers,
            now: 1000,
            buffers,
            meanwhile: None,
            device_is_full: false,
            punted: Vec::new(),
        }
    }

    /// Publishes other tables.
    pub(crate) fn reload(&mut self, change: impl FnOnce(&mut Setup)) {
        self.setup.generation += 1;
        change(&mut self.setup);
        self.tables = self.setup.tables();
    }

    /// Publishes other tables as soon as a packet is on its way to the owner of its flow.
    pub(crate) fn reload_meanwhile(&mut self, change: impl FnOnce(&mut Setup)) {
        let mut setup = self.setup.clone();
        change(&mut setup);
        self.meanwhile = Some(setup);
    }

    /// Allows so many frames to be made from here on.
    pub(crate) fn limit_buffers(&mut self, left: usize) {
        self.buffers.0.set(left);
    }

    /// Lets time pass, and workers drop what has waited too long.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now += ms;
        for worker in &mut self.workers {
            worker.pipeline.expire_fragments(Time::from_millis(self.now), false);
        }
        self.check();
    }

    /// Lets workers drop what waits. Nothing waits then.
    pub(crate) fn finish(&mut self) {
        for worker in &mut self.workers {
            worker.pipeline.expire_fragments(Time::from_millis(self.now), true);
        }
        self.check();
        assert_eq!(self.waiting(), 0);
    }

    /// Receives frames in one burst, by a port and a worker. Returns what leaves because of them.
    pub(crate) fn receive(
        &mut self,
        worker: usize,
        port: PortIndex,
        frames: impl IntoIterator<Item = Buffer>,
    ) -> Vec<Sent> {
        let mut sent = Vec::new();
        let mut under_way = VecDeque::new();
        let burst: Vec<_> = frames.into_iter().map(Box::new).take(BURST).collect();
        self.workers[worker].pipeline.stats.add(Counter::Received, burst.len() as u64);
        let divides = self.setup.steers.then_some((self.workers.len(), worker));
        let enough = burst.len() * (self.workers.len() + 4);
        self.process(worker, port, divides, burst, &mut sent, &mut under_way);
        let mut steps = 0;
        while let Some((worker, frame, way)) = under_way.pop_front() {
            steps += 1;
            assert!(steps <= enough, "a packet circles among the workers");
            match way {
                Way::Passed(port, passed) => {
                    if let Some(setup) = self.meanwhile.take() {
                        self.reload(|now| *now = Setup { generation: now.generation, ..setup });
                    }
                    let mut burst = vec![(frame, passed)];
                    // What follows for the same worker comes in the same burst.
                    while let Some(next) = next_passed(&mut under_way, worker, port) {
                        burst.push(next);
                    }
                    let outputs = (&mut sent, &mut under_way);
                    self.process_passed(worker, port, burst, outputs);
                }
                Way::Handed(handoff) => {
                    self.receive_handoff(worker, frame, handoff, &mut sent, &mut under_way);
                }
            }
        }
        for worker in &mut self.workers {
            worker.pipeline.expire_fragments(Time::from_millis(self.now), false);
        }
        self.check();
        sent
    }

    /// Has the first worker send a packet of the node itself. Returns what leaves.
    pub(crate) fn send_pinned(&mut self, frame: Buffer) -> (Outcome, Vec<Sent>) {
        let mut sent = Vec::new();
        let actions = Outputs {
            divides: None,
            port: PortIndex::NONE,
            device_is_full: self.device_is_full,
            sent: &mut sent,
            punted: &mut self.punted,
            under_way: &mut VecDeque::new(),
        };
        let now = Time::from_millis(self.now);
        let mut round = Round { tables: &self.tables, now, actions };
        let outcome = self.workers[0].pipeline.send_pinned(&mut round, Box::new(frame));
        self.check();
        (outcome, sent)
    }

    fn process(
        &mut self,
        worker: usize,
        port: PortIndex,
        divides: Option<(usize, usize)>,
        burst: BufferBurst,
        sent: &mut Vec<Sent>,
        under_way: &mut UnderWay,
    ) {
        let device_is_full = self.device_is_full;
        let punted = &mut self.punted;
        let actions = Outputs { divides, port, device_is_full, sent, punted, under_way };
        let now = Time::from_millis(self.now);
        let mut round = Round { tables: &self.tables, now, actions };
        let Worker { pipeline, batch, .. } = &mut self.workers[worker];
        batch.burst = burst;
        pipeline.process(&mut round, port, batch);
        assert!(batch.burst.is_empty(), "every packet went somewhere");
    }

    fn process_passed(
        &mut self,
        worker: usize,
        port: PortIndex,
        burst: Vec<(Box<Buffer>, Passed)>,
        (sent, under_way): (&mut Vec<Sent>, &mut UnderWay),
    ) {
        let device_is_full = self.device_is_full;
        let punted = &mut self.punted;
        let actions = Outputs { divides: None, port, device_is_full, sent, punted, under_way };
        let now = Time::from_millis(self.now);
        let mut round = Round { tables: &self.tables, now, actions };
        let Worker { pipeline, batch, .. } = &mut self.workers[worker];
        let mut passed = [Passed::default(); BURST];
        for (place, (frame, known)) in passed.iter_mut().zip(burst) {
            *place = known;
            batch.burst.push(frame);
        }
        pipeline.process_passed(&mut round, port, batch, &passed);
        assert!(batch.burst.is_empty(), "every packet went somewhere");
    }

    fn receive_handoff(
        &mut self,
        worker: usize,
        frame: Box<Buffer>,
        handoff: Handoff,
        sent: &mut Vec<Sent>,
        under_way: &mut UnderWay,
    ) {
        let (port, device_is_full) = (CLIENTS, self.device_is_full);
        let punted = &mut self.punted;
        let actions = Outputs { divides: None, port, device_is_full, sent, punted, under_way };
        let now = Time::from_millis(self.now);
        let mut round = Round { tables: &self.tables, now, actions };
        self.workers[worker].pipeline.receive_handoff(&mut round, frame, handoff);
    }

    /// Fragments that wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.workers.iter().map(|worker| worker.reader.gauge(Gauge::FragmentsWaiting)).sum()
    }

    /// Every verdict that a packet ended in, with how many did.
    pub(crate) fn verdicts(&self) -> Vec<(Verdict, u64)> {
        let count = |verdict| self.workers.iter().map(|w| w.reader.verdict(verdict)).sum();
        Verdict::all().map(|verdict| (verdict, count(verdict))).filter(|&(_, n)| n > 0).collect()
    }

    /// Packets that the kernel got in a class.
    pub(crate) fn events(&self, class: Class) -> u64 {
        self.workers.iter().map(|worker| worker.reader.event(class.into())).sum()
    }

    /// Packets forwarded for the services.
    pub(crate) fn forwarded(&self) -> u64 {
        let of = |reader: &Reader| (0..4).map(|id| reader.service(id).packets).sum::<u64>();
        self.workers.iter().map(|worker| of(&worker.reader)).sum()
    }

    /// Received is the sum of the verdicts and of what waits. The live flows are those of the flow tables.
    fn check(&self) {
        for Worker { pipeline, reader, .. } in &self.workers {
            let flows = pipeline.balancer.flows().len() as u64;
            assert_eq!((0..4).map(|id| reader.service(id).live).sum::<u64>(), flows);
            let backends = 0..usize::from(BACKEND_COUNT);
            assert_eq!(backends.map(|id| reader.backend(id).live).sum::<u64>(), flows);
        }
        let received: u64 =
            self.workers.iter().map(|worker| worker.reader.counter(Counter::Received)).sum();
        let verdicts: u64 = self.workers.iter().map(|worker| worker.reader.verdicts()).sum();
        assert_eq!(received, verdicts + self.waiting(), "{:?}", self.verdicts());
    }
}
