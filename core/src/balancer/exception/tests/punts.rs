//! Punts: which frames the kernel gets, and that nothing else changes because of that.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::properties::{disturbed, frames, setup};
use super::*;
use crate::balancer::id::PortIndex;
use crate::balancer::punt::{Class, Limit};
use crate::wire::{Error as Malformed, ipv4};
use workers::{CHECK_SOURCES, Punted};

const WITH_INTERFACES: Setup = Setup { interfaces: [true; 2], ..Setup::PLAIN };
const BROADCAST: [u8; 6] = ethernet::BROADCAST;
const LLDP: u16 = 0x88cc;
const SLOW: u16 = 0x8809;
const VLAN_100: (u16, u16) = (ethernet::VLAN, 0x6064);
const SERVICE_VLAN_7: (u16, u16) = (ethernet::SERVICE_VLAN, 7);

/// A frame, what it shows, and the class that the kernel gets it in, or the reason why not.
type Case = (&'static str, Vec<u8>, Result<Class, DropReason>);

/// A packet of a routing protocol from this source.
type Session<'a> = Box<dyn Fn(&str) -> Sample + 'a>;

/// A frame with this Ethertype, or length, behind these tags.
fn other(mac: [u8; 6], tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [mac, CLIENT_MAC].concat();
    for &(tag, control) in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend(control.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(ethernet::LEAST), 0);
    frame
}

fn arp(mac: [u8; 6], tags: &[(u16, u16)], operation: u8) -> Vec<u8> {
    other(mac, tags, ethernet::ARP, &[0, 1, 8, 0, 6, 4, 0, operation])
}

/// The frame of a packet with this time to live or hop limit. It has the MAC address of its group if it is to one.
fn ip(sample: &Sample, hop_limit: u8) -> Vec<u8> {
    let mac = match sample.destination.ip() {
        IpAddr::V4(to) if to.is_broadcast() => BROADCAST,
        IpAddr::V4(to) if to.is_multicast() => {
            let [_, b, c, d] = to.octets();
            [1, 0, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(to) if to.is_multicast() => {
            let [.., c, d, e, f] = to.octets();
            [0x33, 0x33, c, d, e, f]
        }
        _ => sample.mac,
    };
    let mut frame = Sample { mac, ..sample.clone() }.frame();
    let l3 = ethernet::LENGTH + 4 * sample.tags.len();
    match sample.source {
        std::net::SocketAddr::V4(_) => {
            frame[l3 + 8] = hop_limit;
            fix_checksum(&mut frame[l3..]);
        }
        std::net::SocketAddr::V6(_) => frame[l3 + 7] = hop_limit,
    }
    frame
}

fn addressed(from: &str, to: &str) -> Sample {
    let with_port = |text: &str, port: u16| match text.contains(':') {
        true => format!("[{text}]:{port}"),
        false => format!("{text}:{port}"),
    };
    Sample::udp(&with_port(from, 0), &with_port(to, 0))
}

/// A packet of another protocol than TCP and UDP.
fn protocol_of(number: u8, from: &str, to: &str) -> Sample {
    Sample { protocol: number, payload: vec![2; 24], ..addressed(from, to) }
}

fn tcp_of(from: &str, source: u16, to: &str, destination: u16) -> Sample {
    let mut sample = Sample { protocol: protocol::TCP, flags: tcp::ACK, ..addressed(from, to) };
    sample.source.set_port(source);
    sample.destination.set_port(destination);
    sample
}

fn udp_of(from: &str, to: &str, destination: u16) -> Sample {
    let mut sample = addressed(from, to);
    sample.source.set_port(49152);
    sample.destination.set_port(destination);
    Sample { payload: vec![0; 24], ..sample }
}

/// An ICMPv6 message; who gets it verifies the checksum.
fn discovery(kind: u8, from: &str, to: &str) -> Sample {
    Sample {
        payload: [vec![kind], vec![0; 23]].concat(),
        ..protocol_of(protocol::ICMPV6, from, to)
    }
}

/// A fragment header of IPv6 before the payload.
fn in_fragment(sample: Sample, offset_and_more: u16) -> Sample {
    let [high, low] = offset_and_more.to_be_bytes();
    let extensions = vec![sample.protocol, 0, high, low, 0, 0, 0, 9];
    Sample { extension: 44, extensions, ..sample }
}

const NEAR: &str = "198.51.100.7";
const NEAR_V6: &str = "2001:db8:c::7";
const LINK_LOCAL: &str = "fe80::7";
const FAR: &str = "10.8.0.1";
const FAR_V6: &str = "2001:db8:8::1";
const PEER: &str = "10.9.1.1";
const PEER_V6: &str = "2001:db8:9::1";
const OWN: &str = "198.51.100.200";
const OWN_V6: &str = "2001:db8:c::200";
const OWN_LINK_LOCAL: &str = "fe80::200";
const LOOPBACK: &str = "10.255.0.1";
const TUNNEL: &str = "192.0.2.1";
const VIP: &str = "203.0.113.10";
const VIP_V6: &str = "2001:db8::10";
const FOREIGN: &str = "203.0.113.77";
const FOREIGN_V6: &str = "2001:db8::77";

/// A near host, a far one and a configured peer, and the node, of a family.
const ENDS: [[&str; 4]; 2] = [[NEAR, FAR, PEER, LOOPBACK], [NEAR_V6, FAR_V6, PEER_V6, OWN_V6]];

fn link_local_cases() -> Vec<Case> {
    let group = |last| [0x01, 0x80, 0xc2, 0, 0, last];
    let spanning_tree = [0x42, 0x42, 0x03, 0, 0, 0, 0, 0];
    let snap = [0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x20, 0x00];
    let local = Ok(Class::LinkLocal);
    vec![
        ("LLDP, nearest bridge: 802.1AB", other(group(0x0e), &[], LLDP, &[2, 7]), local),
        ("LLDP, nearest non-TPMR bridge: 802.1AB", other(group(3), &[], LLDP, &[2, 7]), local),
        ("LLDP, nearest customer bridge: 802.1AB", other(group(0), &[], LLDP, &[2, 7]), local),
        ("LLDP with a priority tag", other(group(0x0e), &[(0x8100, 0xe000)], LLDP, &[2]), local),
        ("LLDP to this host alone", other(MAC, &[], LLDP, &[2, 7]), local),
        ("LACP: 802.1AX", other(group(2), &[], SLOW, &[1, 1]), local),
        ("LACP to this host alone: 802.1AX", other(MAC, &[], SLOW, &[1, 1]), local),
        (
            "LACP to another host",
            other([2, 0, 0, 0, 9, 9], &[], SLOW, &[1, 1]),
            Err(DropReason::WrongMac),
        ),
        ("spanning tree, 802.3: 802.1D", other(group(0), &[], 38, &spanning_tree), local),
        ("MAC control: 802.3", other(group(1), &[], 0x8808, &[0, 1]), local),
        ("802.1X: port access", other(group(3), &[], 0x888e, &[1, 1]), local),
        ("the last group of 802.1Q table 8-1", other(group(0x0f), &[], 0x1234, &[]), local),
        ("one beyond it", other(group(0x10), &[], 0x1234, &[]), Ok(Class::Multicast)),
        ("IP to such a group", Sample { mac: group(2), ..addressed(NEAR, OWN) }.frame(), local),
        ("CDP", other([1, 0, 0x0c, 0xcc, 0xcc, 0xcc], &[], 64, &snap), local),
        ("PVST+", other([1, 0, 0x0c, 0xcc, 0xcc, 0xcd], &[], 50, &snap), Ok(Class::Multicast)),
    ]
}

fn neighbor_cases() -> Vec<Case> {
    let three = [VLAN_100, VLAN_100, VLAN_100];
    let neighbor = Ok(Class::Neighbor);
    let no_router = |kind, from, to| ip(&discovery(kind, from, to), 255);
    let (solicitation, advertisement) =
        (icmpv6::NEIGHBOR_SOLICITATION, icmpv6::NEIGHBOR_ADVERTISEMENT);
    let tagged = |tags: &[_]| Sample {
        tags: tags.to_vec(),
        ..discovery(solicitation, LINK_LOCAL, "ff02::1:ff00:200")
    };
    vec![
        ("ARP request: RFC 826", arp(BROADCAST, &[], 1), neighbor),
        ("ARP reply", arp(MAC, &[], 2), neighbor),
        ("ARP request to this host: RFC 1122 2.3.2.1", arp(MAC, &[], 1), neighbor),
        ("ARP in a VLAN", arp(BROADCAST, &[VLAN_100], 1), neighbor),
        ("ARP behind two tags", arp(MAC, &[SERVICE_VLAN_7, VLAN_100], 2), neighbor),
        ("ARP behind three tags", arp(BROADCAST, &three, 1), Err(DropReason::MulticastMac)),
        (
            "ARP to this host behind three tags",
            arp(MAC, &three, 1),
            Err(DropReason::Malformed(Malformed::VlanTooDeep)),
        ),
        ("ARP to another host", arp([2, 0, 0, 0, 9, 9], &[], 2), Err(DropReason::WrongMac)),
        (
            "router solicitation: RFC 4861 4.1",
            no_router(icmpv6::ROUTER_SOLICITATION, "::", "ff02::2"),
            neighbor,
        ),
        ("router advertisement: RFC 4861 4.2", no_router(134, LINK_LOCAL, "ff02::1"), neighbor),
        (
            "neighbour solicitation: RFC 4861 4.3",
            no_router(solicitation, LINK_LOCAL, "ff02::1:ff00:200"),
            neighbor,
        ),
        (
            "duplicate address detection: RFC 4862 5.4.2",
            no_router(solicitation, "::", "ff02::1:ff00:200"),
            neighbor,
        ),
        (
            "unreachability detection: RFC 4861 7.3.3",
            no_router(solicitation, LINK_LOCAL, OWN_V6),
            neighbor,
        ),
        (
            "neighbour advertisement: RFC 4861 4.4",
            no_router(advertisement, LINK_LOCAL, OWN_LINK_LOCAL),
            neighbor,
        ),
        (
            "unsolicited advertisement: RFC 4861 7.2.6",
            no_router(advertisement, LINK_LOCAL, "ff02::1"),
            neighbor,
        ),
        ("redirect: RFC 4861 4.5", no_router(icmpv6::REDIRECT, LINK_LOCAL, OWN_V6), neighbor),
        ("solicitation in a VLAN", ip(&tagged(&[VLAN_100]), 255), neighbor),
        ("solicitation behind two tags", ip(&tagged(&[SERVICE_VLAN_7, VLAN_100]), 255), neighbor),
        (
            "solicitation from behind a router: RFC 4861 7.1.1",
            ip(&discovery(solicitation, LINK_LOCAL, "ff02::1:ff00:200"), 254),
            Ok(Class::Multicast),
        ),
        (
            "solicitation to the node from behind a router",
            ip(&discovery(solicitation, FAR_V6, OWN_V6), 254),
            Ok(Class::Own),
        ),
        (
            "solicitation in a fragment: RFC 6980",
            ip(&in_fragment(discovery(solicitation, LINK_LOCAL, OWN_V6), 1), 255),
            Ok(Class::Own),
        ),
        (
            "solicitation of another host",
            no_router(solicitation, LINK_LOCAL, FOREIGN_V6),
            Err(DropReason::NoVip),
        ),
        (
            "multicast listener report: RFC 2710",
            no_router(131, LINK_LOCAL, "ff02::1:ff00:200"),
            Ok(Class::Multicast),
        ),
        (
            "discovery's numbers over IPv4",
            ip(&Sample { payload: vec![135; 24], ..protocol_of(protocol::ICMPV6, NEAR, OWN) }, 255),
            Ok(Class::Own),
        ),
    ]
}

/// Routing protocols over both families, from trusted sources and others.
fn routing_cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for [near, far, peer, node] in ENDS {
        let sessions: [(&'static str, Session<'_>); 7] = [
            ("BGP to port 179: RFC 4271", Box::new(|from| tcp_of(from, 50000, node, 179))),
            ("BGP from port 179", Box::new(|from| tcp_of(from, 179, node, 50000))),
            ("BFD: RFC 5881", Box::new(|from| udp_of(from, node, 3784))),
            ("multihop BFD: RFC 5883", Box::new(|from| udp_of(from, node, 4784))),
            ("OSPF, unicast", Box::new(|from| protocol_of(protocol::OSPF, from, node))),
            ("VRRP, unicast", Box::new(|from| protocol_of(protocol::VRRP, from, node))),
            (
                "BGP in a VLAN",
                Box::new(|from| Sample { tags: vec![VLAN_100], ..tcp_of(from, 50000, node, 179) }),
            ),
        ];
        for (what, packet) in sessions {
            cases.push((what, ip(&packet(near), 1), Ok(Class::Routing)));
            cases.push((what, ip(&packet(peer), 61), Ok(Class::Routing)));
            cases.push((what, ip(&packet(far), 255), Ok(Class::Routing)));
            cases.push((what, ip(&packet(far), 254), Ok(Class::Own)));
        }
        let echo = |from| ip(&udp_of(from, node, 3785), 254);
        cases.push(("BFD echo: RFC 5881 section 4", echo(near), Ok(Class::Routing)));
        cases.push(("BFD echo from afar", echo(far), Ok(Class::Own)));
        cases.push(("BFD echo from a peer that is not on link", echo(peer), Ok(Class::Own)));
        cases.push(("BFD echo, TTL 255", ip(&udp_of(far, node, 3785), 255), Ok(Class::Own)));
        cases.push(("UDP port 179", ip(&udp_of(near, node, 179), 255), Ok(Class::Own)));
        cases.push(("TCP port 3784", ip(&tcp_of(near, 9, node, 3784), 255), Ok(Class::Own)));
        cases.push(("another protocol", ip(&protocol_of(88, near, node), 255), Ok(Class::Own)));
    }
    let groups = [
        (protocol::OSPF, NEAR, FAR, "224.0.0.5"),
        (protocol::OSPF, NEAR, FAR, "224.0.0.6"),
        (protocol::OSPF, LINK_LOCAL, FAR_V6, "ff02::5"),
        (protocol::OSPF, LINK_LOCAL, FAR_V6, "ff02::6"),
        (protocol::VRRP, NEAR, FAR, "224.0.0.18"),
        (protocol::VRRP, LINK_LOCAL, FAR_V6, "ff02::12"),
    ];
    for (number, near, far, group) in groups {
        let what = "RFC 2328 A.1, RFC 5340 A.1, RFC 9568 5.1";
        cases.push((what, ip(&protocol_of(number, near, group), 1), Ok(Class::Routing)));
        cases.push((what, ip(&protocol_of(number, far, group), 255), Ok(Class::Routing)));
        cases.push((what, ip(&protocol_of(number, far, group), 1), Ok(Class::Multicast)));
        let swapped = if number == protocol::OSPF { protocol::VRRP } else { protocol::OSPF };
        cases.push((
            "another's group",
            ip(&protocol_of(swapped, near, group), 1),
            Ok(Class::Multicast),
        ));
    }
    let large = Sample { fragment: MORE | 3, ..protocol_of(protocol::OSPF, NEAR, OWN) };
    let segment = Sample { fragment: 3, ..tcp_of(NEAR, 9, OWN, 179) };
    let unicast_mac = protocol_of(protocol::OSPF, NEAR, "224.0.0.5").frame();
    cases.extend([
        ("a later fragment of OSPF still names OSPF", ip(&large, 1), Ok(Class::Routing)),
        ("a later fragment of BGP has no port", ip(&segment, 1), Ok(Class::Own)),
        ("OSPF to its group, to one MAC address", unicast_mac, Ok(Class::Routing)),
        ("BGP to a group", ip(&tcp_of(NEAR, 9, "224.0.0.5", 179), 255), Ok(Class::Multicast)),
        ("BGP to another host", ip(&tcp_of(NEAR, 9, FOREIGN, 179), 255), Err(DropReason::NoVip)),
        (
            "BGP from loopback",
            ip(&tcp_of("127.0.0.1", 9, OWN, 179), 255),
            Err(DropReason::SourceInvalid),
        ),
        (
            "BGP from ourselves",
            ip(&tcp_of(TUNNEL, 9, OWN, 179), 255),
            Err(DropReason::SourceInvalid),
        ),
        (
            "BGP from a virtual address",
            ip(&tcp_of(VIP, 9, OWN, 179), 255),
            Err(DropReason::SourceInvalid),
        ),
        (
            "OSPF from nobody",
            ip(&protocol_of(89, "0.0.0.0", "224.0.0.5"), 255),
            Err(DropReason::SourceInvalid),
        ),
    ]);
    cases
}

/// Servers answer probes from the virtual address, whatever they answer.
fn probe_cases() -> Vec<Case> {
    let probe = Ok(Class::Probe);
    let mut cases: Vec<Case> = Vec::new();
    for (vip, source, near, loopback, number) in [
        (VIP, CHECK_SOURCES[0], NEAR, "127.0.0.1", protocol::ICMP),
        (VIP_V6, CHECK_SOURCES[1], NEAR_V6, "::1", protocol::ICMPV6),
    ] {
        let icmp = |kind: u8, from, to| {
            let payload = [vec![kind, 0], vec![0; 22]].concat();
            ip(&Sample { payload, ..protocol_of(number, from, to) }, 60)
        };
        let invalid = Err(DropReason::SourceInvalid);
        let (reply, unreachable) = if number == protocol::ICMP { (0, 3) } else { (129, 1) };
        cases.extend([
            ("a segment", ip(&tcp_of(vip, 80, source, 20000), 60), probe),
            ("a datagram", ip(&udp_of(vip, source, 20000), 60), probe),
            ("an echo reply", icmp(reply, vip, source), probe),
            ("the port is closed: RFC 1122 4.1.3.1", icmp(unreachable, vip, source), probe),
            ("a server on the link", ip(&tcp_of(vip, 80, source, 20000), 255), probe),
            ("of a service at BGP's port", ip(&tcp_of(vip, 179, source, 20000), 255), probe),
            ("of a service at BFD's port", ip(&udp_of(vip, source, 3784), 255), probe),
            ("from another host", ip(&tcp_of(near, 80, source, 20000), 60), Ok(Class::Own)),
            ("another host's ping", icmp(reply, near, source), Ok(Class::Own)),
            ("a router's error", icmp(unreachable, near, source), Ok(Class::Own)),
            ("a session", ip(&tcp_of(near, 9, source, 179), 255), Ok(Class::Routing)),
            ("from loopback", ip(&tcp_of(loopback, 80, source, 20000), 60), invalid),
        ]);
    }
    let fragment = |field| {
        let whole = udp_of(VIP, CHECK_SOURCES[0], 20000);
        ip(&Sample { fragment: field, ..whole }, 60)
    };
    let fragment_v6 = |field| ip(&in_fragment(udp_of(VIP_V6, CHECK_SOURCES[1], 20000), field), 60);
    let to_all = Sample { mac: BROADCAST, ..udp_of(VIP, CHECK_SOURCES[0], 20000) };
    cases.extend([
        ("a first fragment", fragment(MORE), probe),
        ("a later fragment", fragment(MORE | 4), probe),
        ("a first fragment of IPv6", fragment_v6(1), probe),
        ("a later fragment of IPv6", fragment_v6(4 << 3), probe),
        (
            "to another own address",
            ip(&tcp_of(VIP, 80, OWN, 20000), 60),
            Err(DropReason::SourceInvalid),
        ),
        (
            "BGP to another own address",
            ip(&tcp_of(VIP_V6, 179, OWN_V6, 20000), 255),
            Err(DropReason::SourceInvalid),
        ),
        ("in a frame to all: RFC 1122 3.3.6", ip(&to_all, 60), Ok(Class::Multicast)),
        (
            "neighbour discovery",
            ip(&discovery(136, VIP_V6, CHECK_SOURCES[1]), 255),
            Ok(Class::Neighbor),
        ),
        (
            "to another virtual address",
            ip(&protocol_of(200, CHECK_SOURCES[0], VIP), 60),
            Err(DropReason::UnsupportedProtocol),
        ),
    ]);
    cases
}

fn own_cases() -> Vec<Case> {
    let own = Ok(Class::Own);
    let mut cases: Vec<Case> = Vec::new();
    for (from, to) in [
        (FAR, OWN),
        (NEAR, LOOPBACK),
        (FAR, TUNNEL),
        (FAR_V6, OWN_V6),
        (LINK_LOCAL, OWN_LINK_LOCAL),
        (FAR_V6, "2001:db8:a::1"),
    ] {
        let ping = if to.contains(':') { protocol::ICMPV6 } else { protocol::ICMP };
        cases.extend([
            ("a ping: RFC 1122 3.2.2.6, RFC 4443 4.1", ip(&protocol_of(ping, from, to), 60), own),
            ("ssh", ip(&tcp_of(from, 50000, to, 22), 60), own),
            ("UDP", ip(&udp_of(from, to, 123), 60), own),
            ("ESP: RFC 4303", ip(&protocol_of(protocol::ESP, from, to), 60), own),
            ("a protocol that nobody knows", ip(&protocol_of(200, from, to), 60), own),
            ("TTL 1", ip(&udp_of(from, to, 33434), 1), own),
        ]);
    }
    let error = |kind: u8, from, to, number| {
        let payload = [vec![kind, 4, 0, 0, 0, 0, 5, 0], vec![0x45; 28]].concat();
        ip(&Sample { payload, ..protocol_of(number, from, to) }, 60)
    };
    let options = Sample { options: vec![0x94, 4, 0, 0], ..udp_of(FAR, OWN, 53) };
    let fragment = |field| ip(&Sample { fragment: field, ..udp_of(FAR, OWN, 53) }, 60);
    let fragment_v6 = |field| ip(&in_fragment(udp_of(FAR_V6, OWN_V6, 53), field), 60);
    let to_group = Sample { mac: BROADCAST, ..udp_of(NEAR, OWN, 53) };
    let tagged = Sample { tags: vec![SERVICE_VLAN_7, VLAN_100], ..udp_of(NEAR, OWN, 53) };
    let mut wrong = ip(&udp_of(NEAR, OWN, 53), 60);
    wrong[24] ^= 1;
    cases.extend([
        ("an error about an outer packet: RFC 1191", error(3, FAR, TUNNEL, protocol::ICMP), own),
        ("too big: RFC 8201", error(2, FAR_V6, OWN_V6, protocol::ICMPV6), own),
        ("options", ip(&options, 60), own),
        ("two tags", ip(&tagged, 60), own),
        ("a first fragment", fragment(MORE), own),
        ("a later fragment", fragment(MORE | 4), own),
        ("the last fragment", fragment(4), own),
        ("a first fragment of IPv6", fragment_v6(1), own),
        ("a later fragment of IPv6", fragment_v6(4 << 3), own),
        ("GRE to an address that ends no tunnel", ip(&protocol_of(47, FAR, OWN), 60), own),
        ("VXLAN to an address that ends no tunnel", ip(&udp_of(FAR, OWN, 4789), 60), own),
        (
            "GRE from a stranger to the end of tunnels",
            ip(&protocol_of(47, FAR, TUNNEL), 60),
            Err(DropReason::TunnelUnknownPeer),
        ),
        (
            "a broken tunnel packet of a peer",
            ip(&protocol_of(47, "192.0.2.9", TUNNEL), 60),
            Err(DropReason::TunnelMalformed),
        ),
        ("a peer's ping of the end of tunnels", ip(&protocol_of(1, "192.0.2.9", TUNNEL), 60), own),
        (
            "one host's address in a frame to all: RFC 1122 3.3.6",
            ip(&to_group, 60),
            Ok(Class::Multicast),
        ),
        ("a link-local source: RFC 3927", ip(&udp_of("169.254.1.1", OWN, 53), 255), own),
        ("from loopback", ip(&udp_of("127.0.0.1", OWN, 53), 60), Err(DropReason::SourceInvalid)),
        ("from ::1", ip(&udp_of("::1", OWN_V6, 53), 60), Err(DropReason::SourceInvalid)),
        ("from a group", ip(&udp_of("224.0.0.1", OWN, 53), 60), Err(DropReason::SourceInvalid)),
        (
            "from a virtual address",
            ip(&udp_of(VIP_V6, OWN_V6, 53), 60),
            Err(DropReason::SourceInvalid),
        ),
        ("a wrong checksum", wrong, Err(DropReason::Malformed(Malformed::Ipv4Checksum))),
        ("to another host", ip(&udp_of(NEAR, FOREIGN, 53), 60), Err(DropReason::NoVip)),
        (
            "to another host over IPv6",
            ip(&udp_of(NEAR_V6, FOREIGN_V6, 53), 60),
            Err(DropReason::NoVip),
        ),
        (
            "to another host's link-local address",
            ip(&udp_of(LINK_LOCAL, "fe80::201", 53), 60),
            Err(DropReason::NoVip),
        ),
        (
            "another Ethertype to this host",
            other(MAC, &[], 0x1234, &[]),
            Err(DropReason::Malformed(Malformed::NotIp)),
        ),
    ]);
    cases
}

/// Virtual addresses are among the addresses of the kernel here, and yet nothing to them is punted but neighbour
/// discovery.
fn virtual_address_cases() -> Vec<Case> {
    let to_all = |from, vip| ip(&Sample { mac: BROADCAST, ..udp_of(from, vip, 9) }, 60);
    vec![
        ("BGP", ip(&tcp_of(NEAR, 9, VIP, 179), 255), Err(DropReason::NoService)),
        ("TCP over IPv6", ip(&tcp_of(NEAR_V6, 9, VIP_V6, 179), 255), Err(DropReason::NoService)),
        ("OSPF", ip(&protocol_of(89, NEAR, VIP), 255), Err(DropReason::UnsupportedProtocol)),
        (
            "is the MAC address still right?: RFC 4861 section 7.3",
            ip(&discovery(135, NEAR_V6, VIP_V6), 255),
            Ok(Class::Neighbor),
        ),
        (
            "is the MAC address still right?, from a link-local address",
            ip(&discovery(135, LINK_LOCAL, VIP_V6), 255),
            Ok(Class::Neighbor),
        ),
        (
            "neighbour discovery from afar",
            ip(&discovery(135, FAR_V6, VIP_V6), 254),
            Err(DropReason::IcmpUnsupported),
        ),
        (
            "a timestamp request",
            ip(&Sample { payload: vec![13; 20], ..protocol_of(1, NEAR, VIP) }, 64),
            Err(DropReason::IcmpUnsupported),
        ),
        ("in a frame to all", to_all(NEAR, VIP), Err(DropReason::MulticastMac)),
        ("in a frame to all, IPv6", to_all(NEAR_V6, VIP_V6), Err(DropReason::MulticastMac)),
        (
            "in a frame to a group of the link",
            Sample { mac: [1, 0x80, 0xc2, 0, 0, 2], ..udp_of(NEAR, VIP, 9) }.frame(),
            Err(DropReason::MulticastMac),
        ),
    ]
}

fn multicast_cases() -> Vec<Case> {
    let multicast = Ok(Class::Multicast);
    let report = Sample { options: vec![0x94, 4, 0, 0], ..protocol_of(2, NEAR, "224.0.0.22") };
    let mut wrong = ip(&udp_of(NEAR, "224.0.0.251", 5353), 255);
    wrong[24] ^= 1;
    let dhcp = udp_of("0.0.0.0", "255.255.255.255", 67);
    let tagged = Sample { tags: vec![VLAN_100], ..dhcp.clone() };
    let broken_chain = Sample {
        extension: 44,
        extensions: vec![17, 0, 0, 0],
        protocol: 59,
        ..addressed(NEAR_V6, "ff02::fb")
    };
    vec![
        ("DHCP: RFC 2131", ip(&dhcp, 64), multicast),
        ("DHCP in a VLAN", ip(&tagged, 64), multicast),
        ("mDNS: RFC 6762", ip(&udp_of(NEAR, "224.0.0.251", 5353), 255), multicast),
        ("mDNS over IPv6", ip(&udp_of(LINK_LOCAL, "ff02::fb", 5353), 255), multicast),
        ("IGMP: RFC 3376", ip(&report, 1), multicast),
        ("to all on the link", ip(&protocol_of(1, NEAR, "224.0.0.1"), 64), multicast),
        ("PIM: RFC 7761", ip(&protocol_of(103, NEAR, "224.0.0.13"), 1), multicast),
        ("EIGRP: RFC 7868", ip(&protocol_of(88, NEAR, "224.0.0.10"), 1), multicast),
        (
            "a later fragment to a group",
            ip(&Sample { fragment: 4, ..udp_of(NEAR, "224.0.0.1", 9) }, 1),
            multicast,
        ),
        ("another Ethertype to all", other(BROADCAST, &[], 0x1234, &[]), multicast),
        (
            "802.3 to a group: IS-IS",
            other([1, 0x80, 0xc2, 0, 0, 0x14], &[], 50, &[0xfe, 0xfe, 3]),
            multicast,
        ),
        ("a wrong checksum", wrong, Err(DropReason::MulticastMac)),
        ("a header that is cut short", ip(&broken_chain, 1), Err(DropReason::MulticastMac)),
    ]
}

fn cases() -> Vec<Case> {
    [
        link_local_cases(),
        neighbor_cases(),
        routing_cases(),
        probe_cases(),
        own_cases(),
        virtual_address_cases(),
        multicast_cases(),
    ]
    .concat()
}

fn received(setup: Setup, port: PortIndex, frame: &[u8]) -> (Vec<Punted>, Vec<(Verdict, u64)>) {
    let mut workers = Workers::new(setup);
    let sent = workers.receive(0, port, [buffer(frame)]);
    assert_eq!(sent, [], "nothing here is forwarded");
    let verdicts = workers.verdicts();
    (workers.punted, verdicts)
}

#[test]
fn each_known_frame_is_of_its_class() {
    for (what, frame, expected) in cases() {
        let (punted, verdicts) = received(WITH_INTERFACES, CLIENTS, &frame);
        match expected {
            Ok(class) => {
                assert_eq!(verdicts, [(Verdict::Punted, 1)], "{what}: {frame:02x?}");
                // The whole frame, tags included.
                assert_eq!(punted, [(CLIENTS, class, frame.clone())], "{what}");
                // The port that accepts any MAC address finds the frame by another way.
                let (punted, verdicts) = received(WITH_INTERFACES, BACKENDS, &frame);
                assert_eq!(verdicts, [(Verdict::Punted, 1)], "{what}: {frame:02x?}");
                assert_eq!(punted, [(BACKENDS, class, frame.clone())], "{what}");
            }
            Err(reason) => {
                assert_eq!(verdicts, dropped(reason), "{what}: {frame:02x?}");
                assert_eq!(punted, [], "{what}");
            }
        }
        let (punted, verdicts) =
            received(Setup { interfaces: [false, true], ..Setup::PLAIN }, CLIENTS, &frame);
        assert_eq!(punted, [], "{what}: without an interface");
        assert!(matches!(verdicts[..], [(Verdict::Dropped(_), 1)]), "{what}: {verdicts:?}");
    }
}

#[test]
fn a_frame_that_a_port_of_ours_sent_is_not_punted() {
    for (what, mut frame, expected) in cases() {
        if expected.is_err() {
            continue;
        }
        frame[6..12].copy_from_slice(&MAC);
        for port in [CLIENTS, BACKENDS] {
            let (punted, verdicts) = received(WITH_INTERFACES, port, &frame);
            assert_eq!((punted, verdicts), (vec![], dropped(DropReason::LoopedFrame)), "{what}");
        }
    }
}

#[test]
fn packets_out_of_a_tunnel_are_not_punted() {
    let near = [udp_of(NEAR, OWN, 53), tcp_of(NEAR, 9, LOOPBACK, 179), protocol_of(1, NEAR, OWN)];
    let groups = [udp_of(NEAR, "224.0.0.251", 5353), protocol_of(89, NEAR, "224.0.0.5")];
    let v6 = [udp_of(NEAR_V6, OWN_V6, 53), discovery(135, LINK_LOCAL, "ff02::1")];
    for inner in near.iter().chain(&groups).chain(&v6) {
        let mut outer = Sample { protocol: protocol::IPV4, ..addressed("192.0.2.9", TUNNEL) };
        if inner.source.is_ipv6() {
            outer.protocol = protocol::IPV6;
        }
        let with_ttl = ip(inner, 255);
        outer.payload = with_ttl[ethernet::LENGTH..].to_vec();
        for workers in [1, 3] {
            let setup = Setup { workers, ..WITH_INTERFACES };
            let (punted, verdicts) = received(setup, CLIENTS, &outer.frame());
            assert_eq!(punted, [], "{inner:?}");
            assert_eq!(verdicts, dropped(DropReason::NoVip), "{inner:?}");
        }
    }
}

#[test]
fn frames_that_have_no_buffer_of_their_own_are_not_punted() {
    let frame = ip(&udp_of(NEAR, OWN, 53), 64);
    let long = buffer(&frame).followed_by(4000);
    let shared = buffer(&frame).shared();
    for (buffer, reason) in [(long, DropReason::FrameTooLong), (shared, DropReason::BufferShared)] {
        let mut workers = Workers::new(WITH_INTERFACES);
        workers.receive(0, CLIENTS, [buffer]);
        assert_eq!((workers.verdicts(), workers.punted), (dropped(reason), vec![]));
    }
}

#[test]
fn a_full_queue_to_the_kernel_is_a_reason_of_its_own() {
    let mut workers = Workers::new(WITH_INTERFACES);
    workers.device_is_full = true;
    workers.receive(0, CLIENTS, [buffer(&arp(BROADCAST, &[], 1))]);
    assert_eq!(workers.verdicts(), dropped(DropReason::PuntQueueFull));
    assert_eq!(Class::ALL.iter().map(|&class| workers.events(class)).sum::<u64>(), 0);
}

/// One frame of each class.
fn one_of_each() -> [(Class, Vec<u8>); Class::ALL.len()] {
    [
        (Class::Routing, ip(&tcp_of(NEAR, 50000, OWN, 179), 1)),
        (Class::Neighbor, arp(BROADCAST, &[], 1)),
        (Class::Probe, ip(&tcp_of(VIP, 80, CHECK_SOURCES[0], 20000), 60)),
        (Class::Own, ip(&tcp_of(FAR, 50000, OWN, 179), 60)),
        (Class::LinkLocal, other([1, 0x80, 0xc2, 0, 0, 2], &[], SLOW, &[1, 1])),
        (Class::Multicast, ip(&udp_of(NEAR, "224.0.0.251", 5353), 255)),
    ]
}

/// The flood of port 179 from afar is one of the floods.
#[test]
fn a_flood_of_one_class_leaves_the_others_alone() {
    for (flooded, flood) in one_of_each() {
        let punt_limit = Limit { rate: 10, burst: 5 };
        let mut workers = Workers::new(Setup { punt_limit, ..WITH_INTERFACES });
        for _ in 0..10 {
            workers.receive(0, CLIENTS, (0..32).map(|_| buffer(&flood)));
        }
        let expected = [(Verdict::Punted, 5), (Verdict::Dropped(flooded.limited()), 315)];
        assert_eq!(workers.verdicts(), expected);
        for (class, frame) in one_of_each() {
            let before = workers.punted.len();
            workers.receive(0, CLIENTS, (0..8).map(|_| buffer(&frame)));
            let allowed = if class == flooded { 0 } else { 5 };
            assert_eq!(workers.punted.len() - before, allowed, "{class:?} under {flooded:?}");
        }
        for (class, _) in one_of_each() {
            assert_eq!(workers.events(class), 5, "{class:?} under {flooded:?}");
        }
        workers.wait(100);
        workers.receive(0, CLIENTS, (0..8).map(|_| buffer(&flood)));
        assert_eq!(workers.events(flooded), 6, "10 a second are one in 100 ms");
    }
}

/// A limit is checked after all other reasons to drop a packet, so forged packets use up nothing.
#[test]
fn what_is_dropped_anyway_uses_up_no_allowance() {
    let punt_limit = Limit { rate: 1, burst: 1 };
    let mut workers = Workers::new(Setup { punt_limit, ..WITH_INTERFACES });
    let mut looped = ip(&tcp_of(NEAR, 9, OWN, 179), 255);
    looped[6..12].copy_from_slice(&MAC);
    let forged = ip(&tcp_of("127.0.0.1", 9, OWN, 179), 255);
    let far = ip(&tcp_of(FAR, 9, OWN, 179), 64);
    let frames = [&looped, &forged, &far, &far].into_iter().cycle().take(32);
    workers.receive(0, CLIENTS, frames.map(|frame| buffer(frame)));
    assert_eq!(workers.events(Class::Routing), 0);
    workers.receive(0, CLIENTS, [buffer(&ip(&tcp_of(NEAR, 9, OWN, 179), 1))]);
    assert_eq!(workers.events(Class::Routing), 1);
}

#[test]
fn every_cut_of_every_known_frame_ends_in_a_verdict() {
    for (what, frame, _) in cases() {
        for length in 0..frame.len() {
            let mut workers = Workers::new(WITH_INTERFACES);
            for port in [CLIENTS, BACKENDS] {
                workers.receive(0, port, [buffer(&frame[..length])]);
            }
            if length < ethernet::LENGTH {
                assert_eq!(workers.punted, [], "{what}, {length} bytes");
            }
        }
    }
}

/// A frame of the table, of the packets that other exceptions know, or random bytes; damaged perhaps.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let known = select(cases()).prop_map(|(_, frame, _)| frame);
    let others = (frames(), any::<Index>()).prop_map(|(frames, at)| {
        frames.get(at.index(frames.len().max(1))).cloned().unwrap_or_default()
    });
    let random = vec(any::<u8>(), 0..200);
    let random_to_us =
        vec(any::<u8>(), 0..80).prop_map(|bytes| [&MAC[..], &CLIENT_MAC, &bytes].concat());
    let frame = prop_oneof![6 => known, 4 => others, 1 => random, 1 => random_to_us];
    (frame, 0u8..6, any::<Index>(), any::<u8>()).prop_map(|(frame, how, at, value)| {
        match frame.is_empty() || how == 2 && frame.len() < ethernet::LENGTH + ipv4::LENGTH {
            true => frame,
            false => disturbed(&frame, how, at, value),
        }
    })
}

/// What a packet counted as before there were punts, if it may be punted now.
fn could_be_for_the_kernel(verdict: Verdict) -> bool {
    let not_ip = DropReason::Malformed(Malformed::NotIp);
    [DropReason::MulticastMac, DropReason::NoVip, DropReason::IcmpUnsupported, not_ip]
        .map(Verdict::Dropped)
        .contains(&verdict)
}

/// What such a packet may count as instead.
fn is_of_a_punt(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Punted => true,
        Verdict::Dropped(DropReason::LoopedFrame | DropReason::SourceInvalid) => true,
        Verdict::Dropped(reason) => Class::ALL.iter().any(|class| class.limited() == reason),
        _ => false,
    }
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![
        2 => Just(Setup::PLAIN.punt_limit),
        1 => (0u32..3, 0u32..3).prop_map(|(rate, burst)| Limit { rate, burst }),
    ]
}

proptest! {
    /// On a port without an interface everything is as if nothing was ever punted, whatever the tables say.
    #[test]
    fn without_an_interface_nothing_is_punted(
        setup in setup(),
        frames in vec(any_frame(), 1..20),
        worker: Index,
    ) {
        let other = Setup { interfaces: [false, true], ..setup.clone() };
        let mut outcomes = Vec::new();
        for setup in [setup, other] {
            let worker = worker.index(setup.workers.into());
            let mut workers = Workers::new(setup);
            let sent = workers.receive(worker, CLIENTS, frames.iter().map(|frame| buffer(frame)));
            prop_assert!(workers.punted.is_empty());
            outcomes.push((sent, workers.verdicts()));
        }
        prop_assert_eq!(&outcomes[0], &outcomes[1]);
    }

    /// Punting takes packets only from four reasons to drop them. All others have the verdict that they had, and
    /// what leaves is the same.
    #[test]
    fn punting_changes_nothing_else(
        setup in setup(),
        punt_limit in limit(),
        frames in vec(any_frame(), 1..20),
        port in select(vec![CLIENTS, BACKENDS]),
    ) {
        let with = Setup { interfaces: [true; 2], punt_limit, ..setup.clone() };
        for frame in &frames {
            let (mut before, mut after) = (Workers::new(setup.clone()), Workers::new(with.clone()));
            let sent = before.receive(0, port, [buffer(frame)]);
            prop_assert_eq!(after.receive(0, port, [buffer(frame)]), sent);
            let ([(was, 1)], [(is, 1)]) = (&before.verdicts()[..], &after.verdicts()[..]) else {
                prop_assert_eq!(before.verdicts(), after.verdicts());
                continue;
            };
            let taken = could_be_for_the_kernel(*was) && is_of_a_punt(*is);
            prop_assert!(was == is || taken, "{was:?} became {is:?}: {frame:02x?}");
            // What the kernel gets is what came.
            let punted: Vec<_> = after.punted.iter().map(|(by, _, bytes)| (*by, bytes)).collect();
            let expected = if *is == Verdict::Punted { vec![(port, frame)] } else { vec![] };
            prop_assert_eq!(punted, expected);
        }
    }

    /// The number of workers, and how flows are divided among them, decides nothing about punts.
    #[test]
    fn several_workers_punt_as_one_does(
        setup in setup(),
        frames in vec(any_frame(), 1..20),
        worker: Index,
    ) {
        let setup = Setup { interfaces: [true; 2], ..setup };
        let one = Setup { workers: 1, ..setup.clone() };
        let mut outcomes = Vec::new();
        for setup in [setup, one] {
            let worker = worker.index(setup.workers.into());
            let mut workers = Workers::new(setup);
            workers.receive(worker, CLIENTS, frames.iter().map(|frame| buffer(frame)));
            let events: Vec<u64> = Class::ALL.iter().map(|&class| workers.events(class)).collect();
            prop_assert_eq!(events.iter().sum::<u64>(), workers.punted.len() as u64);
            outcomes.push((workers.punted, events));
        }
        prop_assert_eq!(&outcomes[0], &outcomes[1]);
    }
}
