//! The one pass over a frame: where the headers begin and what the balancer asks of them.
//!
//! Ethernet, up to two VLAN tags, IPv4 or IPv6 with their options and extension headers, then TCP or UDP.
//! Other protocols (ICMP, GRE, ESP, ...) are packets too, with ports of 0.
//!
//! The addresses stay in the frame: they are read once, for the flow's key. A [`Packet`] is `Copy` and
//! does not borrow, so that a burst of them can lie beside the frames while those are rewritten. The
//! accessors take the frame again and answer `None` if it is too short to be the one that was parsed.
//!
//! What is checked is what a router must check, and what keeps the offsets inside the packet: IPv4's header
//! checksum (RFC 1812 section 5.2.2), versions and lengths. TCP and UDP checksums are the receiver's.
//!
//! A UDP length below what IP carries is tolerated, as hosts do: RFC 768 does not forbid the rest.

use super::{Error, ethernet, ipv4, ipv6, protocol, tcp, udp, vlan};
use zerocopy::FromBytes;

/// The IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// Which part of a packet a frame holds, in the order in which a nested fragment header overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fragment {
    /// All of it. An IPv6 atomic fragment (RFC 6946) is whole.
    Whole,
    /// The first part, with the transport header.
    First,
    /// Another part, without.
    Later,
}

/// What the packet path needs to know of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Offset of the IP header: 14, 18 or 22.
    pub l3: u16,
    /// Offset of the transport header.
    pub l4: u16,
    /// Offset of the end of the IP packet: Ethernet padding lies behind it.
    pub end: u32,
    /// The transport's, after extension headers.
    pub protocol: u8,
    /// DSCP (6 bits) and ECN (2 bits).
    pub traffic_class: u8,
    /// Whole, or which part.
    pub fragment: Fragment,
    /// Source port of TCP and UDP; 0 in other protocols and later fragments.
    pub source: u16,
    /// Destination port of TCP and UDP; 0 in other protocols and later fragments.
    pub destination: u16,
    /// See [`tcp`]; 0 if there is no TCP header.
    pub tcp_flags: u8,
}

/// Ports and flags.
#[derive(Default)]
struct Transport {
    source: u16,
    destination: u16,
    tcp_flags: u8,
}

impl Packet {
    /// No packet: what stands where one will be read to.
    pub const NONE: Packet = Packet {
        family: Family::V4,
        l3: 0,
        l4: 0,
        end: 0,
        protocol: 0,
        traffic_class: 0,
        fragment: Fragment::Whole,
        source: 0,
        destination: 0,
        tcp_flags: 0,
    };

    /// Reads `frame`. The first thing that is wrong is the error.
    pub fn parse(frame: &[u8]) -> Result<Packet, Error> {
        let (header, rest) =
            ethernet::Header::ref_from_prefix(frame).map_err(|_| Error::EthernetTruncated)?;
        match header.ethertype.get() {
            ethernet::IPV4 => parse_v4(rest, ethernet::LENGTH),
            ethernet::IPV6 => parse_v6(rest, ethernet::LENGTH),
            ethertype => parse_tagged(ethertype, rest),
        }
    }

    /// Source and destination address of an IPv4 packet; `None` if it is IPv6 or `frame` another frame.
    pub fn addresses_v4(&self, frame: &[u8]) -> Option<([u8; 4], [u8; 4])> {
        let header = match self.family {
            Family::V4 => ipv4::Header::ref_from_prefix(frame.get(self.l3.into()..)?).ok()?.0,
            Family::V6 => return None,
        };
        Some((header.source, header.destination))
    }

    /// Source and destination address of an IPv6 packet; `None` if it is IPv4 or `frame` another frame.
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

    /// What stands behind the IP header and its extensions; `None` if `frame` is another frame.
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

/// Behind an Ethernet header of another `ethertype` than IP.
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

/// `rest` begins with the IPv4 header, at offset `l3` of the frame.
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
    // The fixed part's length is known to the compiler: without options this is a handful of additions.
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

/// `rest` begins with the IPv6 header, at offset `l3` of the frame.
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

/// `payload` begins with the transport header, unless `fragment` is a later one. Lengths inside a first
/// fragment's UDP header are of the whole packet.
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

/// What a packet lacks that ends inside its transport header. As a first fragment it is one that RFC
/// 1858 and RFC 7112 tell to discard, since it hides ports or flags from whoever looks at it.
#[cold]
const fn truncated(fragment: Fragment) -> Error {
    match fragment {
        Fragment::First => Error::FragmentTiny,
        _ => Error::TransportTruncated,
    }
}

/// What is wrong with a TCP header that is too short, or longer than the packet.
#[cold]
const fn data_offset(fragment: Fragment, header_length: usize) -> Error {
    match fragment {
        Fragment::First if header_length >= tcp::LENGTH => Error::FragmentTiny,
        _ => Error::TcpDataOffset,
    }
}

/// An offset of a header. Tags, IPv4 options and eight extension headers of 2 KiB end far below 64 KiB.
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
mod tests {
    use super::*;
    use crate::wire::tcp::SYN;

    /// The SYN of the vectors, section 1.4: 198.51.100.1:40000 to 203.0.113.10:80.
    const SYN_V4: [u8; 40] =
        *b"\x45\0\0\x28\0\x01\0\0\x40\x06\x14\x90\xc6\x33\x64\x01\xcb\0\x71\x0a\
        \x9c\x40\0\x50\0\0\0\x01\0\0\0\0\x50\x02\xfa\xf0\xb2\x20\0\0";

    const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

    fn frame(ethertypes: &[u8], ip: &[u8]) -> Vec<u8> {
        [&MACS, ethertypes, ip].concat()
    }

    /// [`SYN_V4`] with some bytes of its IP header replaced and the checksum made right.
    fn changed(changes: &[(usize, u8)]) -> Vec<u8> {
        let mut ip = SYN_V4;
        for &(at, byte) in changes {
            ip[at] = byte;
        }
        let header = ipv4::Header::read_from_bytes(&ip[..20]).unwrap().with_checksum();
        ip[..20].copy_from_slice(zerocopy::IntoBytes::as_bytes(&header));
        frame(&[8, 0], &ip)
    }

    /// From 2001:db8::1 to 2001:db8::2.
    fn v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let mut ip = vec![0x6a, 0xb0, 0, 0, 0, length, next_header, 64];
        ip.extend(0x2001_0db8_0000_0000_0000_0000_0000_0001u128.to_be_bytes());
        ip.extend(0x2001_0db8_0000_0000_0000_0000_0000_0002u128.to_be_bytes());
        ip.extend(payload);
        frame(&[0x86, 0xdd], &ip)
    }

    const UDP: [u8; 12] = *b"\xcd\xab\0\x35\0\x0c\0\0data";

    #[test]
    fn syn() {
        let frame = frame(&[8, 0], &SYN_V4);
        let packet = Packet {
            family: Family::V4,
            l3: 14,
            l4: 34,
            end: 54,
            protocol: 6,
            traffic_class: 0,
            fragment: Fragment::Whole,
            source: 40_000,
            destination: 80,
            tcp_flags: SYN,
        };
        assert_eq!(Packet::parse(&frame), Ok(packet));
        let addresses = packet.addresses_v4(&frame);
        assert_eq!(addresses, Some(([198, 51, 100, 1], [203, 0, 113, 10])));
        assert_eq!(packet.addresses_v6(&frame), None);
        assert_eq!(packet.ip(&frame), Some(&SYN_V4[..]));
        assert_eq!(packet.payload(&frame), Some(&SYN_V4[20..]));
        assert_eq!(packet.ip_length(), 40);
    }

    #[test]
    fn padding_lies_behind_the_end() {
        let mut frame = frame(&[8, 0], &SYN_V4);
        frame.resize(60, 0);
        assert_eq!(Packet::parse(&frame).map(|packet| packet.end), Ok(54));
    }

    #[test]
    fn udp_over_ipv6() {
        let frame = v6(17, &UDP);
        let packet = Packet::parse(&frame).unwrap();
        assert_eq!((packet.family, packet.traffic_class), (Family::V6, 0xab));
        assert_eq!((packet.l3, packet.l4, packet.end), (14, 54, 66));
        assert_eq!((packet.source, packet.destination, packet.tcp_flags), (0xcdab, 53, 0));
        let (source, destination) = packet.addresses_v6(&frame).unwrap();
        assert_eq!((source[15], destination[15]), (1, 2));
        assert_eq!(packet.addresses_v4(&frame), None);
    }

    #[test]
    fn two_tags_of_either_kind_and_no_more() {
        for tags in [
            &b"\x81\0\0\x64\x08\0"[..],
            b"\x88\xa8\0\x64\x08\0",
            b"\x81\0\0\x64\x81\0\0\x65\x08\0",
            b"\x88\xa8\0\x64\x81\0\0\x65\x08\0",
        ] {
            let packet = Packet::parse(&frame(tags, &SYN_V4)).unwrap();
            assert_eq!((usize::from(packet.l3), packet.destination), (12 + tags.len(), 80));
        }
        let three = b"\x88\xa8\0\x64\x81\0\0\x65\x81\0\0\x66\x08\0";
        assert_eq!(Packet::parse(&frame(three, &SYN_V4)), Err(Error::VlanTooDeep));
        assert_eq!(Packet::parse(&frame(b"\x81\0\0\x64\x08", &[])), Err(Error::VlanTruncated));
    }

    #[test]
    fn what_is_not_ip() {
        for ethertype in [ethernet::ARP, 0x88cc, 0x9100, 0x0026] {
            let frame = frame(&ethertype.to_be_bytes(), &SYN_V4);
            assert_eq!(Packet::parse(&frame), Err(Error::NotIp));
        }
        assert_eq!(Packet::parse(&frame(b"\x81\0\0\x64\x08\x06", &SYN_V4)), Err(Error::NotIp));
        assert_eq!(Packet::parse(&MACS), Err(Error::EthernetTruncated));
    }

    #[test]
    fn every_fault_of_ipv4_has_its_name() {
        let parse = |changes: &[(usize, u8)]| Packet::parse(&changed(changes));
        assert_eq!(parse(&[(0, 0x55)]), Err(Error::Ipv4Version));
        assert_eq!(parse(&[(0, 0x44)]), Err(Error::Ipv4HeaderLength));
        assert_eq!(parse(&[(0, 0x4f)]), Err(Error::Ipv4Truncated));
        assert_eq!(parse(&[(3, 19)]), Err(Error::Ipv4TotalLength));
        assert_eq!(parse(&[(3, 41)]), Err(Error::Ipv4TotalLength));
        assert_eq!(parse(&[(3, 39)]), Err(Error::TransportTruncated));
        let mut flipped = frame(&[8, 0], &SYN_V4);
        flipped[14 + 8] ^= 1;
        assert_eq!(Packet::parse(&flipped), Err(Error::Ipv4Checksum));
        assert_eq!(Packet::parse(&flipped[..14 + 19]), Err(Error::Ipv4Truncated));
    }

    #[test]
    fn every_fault_of_ipv6_has_its_name() {
        let mut frame = v6(17, &UDP);
        assert_eq!(Packet::parse(&frame[..14 + 39]), Err(Error::Ipv6Truncated));
        assert_eq!(Packet::parse(&frame[..14 + 51]), Err(Error::Ipv6PayloadLength));
        frame[14] = 0x4a;
        assert_eq!(Packet::parse(&frame), Err(Error::Ipv6Version));
        assert_eq!(Packet::parse(&v6(0, &UDP[..7])), Err(Error::Ipv6ExtensionTruncated));
    }

    #[test]
    fn every_fault_of_the_transport_has_its_name() {
        let mut segment = SYN_V4;
        segment[32] = 0x40;
        assert_eq!(Packet::parse(&v6(6, &segment[20..])), Err(Error::TcpDataOffset));
        segment[32] = 0x60;
        assert_eq!(Packet::parse(&v6(6, &segment[20..])), Err(Error::TcpDataOffset));
        assert_eq!(Packet::parse(&v6(6, &segment[20..39])), Err(Error::TransportTruncated));
        assert_eq!(Packet::parse(&v6(17, &UDP[..7])), Err(Error::TransportTruncated));
        assert_eq!(Packet::parse(&v6(17, &UDP[..11])), Err(Error::UdpLength));
        let mut datagram = UDP;
        datagram[5] = 7;
        assert_eq!(Packet::parse(&v6(17, &datagram)), Err(Error::UdpLength));
        datagram[5] = 8;
        assert!(Packet::parse(&v6(17, &datagram)).is_ok(), "a shorter length is tolerated");
    }

    #[test]
    fn other_protocols_have_no_ports() {
        for number in [1, 47, 50, 58, 59, 132] {
            let packet = Packet::parse(&v6(number, &UDP)).unwrap();
            assert_eq!((packet.protocol, packet.source, packet.destination), (number, 0, 0));
        }
        assert_eq!(Packet::parse(&v6(59, &[])).map(|packet| (packet.l4, packet.end)), Ok((54, 54)));
    }

    #[test]
    fn fragments_of_ipv4() {
        let first = Packet::parse(&changed(&[(6, 0x20)])).unwrap();
        assert_eq!((first.fragment, first.destination), (Fragment::First, 80));
        let later = Packet::parse(&changed(&[(6, 0x20), (7, 3)])).unwrap();
        assert_eq!((later.fragment, later.destination), (Fragment::Later, 0));
        assert_eq!((later.protocol, later.tcp_flags), (6, 0));
        let last = Packet::parse(&changed(&[(7, 3), (3, 21)])).unwrap();
        assert_eq!((last.fragment, last.end), (Fragment::Later, 35));
        // RFC 1858: a first fragment without all of the TCP header, or of its options.
        let tiny = Packet::parse(&changed(&[(6, 0x20), (3, 28)]));
        assert_eq!(tiny, Err(Error::FragmentTiny));
        let tiny = Packet::parse(&changed(&[(6, 0x20), (32, 0x60)]));
        assert_eq!(tiny, Err(Error::FragmentTiny));
        let short = Packet::parse(&changed(&[(6, 0x20), (32, 0x40)]));
        assert_eq!(short, Err(Error::TcpDataOffset));
    }

    #[test]
    fn fragments_of_ipv6() {
        let mut datagram = UDP;
        datagram[4] = 5;
        let parse = |low: u8| {
            Packet::parse(&v6(44, &[&[17, 0, 0, low, 0, 0, 0, 1], &datagram[..]].concat()))
        };
        // The length of the whole datagram stands in its first fragment.
        let first = parse(1).unwrap();
        assert_eq!((first.fragment, first.destination, first.l4), (Fragment::First, 53, 62));
        let later = parse(8).unwrap();
        assert_eq!((later.fragment, later.destination, later.protocol), (Fragment::Later, 0, 17));
        let udp = |end: usize| {
            Packet::parse(&v6(44, &[&[17, 0, 0, 1, 0, 0, 0, 1], &datagram[..end]].concat()))
        };
        assert_eq!(udp(7), Err(Error::FragmentTiny));
        // RFC 7112: the chain of extension headers may not go on in a later fragment.
        let chain = Packet::parse(&v6(44, &[60, 0, 0, 1, 0, 0, 0, 1, 17, 1, 0, 0, 0, 0, 0, 0]));
        assert_eq!(chain, Err(Error::FragmentTiny));
        // RFC 6946: an atomic fragment is whole, and its length must fit.
        assert_eq!(parse(0), Err(Error::UdpLength));
    }

    #[test]
    fn the_largest_packets_fit_the_offsets() {
        let mut frame = v6(59, &[]);
        frame[18..20].copy_from_slice(&[0xff, 0xff]);
        frame.resize(54 + 65_535, 0);
        assert_eq!(Packet::parse(&frame).map(|packet| packet.end), Ok(65_589));
        // Eight extension headers of the largest size.
        let mut payload = vec![0; 8 * 2048];
        for header in payload.chunks_mut(2048) {
            header[..2].copy_from_slice(&[60, 255]);
        }
        payload[7 * 2048] = 59;
        frame.truncate(54);
        frame[20] = 60;
        frame[18..20].copy_from_slice(&(8u16 * 2048).to_be_bytes());
        frame.extend(payload);
        assert_eq!(Packet::parse(&frame).map(|packet| packet.l4), Ok(54 + 8 * 2048));
    }
}
