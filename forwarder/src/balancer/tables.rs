//! The tables that all workers forward by: services, pools, backends.
//!
//! A `Tables` is built whole by the control plane, never changed, and swapped whole, so that no
//! packet sees half a configuration. A backend keeps its [`BackendId`] for as long as it is
//! configured, since flow tables refer to it by that.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::conntrack::Timeouts;
use super::encapsulation::Template;
use super::hash::FleetKey;
use super::maglev;
use super::verdict::Drop;
use crate::wire::{Family, Fragment, Packet, protocol};

/// A backend's number: 24 bits, for that is what a flow table entry has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(u32);

impl BackendId {
    /// The largest.
    pub const MAX: u32 = (1 << 24) - 1;

    /// The backend of this number, which must not exceed [`BackendId::MAX`].
    #[inline]
    pub const fn new(number: u32) -> BackendId {
        debug_assert!(number <= BackendId::MAX);
        BackendId(number)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number, as an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A service's number, which it keeps for as long as it is configured: its counters stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceId(pub u32);

/// Index of a pool in its `Tables`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolIndex(pub u32);

/// Index of a port of the appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortIndex(pub u16);

/// Which packets a service takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    address: Address,
    /// Protocol in the high half, port in the low.
    protocol_port: u32,
}

/// An address that is quick to hash; the family keeps `::ffff:192.0.2.1` and `192.0.2.1` apart.
type Address = (Family, u128);

impl Endpoint {
    /// The endpoint of an address, an IP protocol number and a port.
    pub fn new(address: IpAddr, protocol: u8, port: u16) -> Endpoint {
        Endpoint {
            address: match address {
                IpAddr::V4(v4) => (Family::V4, u32::from(v4).into()),
                IpAddr::V6(v6) => (Family::V6, v6.into()),
            },
            protocol_port: u32::from(protocol) << 16 | u32::from(port),
        }
    }
}

/// What becomes of the packets for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Who counts them.
    pub id: ServiceId,
    /// Who serves them.
    pub pool: PoolIndex,
}

/// Backends that serve alike.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Places new flows; the values are backend numbers.
    pub maglev: Arc<maglev::Table>,
}

/// What a backend takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// New flows and those it has.
    All,
    /// Only those it has.
    Existing,
    /// Nothing: it is disabled, or no backend has this number.
    Nothing,
}

/// One server.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its pool; a flow of a service with another pool is not its.
    pub pool: PoolIndex,
    /// What it takes.
    pub serving: Serving,
    /// How its packets leave; none while its next hop is not known.
    pub route: Option<Route>,
}

impl Backend {
    /// The place of a number that no backend has.
    pub const VACANT: Backend =
        Backend { pool: PoolIndex(u32::MAX), serving: Serving::Nothing, route: None };
}

/// How packets leave to a backend.
#[derive(Clone, Debug)]
pub struct Route {
    /// The port.
    pub port: PortIndex,
    /// The headers.
    pub template: Template,
}

/// What a port accepts.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// The address that frames must have; none takes any.
    pub mac: Option<[u8; 6]>,
}

/// What the workers forward by.
#[derive(Debug)]
pub struct Tables {
    generation: u64,
    fleet: FleetKey,
    timeouts: Timeouts,
    ports: Vec<Port>,
    services: FxHashMap<Endpoint, Service>,
    vips: FxHashSet<Address>,
    pools: Vec<Pool>,
    backends: Vec<Backend>,
}

/// What [`Tables::new`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// Counts up with each publication.
    pub generation: u64,
    /// `hash.key`.
    pub fleet: FleetKey,
    /// `flow.timeout`.
    pub timeouts: Timeouts,
    /// By [`PortIndex`].
    pub ports: Vec<Port>,
    /// Endpoints are unique.
    pub services: Vec<(Endpoint, Service)>,
    /// By [`PoolIndex`].
    pub pools: Vec<Pool>,
    /// By [`BackendId`], vacant places included.
    pub backends: Vec<Backend>,
}

impl Tables {
    /// Indexes the parts.
    pub fn new(parts: Parts) -> Tables {
        Tables {
            generation: parts.generation,
            fleet: parts.fleet,
            timeouts: parts.timeouts,
            ports: parts.ports,
            vips: parts.services.iter().map(|(endpoint, _)| endpoint.address).collect(),
            services: parts.services.into_iter().collect(),
            pools: parts.pools,
            backends: parts.backends,
        }
    }

    /// Counts up with each publication.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The fleet's key.
    #[inline]
    pub fn fleet(&self) -> &FleetKey {
        &self.fleet
    }

    /// The idle timeouts.
    #[inline]
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// What a port accepts.
    #[inline]
    pub fn port(&self, port: PortIndex) -> Option<&Port> {
        self.ports.get(usize::from(port.0))
    }

    /// The service that a packet is for, or why there is none.
    #[inline]
    pub fn service_of(&self, packet: &Packet, frame: &[u8]) -> Result<Service, Drop> {
        let address = destination(packet, frame);
        if packet.fragment == Fragment::Whole {
            let protocol_port = u32::from(packet.protocol) << 16 | u32::from(packet.destination);
            if let Some(&service) = self.services.get(&Endpoint { address, protocol_port }) {
                return Ok(service);
            }
        }
        Err(self.why_no_service(packet, address))
    }

    #[cold]
    fn why_no_service(&self, packet: &Packet, address: Address) -> Drop {
        match packet.protocol {
            _ if !self.vips.contains(&address) => Drop::NoVip,
            _ if packet.fragment != Fragment::Whole => Drop::Fragment,
            protocol::TCP | protocol::UDP => Drop::NoService,
            protocol::ICMP | protocol::ICMPV6 => Drop::Icmp,
            _ => Drop::UnsupportedProtocol,
        }
    }

    /// A pool; the index must be of these tables.
    #[inline]
    pub fn pool(&self, index: PoolIndex) -> &Pool {
        &self.pools[index.0 as usize]
    }

    /// A backend; [`Backend::VACANT`] if none has the number.
    #[inline]
    pub fn backend(&self, id: BackendId) -> &Backend {
        self.backends.get(id.index()).unwrap_or(&Backend::VACANT)
    }
}

/// The destination address of a packet that was parsed from this frame.
#[inline]
fn destination(packet: &Packet, frame: &[u8]) -> Address {
    let l3 = usize::from(packet.l3);
    let address = match packet.family {
        Family::V4 => match frame.get(l3 + 16..l3 + 20) {
            Some(&[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]).into(),
            _ => 0,
        },
        Family::V6 => frame
            .get(l3 + 24..l3 + 40)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u128::from_be_bytes),
    };
    (packet.family, address)
}
