//! A validated configuration: what the rest of the program sees of the TOML file.
//!
//! Nothing here can be wrong by itself: names are unique and resolved, families fit, sizes are legal.
//! Only [`super::parse`] makes one. The parts are declared in `sections/`.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::sections::*;
use crate::static_routes::StaticRoutes;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// `[node]`
    pub node: Node,
    /// `[hash]`
    pub hash: Hash,
    /// `[dpdk]`
    pub dpdk: Dpdk,
    /// `[flow]`
    pub flow: Flow,
    /// `[icmp]`
    pub icmp: Icmp,
    /// `[punt]`
    pub punt: Punt,
    /// `[control]`
    pub control: Control,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[log]`
    pub log: Log,
    /// `[[port]]`, at least one
    pub ports: Vec<Port>,
    /// `[[neighbor]]`
    pub neighbors: Vec<Neighbor>,
    /// `[[pool]]`
    pub pools: Vec<Pool>,
    /// `[[service]]`
    pub services: Vec<Service>,
    /// `[[check]]`
    pub checks: Vec<Check>,
    /// `[probe]`
    pub probe: Probe,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[tunnel]`
    pub tunnel: Tunnel,
    /// `[fragments]`
    pub fragments: Fragments,
    /// `[announce]`; none without it
    pub announce: Option<Announce>,
    /// `[[vip]]`
    pub vips: Vec<Vip>,
    /// `[bgp]`
    pub bgp: Bgp,
}

impl Configuration {
    /// `announce_when` and `on_quorum_loss` of a virtual address; none if no address is announced.
    pub fn quorum_of(&self, address: IpAddr) -> Option<(&AnnounceWhen, OnQuorumLoss)> {
        let announce = self.announce.as_ref()?;
        let vip = self.vips.iter().find(|vip| vip.address == address);
        let when = vip.and_then(|vip| vip.announce_when.as_ref());
        let on_loss = vip.and_then(|vip| vip.on_quorum_loss);
        Some((when.unwrap_or(&announce.announce_when), on_loss.unwrap_or(announce.on_quorum_loss)))
    }

    /// The node's BGP identifier: `bgp.router_id`, or the first IPv4 address of `node.tunnel_source` or of a port.
    pub fn router_id(&self) -> Option<Ipv4Addr> {
        let ports = self.ports.iter().flat_map(|port| &port.addresses);
        let first = ports.filter_map(|prefix| match prefix {
            IpNet::V4(prefix) => Some(prefix.addr()),
            IpNet::V6(_) => None,
        });
        let tunnel = self.node.tunnel_source_v4.map(|prefix| prefix.addr());
        self.bgp.router_id.or(tunnel).or_else(|| { first }.next())
    }

    /// The routes that ports and neighbours make.
    pub fn static_routes(&self) -> StaticRoutes {
        let networks = self
            .ports
            .iter()
            .map(|port| (port.addresses.iter().copied(), port.gateways.iter().copied()));
        StaticRoutes::new(
            networks,
            self.neighbors.iter().map(|neighbor| (neighbor.address, neighbor.mac)),
        )
    }
}

/// The addresses of an IPv4 network that no host has: the network's own, and its broadcast. A network
/// of 31 bits has neither (RFC 3021).
pub fn network_and_broadcast(prefix: IpNet) -> impl Iterator<Item = IpAddr> + use<> {
    let addresses = match prefix {
        IpNet::V4(v4) if v4.prefix_len() <= 30 => {
            Some([v4.network().into(), v4.broadcast().into()])
        }
        _ => None,
    };
    addresses.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_two_bits_and_more_have_addresses_without_a_host() {
        let addresses = |text: &str| {
            network_and_broadcast(text.parse().unwrap())
                .map(|ip| ip.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(addresses("192.0.2.129/25"), ["192.0.2.128", "192.0.2.255"]);
        assert_eq!(addresses("192.0.2.1/30"), ["192.0.2.0", "192.0.2.3"]);
        assert_eq!(addresses("192.0.2.1/1"), ["128.0.0.0", "255.255.255.255"]);
        assert_eq!(addresses("192.0.2.1/31"), [""; 0]);
        assert_eq!(addresses("2001:db8::1/64"), [""; 0]);
    }
}
