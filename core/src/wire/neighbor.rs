//! The neighbour advertisement of IPv6, RFC 4861 section 4.4: 24 bytes, then options of 8 bytes each.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ethernet::{self, IPV6, Mac};
use super::icmpv6::NEIGHBOR_ADVERTISEMENT;
use super::{Checksum, ipv6, protocol};

/// Length of the message with the option that has the MAC address.
const LENGTH: u16 = 32;

/// All nodes of the link, ff02::1 (RFC 4291, section 2.7.1).
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The MAC address of [`ALL_NODES`] (RFC 2464, section 7).
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// Receivers replace the MAC address that they know.
const OVERRIDE: u32 = 1 << 29;

/// The hop limit of all neighbour discovery: what a router forwarded has another (RFC 4861, section 3.1).
const HOP_LIMIT: u8 = 255;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Advertisement {
    kind: u8,
    code: u8,
    checksum: U16,
    /// Router, solicited, override, and 29 bits that are 0.
    flags: U32,
    target: [u8; 16],
    /// 2: the target's link-layer address.
    option: u8,
    /// 1: eight bytes.
    option_length: u8,
    mac: Mac,
}

const _: () = assert!(size_of::<Advertisement>() == LENGTH as usize);

/// An advertisement as a frame.
pub type Frame = [u8; ethernet::LENGTH + ipv6::LENGTH + LENGTH as usize];

/// The frame by which a host announces that an address is at its MAC address, so that others correct what they know:
/// an unsolicited advertisement to all nodes (RFC 4861, section 7.2.6).
pub fn announcement(mac: Mac, address: [u8; 16]) -> Frame {
    let ethernet =
        ethernet::Header { destination: ALL_NODES_MAC, source: mac, ethertype: U16::new(IPV6) };
    let ip = ipv6::Header {
        version_class_flow: ipv6::Header::first_word(0, 0),
        payload_length: U16::new(LENGTH),
        next_header: protocol::ICMPV6,
        hop_limit: HOP_LIMIT,
        source: address,
        destination: ALL_NODES,
    };
    let mut message = Advertisement {
        kind: NEIGHBOR_ADVERTISEMENT,
        code: 0,
        checksum: U16::ZERO,
        flags: U32::new(OVERRIDE),
        target: address,
        option: 2,
        option_length: 1,
        mac,
    };
    let pseudo = Checksum::pseudo_v6(address, ALL_NODES, protocol::ICMPV6, LENGTH.into());
    message.checksum = U16::new(pseudo.add_bytes(message.as_bytes()).finish());
    let mut frame = [0; ethernet::LENGTH + ipv6::LENGTH + LENGTH as usize];
    let (head, rest) = frame.split_at_mut(ethernet::LENGTH);
    head.copy_from_slice(ethernet.as_bytes());
    let (head, rest) = rest.split_at_mut(ipv6::LENGTH);
    head.copy_from_slice(ip.as_bytes());
    rest.copy_from_slice(message.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        let address: std::net::Ipv6Addr = "2001:db8::100".parse().unwrap();
        announcement([2, 0, 0, 0, 0, 1], address.octets())
    }

    #[test]
    fn an_announcement_to_the_byte() {
        let expected = b"\x33\x33\x00\x00\x00\x01\x02\x00\x00\x00\x00\x01\x86\xdd\
            \x60\x00\x00\x00\x00\x20\x3a\xff\
            \x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\
            \xff\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\
            \x88\x00\x00\x00\x20\x00\x00\x00\
            \x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\
            \x02\x01\x02\x00\x00\x00\x00\x01";
        let mut frame = frame();
        frame[56..58].fill(0);
        assert_eq!(&frame, expected);
    }

    #[test]
    fn etherparse_agrees_on_the_checksum() {
        let frame = frame();
        let parsed = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        let (Some(etherparse::NetSlice::Ipv6(ip)), Some(etherparse::TransportSlice::Icmpv6(icmp))) =
            (&parsed.net, &parsed.transport)
        else {
            panic!("{parsed:?}")
        };
        let header = ip.header();
        assert_eq!((header.hop_limit(), header.source()), (255, header_target(icmp.slice())));
        assert!(icmp.is_checksum_valid(header.source(), header.destination()));
        assert_eq!((icmp.type_u8(), icmp.code_u8()), (136, 0));
    }

    fn header_target(message: &[u8]) -> [u8; 16] {
        message[8..24].try_into().unwrap()
    }
}
