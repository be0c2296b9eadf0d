//! The parser: one pass over a frame that finds its headers and the fields that the balancer needs.
//!
//! It reads Ethernet, up to two VLAN tags, IPv4 or IPv6 with options and extension headers, then TCP or UDP. Other
//! protocols (ICMP, GRE, ESP, ...) are packets too, with ports of 0.
//!
//! The addresses stay in the frame, because they are read only once, for the flow's key. A [`Packet`] is `Copy` and
//! does not borrow, so that a burst of them can lie beside the frames while those are rewritten. The accessors take the
//! frame again and return `None` if it is too short to be the one that was parsed.
//!
//! The parser checks what a router must check and what keeps the offsets inside the packet: IPv4's header checksum (RFC
//! 1812 section 5.2.2), versions and lengths. The receiver checks TCP and UDP checksums.
//!
//! A UDP length below what IP carries is tolerated, as hosts do: RFC 768 does not forbid it.

use zerocopy::FromBytes;

use super::{Error, Family, Fragment, ethernet, ipv4, ipv6, protocol, tcp, udp, vlan};

/// A parsed packet: the fields that the packet path needs of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Offset of the IP header: 14, 18 or 22.
    pub l3: u16,
    /// Offset of the transport header.
    pub l4: u16,
    /// Offset of the end of the IP packet, behind which Ethernet padding lies.
    pub end: u32,
    /// The protocol number of the transport, behind extension headers.
    pub protocol: u8,
    /// DSCP (6 bits) and ECN (2 bits).
    pub traffic_class: u8,
    /// Whole, or the part that it is.
    pub fragment: Fragment,
    /// Source port of TCP and UDP; 0 in other protocols and later fragments.
    pub source: u16,
    /// Destination port of TCP and UDP; 0 in other protocols and later fragments.
    pub destination: u16,
    /// Flags of [`tcp`]; 0 if there is no TCP header.
    pub tcp_flags: u8,
}

/// The ports and the TCP flags.
#[derive(Default)]
struct Transport {
    source: u16,
    destination: u16,
    tcp_flags: u8,
}

impl Packet {
    /// Reads a frame.
    ///
    /// # Errors
    /// The first fault, in the order of the headers.
    pub fn parse(frame: &[u8]) -> Result<Packet, Error> {
        let (header, rest) =
            ethernet::Header::ref_from_prefix(frame).map_err(|_| Error::EthernetTruncated)?;
        match header.ethertype.get() {
            ethernet::IPV4 => parse_v4(rest, ethernet::LENGTH),
            ethernet::IPV6 => parse_v6(rest, ethernet::LENGTH),
            ethertype => parse_tagged(ethertype, rest),
        }
    }

    /// Source and destination address of an IPv4 packet; `None` if it is IPv6 or `frame` is another frame.
    pub fn addresses_v4(&self, frame: &[u8]) -> Option<([u8; 4], [u8; 4])> {
        let header = match self.family {
            Family::V4 => ipv4::Header::ref_from_prefix(frame.get(self.l3.into()..)?).ok()?.0,
            Family::V6 => return None,
        };
        Some((header.source, header.destination))
    }

    /// Source and destination address of an IPv6 packet; `None` if it is IPv4 or `frame` is another frame.
    pub fn addresses_v6(&self, frame: &[u8]) -> Option<([u8; 16], [u8; 16])> {
        let header = match self.family {
            Family::V6 => ipv6::Header::ref_from_prefix(frame.get(self.l3.into()..)?).ok()?.0,
            Family::V4 => return None,
        };
        Some((header.source, header.destination))
    }

    /// The IP packet without Ethernet header, tags and padding; `None` if `frame` is another frame.
    pub fn ip<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        frame.get(self.l3.into()..self.end as usize)
    }

    /// The bytes behind the IP header and its extensions; `None` if `frame` is another frame.
    pub fn payload<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        frame.get(self.l4.into()..self.end as usize)
    }

    /// Whether the IP header follows the Ethernet header.
    #[inline]
    pub const fn is_untagged(&self) -> bool {
        self.l3 as usize == ethernet::LENGTH
    }

    /// Length of the IP packet.
    pub const fn ip_length(&self) -> usize {
        self.end as usize - self.l3 as usize
    }
}

/// Parses what follows an Ethernet header whose `ethertype` is not IP.
#[cold]
fn parse_tagged(mut ethertype: u16, mut rest: &[u8]) -> Result<Packet, Error> {
    let mut l3 = ethernet::LENGTH;
    while vlan::is_tag(ethertype) {
        if l3 == ethernet::LENGTH + vlan::MAX_TAGS * vlan::LENGTH {
            return Err(Error::VlanTooDeep);
        }
        let (tag, inner) = vlan::Tag::ref_from_prefix(rest).map_err(|_| Error::VlanTruncated)?;
        ethertype = tag.ethertype.get();
        rest = inner;
        l3 += vlan::LENGTH;
    }
    match ethertype {
        ethernet::IPV4 => parse_v4(rest, l3),
        ethernet::IPV6 => parse_v6(rest, l3),
        _ => Err(Error::NotIp),
    }
}

/// Parses `rest`, which begins with the IPv4 header at offset `l3` of the frame.
#[inline]
fn parse_v4(rest: &[u8], l3: usize) -> Result<Packet, Error> {
    let (header, behind) = ipv4::Header::ref_from_prefix(rest).map_err(|_| Error::Ipv4Truncated)?;
    if header.version() != 4 {
        return Err(Error::Ipv4Version);
    }
    let header_length = header.header_length();
    if header_length < ipv4::LENGTH {
        return Err(Error::Ipv4HeaderLength);
    }
    let options = behind.get(..header_length - ipv4::LENGTH).ok_or(Error::Ipv4Truncated)?;
    // The compiler knows the length of the fixed part: without options this is a handful of additions.
    if !header.is_checksum_valid(options) {
        return Err(Error::Ipv4Checksum);
    }
    let total_length = usize::from(header.total_length.get());
    let payload = rest.get(header_length..total_length).ok_or(Error::Ipv4TotalLength)?;
    let fragment = header.part();
    let transport = parse_transport(header.protocol, payload, fragment)?;
    Ok(Packet {
        family: Family::V4,
        l3: offset(l3),
        l4: offset(l3 + header_length),
        end: end(l3 + total_length),
        protocol: header.protocol,
        traffic_class: header.traffic_class,
        fragment,
        source: transport.source,
        destination: transport.destination,
        tcp_flags: transport.tcp_flags,
    })
}

/// Parses `rest`, which begins with the IPv6 header at offset `l3` of the frame.
#[inline]
fn parse_v6(rest: &[u8], l3: usize) -> Result<Packet, Error> {
    let (header, rest) = ipv6::Header::ref_from_prefix(rest).map_err(|_| Error::Ipv6Truncated)?;
    if header.version() != 6 {
        return Err(Error::Ipv6Version);
    }
    let payload_length = usize::from(header.payload_length.get());
    let payload = rest.get(..payload_length).ok_or(Error::Ipv6PayloadLength)?;
    let chain = ipv6::walk(header.next_header, payload)?;
    let upper = payload.get(chain.length..).unwrap_or_default();
    let transport = parse_transport(chain.protocol, upper, chain.fragment)?;
    Ok(Packet {
        family: Family::V6,
        l3: offset(l3),
        l4: offset(l3 + ipv6::LENGTH + chain.length),
        end: end(l3 + ipv6::LENGTH + payload_length),
        protocol: chain.protocol,
        traffic_class: header.traffic_class(),
        fragment: chain.fragment,
        source: transport.source,
        destination: transport.destination,
        tcp_flags: transport.tcp_flags,
    })
}

/// Parses `payload`, which begins with the transport header unless `fragment` is a later one. The length in a first
/// fragment's UDP header is that of the whole datagram.
#[inline(always)]
fn parse_transport(number: u8, payload: &[u8], fragment: Fragment) -> Result<Transport, Error> {
    if fragment == Fragment::Later {
        return Ok(Transport::default());
    }
    match number {
        protocol::TCP => {
            let (header, _) =
                tcp::Header::ref_from_prefix(payload).map_err(|_| truncated(fragment))?;
            let header_length = header.header_length();
            if header_length < tcp::LENGTH || header_length > payload.len() {
                return Err(data_offset(fragment, header_length));
            }
            Ok(Transport {
                source: header.source.get(),
                destination: header.destination.get(),
                tcp_flags: header.flags,
            })
        }
        protocol::UDP => {
            let (header, _) =
                udp::Header::ref_from_prefix(payload).map_err(|_| truncated(fragment))?;
            let length = usize::from(header.length.get());
            let too_long = length > payload.len() && fragment == Fragment::Whole;
            if length < udp::LENGTH || too_long {
                return Err(Error::UdpLength);
            }
            Ok(Transport {
                source: header.source.get(),
                destination: header.destination.get(),
                tcp_flags: 0,
            })
        }
        _ => Ok(Transport::default()),
    }
}

/// The error of a packet that ends inside its transport header. RFC 1858 and RFC 7112 demand to discard such a first
/// fragment, because it hides ports or flags from filters.
#[cold]
const fn truncated(fragment: Fragment) -> Error {
    match fragment {
        Fragment::First => Error::FragmentTiny,
        _ => Error::TransportTruncated,
    }
}

/// The error of a TCP header that is too short, or longer than the packet.
#[cold]
const fn data_offset(fragment: Fragment, header_length: usize) -> Error {
    match fragment {
        Fragment::First if header_length >= tcp::LENGTH => Error::FragmentTiny,
        _ => Error::TcpDataOffset,
    }
}

/// The offset of a header. Tags, IPv4 options and eight extension headers of 2 KiB end far below 64 KiB.
#[expect(clippy::cast_possible_truncation, reason = "at most 22 + 40 + 8 * 2048")]
const fn offset(value: usize) -> u16 {
    value as u16
}

/// The end of a packet of at most 64 KiB.
#[expect(clippy::cast_possible_truncation, reason = "at most 22 + 40 + 65535")]
const fn end(value: usize) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests;
