//! Plain GRE, compared with known headers and with etherparse as a second opinion on the frames that leave.

mod choice;
mod known;
mod properties;
mod rewrite;
mod vlan;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, SlicedPacket};

use super::*;
use crate::balancer::frame::{Buffer, Frame};
use crate::balancer::sample::Sample;
use crate::balancer::verdict::DropReason;
use crate::wire::{Family, Packet, hops, protocol, tcp};

const SOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const NEXT_HOP: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
const ENTROPY: u64 = 0xabcd_e123_4567_89ab;
const MTU: u16 = 1500;

fn tunnel(destination: &str) -> Tunnel {
    let destination: IpAddr = destination.parse().unwrap();
    let source = match destination {
        IpAddr::V4(_) => "192.0.2.1",
        IpAddr::V6(_) => "2001:db8::1",
    };
    Tunnel {
        source_mac: SOURCE_MAC,
        destination_mac: NEXT_HOP,
        source: source.parse().unwrap(),
        destination,
    }
}

fn template(destination: &str, mtu: u16) -> Template {
    Template::new(Encapsulation::Gre, &tunnel(destination), mtu).unwrap()
}

fn named(name: &str) -> Encapsulation {
    Encapsulation::NAMES.iter().find(|(known, _)| *known == name).unwrap().1
}

/// All required settings, and inner MAC addresses.
fn settings() -> Parameters {
    Parameters {
        gre_key: None,
        udp_port: None,
        udp_checksum: None,
        vni: Some(0x12_3456),
        inner_source_mac: Some([2, 0, 0, 0, 0, 0xbb]),
        inner_destination_mac: Some([2, 0, 0, 0, 0, 0xaa]),
        label: Some(1000),
    }
}

/// The encapsulated frame, made with just the headroom that it needs.
fn apply(template: &Template, frame: &[u8]) -> Result<Vec<u8>, DropReason> {
    let mut buffer = Buffer::new(frame, template.overhead());
    template.apply(&Packet::parse(frame).unwrap(), ENTROPY, &mut buffer)?;
    Ok(buffer.bytes().to_vec())
}

fn v4() -> Sample {
    Sample::tcp("198.51.100.1:40000", "203.0.113.10:80", tcp::SYN)
}

fn v6() -> Sample {
    Sample::udp("[2001:db8:c::1]:40000", "[2001:db8::10]:53")
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The outer IP and GRE header that etherparse makes for `inner`.
fn outer_headers(destination: &str, class: u8, inner: &Sample) -> Vec<u8> {
    let gre: [u8; 4] = if inner.source.is_ipv4() { [0, 0, 8, 0] } else { [0, 0, 0x86, 0xdd] };
    let payload = u16::try_from(inner.ip().len() + 4).unwrap();
    let mut bytes = match destination.parse().unwrap() {
        IpAddr::V4(destination) => {
            let source = Ipv4Addr::new(192, 0, 2, 1).octets();
            let mut header =
                Ipv4Header::new(payload, 64, IpNumber::GRE, source, destination.octets()).unwrap();
            header.dscp = (class >> 2).try_into().unwrap();
            header.ecn = (class & 3).try_into().unwrap();
            header.dont_fragment = true;
            header.header_checksum = header.calc_header_checksum();
            header.to_bytes().to_vec()
        }
        IpAddr::V6(destination) => Ipv6Header {
            traffic_class: class,
            flow_label: Ipv6FlowLabel::try_new(u32::try_from(ENTROPY >> 44).unwrap()).unwrap(),
            payload_length: payload,
            next_header: IpNumber::GRE,
            hop_limit: 64,
            source: "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets(),
            destination: destination.octets(),
        }
        .to_bytes()
        .to_vec(),
    };
    bytes.extend(gre);
    bytes
}

/// The frame that must leave to `destination` for `inner`.
fn expected(destination: &str, inner: &Sample) -> Vec<u8> {
    let mut frame = [NEXT_HOP, SOURCE_MAC].concat();
    for &(ethertype, control) in &inner.tags {
        frame.extend(ethertype.to_be_bytes());
        frame.extend(control.to_be_bytes());
    }
    frame.extend(if destination.contains(':') { [0x86, 0xdd] } else { [8, 0] });
    frame.extend(outer_headers(destination, inner.traffic_class, inner));
    frame.extend(inner.ip());
    frame
}

/// Section 4 of RFC 2784 over RFC 791: DF, identification 0, time to live 64.
#[test]
fn gre_over_ipv4_known_answer() {
    let inner =
        hex("450000280001000040061490c6336401cb00710a9c40005000000001000000005002faf0b2200000");
    let ethernet = hex("0200000000010200000000fe0800");
    let frame = [&ethernet[..], &inner].concat();
    let outer = hex("4500004000004000402f6e89c00002010a00000500000800");
    let headers = hex("0200000000fe0200000000010800");
    let known = [&headers[..], &outer, &inner].concat();
    assert_eq!(apply(&template("10.0.0.5", MTU), &frame), Ok(known));
}

#[test]
fn each_mix_of_families() {
    for destination in ["10.0.0.5", "2001:db8:b::5"] {
        for inner in [v4(), v6()] {
            let out = apply(&template(destination, MTU), &inner.frame()).unwrap();
            assert_eq!(out, expected(destination, &inner), "{inner:?} to {destination}");
            SlicedPacket::from_ethernet(&out).unwrap();
        }
    }
}

#[test]
fn tags_stay_as_they_came() {
    let tags = [vec![(0x8100, 0xb064)], vec![(0x88a8, 0x6001), (0x8100, 0x0fff)]];
    for tags in tags {
        for inner in [v4(), v6()] {
            let inner = Sample { tags: tags.clone(), padding: 9, ..inner };
            for destination in ["10.0.0.5", "2001:db8:b::5"] {
                let out = apply(&template(destination, MTU), &inner.frame()).unwrap();
                assert_eq!(out, expected(destination, &inner), "{inner:?} to {destination}");
            }
        }
    }
}

#[test]
fn options_and_extension_headers_are_inner_bytes() {
    let options = Sample { options: vec![7, 7, 4, 0, 0, 0, 0, 0], ..v4() };
    let extended = Sample {
        extension: 0,
        extensions: [[60, 0, 1, 4, 0, 0, 0, 0], [17, 0, 1, 4, 0, 0, 0, 0]].concat(),
        ..v6()
    };
    for inner in [options, extended] {
        for destination in ["10.0.0.5", "2001:db8:b::5"] {
            let out = apply(&template(destination, MTU), &inner.frame()).unwrap();
            assert_eq!(out, expected(destination, &inner));
        }
    }
}

#[test]
fn ethernet_padding_is_cut_off() {
    let inner = Sample { padding: 6, ..v4() };
    let out = apply(&template("10.0.0.5", MTU), &inner.frame()).unwrap();
    assert_eq!(out, expected("10.0.0.5", &inner));
}

/// DSCP by RFC 2983's uniform model, ECN by RFC 6040's normal mode: the outer header has each of the 256 values. The
/// comparison shows that the outer IPv4 checksum is right for each.
#[test]
fn the_outer_header_has_the_traffic_class() {
    for class in (0..=255).step_by(if cfg!(miri) { 51 } else { 1 }) {
        for inner in [v4(), v6()] {
            let inner = Sample { traffic_class: class, ..inner };
            for destination in ["10.0.0.5", "2001:db8:b::5"] {
                let out = apply(&template(destination, MTU), &inner.frame()).unwrap();
                assert_eq!(out, expected(destination, &inner));
            }
        }
    }
}

/// A header's one's complement sum is 0xffff with its checksum in place (RFC 1071), also where adding
/// the carry carries again.
#[test]
fn the_outer_checksum_is_right_for_every_length() {
    let Tunnel { source, destination, .. } = tunnel("10.255.255.254");
    let (family, sum, header) = outer::header(source, destination, protocol::GRE).unwrap();
    for length in (0..=u16::MAX).step_by(if cfg!(miri) { 4999 } else { 1 }) {
        for class in [0, 0xb8, 0xff] {
            let mut ip = header.clone();
            family.fix(&mut ip, sum, length, class, ENTROPY);
            let sum: u32 = ip.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
            let sum = (sum & 0xffff) + (sum >> 16);
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "length {length}");
        }
    }
}

/// RFC 6437, section 2: zero would mean that there is no label.
#[test]
fn the_flow_label_follows_the_flow_and_is_never_zero() {
    let template = template("2001:db8:b::5", MTU);
    let label = |entropy: u64| {
        let frame = v4().frame();
        let mut buffer = Buffer::new(&frame, template.overhead());
        template.apply(&Packet::parse(&frame).unwrap(), entropy, &mut buffer).unwrap();
        u32::from_be_bytes(buffer.bytes()[14..18].try_into().unwrap()) & 0xf_ffff
    };
    assert_eq!(label(ENTROPY), label(ENTROPY));
    assert_ne!(label(ENTROPY), label(!ENTROPY));
    assert_eq!(label(u64::MAX), 0xf_ffff);
    assert_ne!(label(0), 0);
    assert_ne!(label(u64::MAX >> 20), 0);
}

/// The MTU bounds the outer IP packet, without tags and Ethernet header.
#[test]
fn the_mtu_is_the_border() {
    for (destination, overhead) in [("10.0.0.5", 24), ("2001:db8:b::5", 44)] {
        for tags in [vec![], vec![(0x8100, 5)], vec![(0x88a8, 5), (0x8100, 6)]] {
            let fits = MTU - overhead - 40;
            let inner = Sample { tags, payload: vec![1; fits.into()], ..v4() };
            let out = apply(&template(destination, MTU), &inner.frame()).unwrap();
            assert_eq!(out.len(), inner.tags.len() * 4 + 14 + usize::from(MTU));
            let more = Sample { payload: vec![1; usize::from(fits) + 1], ..inner };
            assert_eq!(
                apply(&template(destination, MTU), &more.frame()),
                Err(DropReason::ExceedsMtu)
            );
        }
    }
}

/// The length field of the outer header has 16 bits, also for larger MTUs.
#[test]
fn a_packet_beyond_16_bits_of_length_is_too_long() {
    for (destination, overhead) in [("10.0.0.5", 24), ("2001:db8:b::5", 44)] {
        let longest = usize::from(u16::MAX) - overhead - 40;
        let inner = Sample { payload: vec![1; longest], ..v4() };
        assert!(apply(&template(destination, u16::MAX), &inner.frame()).is_ok());
        let inner = Sample { payload: vec![1; longest + 1], ..v4() };
        let out = apply(&template(destination, u16::MAX), &inner.frame());
        assert_eq!(out, Err(DropReason::ExceedsMtu));
    }
}

#[test]
fn padding_does_not_count_towards_the_mtu() {
    let inner = Sample { padding: 2000, ..v4() };
    assert!(apply(&template("10.0.0.5", 64), &inner.frame()).is_ok());
    assert_eq!(apply(&template("10.0.0.5", 63), &inner.frame()), Err(DropReason::ExceedsMtu));
}

#[test]
fn without_headroom_the_packet_stays_a_packet() {
    let inner = Sample { padding: 6, ..v6() };
    let frame = inner.frame();
    let template = template("10.0.0.5", MTU);
    let mut buffer = Buffer::new(&frame, template.overhead() - 1);
    let refused = template.apply(&Packet::parse(&frame).unwrap(), ENTROPY, &mut buffer);
    assert_eq!(refused, Err(DropReason::NoHeadroom));
    assert!(frame.starts_with(buffer.bytes()) && buffer.bytes().len() >= frame.len() - 6);
}

#[test]
fn a_tunnel_has_one_family() {
    let mixed = Tunnel { source: "2001:db8::1".parse().unwrap(), ..tunnel("10.0.0.5") };
    assert_eq!(Template::new(Encapsulation::Gre, &mixed, MTU), None);
}
