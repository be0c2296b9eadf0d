//! Headers written by hand from the figures of the RFCs.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::balancer::frame::Buffer;
use crate::wire::Checksum;

const INNER_V4: [u8; 28] = *b"\x45\0\0\x1c\0\x01\0\0\x40\x11\x14\x91\xc6\x33\x64\x01\xcb\0\x71\x0a\
    \x9c\x40\0\x35\0\x08\0\0";

fn inner_v6() -> Vec<u8> {
    let mut ip = b"\x60\0\0\0\0\x08\x11\x40".to_vec();
    ip.extend(0x2001_0db8_000c_0000_0000_0000_0000_0001u128.to_be_bytes());
    ip.extend(0x2001_0db8_000f_0000_0000_0000_0000_0010u128.to_be_bytes());
    ip.extend(*b"\x9c\x40\0\x35\0\x08\0\0");
    ip
}

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

/// A packet from 192.0.2.2 to 192.0.2.1.
fn outer_v4(number: u8, class: u8, payload: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x45, class];
    ip.extend(u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, number, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1]);
    let checksum = Checksum::of(&ip).to_be_bytes();
    ip[10..12].copy_from_slice(&checksum);
    [&MACS[..], &[8, 0], &ip, payload].concat()
}

/// A packet from 2001:db8::2 to 2001:db8::1, in VLAN 100.
fn outer_v6(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x60, 0, 0, 0];
    ip.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    ip.extend([number, 64]);
    ip.extend(0x2001_0db8_0000_0000_0000_0000_0000_0002u128.to_be_bytes());
    ip.extend(0x2001_0db8_0000_0000_0000_0000_0000_0001u128.to_be_bytes());
    [&MACS[..], b"\x81\0\0\x64\x86\xdd", &ip, payload].concat()
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    [b"\xc0\x01", &port.to_be_bytes()[..], &length, b"\0\0", payload].concat()
}

fn decapsulator() -> Decapsulator {
    let networks = |texts: [&str; 2]| texts.map(|text| text.parse().unwrap());
    Decapsulator::new(
        networks(["192.0.2.1/32", "2001:db8::1/128"]),
        networks(["192.0.2.2/31", "2001:db8::/64"]),
    )
}

fn open(frame: &[u8]) -> Result<Option<Inner>, Reason> {
    decapsulator().decapsulate(&Packet::parse(frame).unwrap(), frame)
}

/// A packet after one hop.
fn lowered(ip: &[u8]) -> Vec<u8> {
    let mut ip = ip.to_vec();
    hops::lower(&mut ip).unwrap();
    ip
}

/// The decapsulated frame, and whether it was marked as redirected.
fn unwrapped(frame: &[u8]) -> Result<(Vec<u8>, bool), Reason> {
    let packet = Packet::parse(frame).unwrap();
    let inner = decapsulator().decapsulate(&packet, frame)?.expect("encapsulated");
    let mut buffer = Buffer::new(frame, 0);
    assert_eq!(unwrap(&packet, &inner, &mut buffer)?, HopLimit::Left);
    Ok((buffer.bytes().to_vec(), inner.redirected))
}

/// Every encapsulation: protocol number, payload, and whether it is marked as redirected.
fn tunnels(inner: &[u8]) -> Vec<(u8, Vec<u8>, bool)> {
    let is_v4 = inner[0] >> 4 == 4;
    let (ethertype, number): ([u8; 2], u8) =
        if is_v4 { ([8, 0], protocol::IPV4) } else { ([0x86, 0xdd], protocol::IPV6) };
    let gre = |flags: [u8; 2], optional: &[u8]| [&flags[..], &ethertype, optional, inner].concat();
    let vxlan = [b"\x08\0\0\0\0\0\x2a\0\x02\0\0\0\0\x09\x02\0\0\0\0\x08", &ethertype[..], inner];
    vec![
        (protocol::GRE, gre([0, 0], &[]), false),
        (protocol::GRE, gre([1, 0], &[]), true),
        (protocol::GRE, gre([0x30, 0], &[1; 8]), false),
        (number, inner.to_vec(), false),
        (protocol::UDP, udp(VXLAN, &vxlan.concat()), false),
        (protocol::UDP, udp(GUE, inner), false),
        (protocol::UDP, udp(GUE, &[&[0, number, 0, 0], inner].concat()), false),
        (protocol::UDP, udp(GUE, &[&[1, number, 0, 0, 1, 2, 3, 4], inner].concat()), false),
    ]
}

#[test]
fn every_encapsulation_is_removed_over_both_families() {
    for inner in [INNER_V4.to_vec(), inner_v6()] {
        let ethertype: &[u8] = if inner[0] >> 4 == 4 { &[8, 0] } else { &[0x86, 0xdd] };
        for (number, payload, redirected) in tunnels(&inner) {
            let plain = [&MACS[..], ethertype, &lowered(&inner)].concat();
            let mut frame = outer_v4(number, 0, &payload);
            frame.extend([0xa5; 6]);
            assert_eq!(unwrapped(&frame), Ok((plain, redirected)), "{number} {payload:02x?}");
            let tagged = [&MACS[..], b"\x81\0\0\x64", ethertype, &lowered(&inner)].concat();
            assert_eq!(unwrapped(&outer_v6(number, &payload)), Ok((tagged, redirected)));
        }
    }
}

#[test]
fn a_packet_on_its_last_hop_is_reported_and_unchanged() {
    let (mut v4, mut v6) = (INNER_V4, inner_v6());
    for hops in [0, 1] {
        v4[8] = hops;
        v4[10..12].fill(0);
        let checksum = Checksum::of(&v4[..20]).to_be_bytes();
        v4[10..12].copy_from_slice(&checksum);
        v6[7] = hops;
        for inner in [&v4[..], &v6] {
            for (number, payload, _) in tunnels(inner) {
                let frame = outer_v4(number, 0, &payload);
                let packet = Packet::parse(&frame).unwrap();
                let found = decapsulator().decapsulate(&packet, &frame).unwrap().unwrap();
                let mut buffer = Buffer::new(&frame, 0);
                assert_eq!(unwrap(&packet, &found, &mut buffer), Ok(HopLimit::Exceeded));
                assert_eq!(&buffer.bytes()[14..], inner, "the packet is as it was");
            }
        }
    }
}

#[test]
fn unknown_peers_are_refused() {
    for (number, payload, _) in tunnels(&INNER_V4) {
        let mut frame = outer_v4(number, 0, &payload);
        // 192.0.2.4 lies outside 192.0.2.2/31, and the checksum follows.
        frame[29] = 4;
        let checksum = update_u16(u16::from_be_bytes([frame[24], frame[25]]), 2, 4);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(open(&frame), Err(Reason::UnknownPeer));
    }
}

#[test]
fn a_packet_for_another_address_is_left_alone() {
    let to_other = INNER_V4;
    let frame = [&MACS[..], &[8, 0], &to_other].concat();
    assert_eq!(open(&frame), Ok(None), "UDP to port 53");
    let mut frame = outer_v4(protocol::GRE, 0, &tunnels(&INNER_V4)[0].1);
    frame[33] = 9;
    let checksum = update_u16(u16::from_be_bytes([frame[24], frame[25]]), 0x0201, 0x0209);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(open(&frame), Ok(None), "to 192.0.2.9");
}

#[test]
fn a_tunnel_in_a_tunnel_is_recognised() {
    let once = outer_v4(protocol::GRE, 0, &tunnels(&INNER_V4)[0].1);
    for (number, payload, _) in tunnels(&once[14..]) {
        for frame in [outer_v4(number, 0, &payload), outer_v6(number, &payload)] {
            let packet = Packet::parse(&frame).unwrap();
            let found = decapsulator().decapsulate(&packet, &frame).unwrap().unwrap();
            let mut buffer = Buffer::new(&frame, 0);
            unwrap(&packet, &found, &mut buffer).unwrap();
            let packet = Packet::parse(buffer.bytes()).unwrap();
            assert!(decapsulator().accepts(&packet, buffer.bytes()));
            assert!(decapsulator().is_destination(&packet, buffer.bytes()));
        }
    }
}

#[test]
fn malformed_tunnels_are_refused() {
    let refused = |number, payload: &[u8]| {
        assert_eq!(
            open(&outer_v4(number, 0, payload)),
            Err(Reason::Malformed),
            "{number} {payload:02x?}"
        );
    };
    refused(protocol::GRE, b"\0\0\x08");
    refused(protocol::GRE, &[b"\x40\0\x08\0", &INNER_V4[..]].concat());
    refused(protocol::GRE, &[b"\0\0\x65\x58", &INNER_V4[..]].concat());
    refused(protocol::GRE, &[b"\0\0\x86\xdd", &INNER_V4[..]].concat());
    refused(protocol::GRE, &[b"\0\0\x08\0", &INNER_V4[..19]].concat());
    refused(protocol::IPV4, &inner_v6());
    refused(protocol::IPV6, &inner_v6()[..39]);
    let vxlan = |flags: u8, ethertype: &[u8]| {
        let header = [&[flags, 0, 0, 0, 0, 0, 7, 0], &MACS[..], ethertype, &INNER_V4].concat();
        udp(VXLAN, &header)
    };
    refused(protocol::UDP, &vxlan(0, &[8, 0]));
    refused(protocol::UDP, &vxlan(8, b"\x81\0\0\x64\x08\0"));
    refused(protocol::UDP, &vxlan(8, b"\x08\x06"));
    refused(protocol::UDP, &udp(VXLAN, &[8; 21]));
    for header in
        [[0x20, 4, 0, 0], [0, 4, 0x80, 0], [0, 17, 0, 0], [0x80, 4, 0, 0], [0x50, 0, 0, 0]]
    {
        refused(protocol::UDP, &udp(GUE, &[&header, &INNER_V4[..]].concat()));
    }
    refused(protocol::UDP, &udp(GUE, &[0x1f, 4, 0, 0]));
    refused(protocol::UDP, &udp(GUE, &[]));
    // A fragment of an outer packet.
    let mut frame = outer_v4(protocol::GRE, 0, &tunnels(&INNER_V4)[0].1);
    frame[20..22].copy_from_slice(&[0x20, 0]);
    let checksum = update_u16(u16::from_be_bytes([frame[24], frame[25]]), 0x4000, 0x2000);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(open(&frame), Err(Reason::Malformed));
}

/// RFC 6040, figure 4. The columns are the outer field: Not-ECT, ECT(0), ECT(1), CE.
#[test]
fn the_outer_congestion_mark_goes_into_the_inner_header() {
    let table: [(u8, [Option<u8>; 4]); 4] = [
        (0b00, [Some(0b00), Some(0b00), Some(0b00), None]),
        (0b10, [Some(0b10), Some(0b10), Some(0b01), Some(0b11)]),
        (0b01, [Some(0b01), Some(0b01), Some(0b01), Some(0b11)]),
        (0b11, [Some(0b11); 4]),
    ];
    for (inner, results) in table {
        for (outer, arrives) in [0b00, 0b10, 0b01, 0b11].into_iter().zip(results) {
            let mut v4 = INNER_V4;
            v4[1] = 0xb8 | inner;
            let checksum =
                update_u16(u16::from_be_bytes([v4[10], v4[11]]), 0x4500, 0x4500 | u16::from(v4[1]));
            v4[10..12].copy_from_slice(&checksum.to_be_bytes());
            let mut v6 = inner_v6();
            (v6[0], v6[1]) = (0x6b, 0x8a | inner << 4);
            for (number, ip) in [(protocol::IPV4, v4.to_vec()), (protocol::IPV6, v6)] {
                let found = unwrapped(&outer_v4(number, 0x48 | outer, &ip));
                let class = found.map(|(frame, _)| Packet::parse(&frame).unwrap().traffic_class);
                let expected = arrives.map(|ecn| 0xb8 | ecn).ok_or(Reason::Congested);
                assert_eq!(class, expected, "{inner:02b} in {outer:02b}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_payload_is_a_packet_inside_or_refused(
        number in prop_oneof![Just(47u8), Just(4), Just(41), Just(17)],
        port in prop_oneof![Just(VXLAN), Just(GUE)],
        head in prop_oneof![Just(vec![0, 0, 8, 0]), Just(vec![8, 0, 0, 0]), vec(any::<u8>(), 0..8)],
        rest in vec(any::<u8>(), 0..80),
    ) {
        let mut payload = [head, rest].concat();
        if number == protocol::UDP {
            payload = udp(port, &payload);
        }
        let frame = outer_v4(number, 0, &payload);
        let packet = Packet::parse(&frame).unwrap();
        if let Ok(inner) = find_inner(&packet, &frame) {
            let mut buffer = Buffer::new(&frame, 0);
            if unwrap(&packet, &inner, &mut buffer).is_ok() {
                prop_assert_eq!(buffer.bytes().len(), 14 + frame.len() - inner.offset);
                prop_assert_eq!(&buffer.bytes()[..12], &MACS[..]);
            }
        }
    }
}
