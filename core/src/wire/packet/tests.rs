//! Packets of every kind that the parser reads, and every fault that it names.

use super::*;
use crate::wire::tcp::SYN;

/// The SYN of the vectors, section 1.4: 198.51.100.1:40000 to 203.0.113.10:80.
const SYN_V4: [u8; 40] = *b"\x45\0\0\x28\0\x01\0\0\x40\x06\x14\x90\xc6\x33\x64\x01\xcb\0\x71\x0a\
    \x9c\x40\0\x50\0\0\0\x01\0\0\0\0\x50\x02\xfa\xf0\xb2\x20\0\0";

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

fn frame(ethertypes: &[u8], ip: &[u8]) -> Vec<u8> {
    [&MACS, ethertypes, ip].concat()
}

/// [`SYN_V4`] with some bytes of its IP header replaced, and a right checksum.
fn changed(changes: &[(usize, u8)]) -> Vec<u8> {
    let mut ip = SYN_V4;
    for &(at, byte) in changes {
        ip[at] = byte;
    }
    let header = ipv4::Header::read_from_bytes(&ip[..20]).unwrap().with_checksum();
    ip[..20].copy_from_slice(zerocopy::IntoBytes::as_bytes(&header));
    frame(&[8, 0], &ip)
}

/// A packet from 2001:db8::1 to 2001:db8::2.
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
    let parse =
        |low: u8| Packet::parse(&v6(44, &[&[17, 0, 0, low, 0, 0, 0, 1], &datagram[..]].concat()));
    // The first fragment has the length of the whole datagram.
    let first = parse(1).unwrap();
    assert_eq!((first.fragment, first.destination, first.l4), (Fragment::First, 53, 62));
    let later = parse(8).unwrap();
    assert_eq!((later.fragment, later.destination, later.protocol), (Fragment::Later, 0, 17));
    let udp = |end: usize| {
        Packet::parse(&v6(44, &[&[17, 0, 0, 1, 0, 0, 0, 1], &datagram[..end]].concat()))
    };
    assert_eq!(udp(7), Err(Error::FragmentTiny));
    // RFC 7112: the chain of extension headers must not continue in a later fragment.
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
