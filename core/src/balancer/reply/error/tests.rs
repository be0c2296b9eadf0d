//! ICMP errors, compared with frames that scapy built.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::balancer::frame::{Buffer, Frame};
use crate::balancer::sample::Sample;
use crate::wire::{Family, tcp};

/// The SYN of the vectors, section 1.4.
const SYN_V4: &[u8] = b"\x02\0\0\0\0\x01\x02\0\0\0\0\xfe\x08\0\
    \x45\0\0\x28\0\x01\0\0\x40\x06\x14\x90\xc6\x33\x64\x01\xcb\0\x71\x0a\
    \x9c\x40\0\x50\0\0\0\x01\0\0\0\0\x50\x02\xfa\xf0\xb2\x20\0\0";
/// "Fragmentation needed", MTU 1476, up to the quotation.
const TOO_BIG_V4: &[u8] = b"\x02\0\0\0\0\xfe\x02\0\0\0\0\x01\x08\0\
    \x45\xc0\0\x44\0\0\0\0\x40\x01\x13\xba\xcb\0\x71\x0a\xc6\x33\x64\x01\
    \x03\x04\x5d\x92\0\0\x05\xc4";
/// A datagram in VLAN 100 with priority 5.
const UDP_V6: &[u8] = b"\x02\0\0\0\0\x01\x02\0\0\0\0\xfe\x81\0\xa0\x64\x86\xdd\
    \x60\0\0\0\0\x0d\x11\x3c\x20\x01\x0d\xb8\0\x0c\0\0\0\0\0\0\0\0\0\x01\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x10\x9c\x40\0\x63\0\x0d\xc3\xcfhello";
/// The headers of an error, up to the ICMPv6 message.
const ERROR_V6: &[u8] = b"\x02\0\0\0\0\xfe\x02\0\0\0\0\x01\x81\0\xa0\x64\x86\xdd\
    \x60\0\0\0\0\x3d\x3a\x40\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x10\
    \x20\x01\x0d\xb8\0\x0c\0\0\0\0\0\0\0\0\0\x01";
const UNREACHABLE_V6: &[u8] = b"\x01\x04\x31\xca\0\0\0\0";
const TOO_BIG_V6: &[u8] = b"\x02\0\x2b\x1e\0\0\x05\xb0";

fn reply_to(frame: &[u8], about: IcmpError) -> Result<Vec<u8>, DropReason> {
    let packet = Packet::parse(frame).unwrap();
    let mut buffer = Buffer::new(frame, 48);
    let reply = error(&packet, about, u16::MAX, &mut buffer)?;
    assert_eq!(reply, about.reply());
    Ok(buffer.bytes().to_vec())
}

/// The frame of a UDP datagram with a right checksum.
fn with_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let packet = Packet::parse(&frame).unwrap();
    let datagram = packet.payload(&frame).unwrap();
    let length = u16::try_from(datagram.len()).unwrap();
    let pseudo = match packet.addresses_v4(&frame) {
        Some((a, b)) => Checksum::pseudo_v4(a, b, 17, length),
        None => {
            let (a, b) = packet.addresses_v6(&frame).unwrap();
            Checksum::pseudo_v6(a, b, 17, length.into())
        }
    };
    let sum = pseudo.add_bytes(datagram).finish_udp();
    let at = usize::from(packet.l4) + 6;
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn there_is_no_error_about_a_datagram_that_a_host_would_discard() {
    let v4 = Sample::udp("198.51.100.1:9", "203.0.113.10:80");
    let v6 = Sample::udp("[2001:db8:c::1]:9", "[2001:db8::10]:80");
    assert!(reply_to(&v4.frame(), IcmpError::PortUnreachable).is_ok(), "IPv4 allows no checksum");
    assert_eq!(reply_to(&v6.frame(), IcmpError::PortUnreachable), Err(DropReason::UdpChecksum));
    for sample in [v4, v6] {
        let mut frame = with_checksum(sample.frame());
        assert!(reply_to(&frame, IcmpError::PortUnreachable).is_ok());
        *frame.last_mut().unwrap() ^= 1;
        assert_eq!(reply_to(&frame, IcmpError::PortUnreachable), Err(DropReason::UdpChecksum));
        assert!(
            reply_to(&frame, IcmpError::TooBig { mtu: 1280 }).is_ok(),
            "a router does not verify it"
        );
    }
}

#[test]
fn the_errors_of_scapy() {
    let too_big = reply_to(SYN_V4, IcmpError::TooBig { mtu: 1476 }).unwrap();
    assert_eq!(too_big, [TOO_BIG_V4, &SYN_V4[14..]].concat());
    let too_big = reply_to(UDP_V6, IcmpError::TooBig { mtu: 1456 }).unwrap();
    assert_eq!(too_big, [ERROR_V6, TOO_BIG_V6, &UDP_V6[18..]].concat());
    let unreachable = reply_to(UDP_V6, IcmpError::PortUnreachable).unwrap();
    assert_eq!(unreachable, [ERROR_V6, UNREACHABLE_V6, &UDP_V6[18..]].concat());
    let unreachable = reply_to(SYN_V4, IcmpError::PortUnreachable).unwrap();
    assert_eq!(unreachable[34..42], [3, 3, 0x63, 0x57, 0, 0, 0, 0]);
    // Ethernet padding is not quoted.
    let padded = [SYN_V4, &[0xa5; 6]].concat();
    let too_big = reply_to(&padded, IcmpError::TooBig { mtu: 1476 }).unwrap();
    assert_eq!(too_big, [TOO_BIG_V4, &SYN_V4[14..]].concat());
}

/// The header of the vectors, section 1.4, without the fields that a longer quotation and the source change.
#[test]
fn the_known_header() {
    let vector = b"\x45\0\0\x38\0\0\0\0\x40\x01\x8e\x8f\xc0\0\x02\x01\xc6\x33\x64\x01";
    let error = reply_to(SYN_V4, IcmpError::TooBig { mtu: 1476 }).unwrap();
    // Precedence 6: RFC 1812 section 4.3.2.5.
    assert_eq!(error[14..17], [0x45, 0xc0, 0]);
    assert_eq!(error[18..24], vector[4..10]);
    assert_eq!(error[30..34], vector[16..]);
}

#[test]
fn the_mtu_is_never_below_what_every_link_carries() {
    let v4 = reply_to(SYN_V4, IcmpError::TooBig { mtu: 3 }).unwrap();
    assert_eq!(v4[40..42], 68u16.to_be_bytes());
    let v6 = reply_to(UDP_V6, IcmpError::TooBig { mtu: 1279 }).unwrap();
    assert_eq!(v6[62..66], 1280u32.to_be_bytes());
}

#[test]
fn quotations_end_at_576_and_1280_bytes() {
    for (source, destination, longest, grown) in [
        ("198.51.100.1:9", "203.0.113.10:80", 576, 28),
        ("[2001:db8:c::1]:9", "[2001:db8::10]:80", 1280, 48),
    ] {
        for length in [longest - 61 - grown, longest - grown, 1400] {
            let mut sample = Sample::tcp(source, destination, tcp::ACK);
            sample.payload = vec![0x5a; length - sample.ip().len()];
            let error = reply_to(&sample.frame(), IcmpError::PortUnreachable).unwrap();
            let quoted = length.min(longest - grown);
            assert_eq!(error.len() - 14, grown + quoted);
            assert_eq!(error[14 + grown..], sample.frame()[14..14 + quoted]);
            let packet = Packet::parse(&error).unwrap();
            assert_eq!(packet.end as usize, error.len());
        }
    }
}

#[test]
fn there_are_no_errors_about_errors_and_later_fragments_of_ipv4() {
    let tcp = Sample::tcp("198.51.100.1:9", "203.0.113.10:80", tcp::ACK);
    let v6 = Sample::tcp("[2001:db8:c::1]:9", "[2001:db8::10]:80", tcp::ACK);
    let icmp = |kind| Sample { protocol: 1, payload: vec![kind; 16], ..tcp.clone() };
    let icmpv6 = |kind| Sample { protocol: 58, payload: vec![kind; 16], ..v6.clone() };
    let extension = ipv6::FRAGMENT;
    let part =
        |offset| Sample { extensions: vec![6, 0, 0, offset, 0, 0, 0, 1], extension, ..v6.clone() };
    for (sample, allowed) in [
        (tcp.clone(), true),
        (icmp(0), true),
        (icmp(3), false),
        (icmp(4), false),
        (icmp(5), false),
        (icmp(8), true),
        (icmp(11), false),
        (icmp(12), false),
        (icmp(13), true),
        (Sample { payload: vec![], ..icmp(8) }, false),
        (icmpv6(0), false),
        (icmpv6(1), false),
        (icmpv6(127), false),
        (icmpv6(128), true),
        (icmpv6(137), false),
        (Sample { fragment: 0x2000, ..tcp.clone() }, true),
        (Sample { fragment: 0x2001, ..tcp.clone() }, false),
        (Sample { fragment: 1, ..tcp }, false),
        (part(0), true),
        (part(1), true),
        (part(9), true),
        (part(8), true),
        (Sample { extensions: vec![58, 0, 0, 9, 0, 0, 0, 1], ..part(9) }, false),
    ] {
        let got = reply_to(&sample.frame(), IcmpError::TooBig { mtu: 1400 });
        assert_eq!(got.is_ok(), allowed, "{sample:?}");
        assert!(allowed || got == Err(DropReason::ReplyForbidden));
    }
}

#[test]
fn there_are_no_errors_to_what_is_not_one_host() {
    let forbidden = |source: &str, destination: &str| {
        let sample = Sample::udp(source, destination);
        reply_to(&sample.frame(), IcmpError::PortUnreachable) == Err(DropReason::ReplyForbidden)
    };
    for source in ["0.0.0.0", "127.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255"] {
        assert!(forbidden(&format!("{source}:1"), "203.0.113.10:9"), "{source}");
    }
    assert!(forbidden("203.0.113.10:1", "203.0.113.10:9"));
    for source in ["::", "::1", "ff02::1", "2001:db8::10"] {
        assert!(forbidden(&format!("[{source}]:1"), "[2001:db8::10]:9"), "{source}");
    }
    for mac in [0, 6] {
        let mut frame = SYN_V4.to_vec();
        frame[mac] |= 1;
        assert_eq!(reply_to(&frame, IcmpError::PortUnreachable), Err(DropReason::ReplyForbidden));
    }
}

#[test]
fn without_headroom_there_is_no_error() {
    for (frame, grown) in [(SYN_V4, 28), (UDP_V6, 48)] {
        let packet = Packet::parse(frame).unwrap();
        let mut buffer = Buffer::new(frame, grown - 1);
        let got = error(&packet, IcmpError::PortUnreachable, u16::MAX, &mut buffer);
        assert_eq!(got, Err(DropReason::NoHeadroom));
    }
}

proptest! {
    #[test]
    fn an_error_is_a_right_packet(
        v6: bool, tags in 0usize..3, length in 0usize..1500, mtu: u16, unreachable: bool,
        options in vec(any::<u8>(), 0..10), padding in 0usize..20,
    ) {
        let (source, destination) = match v6 {
            false => ("198.51.100.1:9", "203.0.113.10:80"),
            true => ("[2001:db8:c::1]:9", "[2001:db8::10]:80"),
        };
        let mut sample = Sample::udp(source, destination);
        sample.tags = vec![(0x8100, 7), (0x8100, 9)][..tags].to_vec();
        sample.payload = (0..251).cycle().take(length).collect();
        sample.options = options.as_chunks::<4>().0.iter().flatten().copied().collect();
        sample.padding = padding;
        let about = if unreachable { IcmpError::PortUnreachable } else { IcmpError::TooBig { mtu } };
        let before = with_checksum(sample.frame());
        let after = reply_to(&before, about).unwrap();
        let packet = Packet::parse(&after).unwrap();
        let l3 = usize::from(packet.l3);
        prop_assert_eq!(packet.end as usize, after.len());
        prop_assert_eq!(&after[12..l3], &before[12..l3]);
        prop_assert_eq!((&after[..6], &after[6..12]), (&before[6..12], &before[..6]));
        let message = packet.payload(&after).unwrap();
        let family = if v6 { Family::V6 } else { Family::V4 };
        prop_assert_eq!(packet.family, family);
        let pseudo = match packet.addresses_v6(&after) {
            Some((a, b)) => Checksum::pseudo_v6(a, b, 58, u32::try_from(message.len()).unwrap()),
            None => Checksum::new(),
        };
        prop_assert_eq!(pseudo.add_bytes(message).finish(), 0);
        prop_assert!(before[l3..].starts_with(&message[8..]));
        let other = etherparse::SlicedPacket::from_ethernet(&after).unwrap();
        prop_assert_eq!(other.transport.is_some(), true);
        // No error about the error.
        prop_assert_eq!(reply_to(&after, about), Err(DropReason::ReplyForbidden));
    }
}

#[test]
fn an_error_fits_the_port_that_it_leaves_by() {
    let mut sample = Sample::udp("[2001:db8:c::1]:9", "[2001:db8::10]:80");
    sample.payload = vec![0x5a; 1400];
    let frame = with_checksum(sample.frame());
    let packet = Packet::parse(&frame).unwrap();
    let mut buffer = Buffer::new(&frame, 48);
    error(&packet, IcmpError::PortUnreachable, 576, &mut buffer).unwrap();
    let reply = Packet::parse(buffer.bytes()).unwrap();
    assert_eq!((reply.ip_length(), buffer.bytes().len()), (576, 14 + 576));
}
