//! What no section can see by itself.
//!
//! A check is left out only where a value that it needs was reported already: its own findings
//! would be guesses.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::balancing::{BackendDraft, PoolDraft, ServiceDraft};
use super::findings::{Checked, Findings, Located, count, excerpt};
use super::fleet::ClusterDraft;
use super::machine::{self, HashDraft, NodeDraft, Sources};
use super::model::{Neighbor, Prefix, Tunnel};
use super::network::PortDraft;
use super::route::Routes;
use super::value;

/// Slots of a Maglev table for each backend of its pool. Section 5.3 of the Maglev paper: with a
/// hundred, the shares of equal backends differ by a percent.
const SLOTS_PER_BACKEND: usize = 100;

/// Slots of all Maglev tables together: some GiB, where a slip would ask for more than there is.
const MAX_SLOTS: u64 = 1 << 30;

/// All that was read, for checks across it.
pub(super) struct Draft<'a> {
    pub(super) findings: &'a Findings,
    pub(super) node: &'a NodeDraft,
    pub(super) hash: &'a HashDraft,
    pub(super) ports: &'a Checked<Vec<PortDraft>>,
    pub(super) neighbors: &'a Checked<Vec<Checked<Located<Neighbor>>>>,
    pub(super) pools: &'a Checked<Vec<PoolDraft>>,
    pub(super) services: &'a Checked<Vec<ServiceDraft>>,
    pub(super) cluster: &'a ClusterDraft,
    pub(super) tunnel: &'a Checked<Tunnel>,
}

/// A backend, its pool and its place.
#[derive(Clone, Copy)]
pub(super) struct BackendEntry<'a> {
    pub(super) pool: &'a PoolDraft,
    pool_index: usize,
    index: usize,
    pub(super) backend: &'a BackendDraft,
}

impl BackendEntry<'_> {
    pub(super) fn key(&self, key: &str) -> String {
        format!("pool[{}].backends[{}].{key}", self.pool_index, self.index)
    }

    pub(super) fn pool_index(&self) -> usize {
        self.pool_index
    }

    /// `"b1" of pool "web"`.
    fn title(&self) -> String {
        let name = |name: &Checked<Located<String>>| {
            name.as_ref().map_or("of no name".to_owned(), |name| excerpt(&name.value))
        };
        format!("{} of pool {}", name(&self.backend.name), name(&self.pool.name))
    }
}

/// The appliance's own addresses.
pub(super) struct OwnAddresses {
    addresses: HashMap<IpAddr, String>,
    /// A prefix of tunnel sources.
    prefix: Option<Prefix>,
}

impl OwnAddresses {
    /// What an address is, in words, if it is the appliance's own.
    pub(super) fn get(&self, address: IpAddr) -> Option<&str> {
        let in_prefix = || self.prefix.filter(|prefix| prefix.contains(address));
        let exact = self.addresses.get(&address).map(String::as_str);
        exact.or_else(|| in_prefix().map(|_| "in the prefix of node.tunnel_source"))
    }
}

impl<'a> Draft<'a> {
    pub(super) fn check(&self) {
        self.table_size();
        self.tunnel_sources();
        let own = self.own_addresses();
        self.gateways(&own);
        self.neighbors(&own);
        self.backends(&own);
        self.services(&own);
        self.cluster(&own);
        self.next_hops();
        self.encapsulations();
        self.unused_pools();
    }

    pub(super) fn ports(&self) -> &'a [PortDraft] {
        self.ports.as_ref().map_or(&[], Vec::as_slice)
    }

    pub(super) fn pools(&self) -> &'a [PoolDraft] {
        self.pools.as_ref().map_or(&[], Vec::as_slice)
    }

    /// Every backend whose address is known.
    pub(super) fn addressed_backends(
        &self,
    ) -> impl Iterator<Item = (BackendEntry<'a>, Located<IpAddr>)> + use<'a> {
        self.pools().iter().enumerate().flat_map(|(pool_index, pool)| {
            let backends = pool.backends.iter().flatten().enumerate();
            backends.filter_map(move |(index, backend)| {
                let address = *backend.address.as_ref().ok()?;
                Some((BackendEntry { pool, pool_index, index, backend }, address))
            })
        })
    }

    fn table_size(&self) {
        const KEY: &str = "hash.table_size";
        let Ok(Located { value: size, at }) = self.hash.table_size else { return };
        let largest = self.pools().iter().enumerate().max_by_key(|(index, pool)| {
            // Of equal ones the first.
            (pool.backends.as_ref().map_or(0, Vec::len), std::cmp::Reverse(*index))
        });
        if let Some((_, pool)) = largest {
            let backends = pool.backends.as_ref().map_or(0, Vec::len);
            let needed = u32::try_from(backends * SLOTS_PER_BACKEND).unwrap_or(u32::MAX);
            if size < needed {
                let name = pool.name.as_ref().map_or_else(|_| "", |name| name.value.as_str());
                let message = format!(
                    "is {size}, less than {SLOTS_PER_BACKEND} for each of the {backends} backends \
                     of pool {} on line {}; {} is the least that would do",
                    excerpt(name),
                    self.findings.line(pool.at),
                    machine::prime_at_least(needed)
                );
                self.findings.mistake(at, KEY, message);
            }
        }
        let pools = self.pools().len();
        if u64::from(size) * (pools as u64) > MAX_SLOTS {
            let message = format!(
                "is {size}, which for {pools} pools makes more than {MAX_SLOTS} slots in all; at \
                 most {} would do",
                MAX_SLOTS / (pools as u64)
            );
            self.findings.mistake(at, KEY, message);
        }
        for (index, pool) in self.pools().iter().enumerate() {
            self.smallest_share(size, index, pool);
        }
    }

    /// Every backend with a weight must have a slot in the table. Backends that are not enabled
    /// count as well, so that enabling one never makes a valid configuration invalid.
    fn smallest_share(&self, size: u32, pool_index: usize, pool: &PoolDraft) {
        let Ok(backends) = &pool.backends else { return };
        let mut sum = 0;
        let mut smallest: Option<(usize, Located<u32>)> = None;
        for (index, backend) in backends.iter().enumerate() {
            let Ok(weight) = backend.weight else { return };
            sum += u64::from(weight.value);
            let smaller = smallest.is_none_or(|(_, least)| weight.value < least.value);
            if weight.value > 0 && smaller {
                smallest = Some((index, weight));
            }
        }
        let Some((index, Located { value: weight, at })) = smallest else { return };
        if u64::from(size) * u64::from(weight) >= sum {
            return;
        }
        // The least w with size * w >= sum - weight + w.
        let enough_weight = (sum - u64::from(weight)).div_ceil(u64::from(size) - 1);
        let enough_slots = u32::try_from(sum.div_ceil(weight.into())).map(machine::prime_at_least);
        let or_size = match enough_slots {
            Ok(slots) if machine::is_table_size(slots) => {
                format!(", or hash.table_size {slots}")
            }
            _ => String::new(),
        };
        let message = format!(
            "is {weight} of {sum} in the pool, less than one of its {size} slots; {enough_weight} \
             would do{or_size}"
        );
        self.findings.mistake(at, format!("pool[{pool_index}].backends[{index}].weight"), message);
    }

    /// One mistake for each family that is missing, however many backends need it.
    fn tunnel_sources(&self) {
        let routes = self.knows_all_networks().then(|| self.routes());
        // One that needs the link or can do with it is the affair of [`Draft::link`].
        let needs_source = |entry: &BackendEntry<'_>, address| {
            let on_link = match &routes {
                Some(routes) => routes.next_hop(address).is_some_and(|hop| hop.address == address),
                None => true,
            };
            let listed =
                entry.backend.encapsulation.listed(&entry.pool.encapsulation).unwrap_or_default();
            listed.iter().any(|e| e.is_tunnel())
                && !(on_link && listed.iter().any(|e| !e.is_tunnel()))
        };
        let Ok(Sources { v4, v6, .. }) = self.node.sources else { return };
        for (family, is_v4, present) in
            [("IPv4", true, v4.is_some()), ("IPv6", false, v6.is_some())]
        {
            let mut needing = self.addressed_backends().filter(|(entry, address)| {
                address.value.is_ipv4() == is_v4 && needs_source(entry, address.value)
            });
            let Some((first, address)) = needing.next() else { continue };
            if !present {
                let message = format!(
                    "has no {family} address, which {} as outer source, first {} on line {}; add \
                     one",
                    match needing.count() {
                        0 => "1 backend needs".to_owned(),
                        more => format!("{} backends need", more + 1),
                    },
                    first.title(),
                    self.findings.line(address.at)
                );
                self.findings.mistake(self.node.sources_at, "node.tunnel_source", message);
            }
        }
    }

    /// The appliance's own addresses, in words.
    fn own_addresses(&self) -> OwnAddresses {
        let sources = self.node.sources.unwrap_or_default();
        let prefix = sources
            .v4
            .filter(|_| sources.v4_host_bits > 0)
            .map(|v4| Prefix { address: v4.into(), length: 32 - sources.v4_host_bits });
        let sources = [sources.v4.map(IpAddr::from), sources.v6.map(IpAddr::from)];
        let sources = sources.into_iter().flatten().map(|s| (s, "node.tunnel_source".to_owned()));
        let ports = self.ports().iter().flat_map(|port| port.addresses.iter().flatten());
        let ports = ports.map(|prefix| {
            let words =
                format!("the address of the port on line {}", self.findings.line(prefix.at));
            (prefix.value.address, words)
        });
        OwnAddresses { addresses: sources.chain(ports).collect(), prefix }
    }

    fn gateways(&self, own: &OwnAddresses) {
        for (index, port) in self.ports().iter().enumerate() {
            for (place, gateway) in port.gateways.iter().flatten().enumerate() {
                if let Some(own) = own.get(gateway.value) {
                    let message = format!("{} is {own}; expected another host's", gateway.value);
                    let key = format!("port[{index}].gateways[{place}]");
                    self.findings.mistake(gateway.at, key, message);
                }
            }
        }
    }

    fn neighbors(&self, own: &OwnAddresses) {
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

    fn backends(&self, own: &OwnAddresses) {
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

    fn services(&self, own: &OwnAddresses) {
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

    pub(super) fn routes(&self) -> Routes {
        let networks = self.ports().iter().map(|port| {
            let addresses = port.addresses.iter().flatten().map(|prefix| prefix.value);
            (addresses, port.gateways.iter().flatten().map(|gateway| gateway.value))
        });
        let neighbors = self.neighbors.iter().flatten().flatten();
        Routes::new(networks, neighbors.map(|neighbor| neighbor.value))
    }

    /// Whether there is no mistake in what the routes are made of.
    pub(super) fn knows_all_networks(&self) -> bool {
        let whole = |port: &PortDraft| port.addresses.is_ok() && port.gateways.is_ok();
        self.ports.is_ok() && self.ports().iter().all(whole)
    }

    fn next_hops(&self) {
        if !self.knows_all_networks() {
            return;
        }
        let routes = self.routes();
        let mut unresolved: BTreeMap<IpAddr, (BackendEntry<'_>, usize, usize)> = BTreeMap::new();
        for (entry, Located { value, at }) in self.addressed_backends() {
            let hop = routes.next_hop(value);
            if let Some(hop) = hop {
                self.link(entry, Located { value, at }, hop.address == value);
            }
            match hop {
                None => {
                    let family = if value.is_ipv4() { "IPv4" } else { "IPv6" };
                    let message = format!(
                        "{value} cannot be reached: it is in no port's network, and no port has \
                         an {family} gateway; add one of the two, or a [[neighbor]]"
                    );
                    self.findings.mistake(at, entry.key("address"), message);
                }
                Some(hop) if hop.mac.is_none() => {
                    unresolved.entry(hop.address).or_insert((entry, at, 0)).2 += 1;
                }
                Some(_) => {}
            }
        }
        for (hop, (entry, at, backends)) in unresolved {
            let message = format!(
                "the next hop {hop} of {} has no [[neighbor]]: packets are dropped as \
                 next_hop_unresolved until it has one",
                count(backends, "backend")
            );
            self.findings.warn(at, entry.key("address"), message);
        }
    }

    fn unused_pools(&self) {
        let Ok(services) = self.services else {
            return;
        };
        let mut used = vec![false; self.pools().len()];
        for pool in services.iter().flat_map(|service| &service.pool) {
            used[pool.value] = true;
        }
        for (index, pool) in self.pools().iter().enumerate().filter(|&(index, _)| !used[index]) {
            self.findings.warn(pool.at, format!("pool[{index}]"), "no service uses this pool");
        }
    }
}
