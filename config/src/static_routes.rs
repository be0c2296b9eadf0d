//! The next hop of a backend by the configuration alone.
//!
//! The longest on-link prefix that contains the backend decides; of equal prefixes, the first port's.
//! A backend in no prefix is reached by the first gateway of its family in the file's order. A backend
//! with a `[[neighbor]]` of its own is on a link instead: on the link of the gateway's port, or else of
//! the first port. Nothing is learned: MAC addresses come from `[[neighbor]]` sections only.

use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

/// The next hop of packets to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The port that it leaves by, an index into [`crate::Configuration::ports`].
    pub port: usize,
    /// The backend itself if it is on the port's link, else the gateway.
    pub address: IpAddr,
    /// The MAC address of `address`, if it is known.
    pub mac: Option<[u8; 6]>,
}

/// Finds next hops; built once for many lookups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticRoutes {
    on_link: FxHashMap<IpNet, usize>,
    /// Prefix lengths that occur, longest first, for IPv4 and IPv6.
    lengths: [Vec<u8>; 2],
    /// The port and the address of the gateway, for IPv4 and IPv6.
    gateways: [Option<(usize, IpAddr)>; 2],
    neighbors: FxHashMap<IpAddr, [u8; 6]>,
    ports: usize,
}

impl StaticRoutes {
    /// Routes from the addresses and gateways of each port, in the ports' order.
    pub(crate) fn new<A, G>(
        networks: impl Iterator<Item = (A, G)>,
        neighbors: impl Iterator<Item = (IpAddr, [u8; 6])>,
    ) -> Self
    where
        A: Iterator<Item = IpNet>,
        G: Iterator<Item = IpAddr>,
    {
        let mut routes = StaticRoutes::default();
        for (port, (addresses, gateways)) in networks.enumerate() {
            routes.ports = port + 1;
            for prefix in addresses {
                routes.on_link.entry(prefix.trunc()).or_insert(port);
                routes.lengths[family(prefix.addr())].push(prefix.prefix_len());
            }
            for gateway in gateways {
                routes.gateways[family(gateway)].get_or_insert((port, gateway));
            }
        }
        for lengths in &mut routes.lengths {
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
        }
        routes.neighbors = neighbors.collect();
        routes
    }

    /// The next hop of an address; `None` if there is no route.
    pub fn next_hop(&self, address: IpAddr) -> Option<NextHop> {
        self.route(address).map(|(_, hop)| hop)
    }

    /// The next hop of an address, and the length of the prefix that decides: that of the network on a link, 0 for a
    /// gateway, and all bits for an address with a `[[neighbor]]` of its own.
    pub fn route(&self, address: IpAddr) -> Option<(u8, NextHop)> {
        let gateway = self.gateways[family(address)];
        let is_neighbor = self.neighbors.contains_key(&address);
        let (length, port, address) = match (self.network(address), gateway) {
            (Some((length, port)), _) => (length, port, address),
            (None, Some((port, _))) if is_neighbor => (0, port, address),
            (None, Some((port, gateway))) => (0, port, gateway),
            (None, None) if is_neighbor && self.ports > 0 => (0, 0, address),
            (None, None) => return None,
        };
        let length = match (is_neighbor, address.is_ipv4()) {
            (false, _) => length,
            (true, true) => 32,
            (true, false) => 128,
        };
        Some((length, NextHop { port, address, mac: self.neighbor(address) }))
    }

    /// The MAC address that a `[[neighbor]]` section gives to an address.
    pub fn neighbor(&self, address: IpAddr) -> Option<[u8; 6]> {
        self.neighbors.get(&address).copied()
    }

    /// The port on whose link an address is.
    pub(crate) fn on_link(&self, address: IpAddr) -> Option<usize> {
        self.network(address).map(|(_, port)| port)
    }

    /// The longest network on a link that an address is in: its length and its port.
    fn network(&self, address: IpAddr) -> Option<(u8, usize)> {
        self.lengths[family(address)].iter().find_map(|&length| {
            let network = IpNet::new(address, length).ok()?.trunc();
            self.on_link.get(&network).map(|&port| (length, port))
        })
    }
}

fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn routes() -> StaticRoutes {
        let port = |addresses: &[&str], gateways: &[&str]| {
            let addresses: Vec<IpNet> =
                addresses.iter().map(|text| text.parse().unwrap()).collect();
            let gateways: Vec<IpAddr> = gateways.iter().map(|text| ip(text)).collect();
            (addresses.into_iter(), gateways.into_iter())
        };
        let networks = [
            port(&["10.0.0.1/8", "192.0.2.1/24"], &[]),
            port(&["10.1.0.1/16", "192.0.2.2/24", "2001:db8::1/64"], &["10.1.0.254", "10.1.0.253"]),
            port(&["198.51.100.1/24"], &["198.51.100.254", "fe80::1"]),
        ];
        let neighbors =
            [(ip("10.1.0.254"), [2; 6]), (ip("2001:db8::5"), [4; 6]), (ip("203.0.113.7"), [6; 6])];
        StaticRoutes::new(networks.into_iter(), neighbors.into_iter())
    }

    #[test]
    fn the_longest_prefix_wins_then_the_first_port() {
        let hop = |text| routes().next_hop(ip(text)).unwrap();
        assert_eq!(hop("10.2.0.9"), NextHop { port: 0, address: ip("10.2.0.9"), mac: None });
        assert_eq!(hop("10.1.0.9").port, 1);
        assert_eq!(hop("192.0.2.9").port, 0);
        let known = NextHop { port: 1, address: ip("2001:db8::5"), mac: Some([4; 6]) };
        assert_eq!(hop("2001:db8::5"), known);
    }

    #[test]
    fn a_route_has_the_length_that_decides() {
        let length = |text| routes().route(ip(text)).unwrap().0;
        assert_eq!(["10.2.0.9", "192.0.2.9", "203.0.113.5"].map(length), [8, 24, 0]);
        assert_eq!(["10.1.0.254", "203.0.113.7", "2001:db8::5"].map(length), [32, 32, 128]);
    }

    #[test]
    fn the_first_gateway_of_the_family_takes_the_rest() {
        let hop = |text| routes().next_hop(ip(text)).unwrap();
        let gateway = NextHop { port: 1, address: ip("10.1.0.254"), mac: Some([2; 6]) };
        assert_eq!(hop("203.0.113.5"), gateway);
        assert_eq!(hop("2001:db8:1::5"), NextHop { port: 2, address: ip("fe80::1"), mac: None });
    }

    #[test]
    fn a_neighbor_in_no_network_is_on_the_link_of_the_gateway_or_the_first_port() {
        let address = ip("203.0.113.7");
        let direct = NextHop { port: 1, address, mac: Some([6; 6]) };
        assert_eq!(routes().next_hop(address), Some(direct));
        let bare = || (std::iter::empty(), std::iter::empty());
        let neighbors = std::iter::once((address, [6; 6]));
        let routes = StaticRoutes::new([bare(), bare()].into_iter(), neighbors);
        assert_eq!(routes.next_hop(address), Some(NextHop { port: 0, ..direct }));
    }

    #[test]
    fn without_link_and_gateway_there_is_no_route() {
        assert_eq!(StaticRoutes::default().next_hop(ip("192.0.2.1")), None);
    }
}
