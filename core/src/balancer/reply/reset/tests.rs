//! RSTs, compared with frames that scapy built, and with what RFC 9293 says.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::balancer::frame::Buffer;
use crate::balancer::sample::Sample;
use crate::wire::Family;

/// The SYN of the vectors, section 1.4.
const SYN_V4: &[u8] = b"\x02\0\0\0\0\x01\x02\0\0\0\0\xfe\x08\0\
    E\0\0\x28\0\x01\0\0\x40\x06\x14\x90\xc6\x33d\x01\xcb\0q\x0a\
    \x9c\x40\0P\0\0\0\x01\0\0\0\0P\x02\xfa\xf0\xb2\x20\0\0";
const RESET_SYN_V4: &[u8] = b"\x02\0\0\0\0\xfe\x02\0\0\0\0\x01\x08\0\
    E\0\0\x28\0\0\x40\0\x40\x06\xd4\x90\xcb\0q\x0a\xc6\x33d\x01\
    \0P\x9c\x40\0\0\0\0\0\0\0\x02P\x14\0\0\xac\xfe\0\0";
/// Data with a timestamp option, at the end of the sequence numbers.
const DATA_V4: &[u8] = b"\x02\0\0\0\0\x01\x02\0\0\0\0\xfe\x08\0\
    E\0\0\x39\0\x01\0\0\x40\x06\x14\x7f\xc6\x33d\x01\xcb\0q\x0a\
    \x9c\x40\0P\xff\xff\xff\xfe\x01\x02\x03\x04\x80\x18\x01\xf6\x2a\x10\0\0\x01\x01\x08\x0a\0\0\0\x01\0\0\0\x02hel\
    lo";
const RESET_DATA_V4: &[u8] = b"\x02\0\0\0\0\xfe\x02\0\0\0\0\x01\x08\0\
    E\0\0\x28\0\0\x40\0\x40\x06\xd4\x90\xcb\0q\x0a\xc6\x33d\x01\
    \0P\x9c\x40\x01\x02\x03\x04\0\0\0\0P\x04\0\0\xa9\x0a\0\0";
/// A SYN with data (RFC 7413) in VLAN 100 with priority 5, at the end of the sequence numbers.
const FAST_OPEN_V6: &[u8] = b"\x02\0\0\0\0\x01\x02\0\0\0\0\xfe\x81\0\xa0d\x86\xdd\
    \x60\0\0\0\0\x1d\x06\x3c\x20\x01\x0d\xb8\0\x0c\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x10\
    \x9c\x40\0P\xff\xff\xff\xfe\0\0\0\0\x60\x02\xfa\xf0aT\0\0\x02\x04\x05\xa0hello";
const RESET_FAST_OPEN_V6: &[u8] = b"\x02\0\0\0\0\xfe\x02\0\0\0\0\x01\x81\0\xa0d\x86\xdd\
    \x60\0\0\0\0\x14\x06\x40\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x10\x20\x01\x0d\xb8\0\x0c\0\0\0\0\0\0\0\0\0\x01\
    \0P\x9c\x40\0\0\0\0\0\0\0\x04P\x14\0\0\xb7\xad\0\0";

fn reply_to(frame: &[u8]) -> Result<Vec<u8>, DropReason> {
    let packet = Packet::parse(frame).unwrap();
    let mut buffer = Buffer::new(frame, 0);
    match reset(&packet, &mut buffer) {
        Ok(reply) => {
            assert_eq!(reply, Reply::Reset);
            Ok(buffer.bytes().to_vec())
        }
        Err(reason) => {
            assert_eq!(buffer.bytes(), frame, "a refusal changes nothing");
            Err(reason)
        }
    }
}

/// The frame of a segment with these numbers and a right checksum.
fn segment(sample: &Sample, sequence: u32, acknowledgement: u32) -> Vec<u8> {
    let mut frame = sample.frame();
    let packet = Packet::parse(&frame).unwrap();
    let l4 = usize::from(packet.l4);
    frame[l4 + 4..l4 + 8].copy_from_slice(&sequence.to_be_bytes());
    frame[l4 + 8..l4 + 12].copy_from_slice(&acknowledgement.to_be_bytes());
    with_checksum(frame)
}

fn with_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let packet = Packet::parse(&frame).unwrap();
    let l4 = usize::from(packet.l4);
    frame[l4 + 16..l4 + 18].fill(0);
    let length = u16::try_from(packet.payload(&frame).unwrap().len()).unwrap();
    let sum = pseudo(&packet, &frame, length).unwrap();
    let sum = sum.add_bytes(packet.payload(&frame).unwrap()).finish();
    frame[l4 + 16..l4 + 18].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// A client's segment to a virtual address.
fn sample(family: Family, flags: u8) -> Sample {
    match family {
        Family::V4 => Sample::tcp("198.51.100.1:40000", "203.0.113.10:80", flags),
        Family::V6 => Sample::tcp("[2001:db8:c::1]:40000", "[2001:db8::10]:80", flags),
    }
}

#[test]
fn the_resets_of_scapy() {
    assert_eq!(reply_to(SYN_V4).unwrap(), RESET_SYN_V4);
    assert_eq!(reply_to(DATA_V4).unwrap(), RESET_DATA_V4);
    assert_eq!(reply_to(FAST_OPEN_V6).unwrap(), RESET_FAST_OPEN_V6);
    // Ethernet padding is not part of the segment, nor of the reply.
    assert_eq!(reply_to(&[SYN_V4, &[0xa5; 6]].concat()).unwrap(), RESET_SYN_V4);
}

/// RFC 9293 section 3.10.7.1: a segment, and sequence number, acknowledgement and flags of its RST.
#[test]
fn the_numbers_of_rfc_9293() {
    const ACKED: u8 = tcp::RST | tcp::ACK;
    type Sent = (u8, usize, (u32, u32));
    type Expected = (u32, u32, u8);
    let cases: [(Sent, Expected); 10] = [
        ((tcp::SYN, 0, (100, 0)), (0, 101, ACKED)),
        ((tcp::SYN, 7, (100, 0)), (0, 108, ACKED)),
        ((tcp::SYN | tcp::FIN, 0, (100, 0)), (0, 102, ACKED)),
        ((tcp::FIN, 3, (100, 0)), (0, 104, ACKED)),
        ((0, 0, (100, 77)), (0, 100, ACKED)),
        ((tcp::SYN, 0, (u32::MAX, 0)), (0, 0, ACKED)),
        ((tcp::ACK, 0, (100, 300)), (300, 0, tcp::RST)),
        ((tcp::ACK | tcp::PSH, 50, (100, 300)), (300, 0, tcp::RST)),
        ((tcp::FIN | tcp::ACK, 0, (100, u32::MAX)), (u32::MAX, 0, tcp::RST)),
        ((tcp::SYN | tcp::ACK, 0, (100, 0)), (0, 0, tcp::RST)),
    ];
    for family in [Family::V4, Family::V6] {
        for ((flags, length, (sequence, acknowledgement)), expected) in cases {
            let sample = Sample { payload: vec![7; length], ..sample(family, flags) };
            let reply = reply_to(&segment(&sample, sequence, acknowledgement)).unwrap();
            let packet = Packet::parse(&reply).unwrap();
            let header = tcp::Header::ref_from_bytes(packet.payload(&reply).unwrap()).unwrap();
            let numbers = (header.sequence.get(), header.acknowledgement.get(), header.flags);
            assert_eq!(numbers, expected, "{family:?} {flags:#x} {length}");
        }
    }
}

#[test]
fn a_reset_and_a_fragment_get_none() {
    for family in [Family::V4, Family::V6] {
        for flags in [tcp::RST, tcp::RST | tcp::ACK, tcp::RST | tcp::SYN, u8::MAX] {
            let frame = segment(&sample(family, flags), 1, 1);
            assert_eq!(reply_to(&frame), Err(DropReason::ReplyForbidden));
        }
    }
    let fragment = Sample { fragment: 0x2000, ..sample(Family::V4, tcp::SYN) };
    assert_eq!(reply_to(&segment(&fragment, 1, 0)), Err(DropReason::ReplyForbidden));
    let later = Sample { fragment: 1, ..fragment };
    assert_eq!(reply_to(&later.frame()), Err(DropReason::ReplyForbidden));
    let extensions = vec![protocol::TCP, 0, 0, 1, 0, 0, 0, 1];
    let fragment = Sample { extension: 44, extensions, ..sample(Family::V6, tcp::SYN) };
    assert_eq!(reply_to(&segment(&fragment, 1, 0)), Err(DropReason::ReplyForbidden));
    let datagram = Sample::udp("198.51.100.1:9", "203.0.113.10:80").frame();
    assert_eq!(reply_to(&datagram), Err(DropReason::ReplyForbidden));
}

#[test]
fn a_segment_with_a_wrong_checksum_gets_none() {
    for family in [Family::V4, Family::V6] {
        let sample = Sample { payload: vec![7; 9], ..sample(family, tcp::ACK) };
        let right = segment(&sample, 1, 1);
        let l4 = usize::from(Packet::parse(&right).unwrap().l4);
        assert!(reply_to(&right).is_ok());
        // The port, the checksum itself, the last byte.
        for at in [l4, l4 + 16, right.len() - 1] {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            assert_eq!(reply_to(&wrong), Err(DropReason::TcpChecksum), "{family:?} {at}");
        }
    }
    // The addresses are summed too.
    let mut other = FAST_OPEN_V6.to_vec();
    other[41] ^= 2;
    assert_eq!(reply_to(&other), Err(DropReason::TcpChecksum));
}

/// RFC 1122 section 4.2.3.10: a segment to or from no single host gets no RST.
#[test]
fn hosts_without_a_single_address_get_none() {
    let forbidden = |source: &str, destination: &str| {
        let frame = segment(&Sample::tcp(source, destination, tcp::SYN), 1, 0);
        reply_to(&frame) == Err(DropReason::ReplyForbidden)
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
        assert_eq!(reply_to(&frame), Err(DropReason::ReplyForbidden));
    }
}

proptest! {
    /// The reply has the length of two headers, right checksums, and the way back. Nothing answers it.
    #[test]
    fn a_reset_is_a_right_packet_and_gets_no_answer(
        v6: bool, tags in 0usize..3, length in 0usize..1400, flags: u8, numbers: (u32, u32),
        options in vec(any::<u8>(), 0..10), padding in 0usize..20, traffic_class: u8,
    ) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let before = Sample {
            tags: vec![(0x8100, 7), (0x8100, 9)][..tags].to_vec(),
            payload: (0..251).cycle().take(length).collect(),
            options: options.as_chunks::<4>().0.iter().flatten().copied().collect(),
            padding,
            traffic_class,
            ..sample(family, flags & !tcp::RST)
        };
        let before = segment(&before, numbers.0, numbers.1);
        let after = reply_to(&before).unwrap();
        let packet = Packet::parse(&after).unwrap();
        let l3 = usize::from(packet.l3);
        let headers = if v6 { 60 } else { 40 };
        prop_assert_eq!((packet.family, packet.end as usize), (family, after.len()));
        prop_assert_eq!(packet.ip_length(), headers);
        prop_assert_eq!(&after[12..l3], &before[12..l3]);
        prop_assert_eq!((&after[..6], &after[6..12]), (&before[6..12], &before[..6]));
        let was = Packet::parse(&before).unwrap();
        prop_assert_eq!((packet.source, packet.destination), (was.destination, was.source));
        let turned = was.addresses_v4(&before).map(|(from, to)| (to, from));
        prop_assert_eq!(packet.addresses_v4(&after), turned);
        let turned = was.addresses_v6(&before).map(|(from, to)| (to, from));
        prop_assert_eq!(packet.addresses_v6(&after), turned);
        let sum = pseudo(&packet, &after, LENGTH).unwrap();
        prop_assert_eq!(sum.add_bytes(packet.payload(&after).unwrap()).finish(), 0);
        let other = etherparse::SlicedPacket::from_ethernet(&after).unwrap();
        let Some(etherparse::TransportSlice::Tcp(other)) = other.transport else { panic!() };
        prop_assert!(other.rst() && !other.syn() && !other.fin() && other.ack() == (flags & tcp::ACK == 0));
        prop_assert_eq!(reply_to(&after), Err(DropReason::ReplyForbidden));
    }

    /// Any packet, damaged anywhere, is answered or left as it is.
    #[test]
    fn any_packet_is_answered_or_unchanged(
        v6: bool, flags: u8, length in 0usize..60, cut in any::<Index>(),
        damage in vec((any::<Index>(), any::<u8>()), 0..4), repair: bool,
    ) {
        let sample = Sample {
            payload: vec![7; length],
            ..sample(if v6 { Family::V6 } else { Family::V4 }, flags)
        };
        let mut frame = segment(&sample, 5, 6);
        for (at, value) in damage {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        if repair && let Some(ip) = frame.get_mut(14..) {
            crate::balancer::sample::fix_checksum(ip);
        }
        frame.truncate(cut.index(frame.len() * 4));
        let Ok(packet) = Packet::parse(&frame) else { return Ok(()) };
        if let Ok(reply) = reply_to(&frame) {
            let again = Packet::parse(&reply).unwrap();
            prop_assert_eq!(again.tcp_flags & tcp::RST, tcp::RST);
            prop_assert_eq!(reply_to(&reply), Err(DropReason::ReplyForbidden));
            prop_assert_eq!(packet.tcp_flags & tcp::RST, 0);
        }
    }
}
