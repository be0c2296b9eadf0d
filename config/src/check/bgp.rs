//! `[bgp]`: what a session needs, and what its two ends cannot agree on.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::draft::Draft;
use crate::sections::bgp::{Community, Family, PeerDraft};

/// AS numbers that nobody has: AS_TRANS (RFC 6793), and one that is reserved (RFC 7300).
const NOBODYS: [(u32, &str); 2] =
    [(23_456, "AS_TRANS, which stands for numbers of 32 bits"), (65_535, "reserved")];

/// Communities that have routers do something, which no route of an address that serves should have.
const SPECIAL: [(Community, &str); 2] = [
    (Community::Standard(65_535, 0), "graceful shutdown: routers take the node for draining"),
    (Community::Standard(65_535, 666), "blackhole: routers drop what goes to the addresses"),
];

impl Draft<'_> {
    pub(super) fn bgp(&self) {
        self.own_numbers();
        self.allowed_prefixes();
        let Ok(peers) = &self.bgp.peer else { return };
        self.bgp_identifier(peers);
        self.equal_peers(peers);
        for (index, peer) in peers.iter().enumerate() {
            let at = Peer { draft: self, path: format!("bgp.peer[{index}]"), peer };
            at.numbers();
            at.source();
            at.times();
            at.families();
            at.next_hops();
            at.communities();
            at.prepend();
        }
    }

    /// Each peer sees an AS number of the node.
    fn own_numbers(&self) {
        let Ok(number) = self.bgp.local_as else { return };
        self.number("bgp.local_as", number);
        let peers = self.bgp.peer.iter().flatten().enumerate();
        let mut without = peers.filter(|(_, peer)| matches!(peer.local_as, Ok(None)));
        if let (None, Some((index, _))) = (number, without.next()) {
            let line = self.root.line(&format!("bgp.peer[{index}]"));
            let message =
                format!("is missing, and the peer on line {line} has no local_as of its own");
            self.root.mistake_at("bgp", "bgp.local_as", message);
        }
    }

    fn number(&self, path: &str, number: Option<u32>) {
        let mut nobodys = NOBODYS.iter();
        if let Some((number, why)) = nobodys.find(|(nobodys, _)| Some(*nobodys) == number) {
            self.root.mistake(path, format!("is {number}, {why}; nobody has it"));
        }
    }

    fn allowed_prefixes(&self) {
        let mut seen = HashMap::new();
        for (index, prefix) in self.bgp.allowed.iter().flatten().enumerate() {
            let (path, network) = (format!("bgp.allowed[{index}]"), prefix.trunc());
            if let Some(first) = seen.insert(network, index) {
                let line = self.root.line(&format!("bgp.allowed[{first}]"));
                self.root.mistake(&path, format!("{network} is on line {line}, too; keep one"));
            } else if network != *prefix {
                let message = format!("is {prefix}, which lies in {network}; all of that is meant");
                self.root.warn(&path, message);
            }
        }
    }

    fn bgp_identifier(&self, peers: &[PeerDraft]) {
        let (Ok(None), Ok(sources), false) =
            (self.bgp.router_id, &self.node.sources, peers.is_empty())
        else {
            return;
        };
        let are_known =
            self.ports.is_ok() && self.ports().iter().all(|port| port.addresses.is_ok());
        let is_v4 = |(_, prefix): (_, ipnet::IpNet)| prefix.addr().is_ipv4();
        if are_known && sources.v4.is_none() && !self.port_prefixes().any(is_v4) {
            let message = "is missing, and the node has no IPv4 address to take for it; write for \
                           example router_id = \"192.0.2.1\"";
            self.root.mistake_at("bgp", "bgp.router_id", message);
        }
    }

    /// BIRD tells sessions by the addresses of both ends.
    fn equal_peers(&self, peers: &[PeerDraft]) {
        let mut seen: HashMap<IpAddr, Vec<(usize, Option<IpAddr>)>> = HashMap::new();
        for (index, peer) in peers.iter().enumerate() {
            let (Ok(address), Ok(source)) = (peer.address, peer.source) else { continue };
            let others = seen.entry(address).or_default();
            let equal = others
                .iter()
                .find(|(_, other)| other.is_none() || source.is_none() || *other == source);
            if let Some((other, _)) = equal {
                let line = self.root.line(&format!("bgp.peer[{other}]"));
                let message = format!(
                    "is {address} as that of the peer on line {line}; two sessions with one \
                     address need a source each"
                );
                self.root.mistake(&format!("bgp.peer[{index}].address"), message);
            }
            others.push((index, source));
        }
    }
}

/// A peer and its place.
struct Peer<'a> {
    draft: &'a Draft<'a>,
    path: String,
    peer: &'a PeerDraft,
}

impl Peer<'_> {
    fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    fn mistake(&self, key: &str, message: impl Into<String>) {
        self.draft.root.mistake(&self.path(key), message);
    }

    /// A mistake about a key that may not be there.
    fn missing(&self, key: &str, message: impl Into<String>) {
        let path = self.path(key);
        let at = if self.draft.root.has(&path) { &path } else { &self.path };
        self.draft.root.mistake_at(at, &path, message);
    }

    fn warn(&self, key: &str, message: impl Into<String>) {
        self.draft.root.warn(&self.path(key), message);
    }

    fn numbers(&self) {
        self.draft.number(&self.path("as"), self.peer.remote_as.ok());
        self.draft.number(&self.path("local_as"), self.peer.local_as.ok().flatten());
    }

    fn source(&self) {
        let (Ok(address), Ok(source)) = (self.peer.address, self.peer.source) else { return };
        match source {
            Some(source) if source.is_ipv4() != address.is_ipv4() => {
                let message =
                    format!("is {source}, and the peer is {address}; both are of one family");
                self.mistake("source", message);
            }
            Some(source) if source == address => {
                self.mistake("source", format!("is {source}, the peer's own address"));
            }
            None if matches!((self.peer.bfd, self.peer.ttl_hops), (Ok(true), Ok(2..))) => {
                let message = "is missing; BFD over several hops needs it: write the node's \
                               address, or set bfd = false";
                self.missing("source", message);
            }
            _ => {}
        }
    }

    fn times(&self) {
        let Ok(hold) = self.peer.hold_time else { return };
        let hold = hold.as_secs();
        if matches!(hold, 1 | 2) {
            self.mistake("hold_time", format!("is {hold}; expected 0 for no end, or at least 3"));
            return;
        }
        let Ok(Some(keepalive)) = self.peer.keepalive else { return };
        match keepalive.as_secs() {
            _ if hold == 0 => {
                self.warn("keepalive", "has no effect: hold_time is 0, so that none are sent");
            }
            keepalive if keepalive > hold / 3 => {
                let most = hold / 3;
                let message = format!(
                    "is {keepalive} with a hold_time of {hold}: a third of that, {most}, is the \
                     most"
                );
                self.mistake("keepalive", message);
            }
            _ => {}
        }
    }

    /// The families whose addresses the peer is told.
    fn told(&self) -> Option<BTreeSet<Family>> {
        let families = self.peer.families.as_ref().ok()?;
        match families.is_empty() {
            true => Some(BTreeSet::from([Family::of(self.peer.address.ok()?)])),
            false => Some(families.iter().copied().collect()),
        }
    }

    fn families(&self) {
        let mut seen = BTreeSet::new();
        for (index, family) in self.peer.families.iter().flatten().enumerate() {
            if !seen.insert(*family) {
                let message = format!("{family} is listed twice; keep one");
                self.mistake(&format!("families[{index}]"), message);
            }
        }
        let (Some(told), Ok(address), Ok(hops)) =
            (self.told(), self.peer.address, &self.peer.next_hops)
        else {
            return;
        };
        let own = Family::of(address);
        for family in told.into_iter().filter(|&family| family != own) {
            if !hops.iter().any(|&hop| Family::of(hop) == family) {
                let message = format!(
                    "has no {family} address: a session over {own} needs one to tell {family} \
                     addresses; write that of this node which the peer reaches"
                );
                self.missing("next_hops", message);
            }
        }
    }

    fn next_hops(&self) {
        let told = self.told();
        let mut seen = BTreeSet::new();
        for (index, &hop) in self.peer.next_hops.iter().flatten().enumerate() {
            let (path, family) = (format!("next_hops[{index}]"), Family::of(hop));
            if !seen.insert(family) {
                self.mistake(&path, format!("{hop} is a second {family} address; keep one"));
            } else if told.as_ref().is_some_and(|told| !told.contains(&family)) {
                let message = format!(
                    "{hop} is an {family} address, and the peer is told none of that family; see \
                     families"
                );
                self.mistake(&path, message);
            } else if self.peer.address.is_ok_and(|address| address == hop) {
                let message = format!("{hop} is the peer itself, which would send to itself");
                self.mistake(&path, message);
            }
        }
    }

    fn communities(&self) {
        let mut seen = BTreeSet::new();
        for (index, community) in self.peer.communities.iter().flatten().enumerate() {
            let path = format!("communities[{index}]");
            if !seen.insert(*community) {
                self.mistake(&path, format!("{community} is listed twice; keep one"));
            } else if let Some((_, why)) = SPECIAL.iter().find(|(special, _)| special == community)
            {
                self.warn(&path, format!("{community} is {why}"));
            }
        }
    }

    /// A peer in the node's own AS takes a path with that AS for a loop.
    fn prepend(&self) {
        let (Ok(own), Ok(bgp), Ok(remote)) =
            (self.peer.local_as, self.draft.bgp.local_as, self.peer.remote_as)
        else {
            return;
        };
        if own.or(bgp) == Some(remote) && self.peer.prepend.is_ok_and(|times| times > 0) {
            let message = format!("has no effect: the peer is in the node's own AS, {remote}");
            self.warn("prepend", message);
        }
    }
}
