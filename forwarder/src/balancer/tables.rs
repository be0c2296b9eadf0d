//! The tables that all workers forward by: services, pools, backends.
//!
//! A `Tables` is built whole by the control plane, never changed, and swapped whole, so that no
//! packet sees half a configuration. A backend keeps its [`BackendId`] for as long as it is
//! configured, since flow tables refer to it by that.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::cluster::Cluster;
use super::conntrack::Timeouts;
use super::decapsulation;
use super::encapsulation::Template;
use super::fast_path::Adjacency;
use super::flow::FlowKey;
use super::hash::FleetKey;
use super::maglev;
pub use super::services::ServiceAddress;
use super::services::Services;
use super::source::{OwnAddresses, SourceCheck, SourceKind};
use super::verdict::DropReason;
use crate::wire::plain::HeaderMatch;
use crate::wire::{Error as Malformed, Family, Fragment, Packet, protocol};

/// A backend's number: 24 bits, for that is what a flow table entry has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(u32);

impl BackendId {
    /// The largest.
    pub const MAX: u32 = (1 << 24) - 1;

    /// No backend.
    pub(super) const NONE: BackendId = BackendId(u32::MAX);

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
pub struct PoolIndex(pub u16);

impl PoolIndex {
    /// No pool.
    pub(super) const NONE: PoolIndex = PoolIndex(u16::MAX);
}

/// Index of a port of the appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortIndex(pub u16);

impl PortIndex {
    /// No port.
    pub const NONE: PortIndex = PortIndex(u16::MAX);
}

/// An address that is quick to hash; the family keeps `::ffff:192.0.2.1` and `192.0.2.1` apart.
pub(super) type Address = (Family, u128);

pub(super) fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(v4) => (Family::V4, u32::from(v4).into()),
        IpAddr::V6(v6) => (Family::V6, v6.into()),
    }
}

/// What becomes of the packets for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Who counts them.
    pub id: ServiceId,
    /// Who serves them.
    pub pool: PoolIndex,
    /// Whether it takes datagrams in fragments.
    pub fragments: bool,
}

impl Service {
    /// No service.
    pub(super) const NONE: Service =
        Service { id: ServiceId(u32::MAX), pool: PoolIndex::NONE, fragments: false };
}

/// What the forwarder itself says for a virtual address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vip {
    /// It answers echo requests.
    pub echo: bool,
    /// It answers UDP packets that are for no service with an error.
    pub unreachable: bool,
}

/// A packet without a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// It is dropped.
    Drop(DropReason),
    /// It may still be something else to the forwarder.
    Exception(Packet, Exception),
}

impl From<Malformed> for Unserved {
    fn from(error: Malformed) -> Unserved {
        Unserved::Drop(error.into())
    }
}

impl From<DropReason> for Unserved {
    fn from(drop: DropReason) -> Unserved {
        Unserved::Drop(drop)
    }
}

/// Why a packet has no service, beyond those that are dropped at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// No service has its address, or it is a tunnel to one that is ours too; it may be for the forwarder's own end of a tunnel.
    Elsewhere,
    /// To a virtual address, for no service of it, by UDP or TCP.
    Closed(Vip),
    /// ICMP or ICMPv6 to a virtual address.
    Icmp(Vip),
    /// A fragment to a virtual address.
    Fragment(Vip),
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
    /// What the segment size of its connections is lowered to.
    pub mss: MssLimit,
    /// The generation in which it got its number: what was chosen before was another.
    pub since: u32,
}

/// Limits of TCP's maximum segment size, by the family of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MssLimit {
    /// Over IPv4.
    pub v4: u16,
    /// Over IPv6.
    pub v6: u16,
}

impl MssLimit {
    /// No limit.
    pub const NONE: MssLimit = MssLimit { v4: u16::MAX, v6: u16::MAX };

    /// The limit for a family.
    pub fn of(self, family: Family) -> u16 {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

impl Backend {
    /// The place of a number that no backend has.
    pub const VACANT: Backend = Backend {
        pool: PoolIndex::NONE,
        serving: Serving::Nothing,
        route: None,
        mss: MssLimit::NONE,
        since: 0,
    };
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

/// The same, as the fast path compares it: how the frames begin that it reads.
#[derive(Clone, Copy, Debug)]
pub struct FrameFilter {
    pub(super) v4: HeaderMatch,
    pub(super) v6: HeaderMatch,
}

impl FrameFilter {
    /// Takes frames for any address.
    const ANY: FrameFilter = FrameFilter { v4: HeaderMatch::V4, v6: HeaderMatch::V6 };

    fn new(port: &Port) -> FrameFilter {
        port.mac.map_or(FrameFilter::ANY, |mac| FrameFilter {
            v4: HeaderMatch::V4.with_mac(mac),
            v6: HeaderMatch::V6.with_mac(mac),
        })
    }
}

/// The fleet, as far as one forwarder has to do with the others, and what it answers.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// What no packet can come from.
    pub own: OwnAddresses,
    /// This node's end of tunnels.
    pub tunnel: decapsulation::Decapsulator,
    /// Who gathers which datagram's fragments.
    pub cluster: Cluster,
    /// The ways to the members of the cluster, in their order; none while a next hop is not known.
    pub members: Vec<Option<Route>>,
    /// Answers a second that a worker gives,
    pub answer_rate: u32,
    /// and at once after a rest.
    pub answer_burst: u32,
    /// The longest IP packet that leaves by a port, by [`PortIndex`].
    pub mtus: Vec<u16>,
    /// Addresses of several hosts on the ports' networks: never the source of what is answered.
    pub shared: Vec<IpAddr>,
}

impl Node {
    /// The longest IP packet that leaves by a port.
    pub fn mtu(&self, port: PortIndex) -> u16 {
        self.mtus.get(usize::from(port.0)).copied().unwrap_or(u16::MAX)
    }
}

/// What the workers forward by.
#[derive(Debug)]
pub struct Tables {
    generation: u64,
    fleet: FleetKey,
    timeouts: Timeouts,
    steady: u32,
    ports: Vec<Port>,
    frame_filters: Vec<FrameFilter>,
    services: Services,
    vips: FxHashMap<Address, Vip>,
    source_check: SourceCheck,
    pools: Vec<Pool>,
    backends: Vec<Backend>,
    adjacencies: Vec<Adjacency>,
    node: Node,
}

/// What [`Tables::new`] is made of.
#[derive(Debug)]
pub struct TableSpec {
    /// Counts up with each publication.
    pub generation: u64,
    /// `hash.key`.
    pub fleet: FleetKey,
    /// `flow.timeout`.
    pub timeouts: Timeouts,
    /// By [`PortIndex`].
    pub ports: Vec<Port>,
    /// Endpoints are unique.
    pub services: Vec<(ServiceAddress, Service)>,
    /// What is said for an address, if not nothing.
    pub vips: Vec<(IpAddr, Vip)>,
    /// By [`PoolIndex`].
    pub pools: Vec<Pool>,
    /// By [`BackendId`], vacant places included.
    pub backends: Vec<Backend>,
    /// Everything but services.
    pub node: Node,
}

impl Tables {
    /// Indexes the parts.
    pub fn new(parts: TableSpec) -> Tables {
        let mut vips: FxHashMap<Address, Vip> =
            parts.services.iter().map(|(to, _)| (address(to.address), Vip::default())).collect();
        for (ip, vip) in parts.vips {
            vips.entry(address(ip)).and_modify(|said| *said = vip);
        }
        Tables {
            generation: parts.generation,
            fleet: parts.fleet,
            timeouts: parts.timeouts,
            steady: parts.timeouts.of_steady(),
            frame_filters: parts.ports.iter().map(FrameFilter::new).collect(),
            ports: parts.ports,
            source_check: SourceCheck::new(&parts.node.own, vips.keys().copied()),
            vips,
            services: Services::new(&parts.services),
            pools: parts.pools,
            adjacencies: parts.backends.iter().map(Adjacency::new).collect(),
            backends: parts.backends,
            node: parts.node,
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

    /// The time in milliseconds in which no flow expires that is under way.
    #[inline]
    pub(super) fn steady(&self) -> u32 {
        self.steady
    }

    /// What a port accepts.
    #[inline]
    pub fn port(&self, port: PortIndex) -> Option<&Port> {
        self.ports.get(usize::from(port.0))
    }

    /// The same, as the fast path compares it; any address for a port that there is not.
    #[inline]
    pub fn frame_filter(&self, port: PortIndex) -> FrameFilter {
        self.frame_filters.get(usize::from(port.0)).copied().unwrap_or(FrameFilter::ANY)
    }

    /// The services.
    #[inline]
    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// The service that a packet is for, or why there is none.
    pub fn service_of(&self, packet: &Packet, frame: &[u8]) -> Result<Service, Unserved> {
        let served = match packet.fragment {
            Fragment::Whole => self.service_of_first(packet, frame),
            _ => None,
        };
        served.ok_or_else(|| self.why_unserved(packet, frame))
    }

    #[cold]
    pub(super) fn why_unserved(&self, packet: &Packet, frame: &[u8]) -> Unserved {
        let Some(&vip) = self.vips.get(&address(destination(packet, frame))) else {
            return Unserved::Exception(*packet, Exception::Elsewhere);
        };
        let exception = match packet.protocol {
            // A virtual address may be the node's tunnel address as well.
            _ if self.node.tunnel.accepts(packet, frame) => Exception::Elsewhere,
            _ if packet.fragment != Fragment::Whole => Exception::Fragment(vip),
            protocol::TCP | protocol::UDP => Exception::Closed(vip),
            protocol::ICMP | protocol::ICMPV6 => Exception::Icmp(vip),
            _ => return Unserved::Drop(DropReason::UnsupportedProtocol),
        };
        Unserved::Exception(*packet, exception)
    }

    /// Whether [`Tables::check_source`] may refuse a packet of this key. Costs far less than the check.
    #[inline(always)]
    pub(super) fn is_suspect(&self, key: &FlowKey, frame: &[u8]) -> bool {
        self.source_check.is_suspect(key, frame)
    }

    /// Refuses a packet that nobody can have sent, where it is to be forwarded.
    ///
    /// # Errors
    /// The reason to drop it.
    #[cold]
    pub fn check_source(&self, packet: &Packet, frame: &[u8]) -> Result<(), DropReason> {
        self.source_check.check(packet, frame)
    }

    /// As [`Tables::check_source`], for a packet that may be for ourselves: a host on the link may then
    /// have a link-local address. What comes out of a tunnel does not come from the link.
    ///
    /// # Errors
    /// The reason to drop it.
    #[cold]
    pub fn check_source_to_node(
        &self,
        packet: &Packet,
        frame: &[u8],
        from_tunnel: bool,
    ) -> Result<(), DropReason> {
        if self.source_check.is_own_frame(frame) {
            return Err(DropReason::LoopedFrame);
        }
        match self.source_check.source(packet, frame) {
            SourceKind::Host => Ok(()),
            SourceKind::LinkLocal if !from_tunnel => Ok(()),
            SourceKind::LinkLocal | SourceKind::Impossible => Err(DropReason::SourceInvalid),
        }
    }

    /// The service of an endpoint, for those that know it by other means than a whole packet.
    #[cold]
    pub fn service_at(&self, endpoint: &ServiceAddress) -> Option<Service> {
        self.services.get(endpoint)
    }

    /// The service that a whole packet or a first fragment is for.
    pub fn service_of_first(&self, packet: &Packet, frame: &[u8]) -> Option<Service> {
        let address = destination(packet, frame);
        self.services.get(&ServiceAddress::new(address, packet.protocol, packet.destination))
    }

    /// Everything but services.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// A pool; the index must be of these tables.
    #[inline]
    pub fn pool(&self, index: PoolIndex) -> &Pool {
        &self.pools[usize::from(index.0)]
    }

    /// A backend; [`Backend::VACANT`] if none has the number.
    #[inline]
    pub fn backend(&self, id: BackendId) -> &Backend {
        self.backends.get(id.index()).unwrap_or(&Backend::VACANT)
    }

    /// A backend as the fast path has it, if one has the number or had it.
    #[inline(always)]
    pub(super) fn adjacency(&self, id: BackendId) -> Option<&Adjacency> {
        self.adjacencies.get(id.index())
    }
}

/// The destination address of a packet that was parsed from this frame.
fn destination(packet: &Packet, frame: &[u8]) -> IpAddr {
    let v4 = packet.addresses_v4(frame).map(|(_, to)| to.into());
    let v6 = packet.addresses_v6(frame).map(|(_, to)| to.into());
    v4.or(v6).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}
