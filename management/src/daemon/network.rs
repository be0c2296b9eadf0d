//! Listings of the kernel's side: interfaces, neighbours, routes to backends, punts.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use guideway_api as api;
use guideway_api::ErrorKind;

use super::convert::{format_mac, to_next_hop};
use super::overview::Overview;
use crate::manager::Published;
use crate::routing::Link;
use guideway_config::Port;

impl Overview {
    pub(super) fn interfaces(&self) -> Vec<api::PortInterface> {
        let published = self.published.load_full();
        let ports = published.configuration.ports.iter();
        let interface =
            |port: &Port| api::PortInterface { port: port.name.clone(), ..Default::default() };
        ports.map(interface).collect()
    }

    /// The neighbours of the configuration, and the next hops of backends and members.
    pub(super) fn neighbors(&self) -> Vec<api::Neighbor> {
        let published = self.published.load_full();
        let (configuration, routing) = (&published.configuration, &published.routing);
        let mut found: BTreeMap<(Link, IpAddr), Users> = BTreeMap::new();
        for neighbor in &configuration.neighbors {
            if let Ok(hop) = routing.way(neighbor.address) {
                found.entry((hop.link(), neighbor.address)).or_default();
            }
        }
        let mut used = |address, count: fn(&mut Users) -> &mut usize| {
            if let Ok(hop) = routing.way(address) {
                *count(found.entry((hop.link(), hop.address)).or_default()) += 1;
            }
        };
        let backends = configuration.pools.iter().flat_map(|pool| &pool.backends);
        backends.for_each(|backend| used(backend.address, |users| &mut users.backends));
        let members = configuration.cluster.members.iter().filter(|member| !member.is_own);
        members.for_each(|member| used(member.address, |users| &mut users.members));
        let fixed: HashMap<_, _> = configuration
            .neighbors
            .iter()
            .map(|neighbor| (neighbor.address, neighbor.mac))
            .collect();
        let neighbor = |((link, address), users): ((Link, IpAddr), Users)| api::Neighbor {
            port: configuration.ports[link.port].name.clone(),
            vlan: link.vlan,
            interface: None,
            address,
            mac: fixed.get(&address).copied().map(format_mac),
            state: match fixed.contains_key(&address) {
                true => api::NeighborState::Static,
                false => api::NeighborState::None,
            },
            managed: false,
            seconds: None,
            backends: users.backends,
            members: users.members,
        };
        found.into_iter().map(neighbor).collect()
    }

    /// The route to a backend, by its name or address, or to a member by its address.
    pub(super) fn route(
        &self,
        backend: &str,
        pool: Option<&str>,
    ) -> Result<api::Route, api::Error> {
        let published = self.published.load_full();
        let (names, destination) = find(&published, backend, pool)?;
        let configuration = &published.configuration;
        let way = published.routing.way(destination);
        let hop = way.as_ref().ok();
        let is_on_link =
            configuration.ports.iter().flat_map(|p| &p.addresses).any(|p| p.contains(&destination));
        let (pool, backend) = names.unzip();
        Ok(api::Route {
            pool,
            backend,
            destination,
            learnt: hop.map(|hop| match hop.address == destination {
                true if is_on_link => api::Learnt::StaticOnLink,
                true => api::Learnt::StaticNeighbor,
                false => api::Learnt::StaticGateway,
            }),
            gateway: hop.map(|hop| hop.address).filter(|&address| address != destination),
            next_hop: to_next_hop(&way, configuration),
            interface: None,
            neighbor: hop.map(|hop| match hop.mac {
                Some(_) => api::NeighborState::Static,
                None => api::NeighborState::None,
            }),
            seconds: None,
        })
    }
}

/// How many use a neighbour.
#[derive(Default)]
struct Users {
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
