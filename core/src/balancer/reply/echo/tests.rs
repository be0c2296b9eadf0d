//! Echo replies, compared with frames that scapy built.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::balancer::frame::Buffer;
use crate::balancer::sample::Sample;

const ECHO_V4: &[u8] = b"\x02\0\0\0\0\x01\x02\0\0\0\0\xfe\x08\0\
    \x46\x20\0\x25\0\x4d\x40\0\x39\x01\x46\x27\xc6\x33\x64\x01\xcb\0\x71\x0a\x94\x04\0\0\
    \x08\0\xe5\xf9\x12\x34\0\x01ping!";
const REPLY_V4: &[u8] = b"\x02\0\0\0\0\xfe\x02\0\0\0\0\x01\x08\0\
    \x46\x20\0\x25\0\x4d\x40\0\x40\x01\x3f\x27\xcb\0\x71\x0a\xc6\x33\x64\x01\x94\x04\0\0\
    \0\0\xed\xf9\x12\x34\0\x01ping!";
/// A request in VLAN 7, with hop-by-hop and destination options.
const ECHO_V6: &[u8] = b"\x02\0\0\0\0\x01\x02\0\0\0\0\xfe\x81\0\0\x07\x86\xdd\
    \x60\x10\0\x05\0\x1d\0\x03\x20\x01\x0d\xb8\0\x0c\0\0\0\0\0\0\0\0\0\x01\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x10\
    \x3c\0\x01\x04\0\0\0\0\x3a\0\x01\x04\0\0\0\0\x80\0\x24\x4d\0\x09\0\x02ping!";
/// The reply, without the request's ECT(1).
const REPLY_V6: &[u8] = b"\x02\0\0\0\0\xfe\x02\0\0\0\0\x01\x81\0\0\x07\x86\xdd\
    \x60\0\0\x05\0\x0d\x3a\x40\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x10\
    \x20\x01\x0d\xb8\0\x0c\0\0\0\0\0\0\0\0\0\x01\x81\0\x23\x4d\0\x09\0\x02ping!";

fn reply_to(frame: &[u8]) -> Result<Vec<u8>, DropReason> {
    let packet = Packet::parse(frame).unwrap();
    let mut buffer = Buffer::new(frame, 0);
    match reply(&packet, &mut buffer) {
        Ok(kind) => {
            assert_eq!(kind, Reply::Echo);
            Ok(buffer.bytes().to_vec())
        }
        Err(drop) => {
            assert_eq!(buffer.bytes(), frame, "an error changes nothing");
            Err(drop)
        }
    }
}

/// An ICMP message over IPv4 with a right checksum.
fn message(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0], data].concat();
    let sum = Checksum::of(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

fn request(payload: Vec<u8>) -> Sample {
    let sample = Sample::tcp("198.51.100.1:0", "203.0.113.10:0", 0);
    Sample { protocol: protocol::ICMP, payload, ..sample }
}

#[test]
fn the_reply_of_scapy() {
    assert_eq!(reply_to(ECHO_V4).unwrap(), REPLY_V4);
    assert_eq!(reply_to(ECHO_V6).unwrap(), REPLY_V6);
    // Ethernet padding is removed.
    assert_eq!(reply_to(&[ECHO_V4, &[0xa5; 9]].concat()).unwrap(), REPLY_V4);
    assert_eq!(reply_to(&[ECHO_V6, &[0xa5; 9]].concat()).unwrap(), REPLY_V6);
}

#[test]
fn other_messages_and_damaged_requests_are_refused() {
    assert_eq!(reply_to(REPLY_V4), Err(DropReason::IcmpUnsupported));
    assert_eq!(reply_to(REPLY_V6), Err(DropReason::IcmpUnsupported));
    for frame in [ECHO_V4, ECHO_V6] {
        let mut wrong = frame.to_vec();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(reply_to(&wrong), Err(DropReason::IcmpMalformed));
    }
    let frames = [
        (request(message(8, &[0; 4])), None),
        (request(vec![8, 0, 0xf7]), Some(DropReason::IcmpMalformed)),
        (request(vec![8, 1, 0xf7, 0xfe, 0, 0, 0, 0]), Some(DropReason::IcmpUnsupported)),
        (request(message(13, &[0; 16])), Some(DropReason::IcmpUnsupported)),
        // ICMPv6 over IPv4.
        (
            Sample { protocol: 58, ..request(message(128, &[0; 4])) },
            Some(DropReason::IcmpUnsupported),
        ),
        (Sample::udp("198.51.100.1:7", "203.0.113.10:7"), Some(DropReason::IcmpUnsupported)),
    ];
    for (sample, expected) in frames {
        assert_eq!(reply_to(&sample.frame()).err(), expected, "{sample:?}");
    }
}

#[test]
fn a_reply_of_zeros_has_the_checksum_that_says_so() {
    let reply = reply_to(&request(message(8, &[0; 12])).frame()).unwrap();
    assert_eq!(reply[34..38], [0, 0, 0xff, 0xff]);
    assert!(Checksum::is_valid(&reply[34..]));
}

#[test]
fn senders_that_never_get_a_reply() {
    for source in
        ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "203.0.113.10"]
    {
        let source = format!("{source}:0").parse().unwrap();
        let sample = Sample { source, ..request(message(8, &[1; 4])) };
        assert_eq!(reply_to(&sample.frame()), Err(DropReason::ReplyForbidden), "{source}");
    }
    for mac in [0, 6] {
        let mut frame = ECHO_V6.to_vec();
        frame[mac] |= 1;
        assert_eq!(reply_to(&frame), Err(DropReason::ReplyForbidden));
    }
}

#[test]
fn a_request_with_a_source_route_gets_no_reply() {
    for (options, routed) in [
        (vec![131, 7, 4, 10, 0, 0, 1, 0], true),
        (vec![1, 137, 3, 4], true),
        (vec![7, 7, 4, 0, 0, 0, 0, 0], false),
        (vec![0, 131, 3, 4], false),
        // Malformed options: what follows is unknown.
        (vec![7, 1, 131, 3], false),
        (vec![7, 9, 131, 3], false),
    ] {
        let sample = Sample { options: options.clone(), ..request(message(8, &[1; 4])) };
        let expected = if routed { Err(DropReason::SourceRouted) } else { Ok(()) };
        assert_eq!(reply_to(&sample.frame()).map(drop), expected, "{options:?}");
    }
    // Instead of the destination options: type, length, and segments left of a route.
    for (kind, length, left, expected) in [
        (ipv6::ROUTING, 0, 1, Err(DropReason::SourceRouted)),
        (ipv6::ROUTING, 0, 0, Ok(())),
        (ipv6::AUTHENTICATION, 2, 0, Err(DropReason::IcmpUnsupported)),
    ] {
        let mut frame = ECHO_V6.to_vec();
        (frame[58], frame[67], frame[69]) = (kind, length, left);
        if kind == ipv6::AUTHENTICATION {
            frame.splice(74..74, [0; 8]);
            frame[23] += 8;
        }
        assert_eq!(reply_to(&frame).map(drop), expected, "{kind} {left}");
    }
}

/// RFC 791 and RFC 8200: the replies to the fragments, reassembled, are the reply to the whole request.
#[test]
fn each_fragment_gets_a_reply_of_its_own() {
    let data: Vec<u8> = (0..28).collect();
    let whole = request(message(8, &data));
    let expected = reply_to(&whole.frame()).unwrap();
    let (first, later) = whole.payload.split_at(16);
    let part = |fragment, payload: &[u8]| {
        let sample = Sample { fragment, payload: payload.to_vec(), ..whole.clone() };
        reply_to(&sample.frame()).unwrap()[34..].to_vec()
    };
    assert_eq!([part(0x2000, first), part(2, later)].concat(), expected[34..]);

    let header = |more| vec![protocol::ICMPV6, 0, 0, more, 0, 0, 0, 9];
    let v6 = |extensions: Vec<u8>, extension, payload: &[u8]| Sample {
        extensions,
        extension,
        protocol: protocol::ICMPV6,
        payload: payload.to_vec(),
        ..Sample::tcp("[2001:db8:c::1]:0", "[2001:db8::10]:0", 0)
    };
    let first = v6(header(1), ipv6::FRAGMENT, &ECHO_V6[74..82]).frame();
    let reply = reply_to(&first).unwrap();
    assert_eq!(reply[54..62], first[54..62], "the fragment header stays");
    assert_eq!(reply[62..], REPLY_V6[58..66]);
    let later = v6(header(9), ipv6::FRAGMENT, &[8; 8]).frame();
    assert_eq!(reply_to(&later).unwrap()[54..], later[54..]);
    let options = [vec![ipv6::FRAGMENT, 0, 1, 4, 0, 0, 0, 0], header(1)].concat();
    let optioned = v6(options, ipv6::DESTINATION_OPTIONS, &ECHO_V6[74..82]).frame();
    assert_eq!(reply_to(&optioned), Err(DropReason::IcmpUnsupported));
}

/// RFC 6946: an atomic fragment is a whole packet, and so is its reply.
#[test]
fn an_atomic_fragment_gets_a_whole_reply() {
    let mut frame = ECHO_V6.to_vec();
    frame[58] = ipv6::FRAGMENT;
    frame[66..74].copy_from_slice(&[protocol::ICMPV6, 0, 0, 0, 0, 0, 0, 9]);
    assert_eq!(reply_to(&frame).unwrap(), REPLY_V6);
}

proptest! {
    #[test]
    fn a_reply_has_right_checksums(data in vec(prop_oneof![Just(0u8), any::<u8>()], 4..60)) {
        let reply = reply_to(&request(message(8, &data)).frame()).unwrap();
        prop_assert!(Packet::parse(&reply).is_ok());
        prop_assert!(Checksum::is_valid(&reply[34..]));
        prop_assert_eq!(&reply[38..], &data[..]);
        let other = etherparse::SlicedPacket::from_ethernet(&reply).unwrap();
        let Some(etherparse::TransportSlice::Icmpv4(icmp)) = other.transport else { panic!() };
        prop_assert!(matches!(icmp.icmp_type(), etherparse::Icmpv4Type::EchoReply(_)));
    }

    #[test]
    fn any_bytes_get_a_reply_or_are_dropped(
        v6: bool, changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut frame = if v6 { ECHO_V6 } else { ECHO_V4 }.to_vec();
        for (at, byte) in changes {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        let fixed = frame.len().min(14);
        crate::balancer::sample::fix_checksum(&mut frame[fixed..]);
        if Packet::parse(&frame).is_ok() {
            let _ = reply_to(&frame);
        }
    }
}
