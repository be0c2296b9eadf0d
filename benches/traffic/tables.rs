//! A worker's tables for traffic of a kind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use guideway_core::balancer::backend::{Backend, Leaving, MssLimit, Pool, Route, Serving};
use guideway_core::balancer::conntrack::Timeouts;
use guideway_core::balancer::encapsulation::{Parameters, Template, Tunnel};
use guideway_core::balancer::hash::FleetKey;
use guideway_core::balancer::id::{PolicyIndex, PoolIndex, PortIndex, ServiceId};
use guideway_core::balancer::node::Node;
use guideway_core::balancer::pin::Pins;
use guideway_core::balancer::port::Port;
use guideway_core::balancer::services::{Service, ServiceAddress};
use guideway_core::balancer::tables::TableSpec;
use guideway_core::balancer::{Tables, maglev};
use guideway_core::wire::protocol;

use super::kind::{Ip, Kind, Transport};
use super::packet::{MAC, PEER, SERVICE_PORT, virtual_address};

pub const KEY: FleetKey = FleetKey::new([0x5a; 16]);
pub const TIMEOUTS: Timeouts = Timeouts::DEFAULT;
pub const PORT: PortIndex = PortIndex(0);

const POOL: PoolIndex = PoolIndex(0);
/// The port's.
const MTU: u16 = 1600;

/// Backends 0, 1, ... of equal weight.
pub fn members(count: u32) -> Vec<maglev::Candidate> {
    (0..count)
        .map(|value| {
            let identity = Ipv4Addr::from_bits(0x0a00_0000 + value).to_ipv6_mapped().octets();
            maglev::Candidate { identity, weight: 1, value }
        })
        .collect()
}

/// The headers of the backend with this number.
fn template(kind: Kind, number: u32) -> Template {
    let (source, destination) = match kind.outer {
        Ip::V4 => ([192, 0, 2, 1].into(), Ipv4Addr::from_bits(0x0a00_0000 + number).into()),
        Ip::V6 => (
            IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | 1)),
            Ipv6Addr::from_bits(0x2001_0db8_000b << 80 | u128::from(number)).into(),
        ),
    };
    let delivery = kind.deliveries[number as usize % kind.deliveries.len()];
    let tunnel = Tunnel { source_mac: MAC, destination_mac: PEER, source, destination };
    let parameters = Parameters {
        vni: Some(1),
        label: Some(1000),
        gre_key: delivery.gre_key,
        ..Parameters::default()
    };
    let template = Template::with(delivery.encapsulation, &parameters, &tunnel, MTU);
    let template = template.expect("one family").with_vlan(delivery.vlan);
    match delivery.source_prefix {
        Some(length) => template.with_source_prefix(length),
        None => template,
    }
}

/// A worker's tables for traffic of this kind.
pub fn tables(kind: Kind) -> Tables {
    let number = match kind.transport {
        Transport::Udp => protocol::UDP,
        _ => protocol::TCP,
    };
    let service = |n: u32| {
        let endpoint = ServiceAddress::new(virtual_address(kind.inner, n), number, SERVICE_PORT);
        let id = ServiceId(n);
        (endpoint, Service { id, pool: POOL, policy: PolicyIndex(0), fragments: true })
    };
    let backend = |n: u32| Backend {
        pool: POOL,
        serving: if kind.draining { Serving::Existing } else { Serving::All },
        leaving: Leaving::NONE,
        weight: 1,
        route: Some(Route { port: PORT, template: template(kind, n) }),
        mss: MssLimit::NONE,
        since: 0,
    };
    // At least a hundred slots for each backend.
    let slots = if kind.backends > 655 { 1_000_003 } else { 65_537 };
    let maglev = maglev::Table::build(&KEY, slots, &members(kind.backends));
    Tables::new(TableSpec {
        generation: 1,
        fleet: KEY,
        timeouts: TIMEOUTS,
        ports: vec![Port { mac: Some(MAC) }],
        services: (0..kind.services).map(service).collect(),
        pools: vec![Pool::new(Arc::new(maglev))],
        vips: Vec::new(),
        node: Node::default(),
        pins: Pins::default(),
        backends: (0..kind.backends).map(backend).collect(),
    })
}
