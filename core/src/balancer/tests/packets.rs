//! Which packets belong to one flow, and which are refused by what reason.

use super::*;

/// A flow is the 5-tuple: all of it, and nothing else.
#[test]
fn flows_differ_by_every_part_of_the_key() {
    let tables = Config::all(3).tables();
    let base = client(1, ACK);
    let tags = vec![(0x8100, 7)];
    let same = [
        Sample { tags, ..base.clone() },
        Sample { traffic_class: 0xb8, payload: vec![1], ..base.clone() },
        Sample { options: vec![1, 1, 1, 1], padding: 6, ..base.clone() },
    ];
    let other = [
        client(2, ACK),
        Sample::tcp("198.51.100.2:1025", "203.0.113.10:80", ACK),
        Sample::tcp("198.51.100.1:1025", "203.0.113.10:81", ACK),
    ];
    let mut rig = Rig::new(4096);
    assert_eq!(rig.send(&tables, &base).unwrap().1, FlowEvent::New);
    for sample in same {
        assert_eq!(rig.send(&tables, &sample).unwrap().1, FlowEvent::Hit);
    }
    for sample in other {
        assert_eq!(rig.send(&tables, &sample).unwrap().1, FlowEvent::New);
    }
}

/// Extension headers are no part of the flow.
#[test]
fn an_extended_ipv6_packet_is_of_the_plain_ones_flow() {
    let tables = Config::all(3).tables();
    let plain = Sample::tcp("[2001:db8:c::1]:1025", "[2001:db8::10]:80", ACK);
    let extensions = vec![protocol::TCP, 0, 1, 4, 0, 0, 0, 0];
    let extended = Sample { extension: 60, extensions, ..plain.clone() };
    let mut rig = Rig::new(64);
    let (backend, _) = rig.send(&tables, &plain).unwrap();
    assert_eq!(rig.send(&tables, &extended), Ok((backend, FlowEvent::Hit)));
}

#[test]
fn each_reason_to_drop() {
    let tables = Config { mac: Some(MAC), ..Config::all(2) }.tables();
    let tcp = client(1, SYN);
    let v6 = Sample::tcp("[2001:db8:c::1]:1025", "[2001:db8::10]:80", SYN);
    let fragment_header = |offset_more: u8| vec![protocol::TCP, 0, 0, offset_more, 0, 0, 0, 1];
    let fragment_v6 =
        |bits| Sample { extension: 44, extensions: fragment_header(bits), ..v6.clone() };
    let icmp = Sample { protocol: protocol::ICMP, payload: vec![8; 8], ..tcp.clone() };
    let vip = Vip::default();
    let cases: [(Sample, Refusal); 19] = [
        (Sample { mac: [2, 0, 0, 0, 0, 2], ..tcp.clone() }, DropReason::WrongMac.into()),
        (Sample { mac: [0xff; 6], ..tcp.clone() }, DropReason::MulticastMac.into()),
        (Sample { mac: [0x33, 0x33, 0, 0, 0, 1], ..v6.clone() }, DropReason::MulticastMac.into()),
        (Sample::tcp("198.51.100.1:1", "203.0.113.11:80", SYN), Exception::Elsewhere.into()),
        (Sample::tcp("[2001:db8:c::1]:1", "[2001:db8::11]:80", SYN), Exception::Elsewhere.into()),
        (
            Sample { fragment: 0x2000, ..Sample::udp("192.0.2.9:1", "203.0.113.11:53") },
            Exception::Elsewhere.into(),
        ),
        (Sample::tcp("198.51.100.1:1", "203.0.113.10:8080", SYN), Exception::Closed(vip).into()),
        (Sample::tcp("198.51.100.1:1", "203.0.113.10:53", SYN), Exception::Closed(vip).into()),
        (Sample::udp("198.51.100.1:1", "203.0.113.10:80"), Exception::Closed(vip).into()),
        (icmp.clone(), Exception::Icmp(vip).into()),
        (Sample { fragment: 0x2000, ..icmp }, Exception::Fragment(vip).into()),
        (
            Sample { protocol: protocol::ICMPV6, payload: vec![128; 8], ..v6.clone() },
            Exception::Icmp(vip).into(),
        ),
        (Sample { protocol: protocol::GRE, ..tcp.clone() }, DropReason::UnsupportedProtocol.into()),
        (Sample { protocol: 132, ..v6.clone() }, DropReason::UnsupportedProtocol.into()),
        (Sample { fragment: 0x2000, ..tcp.clone() }, Exception::Fragment(vip).into()),
        (Sample { fragment: 0x0001, ..tcp.clone() }, Exception::Fragment(vip).into()),
        (Sample { fragment: 0x2001, ..tcp.clone() }, Exception::Fragment(vip).into()),
        (fragment_v6(1), Exception::Fragment(vip).into()),
        (fragment_v6(8), Exception::Fragment(vip).into()),
    ];
    let mut rig = Rig::new(64);
    for (sample, reason) in cases {
        assert_eq!(rig.send(&tables, &sample), Err(reason), "{sample:?}");
    }
    assert!(rig.balancer.flows().is_empty(), "what is dropped leaves no flow");
    for sample in [tcp, v6.clone(), fragment_v6(0)] {
        assert!(rig.send(&tables, &sample).is_ok(), "{sample:?}");
    }
}

#[test]
fn a_malformed_frame_has_its_own_reason() {
    let tables = Config { mac: Some(MAC), ..Config::all(1) }.tables();
    let frame = client(1, SYN).frame();
    let reason = |length: usize| {
        let balancer = Balancer::new(4, LocalSeed::new(1));
        Refusal::from(balancer.classify(&tables, PORT, &frame[..length]).unwrap_err())
    };
    assert_eq!(reason(0), DropReason::Malformed(Malformed::EthernetTruncated).into());
    assert_eq!(reason(13), DropReason::Malformed(Malformed::EthernetTruncated).into());
    assert_eq!(reason(33), DropReason::Malformed(Malformed::Ipv4Truncated).into());
    assert_eq!(reason(frame.len() - 1), DropReason::Malformed(Malformed::Ipv4TotalLength).into());
}

#[test]
fn a_port_without_a_mac_takes_any() {
    let tables = Config::all(1).tables();
    for mac in [MAC, [2, 0, 0, 0, 0, 2], [0xff; 6]] {
        assert!(Rig::new(4).send(&tables, &Sample { mac, ..client(1, SYN) }).is_ok());
    }
}

/// Neither the IPv4-mapped address of an IPv4 service (RFC 4291 section 2.5.5.2) nor another IPv6 address with the same
/// low bits reaches it.
#[test]
fn an_ipv6_packet_never_matches_an_ipv4_service() {
    let tables = Config::all(1).tables();
    for destination in ["[::ffff:203.0.113.10]:80", "[::203.0.113.10]:80"] {
        let sample = Sample::tcp("[2001:db8:c::1]:1", destination, SYN);
        assert_eq!(Rig::new(4).send(&tables, &sample), Err(Exception::Elsewhere.into()));
    }
}
