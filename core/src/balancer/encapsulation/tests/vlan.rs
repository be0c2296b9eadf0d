//! Templates with a VLAN tag of their own: every frame leaves with that tag alone.

use etherparse::SlicedPacket;

use super::*;

const VLAN: u16 = 200;
/// What a frame with the tag of [`VLAN`] has instead of its own tags.
const TAG: (u16, u16) = (0x8100, VLAN);

/// Tags that frames come with, also ones that only differ from [`TAG`] in the priority.
fn received() -> [Vec<(u16, u16)>; 5] {
    [
        vec![],
        vec![(0x8100, 0xb064)],
        vec![(0x8100, 0xa000 | VLAN)],
        vec![(0x88a8, 0x6001), (0x8100, 0x0fff)],
        vec![(0x8100, 1), (0x8100, VLAN)],
    ]
}

/// The frame that leaves, made with just the headroom that it needs.
fn apply_with(template: &Template, sample: &Sample) -> Result<Vec<u8>, DropReason> {
    apply_in(template, sample, (template.overhead() + 4).saturating_sub(4 * sample.tags.len()))
}

fn apply_in(template: &Template, sample: &Sample, headroom: usize) -> Result<Vec<u8>, DropReason> {
    let frame = sample.frame();
    let mut buffer = Buffer::new(&frame, headroom);
    template.apply(&Packet::parse(&frame).unwrap(), ENTROPY, &mut buffer)?;
    Ok(buffer.bytes().to_vec())
}

/// IEEE 802.1Q-2018, section 9.6: tag protocol 0x8100, priority 0, not drop eligible, VLAN 200.
#[test]
fn gre_in_a_vlan_known_answer() {
    let template = template("10.0.0.5", MTU).with_vlan(Some(VLAN));
    let inner =
        hex("450000280001000040061490c6336401cb00710a9c40005000000001000000005002faf0b2200000");
    let outer = hex("4500004000004000402f6e89c00002010a00000500000800");
    for ethernet in [
        "0200000000010200000000fe0800",
        "0200000000010200000000fe8100b0640800",
        "0200000000010200000000fe88a8600181000fff0800",
    ] {
        let frame = [hex(ethernet), inner.clone()].concat();
        let mut buffer = Buffer::new(&frame, 64);
        template.apply(&Packet::parse(&frame).unwrap(), ENTROPY, &mut buffer).unwrap();
        let headers = hex("0200000000fe020000000001810000c80800");
        assert_eq!(buffer.bytes(), [&headers[..], &outer, &inner].concat(), "{ethernet}");
    }
}

/// The frame is the same as that of a template without a tag, if the packet had come with just this tag.
#[test]
fn every_encapsulation_replaces_every_tag() {
    for &(name, encapsulation) in Encapsulation::NAMES {
        for destination in ["10.0.0.5", "2001:db8:b::5"] {
            let untagged =
                Template::with(encapsulation, &settings(), &tunnel(destination), MTU).unwrap();
            let tagged = untagged.clone().with_vlan(Some(VLAN));
            for (tags, inner) in received().into_iter().flat_map(|tags| {
                [v4(), v6()].map(|inner| (tags.clone(), Sample { padding: 9, ..inner }))
            }) {
                let came = Sample { tags, ..inner.clone() };
                let context = format!("{name} to {destination}: {:?}", came.tags);
                let out = apply_with(&tagged, &came).expect(&context);
                let same = Sample { tags: vec![TAG], ..inner };
                // Padding up to the least length stays in front of a frame that is only readdressed.
                let expected = apply_in(&untagged, &same, 128).unwrap();
                let end = out.len().min(expected.len());
                assert_eq!(out[..end], expected[..end], "{context}");
                assert!(name == "l2" || out.len() == expected.len(), "{context}");
                let seen = SlicedPacket::from_ethernet(&out).expect(&context);
                let vlans: Vec<u16> = seen.vlan_ids().iter().map(|id| id.value()).collect();
                assert_eq!(vlans, [VLAN], "{context}");
                assert_eq!((&out[..6], &out[6..12]), (&NEXT_HOP[..], &SOURCE_MAC[..]));
                assert!(Packet::parse(&out).is_ok(), "{context}");
            }
        }
    }
}

#[test]
fn the_tag_does_not_count_towards_the_mtu() {
    for &(name, encapsulation) in Encapsulation::NAMES {
        let template = Template::with(encapsulation, &settings(), &tunnel("10.0.0.5"), MTU)
            .unwrap()
            .with_vlan(Some(VLAN));
        assert_eq!(template.mtu(), MTU);
        for tags in received() {
            let fits = usize::from(MTU) - template.overhead() - 40;
            let inner = Sample { tags, payload: vec![1; fits], ..v4() };
            let out = apply_with(&template, &inner).unwrap();
            assert_eq!(out.len(), 18 + usize::from(MTU), "{name}");
            let more = Sample { payload: vec![1; fits + 1], ..inner };
            let frame = more.frame();
            let mut buffer = Buffer::new(&frame, 128);
            let packet = Packet::parse(&frame).unwrap();
            let refused = template.apply(&packet, ENTROPY, &mut buffer);
            assert_eq!(refused, Err(DropReason::ExceedsMtu), "{name}");
            assert_eq!(buffer.bytes(), frame, "{name}: a report must quote the packet as it came");
        }
    }
}

#[test]
fn without_headroom_for_the_tag_the_packet_is_refused() {
    for (name, encapsulation) in [("gre", Encapsulation::Gre), ("l2", Encapsulation::L2)] {
        let template =
            Template::new(encapsulation, &tunnel("10.0.0.5"), MTU).unwrap().with_vlan(Some(VLAN));
        let needed = template.overhead() + 4;
        assert!(apply_in(&template, &v4(), needed).is_ok(), "{name}");
        let refused = apply_in(&template, &v4(), needed - 1);
        assert_eq!(refused, Err(DropReason::NoHeadroom), "{name}");
    }
}

/// The mark that forbids a second redirection (RFC 1701, bits 5 to 7) stays.
#[test]
fn a_redirected_fragment_gets_the_tag_too() {
    let redirecting = Template::redirecting(&tunnel("10.0.0.5"), MTU).unwrap();
    let out = apply_with(&redirecting.with_vlan(Some(VLAN)), &v4()).unwrap();
    assert_eq!(out[12..18], [0x81, 0, 0, 200, 8, 0]);
    assert_eq!(out[38..42], [1, 0, 8, 0]);
}
