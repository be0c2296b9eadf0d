//! The plain packet, which nearly all are: Ethernet without a tag, IPv4 without options or IPv6 without
//! extension headers, TCP or UDP, whole.
//!
//! Its headers stand at fixed offsets, so that they are read without a bounds check each. What is read is
//! what [`Packet::parse`] says of the same frame; to be no plain packet is no verdict, but asks that parser, which knows every
//! other kind and the names of all errors. So do some plain packets shorter than any that a device delivers.

use super::packet::{Family, Fragment, Packet};
use super::{ethernet, ipv4, ipv6, protocol, tcp, udp};

/// Bytes of a frame that a plain IPv4 packet is read from: as many as with a TCP header.
pub const HEAD_V4: usize = ethernet::LENGTH + ipv4::LENGTH + tcp::LENGTH;
/// Bytes of a frame that a plain IPv6 packet is read from: as far as TCP's flags.
pub const HEAD_V6: usize = ethernet::LENGTH + ipv6::LENGTH + TCP_FLAGS + 1;

const IP: usize = ethernet::LENGTH;
const L4_V4: usize = IP + ipv4::LENGTH;
const L4_V6: usize = IP + ipv6::LENGTH;
/// Offsets in the TCP header: the data offset and the flags, RFC 9293 section 3.1.
const TCP_OFFSET: usize = 12;
const TCP_FLAGS: usize = 13;
/// Offset of the length in the UDP header.
const UDP_LENGTH: usize = 4;

/// `N` bytes at an offset that the compiler knows to be inside.
#[inline(always)]
pub fn word<const N: usize>(head: &[u8], at: usize) -> [u8; N] {
    let mut word = [0; N];
    word.copy_from_slice(&head[at..at + N]);
    word
}

/// Whether a frame has this Ethertype.
#[inline(always)]
pub fn is(head: &[u8; HEAD_V4], ethertype: u16) -> bool {
    word(head, IP - 2) == ethertype.to_be_bytes()
}

/// Reads an IPv4 packet from the head of a frame of `length` bytes. False, and `packet` is anything, if
/// it is not plain.
///
/// It is written field by field where it shall stay: a value that is handed on would be put together in
/// registers and taken apart again.
#[inline(always)]
pub fn read_v4(head: &[u8; HEAD_V4], length: usize, packet: &mut Packet) -> bool {
    let total_length = usize::from(u16::from_be_bytes(word(head, IP + 2)));
    let fragment = u16::from_be_bytes(word(head, IP + 6));
    let whole = fragment & (ipv4::OFFSET_MASK | ipv4::MORE_FRAGMENTS) == 0;
    let end = IP + total_length;
    if head[IP] != 0x45 || !whole || end > length || !is_checksum_valid(head) {
        return false;
    }
    let protocol = head[IP + 9];
    let Some(tcp_flags) = transport(head, L4_V4, protocol, end) else { return false };
    packet.family = Family::V4;
    packet.l3 = offset(IP);
    packet.l4 = offset(L4_V4);
    packet.end = self::end(end);
    packet.protocol = protocol;
    packet.traffic_class = head[IP + 1];
    packet.fragment = Fragment::Whole;
    packet.source = u16::from_be_bytes(word(head, L4_V4));
    packet.destination = u16::from_be_bytes(word(head, L4_V4 + 2));
    packet.tcp_flags = tcp_flags;
    true
}

/// As [`read_v4`], an IPv6 packet.
#[inline(always)]
pub fn read_v6(head: &[u8; HEAD_V6], length: usize, packet: &mut Packet) -> bool {
    let word_0 = u32::from_be_bytes(word(head, IP));
    let end = L4_V6 + usize::from(u16::from_be_bytes(word(head, IP + 4)));
    if word_0 >> 28 != 6 || end > length {
        return false;
    }
    let protocol = head[IP + 6];
    let Some(tcp_flags) = transport(head, L4_V6, protocol, end) else { return false };
    packet.family = Family::V6;
    packet.l3 = offset(IP);
    packet.l4 = offset(L4_V6);
    packet.end = self::end(end);
    packet.protocol = protocol;
    packet.traffic_class = (word_0 >> 20 & 0xff) as u8;
    packet.fragment = Fragment::Whole;
    packet.source = u16::from_be_bytes(word(head, L4_V6));
    packet.destination = u16::from_be_bytes(word(head, L4_V6 + 2));
    packet.tcp_flags = tcp_flags;
    true
}

/// The flags of TCP, none of UDP, if the header of either ends before the packet does.
#[inline(always)]
fn transport(head: &[u8], l4: usize, protocol: u8, end: usize) -> Option<u8> {
    if protocol == protocol::TCP {
        let header_length = usize::from(head[l4 + TCP_OFFSET] >> 4) * 4;
        let fits = header_length >= tcp::LENGTH && l4 + header_length <= end;
        fits.then_some(head[l4 + TCP_FLAGS])
    } else if protocol == protocol::UDP {
        let says = usize::from(u16::from_be_bytes(word(head, l4 + UDP_LENGTH)));
        (says >= udp::LENGTH && l4 + says <= end).then_some(0)
    } else {
        None
    }
}

/// Whether the 20 bytes of the IPv4 header sum up to what they should (RFC 1071): five words of 32 bits,
/// whose carries fit beside them. One's complement is arithmetic modulo 0xffff, and the header is not 0.
#[inline(always)]
fn is_checksum_valid(head: &[u8; HEAD_V4]) -> bool {
    let at = |i: usize| u64::from(u32::from_ne_bytes(word(head, IP + 4 * i)));
    (at(0) + at(1) + at(2) + at(3) + at(4)).is_multiple_of(0xffff)
}

#[expect(clippy::cast_possible_truncation, reason = "at most 54")]
const fn offset(value: usize) -> u16 {
    value as u16
}

#[expect(clippy::cast_possible_truncation, reason = "at most 54 + 65535")]
const fn end(value: usize) -> u32 {
    value as u32
}
