//! Warnings: values that are valid but contradict the rest of the network.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::draft::Draft;
use crate::findings::Located;
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
        let Ok(Located { value, at }) = self.hash.key else { return };
        let description = match value {
            EXAMPLE_KEY => "the key of the examples",
            [0, ..] if value == [0; 16] => "all zeros",
            _ => return,
        };
        let message = format!(
            "is {description}: clients that know it can choose their backend; make one by \
             `openssl rand -hex 16`"
        );
        self.findings.warn(at, "hash.key", message);
    }

    /// Addresses that no host has: the network and broadcast addresses of a port's network.
    fn groups(&self) {
        let prefixes = || self.ports().iter().flat_map(|port| port.addresses.iter().flatten());
        let groups: HashMap<IpAddr, IpNet> = prefixes()
            .flat_map(|prefix| network_and_broadcast(prefix.value).map(|ip| (ip, prefix.value)))
            .collect();
        let warn = |address: Located<IpAddr>, key: String| {
            let Some(prefix) = groups.get(&address.value) else { return };
            let kind = if prefix.network() == address.value { "network" } else { "broadcast" };
            let message = format!(
                "{} is the {kind} address of {}: no host has it",
                address.value,
                prefix.trunc()
            );
            self.findings.warn(address.at, key, message);
        };
        for (key, gateway) in self.gateways() {
            warn(gateway, key);
        }
        for (index, address, _) in self.neighbors() {
            warn(address, format!("neighbor[{index}].address"));
        }
        for (entry, address) in self.addressed_backends() {
            warn(address, entry.key("address"));
        }
        for (index, address) in self.addressed_services() {
            warn(address, format!("service[{index}].address"));
        }
    }

    fn services_at_gateways(&self) {
        let gateways = self.gateways().map(|(_, gateway)| (gateway.value, gateway.at));
        let gateways: HashMap<IpAddr, usize> = gateways.collect();
        for (index, Located { value, at }) in self.addressed_services() {
            if let Some(&gateway) = gateways.get(&value) {
                let message = format!(
                    "{value} is the gateway on line {}: its packets would not come here",
                    self.findings.line(gateway)
                );
                self.findings.warn(at, format!("service[{index}].address"), message);
            }
        }
    }

    fn own_macs(&self) {
        let macs = self.ports().iter().filter_map(|port| *port.mac.as_ref().ok()?);
        let macs: HashMap<_, usize> = macs.map(|mac| (mac.value, mac.at)).collect();
        for (index, Located { value: address, at }, mac) in self.neighbors() {
            if let Some(&port) = macs.get(&mac.value) {
                let message = format!(
                    "is the MAC address of the port on line {}: frames to {address} would come back \
                     here",
                    self.findings.line(port)
                );
                self.findings.warn(at, format!("neighbor[{index}].mac"), message);
            }
        }
    }

    /// A segment size that fits no port lowers nothing.
    fn clamps(&self) {
        let mtus = self.ports().iter().filter_map(|port| Some(port.mtu.as_ref().ok()?.value));
        let Some(mtu) = mtus.max() else { return };
        for (index, pool) in self.pools().iter().enumerate() {
            let Ok(Some(Located { value: MssClamp::To(mss), at })) = pool.keys.mss_clamp else {
                continue;
            };
            let largest = mss_for(mtu, 0, Family::V4);
            if mss > largest {
                let message = format!(
                    "is {mss}; a port's MTU of {mtu} has room for {largest} at most, and less \
                     behind the tunnel's headers; \"auto\" finds what fits"
                );
                self.findings.warn(at, format!("pool[{index}].mss_clamp"), message);
            }
        }
    }

    /// IPv6 hosts may send 1280 bytes and need not honour a smaller MTU (RFC 8200, section 5).
    fn narrow_ports(&self) {
        let Some(routes) = self.certain_routes() else { return };
        let serves_v6: HashSet<usize> = self
            .addressed_services()
            .filter(|(_, address)| address.value.is_ipv6())
            .filter_map(|(index, _)| Some(self.services()[index].pool.as_ref().ok()?.value))
            .collect();
        let mut needed: HashMap<usize, u16> = HashMap::new();
        for (entry, address) in self.addressed_backends() {
            let (Some(hop), Ok(listed), Ok(parameters)) =
                (routes.next_hop(address.value), entry.encapsulations(), entry.parameters())
            else {
                continue;
            };
            if !serves_v6.contains(&entry.pool_index) {
                continue;
            }
            // The smallest of several: the choice depends on more than this check knows.
            let overheads = listed.iter().map(|e| e.overhead(&parameters, address.value.is_ipv6()));
            let overhead = overheads.min().and_then(|least| u16::try_from(least).ok()).unwrap_or(0);
            let least = needed.entry(hop.port).or_default();
            *least = (*least).max(MIN_MTU_V6 + overhead);
        }
        for (index, port) in self.ports().iter().enumerate() {
            let (Ok(Located { value: mtu, at }), Some(&least)) = (port.mtu, needed.get(&index))
            else {
                continue;
            };
            if mtu < least {
                let message = format!(
                    "is {mtu}; IPv6 services need {least}: {MIN_MTU_V6} bytes, which every IPv6 \
                     host may send, and the tunnel's headers"
                );
                self.findings.warn(at, format!("port[{index}].mtu"), message);
            }
        }
    }

    /// A backend that is a forwarder itself sends packets back.
    fn backends_that_forward(&self) {
        let peers = self.tunnel.peers.as_ref().map_or(&[][..], Vec::as_slice);
        let members: HashSet<IpAddr> =
            self.cluster.members.iter().flatten().map(|member| member.value).collect();
        for (entry, Located { value, at }) in self.addressed_backends() {
            let what = if members.contains(&value) {
                "a member of the cluster"
            } else if peers.iter().any(|peer| peer.value.contains(&value)) {
                "among tunnel.peers"
            } else {
                continue;
            };
            let message = format!(
                "{value} is {what}: a forwarder that sends packets back makes a loop, which ends \
                 only with their hops"
            );
            self.findings.warn(at, entry.key("address"), message);
        }
    }
}
