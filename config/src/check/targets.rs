//! What is probed must not be too much, and the ports that probes come from must be enough.
//!
//! A target is a backend's check by one way: pools that share a server, with the same check and the same tunnel, share
//! the target.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::draft::BackendEntry;
use super::uses::{By, Uses};
use crate::findings::count;
use crate::sections::Via;
use crate::sections::pool::MAX_COUNT;

/// What is probed, and where the probes go.
#[derive(PartialEq, Eq, Hash)]
struct Target {
    check: usize,
    backend: IpAddr,
    address: IpAddr,
    /// 0 for a ping.
    port: u16,
    /// A number for the encapsulations and their settings; none for a way without them.
    tunnel: Option<usize>,
}

/// A backend that is probed.
struct Probed {
    address: IpAddr,
    /// A number for its encapsulations and their settings, of which one is a tunnel.
    tunnel: Option<usize>,
    /// The same, also if none is a tunnel.
    way: usize,
}

impl Uses<'_> {
    /// Reports targets beyond what one controller probes, and more of them through tunnels than have ports.
    pub(super) fn ports(&self) {
        if self.uses.is_empty() {
            return;
        }
        let Some(targets) = self.targets() else { return };
        if targets.len() > MAX_COUNT {
            let message = format!(
                "over {MAX_COUNT} probes are to be sent by turns, one for each check of a backend \
                 and each way to it, which is the most; name fewer checks, or share pools"
            );
            self.draft.root.mistake_at("check[0]", "check", message);
            return;
        }
        let (Ok(sources), Ok(source_ports), Ok(ports_each)) = (
            &self.draft.node.check_sources,
            &self.draft.probe.source_ports,
            self.draft.probe.ports_each,
        ) else {
            return;
        };
        for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
            let sources = sources.iter().filter(|source| source.is_ipv4() == is_v4).count();
            let tunnelled =
                |target: &&Target| target.tunnel.is_some() && target.address.is_ipv4() == is_v4;
            let targets = targets.iter().filter(tunnelled).count();
            let needed = targets * usize::from(ports_each);
            // Another check reports a family without a source.
            if sources == 0 || needed <= sources * source_ports.len() {
                continue;
            }
            const KEY: &str = "probe.source_ports";
            let at = if self.draft.root.has(KEY) { KEY } else { "node.check_source" };
            let message = format!(
                "has {}, and {} to {family} addresses through tunnels need {ports_each} each, \
                 {needed} in all, of {}; widen the range, or add addresses to node.check_source",
                count(source_ports.len(), "port"),
                count(targets, "probe"),
                count(sources, "source"),
            );
            self.draft.root.mistake_at(at, KEY, message);
        }
    }

    /// All targets, or some more than there can be; none if a mistake hides some.
    fn targets(&self) -> Option<HashSet<Target>> {
        let probed = self.probed()?;
        let mut targets = HashSet::new();
        for it in &self.uses {
            let service = self.service(it);
            let (kind, via) = (it.check.kind.ok()?, it.check.via.ok()?);
            let service_port = match service {
                Some(service) => Some(service.keys.port.ok()?),
                None => None,
            };
            let port = match kind.protocol() {
                None => Some(0),
                Some(_) => it.check.port.ok()?.or(service_port),
            };
            let override_address = it.check.address.ok()?;
            let virtual_address = match service {
                Some(service) => Some(service.keys.address.ok()?),
                None => None,
            };
            // Another check reports a use without a service.
            let Some(port) = port else { continue };
            let mut add = |backend: &Probed| {
                let tunnel = match via {
                    Some(Via::Tunnel) => Some(backend.way),
                    Some(Via::Direct) => None,
                    None => backend.tunnel,
                };
                let address = match tunnel {
                    Some(_) => override_address.or(virtual_address),
                    None => override_address.or(Some(backend.address)),
                };
                if let Some(address) = address {
                    let (check, backend) = (it.index, backend.address);
                    targets.insert(Target { check, backend, address, port, tunnel });
                }
                targets.len() <= MAX_COUNT
            };
            let is_little = match it.by {
                By::Pool(pool) => probed.get(pool)?.iter().all(&mut add),
                By::Service(service) => {
                    let pool = self.draft.services().get(service)?.pool.ok()?;
                    let mut chosen = self.draft.inclusions_of(pool)?.included.iter();
                    chosen.all(|i| probed[i.pool].get(i.backend).is_none_or(&mut add))
                }
            };
            if !is_little {
                break;
            }
        }
        Some(targets)
    }

    /// The backends of each pool; none if one has a mistake.
    fn probed(&self) -> Option<Vec<Vec<Probed>>> {
        let mut ways = HashMap::new();
        let pools = self.draft.pools().iter().enumerate().map(|(pool_index, pool)| {
            let backends = pool.backends.as_ref().ok()?.iter().enumerate();
            let backends = backends.map(|(index, backend)| {
                let entry = BackendEntry { pool, pool_index, index, backend };
                let listed = entry.encapsulations().ok()?;
                let is_tunnel = listed.iter().any(|e| e.is_tunnel());
                let next = ways.len();
                let text = format!("{listed:?} {:?}", entry.parameters().ok()?);
                let way = *ways.entry(text).or_insert(next);
                let tunnel = is_tunnel.then_some(way);
                Some(Probed { address: backend.address.ok()?, tunnel, way })
            });
            backends.collect::<Option<Vec<Probed>>>()
        });
        pools.collect()
    }
}
