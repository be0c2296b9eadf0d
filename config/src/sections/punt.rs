//! `[punt]`: what the kernel gets, and how much of it.

use ipnet::IpNet;

use crate::declare::section;
use crate::kind::integer;
use crate::section::Section;
use crate::text::PREFIX;

const MAX_PEERS: usize = 1024;

/// Packets per second of one worker: more is no limit to a kernel.
const MAX_PACKETS: i64 = 10_000_000;

section! {
    /// What the node gives to its kernel: packets for the node itself, and protocols of the link. Each class has a limit
    /// per worker.
    ///
    /// [Punts](operations.md#punts) has the classes, and the reasons for the defaults.
    "[punt]" 0..=1 => Punt, PuntDraft {
        /// Sources that may send packets of routing protocols from beyond the links of the node, and without TTL 255:
        /// at most 1024.
        ///
        /// Packets of BGP, BFD, OSPF and VRRP from other sources are not dropped: they count as `[punt.own]`, or as
        /// `[punt.multicast]`.
        routing_peers: IpNet = PREFIX, list "[\"198.51.100.0/24\"]", reload;
        table routing ("routing"): PuntRouting, PuntRoutingDraft;
        table neighbor ("neighbor"): PuntNeighbor, PuntNeighborDraft;
        table probe ("probe"): PuntProbe, PuntProbeDraft;
        table own ("own"): PuntOwn, PuntOwnDraft;
        table link_local ("link_local"): PuntLinkLocal, PuntLinkLocalDraft;
        table multicast ("multicast"): PuntMulticast, PuntMulticastDraft;
    }
}

/// Declares the limit of a class.
macro_rules! class {
    (
        $(#[doc = $about:literal])+
        $header:literal => $model:ident, $draft:ident, $rate:literal, $burst:literal
    ) => {
        section! {
            $(#[doc = $about])+
            #[derive(Copy)]
            $header 0..=1 => $model, $draft {
                /// How many each worker gives to the kernel in a second; 0 gives none. The rest counts as
                /// `punt_limited_...`.
                rate: u32 = integer(0..=MAX_PACKETS), default $rate, reload, unit "packets per second";
                /// How many at once after a quiet time.
                burst: u32 = integer(1..=MAX_PACKETS), default $burst, reload, unit "packets";
            }
        }
    };
}

class! {
    /// The limit of BGP, BFD, OSPF and VRRP from trusted sources.
    "[punt.routing]" => PuntRouting, PuntRoutingDraft, "10000", "2000"
}

class! {
    /// The limit of ARP and neighbour discovery.
    "[punt.neighbor]" => PuntNeighbor, PuntNeighborDraft, "20000", "2000"
}

class! {
    /// The limit of servers' answers to probes through tunnels: packets from a virtual address to one of
    /// `node.check_source`.
    "[punt.probe]" => PuntProbe, PuntProbeDraft, "50000", "5000"
}

class! {
    /// The limit of all other packets to an address of the node.
    "[punt.own]" => PuntOwn, PuntOwnDraft, "5000", "1000"
}

class! {
    /// The limit of LLDP, LACP, spanning tree and similar protocols of one link.
    "[punt.link_local]" => PuntLinkLocal, PuntLinkLocalDraft, "100", "50"
}

class! {
    /// The limit of all other frames to groups of hosts.
    "[punt.multicast]" => PuntMulticast, PuntMulticastDraft, "500", "100"
}

pub(crate) fn read(root: &Section<'_>) -> PuntDraft {
    const KEY: &str = "routing_peers";
    let section = root.table("punt", false);
    let mut draft = PuntDraft::read(&section);
    let Ok(peers) = &mut draft.routing_peers else { return draft };
    if peers.len() > MAX_PEERS {
        let message = format!("has {} prefixes; there can be {MAX_PEERS}", peers.len());
        draft.routing_peers = Err(section.mistake_at(&format!("{KEY}[{MAX_PEERS}]"), KEY, message));
        return draft;
    }
    for (index, value) in peers.iter_mut().enumerate() {
        if value.trunc() != *value {
            let message = format!("{} is read as {}", value.addr(), value.trunc());
            section.warn_at(&format!("{KEY}[{index}]"), KEY, message);
        }
        *value = value.trunc();
    }
    section.distinct(KEY, &draft.routing_peers);
    draft
}
