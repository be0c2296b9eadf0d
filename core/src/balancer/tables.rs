//! The tables that all workers forward by: services, pools, backends, and what concerns the node.
//!
//! The control plane builds a [`Tables`] whole, never changes it, and replaces it whole. So no packet sees half
//! a configuration. A backend keeps its [`BackendId`] for as long as it is configured, because flow tables
//! refer to backends by id.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::address::{Address, address};
use super::adjacency::Adjacency;
use super::backend::{Backend, Pool, Route};
use super::conntrack::Timeouts;
use super::encapsulation::Class;
use super::flow::FlowKey;
use super::hash::FleetKey;
use super::id::{BackendId, PolicyIndex, PoolIndex, PortIndex, ServiceId};
use super::local::{Local, Locals};
use super::node::Node;
use super::pin::Pins;
use super::port::{FrameFilter, Port};
use super::services::{Service, ServiceAddress, Services, Vip};
use super::source::{SourceCheck, SourceKind};
use super::verdict::DropReason;
use crate::wire::Packet;

/// One configuration as the packet path reads it.
#[derive(Debug, PartialEq)]
pub struct Tables {
    generation: u64,
    fleet: FleetKey,
    timeouts: Timeouts,
    steady: u32,
    ports: Vec<Port>,
    frame_filters: Vec<FrameFilter>,
    services: Services,
    /// By service's id; the pool is [`PoolIndex::NONE`] if no service has the id.
    by_service: Arc<[(PoolIndex, PolicyIndex)]>,
    locals: Arc<Locals>,
    source_check: SourceCheck,
    pools: Vec<Pool>,
    backends: Vec<Backend>,
    adjacencies: Vec<Adjacency>,
    class: Class,
    node: Node,
    pins: Pins,
}

/// The parts of a [`Tables`].
#[derive(Debug)]
pub struct TableSpec {
    /// Counts up with each publication.
    pub generation: u64,
    /// `hash.key`.
    pub fleet: FleetKey,
    /// `flow.timeout`.
    pub timeouts: Timeouts,
    /// The ports, by [`PortIndex`].
    pub ports: Vec<Port>,
    /// The services. Their addresses are unique.
    pub services: Vec<(ServiceAddress, Service)>,
    /// Virtual addresses for which the forwarder itself sends replies.
    pub vips: Vec<(IpAddr, Vip)>,
    /// The pools, by [`PoolIndex`].
    pub pools: Vec<Pool>,
    /// The backends, by [`BackendId`], with [`Backend::VACANT`] for ids that are not in use.
    pub backends: Vec<Backend>,
    /// What concerns the node besides services.
    pub node: Node,
    /// The backends of packets that the node itself sends.
    pub pins: Pins,
}

/// The parts in which tables differ from the ones before them.
#[derive(Debug)]
pub struct TableChange {
    /// Counts up with each publication.
    pub generation: u64,
    /// Backends that have these ids already.
    pub backends: Vec<(BackendId, Backend)>,
    /// Pools that have these indices already.
    pub pools: Vec<(PoolIndex, Pool)>,
    /// [`Node::members`].
    pub members: Vec<Option<Route>>,
    /// [`TableSpec::pins`]; those before if they are not others.
    pub pins: Option<Pins>,
}

impl Tables {
    /// Indexes the parts.
    pub fn new(parts: TableSpec) -> Tables {
        let mut vips: FxHashMap<Address, Vip> =
            parts.services.iter().map(|(to, _)| (address(to.address), Vip::default())).collect();
        for (ip, vip) in parts.vips {
            vips.entry(address(ip)).and_modify(|said| *said = vip);
        }
        let adjacencies: Vec<_> = parts.backends.iter().map(Adjacency::new).collect();
        Tables {
            generation: parts.generation,
            fleet: parts.fleet,
            timeouts: parts.timeouts,
            steady: parts.timeouts.of_steady(),
            frame_filters: parts.ports.iter().map(FrameFilter::new).collect(),
            ports: parts.ports,
            source_check: SourceCheck::new(&parts.node.own, vips.keys().copied()),
            locals: Arc::new(Locals::new(&vips, parts.node.punts.addresses.iter().copied())),
            by_service: by_id(parts.services.iter().map(|&(_, service)| service)),
            services: Services::new(&parts.services),
            pools: parts.pools,
            class: class(&adjacencies),
            adjacencies,
            backends: parts.backends,
            node: parts.node,
            pins: parts.pins,
        }
    }

    /// These tables with a change. Copies backends and services: sharing them would cost each packet an
    /// instruction.
    pub fn changed(&self, change: TableChange) -> Tables {
        let mut tables = Tables {
            generation: change.generation,
            fleet: self.fleet,
            timeouts: self.timeouts,
            steady: self.steady,
            ports: self.ports.clone(),
            frame_filters: self.frame_filters.clone(),
            services: self.services.clone(),
            by_service: Arc::clone(&self.by_service),
            locals: Arc::clone(&self.locals),
            source_check: self.source_check.clone(),
            pools: self.pools.clone(),
            backends: self.backends.clone(),
            adjacencies: self.adjacencies.clone(),
            class: self.class,
            node: Node { members: change.members, ..self.node.clone() },
            pins: change.pins.unwrap_or_else(|| self.pins.clone()),
        };
        for (id, backend) in change.backends {
            tables.adjacencies[id.index()] = Adjacency::new(&backend);
            tables.backends[id.index()] = backend;
        }
        tables.class = class(&tables.adjacencies);
        for (index, pool) in change.pools {
            tables.pools[usize::from(index.0)] = pool;
        }
        tables
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

    /// The idle time in milliseconds up to which no established flow expires.
    #[inline]
    pub(super) fn steady(&self) -> u32 {
        self.steady
    }

    /// Which frames a port accepts.
    #[inline]
    pub fn port(&self, port: PortIndex) -> Option<&Port> {
        self.ports.get(usize::from(port.0))
    }

    /// Which frames of a port the fast path reads. Accepts any address for a port that does not exist.
    #[inline]
    pub fn frame_filter(&self, port: PortIndex) -> FrameFilter {
        self.frame_filters.get(usize::from(port.0)).copied().unwrap_or(FrameFilter::ANY)
    }

    /// The services.
    #[inline]
    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// The replies that a virtual address gets; `None` if this is no virtual address.
    #[inline]
    pub(super) fn vip(&self, ip: IpAddr) -> Option<Vip> {
        match self.locals.get(ip)? {
            Local::Virtual(vip) => Some(vip),
            Local::Own => None,
        }
    }

    /// What each of the node's addresses is.
    #[inline(always)]
    pub(super) fn locals(&self) -> &Locals {
        &self.locals
    }

    /// Whether [`Tables::check_source`] may refuse a packet of this flow. Costs far less than the check.
    #[inline(always)]
    pub(super) fn is_suspect(&self, key: &FlowKey, frame: &[u8]) -> bool {
        self.source_check.is_suspect(key, frame)
    }

    /// Refuses a packet to be forwarded whose source no host can have.
    ///
    /// # Errors
    /// The reason to drop it.
    #[cold]
    pub fn check_source(&self, packet: &Packet, frame: &[u8]) -> Result<(), DropReason> {
        self.source_check.check(packet, frame)
    }

    /// Refuses a packet for this node itself whose source no host can have. Unlike [`Tables::check_source`] it
    /// accepts a link-local source, unless the packet came out of a tunnel and so not from the link.
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
        self.check_loop(frame)?;
        match self.source_check.source(packet, frame) {
            SourceKind::Host => Ok(()),
            SourceKind::LinkLocal if !from_tunnel => Ok(()),
            SourceKind::LinkLocal | SourceKind::Impossible => Err(DropReason::SourceInvalid),
        }
    }

    /// Whether a packet has the addresses of a server's answer to a probe through a tunnel: it comes from a virtual address,
    /// which is no source of any other packet to the node.
    #[cold]
    pub(super) fn is_answer_to_probe(&self, packet: &Packet, frame: &[u8]) -> bool {
        let v4 = packet.addresses_v4(frame).map(|(from, to)| (from.into(), to.into()));
        let v6 = || packet.addresses_v6(frame).map(|(from, to)| (from.into(), to.into()));
        v4.or_else(v6).is_some_and(|(from, to)| {
            self.node.punts.check_sources.contains(&to) && self.vip(from).is_some()
        })
    }

    /// Refuses a frame that one of the node's own ports has sent.
    ///
    /// # Errors
    /// [`DropReason::LoopedFrame`].
    #[cold]
    pub(super) fn check_loop(&self, frame: &[u8]) -> Result<(), DropReason> {
        match self.source_check.is_own_frame(frame) {
            true => Err(DropReason::LoopedFrame),
            false => Ok(()),
        }
    }

    /// The service of an address, for callers that have no whole packet.
    #[cold]
    pub fn service_at(&self, address: &ServiceAddress) -> Option<Service> {
        self.services.get(address)
    }

    /// The pool and the policy of a service. No backend has the pool if no service has this id.
    #[inline]
    pub(super) fn pool_and_policy(&self, id: ServiceId) -> (PoolIndex, PolicyIndex) {
        self.by_service.get(id.index()).copied().unwrap_or(NO_SERVICE)
    }

    /// What concerns the node besides services.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The backends of packets that the node itself sends.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// A pool of these tables.
    #[inline]
    pub fn pool(&self, index: PoolIndex) -> &Pool {
        &self.pools[usize::from(index.0)]
    }

    /// A backend; [`Backend::VACANT`] if none has this id.
    #[inline]
    pub fn backend(&self, id: BackendId) -> &Backend {
        self.backends.get(id.index()).unwrap_or(&Backend::VACANT)
    }

    /// What the fast path needs to rewrite packets for any backend.
    #[inline]
    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// A backend as the fast path sees it; `None` if no backend can have this id.
    #[inline(always)]
    pub(super) fn adjacency(&self, id: BackendId) -> Option<&Adjacency> {
        self.adjacencies.get(id.index())
    }
}

/// What is needed to rewrite packets for all backends.
fn class(adjacencies: &[Adjacency]) -> Class {
    adjacencies.iter().map(Adjacency::class).max().unwrap_or(Class::GreV4)
}

/// The pool and the policy of an id that no service has.
const NO_SERVICE: (PoolIndex, PolicyIndex) = (PoolIndex::NONE, PolicyIndex(0));

/// The pools and policies of services, by their ids.
fn by_id(services: impl Iterator<Item = Service>) -> Arc<[(PoolIndex, PolicyIndex)]> {
    let mut by_id = Vec::new();
    for service in services {
        if by_id.len() <= service.id.index() {
            by_id.resize(service.id.index() + 1, NO_SERVICE);
        }
        by_id[service.id.index()] = (service.pool, service.policy);
    }
    by_id.into()
}
