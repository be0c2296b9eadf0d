//! The node: its own addresses, its end of tunnels, the members of its cluster.

use std::net::IpAddr;
use std::sync::Arc;

use guideway_config::{self as config, network_and_broadcast};
use guideway_core::balancer::backend::Route;
use guideway_core::balancer::cluster::{self, Cluster};
use guideway_core::balancer::decapsulation::Decapsulator;
use guideway_core::balancer::encapsulation::{Template, Tunnel};
use guideway_core::balancer::hash::FleetKey;
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::node::Node;
use guideway_core::balancer::source::OwnAddresses;
use ipnet::IpNet;

use super::{punts, source};
use crate::state::State;

/// What concerns this node besides services.
pub(super) fn compile(state: &State) -> Node {
    let configuration = &*state.intent.configuration;
    let members = &configuration.cluster.members;
    let peers = configuration.tunnel.peers.iter().copied();
    let peers = peers.chain(members.iter().map(|member| member.address.into()));
    let key = FleetKey::new(configuration.hash.key);
    let cluster = match members.is_empty() {
        true => Cluster::default(),
        false => Cluster::new(&key, &cluster_members(members)),
    };
    Node {
        own: own(state),
        tunnel: Decapsulator::new(source::networks(configuration), peers),
        cluster,
        members: self::members(state),
        reply_rate: configuration.icmp.rate,
        reply_burst: configuration.icmp.burst,
        mtus: configuration.ports.iter().map(|port| port.mtu).collect(),
        shared: shared(state),
        punts: Arc::new(punts::compile(state)),
    }
}

/// The routes to the members of the cluster.
pub(super) fn members(state: &State) -> Vec<Option<Route>> {
    let members = state.intent.configuration.cluster.members.iter();
    members.map(|member| route(state, member.address)).collect()
}

/// The addresses that no packet can come from.
fn own(state: &State) -> OwnAddresses {
    let configuration = &*state.intent.configuration;
    let ports = 0..state.observation.ports.len().min(configuration.ports.len());
    let macs = ports.map(|port| source::mac(state, port));
    let of_prefix =
        |prefix: IpNet| std::iter::once(prefix.addr()).chain(network_and_broadcast(prefix));
    // Addresses of devices that are no port's are own ones too, but their networks are elsewhere.
    let elsewhere = state.observation.routing.local().iter().filter(|local| local.link.is_none());
    let elsewhere = elsewhere.map(|local| local.network.addr()).filter(|own| !own.is_loopback());
    let probing = configuration.node.check_sources.iter().copied();
    OwnAddresses {
        macs: macs.filter(|&mac| mac != [0; 6]).collect(),
        addresses: state.prefixes().flat_map(of_prefix).chain(elsewhere).chain(probing).collect(),
        networks: source::networks(configuration),
    }
}

/// The route to another member of the cluster.
fn route(state: &State, address: IpAddr) -> Option<Route> {
    let configuration = &*state.intent.configuration;
    let hop = state.observation.routing.way(address).ok()?;
    let tunnel = Tunnel {
        source_mac: source::mac(state, hop.port),
        destination_mac: hop.mac?,
        source: source::address(configuration, address)?,
        destination: address,
    };
    Some(Route {
        port: PortIndex(u16::try_from(hop.port).ok()?),
        template: Template::redirecting(&tunnel, configuration.ports[hop.port].mtu)?
            .with_vlan(hop.vlan),
    })
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

/// The addresses of the ports' networks that are no single host's. IPv4: network and broadcast (RFC 1122
/// section 3.2.1.3), unless the prefix has 31 or 32 bits (RFC 3021). IPv6: subnet-router anycast (RFC 4291
/// section 2.6.1), unless the prefix has 127 or 128 bits (RFC 6164).
fn shared(state: &State) -> Vec<IpAddr> {
    let anycast = |prefix: IpNet| match prefix {
        IpNet::V6(v6) if v6.prefix_len() < 127 => Some(v6.network().into()),
        _ => None,
    };
    state
        .prefixes()
        .flat_map(|prefix| network_and_broadcast(prefix).chain(anycast(prefix)))
        .collect()
}
