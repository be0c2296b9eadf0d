//! What the kernel gets: which ports have an interface, the node's own addresses, the limits.

use guideway_config::{Configuration, Port, Punt};
use guideway_core::balancer::punt::{Class, Limit, Punts};

use super::source;
use crate::state::State;

/// What the kernel gets.
pub(super) fn compile(state: &State) -> Punts {
    let configuration = &*state.intent.configuration;
    // Wherever the kernel has an address, it is the node's. No packet from a link may be for a loopback address
    // (RFC 1122 section 3.2.1.3).
    let local = state.observation.routing.local().iter().map(|local| local.network.addr());
    let local = local.filter(|address| !address.is_loopback());
    let probing = configuration.node.check_sources.iter().copied();
    Punts {
        interfaces: configuration.ports.iter().map(has_interface).collect(),
        addresses: state
            .prefixes()
            .map(|prefix| prefix.addr())
            .chain(local)
            .chain(probing)
            .collect(),
        prefixes: source::networks(configuration),
        on_link: state.prefixes().map(|prefix| prefix.trunc()).collect(),
        routing_peers: configuration.punt.routing_peers.clone(),
        check_sources: configuration.node.check_sources.clone(),
        limits: limits(configuration),
    }
}

/// Whether a port has an interface of the kernel.
fn has_interface(port: &Port) -> bool {
    port.interface().is_some()
}

/// The limit of each class, in the order of their indices.
pub(crate) fn limits(configuration: &Configuration) -> [Limit; Class::ALL.len()] {
    let Punt { routing, neighbor, probe, own, link_local, multicast, .. } = configuration.punt;
    let mut limits = [Limit::default(); Class::ALL.len()];
    for &class in Class::ALL {
        let (rate, burst) = match class {
            Class::Routing => (routing.rate, routing.burst),
            Class::Neighbor => (neighbor.rate, neighbor.burst),
            Class::Probe => (probe.rate, probe.burst),
            Class::Own => (own.rate, own.burst),
            Class::LinkLocal => (link_local.rate, link_local.burst),
            Class::Multicast => (multicast.rate, multicast.burst),
        };
        limits[class.index()] = Limit { rate, burst };
    }
    limits
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use guideway_config::parse;
    use ipnet::IpNet;

    use super::*;
    use crate::sample::{MIXED, ports};
    use guideway_chassis::wall::Wall;

    fn punts(text: &str) -> Punts {
        let configuration = parse(text).unwrap().configuration;
        compile(&State::new(configuration, text.to_owned(), ports(), Wall(1)))
    }

    #[test]
    fn own_addresses_are_those_of_ports_and_the_tunnel_sources() {
        let punts = punts(MIXED);
        let configuration = parse(MIXED).unwrap().configuration;
        for prefix in configuration.ports.iter().flat_map(|port| &port.addresses) {
            assert!(punts.addresses.contains(&prefix.addr()), "{prefix}");
            assert!(punts.on_link.contains(&prefix.trunc()), "{prefix}");
            assert!(!punts.addresses.contains(&prefix.network()), "{prefix}");
        }
        let v4 = configuration.node.tunnel_source_v4.map(IpNet::from);
        let v6 = configuration.node.tunnel_source_v6.map(|v6| IpNet::from(IpAddr::from(v6)));
        assert!(v4.is_some() || v6.is_some(), "the sample has a tunnel source");
        assert_eq!(punts.prefixes, v4.into_iter().chain(v6).collect::<Vec<_>>());
        assert_eq!(punts.interfaces.len(), configuration.ports.len());
    }

    #[test]
    fn each_class_has_its_own_limit() {
        let text = "[punt]\nrouting_peers = ['10.0.0.0/8']\nrouting = { rate = 1, burst = 2 }\n\
                    neighbor = { rate = 3, burst = 4 }\nown = { rate = 5, burst = 6 }\n\
                    link_local = { rate = 7, burst = 8 }\nmulticast = { rate = 9, burst = 10 }\n\
                    probe = { rate = 11, burst = 12 }\n";
        let punts = punts(&format!("{MIXED}\n{text}"));
        let peers: [IpNet; 1] = ["10.0.0.0/8".parse().unwrap()];
        assert_eq!(punts.routing_peers, peers);
        for (class, rate, burst) in [
            (Class::Routing, 1, 2),
            (Class::Neighbor, 3, 4),
            (Class::Own, 5, 6),
            (Class::LinkLocal, 7, 8),
            (Class::Multicast, 9, 10),
            (Class::Probe, 11, 12),
        ] {
            assert_eq!(punts.limits[class.index()], Limit { rate, burst }, "{class:?}");
        }
    }
}
