//! The balancer's fast path and full path over a sequence of frames, in every encapsulation there is.
//!
//! An input is a sequence of steps: a control byte, a byte of elapsed time, a length, and so many bytes of
//! frame. Bits of the control byte: bit 0 selects the tables (all backends, or some draining and disabled), bit 1
//! the port (any MAC, or one MAC), bit 2 makes the elapsed time minutes rather than milliseconds. Bits 3 and 4 select
//! tables as those of bit 0 from whose draining backends flows move, or get a reset.
//!
//! Both paths must send the same bytes. The full path's frame is checked in general, and for encapsulations
//! whose header this file knows, field by field. A new encapsulation needs no change here.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use guideway_core::balancer::backend::{
    Backend, Fate, Leaving, MssLimit, PolicySet, Pool, Route, Serving,
};
use guideway_core::balancer::classify::Unserved;
use guideway_core::balancer::conntrack::Timeouts;
use guideway_core::balancer::encapsulation::{
    Any, Encapsulation, GreKey, Parameters, Setting, Template, Tunnel, UdpChecksum,
};
use guideway_core::balancer::frame::Buffer;
use guideway_core::balancer::hash::{FleetKey, LocalSeed};
use guideway_core::balancer::id::{PolicyIndex, PoolIndex, PortIndex, ServiceId};
use guideway_core::balancer::node::Node;
use guideway_core::balancer::pin::Pins;
use guideway_core::balancer::port::Port;
use guideway_core::balancer::services::{Service, ServiceAddress};
use guideway_core::balancer::tables::TableSpec;
use guideway_core::balancer::{
    Balancer, DropReason, FlowEvent, Frame, PacketMeta, Tables, Time, maglev,
};
use guideway_core::wire::{Family, Packet, ethernet, gre, hops, protocol, tcp, udp};

/// Steps of one input; more would find nothing new.
const STEPS: usize = 32;

/// Entries of the flow table: few, so that buckets fill up.
const FLOWS: usize = 16;

const MTU: u16 = 200;
const HEADROOM: usize = 128;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Tables in which every backend is active, and tables in which some are draining and some disabled. For each there
/// is one from whose draining backends no flow goes, one from which those of TCP move and those of UDP are reset, one
/// from which it is the other way about, and one from which all move.
static TABLES: LazyLock<[[Tables; 2]; 4]> = LazyLock::new(|| {
    let policies = |policies: &[u8]| {
        let set = PolicySet::default();
        policies.iter().fold(set, |set, &policy| set.with(PolicyIndex(policy)))
    };
    [(&[][..], &[][..]), (&[0], &[1]), (&[1], &[0]), (&[0, 1], &[])].map(|(moved, reset)| {
        let leaving = Leaving { moved: policies(moved), reset: policies(reset) };
        [
            tables(1, [Serving::All, Serving::All, Serving::All], leaving),
            tables(2, [Serving::Existing, Serving::Nothing, Serving::All], leaving),
        ]
    })
});

fn tables(generation: u64, serving: [Serving; 3], leaving: Leaving) -> Tables {
    let fleet = FleetKey::new([7; 16]);
    let v4 = |address: [u8; 4], number, port| ServiceAddress::new(address.into(), number, port);
    let v6 = |number, port| {
        ServiceAddress::new(
            IpAddr::from(0x2001_0db8_0000_0000_0000_0000_0000_0010u128.to_be_bytes()),
            number,
            port,
        )
    };
    // The policy is 0 for TCP and 1 for UDP.
    let service = |id, pool| Service {
        id: ServiceId(id),
        pool: PoolIndex(pool),
        policy: PolicyIndex(u8::from(pool == 1)),
        fragments: true,
    };
    let services = vec![
        (v4([203, 0, 113, 10], protocol::TCP, 80), service(0, 0)),
        (v4([203, 0, 113, 10], protocol::UDP, 53), service(1, 1)),
        (v6(protocol::TCP, 80), service(2, 0)),
        (v6(protocol::UDP, 53), service(3, 1)),
        (v4([203, 0, 113, 11], protocol::TCP, 80), service(4, 2)),
    ];
    // Pools 0 and 1 have an IPv4 and an IPv6 backend for every second encapsulation. Pool 0 also has a backend
    // whose next hop is unknown, and pool 2 has no backend.
    let mut routes = vec![(0, None)];
    for (pool, &(_, encapsulation)) in [0, 1].into_iter().cycle().zip(Encapsulation::NAMES) {
        for tunnel in [("192.0.2.64", "10.0.0.5"), ("2001:db8::1", "2001:db8:b::2")] {
            routes.push((pool, Some(route(encapsulation, tunnel))));
        }
    }
    let backends: Vec<_> = routes
        .into_iter()
        .zip(serving.into_iter().cycle())
        .map(|((pool, route), serving)| Backend {
            pool: PoolIndex(pool),
            serving,
            leaving,
            weight: 1,
            route,
            mss: MssLimit::NONE,
            since: 0,
        })
        .collect();
    let pools = (0..3).map(|pool| {
        let members: Vec<_> = (0u8..)
            .zip(&backends)
            .filter(|(_, backend)| {
                backend.pool == PoolIndex(pool) && backend.serving == Serving::All
            })
            .map(|(number, _)| maglev::Candidate {
                identity: [number; 16],
                weight: 1,
                value: number.into(),
            })
            .collect();
        Pool::new(Arc::new(maglev::Table::build(&fleet, 251, &members)))
    });
    Tables::new(TableSpec {
        generation,
        fleet,
        timeouts: Timeouts::DEFAULT,
        ports: vec![Port { mac: None }, Port { mac: Some(MAC) }],
        services,
        vips: Vec::new(),
        pools: pools.collect(),
        backends,
        node: Node::default(),
        pins: Pins::default(),
    })
}

fn route(encapsulation: Encapsulation, (source, destination): (&str, &str)) -> Route {
    let tunnel = Tunnel {
        source_mac: MAC,
        destination_mac: [2, 0, 0, 0, 0, 0xfe],
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    };
    // Plain GRE has no key, so that the fast path serves it.
    let is_keyed = encapsulation.uses(Setting::GreKey) && encapsulation != Encapsulation::Gre;
    let parameters = Parameters {
        gre_key: is_keyed.then_some(GreKey::Flow),
        udp_checksum: Some(UdpChecksum::Compute),
        ..Parameters::default()
    };
    let template = Template::with(encapsulation, &parameters, &tunnel, MTU).expect("one family");
    let template = match encapsulation {
        Encapsulation::Gre => template,
        _ => template.with_source_prefix(26),
    };
    Route { port: PortIndex(0), template }
}

/// Every frame is sent or dropped. A frame that is sent is the frame received, encapsulated in well-formed
/// headers, and both paths send the same.
pub fn run(input: &[u8]) {
    let mut balancer = Balancer::new(FLOWS, LocalSeed::new(1));
    // Tries the fast path first.
    let mut fast = Balancer::new(FLOWS, LocalSeed::new(1));
    let mut now = 0;
    let mut rest = input;
    for _ in 0..STEPS {
        let [control, elapsed, length, bytes @ ..] = rest else { return };
        let (frame, next) = bytes.split_at(usize::from(*length).min(bytes.len()));
        rest = next;
        now += u64::from(*elapsed) * if control & 4 == 0 { 1 } else { 60_000 };
        let tables = &TABLES[usize::from(control >> 3 & 3)][usize::from(control & 1)];
        let port = PortIndex(u16::from(control >> 1 & 1));
        let now = Time::from_millis(now);
        let repaired = super::repaired(frame);
        let frame = repaired.as_deref().unwrap_or(frame);
        let sent = full_path(&mut balancer, tables, port, frame, now);
        assert_eq!(fast_path(&mut fast, tables, port, frame, now), sent);
        balancer.sweep(tables, now);
        fast.sweep(tables, now);
        let flows = |balancer: &Balancer| -> Vec<_> {
            let entries = balancer.flows().entries(0..usize::MAX, now, tables.timeouts());
            entries.map(|(tag, entry)| (tag, entry.backend(), entry.idle_ms(now))).collect()
        };
        assert_eq!(flows(&balancer), flows(&fast));
        assert!(balancer.flows().len() <= balancer.flows().capacity());
    }
}

/// The frame that is sent by the fast path, or by the full path if the fast path does not serve it.
fn fast_path(
    balancer: &mut Balancer,
    tables: &Tables,
    port: PortIndex,
    frame: &[u8],
    now: Time,
) -> Option<Vec<u8>> {
    let classified = balancer.classify(tables, port, frame);
    let mut buffer = Buffer::new(frame, HEADROOM);
    let mut meta = PacketMeta::NONE;
    if let Some(head) = frame.first_chunk() {
        let filter = tables.frame_filter(port);
        let outcome = balancer.parse_plain(tables, &filter, head, &buffer, &mut meta);
        if outcome.is_served() {
            assert_eq!(meta.classified(frame), classified.ok());
            meta.look_up(&mut balancer.homes(), tables, now);
            if balancer.rewrite::<Any>(tables, &mut meta, &mut buffer).is_some() {
                return Some(buffer.bytes().to_vec());
            }
        } else {
            assert_eq!(
                balancer.classify_not_served(tables, port, frame, outcome, &meta),
                classified
            );
        }
    }
    let classified = classified.ok()?;
    let decision = balancer.decide(tables, frame, &classified, now).ok()?;
    let sent = balancer.encapsulate(tables, &classified, decision.backend, &mut buffer);
    sent.is_ok().then(|| buffer.bytes().to_vec())
}

/// The frame that is sent by the full path.
fn full_path(
    balancer: &mut Balancer,
    tables: &Tables,
    port: PortIndex,
    frame: &[u8],
    now: Time,
) -> Option<Vec<u8>> {
    let classified = match balancer.classify(tables, port, frame) {
        Ok(classified) => classified,
        Err(Unserved::Drop(DropReason::Malformed(error))) => {
            assert_eq!(Packet::parse(frame), Err(error));
            return None;
        }
        Err(_) => return None,
    };
    let decided = balancer.decide(tables, frame, &classified, now);
    let Ok(decision) = decided else {
        let source = tables.check_source(&classified.packet, frame);
        match decided {
            Err(DropReason::NoBackend) => {}
            // The flow is known, so its source was checked.
            Err(DropReason::BackendDraining | DropReason::DrainOver) => assert_eq!(source, Ok(())),
            _ => assert_eq!(decided.map(|_| ()), source),
        }
        return None;
    };
    if decision.flow == FlowEvent::New {
        assert_eq!(tables.check_source(&classified.packet, frame), Ok(()));
    }
    let backend = tables.backend(decision.backend);
    assert_eq!(backend.pool, classified.service.pool);
    assert_eq!(backend.fate(classified.service.pool, classified.service.policy), Fate::Keep);
    if backend.serving != Serving::All {
        assert_eq!(decision.flow, FlowEvent::Hit);
        let is_syn = classified.packet.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN;
        assert!(!is_syn || classified.packet.protocol == protocol::UDP, "a SYN to {backend:?}");
    }
    let mut buffer = Buffer::new(frame, HEADROOM);
    match balancer.encapsulate(tables, &classified, decision.backend, &mut buffer) {
        Ok(_) => {
            let route = backend.route.as_ref().expect("a frame is sent by a route");
            check_sent(&route.template, &classified.packet, frame, buffer.bytes());
            return Some(buffer.bytes().to_vec());
        }
        Err(DropReason::NextHopUnresolved) => assert!(backend.route.is_none()),
        Err(DropReason::ExceedsMtu) => {
            let overhead = backend.route.as_ref().map_or(0, |route| route.template.overhead());
            assert!(classified.packet.ip_length() + overhead > usize::from(MTU));
        }
        Err(DropReason::HopLimitExceeded) => {
            let route = backend.route.as_ref().expect("a route forwards");
            assert!(!route.template.encapsulation().is_tunnel());
        }
        Err(drop) => panic!("{drop:?} of a packet with a backend and headroom"),
    }
    None
}

fn check_sent(template: &Template, packet: &Packet, before: &[u8], after: &[u8]) {
    let outer = Packet::parse(after).expect("a frame that is sent is well-formed");
    assert_eq!(outer.traffic_class, packet.traffic_class);
    assert!(outer.ip_length() <= usize::from(MTU));
    assert_eq!(outer.l3, packet.l3);
    let tags = 12..usize::from(packet.l3) - 2;
    assert_eq!(after[tags.clone()], before[tags]);
    let inner = packet.ip(before).expect("parsed from this frame");
    if template.encapsulation().is_tunnel() {
        assert_eq!(outer.end as usize, after.len());
        check_tunnel(template, packet.family, inner, &outer, after);
    } else {
        let mut forwarded = inner.to_vec();
        hops::lower(&mut forwarded).expect("a packet without hops left is dropped");
        assert_eq!(outer.ip(after), Some(&forwarded[..]));
    }
}

/// In every encapsulation the frame ends with the inner packet, and grows by the template's overhead.
fn check_tunnel(template: &Template, family: Family, inner: &[u8], outer: &Packet, after: &[u8]) {
    let payload = outer.payload(after).expect("parsed from this frame");
    let outer_header = usize::from(outer.l4 - outer.l3);
    let (tunnel, carried) = payload.split_at(template.overhead() - outer_header);
    assert_eq!(carried, inner);
    let encapsulation = template.encapsulation();
    let header = if encapsulation.uses(Setting::UdpPort) {
        assert_eq!(outer.protocol, protocol::UDP);
        assert_eq!(tunnel[4..6], u16::try_from(payload.len()).expect("an MTU").to_be_bytes());
        assert_eq!(tunnel[6..8] == [0, 0], outer.family == Family::V4, "computed over IPv6");
        &tunnel[udp::LENGTH..]
    } else {
        tunnel
    };
    let (ethertype, number) = match family {
        Family::V4 => (ethernet::IPV4, protocol::IPV4),
        Family::V6 => (ethernet::IPV6, protocol::IPV6),
    };
    match encapsulation {
        Encapsulation::Ipip => assert_eq!((outer.protocol, header.len()), (number, 0)),
        Encapsulation::Gre | Encapsulation::GreUdp => {
            let gre = gre::parse(header).expect("a GRE header");
            let is_keyed = encapsulation == Encapsulation::GreUdp;
            assert_eq!((gre.protocol, gre.key.is_some()), (ethertype, is_keyed));
            assert_eq!(gre.length, header.len());
            assert!(is_keyed || outer.protocol == protocol::GRE);
        }
        Encapsulation::Vxlan => {
            assert_eq!((outer.destination, header.len()), (4789, 8 + ethernet::LENGTH));
        }
        _ => {}
    }
}
