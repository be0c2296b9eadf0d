//! RSTs: RFC 9293 sections 3.5.2 and 3.10.7.1, as a host without the connection sends them.
//!
//! A segment with an acknowledgement names the sequence number that its sender expects next, and the RST has that one.
//! To a segment without, the RST has the sequence number 0 and acknowledges all of the segment. So the sender takes the
//! RST for a reply to its own segment (RFC 5961 section 3.2).
//!
//! There is no RST in answer to a RST, nor to a fragment: its segment has not come whole, and cannot be verified. A
//! segment with a wrong checksum gets none either, because a host would discard the segment in silence (RFC 9293
//! section 3.1).

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{TTL, may_reply, pseudo, return_to_sender};
use crate::balancer::frame::Frame;
use crate::balancer::verdict::{DropReason, Reply};
use crate::wire::{Fragment, Packet, ipv4, ipv6, protocol, tcp};

/// Length of the segment.
const LENGTH: u16 = 20;
/// Length of the packet over IPv4.
const LENGTH_V4: u16 = 40;
/// Data offset of a header without options.
const NO_OPTIONS: u8 = 0x50;

const _: () = assert!(LENGTH as usize == tcp::LENGTH);
const _: () = assert!(LENGTH_V4 as usize == ipv4::LENGTH + tcp::LENGTH);

/// Turns a TCP packet into its RST, in place, and removes bytes behind the IP packet.
///
/// # Errors
/// The reason to drop the packet, which is then unchanged.
pub fn reset(packet: &Packet, frame: &mut impl Frame) -> Result<Reply, DropReason> {
    let bytes = frame.bytes();
    if !may_reset(packet, bytes) {
        return Err(DropReason::ReplyForbidden);
    }
    let mut answer = answer_to(packet, bytes)?;
    // Both directions have the same sum of addresses.
    let sum = pseudo(packet, bytes, LENGTH).ok_or(DropReason::ReplyForbidden)?;
    answer.checksum = U16::new(sum.add_bytes(answer.as_bytes()).finish());
    if let Some((source, destination)) = packet.addresses_v4(bytes) {
        let ip = ipv4::Header {
            version_ihl: 0x45,
            traffic_class: 0,
            total_length: U16::new(LENGTH_V4),
            identification: U16::ZERO,
            fragment: U16::new(ipv4::DONT_FRAGMENT),
            ttl: TTL,
            protocol: protocol::TCP,
            checksum: U16::ZERO,
            source: destination,
            destination: source,
        };
        put(packet, &ip.with_checksum(), &answer, frame)?;
    } else if let Some((source, destination)) = packet.addresses_v6(bytes) {
        let ip = ipv6::Header {
            version_class_flow: ipv6::Header::first_word(0, 0),
            payload_length: U16::new(LENGTH),
            next_header: protocol::TCP,
            hop_limit: TTL,
            source: destination,
            destination: source,
        };
        put(packet, &ip, &answer, frame)?;
    }
    Ok(Reply::Reset)
}

/// Whether this packet may cause a RST, if its checksum is right.
pub fn may_reset(packet: &Packet, frame: &[u8]) -> bool {
    packet.protocol == protocol::TCP
        && packet.fragment == Fragment::Whole
        && packet.tcp_flags & tcp::RST == 0
        && may_reply(packet, frame)
}

/// The RST, without its checksum.
fn answer_to(packet: &Packet, frame: &[u8]) -> Result<tcp::Header, DropReason> {
    let segment = packet.payload(frame).unwrap_or_default();
    let (header, _) =
        tcp::Header::ref_from_prefix(segment).map_err(|_| DropReason::ReplyForbidden)?;
    let length = u16::try_from(segment.len()).map_err(|_| DropReason::ReplyForbidden)?;
    let sum = pseudo(packet, frame, length).ok_or(DropReason::ReplyForbidden)?;
    if sum.add_bytes(segment).finish() != 0 {
        return Err(DropReason::TcpChecksum);
    }
    let end = header.sequence.get().wrapping_add(header.sequence_length(length));
    let (sequence, acknowledgement, flags) = match header.flags & tcp::ACK {
        0 => (U32::ZERO, U32::new(end), tcp::RST | tcp::ACK),
        _ => (header.acknowledgement, U32::ZERO, tcp::RST),
    };
    Ok(tcp::Header {
        source: header.destination,
        destination: header.source,
        sequence,
        acknowledgement,
        offset_reserved: NO_OPTIONS,
        flags,
        window: U16::ZERO,
        checksum: U16::ZERO,
        urgent: U16::ZERO,
    })
}

/// Replaces the IP packet by these two headers, which are not longer.
fn put<Ip>(
    packet: &Packet,
    ip: &Ip,
    tcp: &tcp::Header,
    frame: &mut impl Frame,
) -> Result<(), DropReason>
where
    Ip: IntoBytes + Immutable,
{
    let l3 = usize::from(packet.l3);
    let ip = ip.as_bytes();
    frame.truncate(l3 + ip.len() + tcp::LENGTH);
    let bytes = frame.push_front(0).ok_or(DropReason::NoHeadroom)?;
    let (header, segment) = bytes[l3..].split_at_mut(ip.len());
    header.copy_from_slice(ip);
    segment.copy_from_slice(tcp.as_bytes());
    return_to_sender(bytes);
    Ok(())
}

#[cfg(test)]
mod tests;
