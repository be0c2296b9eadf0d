//! `node.check_source` and `[probe]`: addresses, a device, a table and ports that nothing else has.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::draft::Draft;
use crate::findings::{Place, excerpt};
use crate::sections::Listen;
use crate::static_routes::StaticRoutes;
use crate::text::family;

/// The kernel's own tables (`/etc/iproute2/rt_tables`).
const TABLES: [(u32, &str); 3] = [(253, "default"), (254, "main"), (255, "local")];

impl Draft<'_> {
    pub(super) fn check_sources(&self) {
        let Ok(sources) = &self.node.check_sources else { return };
        if sources.is_empty() {
            if self.root.has("probe") {
                let message = "has no effect: without node.check_source no probe goes through a \
                               tunnel";
                self.root.warn("probe", message);
            }
            return;
        }
        let (others, routes) = (self.other_uses(), self.certain_routes());
        let hosts = self.gateways().map(|(_, address)| address);
        let hosts = hosts.chain(self.neighbors().map(|(_, address, _)| address));
        let hosts = hosts.chain(self.addressed_backends().map(|(_, address)| address));
        let hosts = hosts.chain(self.cluster.members.iter().flatten().copied()).collect();
        for (index, &source) in sources.iter().enumerate() {
            let path = format!("node.check_source[{index}]");
            if let Some(wrong) = self.wrong_source(source, &others, &hosts, routes.as_ref()) {
                self.root.mistake(&path, wrong);
            }
        }
        self.probe_interface();
        self.probe_table();
        self.listeners(sources);
    }

    /// What is wrong with a source of probes. Another host with its address is reported there.
    fn wrong_source(
        &self,
        source: IpAddr,
        others: &HashMap<IpAddr, (&str, Place<'_>)>,
        hosts: &HashSet<IpAddr>,
        routes: Option<&StaticRoutes>,
    ) -> Option<String> {
        if let Ok(sources) = self.node.sources
            && sources.holds(source)
        {
            return Some(format!(
                "{source} is of node.tunnel_source, to which servers send errors and members \
                 packets; expected an address for probes alone"
            ));
        }
        if let Some((what, line)) = others.get(&source) {
            return Some(format!(
                "{source} is {what} on line {line}; expected an address for probes alone"
            ));
        }
        if hosts.contains(&source) {
            return None;
        }
        let port = routes?.on_link(source)?;
        let of_port = self.ports()[port].addresses.as_ref().ok()?;
        let line = self.root.line(&format!("port[{port}]"));
        if !of_port.iter().any(|prefix| prefix.addr() == source) {
            return Some(format!(
                "{source} lies in a network of the port on line {line}, where nobody replies to {} \
                 for it; add it to the port's addresses, or take one that routers send here",
                if source.is_ipv4() { "ARP" } else { "neighbor discovery" }
            ));
        }
        (!self.ports()[port].has_interface()).then(|| {
            format!(
                "{source} is an address of the port on line {line}, which has no interface: the \
                 kernel does not have it"
            )
        })
    }

    /// Addresses that are for something else, each with what it is and where.
    fn other_uses(&self) -> HashMap<IpAddr, (&'static str, Place<'_>)> {
        let vips = self.vips().into_iter();
        let vips = vips.map(|(address, line)| (address, ("the address of the service", line)));
        let peers = self.bgp.peer.iter().flatten().enumerate();
        let peers = peers.flat_map(|(index, peer)| {
            let at = |key| self.root.line(&format!("bgp.peer[{index}].{key}"));
            let source = peer.source.ok().flatten();
            let source = source.map(|it| (it, ("the source of the BGP peer", at("source"))));
            let address = peer.address.ok();
            let address = address.map(|it| (it, ("the address of the BGP peer", at("address"))));
            source.into_iter().chain(address)
        });
        vips.chain(peers).collect()
    }

    /// The kernel has one device of a name.
    fn probe_interface(&self) {
        const KEY: &str = "probe.interface";
        let Ok(name) = &self.probe.interface else { return };
        let at = if self.root.has(KEY) { KEY } else { "node.check_source" };
        let message = if let Some(port) = self.port_with_interface(name) {
            let line = self.root.line(&format!("port[{port}]"));
            format!(
                "is {}, the interface of the port on line {line}; the forwarder makes a device of \
                 its own",
                excerpt(name)
            )
        } else if self.announces && self.announce.interface.as_ref().ok() == Some(name) {
            format!("is {}, as announce.interface; each is a device of its own", excerpt(name))
        } else {
            return;
        };
        self.root.mistake_at(at, KEY, message);
    }

    /// Probes must find one route in their table.
    fn probe_table(&self) {
        const KEY: &str = "probe.table";
        let Ok(table) = self.probe.table else { return };
        let at = if self.root.has(KEY) { KEY } else { "node.check_source" };
        if let Some((_, name)) = TABLES.iter().find(|(number, _)| *number == table) {
            let message =
                format!("is {table}, the kernel's table \"{name}\"; expected one of its own");
            self.root.mistake_at(at, KEY, message);
        } else if self.announces && self.announce.table.is_ok_and(|other| other == table) {
            let message =
                format!("is {table}, as announce.table; the routes of each need one of their own");
            self.root.mistake_at(at, KEY, message);
        }
    }

    /// No probe can come from a port on which the process listens.
    fn listeners(&self, sources: &[IpAddr]) {
        let Ok(ports) = &self.probe.source_ports else { return };
        for (index, listen) in self.metrics.listen.iter().flatten().enumerate() {
            let Listen::Tcp(address) = listen else { continue };
            let takes = |source: &IpAddr| {
                let same = source.is_ipv4() == address.is_ipv4();
                *source == address.ip() || same && address.ip().is_unspecified()
            };
            let Some(source) = sources.iter().find(|source| takes(source)) else { continue };
            if ports.contains(&address.port()) {
                let message = format!(
                    "{address} takes a port of probe.source_ports from {source}, an {} address of \
                     node.check_source; choose a port outside of {}-{}",
                    family(*source),
                    ports.start(),
                    ports.end()
                );
                self.root.mistake(&format!("metrics.listen[{index}]"), message);
            }
        }
    }
}
