//! Echo replies: RFC 792 and RFC 1122 section 3.2.2.6; RFC 4443 section 4.2.
//!
//! The reply is the request with the addresses exchanged, another type and a fresh hop limit. IPv4 options stay as
//! they are. A request with a source route gets no reply, because the route would have to be reversed. IPv6 extension
//! headers are removed: none of them belongs into the reply.
//!
//! Each fragment of a request becomes a fragment of the reply, without reassembly. A later fragment does not show
//! what it is a part of, so the caller must have seen the first.

use zerocopy::FromBytes;
use zerocopy::network_endian::U16;

use super::{TTL, may_reply, return_to_sender};
use crate::balancer::frame::Frame;
use crate::balancer::verdict::{DropReason, Reply};
use crate::wire::{
    Checksum, Family, Fragment, Packet, checksum, icmp, icmpv6, ipv4, ipv6, protocol,
};

/// Length of IPv6's fragment header.
const FRAGMENT_HEADER: usize = size_of::<ipv6::FragmentHeader>();

/// The congestion bits of a traffic class. A reply does not have the request's: it met no congestion yet, and nothing
/// lowers its rate (RFC 3168 section 5). The other bits stay (RFC 1349 section 5.1).
const ECN: u8 = 3;

/// Turns an echo request into its reply, in place, and removes bytes behind the IP packet.
///
/// # Errors
/// The reason to drop the request, which is then unchanged.
pub fn reply(packet: &Packet, frame: &mut impl Frame) -> Result<Reply, DropReason> {
    check(packet, frame.bytes())?;
    let (l3, l4, end) = (usize::from(packet.l3), usize::from(packet.l4), packet.end as usize);
    frame.truncate(end);
    let bytes = frame.push_front(0).ok_or(DropReason::NoHeadroom)?;
    return_to_sender(bytes);
    let (_, ip) = bytes.split_at_mut_checked(l3).ok_or(DropReason::IcmpMalformed)?;
    let (header, message) = ip.split_at_mut_checked(l4 - l3).ok_or(DropReason::IcmpMalformed)?;
    if packet.fragment != Fragment::Later {
        reply_message(packet.family, message)?;
    }
    match packet.family {
        Family::V4 => reply_header_v4(header)?,
        Family::V6 => {
            let extensions = reply_header_v6(header, message.len(), packet.fragment)?;
            bytes.copy_within(l4.., l4 - extensions);
            frame.truncate(end - extensions);
        }
    }
    Ok(Reply::Echo)
}

/// Refuses what is no request or must get no reply.
fn check(packet: &Packet, frame: &[u8]) -> Result<(), DropReason> {
    let (protocol, kind) = match packet.family {
        Family::V4 => (protocol::ICMP, icmp::ECHO),
        Family::V6 => (protocol::ICMPV6, icmpv6::ECHO_REQUEST),
    };
    let message = packet.payload(frame).ok_or(DropReason::IcmpMalformed)?;
    if packet.protocol != protocol {
        return Err(DropReason::IcmpUnsupported);
    }
    if packet.fragment != Fragment::Later {
        let header =
            icmp::Header::ref_from_prefix(message).map_err(|_| DropReason::IcmpMalformed)?.0;
        if (header.kind, header.code) != (kind, 0) {
            return Err(DropReason::IcmpUnsupported);
        }
    }
    if packet.fragment == Fragment::Whole && !is_valid(packet, frame, message) {
        return Err(DropReason::IcmpMalformed);
    }
    if !may_reply(packet, frame) {
        return Err(DropReason::ReplyForbidden);
    }
    let header = frame.get(packet.l3.into()..packet.l4.into()).unwrap_or_default();
    match packet.family {
        Family::V4 if is_source_routed(header.get(ipv4::LENGTH..).unwrap_or_default()) => {
            Err(DropReason::SourceRouted)
        }
        Family::V6 => check_extensions(header, packet.fragment),
        Family::V4 => Ok(()),
    }
}

/// Whether the checksum of a whole message is right.
fn is_valid(packet: &Packet, frame: &[u8], message: &[u8]) -> bool {
    let pseudo = match packet.addresses_v6(frame) {
        Some((source, destination)) => {
            // A message is at most 64 KiB.
            let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
            Checksum::pseudo_v6(source, destination, protocol::ICMPV6, length)
        }
        None => Checksum::new(),
    };
    pseudo.add_bytes(message).finish() == 0
}

/// Whether IPv4 options contain a loose or strict source route.
fn is_source_routed(options: &[u8]) -> bool {
    ipv4::options(options).any(|(kind, _)| matches!(kind, ipv4::LOOSE_ROUTE | ipv4::STRICT_ROUTE))
}

/// Refuses extension headers, except options for hops and for the destination, and a route that has been followed to
/// its end. A fragment, which keeps its fragment header, may have no other.
fn check_extensions(header: &[u8], fragment: Fragment) -> Result<(), DropReason> {
    let (fixed, mut rest) =
        ipv6::Header::ref_from_prefix(header).map_err(|_| DropReason::IcmpMalformed)?;
    let mut next = fixed.next_header;
    if fragment != Fragment::Whole {
        let only = next == ipv6::FRAGMENT && rest.len() == FRAGMENT_HEADER;
        return if only { Ok(()) } else { Err(DropReason::IcmpUnsupported) };
    }
    while let [following, length, _, segments_left, ..] = *rest {
        let size = match next {
            ipv6::ROUTING if segments_left > 0 => return Err(DropReason::SourceRouted),
            ipv6::FRAGMENT => FRAGMENT_HEADER,
            ipv6::HOP_BY_HOP | ipv6::DESTINATION_OPTIONS | ipv6::ROUTING => {
                (usize::from(length) + 1) * 8
            }
            // This node has no key to authenticate with.
            _ => return Err(DropReason::IcmpUnsupported),
        };
        next = following;
        rest = rest.get(size..).unwrap_or_default();
    }
    Ok(())
}

/// Turns a request's message into that of the reply. A pseudo-header has the same sum with the addresses exchanged.
fn reply_message(family: Family, message: &mut [u8]) -> Result<(), DropReason> {
    let (header, data) =
        icmp::Header::mut_from_prefix(message).map_err(|_| DropReason::IcmpMalformed)?;
    let old = u16::from_be_bytes([header.kind, header.code]);
    header.kind = match family {
        Family::V4 => icmp::ECHO_REPLY,
        Family::V6 => icmpv6::ECHO_REPLY,
    };
    let new = u16::from_be_bytes([header.kind, header.code]);
    let updated = checksum::update_u16(header.checksum.get(), old, new);
    // The sum of a reply of zeros has two forms, of which an update gives the wrong one.
    let is_zero = header.kind == 0
        && header.identifier == U16::ZERO
        && header.sequence == U16::ZERO
        && data.iter().all(|&byte| byte == 0);
    header.checksum = U16::new(if is_zero { 0xffff } else { updated });
    Ok(())
}

fn reply_header_v4(header: &mut [u8]) -> Result<(), DropReason> {
    let (header, _) =
        ipv4::Header::mut_from_prefix(header).map_err(|_| DropReason::IcmpMalformed)?;
    let words = |header: &ipv4::Header| {
        [[header.version_ihl, header.traffic_class], [header.ttl, header.protocol]]
            .map(u16::from_be_bytes)
    };
    let old = words(header);
    header.ttl = TTL;
    header.traffic_class &= !ECN;
    for (old, new) in old.into_iter().zip(words(header)) {
        header.checksum = U16::new(checksum::update_u16(header.checksum.get(), old, new));
    }
    std::mem::swap(&mut header.source, &mut header.destination);
    Ok(())
}

/// Returns how many bytes of extension headers are to be removed behind this header.
fn reply_header_v6(
    header: &mut [u8],
    message: usize,
    fragment: Fragment,
) -> Result<usize, DropReason> {
    let (header, extensions) =
        ipv6::Header::mut_from_prefix(header).map_err(|_| DropReason::IcmpMalformed)?;
    header.hop_limit = TTL;
    header.version_class_flow =
        ipv6::Header::first_word(header.traffic_class() & !ECN, header.flow_label());
    std::mem::swap(&mut header.source, &mut header.destination);
    if fragment != Fragment::Whole {
        return Ok(0);
    }
    header.next_header = protocol::ICMPV6;
    header.payload_length =
        U16::new(u16::try_from(message).map_err(|_| DropReason::IcmpMalformed)?);
    Ok(extensions.len())
}

#[cfg(test)]
mod tests;
