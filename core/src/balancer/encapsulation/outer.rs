//! The outer IP header, RFC 791 and RFC 8200.
//!
//! It has the traffic class of the inner packet: DSCP by RFC 2983, uniform model; ECN by RFC 6040, normal mode at the
//! encapsulator.

use std::net::IpAddr;

use crate::wire::ethernet;
use crate::wire::plain::Ipv4FirstWord;

/// Hop limit of a tunnel packet.
const TTL: u8 = 64;

/// The family of the outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4. DF is set, so any identification is allowed (RFC 6864, section 4.1); it is 0.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    pub(super) const fn ethertype(self) -> u16 {
        match self {
            Family::V4 => ethernet::IPV4,
            Family::V6 => ethernet::IPV6,
        }
    }

    #[inline]
    pub(super) const fn length(self) -> usize {
        match self {
            Family::V4 => 20,
            Family::V6 => 40,
        }
    }

    /// Offset of the protocol number.
    pub(super) const fn protocol_at(self) -> usize {
        match self {
            Family::V4 => 9,
            Family::V6 => 6,
        }
    }

    /// Completes `ip`, a copy of the header whose words sum to `sum`, for an outer packet of `length` bytes with this
    /// header.
    #[inline(always)]
    pub(super) fn fix(self, ip: &mut [u8], sum: u32, length: u16, traffic_class: u8, entropy: u64) {
        match self {
            Family::V4 => fix_v4(ip, sum, length, traffic_class),
            Family::V6 => fix_v6(ip, length, traffic_class, entropy),
        }
    }

    /// Completes `ip` like [`Family::fix`], for headers of which more fields differ from packet to packet.
    pub(super) fn fix_per_packet(
        self,
        ip: &mut [u8],
        mut sum: u32,
        length: u16,
        traffic_class: u8,
        entropy: u64,
        per_packet: PerPacket,
    ) {
        let PerPacket { protocol, host_bits } = per_packet;
        ip[self.protocol_at()] |= protocol;
        if self == Family::V4 {
            let host = (entropy >> 32) as u32 & host_mask(host_bits);
            sum += u32::from(protocol) + choose_host(ip, host);
        }
        self.fix(ip, sum, length, traffic_class, entropy);
    }
}

/// The lowest bits of an address, as a mask.
pub(super) fn host_mask(bits: u8) -> u32 {
    !u32::MAX.checked_shl(bits.into()).unwrap_or_default()
}

/// Sets bits of the source address of an IPv4 header that has 0 there. Returns by how much the sum of its words grows.
#[inline(always)]
pub(super) fn choose_host(ip: &mut [u8], host: u32) -> u32 {
    for (byte, bits) in ip[12..16].iter_mut().zip(host.to_be_bytes()) {
        *byte |= bits;
    }
    (host >> 16) + (host & 0xffff)
}

/// The sum of the words of an IPv4 header without its checksum (RFC 1071).
pub(super) fn sum_v4(ip: &[u8]) -> u32 {
    ip.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum()
}

/// Completes an IPv4 header, see [`Family::fix`].
#[inline(always)]
pub(super) fn fix_v4(ip: &mut [u8], sum: u32, length: u16, traffic_class: u8) {
    ip[1] = traffic_class;
    ip[2..4].copy_from_slice(&length.to_be_bytes());
    let checksum = fold(sum + u32::from(length) + u32::from(traffic_class));
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Offset of the checksum in an IPv4 header.
pub(super) const CHECKSUM_V4: usize = 10;

/// Completes `ip`, a copy of an IPv4 header, by its first 32 bits. All other words sum to `sum`.
#[inline(always)]
pub(super) fn begin_v4(ip: &mut [u8], sum: u32, first: Ipv4FirstWord) {
    ip[..4].copy_from_slice(&first.0.to_be_bytes());
    let checksum = checksum_v4(first, sum).to_be_bytes();
    ip[CHECKSUM_V4..CHECKSUM_V4 + 2].copy_from_slice(&checksum);
}

/// The checksum of an IPv4 header that begins with these 32 bits, and whose other words sum to `sum`.
#[inline(always)]
pub(super) fn checksum_v4(first: Ipv4FirstWord, sum: u32) -> u16 {
    // In one's complement a word of 32 bits counts as much as its halves. It begins with 0x45, so the eight other
    // words cannot make it overflow.
    fold(first.0.wrapping_add(sum))
}

/// Completes an IPv6 header, see [`Family::fix`].
#[inline(always)]
pub(super) fn fix_v6(ip: &mut [u8], length: u16, traffic_class: u8, entropy: u64) {
    let word = 6 << 28 | u32::from(traffic_class) << 20 | flow_label(entropy);
    ip[..4].copy_from_slice(&word.to_be_bytes());
    ip[4..6].copy_from_slice(&(length - 40).to_be_bytes());
}

/// Fields that may differ from packet to packet besides lengths, traffic class and flow label.
#[derive(Clone, Copy, Debug)]
pub(super) struct PerPacket {
    /// The protocol number if the header has 0 for it; otherwise 0.
    pub(super) protocol: u8,
    /// How many of the lowest bits of an IPv4 source address the flow chooses. They are 0 in the header.
    pub(super) host_bits: u8,
}

/// The outer header without length, checksum, traffic class and flow label, and the sum of its words (RFC 1071), which
/// only IPv4 uses. `None` if the families of the addresses differ.
pub(super) fn header(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
) -> Option<(Family, u32, Vec<u8>)> {
    let (family, ip) = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, TTL, protocol, 0, 0];
            ip.extend(source.octets());
            ip.extend(destination.octets());
            (Family::V4, ip)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut ip = vec![0x60, 0, 0, 0, 0, 0, protocol, TTL];
            ip.extend(source.octets());
            ip.extend(destination.octets());
            (Family::V6, ip)
        }
        _ => return None,
    };
    let sum = sum_v4(&ip);
    Some((family, sum, ip))
}

/// The flow label: 20 bits of the flow's hash (RFC 6437, RFC 6438). Never 0, which would mean "no label".
#[inline]
fn flow_label(entropy: u64) -> u32 {
    let label = (entropy >> 44) as u32;
    label | u32::from(label == 0)
}

/// The checksum of a header whose words sum to `sum` (RFC 1071).
#[inline]
fn fold(sum: u32) -> u16 {
    // Adding the sum with its halves exchanged leaves in the high half: both halves, and the carry of the low ones.
    !((sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16)
}
