//! Warnings: values that are valid but contradict the rest of the network.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use super::draft::Draft;
use crate::findings::Place;
use crate::model::network_and_broadcast;
use crate::sections::pool::MssClamp;
use crate::sections::port::MIN_MTU_V6;
use guideway_core::balancer::mtu::mss_for;
use guideway_core::wire::Family;

/// The key of the examples, which is public.
const EXAMPLE_KEY: [u8; 16] = 0x6a3f_0c52_d918_4be7_a1c0_5f7e_2b9d_4836_u128.to_be_bytes();

impl Draft<'_> {
    pub(super) fn warnings(&self) {
        self.known_key();
        self.groups();
        self.services_at_gateways();
        self.own_macs();
        self.clamps();
        self.narrow_ports();
        self.backends_that_forward();
    }

    fn known_key(&self) {
        let Ok(value) = self.hash.key else { return };
        let description = match value {
            EXAMPLE_KEY => "the key of the examples",
            [0, ..] if value == [0; 16] => "all zeros",
            _ => return,
        };
        let message = format!(
            "is {description}: clients that know it can choose their backend; make one by \
             `openssl rand -hex 16`"
        );
        self.root.warn("hash.key", message);
    }

    /// Addresses that no host has: the network and broadcast addresses of a port's network.
    fn groups(&self) {
        let groups: FxHashMap<IpAddr, IpNet> = self
            .port_prefixes()
            .flat_map(|(_, prefix)| network_and_broadcast(prefix).map(move |ip| (ip, prefix)))
            .collect();
        let check = |path: &dyn Fn() -> String, address: IpAddr| {
            let Some(prefix) = groups.get(&address) else { return };
            let kind = if prefix.network() == address { "network" } else { "broadcast" };
            let network = prefix.trunc();
            let message = format!("{address} is the {kind} address of {network}: no host has it");
            self.root.warn(&path(), message);
        };
        for (path, address) in self.gateways() {
            check(&|| path.clone(), address);
        }
        for (index, address, _) in self.neighbors() {
            check(&|| format!("neighbor[{index}].address"), address);
        }
        for (entry, address) in self.addressed_backends() {
            check(&|| entry.path("address"), address);
        }
        for (path, address) in self.service_addresses() {
            check(&|| path.clone(), address);
        }
    }

    fn services_at_gateways(&self) {
        let gateways = self.gateways().map(|(path, gateway)| (gateway, self.root.line(&path)));
        let gateways: HashMap<IpAddr, Place<'_>> = gateways.collect();
        for (path, value) in self.service_addresses() {
            if let Some(line) = gateways.get(&value) {
                let message = format!(
                    "{value} is the gateway on line {line}: its packets would not come here"
                );
                self.root.warn(&path, message);
            }
        }
    }

    fn own_macs(&self) {
        let macs = self.ports().iter().enumerate();
        let macs = macs.filter_map(|(index, port)| {
            Some((port.mac.ok()??, self.root.line(&format!("port[{index}].mac"))))
        });
        let macs: HashMap<_, Place<'_>> = macs.collect();
        for (index, address, mac) in self.neighbors() {
            if let Some(line) = macs.get(&mac) {
                let message = format!(
                    "is the MAC address of the port on line {line}: frames to {address} would come \
                     back here"
                );
                let at = format!("neighbor[{index}].address");
                self.root.warn_at(&at, &format!("neighbor[{index}].mac"), message);
            }
        }
    }

    /// A segment size that fits no port lowers nothing.
    fn clamps(&self) {
        let mtus = self.ports().iter().flat_map(|port| port.mtu);
        let Some(mtu) = mtus.max() else { return };
        for (index, pool) in self.pools().iter().enumerate() {
            let Ok(Some(MssClamp::To(mss))) = pool.mss_clamp else {
                continue;
            };
            let largest = mss_for(mtu, 0, Family::V4);
            if mss > largest {
                let message = format!(
                    "is {mss}; a port's MTU of {mtu} has room for {largest} at most, and less \
                     behind the tunnel's headers; \"auto\" finds what fits"
                );
                self.root.warn(&format!("pool[{index}].mss_clamp"), message);
            }
        }
    }

    /// IPv6 hosts may send 1280 bytes and need not honour a smaller MTU (RFC 8200, section 5).
    fn narrow_ports(&self) {
        let Some(routes) = self.certain_routes() else { return };
        let serve_v6: HashSet<usize> = self
            .services()
            .iter()
            .filter(|service| service.keys.address.is_ok_and(|address| address.is_ipv6()))
            .flat_map(|service| service.pool)
            .collect();
        if serve_v6.is_empty() {
            return;
        }
        let serve_v6: HashSet<(usize, usize)> = serve_v6
            .into_iter()
            .flat_map(|pool| self.inclusions_of(pool))
            .flat_map(|found| &found.included)
            .map(|included| (included.pool, included.backend))
            .collect();
        let mut needed: HashMap<usize, u16> = HashMap::new();
        for (entry, address) in self.addressed_backends() {
            let (Some(hop), Ok(listed), Ok(parameters)) =
                (routes.next_hop(address), entry.encapsulations(), entry.parameters())
            else {
                continue;
            };
            if !serve_v6.contains(&(entry.pool_index, entry.index)) {
                continue;
            }
            // The smallest of several: the choice depends on more than this check knows.
            let overheads = listed.iter().map(|e| e.overhead(&parameters, address.is_ipv6()));
            let overhead = overheads.min().and_then(|least| u16::try_from(least).ok()).unwrap_or(0);
            let least = needed.entry(hop.port).or_default();
            *least = (*least).max(MIN_MTU_V6 + overhead);
        }
        for (index, port) in self.ports().iter().enumerate() {
            let (Ok(mtu), Some(&least)) = (port.mtu, needed.get(&index)) else { continue };
            if mtu < least {
                let message = format!(
                    "is {mtu}; IPv6 services need {least}: {MIN_MTU_V6} bytes, which every IPv6 \
                     host may send, and the tunnel's headers"
                );
                self.root.warn(&format!("port[{index}].mtu"), message);
            }
        }
    }

    /// A backend that is a forwarder itself sends packets back.
    fn backends_that_forward(&self) {
        let peers = self.tunnel.peers.as_ref().map_or(&[][..], Vec::as_slice);
        let members: HashSet<IpAddr> = self.cluster.members.iter().flatten().copied().collect();
        if peers.is_empty() && members.is_empty() {
            return;
        }
        for (entry, value) in self.addressed_backends() {
            let what = if members.contains(&value) {
                "a member of the cluster"
            } else if peers.iter().any(|peer| peer.contains(&value)) {
                "among tunnel.peers"
            } else {
                continue;
            };
            let message = format!(
                "{value} is {what}: a forwarder that sends packets back makes a loop, which ends \
                 only with their hops"
            );
            self.root.warn(&entry.path("address"), message);
        }
    }
}
