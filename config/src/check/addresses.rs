//! No address may be the appliance's own and another host's.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use rustc_hash::FxHashMap;

use super::draft::Draft;
use crate::findings::Place;
use crate::text::is_link_local_v6;

/// The appliance's own addresses.
pub(super) struct OwnAddresses {
    addresses: FxHashMap<IpAddr, String>,
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
        let ports = self.port_prefixes().map(|(path, prefix)| {
            let line = self.root.line(&path);
            (prefix.addr(), format!("the address of the port on line {line}"))
        });
        let checks = self.node.check_sources.iter().flatten();
        let checks = checks.map(|&it| (it, "an address of node.check_source".to_owned()));
        OwnAddresses { addresses: sources.chain(checks).chain(ports).collect(), prefix }
    }

    /// Gateways and neighbours must be other hosts.
    pub(super) fn other_hosts(&self, own: &OwnAddresses) {
        let routes = self.routes();
        let report = |path: &str, address: IpAddr| {
            let own = own.get(address)?;
            Some(self.root.mistake(path, format!("{address} is {own}; expected another host's")))
        };
        for (path, gateway) in self.gateways() {
            report(&path, gateway);
        }
        for (index, address, _) in self.neighbors() {
            let path = format!("neighbor[{index}].address");
            if report(&path, address).is_none()
                && let (None, Some(hop)) = (routes.on_link(address), routes.next_hop(address))
                && !is_link_local_v6(address)
            {
                let message = format!(
                    "{address} is in no port's network; it is taken to be on the link of port[{}]",
                    hop.port
                );
                self.root.warn(&path, message);
            }
        }
    }

    /// The addresses of the services, each with the line of the last one there.
    pub(super) fn vips(&self) -> FxHashMap<IpAddr, Place<'_>> {
        self.service_addresses().map(|(path, address)| (address, self.root.line(&path))).collect()
    }

    pub(super) fn backends_elsewhere(&self, own: &OwnAddresses) {
        let vips = self.vips();
        for (entry, address) in self.addressed_backends() {
            let wrong = match (own.get(address), vips.get(&address)) {
                (Some(own), _) => own.to_owned(),
                (None, Some(line)) => format!("the address of the service on line {line}"),
                (None, None) => continue,
            };
            let message = format!("{address} is {wrong}: packets would come back here");
            self.root.mistake(&entry.path("address"), message);
        }
    }

    pub(super) fn served_addresses(&self, own: &OwnAddresses) {
        for (path, address) in self.service_addresses() {
            let checks = self.node.check_sources.as_ref().is_ok_and(|it| it.contains(&address));
            // A source of probes is a mistake, which is reported there.
            if let Some(own) = own.get(address).filter(|_| !checks) {
                let message = format!(
                    "{address} is {own} too: what the service does not take is the appliance's own"
                );
                self.root.warn(&path, message);
            }
        }
    }
}
