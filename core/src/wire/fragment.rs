//! The fields of a fragment: RFC 791 and RFC 8200 section 4.5.
//!
//! [`super::Packet`] only shows whether a frame holds a fragment, which is all that the packet path needs for every
//! frame. The few fragments are read again here.

use zerocopy::FromBytes;

use super::{Family, Fragment, Packet, ipv4, ipv6};

/// The largest IP packet: IPv4's total length, and IPv6's payload length, have 16 bits.
pub const MAX_LENGTH: usize = 65_535;

/// Which packet a fragment is a part of, and which of its bytes the fragment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentFields {
    /// The identification of the packet that it is a part of: 16 bits in IPv4, 32 in IPv6.
    pub identification: u32,
    /// The protocol with which the fragmented part begins. In IPv6 this is the fragment header's next header. It may
    /// be an extension header, and then differs from [`Packet::protocol`] of the first fragment.
    pub protocol: u8,
    /// Offset of its bytes in the fragmented part.
    pub offset: u16,
    /// Number of its bytes of the fragmented part.
    pub length: u16,
    /// Bytes before the fragmented part that count into the length of the whole packet: IPv4's header, IPv6's extension
    /// headers before the fragment header.
    pub before: u16,
    /// Whether further bytes follow in another fragment.
    pub more: bool,
}

impl FragmentFields {
    /// The fields of a fragment that was parsed from this same frame; `None` if the packet is whole.
    #[cold]
    pub fn of(packet: &Packet, frame: &[u8]) -> Option<FragmentFields> {
        if packet.fragment == Fragment::Whole {
            return None;
        }
        let ip = packet.ip(frame)?;
        match packet.family {
            Family::V4 => of_v4(ip),
            Family::V6 => of_v6(ip),
        }
    }

    /// Offset of the next fragment.
    pub fn end(&self) -> usize {
        usize::from(self.offset) + usize::from(self.length)
    }

    /// Whether the whole packet would be longer than a packet can be (the "ping of death").
    pub fn is_too_long(&self) -> bool {
        usize::from(self.before) + self.end() > MAX_LENGTH
    }
}

fn of_v4(ip: &[u8]) -> Option<FragmentFields> {
    let (header, _) = ipv4::Header::ref_from_prefix(ip).ok()?;
    let before = header.header_length();
    Some(FragmentFields {
        identification: header.identification.get().into(),
        protocol: header.protocol,
        offset: header.fragment_offset(),
        length: u16::try_from(ip.len().checked_sub(before)?).ok()?,
        before: u16::try_from(before).ok()?,
        more: header.more_fragments(),
    })
}

/// Reads the first of several fragment headers that makes a fragment: the packet is reassembled by it first. Atomic
/// fragments (RFC 6946) are skipped.
fn of_v6(ip: &[u8]) -> Option<FragmentFields> {
    let (header, payload) = ipv6::Header::ref_from_prefix(ip).ok()?;
    let mut extension = ipv6::find_fragment(header.next_header, payload)?;
    while extension.header.fragment() == Fragment::Whole {
        let behind = payload.get(extension.end..)?;
        let next = ipv6::find_fragment(extension.header.next_header, behind)?;
        extension = ipv6::Extension { end: extension.end + next.end, ..next };
    }
    let ipv6::Extension { header: fragment, end } = extension;
    Some(FragmentFields {
        identification: fragment.identification.get(),
        protocol: fragment.next_header,
        offset: fragment.offset(),
        length: u16::try_from(payload.len().checked_sub(end)?).ok()?,
        before: u16::try_from(end.checked_sub(size_of_val(&fragment))?).ok()?,
        more: fragment.more_fragments(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use super::*;
    use crate::wire::{ethernet, protocol};

    const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

    fn v4(identification: u16, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let header_length = 20 + options.len();
        let mut ip = vec![0x40 | u8::try_from(header_length / 4).unwrap(), 0];
        ip.extend(u16::try_from(header_length + payload.len()).unwrap().to_be_bytes());
        ip.extend(identification.to_be_bytes());
        ip.extend(fragment.to_be_bytes());
        ip.extend([64, protocol::UDP, 0, 0, 198, 51, 100, 1, 203, 0, 113, 10]);
        ip.extend(options);
        let checksum = crate::wire::Checksum::of(&ip).to_be_bytes();
        ip[10..12].copy_from_slice(&checksum);
        [&MACS[..], &ethernet::IPV4.to_be_bytes(), &ip, payload].concat()
    }

    fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut ip = vec![0x60, 0, 0, 0];
        ip.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        ip.extend([next, 64]);
        ip.extend([0x20; 32]);
        [&MACS[..], &ethernet::IPV6.to_be_bytes(), &ip, payload].concat()
    }

    fn extension(next: u8, offset_more: u16, identification: u32) -> [u8; 8] {
        let [a, b] = offset_more.to_be_bytes();
        let [c, d, e, f] = identification.to_be_bytes();
        [next, 0, a, b, c, d, e, f]
    }

    fn fields(frame: &[u8]) -> Option<FragmentFields> {
        FragmentFields::of(&Packet::parse(frame).unwrap(), frame)
    }

    #[test]
    fn of_ipv4() {
        let mut frame = v4(0xabcd, 0x2000 | 185, &[1; 4], &[7; 16]);
        let expected = FragmentFields {
            identification: 0xabcd,
            protocol: 17,
            offset: 1480,
            length: 16,
            before: 24,
            more: true,
        };
        assert_eq!(fields(&frame), Some(expected));
        frame.resize(80, 0);
        assert_eq!(fields(&frame), Some(expected), "padding is no part of it");
        let datagram = [0x9c, 0x40, 0, 53, 0, 8, 0, 0];
        assert_eq!(fields(&v4(1, 0x4000, &[], &datagram)), None, "whole");
        let last = fields(&v4(1, 0x1fff, &[], &[7; 8])).unwrap();
        assert_eq!((last.offset, last.more, last.is_too_long()), (65_528, false, true));
        let fits = fields(&v4(1, 8188, &[], &[7; 11])).unwrap();
        assert_eq!((fits.end(), fits.is_too_long()), (65_515, false));
        assert!(fields(&v4(1, 8188, &[], &[7; 12])).unwrap().is_too_long());
    }

    #[test]
    fn of_ipv6() {
        let options = [44, 0, 0, 0, 0, 0, 0, 0];
        let frame = v6(60, &[&options[..], &extension(17, 1232, 0xdead_beef), &[7; 20]].concat());
        let expected = FragmentFields {
            identification: 0xdead_beef,
            protocol: 17,
            offset: 1232,
            length: 20,
            before: 8,
            more: false,
        };
        assert_eq!(fields(&frame), Some(expected));
        // The first fragment's transport may lie behind further extension headers.
        let datagram = [0x9c, 0x40, 0, 53, 4, 0, 0, 0];
        let options = [17, 0, 0, 0, 0, 0, 0, 0];
        let frame = v6(44, &[&extension(60, 1, 9)[..], &options, &datagram].concat());
        let first = fields(&frame).unwrap();
        assert_eq!((first.protocol, first.offset, first.length, first.more), (60, 0, 16, true));
        assert_eq!(Packet::parse(&frame).map(|packet| packet.protocol), Ok(17));
    }

    #[test]
    fn the_first_header_that_makes_a_fragment_counts() {
        let nested = v6(44, &[&extension(44, 0, 1)[..], &extension(17, 8, 2), &[7; 8]].concat());
        let found = fields(&nested).unwrap();
        assert_eq!((found.identification, found.offset, found.before), (2, 8, 8));
        let datagram = [0x9c, 0x40, 0, 53, 4, 0, 0, 0];
        let nested = v6(44, &[&extension(44, 1, 1)[..], &extension(17, 1, 2), &datagram].concat());
        let found = fields(&nested).unwrap();
        assert_eq!((found.identification, found.protocol, found.length), (1, 44, 16));
    }

    proptest! {
        #[test]
        fn every_fragment_has_an_offset_and_a_length(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            offset_more: u16,
        ) {
            let frame = v6(44, &[&extension(59, offset_more, 5)[..], bytes.as_bytes()].concat());
            let packet = Packet::parse(&frame).unwrap();
            let fields = FragmentFields::of(&packet, &frame);
            prop_assert_eq!(fields.is_none(), packet.fragment == Fragment::Whole);
            if let Some(fields) = fields {
                prop_assert_eq!(usize::from(fields.length), bytes.len());
                prop_assert_eq!(fields.offset, offset_more & 0xfff8);
            }
        }
    }
}
