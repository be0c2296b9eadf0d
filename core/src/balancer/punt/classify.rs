//! The rules: of which class a frame is.
//!
//! | class | frames |
//! |---|---|
//! | link-local | to the groups that no bridge forwards (IEEE 802.1Q-2018, table 8-1), LLDP, slow protocols (LACP), CDP |
//! | neighbour | ARP; neighbour discovery with hop limit 255 (RFC 4861 section 7.1) to an own address or a group |
//! | probe | any IP packet from a virtual address to an address that probes through tunnels come from, fragments included |
//! | routing | BGP, BFD, OSPF and VRRP to an own address or their group, from a trusted source |
//! | own | any other IP packet to an own address, fragments included |
//! | multicast | any other frame to a group MAC address |
//!
//! A source is trusted to run a routing protocol if it is a configured peer or on a link of the node, or if the packet
//! has passed no router (time to live or hop limit 255, RFC 5082). What else comes to those ports is of the class
//! `own`, so that a flood from afar starves no session.
//!
//! The class `probe` needs the virtual addresses, which the tables have: `exception/punt.rs` tells it from `own` and from
//! `routing`. All protocols belong to it, because a server whose UDP port is closed answers by an ICMP error, and none
//! of its own packets otherwise has these addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::class::Class;
use super::punts::Punts;
use crate::wire::{Family, Fragment, Packet, ethernet, icmpv6, protocol, vlan};

/// LLDP, IEEE 802.1AB.
const LLDP: u16 = 0x88cc;
/// Slow protocols, IEEE 802.3 annex 57A: LACP and others.
const SLOW_PROTOCOLS: u16 = 0x8809;
/// The beginning of the groups that no bridge forwards: 01-80-c2-00-00-00 to -0f.
const BRIDGE_GROUPS: [u8; 5] = [0x01, 0x80, 0xc2, 0x00, 0x00];
/// The group of CDP and its relatives.
const CDP: ethernet::Mac = [0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcc];

/// BGP, RFC 4271 section 8.2.1.
const BGP: u16 = 179;
/// BFD over a single hop, RFC 5881 section 4.
const BFD: u16 = 3784;
/// BFD's echo function, RFC 5881 section 4.
const BFD_ECHO: u16 = 3785;
/// BFD over several hops, RFC 5883 section 5.
const BFD_MULTIHOP: u16 = 4784;
/// RFC 2328 section A.1.
const OSPF_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(224, 0, 0, 5), Ipv4Addr::new(224, 0, 0, 6)];
/// RFC 5340 section A.1.
const OSPF_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 6)];
/// RFC 9568 section 5.1.1.2.
const VRRP_V4: [Ipv4Addr; 1] = [Ipv4Addr::new(224, 0, 0, 18)];
/// RFC 9568 section 5.1.2.2.
const VRRP_V6: [Ipv6Addr; 1] = [Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12)];

/// The class of a frame that holds no IP packet, tags or not; `None` if the kernel does not get it.
pub(in crate::balancer) fn class_of_other(frame: &[u8]) -> Option<Class> {
    let &destination = frame.first_chunk()?;
    if is_link_group(destination) {
        return Some(Class::LinkLocal);
    }
    match ethertype(frame)? {
        LLDP | SLOW_PROTOCOLS => Some(Class::LinkLocal),
        ethernet::ARP => Some(Class::Neighbor),
        _ => ethernet::is_multicast(destination).then_some(Class::Multicast),
    }
}

impl Punts {
    /// The class of a packet that was parsed from this same frame; `None` if the kernel does not get it. Says nothing
    /// about virtual addresses.
    pub(in crate::balancer) fn class_of_packet(
        &self,
        packet: &Packet,
        frame: &[u8],
    ) -> Option<Class> {
        let &mac = frame.first_chunk()?;
        if is_link_group(mac) {
            return Some(Class::LinkLocal);
        }
        let Ends { source, destination, hop_limit } = Ends::of(packet, frame)?;
        let is_group_mac = ethernet::is_multicast(mac);
        // A frame to a group must not lead to a single host (RFC 1122 section 3.3.6).
        let is_own = !is_group_mac && self.is_own(destination);
        let is_discovery = hop_limit == NO_ROUTER && is_neighbor_discovery(packet, frame);
        if is_discovery && (is_own || destination.is_multicast()) {
            return Some(Class::Neighbor);
        }
        let is_near = self.is_on_link(source);
        let is_trusted = is_near || hop_limit == NO_ROUTER || self.is_routing_peer(source);
        let is_routing = match (packet.protocol, packet.destination) {
            (protocol::UDP, BFD_ECHO) => is_own && is_near,
            (protocol::UDP, BFD | BFD_MULTIHOP) => is_own && is_trusted,
            (protocol::TCP, _) if [packet.source, packet.destination].contains(&BGP) => {
                is_own && is_trusted
            }
            (protocol::OSPF, _) => {
                (is_own || is_one_of(destination, &OSPF_V4, &OSPF_V6)) && is_trusted
            }
            (protocol::VRRP, _) => {
                (is_own || is_one_of(destination, &VRRP_V4, &VRRP_V6)) && is_trusted
            }
            _ => false,
        };
        if is_routing {
            Some(Class::Routing)
        } else if is_own {
            Some(Class::Own)
        } else {
            is_group_mac.then_some(Class::Multicast)
        }
    }
}

/// The time to live or hop limit of a packet that has passed no router, RFC 5082.
const NO_ROUTER: u8 = 255;

/// What the IP header says about the way of a packet.
struct Ends {
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
}

impl Ends {
    fn of(packet: &Packet, frame: &[u8]) -> Option<Ends> {
        const TIME_TO_LIVE: usize = 8;
        const HOP_LIMIT: usize = 7;
        let ip = packet.ip(frame)?;
        if let Some((source, destination)) = packet.addresses_v4(frame) {
            let hop_limit = *ip.get(TIME_TO_LIVE)?;
            return Some(Ends {
                source: source.into(),
                destination: destination.into(),
                hop_limit,
            });
        }
        let (source, destination) = packet.addresses_v6(frame)?;
        let hop_limit = *ip.get(HOP_LIMIT)?;
        Some(Ends { source: source.into(), destination: destination.into(), hop_limit })
    }
}

/// Whether a whole packet is a message of neighbour discovery: router solicitation to redirect (RFC 4861 section 4).
/// RFC 6980 forbids fragments of it.
fn is_neighbor_discovery(packet: &Packet, frame: &[u8]) -> bool {
    packet.family == Family::V6
        && packet.protocol == protocol::ICMPV6
        && packet.fragment == Fragment::Whole
        && packet
            .payload(frame)
            .and_then(|message| message.first())
            .is_some_and(|kind| (icmpv6::ROUTER_SOLICITATION..=icmpv6::REDIRECT).contains(kind))
}

/// Whether a MAC address is a group that stays on the link: no bridge forwards it.
fn is_link_group(mac: ethernet::Mac) -> bool {
    mac == CDP || mac.starts_with(&BRIDGE_GROUPS) && mac[5] < 0x10
}

fn is_one_of(address: IpAddr, v4: &[Ipv4Addr], v6: &[Ipv6Addr]) -> bool {
    match address {
        IpAddr::V4(address) => v4.contains(&address),
        IpAddr::V6(address) => v6.contains(&address),
    }
}

/// The Ethertype behind up to two tags; the length of an 802.3 frame.
fn ethertype(frame: &[u8]) -> Option<u16> {
    let mut at = ethernet::LENGTH - 2;
    for _ in 0..=vlan::MAX_TAGS {
        let &bytes = frame.get(at..)?.first_chunk()?;
        let ethertype = u16::from_be_bytes(bytes);
        if !vlan::is_tag(ethertype) {
            return Some(ethertype);
        }
        at += vlan::LENGTH;
    }
    None
}
