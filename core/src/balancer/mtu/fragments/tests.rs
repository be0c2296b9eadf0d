use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::balancer::sample::Sample;

/// Scapy: UDP with the options router alert (copied), record route (not copied) and end of list.
const WHOLE: &[u8] = b"\x48\x04\0\x64\0\x07\0\0\x40\x11\x72\x33\xc6\x33\x64\x01\xcb\0\x71\x0a\
    \x94\x04\0\0\x07\x07\x04\0\0\0\0\0\x9c\x40\0\x35\0\x44\x93\x29";
const FIRST: &[u8] = b"\x48\x04\0\x40\0\x07\x20\0\x40\x11\x52\x57\xc6\x33\x64\x01\xcb\0\x71\x0a\
    \x94\x04\0\0\x07\x07\x04\0\0\0\0\0";
const LATER: &[u8] = b"\x46\x04\0\x3c\0\x07\0\x04\x40\x11\x7f\x5e\xc6\x33\x64\x01\xcb\0\x71\x0a\
    \x94\x04\0\0";

fn fragment(frame: &[u8], limit: u16) -> Result<Vec<Vec<u8>>, DropReason> {
    let packet = Packet::parse(frame).unwrap();
    let fragments = Fragments::new(&packet, frame, limit)?;
    Ok(fragments
        .map(|fragment| [fragment.header(), &frame[fragment.payload.clone()]].concat())
        .collect())
}

#[test]
fn the_fragments_of_scapy() {
    let data: Vec<u8> = (0..60).collect();
    let frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0], WHOLE, &data].concat();
    let fragments = fragment(&frame, 68).unwrap();
    assert_eq!(fragments.len(), 2);
    assert_eq!(fragments[0], [FIRST, &frame[46..78]].concat());
    assert_eq!(fragments[1], [LATER, &frame[78..]].concat());
    // Padding is no payload.
    assert_eq!(fragment(&[&frame[..], &[0xa5; 5]].concat(), 68).unwrap(), fragments);
}

#[test]
fn a_packet_that_fits_is_one_fragment_and_unchanged() {
    for sample in [
        Sample::udp("198.51.100.1:9", "203.0.113.10:53"),
        Sample {
            fragment: ipv4::DONT_FRAGMENT,
            ..Sample::udp("198.51.100.1:9", "203.0.113.10:53")
        },
        Sample {
            protocol: 1,
            fragment: 0x2003,
            options: vec![7, 3, 4, 0],
            ..Sample::udp("198.51.100.1:9", "203.0.113.10:53")
        },
    ] {
        let length = u16::try_from(sample.ip().len()).unwrap();
        assert_eq!(fragment(&sample.frame(), length), Ok(vec![sample.ip()]));
    }
}

#[test]
fn packets_that_must_not_be_fragmented() {
    let mut sample = Sample::udp("198.51.100.1:9", "203.0.113.10:53");
    sample.payload = vec![1; 100];
    assert!(fragment(&sample.frame(), 127).is_ok());
    assert!(fragment(&sample.frame(), 28).is_ok());
    assert_eq!(fragment(&sample.frame(), 27), Err(DropReason::ExceedsMtu), "no room for 8 bytes");
    sample.fragment = ipv4::DONT_FRAGMENT;
    assert_eq!(fragment(&sample.frame(), 127), Err(DropReason::ExceedsMtu));
    let mut v6 = Sample::udp("[2001:db8:c::1]:9", "[2001:db8::10]:53");
    v6.payload = vec![1; 100];
    assert_eq!(fragment(&v6.frame(), 127), Err(DropReason::ExceedsMtu));
    let beyond = Sample { fragment: 0x1fff, payload: vec![1; 16], ..sample };
    assert_eq!(fragment(&beyond.frame(), 30), Err(DropReason::FragmentMalformed));
}

/// The fragments of a packet that this node sends itself.
fn fragment_own(frame: &[u8], limit: u16) -> Result<Vec<Vec<u8>>, DropReason> {
    let packet = Packet::parse(frame).unwrap();
    let mut frame = frame.to_vec();
    let fragments = Fragments::of_own(&packet, &mut frame, limit, 0xdead_beef)?;
    Ok(fragments
        .map(|fragment| [fragment.header(), &frame[fragment.payload.clone()]].concat())
        .collect())
}

#[test]
fn the_source_clears_dont_fragment() {
    let mut sample = Sample::udp("198.51.100.1:9", "203.0.113.10:53");
    sample.payload = vec![1; 100];
    assert_eq!(
        fragment_own(&sample.frame(), 68),
        fragment(&sample.frame(), 68),
        "it has an identification"
    );
    let word = |fragment: &[u8], at: usize| u16::from_be_bytes([fragment[at], fragment[at + 1]]);
    let words = |fragments: Vec<Vec<u8>>| -> Vec<_> {
        fragments
            .iter()
            .map(|fragment| (fragment.len(), word(fragment, 4), word(fragment, 6)))
            .collect()
    };
    sample.fragment = ipv4::DONT_FRAGMENT;
    let atomic = [(68, 0xbeef, 0x2000), (68, 0xbeef, 0x2006), (32, 0xbeef, 12)];
    assert_eq!(words(fragment_own(&sample.frame(), 68).unwrap()), atomic);
    // A fragment keeps the identification that its neighbours have.
    sample.fragment = ipv4::DONT_FRAGMENT | ipv4::MORE_FRAGMENTS | 5;
    let later = [(68, 1, 0x2005), (68, 1, 0x200b), (32, 1, 0x2011)];
    assert_eq!(words(fragment_own(&sample.frame(), 68).unwrap()), later);
}

/// The headers of scapy: `IPv6(plen=..)/IPv6ExtHdrFragment(nh=17, id=0xdeadbeef, offset=.., m=..)`.
#[test]
fn the_source_fragments_ipv6() {
    let mut sample = Sample::udp("[2001:db8:c::1]:9", "[2001:db8::10]:53");
    sample.payload = (0..100).collect();
    let ip = sample.ip();
    let fragments = fragment_own(&sample.frame(), 111).unwrap();
    let expected = [(0, 56, 1), (56, 108, 56)].map(|(from, to, offset_more): (u8, u8, u8)| {
        let plen = [0, to - from + 8];
        let fragment = [17, 0, 0, offset_more, 0xde, 0xad, 0xbe, 0xef];
        let payload = &ip[40 + usize::from(from)..40 + usize::from(to)];
        [&ip[..4], &plen, &[44], &ip[7..40], &fragment, payload].concat()
    });
    assert_eq!(fragments, expected);
    assert_eq!(
        fragment_own(&sample.frame(), 55),
        Err(DropReason::ExceedsMtu),
        "no room for 8 bytes"
    );

    // A fragment is fragmented again under its own identification.
    sample.extension = ipv6::FRAGMENT;
    sample.extensions = vec![17, 0, 0x12, 0x09, 0, 0, 0, 7];
    sample.payload.truncate(96);
    let fragments = fragment_own(&sample.frame(), 104).unwrap();
    let headers: Vec<&[u8]> = fragments.iter().map(|fragment| &fragment[40..48]).collect();
    let expected = [[17, 0, 0x12, 0x09, 0, 0, 0, 7], [17, 0, 0x12, 0x41, 0, 0, 0, 7]];
    assert_eq!(headers, expected);
    assert_eq!(fragments.iter().map(Vec::len).collect::<Vec<_>>(), [104, 96]);

    // This node sends no other extension headers.
    sample.extension = ipv6::DESTINATION_OPTIONS;
    sample.extensions = vec![17, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(fragment_own(&sample.frame(), 104), Err(DropReason::ExceedsMtu));
}

/// Reassembles consecutive fragments: their offset, their bytes, and whether they end the packet.
fn joined(fragments: &[Vec<u8>]) -> (usize, Vec<u8>, bool) {
    let (mut start, mut bytes, mut ends) = (None, Vec::new(), false);
    for fragment in fragments {
        let slice = etherparse::Ipv4Slice::from_slice(fragment).unwrap();
        let header = slice.header();
        assert_eq!(usize::from(header.total_len()), fragment.len());
        let offset = usize::from(header.fragments_offset().byte_offset());
        let start = *start.get_or_insert(offset);
        assert_eq!(offset, start + bytes.len());
        assert!(!ends, "a fragment behind the last");
        ends = !header.more_fragments();
        bytes.extend(slice.payload().payload);
    }
    (start.unwrap(), bytes, ends)
}

proptest! {
    #[test]
    fn the_fragments_together_are_the_packet(
        length in 0usize..3000,
        limit in 68u16..1600,
        offset in prop_oneof![Just(0u16), 0u16..7000],
        more: bool,
        options in vec(prop_oneof![Just(0u8), Just(1), Just(4), Just(0x94), Just(7), any::<u8>()], 0..40),
    ) {
        let mut sample = Sample::udp("198.51.100.1:9", "203.0.113.10:53");
        // The parser reads no transport header of this protocol.
        sample.protocol = 132;
        let length = if more { length / 8 * 8 } else { length };
        sample.payload = (0..251).cycle().take(length).collect();
        sample.options = options.as_chunks::<4>().0.iter().flatten().copied().collect();
        sample.fragment = offset | if more { ipv4::MORE_FRAGMENTS } else { 0 };
        let frame = sample.frame();
        let fragments = fragment(&frame, limit).unwrap();
        for (i, fragment) in fragments.iter().enumerate() {
            prop_assert!(fragment.len() <= usize::from(limit));
            let header = usize::from(fragment[0] & 15) * 4;
            prop_assert!(Checksum::is_valid(&fragment[..header]));
            prop_assert_eq!(&fragment[4..6], &frame[18..20]);
            prop_assert_eq!(&fragment[8..10], &frame[22..24]);
            // Only the last one has room for 8 more bytes.
            prop_assert!(i + 1 == fragments.len() || fragment.len() + 8 > usize::from(limit));
        }
        prop_assert_eq!(joined(&fragments), (usize::from(offset) * 8, sample.payload, !more));
    }
}
