//! The outer UDP header: the source port from the flow's hash, and the checksum.
//!
//! Over IPv4 the checksum is 0. Over IPv6 it is 0 (RFC 6935, RFC 6936) or computed. Computing it seldom reads the
//! payload: a TCP segment or UDP datagram with a right checksum sums up to the complement of its pseudo-header, and an
//! IPv4 header to zero. If the inner checksum is wrong, the outer one is wrong too, and the receiver drops what the
//! next layer would have dropped. If the packet has no such checksum (UDP without one, fragments, options, extension
//! headers), the whole packet is summed.

use crate::wire::{Checksum, Family, Fragment, Packet, ipv4, ipv6, protocol};

pub(super) use crate::wire::udp::LENGTH;

/// Offset of the checksum in the header.
pub(super) const CHECKSUM: usize = 6;

/// Offset of the length in the header.
pub(super) const LENGTH_AT: usize = 4;

/// The first port of the dynamic range (RFC 6335), which has 2^14 ports and ends with 65535.
const FIRST_PORT: u16 = 49_152;

/// The header without the fields that [`fix`] sets.
pub(super) fn header(port: u16) -> [u8; LENGTH] {
    let [high, low] = port.to_be_bytes();
    [0, 0, high, low, 0, 0, 0, 0]
}

/// How 32 bits of the flow's hash become the word of both ports, as [`fix`] has it: shift to the right, mask, and base.
pub(super) fn ports_of_flow(port: [u8; 2]) -> (u8, u32, u32) {
    let base = u32::from(FIRST_PORT) << 16 | u32::from(u16::from_be_bytes(port));
    (2, u32::from(!FIRST_PORT) << 16, base)
}

/// Sets the source port, and the length of header and data.
pub(super) fn fix(header: &mut [u8], length: u16, entropy: u64) {
    let port = FIRST_PORT | (entropy >> 50) as u16;
    header[..2].copy_from_slice(&port.to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());
}

/// The UDP checksum of an outer IPv6 packet that carries `packet`. `outer` has the headers before it: IPv6, UDP and
/// encapsulation. `inner` is the packet itself.
pub(super) fn checksum(outer: &[u8], packet: &Packet, inner: &[u8]) -> Option<u16> {
    let (ip, datagram) = outer.split_at_checked(ipv6::LENGTH)?;
    let source = ip[8..24].try_into().ok()?;
    let destination = ip[24..40].try_into().ok()?;
    let length = u32::try_from(datagram.len() + inner.len()).ok()?;
    let pseudo = Checksum::pseudo_v6(source, destination, protocol::UDP, length);
    let sum = pseudo.add_bytes(datagram);
    let sum = match inner_sum(packet, inner) {
        Some(Sum { header, transport }) => sum.add_bytes(header).add_u16(transport),
        None => sum.add_bytes(inner),
    };
    Some(sum.finish_udp())
}

/// The sum of an inner packet: that of these bytes plus this word.
struct Sum<'a> {
    header: &'a [u8],
    transport: u16,
}

/// The sum of an inner packet whose own checksum gives it; `None` if no checksum does.
fn inner_sum<'a>(packet: &Packet, inner: &'a [u8]) -> Option<Sum<'a>> {
    let (header, transport) = inner.split_at_checked(usize::from(packet.l4 - packet.l3))?;
    let length = u16::try_from(transport.len()).ok()?;
    let tells = packet.fragment == Fragment::Whole
        && match packet.protocol {
            protocol::TCP => true,
            protocol::UDP => {
                let (lengths, sums) = (transport.get(4..6)?, transport.get(6..LENGTH)?);
                lengths == length.to_be_bytes() && sums != [0, 0]
            }
            _ => false,
        };
    if !tells {
        return None;
    }
    match packet.family {
        // With options or extension headers the sum is unknown: a source route, or a routing header, puts another
        // destination into the pseudo-header.
        Family::V4 if header.len() == ipv4::LENGTH => {
            let source = header[12..16].try_into().ok()?;
            let destination = header[16..20].try_into().ok()?;
            let pseudo = Checksum::pseudo_v4(source, destination, packet.protocol, length);
            Some(Sum { header: &[], transport: pseudo.finish() })
        }
        Family::V6 if header.len() == ipv6::LENGTH => {
            let source = header[8..24].try_into().ok()?;
            let destination = header[24..40].try_into().ok()?;
            let pseudo = Checksum::pseudo_v6(source, destination, packet.protocol, length.into());
            Some(Sum { header, transport: pseudo.finish() })
        }
        Family::V4 | Family::V6 => None,
    }
}
