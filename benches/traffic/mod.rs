//! Traffic of one kind: packets, the tables for them, and functions that process them up to some step.
//!
//! A [`Traffic`] has [`PACKETS`] packets, each of its own flow, spread over all its services.
//! [`Traffic::reset`] restores every packet, and the flow table with or without the flows. Allocations and
//! comparisons happen there or after the measurement.
#![allow(
    unreachable_pub,
    dead_code,
    reason = "a module of several benchmarks, each with its needs"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use etherparse::PacketBuilder;
use guideway_core::balancer::backend::{Backend, MssLimit, Pool, Route, Serving};
use guideway_core::balancer::classify::Unserved;
use guideway_core::balancer::conntrack::Timeouts;
use guideway_core::balancer::encapsulation::{Encapsulation, Parameters, Template, Tunnel};
use guideway_core::balancer::hash::{FleetKey, LocalSeed};
use guideway_core::balancer::id::{BackendId, PoolIndex, PortIndex, ServiceId};
use guideway_core::balancer::node::Node;
use guideway_core::balancer::port::Port;
use guideway_core::balancer::services::{Service, ServiceAddress};
use guideway_core::balancer::tables::TableSpec;
use guideway_core::balancer::{
    Balancer, FlowEvent, Frame, PacketMeta, PlainParse, Tables, Time, maglev,
};
use guideway_core::stats::{self, Event};
use guideway_core::wire::{Packet, protocol};

/// Packets of a [`Traffic`], a multiple of [`BURST`].
pub const PACKETS: usize = 1024;
/// Packets that a worker receives at once.
pub const BURST: usize = 32;
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
    };
}

/// A frame in a buffer of fixed size, like an mbuf.
pub struct Slot {
    memory: [u8; Slot::SIZE],
    start: usize,
    end: usize,
    /// The frame's first bytes, to restore them after encapsulation.
    head: [u8; Slot::HEAD],
    length: usize,
}

impl Slot {
    const SIZE: usize = 320;
    const HEADROOM: usize = 128;
    const HEAD: usize = 32;

    fn new(frame: &[u8]) -> Slot {
        let mut memory = [0; Slot::SIZE];
        memory[Slot::HEADROOM..Slot::HEADROOM + frame.len()].copy_from_slice(frame);
        let mut head = [0; Slot::HEAD];
        head.copy_from_slice(&frame[..Slot::HEAD]);
        let end = Slot::HEADROOM + frame.len();
        Slot { memory, start: Slot::HEADROOM, end, head, length: frame.len() }
    }

    fn reset(&mut self) {
        (self.start, self.end) = (Slot::HEADROOM, Slot::HEADROOM + self.length);
        self.memory[self.start..self.start + Slot::HEAD].copy_from_slice(&self.head);
    }
}

impl Frame for Slot {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    #[inline]
    fn truncate(&mut self, length: usize) {
        self.end = self.end.min(self.start + length);
    }

    #[inline]
    fn push_front(&mut self, n: usize) -> Option<&mut [u8]> {
        self.start = self.start.checked_sub(n)?;
        Some(&mut self.memory[self.start..self.end])
    }

    #[inline]
    fn wrap<const N: usize>(&mut self, length: u16) -> Option<&mut [u8; N]> {
        let end = self.start + 14 + usize::from(length);
        self.start = self.start.checked_sub(N - 14).filter(|_| end <= self.end)?;
        self.end = end;
        self.memory[self.start..self.end].first_chunk_mut()
    }

    #[inline]
    fn pull_front(&mut self, n: usize) -> Option<&mut [u8]> {
        self.start = self.start.checked_add(n).filter(|&start| start <= self.end)?;
        Some(&mut self.memory[self.start..self.end])
    }
}

/// Packets, and a balancer for them.
pub struct Traffic {
    kind: Kind,
    tables: Tables,
    balancer: Balancer,
    counters: stats::Writer,
    frames: Vec<Slot>,
    meta: [PacketMeta; BURST],
}

impl Traffic {
    pub fn new(kind: Kind) -> Traffic {
        let (counters, _) = stats::channel(kind.services as usize, kind.backends as usize);
        let frames = (0..PACKETS).map(|n| Slot::new(&frame(kind, n))).collect();
        let balancer = Balancer::new(FLOW_ENTRIES, LocalSeed::new(SEED));
        let mut traffic = Traffic {
            kind,
            tables: tables(kind),
            balancer,
            counters,
            frames,
            meta: [PacketMeta::NONE; BURST],
        };
        traffic.reset();
        traffic
    }

    /// Restores packets and flow table.
    pub fn reset(&mut self) {
        if !self.kind.known {
            self.balancer = Balancer::new(FLOW_ENTRIES, LocalSeed::new(SEED));
        } else if self.balancer.flows().is_empty() {
            // The second packet, later, confirms the flow.
            assert_eq!(self.decide_at(BEFORE), PACKETS, "every flow has a backend");
            assert_eq!(self.decide_at(NOW), PACKETS, "every flow has a backend");
            assert_eq!(self.balancer.flows().len(), PACKETS, "every flow is recorded");
        }
        self.frames.iter_mut().for_each(Slot::reset);
    }

    /// Only visits the frames: the cost of measuring.
    #[inline]
    pub fn nothing(&mut self) -> usize {
        self.frames.iter().filter(|frame| !black_box(frame.bytes()).is_empty()).count()
    }

    /// Parses with the full parser.
    #[inline]
    pub fn parse(&mut self) -> usize {
        self.frames.iter().filter(|frame| black_box(Packet::parse(frame.bytes())).is_ok()).count()
    }

    /// Parses, looks up the service and hashes, in bursts as a worker does. Returns how many packets have a
    /// service.
    #[inline]
    pub fn classify_bursts(&mut self) -> usize {
        let Traffic { balancer, tables, frames, meta, .. } = self;
        let mut served = 0;
        for burst in frames.chunks_exact(meta.len()) {
            for (place, frame) in meta.iter_mut().zip(burst) {
                let outcome = parse_plain(balancer, tables, frame, place);
                served += usize::from(outcome == PlainParse::Served);
            }
            black_box(&meta);
        }
        served
    }

    /// As [`Traffic::classify_bursts`], then finds the backends. Returns how many packets have one.
    #[inline]
    pub fn decide(&mut self) -> usize {
        self.decide_at(NOW)
    }

    #[inline]
    fn decide_at(&mut self, now: Time) -> usize {
        let Traffic { balancer, tables, frames, .. } = self;
        let mut decide = |frame: &Slot| {
            let classified = balancer.classify(tables, PORT, frame.bytes()).ok()?;
            balancer.decide(tables, frame.bytes(), &classified, now).ok()
        };
        frames.iter().filter(|frame| black_box(decide(frame)).is_some()).count()
    }

    /// As [`Traffic::decide`], then encapsulates. Returns how many packets can be sent.
    #[inline]
    pub fn forward(&mut self) -> usize {
        let Traffic { balancer, tables, frames, .. } = self;
        let mut meta = PacketMeta::NONE;
        let mut forward = |frame: &mut Slot| {
            let outcome = parse_plain(balancer, tables, frame, &mut meta);
            if outcome == PlainParse::Served {
                balancer.lookup(tables, &mut meta, NOW);
                if let Some(port) = balancer.encapsulate_gre(tables, &mut meta, frame) {
                    return Some(port);
                }
            }
            forward_any(balancer, tables, &meta, outcome, frame).ok().map(|(_, _, port)| port)
        };
        let mut forwarded = 0;
        for frame in frames {
            forwarded += usize::from(black_box(forward(frame)).is_some());
        }
        forwarded
    }

    /// As [`Traffic::forward`], in bursts as a worker does: classifies a burst, then decides.
    #[inline]
    pub fn forward_bursts(&mut self) -> usize {
        self.bursts::<false>()
    }

    /// As [`Traffic::forward_bursts`], with all of a worker's counters.
    #[inline]
    pub fn forward_counted(&mut self) -> usize {
        self.bursts::<true>()
    }

    #[inline]
    fn bursts<const COUNT: bool>(&mut self) -> usize {
        let Traffic { balancer, tables, frames, meta, counters, .. } = self;
        let mut forwarded = 0;
        for burst in frames.chunks_exact_mut(meta.len()) {
            let (mut outcomes, mut hits) = ([PlainParse::NotPlain; BURST], 0);
            for ((place, outcome), frame) in meta.iter_mut().zip(&mut outcomes).zip(&*burst) {
                *outcome = parse_plain(balancer, tables, frame, place);
                // Here a worker prefetches the bucket.
                black_box(balancer.flows().bucket(place.tag));
            }
            for meta in meta.iter_mut() {
                balancer.lookup(tables, meta, NOW);
            }
            for ((meta, outcome), frame) in meta.iter_mut().zip(outcomes).zip(burst) {
                let length = frame.bytes().len() as u64;
                let fast = match outcome {
                    PlainParse::Served => balancer.encapsulate_gre(tables, meta, frame),
                    _ => None,
                };
                let (flow, backend) = match fast {
                    Some(port) => {
                        black_box(port);
                        (FlowEvent::Hit, meta.backend)
                    }
                    None => match forward_any(balancer, tables, meta, outcome, frame) {
                        Ok((flow, backend, _)) => (flow, backend),
                        Err(_) => continue,
                    },
                };
                forwarded += 1;
                if COUNT {
                    let service = meta.service.id.0 as usize;
                    counters.traffic().count(service, backend.index(), length);
                    if flow.is_choice() {
                        counters.event(flow.into(), 1);
                        counters.begins(service, backend.index());
                    } else {
                        hits += 1;
                    }
                }
            }
            if COUNT {
                counters.event(Event::FlowHit, hits);
            }
        }
        forwarded
    }
}

/// The first step of the fast path.
#[inline(always)]
fn parse_plain(
    balancer: &Balancer,
    tables: &Tables,
    frame: &Slot,
    to: &mut PacketMeta,
) -> PlainParse {
    match frame.bytes().first_chunk() {
        Some(head) => balancer.parse_plain(tables, &tables.frame_filter(PORT), head, frame, to),
        None => PlainParse::NotPlain,
    }
}

/// The full path, for packets that the fast path does not serve.
#[inline(never)]
fn forward_any(
    balancer: &mut Balancer,
    tables: &Tables,
    meta: &PacketMeta,
    outcome: PlainParse,
    frame: &mut Slot,
) -> Result<(FlowEvent, BackendId, PortIndex), Unserved> {
    let classified = match meta.classified(frame.bytes()) {
        Some(classified) if outcome == PlainParse::Served => classified,
        _ => balancer.classify_not_served(tables, PORT, frame.bytes(), outcome, meta)?,
    };
    let decision = balancer.decide(tables, frame.bytes(), &classified, NOW)?;
    let port = balancer.encapsulate(tables, &classified, decision.backend, frame)?;
    Ok((decision.flow, decision.backend, black_box(port)))
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
    let written = match kind.transport {
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
                (endpoint, Service { id: ServiceId(n), pool, fragments: true })
            })
            .collect(),
        pools: vec![Pool {
            maglev: Arc::new(maglev::Table::build(&KEY, slots, &members(kind.backends))),
        }],
        vips: Vec::new(),
        node: Node::default(),
        backends: (0..kind.backends).map(backend).collect(),
    })
}
