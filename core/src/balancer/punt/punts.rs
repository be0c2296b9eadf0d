//! What decides about punts: part of the tables.

use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashSet;

use super::class::Class;
use crate::balancer::id::PortIndex;

/// What the kernel gets, as the configuration and the kernel's own tables say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Punts {
    /// Whether each port has an interface, by [`PortIndex`]. A port without one punts nothing.
    pub interfaces: Vec<bool>,
    /// The node's own addresses. Of a virtual address among them, only neighbour discovery is
    /// punted.
    pub addresses: FxHashSet<IpAddr>,
    /// Prefixes whose addresses are all the node's own: prefixes of tunnel sources.
    pub prefixes: Vec<IpNet>,
    /// The networks of the node's interfaces.
    pub on_link: Vec<IpNet>,
    /// `punt.routing_peers`.
    pub routing_peers: Vec<IpNet>,
    /// The addresses that the node's probes of backends come from. Servers answer them from virtual addresses.
    pub check_sources: Vec<IpAddr>,
    /// The limit of each class, by [`Class::index`].
    pub limits: [Limit; Class::ALL.len()],
}

/// How many packets of a class one worker gives to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Packets a second.
    pub rate: u32,
    /// Packets at once after a rest.
    pub burst: u32,
}

impl Punts {
    /// Whether a port has an interface.
    pub fn has_interface(&self, port: PortIndex) -> bool {
        self.interfaces.get(usize::from(port.0)).copied().unwrap_or(false)
    }

    /// Whether an address is the node's own.
    pub(in crate::balancer) fn is_own(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) || contain(&self.prefixes, address)
    }

    /// Whether a source is a host on a link of the node.
    pub(super) fn is_on_link(&self, source: IpAddr) -> bool {
        let is_link_local = match source {
            IpAddr::V4(_) => false,
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        is_link_local || contain(&self.on_link, source)
    }

    /// Whether a source is a configured peer of routing protocols.
    pub(super) fn is_routing_peer(&self, source: IpAddr) -> bool {
        contain(&self.routing_peers, source)
    }
}

fn contain(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}
