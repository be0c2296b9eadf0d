//! Publication: a configuration becomes [`Tables`], and the tables come into force.
//!
//! The [`Publisher`] keeps what must outlast a configuration: the ids of backends and services, and the
//! Maglev tables of pools that did not change. The publisher also keeps each retired `Tables` until no
//! worker holds it, so that a worker never frees one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use thiserror::Error;

use super::id_allocator::{Exhausted, IdAllocator};
use guideway_config as config;
use guideway_config::routing::{NextHop, Routes};
use guideway_config::{
    self, Configuration, Encapsulation, FragmentPolicy, Hash, MssClamp, Timeouts,
    network_and_broadcast,
};
use guideway_core::balancer::backend::{Backend, MssLimit, Pool, Route, Serving};
use guideway_core::balancer::cluster::{self, Cluster};
use guideway_core::balancer::conntrack::{self, State};
use guideway_core::balancer::decapsulation;
use guideway_core::balancer::encapsulation::{Choice, Constraints, Template, Tunnel};
use guideway_core::balancer::hash::FleetKey;
use guideway_core::balancer::id::{BackendId, PoolIndex, PortIndex, ServiceId};
use guideway_core::balancer::maglev::{self, Candidate};
use guideway_core::balancer::mtu::mss_for;
use guideway_core::balancer::node::Node;
use guideway_core::balancer::port::Port;
use guideway_core::balancer::services::{Service, ServiceAddress, Vip};
use guideway_core::balancer::source::OwnAddresses;
use guideway_core::balancer::tables::{TableSpec, Tables};
use guideway_core::wire::Family;

/// Ids for backends: for configured ones, and for removed ones of which workers may still have flows.
pub const BACKEND_IDS: u32 = 1 << 17;
/// Ids for services.
pub const SERVICE_IDS: u32 = 1 << 17;

/// Why a configuration cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The ids of removed backends are still in the workers' flow tables.
    #[error(
        "too many backends were replaced in a short time: workers still hold flows of the old ones; \
         try again in a few seconds"
    )]
    Backends,
    /// Ids of removed services cannot be reused yet: some worker still runs tables that contain them.
    #[error("too many services were replaced in a short time; try again in a few seconds")]
    Services,
}

/// What a port is, apart from its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// The device's own address: the source of frames unless the configuration names another.
    pub device_mac: [u8; 6],
    /// Whether frames to other hosts are dropped even if the configuration names no address.
    pub filter: bool,
}

/// The lowest generations that all workers have reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every worker runs tables of this generation or a newer one.
    pub generation: u64,
    /// No worker has a flow of a backend that was removed before this generation.
    pub swept: u64,
}

/// What was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// The generation of the tables.
    pub generation: u64,
    /// The service ids, in the configuration's order.
    pub services: Vec<ServiceId>,
    /// The backends, in the configuration's order, by pool.
    pub backends: Vec<Vec<PublishedBackend>>,
    /// Services with a newly assigned id.
    pub new_services: Vec<ServiceId>,
    /// Backends with a newly assigned id.
    pub new_backends: Vec<BackendId>,
}

/// A backend as it was published.
#[derive(Clone, Debug)]
pub struct PublishedBackend {
    /// Its id.
    pub id: BackendId,
    /// The next hop of its packets.
    pub next_hop: Option<NextHop>,
    /// The encapsulation of its packets; `None` without a next hop, or if no listed one can be used.
    pub encapsulation: Option<Choice>,
    /// Its slots in the Maglev table.
    pub slots: usize,
}

/// Turns configurations into tables in force.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<ArcSwap<Tables>>,
    retired: Vec<Arc<Tables>>,
    generation: u64,
    ports: Vec<PortFacts>,
    backends: IdAllocator<(String, IpAddr)>,
    services: IdAllocator<ServiceAddress>,
    /// The section `[hash]` of the last publication: all Maglev tables depend on it.
    hash: Hash,
    /// The Maglev tables of the last publication, by their candidates.
    maglev: HashMap<Vec<Candidate>, Built>,
    /// The generation in which each backend id was assigned, by id.
    assigned: Vec<u64>,
}

/// A Maglev table, and how many of its slots each candidate has, in the candidates' order.
#[derive(Clone, Debug)]
struct Built {
    table: Arc<maglev::Table>,
    slots: Arc<[usize]>,
}

impl Publisher {
    /// Publishes the first configuration.
    ///
    /// # Errors
    /// Only if the configuration exceeds its limits: there are ids for every valid one.
    pub fn new(
        configuration: &Configuration,
        ports: Vec<PortFacts>,
    ) -> Result<(Publisher, Published), Error> {
        let empty = Tables::new(TableSpec {
            generation: 0,
            fleet: FleetKey::new(configuration.hash.key),
            timeouts: timeouts(&configuration.flow.timeouts),
            ports: Vec::new(),
            services: Vec::new(),
            vips: Vec::new(),
            pools: Vec::new(),
            backends: Vec::new(),
            node: Node::default(),
        });
        let mut publisher = Publisher {
            shared: Arc::new(ArcSwap::from_pointee(empty)),
            retired: Vec::new(),
            generation: 0,
            ports,
            backends: IdAllocator::new(BACKEND_IDS),
            services: IdAllocator::new(SERVICE_IDS),
            hash: configuration.hash.clone(),
            maglev: HashMap::new(),
            assigned: Vec::new(),
        };
        let published = publisher.publish(configuration, Progress::default())?;
        Ok((publisher, published))
    }

    /// The tables in force, from which workers load them.
    pub fn shared(&self) -> &Arc<ArcSwap<Tables>> {
        &self.shared
    }

    /// Builds the tables of a configuration and publishes them. Workers load them before their next burst.
    ///
    /// # Errors
    /// If there are too few ids. Nothing changes then.
    pub fn publish(
        &mut self,
        configuration: &Configuration,
        progress: Progress,
    ) -> Result<Published, Error> {
        let generation = self.generation + 1;
        let service_keys: Vec<_> =
            configuration.services.iter().map(config::Service::service_address).collect();
        let backend_keys: Vec<_> = configuration
            .pools
            .iter()
            .flat_map(|pool| pool.backends.iter().map(|b| (pool.name.clone(), b.address)))
            .collect();
        if !self.services.fits(&service_keys, progress.generation) {
            return Err(Error::Services);
        }
        let (backend_ids, new_backends) = self
            .backends
            .assign(&backend_keys, generation, progress.swept)
            .map_err(|Exhausted| Error::Backends)?;
        let (service_ids, new_services) = self
            .services
            .assign(&service_keys, generation, progress.generation)
            .map_err(|Exhausted| Error::Services)?;
        self.generation = generation;
        self.assigned.resize(self.backends.end() as usize, generation);
        for &id in &new_backends {
            self.assigned[id as usize] = generation;
        }

        let fleet = FleetKey::new(configuration.hash.key);
        let table_size = configuration.hash.table_size;
        let mut ids = backend_ids.into_iter().map(BackendId::new);
        let routes = configuration.routes();
        let mut published = Vec::with_capacity(configuration.pools.len());
        let mut records = vec![Backend::VACANT; self.backends.end() as usize];
        // Indexed by backend id.
        let mut slots = vec![0; records.len()];
        let mut pools = Vec::with_capacity(configuration.pools.len());
        let mut maglev = HashMap::with_capacity(configuration.pools.len());
        let reusable = self.hash == configuration.hash;
        for (index, pool) in (0..).zip(&configuration.pools) {
            let mut published_pool: Vec<PublishedBackend> = Vec::with_capacity(pool.backends.len());
            let mut candidates = Vec::with_capacity(pool.backends.len());
            for (backend, id) in pool.backends.iter().zip(&mut ids) {
                let next_hop = routes.next_hop(backend.address);
                let serving = match (backend.enabled, backend.weight) {
                    (false, _) => Serving::Nothing,
                    (true, 0) => Serving::Existing,
                    (true, _) => Serving::All,
                };
                if serving == Serving::All {
                    candidates.push(Candidate {
                        identity: maglev::identity(backend.address),
                        weight: backend.weight,
                        value: id.get(),
                    });
                }
                let encapsulation =
                    next_hop.as_ref().and_then(|hop| choose(configuration, hop, backend));
                let route = match (&next_hop, encapsulation) {
                    (Some(hop), Some(choice)) => {
                        self.route(configuration, hop, backend, choice.encapsulation)
                    }
                    _ => None,
                };
                let mss = mss_limit(configuration, pool, next_hop.as_ref(), route.as_ref());
                records[id.index()] = Backend {
                    pool: PoolIndex(index),
                    serving,
                    route,
                    mss,
                    since: u32::try_from(self.assigned[id.index()]).unwrap_or(u32::MAX),
                };
                published_pool.push(PublishedBackend { id, next_hop, encapsulation, slots: 0 });
            }
            candidates.sort_unstable_by_key(|candidate| candidate.identity);
            let built = match self.maglev.get(&candidates).filter(|_| reusable) {
                Some(built) => built.clone(),
                None => {
                    let table = maglev::Table::build(&fleet, table_size, &candidates);
                    for &value in table.slots() {
                        slots[value as usize] += 1;
                    }
                    let slots = candidates
                        .iter()
                        .map(|candidate| slots[candidate.value as usize])
                        .collect();
                    Built { table: Arc::new(table), slots }
                }
            };
            for (candidate, &of_candidate) in candidates.iter().zip(&*built.slots) {
                slots[candidate.value as usize] = of_candidate;
            }
            for backend in &mut published_pool {
                backend.slots = slots[backend.id.index()];
            }
            pools.push(Pool { maglev: built.table.clone() });
            maglev.insert(candidates, built);
            published.push(published_pool);
        }
        self.maglev = maglev;
        self.hash = configuration.hash.clone();

        let services: Vec<ServiceId> = service_ids.into_iter().map(ServiceId).collect();
        let tables = Tables::new(TableSpec {
            generation,
            fleet,
            timeouts: timeouts(&configuration.flow.timeouts),
            ports: self
                .ports
                .iter()
                .zip(&configuration.ports)
                .map(|(facts, port)| Port {
                    mac: port.mac.or(facts.filter.then_some(facts.device_mac)),
                })
                .collect(),
            services: configuration
                .services
                .iter()
                .zip(&services)
                .map(|(service, &id)| {
                    #[expect(clippy::cast_possible_truncation, reason = "at most 65535 pools")]
                    let pool = PoolIndex(service.pool as u16);
                    (
                        service.service_address(),
                        Service {
                            id,
                            pool,
                            fragments: service.fragments == FragmentPolicy::Follow,
                        },
                    )
                })
                .collect(),
            vips: vips(configuration),
            pools,
            backends: records,
            node: self.node(configuration, &routes),
        });
        self.retired.push(self.shared.swap(Arc::new(tables)));
        self.release();
        Ok(Published {
            generation,
            services,
            backends: published,
            new_services: new_services.into_iter().map(ServiceId).collect(),
            new_backends: new_backends.into_iter().map(BackendId::new).collect(),
        })
    }

    /// Frees the retired tables that no worker holds.
    pub fn release(&mut self) {
        self.retired.retain(|tables| Arc::strong_count(tables) > 1);
    }

    /// What concerns this node besides services.
    fn node(&self, configuration: &Configuration, routes: &Routes) -> Node {
        let members = &configuration.cluster.members;
        let own = source_networks(configuration);
        let peers = configuration.tunnel.peers.iter().copied();
        let peers = peers.chain(members.iter().map(|member| member.address.into()));
        let key = FleetKey::new(configuration.hash.key);
        let cluster = match members.is_empty() {
            true => Cluster::default(),
            false => Cluster::new(&key, &cluster_members(members)),
        };
        Node {
            own: self.own(configuration),
            tunnel: decapsulation::Decapsulator::new(own, peers),
            cluster,
            members: members
                .iter()
                .map(|member| self.member(configuration, routes, member.address))
                .collect(),
            reply_rate: configuration.icmp.rate,
            reply_burst: configuration.icmp.burst,
            mtus: configuration.ports.iter().map(|port| port.mtu).collect(),
            shared: shared(configuration),
        }
    }

    /// The addresses that no packet can come from.
    fn own(&self, configuration: &Configuration) -> OwnAddresses {
        let ports = self.ports.iter().zip(&configuration.ports);
        let macs = ports.map(|(facts, port)| port.mac.unwrap_or(facts.device_mac));
        let prefixes = configuration.ports.iter().flat_map(|port| &port.addresses);
        OwnAddresses {
            macs: macs.filter(|&mac| mac != [0; 6]).collect(),
            addresses: prefixes
                .flat_map(|prefix| {
                    std::iter::once(prefix.addr()).chain(network_and_broadcast(*prefix))
                })
                .collect(),
            networks: source_networks(configuration),
        }
    }

    /// The route to another member of the cluster.
    fn member(
        &self,
        configuration: &Configuration,
        routes: &Routes,
        address: IpAddr,
    ) -> Option<Route> {
        let hop = routes.next_hop(address)?;
        let port = &configuration.ports[hop.port];
        let tunnel = Tunnel {
            source_mac: port.mac.unwrap_or(self.ports[hop.port].device_mac),
            destination_mac: hop.mac?,
            source: source(configuration, address)?,
            destination: address,
        };
        Some(Route {
            port: PortIndex(u16::try_from(hop.port).ok()?),
            template: Template::redirecting(&tunnel, port.mtu)?,
        })
    }

    fn route(
        &self,
        configuration: &Configuration,
        hop: &NextHop,
        backend: &config::Backend,
        encapsulation: Encapsulation,
    ) -> Option<Route> {
        let port = &configuration.ports[hop.port];
        // Packets that are sent without a tunnel need no source.
        let source = source(configuration, backend.address).unwrap_or(backend.address);
        let tunnel = Tunnel {
            source_mac: port.mac.unwrap_or(self.ports[hop.port].device_mac),
            destination_mac: hop.mac?,
            source,
            destination: backend.address,
        };
        Some(Route {
            port: PortIndex(u16::try_from(hop.port).ok()?),
            template: Template::with(encapsulation, &backend.parameters, &tunnel, port.mtu)?
                .with_source_prefix(source_prefix_length(configuration)),
        })
    }
}

/// The options of each virtual address. If its services differ, one with `echo = false` turns echo
/// replies off, and one with `unreachable = true` turns port-unreachable errors on.
fn vips(configuration: &Configuration) -> Vec<(IpAddr, Vip)> {
    let mut vips: HashMap<IpAddr, Vip> = HashMap::new();
    for service in &configuration.services {
        let vip = vips.entry(service.address).or_insert(Vip { echo: true, unreachable: false });
        vip.echo &= service.echo;
        vip.unreachable |= service.unreachable;
    }
    vips.into_iter().collect()
}

/// The addresses of the ports' networks that are no single host's. IPv4: network and broadcast (RFC 1122
/// section 3.2.1.3), unless the prefix has 31 or 32 bits (RFC 3021). IPv6: subnet-router anycast (RFC 4291
/// section 2.6.1), unless the prefix has 127 or 128 bits (RFC 6164).
fn shared(configuration: &Configuration) -> Vec<IpAddr> {
    let prefixes = configuration.ports.iter().flat_map(|port| &port.addresses);
    let anycast = |prefix: &IpNet| match prefix {
        IpNet::V6(v6) if v6.prefix_len() < 127 => Some(v6.network().into()),
        _ => None,
    };
    prefixes.flat_map(|prefix| network_and_broadcast(*prefix).chain(anycast(prefix))).collect()
}

/// The limit on the segment size of a backend's connections.
fn mss_limit(
    configuration: &Configuration,
    pool: &config::Pool,
    hop: Option<&NextHop>,
    route: Option<&Route>,
) -> MssLimit {
    match (pool.mss_clamp, hop, route) {
        (None, _, _) => MssLimit::NONE,
        (Some(MssClamp::To(mss)), _, _) => MssLimit { v4: mss, v6: mss },
        (Some(MssClamp::Auto), Some(hop), Some(route)) => {
            let mtu = configuration.ports[hop.port].mtu;
            let of = |family| mss_for(mtu, route.template.overhead(), family);
            MssLimit { v4: of(Family::V4), v6: of(Family::V6) }
        }
        // Without a route no packet is sent to the backend.
        (Some(MssClamp::Auto), _, _) => MssLimit::NONE,
    }
}

fn cluster_members(members: &[config::Member]) -> Vec<cluster::Member> {
    members
        .iter()
        .map(|&config::Member { address, is_own, is_down }| cluster::Member {
            address,
            is_own,
            is_down,
        })
        .collect()
}

/// This node's addresses to which packets may be tunnelled.
fn source_networks(configuration: &Configuration) -> Vec<IpNet> {
    let node = &configuration.node;
    let v4 = node.tunnel_source_v4.map(IpNet::from);
    let v6 = node.tunnel_source_v6.map(|v6| IpAddr::from(v6).into());
    v4.into_iter().chain(v6).collect()
}

/// The length of the IPv4 prefix from which flows choose their outer source address.
fn source_prefix_length(configuration: &Configuration) -> u8 {
    configuration.node.tunnel_source_v4.map_or(32, |v4| v4.prefix_len())
}

/// The outer source address of packets to a backend.
fn source(configuration: &Configuration, backend: IpAddr) -> Option<IpAddr> {
    match backend {
        IpAddr::V4(_) => configuration.node.tunnel_source_v4.map(|v4| v4.addr().into()),
        IpAddr::V6(_) => configuration.node.tunnel_source_v6.map(IpAddr::from),
    }
}

/// The encapsulation of packets to a backend, and why.
fn choose(
    configuration: &Configuration,
    hop: &NextHop,
    backend: &config::Backend,
) -> Option<Choice> {
    let is_v6 = backend.address.is_ipv6();
    Encapsulation::choose(
        &backend.encapsulations,
        &Constraints {
            is_v6,
            on_link: hop.address == backend.address,
            has_source: source(configuration, backend.address).is_some(),
            source_is_prefix: !is_v6 && source_prefix_length(configuration) < 32,
            parameters: &backend.parameters,
        },
    )
}

fn timeouts(timeouts: &Timeouts) -> conntrack::Timeouts {
    let ms = |d: Duration| u32::try_from(d.as_millis()).unwrap_or(u32::MAX / 2);
    let idle = State::ALL.map(|state| {
        ms(match state {
            State::Syn => timeouts.syn,
            State::Established => timeouts.established,
            State::Closing | State::Reset => timeouts.closing,
            State::Udp => timeouts.udp,
            State::Unconfirmed => timeouts.unconfirmed,
            State::HalfClosed => timeouts.half_closed,
        })
    });
    conntrack::Timeouts { idle, reuse: ms(timeouts.reuse) }
}
