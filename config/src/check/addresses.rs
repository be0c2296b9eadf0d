//! No address may be the appliance's own and another host's.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::draft::Draft;
use crate::findings::Located;
use crate::text::is_link_local_v6;

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

    /// Gateways and neighbours must be other hosts.
    pub(super) fn other_hosts(&self, own: &OwnAddresses) {
        let routes = self.routes();
        let report = |key: String, Located { value, at }: Located<IpAddr>| {
            let own = own.get(value)?;
            Some(self.findings.mistake(
                at,
                key,
                format!("{value} is {own}; expected another host's"),
            ))
        };
        for (key, gateway) in self.gateways() {
            report(key, gateway);
        }
        for (index, address, _) in self.neighbors() {
            let key = format!("neighbor[{index}].address");
            let Located { value, at } = address;
            if report(key.clone(), address).is_none()
                && let (None, Some(hop)) = (routes.on_link(value), routes.next_hop(value))
                && !is_link_local_v6(value)
            {
                let message = format!(
                    "{value} is in no port's network; it is taken to be on the link of port[{}]",
                    hop.port
                );
                self.findings.warn(at, key, message);
            }
        }
    }

    /// The addresses of the services, each with the position of the last one there.
    pub(super) fn vips(&self) -> HashMap<IpAddr, usize> {
        self.addressed_services().map(|(_, address)| (address.value, address.at)).collect()
    }

    pub(super) fn backends_elsewhere(&self, own: &OwnAddresses) {
        let vips = self.vips();
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

    pub(super) fn served_addresses(&self, own: &OwnAddresses) {
        for (index, Located { value, at }) in self.addressed_services() {
            if let Some(own) = own.get(value) {
                let message = format!(
                    "{value} is {own} too: what the service does not take is the appliance's own"
                );
                self.findings.warn(at, format!("service[{index}].address"), message);
            }
        }
    }
}
