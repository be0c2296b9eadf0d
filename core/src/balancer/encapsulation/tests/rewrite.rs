//! Rewrites against the templates that they are compiled from: for every packet the same bytes, or nothing done.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::balancer::sample::with_hops;
use crate::wire::plain;

const TAGS: [&[(u16, u16)]; 4] =
    [&[], &[(0x8100, 0xb064)], &[(0x88a8, 7)], &[(0x88a8, 0x6001), (0x8100, 0x0fff)]];

fn samples() -> impl Strategy<Value = Sample> {
    let ends = (any::<u32>(), any::<u16>(), any::<u32>(), any::<bool>(), any::<bool>());
    let rest = (any::<u8>(), any::<u8>(), select(&TAGS[..]), vec(any::<u8>(), 0..80), 0usize..60);
    (ends, rest).prop_map(|((from, port, to, is_v6, is_tcp), rest)| {
        let (flags, traffic_class, tags, payload, padding) = rest;
        let address = |bits: u32| match is_v6 {
            true => IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(bits))),
            false => IpAddr::from(Ipv4Addr::from_bits(bits)),
        };
        Sample {
            tags: tags.to_vec(),
            source: (address(from), port).into(),
            destination: (address(to), 80).into(),
            protocol: if is_tcp { protocol::TCP } else { protocol::UDP },
            flags,
            traffic_class,
            payload,
            padding,
            ..v4()
        }
    })
}

fn parameters() -> impl Strategy<Value = Parameters> {
    let key = select(&[None, Some(GreKey::Flow), Some(GreKey::Fixed(0x0102_0304))][..]);
    let checksum = select(&[None, Some(UdpChecksum::Zero), Some(UdpChecksum::Compute)][..]);
    (key, checksum, select(&[None, Some(4242)][..])).prop_map(
        |(gre_key, udp_checksum, udp_port)| Parameters {
            gre_key,
            udp_checksum,
            udp_port,
            ..settings()
        },
    )
}

type Way = fn(&Rewrite, plain::PlainHeaders, u64, &mut Buffer) -> Option<()>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 4096 }))]

    #[test]
    fn a_rewrite_does_what_its_template_does(
        sample in samples(),
        parameters in parameters(),
        (name, encapsulation) in select(Encapsulation::NAMES),
        destination in select(&["10.0.0.5", "2001:db8:b::5"][..]),
        prefix in select(&[32_u8, 31, 24, 16, 1][..]),
        vlan in select(&[None, Some(200)][..]),
        mtu in prop_oneof![Just(1500), 28_u16..200],
        hops in select(&[0_u8, 1, 2, 64, 255][..]),
        entropy: u64,
        headroom in prop_oneof![3 => Just(128_usize), 1 => 0_usize..128],
    ) {
        let mut frame = sample.frame();
        let packet = Packet::parse(&frame).unwrap();
        with_hops(&mut frame, hops);
        let Some(headers) = plain::read(&frame) else {
            // The reader of plain packets wants as many bytes as TCP has.
            let least = usize::from(packet.l3) + 40 + if packet.family == Family::V6 { 14 } else { 0 };
            prop_assert!(frame.len() < least);
            return Ok(());
        };
        let source = if destination.contains(':') { "2001:db8::1" } else { "128.0.0.0" };
        let tunnel = Tunnel { source: source.parse().unwrap(), ..tunnel(destination) };
        let template = Template::with(encapsulation, &parameters, &tunnel, mtu).unwrap();
        let template = template.with_source_prefix(prefix).with_vlan(vlan);
        let Some(rewrite) = Rewrite::compile(&template) else {
            let is_udp = encapsulation.uses(Setting::UdpPort);
            let computes = parameters.udp_checksum == Some(UdpChecksum::Compute);
            let keyed = parameters.gre_key == Some(GreKey::Flow) && encapsulation.uses(Setting::GreKey);
            prop_assert!(is_udp && (keyed || computes && destination.contains(':')), "{}", name);
            return Ok(());
        };
        let (mut ours, mut theirs) = (Buffer::new(&frame, headroom), Buffer::new(&frame, headroom));
        let rewritten = rewrite.apply(headers, entropy, &mut ours);
        if rewritten.is_none() {
            prop_assert_eq!(&ours, &Buffer::new(&frame, headroom), "a refusal changes nothing");
            let no_room = headroom + usize::from(packet.l3) < crate::balancer::frame::BEFORE;
            let is_last_hop = !encapsulation.is_tunnel() && hops < 2;
            let is_long = !template.fits(&packet);
            prop_assert!(no_room || is_last_hop || is_long, "{}: {:?}", name, packet);
            return Ok(());
        }
        prop_assert_eq!(template.apply(&packet, entropy, &mut theirs), Ok(()));
        prop_assert_eq!(ours.bytes(), theirs.bytes(), "{}", name);
        let quicker = |class, way: Way| {
            let mut buffer = Buffer::new(&frame, headroom);
            let applies = rewrite.class() <= class;
            applies.then(|| (way(&rewrite, headers, entropy, &mut buffer), buffer))
        };
        for done in [
            quicker(Class::V4, InV4::apply),
            quicker(Class::GreV4, TaggedGreV4::apply),
            quicker(Class::GreV4, GreV4::apply).filter(|_| headers.tags == 0),
        ] {
            prop_assert!(done.is_none_or(|done| done == (Some(()), ours.clone())), "{}", name);
        }
    }
}

/// Every encapsulation has a rewrite with the settings that nearly everybody has.
#[test]
fn every_encapsulation_has_a_rewrite() {
    for &(name, encapsulation) in Encapsulation::NAMES {
        for destination in ["10.0.0.5", "2001:db8:b::5"] {
            let template = Template::with(encapsulation, &settings(), &tunnel(destination), MTU);
            let template = template.unwrap();
            for template in [template.clone().with_source_prefix(24), template.with_vlan(Some(7))] {
                assert!(Rewrite::compile(&template).is_some(), "{name} to {destination}");
            }
        }
    }
}
