//! Headers that scapy built, for every encapsulation and every mix of families.
//!
//! `tests/support/known_answers.py` builds the tables [`HEADERS`], [`CHECKSUMS`] and [`SOURCES`], and a test
//! compares them with this file.

use super::*;
use Family::{V4, V6};

/// Encapsulation, inner family, outer family, and all headers between Ethernet and the inner packet. The flow's hash is
/// [`ENTROPY`]: flow label 0xabcde, source port 49152 + 0x2af3, GRE key 0xabcde123.
const HEADERS: &[(&str, Family, Family, &str)] = &[
    ("gre-7", V4, V4, "4500004400004000402f6e85c00002010a0000052000080000000007"),
    (
        "gre-7",
        V4,
        V6,
        "600abcde00302f4020010db800000000000000000000000120010db8000b000000000000000000052000080000000007",
    ),
    ("gre-7", V6, V4, "4500004c00004000402f6e7dc00002010a000005200086dd00000007"),
    (
        "gre-7",
        V6,
        V6,
        "600abcde00382f4020010db800000000000000000000000120010db8000b00000000000000000005200086dd00000007",
    ),
    ("gre-flow", V4, V4, "4500004400004000402f6e85c00002010a00000520000800abcde123"),
    (
        "gre-flow",
        V4,
        V6,
        "600abcde00302f4020010db800000000000000000000000120010db8000b0000000000000000000520000800abcde123",
    ),
    ("gre-flow", V6, V4, "4500004c00004000402f6e7dc00002010a000005200086ddabcde123"),
    (
        "gre-flow",
        V6,
        V6,
        "600abcde00382f4020010db800000000000000000000000120010db8000b00000000000000000005200086ddabcde123",
    ),
    ("ipip", V4, V4, "4500003c0000400040046eb8c00002010a000005"),
    (
        "ipip",
        V4,
        V6,
        "600abcde0028044020010db800000000000000000000000120010db8000b00000000000000000005",
    ),
    ("ipip", V6, V4, "450000440000400040296e8bc00002010a000005"),
    (
        "ipip",
        V6,
        V6,
        "600abcde0030294020010db800000000000000000000000120010db8000b00000000000000000005",
    ),
    ("gue", V4, V4, "450000440000400040116ea3c00002010a000005eaf317c000300000"),
    (
        "gue",
        V4,
        V6,
        "600abcde0030114020010db800000000000000000000000120010db8000b00000000000000000005eaf317c000300000",
    ),
    ("gue", V6, V4, "4500004c0000400040116e9bc00002010a000005eaf317c000380000"),
    (
        "gue",
        V6,
        V6,
        "600abcde0038114020010db800000000000000000000000120010db8000b00000000000000000005eaf317c000380000",
    ),
    ("gue0", V4, V4, "450000480000400040116e9fc00002010a000005eaf317c00034000000040000"),
    (
        "gue0",
        V4,
        V6,
        "600abcde0034114020010db800000000000000000000000120010db8000b00000000000000000005eaf317c00034000000040000",
    ),
    ("gue0", V6, V4, "450000500000400040116e97c00002010a000005eaf317c0003c000000290000"),
    (
        "gue0",
        V6,
        V6,
        "600abcde003c114020010db800000000000000000000000120010db8000b00000000000000000005eaf317c0003c000000290000",
    ),
    ("gre-udp", V4, V4, "450000480000400040116e9fc00002010a000005eaf312920034000000000800"),
    (
        "gre-udp",
        V4,
        V6,
        "600abcde0034114020010db800000000000000000000000120010db8000b00000000000000000005eaf312920034000000000800",
    ),
    ("gre-udp", V6, V4, "450000500000400040116e97c00002010a000005eaf31292003c0000000086dd"),
    (
        "gre-udp",
        V6,
        V6,
        "600abcde003c114020010db800000000000000000000000120010db8000b00000000000000000005eaf31292003c0000000086dd",
    ),
    (
        "vxlan",
        V4,
        V4,
        "4500005a0000400040116e8dc00002010a000005eaf312b50046000008000000123456000200000000aa0200000000bb0800",
    ),
    (
        "vxlan",
        V4,
        V6,
        "600abcde0046114020010db800000000000000000000000120010db8000b00000000000000000005eaf312b50046000008000000123456000200000000aa0200000000bb0800",
    ),
    (
        "vxlan",
        V6,
        V4,
        "450000620000400040116e85c00002010a000005eaf312b5004e000008000000123456000200000000aa0200000000bb86dd",
    ),
    (
        "vxlan",
        V6,
        V6,
        "600abcde004e114020010db800000000000000000000000120010db8000b00000000000000000005eaf312b5004e000008000000123456000200000000aa0200000000bb86dd",
    ),
    ("geneve", V4, V4, "4500004c0000400040116e9bc00002010a000005eaf317c1003800000000080012345600"),
    (
        "geneve",
        V4,
        V6,
        "600abcde0038114020010db800000000000000000000000120010db8000b00000000000000000005eaf317c1003800000000080012345600",
    ),
    ("geneve", V6, V4, "450000540000400040116e93c00002010a000005eaf317c100400000000086dd12345600"),
    (
        "geneve",
        V6,
        V6,
        "600abcde0040114020010db800000000000000000000000120010db8000b00000000000000000005eaf317c100400000000086dd12345600",
    ),
    ("mpls-udp", V4, V4, "450000480000400040116e9fc00002010a000005eaf319eb00340000003e8140"),
    (
        "mpls-udp",
        V4,
        V6,
        "600abcde0034114020010db800000000000000000000000120010db8000b00000000000000000005eaf319eb00340000003e8140",
    ),
    ("mpls-udp", V6, V4, "450000500000400040116e97c00002010a000005eaf319eb003c0000003e8140"),
    (
        "mpls-udp",
        V6,
        V6,
        "600abcde003c114020010db800000000000000000000000120010db8000b00000000000000000005eaf319eb003c0000003e8140",
    ),
    ("mpls-gre", V4, V4, "4500004400004000402f6e85c00002010a00000500008847003e8140"),
    (
        "mpls-gre",
        V4,
        V6,
        "600abcde00302f4020010db800000000000000000000000120010db8000b0000000000000000000500008847003e8140",
    ),
    ("mpls-gre", V6, V4, "4500004c00004000402f6e7dc00002010a00000500008847003e8140"),
    (
        "mpls-gre",
        V6,
        V6,
        "600abcde00382f4020010db800000000000000000000000120010db8000b0000000000000000000500008847003e8140",
    ),
];

/// Encapsulation, inner family, and the UDP checksum over IPv6 if it is not 0.
const CHECKSUMS: &[(&str, Family, u16)] = &[
    ("gue", V4, 0x07b2),
    ("gue", V6, 0x0cd2),
    ("gue0", V4, 0x07a6),
    ("gue0", V6, 0x0ca1),
    ("gre-udp", V4, 0x04d8),
    ("gre-udp", V6, 0x8b1a),
    ("vxlan", V4, 0x8ef7),
    ("vxlan", V6, 0x153a),
    ("geneve", V4, 0x976c),
    ("geneve", V6, 0x1daf),
    ("mpls-udp", V4, 0x8400),
    ("mpls-udp", V6, 0x8920),
];

/// The headers of plain GRE over IPv4 from each of the first addresses of 192.0.2.64/26.
const SOURCES: &[&str] = &[
    "4500004000004000402f6e4ac00002400a00000500000800",
    "4500004000004000402f6e49c00002410a00000500000800",
    "4500004000004000402f6e48c00002420a00000500000800",
];

/// A TCP SYN, and a UDP datagram without data, both with a checksum.
fn inner(family: Family) -> Vec<u8> {
    hex(match family {
        V4 => "450000280001000040061490c6336401cb00710a9c40005000000001000000005002faf0b2200000",
        V6 => {
            "600123450008114020010db8000c0000000000000000000120010db80000000000000000000000109c4000\
             35000807da"
        }
    })
}

fn frame(family: Family) -> Vec<u8> {
    let ethertype = descriptor::ethertype(family).to_be_bytes();
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0xfe], &ethertype[..], &inner(family)].concat()
}

fn destination(outer: Family) -> &'static str {
    match outer {
        V4 => "10.0.0.5",
        V6 => "2001:db8:b::5",
    }
}

/// The template of a case, whose name may include the GRE key.
fn of_case(name: &str, outer: Family, changes: Parameters) -> Template {
    let (name, gre_key) = match name {
        "gre-7" => ("gre", Some(GreKey::Fixed(7))),
        "gre-flow" => ("gre", Some(GreKey::Flow)),
        name => (name, None),
    };
    let parameters = changes.or(&Parameters { gre_key, ..settings() });
    Template::with(named(name), &parameters, &tunnel(destination(outer)), MTU).unwrap()
}

#[test]
fn headers() {
    let mut seen = std::collections::HashSet::from([Encapsulation::L2]);
    for &(name, family, outer, expected) in HEADERS {
        let template = of_case(name, outer, Parameters::default());
        seen.insert(template.encapsulation());
        let out = apply(&template, &frame(family)).unwrap();
        let known = [
            &NEXT_HOP[..],
            &SOURCE_MAC,
            &descriptor::ethertype(outer).to_be_bytes(),
            &hex(expected),
            &inner(family),
        ]
        .concat();
        assert_eq!(out, known, "{name}, {family:?} in {outer:?}");
        assert_eq!(template.overhead(), expected.len() / 2);
    }
    for &(name, encapsulation) in Encapsulation::NAMES {
        assert!(seen.contains(&encapsulation), "HEADERS has no rows for {name}");
    }
}

/// Every encapsulation over UDP.
fn over_udp() -> impl Iterator<Item = &'static str> {
    Encapsulation::NAMES.iter().filter(|(_, e)| e.uses(Setting::UdpPort)).map(|&(name, _)| name)
}

/// RFC 6935 and RFC 6936 allow 0; scapy computed these.
#[test]
fn computed_checksums() {
    for name in over_udp() {
        assert!(CHECKSUMS.iter().any(|row| row.0 == name), "CHECKSUMS has no rows for {name}");
    }
    for &(name, family, expected) in CHECKSUMS {
        let compute =
            Parameters { udp_checksum: Some(UdpChecksum::Compute), ..Parameters::default() };
        let out = apply(&of_case(name, V6, compute), &frame(family)).unwrap();
        let at = 14 + 40 + 6;
        assert_eq!(out[at..at + 2], expected.to_be_bytes(), "{name}, {family:?}");
        let without = apply(&of_case(name, V6, Parameters::default()), &frame(family)).unwrap();
        assert_eq!(without[at..at + 2], [0, 0]);
        assert_eq!((&out[..at], &out[at + 2..]), (&without[..at], &without[at + 2..]));
    }
}

#[test]
fn over_ipv4_there_is_no_checksum_to_compute() {
    let compute = Parameters { udp_checksum: Some(UdpChecksum::Compute), ..Parameters::default() };
    let out = apply(&of_case("gue", V4, compute), &frame(V4)).unwrap();
    assert_eq!(out[14 + 20 + 6..14 + 28], [0, 0]);
}

#[test]
fn another_port() {
    for (name, outer) in over_udp().flat_map(|name| [(name, V4), (name, V6)]) {
        let other = Parameters { udp_port: Some(19523), ..Parameters::default() };
        let out = apply(&of_case(name, outer, other), &frame(V4)).unwrap();
        let at = 14 + if outer == V4 { 20 } else { 40 } + 2;
        assert_eq!(out[at..at + 2], 19523_u16.to_be_bytes(), "{name}");
    }
}

#[test]
fn gre_in_udp_may_have_a_key() {
    let keyed = Parameters { gre_key: Some(GreKey::Fixed(7)), ..Parameters::default() };
    let out = apply(&of_case("gre-udp", V4, keyed), &frame(V6)).unwrap();
    assert_eq!(out[14 + 28..14 + 36], hex("200086dd00000007"));
}

/// RFC 7348 leaves the inner addresses open. Defaults are the port's own address and one for all backends.
#[test]
fn inner_macs_have_defaults() {
    let parameters = Parameters { vni: Some(1), ..Parameters::default() };
    let template =
        Template::with(Encapsulation::Vxlan, &parameters, &tunnel("10.0.0.5"), MTU).unwrap();
    let out = apply(&template, &frame(V4)).unwrap();
    assert_eq!(out[14 + 36..14 + 50], hex("0247570000010200000000010800"));
}

/// The header's checksum is right with each address of a prefix; scapy built the first three.
#[test]
fn the_flow_chooses_the_source_from_a_prefix() {
    let source = Tunnel { source: "192.0.2.64".parse().unwrap(), ..tunnel("10.0.0.5") };
    let prefix = Template::new(Encapsulation::Gre, &source, MTU).unwrap().with_source_prefix(26);
    let out = |template: &Template, host: u64| {
        let frame = frame(V4);
        let mut buffer = Buffer::new(&frame, template.overhead());
        let entropy = 0xffff_ffc0_ffff_ffff | host << 32;
        template.apply(&Packet::parse(&frame).unwrap(), entropy, &mut buffer).unwrap();
        buffer.bytes()[14..14 + template.overhead()].to_vec()
    };
    for (host, known) in SOURCES.iter().enumerate() {
        assert_eq!(out(&prefix, host as u64), hex(known));
    }
    for host in 0..64 {
        let headers = out(&prefix, host);
        assert!(crate::wire::Checksum::is_valid(&headers[..20]));
        assert_eq!(headers[15], 64 + u8::try_from(host).unwrap());
    }
    let single = Template::new(Encapsulation::Gre, &source, MTU).unwrap();
    assert_eq!(single.clone().with_source_prefix(32), single);
    // Wide prefixes, where the host bits reach into the upper word.
    let wide = Tunnel { source: "10.0.0.0".parse().unwrap(), ..source };
    for encapsulation in [Encapsulation::Ipip, Encapsulation::MplsGre] {
        let wide = Template::with(encapsulation, &settings(), &wide, MTU).unwrap();
        let headers = out(&wide.with_source_prefix(8), 0);
        assert!(crate::wire::Checksum::is_valid(&headers[..20]));
        assert_eq!(headers[12..16], [10, 0xff, 0xff, 0xc0]);
    }
}

/// With UDP the source port varies, not the source address.
#[test]
fn behind_udp_the_source_is_the_first_address() {
    for name in over_udp() {
        let template = of_case(name, V4, Parameters::default());
        assert_eq!(template.clone().with_source_prefix(26), template);
    }
}

#[test]
fn source_ports_are_dynamic_ones_and_follow_the_flow() {
    let template = of_case("gue", V4, Parameters::default());
    let port = |entropy| {
        let frame = frame(V4);
        let mut buffer = Buffer::new(&frame, template.overhead());
        template.apply(&Packet::parse(&frame).unwrap(), entropy, &mut buffer).unwrap();
        u16::from_be_bytes([buffer.bytes()[34], buffer.bytes()[35]])
    };
    assert_eq!((port(0), port(u64::MAX), port(u64::MAX >> 14)), (49_152, 65_535, 49_152));
    assert_eq!(port(1 << 50), 49_153);
}

/// Tags, and padding to 60 bytes, stay as they are.
#[test]
fn on_the_link_only_the_macs_and_the_hops_change() {
    for (padding, tags) in [(0, vec![]), (6, vec![]), (9, vec![(0x88a8, 0x6001), (0x8100, 0x0fff)])]
    {
        for inner in [v4(), v6()] {
            let frame = Sample { padding, tags: tags.clone(), ..inner }.frame();
            let l3 = 14 + 4 * tags.len();
            for destination in ["10.0.0.5", "2001:db8:b::5"] {
                let template = Template::new(Encapsulation::L2, &tunnel(destination), MTU).unwrap();
                assert_eq!(template.overhead(), 0);
                let mut known = [&NEXT_HOP[..], &SOURCE_MAC, &frame[12..]].concat();
                let end = Packet::parse(&frame).unwrap().end as usize;
                known.truncate(end.max(60));
                hops::lower(&mut known[l3..]).unwrap();
                assert_eq!(apply(&template, &frame), Ok(known));
            }
        }
    }
}

/// The hop limit is checked before the MTU, as a router does it.
#[test]
fn on_the_link_the_last_hop_is_no_hop() {
    for mtu in [100, 1500] {
        let template = Template::new(Encapsulation::L2, &tunnel("10.0.0.5"), mtu).unwrap();
        for inner in [v4(), v6()] {
            let mut frame = Sample { payload: vec![1; 100], ..inner }.frame();
            while hops::lower(&mut frame[14..]).is_some() {}
            assert_eq!(apply(&template, &frame), Err(DropReason::HopLimitExceeded));
        }
    }
}

/// A trailer is removed, so that the frame fits if its packet does. A frame of the least length keeps its length.
#[test]
fn on_the_link_trailers_go() {
    let template = Template::new(Encapsulation::L2, &tunnel("10.0.0.5"), 576).unwrap();
    for (payload, padding, length) in [
        (0, 0, 54),
        (0, 3, 57),
        (0, 6, 60),
        (0, 7, 60),
        (0, 1600, 60),
        (6, 1, 60),
        (7, 1, 61),
        (522, 9, 576),
    ] {
        let frame = Sample { payload: vec![1; payload], padding, ..v4() }.frame();
        assert_eq!(apply(&template, &frame).unwrap().len(), length, "{payload} {padding}");
    }
}

#[test]
fn the_link_has_an_mtu_too() {
    let inner = Sample { payload: vec![1; 60], ..v4() };
    let template = |mtu| Template::new(Encapsulation::L2, &tunnel("10.0.0.5"), mtu).unwrap();
    assert!(apply(&template(100), &inner.frame()).is_ok());
    assert_eq!(apply(&template(99), &inner.frame()), Err(DropReason::ExceedsMtu));
}
