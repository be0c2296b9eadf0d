//! Decapsulation of packets that peers send to the node's tunnel address: fragments that another member of the
//! cluster redirects, and traffic for virtual addresses that a front tier or another cluster tunnels here.
//!
//! | encapsulation | recognised by | what is skipped |
//! |---|---|---|
//! | GRE, RFC 2784 and 2890 | protocol 47 | checksum (verified), key, sequence number |
//! | IP in IP, RFC 2003, 2473, 4213 | protocols 4 and 41 | nothing |
//! | VXLAN, RFC 7348 | UDP port 4789 | the network identifier, and the inner MAC addresses |
//! | GUE variant 0 | UDP port 6080 | private data; no flag is known |
//! | GUE variant 1 | UDP port 6080 | nothing |
//!
//! A packet is decapsulated once: if the inner packet is for the tunnel address again, it is dropped. An outer
//! packet that is a fragment is dropped too, because nothing here reassembles packets. The outer UDP checksum is
//! not verified: RFC 7348 leaves that open, and the inner packet has its own.
//!
//! A GRE header whose recursion control (RFC 1701) is not 0 marks a packet that was redirected already.

use std::net::IpAddr;

use ipnet::IpNet;
use zerocopy::FromBytes;

use super::frame::Frame;
use super::verdict::DropReason;
use crate::wire::checksum::update_u16;
use crate::wire::{Family, Fragment, Packet, ethernet, gre, hops, ipv4, ipv6, protocol, udp};

/// The UDP port of VXLAN, RFC 7348.
pub const VXLAN: u16 = 4789;
/// The UDP port of generic UDP encapsulation.
pub const GUE: u16 = 6080;

/// Why an encapsulated packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its source is no peer.
    UnknownPeer,
    /// It is not well-formed, or of an encapsulation that is not supported.
    Malformed,
    /// The tunnel met congestion, and the inner packet cannot carry the mark (RFC 6040, section 4.2).
    Congested,
}

impl From<Reason> for DropReason {
    fn from(reason: Reason) -> DropReason {
        match reason {
            Reason::UnknownPeer => DropReason::TunnelUnknownPeer,
            Reason::Malformed => DropReason::TunnelMalformed,
            Reason::Congested => DropReason::TunnelCongested,
        }
    }
}

/// Where and what the inner packet of a tunnel packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Where its IP header begins in the frame.
    pub offset: usize,
    /// Its family.
    pub family: Family,
    /// Whether it was redirected once and must not be again.
    pub redirected: bool,
}

/// The node's end of tunnels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decapsulator {
    own: Box<[IpNet]>,
    peers: Box<[IpNet]>,
}

impl Decapsulator {
    /// A decapsulator for packets from `peers`, which include the other members of the cluster, to one of the
    /// node's own tunnel addresses.
    pub fn new(
        own: impl IntoIterator<Item = IpNet>,
        peers: impl IntoIterator<Item = IpNet>,
    ) -> Decapsulator {
        Decapsulator { own: own.into_iter().collect(), peers: peers.into_iter().collect() }
    }

    /// Finds the inner packet of one that was parsed from this same frame; `None` if that is not encapsulated, or
    /// not for this node.
    ///
    /// # Errors
    /// The reason to drop it.
    #[cold]
    pub fn decapsulate(&self, packet: &Packet, frame: &[u8]) -> Result<Option<Inner>, Reason> {
        if !is_encapsulated(packet) {
            return Ok(None);
        }
        let ip = packet.ip(frame).ok_or(Reason::Malformed)?;
        let (source, destination) = addresses(packet.family, ip).ok_or(Reason::Malformed)?;
        if !self.is_own(destination) {
            return Ok(None);
        }
        if !self.peers.iter().any(|peer| peer.contains(&source)) {
            return Err(Reason::UnknownPeer);
        }
        let inner = find_inner(packet, frame)?;
        Ok(Some(inner))
    }

    /// Whether a whole packet, parsed from this same frame, is encapsulated for this node.
    #[cold]
    pub fn accepts(&self, packet: &Packet, frame: &[u8]) -> bool {
        packet.fragment == Fragment::Whole
            && is_encapsulated(packet)
            && self.is_destination(packet, frame)
    }

    /// Whether a packet that was parsed from this same frame is for one of the node's tunnel addresses. An inner
    /// packet for which this holds, and whose destination is no virtual address, is nested.
    #[cold]
    pub fn is_destination(&self, packet: &Packet, frame: &[u8]) -> bool {
        let ip = packet.ip(frame).unwrap_or_default();
        addresses(packet.family, ip).is_some_and(|(_, destination)| self.is_own(destination))
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.own.iter().any(|own| own.contains(&address))
    }
}

/// Source and destination of an IP packet.
fn addresses(family: Family, ip: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match family {
        Family::V4 => {
            let (header, _) = ipv4::Header::ref_from_prefix(ip).ok()?;
            Some((header.source.into(), header.destination.into()))
        }
        Family::V6 => {
            let (header, _) = ipv6::Header::ref_from_prefix(ip).ok()?;
            Some((header.source.into(), header.destination.into()))
        }
    }
}

/// Whether a packet has an encapsulation that [`find_inner`] knows. Later fragments of UDP have no ports and never
/// count as encapsulated.
pub fn is_encapsulated(packet: &Packet) -> bool {
    match packet.protocol {
        protocol::GRE | protocol::IPV4 | protocol::IPV6 => true,
        protocol::UDP => is_tunnel_port(packet.destination),
        _ => false,
    }
}

/// Whether datagrams to a port have an encapsulation that [`find_inner`] knows.
#[inline(always)]
pub(super) fn is_tunnel_port(port: u16) -> bool {
    matches!(port, VXLAN | GUE)
}

/// Finds the inner packet of a tunnel packet that was parsed from this same frame.
///
/// # Errors
/// [`Reason::Malformed`].
pub fn find_inner(packet: &Packet, frame: &[u8]) -> Result<Inner, Reason> {
    if packet.fragment != Fragment::Whole {
        return Err(Reason::Malformed);
    }
    let payload = packet.payload(frame).ok_or(Reason::Malformed)?;
    let (length, family, redirected) = match (packet.protocol, packet.destination) {
        (protocol::GRE, _) => of_gre(payload)?,
        (protocol::IPV4, _) => (0, Family::V4, false),
        (protocol::IPV6, _) => (0, Family::V6, false),
        (protocol::UDP, VXLAN) => of_vxlan(payload)?,
        (protocol::UDP, GUE) => of_gue(payload)?,
        _ => return Err(Reason::Malformed),
    };
    let inner = payload.get(length..).ok_or(Reason::Malformed)?;
    let (version, least) = match family {
        Family::V4 => (4, ipv4::LENGTH),
        Family::V6 => (6, ipv6::LENGTH),
    };
    if inner.len() < least || inner[0] >> 4 != version {
        return Err(Reason::Malformed);
    }
    Ok(Inner { offset: usize::from(packet.l4) + length, family, redirected })
}

type Found = (usize, Family, bool);

fn of_ethertype(ethertype: u16) -> Result<Family, Reason> {
    match ethertype {
        ethernet::IPV4 => Ok(Family::V4),
        ethernet::IPV6 => Ok(Family::V6),
        _ => Err(Reason::Malformed),
    }
}

fn of_gre(payload: &[u8]) -> Result<Found, Reason> {
    let gre = gre::parse(payload).map_err(|_| Reason::Malformed)?;
    Ok((gre.length, of_ethertype(gre.protocol)?, gre.recursion != 0))
}

/// Reads VXLAN: flags (I must be set), reserved bits and the network identifier, which are ignored, then an
/// Ethernet frame without a tag (RFC 7348 section 6.1).
fn of_vxlan(payload: &[u8]) -> Result<Found, Reason> {
    const HEADER: usize = 8;
    const IDENTIFIER: u8 = 0x08;
    let behind = payload.get(udp::LENGTH..).ok_or(Reason::Malformed)?;
    let (header, inner) = behind.split_first_chunk::<HEADER>().ok_or(Reason::Malformed)?;
    if header[0] & IDENTIFIER == 0 {
        return Err(Reason::Malformed);
    }
    let (frame, _) = ethernet::Header::ref_from_prefix(inner).map_err(|_| Reason::Malformed)?;
    let length = udp::LENGTH + HEADER + ethernet::LENGTH;
    Ok((length, of_ethertype(frame.ethertype.get())?, false))
}

/// Reads GUE, whose variant is in the two highest bits. Variant 0 has a control bit, the length of the rest of the
/// header in words (5 bits), the protocol and flags. In variant 1 the IP packet follows at once.
fn of_gue(payload: &[u8]) -> Result<Found, Reason> {
    const HEADER: usize = 4;
    let behind = payload.get(udp::LENGTH..).ok_or(Reason::Malformed)?;
    let &[first, number, flags_high, flags_low, ..] = behind else {
        return Err(Reason::Malformed);
    };
    match first >> 6 {
        // A control message, or fields of unknown meaning.
        0 if first & 0x20 != 0 || [flags_high, flags_low] != [0, 0] => Err(Reason::Malformed),
        0 => {
            let family = match number {
                protocol::IPV4 => Family::V4,
                protocol::IPV6 => Family::V6,
                _ => return Err(Reason::Malformed),
            };
            Ok((udp::LENGTH + HEADER + usize::from(first & 0x1f) * 4, family, false))
        }
        1 => match first >> 4 {
            4 => Ok((udp::LENGTH, Family::V4, false)),
            6 => Ok((udp::LENGTH, Family::V6, false)),
            _ => Err(Reason::Malformed),
        },
        _ => Err(Reason::Malformed),
    }
}

/// The longest link header: MAC addresses, two tags and the ethertype.
const MAX_LINK: usize = ethernet::LENGTH + 8;

/// Whether an inner packet has hops left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopLimit {
    /// There are hops left: the packet may be forwarded.
    Left,
    /// No hop is left: the packet may get a reply here, but must not be forwarded.
    Exceeded,
}

/// Removes the outer headers. The Ethernet header and its tags move before the inner packet, which gets the outer
/// header's congestion mark. Its time to live or hop limit falls by one, so that packets do not circle for ever
/// between nodes that tunnel to each other.
///
/// # Errors
/// The reason to drop the packet, of which only padding was removed.
pub fn unwrap(packet: &Packet, inner: &Inner, frame: &mut impl Frame) -> Result<HopLimit, Reason> {
    let l3 = usize::from(packet.l3);
    let mut link = [0; MAX_LINK];
    let link = link.get_mut(..l3).ok_or(Reason::Malformed)?;
    link.copy_from_slice(frame.bytes().get(..l3).ok_or(Reason::Malformed)?);
    let ethertype = match inner.family {
        Family::V4 => ethernet::IPV4,
        Family::V6 => ethernet::IPV6,
    };
    let (_, last) = link.split_last_chunk_mut::<2>().ok_or(Reason::Malformed)?;
    *last = ethertype.to_be_bytes();
    frame.truncate(packet.end as usize);
    let header = frame.bytes().get(inner.offset..).and_then(<[u8]>::first_chunk::<12>);
    let header = *header.ok_or(Reason::Malformed)?;
    let mut changed = with_congestion_mark(header, inner.family, packet.traffic_class)
        .ok_or(Reason::Congested)?;
    let life = hops::lower(&mut changed).map_or(HopLimit::Exceeded, |()| HopLimit::Left);
    let cut = inner.offset.checked_sub(l3).ok_or(Reason::Malformed)?;
    let bytes = frame.pull_front(cut).ok_or(Reason::Malformed)?;
    bytes[..l3].copy_from_slice(link);
    bytes[l3..l3 + changed.len()].copy_from_slice(&changed);
    Ok(life)
}

/// The beginning of an inner IP header, with the congestion mark of the outer traffic class (RFC 6040, figure 4).
/// `None` if the inner packet cannot carry the mark and so must be dropped.
fn with_congestion_mark(mut header: [u8; 12], family: Family, outer_class: u8) -> Option<[u8; 12]> {
    const NOT_ECT: u8 = 0b00;
    const ECT_1: u8 = 0b01;
    const ECT_0: u8 = 0b10;
    const CE: u8 = 0b11;
    // IPv6 has the traffic class across the nibbles of bytes 0 and 1.
    let shift = match family {
        Family::V4 => 0,
        Family::V6 => 4,
    };
    let inner = header[1] >> shift & CE;
    let combined = match (inner, outer_class & CE) {
        (NOT_ECT, CE) => return None,
        (NOT_ECT, _) => NOT_ECT,
        (_, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        (inner, _) => inner,
    };
    if combined != inner {
        let old = u16::from_be_bytes([header[0], header[1]]);
        header[1] = header[1] & !(CE << shift) | combined << shift;
        if family == Family::V4 {
            let new = u16::from_be_bytes([header[0], header[1]]);
            let checksum = u16::from_be_bytes([header[10], header[11]]);
            let [high, low] = update_u16(checksum, old, new).to_be_bytes();
            (header[10], header[11]) = (high, low);
        }
    }
    Some(header)
}

#[cfg(test)]
mod tests;
