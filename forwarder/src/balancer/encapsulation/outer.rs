//! The outer IP header: RFC 791 and RFC 8200, with the traffic class of the inner packet (DSCP:
//! RFC 2983, uniform model; ECN: RFC 6040, normal mode at the encapsulator).

use std::net::IpAddr;

use crate::wire::ethernet;
use crate::wire::plain::Ipv4FirstWord;

/// Hop limit of a tunnel packet.
const TTL: u8 = 64;

/// The family of the outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4. DF is set, so any identification may be used and 0 is (RFC 6864, section 4.1).
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

    /// Completes `ip`, a copy of the header whose words sum to `sum`, for an outer packet of `length`
    /// bytes, this header included.
    #[inline(always)]
    pub(super) fn fix(self, ip: &mut [u8], sum: u32, length: u16, traffic_class: u8, entropy: u64) {
        match self {
            Family::V4 => fix_v4(ip, sum, length, traffic_class),
            Family::V6 => fix_v6(ip, length, traffic_class, entropy),
        }
    }

    /// As [`Family::fix`], where more of the header follows the packet.
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
        match self {
            Family::V4 => {
                ip[9] |= protocol;
                let host = (entropy >> 32) as u32 & !(u32::MAX << host_bits);
                for (byte, bits) in ip[12..16].iter_mut().zip(host.to_be_bytes()) {
                    *byte |= bits;
                }
                // Bits of the header that were 0 add to its sum what they are worth.
                sum += u32::from(protocol) + (host >> 16) + (host & 0xffff);
            }
            Family::V6 => ip[6] |= protocol,
        }
        self.fix(ip, sum, length, traffic_class, entropy);
    }
}

/// As [`Family::fix`] over IPv4.
#[inline(always)]
pub(super) fn fix_v4(ip: &mut [u8], sum: u32, length: u16, traffic_class: u8) {
    ip[1] = traffic_class;
    ip[2..4].copy_from_slice(&length.to_be_bytes());
    let checksum = fold(sum + u32::from(length) + u32::from(traffic_class));
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Completes `ip`, a copy of an IPv4 header whose words but for its first 32 bits sum to `sum`, by those.
#[inline(always)]
pub(super) fn begin_v4(ip: &mut [u8], sum: u32, first: Ipv4FirstWord) {
    ip[..4].copy_from_slice(&first.0.to_be_bytes());
    // In one's complement 32 bits are worth as much as their halves. They begin with 0x45, so that the eight
    // other words do not make them overflow.
    let checksum = fold(first.0.wrapping_add(sum));
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// As [`Family::fix`] over IPv6.
#[inline(always)]
pub(super) fn fix_v6(ip: &mut [u8], length: u16, traffic_class: u8, entropy: u64) {
    let word = 6 << 28 | u32::from(traffic_class) << 20 | flow_label(entropy);
    ip[..4].copy_from_slice(&word.to_be_bytes());
    ip[4..6].copy_from_slice(&(length - 40).to_be_bytes());
}

/// What may vary from packet to packet besides lengths, traffic class and flow label.
#[derive(Clone, Copy, Debug)]
pub(super) struct PerPacket {
    /// The protocol number, where the header has 0 for it; else 0.
    pub(super) protocol: u8,
    /// Bits of an IPv4 source address, the lowest, that the flow chooses; they are 0 in the header.
    pub(super) host_bits: u8,
}

/// The outer header with length, checksum, traffic class and flow label zero, and the sum of its words
/// (RFC 1071), which matters over IPv4; none if the families of the addresses differ.
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
    let sum = ip.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    Some((family, sum, ip))
}

/// 20 bits of the flow's hash (RFC 6437, RFC 6438); never 0, which would mean "no label".
#[inline]
fn flow_label(entropy: u64) -> u32 {
    let label = (entropy >> 44) as u32;
    label | u32::from(label == 0)
}

/// The checksum of a header whose words sum to `sum` (RFC 1071).
#[inline]
fn fold(sum: u32) -> u16 {
    // The high half of the sum with its halves exchanged: both halves, and the carry of the low ones.
    !((sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16)
}
