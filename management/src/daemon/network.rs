//! Listings of the kernel's side: interfaces, neighbours, routes to backends, punts.
//!
//! What the configuration and the tables say is that of the last publication. What the kernel says is that of its
//! [`View`], which is up to a fifth of a second old, and empty where no thread follows the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use guideway_api as api;
use guideway_api::ErrorKind;
use ipnet::IpNet;
use rustc_hash::FxHashSet;

use super::convert::{to_neighbor_state, to_next_hop};
use super::overview::{InterfaceCounters, Overview, Port};
use crate::compile::punt_limits;
use crate::kernel::{Interface, View, format_mac};
use crate::manager::Published;
use crate::routing::{Kind, Link, NextHop, Unreachable};
use guideway_config as config;
use guideway_core::balancer::Verdict;
use guideway_core::balancer::punt::Class;
use guideway_core::stats::Event;

/// What a neighbour is known by.
pub(crate) type NeighborKey = (Link, IpAddr);

impl Overview {
    pub(super) fn interfaces(&self) -> Vec<api::PortInterface> {
        let (published, view) = (self.published.load_full(), self.view.load_full());
        let ports = published.configuration.ports.iter().zip(&self.ports);
        let interface = |(index, (configured, port))| interface(&view, index, configured, port);
        ports.enumerate().map(interface).collect()
    }

    /// The neighbours of the configuration, and the next hops of backends and members.
    pub(super) fn neighbors(&self) -> Vec<api::Neighbor> {
        let (published, view) = (self.published.load_full(), self.view.load_full());
        let (configuration, routing) = (&published.configuration, &published.routing);
        let mut found: BTreeMap<(Link, IpAddr), Users> = BTreeMap::new();
        for neighbor in &configuration.neighbors {
            if let Ok(hop) = routing.way(neighbor.address)
                && hop.address == neighbor.address
            {
                found.entry((hop.link(), hop.address)).or_default().mac = hop.mac;
            }
        }
        let mut used = |address, count: fn(&mut Users) -> &mut usize| {
            if let Ok(hop) = routing.way(address) {
                let users = found.entry((hop.link(), hop.address)).or_default();
                users.mac = hop.mac;
                *count(users) += 1;
            }
        };
        let backends = configuration.pools.iter().flat_map(|pool| &pool.backends);
        backends.for_each(|backend| used(backend.address, |users| &mut users.backends));
        let members = configuration.cluster.members.iter().filter(|member| !member.is_own);
        members.for_each(|member| used(member.address, |users| &mut users.members));
        let neighbor = |((link, address), users): ((Link, IpAddr), Users)| {
            let known = Known::of(&published, &view, link, address);
            api::Neighbor {
                port: configuration.ports[link.port].name.clone(),
                vlan: link.vlan,
                interface: name(&view, link),
                address,
                mac: users.mac.map(format_mac),
                state: known.state,
                managed: known.is_managed,
                seconds: known.since.map(seconds),
                backends: users.backends,
                members: users.members,
            }
        };
        found.into_iter().map(neighbor).collect()
    }

    /// How many neighbours there are in each of [`api::NeighborState::ALL`]: those that [`Overview::neighbors`] lists.
    /// `seen` is a set to use, with anything in it.
    pub(crate) fn neighbor_states(
        &self,
        published: &Published,
        seen: &mut FxHashSet<NeighborKey>,
    ) -> [u64; api::NeighborState::ALL.len()] {
        let (view, configuration) = (self.view.load(), &published.configuration);
        let routing = &published.routing;
        let key = |hop: &NextHop| (hop.link(), hop.address);
        seen.clear();
        let static_ways = configuration.neighbors.iter().map(|neighbor| neighbor.address);
        let is_own =
            |address: &IpAddr| routing.way(*address).is_ok_and(|hop| hop.address == *address);
        let members = configuration.cluster.members.iter().filter(|member| !member.is_own);
        let addresses = static_ways.filter(is_own).chain(members.map(|member| member.address));
        seen.extend(addresses.filter_map(|address| routing.way(address).ok().as_ref().map(key)));
        let backends = published.pools.iter().flat_map(|pool| &pool.backends);
        seen.extend(backends.filter_map(|backend| backend.next_hop.as_ref().ok().map(key)));
        let mut counts = [0; api::NeighborState::ALL.len()];
        for &(link, address) in seen.iter() {
            counts[Known::of(published, &view, link, address).state as usize] += 1;
        }
        counts
    }

    /// The route to a backend, by its name or address, or to a member by its address.
    pub(super) fn route(
        &self,
        backend: &str,
        pool: Option<&str>,
    ) -> Result<api::Route, api::Error> {
        let (published, view) = (self.published.load_full(), self.view.load_full());
        let (names, destination) = find(&published, backend, pool)?;
        let way = published.routing.way(destination);
        let hop = way.as_ref().ok();
        let known = hop.map(|hop| Known::of(&published, &view, hop.link(), hop.address));
        let learnt = learnt(&published, destination);
        let of_route = match learnt {
            Some(api::Learnt::Kernel { .. }) => view.routes.get(&destination).map(|r| r.since),
            _ => None,
        };
        let since = of_route.into_iter().chain(known.as_ref().and_then(|known| known.since)).max();
        let (pool, backend) = names.unzip();
        Ok(api::Route {
            pool,
            backend,
            destination,
            learnt,
            gateway: hop.map(|hop| hop.address).filter(|&address| address != destination),
            next_hop: to_next_hop(&way, &published.configuration),
            interface: hop.and_then(|hop| name(&view, hop.link())),
            neighbor: known.map(|known| known.state),
            seconds: since.map(seconds),
        })
    }

    pub(super) fn punts(&self) -> Vec<api::Punt> {
        let published = self.published.load_full();
        let limits = punt_limits(&published.configuration);
        let punt = |&class: &Class| {
            let limit = limits[class.index()];
            let limited = Verdict::Dropped(class.limited());
            api::Punt {
                class: class.name().to_owned(),
                rate: limit.rate,
                burst: limit.burst,
                punted: self.workers.iter().map(|w| w.stats.event(Event::from(class))).sum(),
                limited: self.workers.iter().map(|w| w.stats.verdict(limited)).sum(),
            }
        };
        Class::ALL.iter().map(punt).collect()
    }
}

/// The interface of one port, and the VLAN devices on it.
fn interface(
    view: &View,
    index: usize,
    configured: &config::Port,
    port: &Port,
) -> api::PortInterface {
    let none = api::PortInterface { port: configured.name.clone(), ..Default::default() };
    let Some(made) = &port.interface else { return none };
    let of_port = |device: &&Interface| device.link.port == index;
    let seen = view.interfaces.iter().filter(of_port).find(|device| device.link.vlan.is_none());
    let now = (made.probe)();
    let state = match seen {
        _ if now.is_removed => api::PortInterfaceState::Missing,
        Some(Interface { index: None, .. }) => api::PortInterfaceState::Missing,
        Some(Interface { is_up: false, .. }) => api::PortInterfaceState::SetDown,
        Some(Interface { has_carrier: true, .. }) => api::PortInterfaceState::Up,
        // Nothing follows the kernel: the interface has the carrier of its port.
        None if (port.probe)().link.up => api::PortInterfaceState::Up,
        Some(_) | None => api::PortInterfaceState::NoCarrier,
    };
    let name = seen.map_or(&made.name, |device| &device.name);
    let InterfaceCounters {
        to_kernel_packets,
        to_kernel_bytes,
        to_kernel_refused,
        to_kernel_queue_full,
        from_kernel_packets,
        from_kernel_bytes,
        from_kernel_dropped,
    } = now.counters;
    let vlans = view.interfaces.iter().filter(of_port).filter_map(|device| {
        Some(api::VlanDevice {
            vlan: device.link.vlan?,
            interface: device.name.clone(),
            up: device.is_up && device.has_carrier,
            addresses: texts(&device.addresses),
        })
    });
    api::PortInterface {
        interface: Some(name.clone()),
        renamed_from: (*name != made.name).then(|| made.name.clone()),
        index: Some(made.index),
        state,
        mac: Some(format_mac(configured.mac.unwrap_or(port.device_mac))),
        mtu: Some(configured.mtu.into()),
        addresses: seen.map(|device| texts(&device.addresses)).unwrap_or_default(),
        vlans: vlans.collect(),
        to_kernel: api::ToKernel {
            packets: to_kernel_packets,
            bytes: to_kernel_bytes,
            refused: to_kernel_refused,
            queue_full: to_kernel_queue_full,
        },
        from_kernel: api::FromKernel {
            packets: from_kernel_packets,
            bytes: from_kernel_bytes,
            dropped: from_kernel_dropped,
        },
        ..none
    }
}

fn texts(addresses: &[IpNet]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

/// The name of the device, if it is an interface or a VLAN device on one.
fn name(view: &View, link: Link) -> Option<String> {
    let device = view.interfaces.iter().find(|device| device.link == link);
    device.map(|device| device.name.clone())
}

fn seconds(since: SystemTime) -> u64 {
    since.elapsed().unwrap_or_default().as_secs()
}

/// How the route to a destination was learnt; `None` without a route.
fn learnt(published: &Published, destination: IpAddr) -> Option<api::Learnt> {
    let (configuration, routing) = (&published.configuration, &published.routing);
    if routing.is_static_way(destination) {
        let is_on_link =
            |port: &config::Port| port.addresses.iter().any(|p| p.contains(&destination));
        return Some(match configuration.static_routes().next_hop(destination)? {
            hop if hop.address != destination => api::Learnt::StaticGateway,
            _ if configuration.ports.iter().any(is_on_link) => api::Learnt::StaticOnLink,
            _ => api::Learnt::StaticNeighbor,
        });
    }
    let route = routing.route(destination)?;
    if route.kind == Kind::None || routing.way(destination) == Err(Unreachable::NoRoute) {
        return None;
    }
    let prefix = IpNet::new(destination, route.prefix).ok()?.trunc().to_string();
    Some(api::Learnt::Kernel { table: route.table, prefix, protocol: route.protocol })
}

/// What is known of a neighbour.
struct Known {
    state: api::NeighborState,
    is_managed: bool,
    since: Option<SystemTime>,
}

impl Known {
    fn of(published: &Published, view: &View, link: Link, address: IpAddr) -> Known {
        if published.routing.is_static(address) {
            return Known { state: api::NeighborState::Static, is_managed: false, since: None };
        }
        let key = |neighbor: &crate::kernel::Neighbor| (neighbor.link, neighbor.address);
        let entry = view.neighbors.binary_search_by_key(&(link, address), key);
        let Some(entry) = entry.ok().and_then(|index| view.neighbors.get(index)) else {
            return Known { state: api::NeighborState::None, is_managed: false, since: None };
        };
        Known {
            state: to_neighbor_state(entry.state),
            is_managed: entry.is_managed,
            since: Some(entry.since),
        }
    }
}

/// How many use a neighbour, and the MAC address that they use.
#[derive(Default)]
struct Users {
    mac: Option<config::Mac>,
    backends: usize,
    members: usize,
}

/// The pool's and the backend's name, if it is a backend, and the address.
type Found = (Option<(String, String)>, IpAddr);

/// Finds the backend, or the member, of a request.
fn find(published: &Published, name: &str, pool: Option<&str>) -> Result<Found, api::Error> {
    let configuration = &published.configuration;
    let not_found = |message| Err(api::Error::new(ErrorKind::NotFound, message));
    let pools = configuration.pools.iter().filter(|p| pool.is_none_or(|pool| p.name == pool));
    let backends = || {
        let pools = pools.clone();
        pools.flat_map(|pool| pool.backends.iter().map(move |backend| (pool, backend)))
    };
    let named: Vec<_> = backends().filter(|(_, backend)| backend.name == name).collect();
    let one = match named[..] {
        [] => {
            let address: Option<IpAddr> = name.parse().ok();
            backends().find(|(_, backend)| Some(backend.address) == address)
        }
        [one] => Some(one),
        [..] => {
            let pools: Vec<_> = named.iter().map(|(pool, _)| pool.name.as_str()).collect();
            let pools = pools.join(", ");
            return not_found(format!("several pools have a backend {name}: {pools}; name one"));
        }
    };
    if let Some((pool, backend)) = one {
        return Ok((Some((pool.name.clone(), backend.name.clone())), backend.address));
    }
    match (pool, name.parse()) {
        (Some(pool), _) => not_found(format!("pool {pool} has no backend {name}")),
        (None, Err(_)) => not_found(format!("no backend is named {name}")),
        (None, Ok(address)) => {
            let members = &configuration.cluster.members;
            match members.iter().any(|member| !member.is_own && member.address == address) {
                true => Ok((None, address)),
                false => not_found(format!("no backend and no member has the address {address}")),
            }
        }
    }
}
