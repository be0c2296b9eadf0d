//! The tables that all workers forward by: services, pools, backends.
//!
//! A `Tables` is built whole by the control plane, never changed, and swapped whole, so that no
//! packet sees half a configuration. A backend keeps its [`BackendId`] for as long as it is
//! configured, since flow tables refer to it by that.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::address::{Address, address};
use super::adjacency::Adjacency;
use super::backend::{Backend, Pool};
use super::conntrack::Timeouts;
use super::flow::FlowKey;
use super::hash::FleetKey;
use super::id::{BackendId, PoolIndex, PortIndex};
use super::node::Node;
use super::port::{FrameFilter, Port};
use super::services::{Service, ServiceAddress, Services, Vip};
use super::source::{SourceCheck, SourceKind};
use super::verdict::DropReason;
use crate::wire::Packet;

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

    /// What is replied for a virtual address; `None` if the address is not one.
    #[inline]
    pub(super) fn vip(&self, ip: IpAddr) -> Option<Vip> {
        self.vips.get(&address(ip)).copied()
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
    pub fn service_at(&self, address: &ServiceAddress) -> Option<Service> {
        self.services.get(address)
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
