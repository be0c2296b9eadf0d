//! The outer source addresses of tunnels.

use std::net::IpAddr;

use guideway_config::{Configuration, Mac};
use ipnet::IpNet;

use crate::state::State;

/// This node's addresses to which packets may be tunnelled.
pub(super) fn networks(configuration: &Configuration) -> Vec<IpNet> {
    let node = &configuration.node;
    let v4 = node.tunnel_source_v4.map(IpNet::from);
    let v6 = node.tunnel_source_v6.map(|v6| IpAddr::from(v6).into());
    v4.into_iter().chain(v6).collect()
}

/// The length of the IPv4 prefix from which flows choose their outer source address.
pub(super) fn prefix_length(configuration: &Configuration) -> u8 {
    configuration.node.tunnel_source_v4.map_or(32, |v4| v4.prefix_len())
}

/// The outer source address of packets to a backend.
pub(super) fn address(configuration: &Configuration, backend: IpAddr) -> Option<IpAddr> {
    match backend {
        IpAddr::V4(_) => configuration.node.tunnel_source_v4.map(|v4| v4.addr().into()),
        IpAddr::V6(_) => configuration.node.tunnel_source_v6.map(IpAddr::from),
    }
}

/// The MAC address that a port's frames leave with.
pub(super) fn mac(state: &State, port: usize) -> Mac {
    let configured = state.intent.configuration.ports[port].mac;
    configured.unwrap_or(state.observation.ports[port].device_mac)
}
