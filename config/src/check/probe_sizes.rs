//! `check.size` must be long enough for the headers of a probe, and fit the ports with those of a tunnel.

use std::collections::HashSet;

use super::draft::Draft;
use super::uses::{Use, Uses};
use crate::probing::probe_mtu;
use crate::sections::check::Kind;

/// Behind the IP header: that of ICMP, and 16 bytes that tell an answer from that to another probe.
const ECHO: u16 = 8 + 16;

/// Behind the IP header: that of TCP, and the shortest segment that the kernel cuts a stream to.
const SEGMENT: u16 = 20 + 88;

impl Uses<'_> {
    /// Reports the sizes of checks that are named: of the others nobody knows where they go.
    pub(super) fn sizes(&self) {
        let room = self.draft.room_in_tunnels();
        let mut reported = HashSet::new();
        for it in &self.uses {
            let (Ok(Some(size)), Some(kind)) = (it.check.size, it.kind()) else { continue };
            if reported.contains(&it.index) {
                continue;
            }
            let Some(wrong) = self.wrong_size(it, kind, size, room) else { continue };
            reported.insert(it.index);
            self.draft.root.mistake(&format!("check[{}].size", it.index), wrong);
        }
    }

    fn wrong_size(&self, of: &Use<'_>, kind: Kind, size: u16, room: Option<u16>) -> Option<String> {
        let (header, version) = match self.may_be_v6(of) {
            false => (20, "IPv4"),
            true => (40, "IPv6"),
        };
        let least = header
            + match kind {
                Kind::Ping => ECHO,
                Kind::Http | Kind::Https => SEGMENT,
                // Another check reports a size where there can be none.
                Kind::Tcp | Kind::Tls | Kind::Udp => return None,
            };
        if size < least {
            return Some(format!(
                "is {size}; the shortest probe of {:?} over {version} has {least} bytes",
                kind.name()
            ));
        }
        let room = room.filter(|&room| size > room)?;
        self.by_tunnel(of)?;
        Some(format!(
            "is {size}; tunnels have room for {room} bytes: the smallest MTU of a port, less the \
             largest overhead of an encapsulation"
        ))
    }

    fn may_be_v6(&self, of: &Use<'_>) -> bool {
        let to_tunnel = self.tunnel_address(of).is_some_and(|address| address.is_ipv6());
        let direct = self.direct(of).is_some()
            && match of.check.address {
                Ok(Some(address)) => address.is_ipv6(),
                _ => self.backends(of).has_v6,
            };
        to_tunnel || direct
    }
}

impl Draft<'_> {
    /// The longest packet that fits every tunnel; none if a mistake hides it.
    fn room_in_tunnels(&self) -> Option<u16> {
        let ports = self.ports.as_ref().ok()?.iter().map(|port| port.mtu.ok());
        let ports = ports.collect::<Option<Vec<u16>>>()?;
        let mut overheads = Vec::new();
        for (entry, address) in self.addressed_backends() {
            let (listed, parameters) = (entry.encapsulations().ok()?, entry.parameters().ok()?);
            let is_v6 = address.is_ipv6();
            overheads.extend(listed.iter().map(|e| e.overhead(&parameters, is_v6)));
        }
        Some(probe_mtu(ports.into_iter(), overheads.into_iter()))
    }
}
