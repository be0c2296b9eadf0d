//! `[cluster]`, `[tunnel]` and `[fragments]`: the other forwarders, what may be tunnelled here, and the
//! room for fragments.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::cross::{Draft, OwnAddresses};
use super::findings::{Checked, Located, count};
use super::machine::Sources;
use super::model::{Cluster, Fragments, Member, Prefix, Tunnel};
use super::section::Section;
use super::value;

/// As many nodes as share their virtual addresses behind one router, and more: equal-cost routes are
/// counted in dozens.
const MAX_MEMBERS: usize = 256;

const MAX_PEERS: usize = 1024;

const MAX_CONTEXTS: i64 = 1 << 20;

const MAX_PACKETS: i64 = 1 << 16;

const MAX_BYTES: i64 = 1 << 30;

#[derive(Debug)]
pub(super) struct ClusterDraft {
    pub(super) members: Checked<Vec<Located<IpAddr>>>,
    down: Checked<Vec<Located<IpAddr>>>,
    /// Where the members are said.
    at: usize,
}

impl ClusterDraft {
    pub(super) fn finish(self, sources: &Checked<Sources>) -> Checked<Cluster> {
        let (down, sources) = (self.down?, (*sources)?);
        let member = |address: IpAddr| Member {
            address,
            is_own: sources.has(address),
            is_down: down.iter().any(|down| down.value == address),
        };
        Ok(Cluster { members: self.members?.iter().map(|at| member(at.value)).collect() })
    }
}

pub(super) fn cluster(mut section: Section<'_>) -> ClusterDraft {
    const MEMBERS: &str = "members";
    const DOWN: &str = "down";
    const EXAMPLE: &str = "[\"192.0.2.1\", \"192.0.2.2\"]";
    let given = section.list(MEMBERS, EXAMPLE, value::text(value::routable));
    let at = match &given {
        Ok(Some(list)) => list.first().map_or(section.at, |first| first.at),
        _ => section.at,
    };
    let members = given.and_then(|list| match list {
        None if section.is_present() => Err(section.missing(MEMBERS, EXAMPLE)),
        None => Ok(Vec::new()),
        Some(list) if list.is_empty() => {
            let message = "is empty; name all nodes, this one among them, or leave out [cluster]";
            Err(section.mistake(section.at, MEMBERS, message))
        }
        Some(list) => {
            if let Some(beyond) = list.get(MAX_MEMBERS) {
                let message = format!("names {} nodes; there can be {MAX_MEMBERS}", list.len());
                return Err(section.mistake(beyond.at, MEMBERS, message));
            }
            distinct(&section, MEMBERS, &list)?;
            Ok(list)
        }
    });
    let down = section.list(DOWN, "[\"192.0.2.2\"]", value::text(value::routable));
    let down = down.map(Option::unwrap_or_default).and_then(|list| {
        distinct(&section, DOWN, &list)?;
        let Ok(members) = &members else { return Ok(list) };
        let mut result = Ok(());
        for (index, &Located { value, at }) in list.iter().enumerate() {
            if !members.iter().any(|member| member.value == value) {
                let message = format!("{value} is none of the members");
                result = Err(section.mistake_in(DOWN, index, at, message));
            }
        }
        result.map(|()| list)
    });
    section.finish();
    ClusterDraft { members, down, at }
}

fn distinct(section: &Section<'_>, key: &str, list: &[Located<IpAddr>]) -> Checked<()> {
    let mut result = Ok(());
    for (index, &Located { value, at }) in list.iter().enumerate() {
        if list[..index].iter().any(|other| other.value == value) {
            let message = format!("{value} stands here twice; keep one");
            result = Err(section.mistake_in(key, index, at, message));
        }
    }
    result
}

pub(super) fn tunnel(mut section: Section<'_>, sources: &Checked<Sources>) -> Checked<Tunnel> {
    const KEY: &str = "peers";
    let peers = section.list(KEY, "[\"192.0.2.0/24\"]", value::text(value::prefix));
    let peers = peers.map(Option::unwrap_or_default).and_then(|list| {
        if let Some(beyond) = list.get(MAX_PEERS) {
            let message = format!("has {} prefixes; there can be {MAX_PEERS}", list.len());
            return Err(section.mistake(beyond.at, KEY, message));
        }
        let mut peers: Vec<Prefix> = Vec::with_capacity(list.len());
        let mut result = Ok(());
        for (index, &Located { value, at }) in list.iter().enumerate() {
            let peer = Prefix { address: value.network(), length: value.length };
            if peers.contains(&peer) {
                let message =
                    format!("{}/{} stands here twice; keep one", peer.address, peer.length);
                result = Err(section.mistake_in(KEY, index, at, message));
            } else if peer != value {
                let message =
                    format!("{} stands for {}/{}", value.address, peer.address, peer.length);
                section.warn(at, KEY, message);
            }
            if sources.is_ok_and(|sources| !sources.has_family(value.address)) {
                let family = family(value.address);
                let message = format!(
                    "nothing comes from {}: node.tunnel_source has no {family} address to send it to",
                    value.address
                );
                section.warn(at, KEY, message);
            }
            peers.push(peer);
        }
        result.map(|()| peers)
    });
    section.finish();
    Ok(Tunnel { peers: peers? })
}

pub(super) fn fragments(mut section: Section<'_>) -> Checked<Fragments> {
    let defaults = Fragments::default();
    let contexts =
        section.or("contexts", defaults.contexts, value::integer::<usize>(1..=MAX_CONTEXTS));
    let packets = section.or("packets", defaults.packets, value::integer::<usize>(0..=MAX_PACKETS));
    let bytes = section.or("bytes", defaults.bytes, value::integer::<usize>(0..=MAX_BYTES));
    let timeout = section.optional("timeout", value::integer::<u32>(1..=60_000));
    let contexts = contexts.and_then(|contexts| {
        if let Ok(packets) = &packets
            && contexts.value < packets.value
        {
            let message = format!(
                "is {}, fewer than the {} packets that may wait, each of another datagram",
                contexts.value, packets.value
            );
            return Err(section.mistake(contexts.at.max(packets.at), "contexts", message));
        }
        Ok(contexts)
    });
    section.finish();
    Ok(Fragments {
        contexts: contexts?.value,
        packets: packets?.value,
        bytes: bytes?.value,
        timeout: timeout?.map_or(defaults.timeout, |ms| Duration::from_millis(ms.value.into())),
    })
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

impl Draft<'_> {
    /// This node must be a member, and the others must be other hosts that it can send to.
    pub(super) fn cluster(&self, own: &OwnAddresses) {
        const KEY: &str = "cluster.members";
        let (Ok(members), Ok(sources)) = (&self.cluster.members, self.node.sources) else { return };
        if !members.is_empty() && !members.iter().any(|member| sources.has(member.value)) {
            let message = "names no address of node.tunnel_source; a node is a member by it";
            self.findings.mistake(self.cluster.at, KEY, message);
        }
        if members.iter().any(|m| m.value.is_ipv4()) && members.iter().any(|m| m.value.is_ipv6()) {
            let message = "has both families; a member sends from its tunnel_source of the \
                           receiver's family, so name those in tunnel.peers, or list one family";
            self.findings.warn(self.cluster.at, KEY, message);
        }
        let services = self.services.iter().flatten();
        let vips: HashMap<IpAddr, usize> = services
            .filter_map(|service| service.address.as_ref().ok())
            .map(|address| (address.value, address.at))
            .collect();
        let others: Vec<(usize, Located<IpAddr>)> = members
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, member)| !sources.has(member.value))
            .collect();
        for &(index, Located { value, at }) in &others {
            let message = match (own.get(value), vips.get(&value)) {
                (Some(own), _) => {
                    format!("{value} is {own}; a node is a member by its tunnel_source")
                }
                (None, Some(&vip)) => {
                    let line = self.findings.line(vip);
                    format!("{value} is the address of the service on line {line}")
                }
                (None, None) if !sources.has_family(value) => format!(
                    "{value} cannot be sent to: node.tunnel_source has no {} address",
                    family(value)
                ),
                (None, None) => continue,
            };
            self.findings.mistake(at, format!("{KEY}[{index}]"), message);
        }
        self.routes_to(&others);
    }

    fn routes_to(&self, others: &[(usize, Located<IpAddr>)]) {
        if !self.knows_all_networks() {
            return;
        }
        let routes = self.routes();
        let mut unresolved: BTreeMap<IpAddr, (usize, usize, usize)> = BTreeMap::new();
        for &(index, Located { value, at }) in others {
            match routes.next_hop(value) {
                None => {
                    let message = format!(
                        "{value} cannot be reached: it is in no port's network, and no port has an \
                         {} gateway; add one of the two, or a [[neighbor]]",
                        family(value)
                    );
                    self.findings.mistake(at, format!("cluster.members[{index}]"), message);
                }
                Some(hop) if hop.mac.is_none() => {
                    unresolved.entry(hop.address).or_insert((index, at, 0)).2 += 1;
                }
                Some(_) => {}
            }
        }
        for (hop, (index, at, members)) in unresolved {
            let message = format!(
                "the next hop {hop} of {} has no [[neighbor]]: fragments for them are dropped as \
                 next_hop_unresolved until it has one",
                count(members, "member")
            );
            self.findings.warn(at, format!("cluster.members[{index}]"), message);
        }
    }
}
