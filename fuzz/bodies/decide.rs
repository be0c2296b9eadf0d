//! The balancer over a sequence of frames: parse, service, flow table, Maglev table, encapsulation.
//!
//! An input is steps of a control byte, a byte of elapsed time, a length byte and that many bytes of frame.
//! The control byte's bits: 0 chooses the tables (with all backends, or with some drained and disabled),
//! 1 the port (any MAC, or one MAC), 2 makes time pass in minutes rather than milliseconds.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use guideway::balancer::backend::{Backend, MssLimit, Pool, Route, Serving};
use guideway::balancer::classify::Unserved;
use guideway::balancer::conntrack::Timeouts;
use guideway::balancer::encapsulation::{
    Encapsulation, GreKey, Parameters, Template, Tunnel, UdpChecksum,
};
use guideway::balancer::frame::Buffer;
use guideway::balancer::hash::{FleetKey, LocalSeed};
use guideway::balancer::id::{PoolIndex, PortIndex, ServiceId};
use guideway::balancer::node::Node;
use guideway::balancer::port::Port;
use guideway::balancer::services::{Service, ServiceAddress};
use guideway::balancer::tables::TableSpec;
use guideway::balancer::{
    Balancer, DropReason, FlowEvent, Frame, PacketMeta, PlainParse, Tables, Time, maglev,
};
use guideway::wire::{Family, Packet, ethernet, gre, protocol};

/// Steps of one input; more teach nothing new.
const STEPS: usize = 32;

/// Few, so that buckets fill up.
const FLOWS: usize = 16;

const MTU: u16 = 200;
const HEADROOM: usize = 128;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Full service, and a pool in which one backend drains and one is disabled.
static TABLES: LazyLock<[Tables; 2]> = LazyLock::new(|| {
    [
        tables(1, [Serving::All, Serving::All, Serving::All]),
        tables(2, [Serving::Existing, Serving::Nothing, Serving::All]),
    ]
});

fn tables(generation: u64, serving: [Serving; 3]) -> Tables {
    let fleet = FleetKey::new([7; 16]);
    let endpoint =
        |address: [u8; 4], number, port| ServiceAddress::new(address.into(), number, port);
    let endpoint_v6 = |number, port| {
        ServiceAddress::new(
            IpAddr::from(0x2001_0db8_0000_0000_0000_0000_0000_0010u128.to_be_bytes()),
            number,
            port,
        )
    };
    let service = |id, pool| Service { id: ServiceId(id), pool: PoolIndex(pool), fragments: true };
    let services = vec![
        (endpoint([203, 0, 113, 10], protocol::TCP, 80), service(0, 0)),
        (endpoint([203, 0, 113, 10], protocol::UDP, 53), service(1, 1)),
        (endpoint_v6(protocol::TCP, 80), service(2, 0)),
        (endpoint_v6(protocol::UDP, 53), service(3, 1)),
        (endpoint([203, 0, 113, 11], protocol::TCP, 80), service(4, 2)),
    ];
    // Pool 0 has an IPv4 and an IPv6 backend and one whose next hop is unknown, pool 1 two, pool 2 none.
    let route = |encapsulation, v6| {
        route(
            encapsulation,
            if v6 { ("2001:db8::1", "2001:db8:b::2") } else { ("192.0.2.64", "10.0.0.5") },
        )
    };
    let backend = |pool, serving, route| Backend {
        pool: PoolIndex(pool),
        serving,
        route,
        mss: MssLimit::NONE,
        since: 0,
    };
    let backends = vec![
        backend(0, serving[0], Some(route(Encapsulation::Gre, false))),
        backend(0, serving[1], Some(route(Encapsulation::Ipip, true))),
        backend(0, serving[2], None),
        backend(1, serving[0], Some(route(Encapsulation::GreUdp, true))),
        backend(1, serving[2], Some(route(Encapsulation::Vxlan, false))),
    ];
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
        Pool { maglev: Arc::new(maglev::Table::build(&fleet, 251, &members)) }
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
    })
}

fn route(encapsulation: Encapsulation, (source, destination): (&str, &str)) -> Route {
    let tunnel = Tunnel {
        source_mac: MAC,
        destination_mac: [2, 0, 0, 0, 0, 0xfe],
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    };
    let parameters = Parameters {
        gre_key: (encapsulation == Encapsulation::GreUdp).then_some(GreKey::Flow),
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

/// Every frame has one end, and a frame that leaves is the one that came, in an envelope that parses.
pub fn run(input: &[u8]) {
    let mut balancer = Balancer::new(FLOWS, LocalSeed::new(1));
    // The same, but that it tries the fast path first.
    let mut fast = Balancer::new(FLOWS, LocalSeed::new(1));
    let mut now = 0;
    let mut rest = input;
    for _ in 0..STEPS {
        let [control, elapsed, length, behind @ ..] = rest else { return };
        let (frame, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        now += u64::from(*elapsed) * if control & 4 == 0 { 1 } else { 60_000 };
        let tables = &TABLES[usize::from(control & 1)];
        let port = PortIndex(u16::from(control >> 1 & 1));
        let now = Time::from_millis(now);
        let repaired = super::repaired(frame);
        let frame = repaired.as_deref().unwrap_or(frame);
        let taken = step(&mut balancer, tables, port, frame, now);
        assert_eq!(step_fast_path(&mut fast, tables, port, frame, now), taken);
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

/// What a frame is sent as, by the fast path where that takes it.
fn step_fast_path(
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
        if outcome == PlainParse::Served {
            assert_eq!(meta.classified(frame), classified.ok());
            balancer.lookup(tables, &mut meta, now);
            if balancer.encapsulate_gre(tables, &mut meta, &mut buffer).is_some() {
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

/// What a frame is sent as.
fn step(
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
        match tables.check_source(&classified.packet, frame) {
            Ok(()) => assert_eq!(decided, Err(DropReason::NoBackend)),
            Err(drop) => assert!(decided == Err(drop) || decided == Err(DropReason::NoBackend)),
        }
        return None;
    };
    if decision.flow == FlowEvent::New {
        assert_eq!(tables.check_source(&classified.packet, frame), Ok(()));
    }
    let backend = tables.backend(decision.backend);
    assert_eq!(backend.pool, classified.service.pool);
    match backend.serving {
        Serving::All => {}
        Serving::Existing => assert_eq!(decision.flow, FlowEvent::Hit),
        Serving::Nothing => panic!("{decision:?} for a backend that takes nothing"),
    }
    let mut buffer = Buffer::new(frame, HEADROOM);
    match balancer.encapsulate(tables, &classified, decision.backend, &mut buffer) {
        Ok(_) => {
            let route = backend.route.as_ref().expect("it was sent by one");
            check_envelope(&route.template, &classified.packet, frame, buffer.bytes());
            return Some(buffer.bytes().to_vec());
        }
        Err(DropReason::NextHopUnresolved) => assert!(backend.route.is_none()),
        Err(DropReason::ExceedsMtu) => {
            let overhead = backend.route.as_ref().map_or(0, |route| route.template.overhead());
            assert!(classified.packet.ip_length() + overhead > usize::from(MTU));
        }
        Err(drop) => panic!("{drop:?} of a packet with a backend and headroom"),
    }
    None
}

fn check_envelope(template: &Template, packet: &Packet, before: &[u8], after: &[u8]) {
    let outer = Packet::parse(after).expect("what is sent is well-formed");
    assert_eq!(outer.traffic_class, packet.traffic_class);
    assert_eq!(outer.end as usize, after.len());
    assert!(outer.ip_length() <= usize::from(MTU));
    assert_eq!(outer.l3, packet.l3);
    let tags = 12..usize::from(packet.l3) - 2;
    assert_eq!(after[tags.clone()], before[tags]);
    let envelope = outer.payload(after).expect("parsed from this frame");
    let (ethertype, number) = match packet.family {
        Family::V4 => (ethernet::IPV4, protocol::IPV4),
        Family::V6 => (ethernet::IPV6, protocol::IPV6),
    };
    let header = match template.encapsulation() {
        Encapsulation::Ipip => {
            assert_eq!(outer.protocol, number);
            0
        }
        Encapsulation::Vxlan => {
            assert_eq!((outer.protocol, outer.destination), (protocol::UDP, 4789));
            8 + 8 + ethernet::LENGTH
        }
        kind => {
            let udp = if kind == Encapsulation::GreUdp { 8 } else { 0 };
            assert_eq!(outer.protocol, if udp > 0 { protocol::UDP } else { protocol::GRE });
            let gre = gre::parse(&envelope[udp..]).expect("a GRE header");
            assert_eq!((gre.protocol, gre.key.is_some()), (ethertype, udp > 0));
            udp + gre.length
        }
    };
    assert_eq!(Some(&envelope[header..]), packet.ip(before));
}
