//! ICMP to a virtual address: the kind of message, and for an error the flow that it is about.
//!
//! An error quotes the packet that caused it. A backend sent that packet from the virtual address to a client, so
//! with its ends exchanged it has the flow of the client's packets. The quotation is read leniently: routers may
//! end it after 8 bytes of the transport header (RFC 792) and may have changed the header before. Only what leads
//! to the ports must be there and sound. No checksum is verified, because the backend verifies the message.

use std::net::{IpAddr, SocketAddr};

use zerocopy::FromBytes;

use super::flow::FlowKey;
use super::services::ServiceAddress;
use super::verdict::DropReason;
use crate::wire::{Family, Fragment, Packet, icmp, icmpv6, ipv4, ipv6, protocol};

/// What the forwarder does with an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// An echo request, which gets a reply: [`super::reply::echo_reply`].
    EchoRequest,
    /// An error about a packet, which goes to the backend of its flow: [`embedded`].
    Error,
}

/// The flow and the service of the packet that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// The flow of the client's packets: that of the quoted packet with its ends exchanged.
    pub flow: FlowKey,
    /// The address that sent the quoted packet. A service may have it.
    pub service_address: ServiceAddress,
}

/// The kind of message of an ICMP packet or of its first fragment.
///
/// # Errors
/// The reason to drop it.
pub fn message(packet: &Packet, frame: &[u8]) -> Result<Message, DropReason> {
    if packet.fragment == Fragment::Later {
        return Err(DropReason::FragmentMalformed);
    }
    let message = packet.payload(frame).ok_or(DropReason::IcmpMalformed)?;
    match (packet.family, packet.protocol) {
        (Family::V4, protocol::ICMP) => {
            match icmp::Header::ref_from_prefix(message).map_err(|_| DropReason::IcmpMalformed)?.0 {
                icmp::Header { kind: icmp::ECHO, .. } => Ok(Message::EchoRequest),
                header if header.is_error() => Ok(Message::Error),
                _ => Err(DropReason::IcmpUnsupported),
            }
        }
        (Family::V6, protocol::ICMPV6) => {
            match icmpv6::Header::ref_from_prefix(message)
                .map_err(|_| DropReason::IcmpMalformed)?
                .0
                .kind
            {
                icmpv6::ECHO_REQUEST => Ok(Message::EchoRequest),
                // Errors of unknown type are passed on too (RFC 4443 section 2.4 (a)); 0 is reserved.
                icmpv6::DESTINATION_UNREACHABLE..icmpv6::ECHO_REQUEST => Ok(Message::Error),
                _ => Err(DropReason::IcmpUnsupported),
            }
        }
        _ => Err(DropReason::IcmpUnsupported),
    }
}

/// The flow and the service that an ICMP error is about. The error may be a first fragment.
///
/// # Errors
/// The reason to drop it.
pub fn embedded(packet: &Packet, frame: &[u8]) -> Result<Embedded, DropReason> {
    if message(packet, frame)? != Message::Error {
        return Err(DropReason::IcmpUnsupported);
    }
    // ICMP and ICMPv6 have headers of the same length.
    let message = packet.payload(frame).unwrap_or_default();
    let quotation = message.get(icmp::LENGTH..).unwrap_or_default();
    let quoted = match packet.family {
        Family::V4 => quoted_v4(quotation)?,
        Family::V6 => quoted_v6(quotation)?,
    };
    if Some(quoted.source.ip()) != destination(packet, frame) {
        return Err(DropReason::IcmpUnknownFlow);
    }
    let flow = FlowKey::new(quoted.destination, quoted.source, quoted.protocol);
    Ok(Embedded {
        flow: flow.ok_or(DropReason::IcmpEmbeddedMalformed)?,
        service_address: ServiceAddress::new(
            quoted.source.ip(),
            quoted.protocol,
            quoted.source.port(),
        ),
    })
}

/// The fields of a quoted packet that make its flow.
struct Quoted {
    source: SocketAddr,
    destination: SocketAddr,
    protocol: u8,
}

fn quoted_v4(quotation: &[u8]) -> Result<Quoted, DropReason> {
    let (header, _) =
        ipv4::Header::ref_from_prefix(quotation).map_err(|_| DropReason::IcmpEmbeddedMalformed)?;
    if header.version() != 4 || header.header_length() < ipv4::LENGTH {
        return Err(DropReason::IcmpEmbeddedMalformed);
    }
    if header.part() == Fragment::Later {
        return Err(DropReason::IcmpEmbeddedFragment);
    }
    let transport =
        quotation.get(header.header_length()..).ok_or(DropReason::IcmpEmbeddedMalformed)?;
    quoted(header.source.into(), header.destination.into(), header.protocol, transport)
}

fn quoted_v6(quotation: &[u8]) -> Result<Quoted, DropReason> {
    let (header, rest) =
        ipv6::Header::ref_from_prefix(quotation).map_err(|_| DropReason::IcmpEmbeddedMalformed)?;
    if header.version() != 6 {
        return Err(DropReason::IcmpEmbeddedMalformed);
    }
    let chain =
        ipv6::walk(header.next_header, rest).map_err(|_| DropReason::IcmpEmbeddedMalformed)?;
    if chain.fragment == Fragment::Later {
        return Err(DropReason::IcmpEmbeddedFragment);
    }
    let transport = rest.get(chain.length..).unwrap_or_default();
    quoted(header.source.into(), header.destination.into(), chain.protocol, transport)
}

fn quoted(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    transport: &[u8],
) -> Result<Quoted, DropReason> {
    if !matches!(protocol, protocol::TCP | protocol::UDP) {
        return Err(DropReason::IcmpUnknownFlow);
    }
    let [a, b, c, d, ..] = *transport else { return Err(DropReason::IcmpEmbeddedMalformed) };
    Ok(Quoted {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
        protocol,
    })
}

fn destination(packet: &Packet, frame: &[u8]) -> Option<IpAddr> {
    match packet.family {
        Family::V4 => packet.addresses_v4(frame).map(|(_, destination)| destination.into()),
        Family::V6 => packet.addresses_v6(frame).map(|(_, destination)| destination.into()),
    }
}

#[cfg(test)]
mod tests;
