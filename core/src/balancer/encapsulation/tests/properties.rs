//! Any packet in any encapsulation: etherparse reads the frame that leaves, and finds the packet that came.

use etherparse::{
    EtherType, Ethernet2Slice, NetSlice, PacketBuilder, SlicedPacket, TransportSlice,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::wire::{Checksum, Fragment};

/// A whole packet with right checksums.
fn whole() -> impl Strategy<Value = Vec<u8>> {
    let ends = (any::<bool>(), any::<bool>(), any::<[u8; 16]>(), any::<[u8; 16]>());
    (ends, any::<u16>(), any::<u16>(), vec(any::<u8>(), 0..300)).prop_map(
        |((v6, tcp, source, destination), from, to, payload)| {
            let [mut a, mut b] = [[0; 4]; 2];
            a.copy_from_slice(&source[..4]);
            b.copy_from_slice(&destination[..4]);
            let builder = PacketBuilder::ethernet2(NEXT_HOP, SOURCE_MAC);
            let builder = match v6 {
                true => builder.ipv6(source, destination, 64),
                false => builder.ipv4(a, b, 64),
            };
            let mut out = Vec::new();
            match tcp {
                true => builder.tcp(from, to, 7, 1000).write(&mut out, &payload),
                false => builder.udp(from, to).write(&mut out, &payload),
            }
            .unwrap();
            out
        },
    )
}

/// A packet without a transport checksum from which its sum would follow: the outer checksum must read all of it.
fn without_known_sum() -> impl Strategy<Value = Vec<u8>> {
    let changed = |sample: &dyn Fn(Vec<u8>) -> Sample, data| sample(data).frame();
    (0..6, vec(any::<u8>(), 0..300)).prop_map(move |(kind, data)| {
        let sample = |payload: Vec<u8>| match kind {
            // UDP without a checksum.
            0 => Sample { payload, ..Sample::udp("198.51.100.1:4", "203.0.113.10:53") },
            1 => Sample { payload, ..v6() },
            // Fragments.
            2 => Sample { payload, fragment: 0x2000, ..v4() },
            3 => Sample { payload, fragment: 0x2003, ..v4() },
            // Other protocols.
            4 => Sample { payload, protocol: protocol::ESP, ..v6() },
            _ => Sample { payload, protocol: protocol::ICMP, ..v4() },
        };
        changed(&sample, data)
    })
}

/// A packet with options or extension headers, and a right transport checksum.
fn with_extras() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), vec(any::<u8>(), 0..50)).prop_map(|(is_v6, payload)| {
        let sample = match is_v6 {
            true => Sample {
                extension: 0,
                extensions: vec![6, 0, 1, 4, 0, 0, 0, 0],
                payload,
                ..Sample::tcp("[2001:db8:c::1]:4", "[2001:db8::10]:80", tcp::ACK)
            },
            false => Sample { options: vec![0x94, 4, 0, 0], payload, ..v4() },
        };
        let mut frame = sample.frame();
        let packet = Packet::parse(&frame).unwrap();
        let segment = packet.payload(&frame).unwrap();
        let pseudo = match (packet.addresses_v4(&frame), packet.addresses_v6(&frame)) {
            (Some((from, to)), _) => {
                Checksum::pseudo_v4(from, to, 6, u16::try_from(segment.len()).unwrap())
            }
            (_, Some((from, to))) => {
                Checksum::pseudo_v6(from, to, 6, u32::try_from(segment.len()).unwrap())
            }
            _ => unreachable!("one of the two"),
        };
        let checksum = pseudo.add_bytes(segment).finish();
        let at = usize::from(packet.l4) + 16;
        frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        frame
    })
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => whole(), 1 => without_known_sum(), 1 => with_extras()]
}

fn any_parameters() -> impl Strategy<Value = Parameters> {
    let key = prop_oneof![
        Just(None),
        Just(Some(GreKey::Flow)),
        any::<u32>().prop_map(|key| Some(GreKey::Fixed(key)))
    ];
    (key, any::<bool>(), 16..1_u32 << 20, 0..1_u32 << 24).prop_map(
        |(gre_key, computes, label, vni)| Parameters {
            gre_key,
            udp_checksum: computes.then_some(UdpChecksum::Compute),
            label: Some(label),
            vni: Some(vni),
            ..settings()
        },
    )
}

/// Checks the header of the encapsulation itself, which is at the front of `behind`, and returns the rest.
fn strip<'a>(name: &str, parameters: &Parameters, behind: &'a [u8], entropy: u64) -> &'a [u8] {
    let key = match parameters.gre_key {
        None => None,
        Some(GreKey::Fixed(key)) => Some(key),
        Some(GreKey::Flow) => Some(u32::try_from(entropy >> 32).unwrap()),
    };
    let entry = (parameters.label.unwrap() << 12 | 0x140).to_be_bytes();
    match name {
        "gre" | "gre-udp" | "mpls-gre" => {
            let gre = crate::wire::gre::parse(behind).unwrap();
            let rest = &behind[gre.length..];
            if name == "mpls-gre" {
                assert_eq!((gre.key, gre.protocol, &rest[..4]), (None, 0x8847, &entry[..]));
                return &rest[4..];
            }
            let version = if gre.protocol == 0x0800 { 4 } else { 6 };
            assert_eq!((gre.key, rest[0] >> 4), (key, version));
            rest
        }
        "ipip" | "gue" => behind,
        "gue0" => {
            let number = if behind[4] >> 4 == 4 { 4 } else { 41 };
            assert_eq!(behind[..4], [0, number, 0, 0]);
            &behind[4..]
        }
        "vxlan" => {
            let vni = parameters.vni.unwrap().to_be_bytes();
            assert_eq!(behind[..8], [8, 0, 0, 0, vni[1], vni[2], vni[3], 0]);
            // Only Ethernet: the inner packet may be incomplete, and etherparse would refuse it.
            let ethernet = Ethernet2Slice::from_slice_without_fcs(&behind[8..]).unwrap();
            assert_eq!(ethernet.source(), parameters.inner_source_mac.unwrap());
            assert_eq!(ethernet.destination(), parameters.inner_destination_mac.unwrap());
            let ipv4 = ethernet.ether_type() == EtherType::IPV4;
            assert_eq!(ipv4, behind[22] >> 4 == 4);
            &behind[22..]
        }
        "geneve" => {
            let vni = parameters.vni.unwrap().to_be_bytes();
            let ethertype = if behind[8] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
            assert_eq!(behind[..4], [0, 0, ethertype[0], ethertype[1]]);
            assert_eq!(behind[4..8], [vni[1], vni[2], vni[3], 0]);
            &behind[8..]
        }
        "mpls-udp" => {
            assert_eq!(behind[..4], entry);
            &behind[4..]
        }
        name => panic!("strip() has no arm for the encapsulation {name}"),
    }
}

proptest! {
    #[test]
    fn what_leaves_is_what_came(
        frame in any_frame(),
        parameters in any_parameters(),
        (name, encapsulation) in select(Encapsulation::NAMES),
        destination in select(&["10.0.0.5", "2001:db8:b::5"][..]),
        prefix in 24_u8..=32,
        entropy: u64,
    ) {
        prop_assume!(name != "l2");
        let packet = Packet::parse(&frame).unwrap();
        let source: IpAddr =
            if destination.contains(':') { "2001:db8::1" } else { "192.0.2.0" }.parse().unwrap();
        let tunnel = Tunnel { source, ..tunnel(destination) };
        let template = Template::with(encapsulation, &parameters, &tunnel, MTU)
            .unwrap()
            .with_source_prefix(prefix);
        let mut buffer = Buffer::new(&frame, template.overhead());
        template.apply(&packet, entropy, &mut buffer).unwrap();
        let out = buffer.bytes();
        prop_assert_eq!(out.len(), packet.end as usize + template.overhead());

        let inner = packet.ip(&frame).unwrap();
        let sliced = SlicedPacket::from_ethernet(out).unwrap();
        let behind = match sliced.net.as_ref().unwrap() {
            NetSlice::Ipv4(ip) => {
                let header = ip.header().to_header();
                prop_assert_eq!(header.calc_header_checksum(), header.header_checksum);
                prop_assert_eq!(header.total_len as usize, out.len() - 14);
                prop_assert!(header.dont_fragment);
                prop_assert_eq!(IpAddr::from(header.destination), tunnel.destination);
                prop_assert_eq!(header.source[..3].to_vec(), vec![192, 0, 2]);
                prop_assert!(u32::from(header.source[3]) < 1 << (32 - prefix));
                ip.payload().payload
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header().to_header();
                prop_assert_eq!(header.payload_length as usize, out.len() - 54);
                prop_assert!(header.flow_label.value() != 0);
                prop_assert_eq!(IpAddr::from(header.source), tunnel.source);
                ip.payload().payload
            }
            NetSlice::Arp(_) => panic!("no ARP"),
        };
        let behind = match sliced.transport {
            Some(TransportSlice::Udp(_)) if encapsulation.uses(Setting::UdpPort) => {
                let (header, data) = behind.split_at(8);
                prop_assert!(header[0] >= 0xc0);
                prop_assert_eq!(&header[4..6], &u16::try_from(behind.len()).unwrap().to_be_bytes());
                let compute = parameters.udp_checksum == Some(UdpChecksum::Compute);
                if compute && destination.contains(':') {
                    prop_assert_ne!(&header[6..], &[0, 0]);
                    let sum = Checksum::pseudo_v6(
                        out[22..38].try_into().unwrap(),
                        out[38..54].try_into().unwrap(),
                        protocol::UDP,
                        u32::try_from(behind.len()).unwrap(),
                    );
                    prop_assert_eq!(sum.add_bytes(behind).finish(), 0);
                } else {
                    prop_assert_eq!(&header[6..], &[0, 0]);
                }
                data
            }
            _ => {
                prop_assert!(!encapsulation.uses(Setting::UdpPort));
                behind
            }
        };
        prop_assert_eq!(strip(name, &parameters, behind, entropy), inner);
    }

    /// The samples are of the kinds that the property above needs.
    #[test]
    fn samples_are_of_their_kinds(whole in whole(), without_known_sum in without_known_sum(), extras in with_extras()) {
        let whole = Packet::parse(&whole).unwrap();
        prop_assert!(whole.fragment == Fragment::Whole && [6, 17].contains(&whole.protocol));
        let packet = Packet::parse(&without_known_sum).unwrap();
        let at = usize::from(packet.l4);
        prop_assert!(
            packet.fragment != Fragment::Whole
                || ![6, 17].contains(&packet.protocol)
                || without_known_sum[at + 6..at + 8] == [0, 0]
        );
        let packet = Packet::parse(&extras).unwrap();
        let plain = if packet.family == Family::V4 { 20 } else { 40 };
        prop_assert!(packet.l4 - packet.l3 > plain);
    }
}
