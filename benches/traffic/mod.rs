//! Traffic of one kind: packets, the tables for them, and a worker's pipeline that processes them.
//!
//! A [`Traffic`] has [`PACKETS`] packets, each of its own flow, spread over all its services. The code that processes
//! them is the workers' own ([`Pipeline`]), over frames in ordinary memory. [`Traffic::reset`] restores every packet,
//! and the flow table with or without the flows. Allocations and comparisons happen there or after the measurement.
#![allow(
    unreachable_pub,
    dead_code,
    reason = "a module of several benchmarks, each with its needs"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use etherparse::PacketBuilder;
use guideway_core::balancer::action::{Actions, BurstActions};
use guideway_core::balancer::backend::{Backend, Leaving, MssLimit, Pool, Route, Serving};
use guideway_core::balancer::burst::Batch;
use guideway_core::balancer::conntrack::Timeouts;
use guideway_core::balancer::encapsulation::{Encapsulation, Parameters, Template, Tunnel};
use guideway_core::balancer::exception::Exceptions;
use guideway_core::balancer::frame::{BURST, Buffer, BufferBurst, Buffers};
use guideway_core::balancer::handoff::Handoff;
use guideway_core::balancer::hash::{FleetKey, LocalSeed};
use guideway_core::balancer::id::{PolicyIndex, PoolIndex, PortIndex, ServiceId};
use guideway_core::balancer::node::Node;
use guideway_core::balancer::pin::Pins;
use guideway_core::balancer::pipeline::{Pipeline, Round};
use guideway_core::balancer::port::Port;
use guideway_core::balancer::punt::Class;
use guideway_core::balancer::services::{Service, ServiceAddress};
use guideway_core::balancer::tables::TableSpec;
use guideway_core::balancer::{Balancer, Frame, Tables, Time, fragment, maglev};
use guideway_core::stats::{self, DropReason, Writer};
use guideway_core::wire::{Packet, protocol};

/// BufferBurst of a [`Traffic`], a multiple of [`BURST`].
pub const PACKETS: usize = 1024;
/// Entries of the flow table: enough that no bucket is full.
const FLOW_ENTRIES: usize = 16 * PACKETS;

pub const KEY: FleetKey = FleetKey::new([0x5a; 16]);
pub const TIMEOUTS: Timeouts = Timeouts::DEFAULT;
pub const SEED: u64 = 0x6775_6964_6577_6179;
pub const PORT: PortIndex = PortIndex(0);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ip {
    V4,
    V6,
}

/// The transport of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Ack,
    Syn,
    Udp,
}

/// A kind of traffic.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub inner: Ip,
    pub outer: Ip,
    pub transport: Transport,
    /// The flow table has the packets' flows.
    pub known: bool,
    /// The packets have a VLAN tag.
    pub tagged: bool,
    pub services: u32,
    /// Number of backends; all services share them.
    pub backends: u32,
    pub encapsulation: Encapsulation,
    /// The packets are for the services.
    pub wanted: bool,
    /// BufferBurst that a worker receives at once, a divisor of [`PACKETS`].
    pub burst: usize,
    /// Every fourth packet is a SYN, so that the fast path serves a part of each burst only.
    pub mixed: bool,
}

impl Kind {
    /// TCP segments of known flows over IPv4, tunnelled over IPv4, for one service.
    pub const HIT: Kind = Kind {
        inner: Ip::V4,
        outer: Ip::V4,
        transport: Transport::Ack,
        known: true,
        tagged: false,
        services: 1,
        backends: 100,
        encapsulation: Encapsulation::Gre,
        wanted: true,
        burst: BURST,
        mixed: false,
    };
}

/// Bytes before a frame, as in an mbuf.
const HEADROOM: usize = 128;

type Worker = Pipeline<Box<Buffer>, Buffers>;

/// Where processed packets go: the burst of the next round.
struct Sent(BufferBurst);

impl Actions<Box<Buffer>> for &mut Sent {
    #[inline]
    fn transmit(&mut self, _port: PortIndex, frame: Box<Buffer>, _stats: &mut Writer) {
        self.0.push(frame);
    }

    fn transmit_decided(
        &mut self,
        _port: PortIndex,
        frame: Box<Buffer>,
        _stats: &mut Writer,
    ) -> Result<(), DropReason> {
        self.0.push(frame);
        Ok(())
    }

    fn punt(
        &mut self,
        _port: PortIndex,
        class: Class,
        _frame: Box<Buffer>,
        _stats: &mut Writer,
    ) -> Result<(), DropReason> {
        unreachable!("no port has an interface, but a packet is punted as {class:?}");
    }

    fn hand_off(&mut self, _: u16, _: Box<Buffer>, handoff: Handoff, _: &mut Writer) {
        unreachable!("the only worker hands {handoff:?} to another");
    }
}

impl BurstActions<BufferBurst> for &mut Sent {
    #[inline]
    fn transmit_burst(&mut self, _port: PortIndex, burst: &mut BufferBurst, _stats: &mut Writer) {
        self.0.append(burst);
    }

    #[inline]
    fn divides(&self) -> bool {
        false
    }

    #[inline]
    fn pass(&mut self, _tag: u64, frame: Box<Buffer>) -> Result<(), Box<Buffer>> {
        Err(frame)
    }
}

/// BufferBurst, and a worker's pipeline for them.
pub struct Traffic {
    kind: Kind,
    tables: Tables,
    worker: Worker,
    batch: Batch<BufferBurst>,
    sent: Sent,
    /// The frames as they arrive.
    frames: Vec<Vec<u8>>,
    bursts: Vec<BufferBurst>,
}

impl Traffic {
    pub fn new(kind: Kind) -> Traffic {
        assert!(PACKETS.is_multiple_of(kind.burst) && kind.burst <= BURST);
        let limits = fragment::Capacity {
            datagrams: 1,
            packets: 1,
            bytes: 1,
            packets_per_datagram: 1,
            timeout_ms: 1,
        };
        let seed = LocalSeed::new(SEED);
        let buffers = Buffers { headroom: HEADROOM, room: 2048 };
        let exceptions = Exceptions::new(0, 1, true, limits, seed, buffers);
        let (counters, _) = stats::channel(kind.services as usize, kind.backends as usize);
        let worker = Pipeline::new(Balancer::new(FLOW_ENTRIES, seed), counters, exceptions);
        let mut batch = Batch::new();
        batch.burst = Vec::with_capacity(BURST);
        let mut traffic = Traffic {
            kind,
            tables: tables(kind),
            worker,
            batch,
            sent: Sent(Vec::with_capacity(BURST)),
            frames: (0..PACKETS).map(|n| frame(kind, n)).collect(),
            bursts: vec![Vec::new(); PACKETS / kind.burst],
        };
        traffic.reset();
        traffic
    }

    /// Restores packets and flow table.
    pub fn reset(&mut self) {
        for (burst, frames) in self.bursts.iter_mut().zip(self.frames.chunks(self.kind.burst)) {
            // BufferBurst that were dropped are gone.
            if burst.len() < frames.len() {
                *burst = Vec::with_capacity(BURST);
                burst.extend(frames.iter().map(|frame| Box::new(Buffer::new(frame, HEADROOM))));
            }
            for (buffer, frame) in burst.iter_mut().zip(frames) {
                buffer.refill(frame, HEADROOM).expect("as much room as before");
            }
        }
        if !self.kind.known {
            self.worker.restart(Balancer::new(FLOW_ENTRIES, LocalSeed::new(SEED)));
        } else if self.worker.balancer.flows().is_empty() {
            // The second packet, later, confirms the flow.
            assert_eq!(self.decide_at(BEFORE), PACKETS, "every flow has a backend");
            assert_eq!(self.decide_at(NOW), PACKETS, "every flow has a backend");
            assert_eq!(self.worker.balancer.flows().len(), PACKETS, "every flow is recorded");
        }
    }

    fn buffers(&self) -> impl Iterator<Item = &Buffer> {
        self.bursts.iter().flatten().map(|buffer| &**buffer)
    }

    /// Parses with the full parser.
    #[inline]
    pub fn parse(&mut self) -> usize {
        self.buffers().filter(|frame| black_box(Packet::parse(frame.bytes())).is_ok()).count()
    }

    /// Classifies and decides by the full path, one packet after another. Returns how many packets have a backend.
    #[inline]
    pub fn decide(&mut self) -> usize {
        self.decide_at(NOW)
    }

    #[inline]
    fn decide_at(&mut self, now: Time) -> usize {
        let Traffic { worker, tables, bursts, .. } = self;
        let mut decide = |frame: &Buffer| {
            let classified = worker.balancer.classify(tables, PORT, frame.bytes()).ok()?;
            worker.balancer.decide(tables, frame.bytes(), &classified, now).ok()
        };
        bursts.iter().flatten().filter(|frame| black_box(decide(frame)).is_some()).count()
    }

    /// Sweeps the flow table, which has four buckets for each packet. Returns how many flows are left.
    #[inline]
    pub fn sweep(&mut self) -> usize {
        let Traffic { worker, tables, .. } = self;
        while !worker.balancer.sweep(tables, NOW) {}
        worker.balancer.flows().len()
    }

    /// Only moves the bursts: the cost of measuring.
    #[inline]
    pub fn nothing(&mut self) -> usize {
        self.each_burst(|_, round, batch| {
            round.actions.0.append(black_box(&mut batch.burst));
        })
    }

    /// The first step of a worker: parses, looks up the service and hashes.
    #[inline]
    pub fn classify(&mut self) -> usize {
        self.each_burst(|worker, round, batch| {
            worker.classify(round.tables, PORT, batch);
            round.actions.0.append(black_box(&mut batch.burst));
        })
    }

    /// All that a worker does with a burst, up to its outputs. Returns how many packets can be sent.
    #[inline]
    pub fn process(&mut self) -> usize {
        self.each_burst(|worker, round, batch| worker.process(round, PORT, batch))
    }

    /// Takes a step for each burst. Returns how many packets were sent.
    #[inline]
    fn each_burst(
        &mut self,
        mut step: impl FnMut(&mut Worker, &mut Round<'_, &mut Sent>, &mut Batch<BufferBurst>),
    ) -> usize {
        let Traffic { worker, tables, batch, sent, bursts, .. } = self;
        let mut count = 0;
        for burst in bursts {
            std::mem::swap(burst, &mut batch.burst);
            step(worker, &mut Round { tables, now: NOW, actions: &mut *sent }, batch);
            // What was sent, in the order of its arrival, is the next burst.
            std::mem::swap(burst, &mut batch.burst);
            std::mem::swap(burst, &mut sent.0);
            count += burst.len();
        }
        count
    }
}

/// The time at which all packets arrive.
const NOW: Time = Time::from_millis(1_000_000);
/// When the flows in the table began.
const BEFORE: Time = Time::from_millis(990_000);

/// The address of a service. All differ, and they are irregular: a hash may suit regular addresses too
/// well.
pub fn virtual_address(ip: Ip, service: u32) -> IpAddr {
    let mixed = service.wrapping_mul(0x9e_3779) & 0xff_ffff;
    let host = (mixed ^ mixed >> 12).wrapping_mul(0x85_ebcb) & 0xff_ffff;
    match ip {
        Ip::V4 => Ipv4Addr::from_bits(0xcb00_0000 | host).into(),
        Ip::V6 => Ipv6Addr::from_bits(0x2001_0db8_000f << 80 | u128::from(host)).into(),
    }
}

/// The packet of the flow with this number.
pub fn frame(kind: Kind, number: usize) -> Vec<u8> {
    let number = u32::try_from(number).expect("far fewer packets");
    let service = number % kind.services + if kind.wanted { 0 } else { kind.services };
    let source_port = u16::try_from(1024 + number % 60_000).expect("below 65536");
    let link = PacketBuilder::ethernet2(PEER, MAC);
    let ip = match virtual_address(kind.inner, service) {
        IpAddr::V4(to) => {
            let from = Ipv4Addr::from_bits(0xc633_6400 + number % 251);
            let header =
                etherparse::Ipv4Header::new(0, 64, Default::default(), from.octets(), to.octets());
            etherparse::IpHeaders::Ipv4(header.expect("a short packet"), Default::default())
        }
        IpAddr::V6(to) => {
            let from = Ipv6Addr::from_bits(0x2001_0db8_000c << 80 | u128::from(number % 251));
            let header = etherparse::Ipv6Header {
                hop_limit: 64,
                source: from.octets(),
                destination: to.octets(),
                ..Default::default()
            };
            etherparse::IpHeaders::Ipv6(header, Default::default())
        }
    };
    let network = if kind.tagged {
        link.single_vlan(etherparse::VlanId::try_new(100).expect("12 bits")).ip(ip)
    } else {
        link.ip(ip)
    };
    let mut frame = Vec::new();
    let transport = if kind.mixed && number % 4 == 3 { Transport::Syn } else { kind.transport };
    let written = match transport {
        Transport::Udp => network.udp(source_port, 80).write(&mut frame, &[0; 18]),
        Transport::Ack => network.tcp(source_port, 80, 1, 65_535).ack(1).write(&mut frame, &[]),
        Transport::Syn => network.tcp(source_port, 80, 1, 65_535).syn().write(&mut frame, &[]),
    };
    written.expect("a packet that can be written");
    // The shortest Ethernet frame without its checksum, as a device delivers it.
    frame.resize(frame.len().max(60), 0);
    frame
}

/// Backends 0, 1, ... of equal weight.
pub fn members(count: u32) -> Vec<maglev::Candidate> {
    (0..count)
        .map(|value| {
            let identity = Ipv4Addr::from_bits(0x0a00_0000 + value).to_ipv6_mapped().octets();
            maglev::Candidate { identity, weight: 1, value }
        })
        .collect()
}

/// A worker's tables for traffic of this kind.
pub fn tables(kind: Kind) -> Tables {
    let pool = PoolIndex(0);
    let number = match kind.transport {
        Transport::Udp => protocol::UDP,
        Transport::Ack | Transport::Syn => protocol::TCP,
    };
    let backend = |n: u32| {
        let (source, destination) = match kind.outer {
            Ip::V4 => ([192, 0, 2, 1].into(), Ipv4Addr::from_bits(0x0a00_0000 + n).into()),
            Ip::V6 => (
                IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | 1)),
                Ipv6Addr::from_bits(0x2001_0db8_000b << 80 | u128::from(n)).into(),
            ),
        };
        let tunnel = Tunnel { source_mac: MAC, destination_mac: PEER, source, destination };
        let parameters = Parameters { vni: Some(1), ..Parameters::default() };
        let template = Template::with(kind.encapsulation, &parameters, &tunnel, 1600);
        let template = template.expect("one family");
        Backend {
            pool,
            serving: Serving::All,
            leaving: Leaving::NONE,
            weight: 1,
            route: Some(Route { port: PORT, template }),
            mss: MssLimit::NONE,
            since: 0,
        }
    };
    // At least a hundred slots for each backend.
    let slots = if kind.backends > 655 { 1_000_003 } else { 65_537 };
    Tables::new(TableSpec {
        generation: 1,
        fleet: KEY,
        timeouts: TIMEOUTS,
        ports: vec![Port { mac: Some(MAC) }],
        services: (0..kind.services)
            .map(|n| {
                let endpoint = ServiceAddress::new(virtual_address(kind.inner, n), number, 80);
                (
                    endpoint,
                    Service { id: ServiceId(n), pool, policy: PolicyIndex(0), fragments: true },
                )
            })
            .collect(),
        pools: vec![Pool::new(Arc::new(maglev::Table::build(
            &KEY,
            slots,
            &members(kind.backends),
        )))],
        vips: Vec::new(),
        node: Node::default(),
        pins: Pins::default(),
        backends: (0..kind.backends).map(backend).collect(),
    })
}
