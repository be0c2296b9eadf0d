//! ICMP errors that the forwarder sends: "fragmentation needed" (RFC 1191), "packet too big" (RFC 4443 section 3.2,
//! RFC 8201), "port unreachable" (RFC 792; RFC 4443 section 3.1), "time exceeded" (RFC 792; RFC 4443 section 3.3) and
//! "parameter problem" (RFC 4443 section 3.4).
//!
//! An error quotes as much of the packet as is allowed: up to 576 bytes in all over IPv4 (RFC 1812 section 4.3.2.3),
//! up to 1280 over IPv6 (RFC 4443 section 2.4 (c)), and no more than the port can send.
//!
//! There are no errors about ICMP errors, nor about packets without a single source (RFC 1122 section 3.2.2, RFC 4443
//! section 2.4 (e)), nor about later fragments of IPv4. RFC 4443 does not exempt later fragments: if the MTU of a path
//! shrank between two fragments, the datagram would be lost in silence.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{TTL, may_reply, pseudo, return_to_sender};
use crate::balancer::frame::Frame;
use crate::balancer::verdict::{DropReason, Reply};
use crate::wire::{Checksum, Family, Fragment, Packet, icmp, icmpv6, ipv4, ipv6, protocol, udp};

/// The longest IPv4 packet with an error.
const LONGEST_V4: usize = 576;
/// The longest IPv6 packet with an error, and the least MTU of IPv6 (RFC 8200 section 5).
const LONGEST_V6: u16 = 1280;
/// The least MTU of IPv4 (RFC 791 section 3.2).
const LEAST_V4: u16 = 68;

/// Code of ICMP's "destination unreachable": port unreachable.
const PORT_UNREACHABLE: u8 = 3;
/// Code of ICMPv6's "destination unreachable": port unreachable.
const PORT_UNREACHABLE_V6: u8 = 4;
/// Code of ICMPv6's "parameter problem": unknown option.
const UNKNOWN_OPTION: u8 = 2;

/// Precedence 6, which errors over IPv4 should have (RFC 1812 section 4.3.2.5). RFC 4443 demands none.
const INTERNETWORK_CONTROL: u8 = 6 << 5;

/// Code of "time exceeded" of both families: in transit, not in reassembly.
const IN_TRANSIT: u8 = 0;

/// What an error reports about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// It does not fit; packets of up to `mtu` bytes do. An error never reports less than the least MTU.
    TooBig {
        /// The longest IP packet that fits, in bytes.
        mtu: u16,
    },
    /// Nothing listens on its port.
    PortUnreachable,
    /// It has an IPv6 option that is unknown here (RFC 8200 section 4.2).
    UnknownOption {
        /// Offset of the option's type in the packet.
        pointer: u16,
    },
    /// It has no hop left.
    TimeExceeded,
}

impl IcmpError {
    pub(super) const fn reply(self) -> Reply {
        match self {
            IcmpError::TooBig { .. } => Reply::TooBig,
            IcmpError::PortUnreachable => Reply::Unreachable,
            IcmpError::UnknownOption { .. } => Reply::ParameterProblem,
            IcmpError::TimeExceeded => Reply::TimeExceeded,
        }
    }
}

/// Turns a packet into an error about it, from its destination to its source. The IP packet of the error has at most
/// `limit` bytes.
///
/// # Errors
/// The reason to drop the packet. If there was not enough headroom, it may have been shortened to the quotation.
pub fn error(
    packet: &Packet,
    error: IcmpError,
    limit: u16,
    frame: &mut impl Frame,
) -> Result<Reply, DropReason> {
    let bytes = frame.bytes();
    let quoted = |longest: usize, headers: usize| {
        packet.ip_length().min(longest.min(limit.into()).saturating_sub(headers))
    };
    if !may_report(packet, bytes) {
        return Err(DropReason::ReplyForbidden);
    }
    if error == IcmpError::PortUnreachable && !has_sound_checksum(packet, bytes) {
        return Err(DropReason::UdpChecksum);
    }
    if let Some((source, destination)) = packet.addresses_v4(bytes) {
        let quoted = quoted(LONGEST_V4, ipv4::LENGTH + icmp::LENGTH);
        let length = ipv4::LENGTH + icmp::LENGTH + quoted;
        let ip = ipv4::Header {
            version_ihl: 0x45,
            traffic_class: INTERNETWORK_CONTROL,
            total_length: U16::new(u16::try_from(length).map_err(|_| DropReason::ExceedsMtu)?),
            identification: U16::ZERO,
            fragment: U16::ZERO,
            ttl: TTL,
            protocol: protocol::ICMP,
            checksum: U16::ZERO,
            source: destination,
            destination: source,
        };
        let (kind, code, mtu) = match error {
            IcmpError::TooBig { mtu } => {
                (icmp::DESTINATION_UNREACHABLE, icmp::FRAGMENTATION_NEEDED, mtu.max(LEAST_V4))
            }
            IcmpError::PortUnreachable => (icmp::DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0),
            IcmpError::TimeExceeded => (icmp::TIME_EXCEEDED, IN_TRANSIT, 0),
            // IPv4 has no such option.
            IcmpError::UnknownOption { .. } => return Err(DropReason::ReplyForbidden),
        };
        let mut message = icmp::Header {
            kind,
            code,
            checksum: U16::ZERO,
            identifier: U16::ZERO,
            sequence: U16::new(mtu),
        };
        let sum = sum(Checksum::new(), message.as_bytes(), packet, bytes, quoted);
        message.checksum = U16::new(sum);
        put(packet, quoted, &ip.with_checksum(), &message, frame)?;
    } else if let Some((source, destination)) = packet.addresses_v6(bytes) {
        let quoted = quoted(LONGEST_V6.into(), ipv6::LENGTH + icmpv6::LENGTH);
        let length = u16::try_from(icmpv6::LENGTH + quoted).map_err(|_| DropReason::ExceedsMtu)?;
        let ip = ipv6::Header {
            version_class_flow: ipv6::Header::first_word(0, 0),
            payload_length: U16::new(length),
            next_header: protocol::ICMPV6,
            hop_limit: TTL,
            source: destination,
            destination: source,
        };
        let (kind, code, data) = match error {
            IcmpError::TooBig { mtu } => (icmpv6::PACKET_TOO_BIG, 0, mtu.max(LONGEST_V6)),
            IcmpError::PortUnreachable => (icmpv6::DESTINATION_UNREACHABLE, PORT_UNREACHABLE_V6, 0),
            IcmpError::UnknownOption { pointer } => {
                (icmpv6::PARAMETER_PROBLEM, UNKNOWN_OPTION, pointer)
            }
            IcmpError::TimeExceeded => (icmpv6::TIME_EXCEEDED, IN_TRANSIT, 0),
        };
        let data = U32::new(data.into());
        let mut message = icmpv6::Header { kind, code, checksum: U16::ZERO, data };
        let pseudo = Checksum::pseudo_v6(ip.source, ip.destination, ip.next_header, length.into());
        message.checksum = U16::new(sum(pseudo, message.as_bytes(), packet, bytes, quoted));
        put(packet, quoted, &ip, &message, frame)?;
    }
    Ok(error.reply())
}

/// Whether this packet may cause an error.
pub fn may_report(packet: &Packet, frame: &[u8]) -> bool {
    !is_exempt(packet, frame) && may_reply(packet, frame)
}

/// Whether a host would accept a UDP datagram. It discards one with a wrong checksum in silence (RFC 1122 section
/// 4.1.3.4), and over IPv6 one without a checksum (RFC 8200 section 8.1). A first fragment shows the latter only.
fn has_sound_checksum(packet: &Packet, frame: &[u8]) -> bool {
    if packet.protocol != protocol::UDP {
        return true;
    }
    let datagram = packet.payload(frame).unwrap_or_default();
    let Ok((header, _)) = udp::Header::ref_from_prefix(datagram) else { return false };
    if header.checksum.get() == 0 {
        return packet.family == Family::V4;
    }
    if packet.fragment != Fragment::Whole {
        return true;
    }
    let length = header.length.get();
    let Some(datagram) = datagram.get(..length.into()) else { return false };
    pseudo(packet, frame, length).is_some_and(|sum| sum.add_bytes(datagram).finish() == 0)
}

/// Whether a packet of this kind must not cause an error: a later fragment of IPv4, an ICMP error, or a later fragment
/// of ICMPv6, which may be one.
fn is_exempt(packet: &Packet, frame: &[u8]) -> bool {
    if packet.fragment == Fragment::Later {
        return packet.family == Family::V4 || packet.protocol == protocol::ICMPV6;
    }
    let kind = packet.payload(frame).and_then(|message| message.first());
    match packet.protocol {
        protocol::ICMP => matches!(kind, Some(3 | 4 | 5 | 11 | 12) | None),
        protocol::ICMPV6 => matches!(kind, Some(0..128 | &icmpv6::REDIRECT) | None),
        _ => false,
    }
}

/// The checksum of an ICMP message with its quotation.
fn sum(pseudo: Checksum, header: &[u8], packet: &Packet, frame: &[u8], quoted: usize) -> u16 {
    let quotation = packet.ip(frame).and_then(|ip| ip.get(..quoted)).unwrap_or_default();
    pseudo.add_bytes(header).add_bytes(quotation).finish()
}

/// Inserts both headers between the Ethernet header and the quotation.
fn put<Ip, Message>(
    packet: &Packet,
    quoted: usize,
    ip: &Ip,
    message: &Message,
    frame: &mut impl Frame,
) -> Result<(), DropReason>
where
    Ip: IntoBytes + Immutable,
    Message: IntoBytes + Immutable,
{
    let l3 = usize::from(packet.l3);
    let (ip, message) = (ip.as_bytes(), message.as_bytes());
    let grown = ip.len() + message.len();
    frame.truncate(l3 + quoted);
    let bytes = frame.push_front(grown).ok_or(DropReason::NoHeadroom)?;
    bytes.copy_within(grown..grown + l3, 0);
    bytes[l3..l3 + ip.len()].copy_from_slice(ip);
    bytes[l3 + ip.len()..l3 + grown].copy_from_slice(message);
    return_to_sender(bytes);
    Ok(())
}

#[cfg(test)]
mod tests;
