//! No address may be the appliance's own and another host's.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::draft::Draft;
use crate::findings::Located;
use crate::model::Neighbor;
use crate::pool::BackendDraft;
use crate::value;

/// The appliance's own addresses.
pub(super) struct OwnAddresses {
    addresses: HashMap<IpAddr, String>,
    /// A prefix of tunnel sources.
    prefix: Option<Ipv4Net>,
}

impl OwnAddresses {
    /// A description of the address, if it is the appliance's own.
    pub(super) fn get(&self, address: IpAddr) -> Option<&str> {
        let in_prefix = || self.prefix.filter(|&prefix| IpNet::from(prefix).contains(&address));
        let exact = self.addresses.get(&address).map(String::as_str);
        exact.or_else(|| in_prefix().map(|_| "in the prefix of node.tunnel_source"))
    }
}

impl Draft<'_> {
    /// The appliance's own addresses, each with a description.
    pub(super) fn own_addresses(&self) -> OwnAddresses {
        let sources = self.node.sources.unwrap_or_default();
        let prefix = sources.v4.filter(|v4| v4.prefix_len() < 32);
        let sources = [sources.v4.map(|v4| v4.addr().into()), sources.v6.map(IpAddr::from)];
        let sources = sources.into_iter().flatten().map(|s| (s, "node.tunnel_source".to_owned()));
        let ports = self.ports().iter().flat_map(|port| port.addresses.iter().flatten());
        let ports = ports.map(|prefix| {
            let words =
                format!("the address of the port on line {}", self.findings.line(prefix.at));
            (prefix.value.addr(), words)
        });
        OwnAddresses { addresses: sources.chain(ports).collect(), prefix }
    }

    pub(super) fn gateways(&self, own: &OwnAddresses) {
        for (index, port) in self.ports().iter().enumerate() {
            for (position, gateway) in port.gateways.iter().flatten().enumerate() {
                if let Some(own) = own.get(gateway.value) {
                    let message = format!("{} is {own}; expected another host's", gateway.value);
                    let key = format!("port[{index}].gateways[{position}]");
                    self.findings.mistake(gateway.at, key, message);
                }
            }
        }
    }

    pub(super) fn neighbors(&self, own: &OwnAddresses) {
        let routes = self.routes();
        for (index, neighbor) in self.neighbors.iter().flatten().enumerate() {
            let Ok(Located { value: Neighbor { address, .. }, at }) = *neighbor else { continue };
            let key = format!("neighbor[{index}].address");
            if let Some(own) = own.get(address) {
                let message = format!("{address} is {own}; expected another host's");
                self.findings.mistake(at, key, message);
            } else if let (None, Some(hop)) = (routes.on_link(address), routes.next_hop(address))
                && !value::is_link_local_v6(address)
            {
                let message = format!(
                    "{address} is in no port's network; it is taken to be on the link of port[{}]",
                    hop.port
                );
                self.findings.warn(at, key, message);
            }
        }
    }

    pub(super) fn backends(&self, own: &OwnAddresses) {
        let services = self.services.iter().flatten();
        let vips: HashMap<IpAddr, usize> = services
            .filter_map(|service| service.address.as_ref().ok())
            .map(|address| (address.value, address.at))
            .collect();
        for (entry, Located { value, at }) in self.addressed_backends() {
            let wrong = match (own.get(value), vips.get(&value)) {
                (Some(own), _) => own.to_owned(),
                (None, Some(&vip)) => {
                    format!("the address of the service on line {}", self.findings.line(vip))
                }
                (None, None) => continue,
            };
            let message = format!("{value} is {wrong}: packets would come back here");
            self.findings.mistake(at, entry.key("address"), message);
        }
    }

    pub(super) fn services(&self, own: &OwnAddresses) {
        for (index, service) in self.services.iter().flatten().enumerate() {
            let key = |key: &str| format!("service[{index}].{key}");
            if let Ok(Located { value, at }) = &service.address
                && let Some(own) = own.get(*value)
            {
                let message = format!(
                    "{value} is {own} too: what the service does not take is the appliance's own"
                );
                self.findings.warn(*at, key("address"), message);
            }
            let Ok(Located { value: pool, at }) = service.pool else { continue };
            let Some(Ok(backends)) = self.pools().get(pool).map(|pool| &pool.backends) else {
                continue;
            };
            let takes = |backend: &BackendDraft| {
                let enabled = backend.enabled.as_ref().is_ok_and(|enabled| enabled.value);
                enabled && backend.weight.as_ref().is_ok_and(|weight| weight.value > 0)
            };
            if !backends.iter().any(takes) {
                let message = match backends.len() {
                    0 => "the pool has no backend: all packets are dropped",
                    _ => "no backend of the pool is enabled with a weight: new flows are dropped",
                };
                self.findings.warn(at, key("pool"), message);
            }
        }
    }
}
