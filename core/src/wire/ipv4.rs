//! IPv4, RFC 791: 20 bytes and up to 40 of options.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Checksum, Fragment};

/// Length of the header without options.
pub const LENGTH: usize = 20;

/// The "don't fragment" bit of [`Header::fragment`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// The "more fragments" bit of [`Header::fragment`].
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset's bits of [`Header::fragment`], in units of 8 bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

/// Bit of an option's type: the option is copied into every fragment.
pub const COPIED: u8 = 0x80;
/// Option: the packet passes certain hosts.
pub const LOOSE_ROUTE: u8 = 131;
/// Option: the packet passes certain hosts and no others.
pub const STRICT_ROUTE: u8 = 137;

/// The options, each with its type and all of its bytes, up to the end of the list or to a malformed one.
pub fn options(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, length) = match *rest {
            [] | [0, ..] => return None,
            [1, ..] => (1, 1),
            [kind, length, ..] if length >= 2 => (kind, usize::from(length)),
            _ => return None,
        };
        let (option, behind) = rest.split_at_checked(length)?;
        rest = behind;
        Some((kind, option))
    })
}

/// The fixed part; options follow it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Version (4 bits) and header length in words of 4 bytes (4 bits).
    pub version_ihl: u8,
    /// DSCP (6 bits) and ECN (2 bits).
    pub traffic_class: u8,
    /// Header and payload, in bytes.
    pub total_length: U16,
    /// Which packet a fragment belongs to; without meaning in whole packets (RFC 6864).
    pub identification: U16,
    /// Flags (3 bits) and fragment offset (13 bits).
    pub fragment: U16,
    /// Time to live.
    pub ttl: u8,
    /// The protocol that follows, see [`super::protocol`].
    pub protocol: u8,
    /// Over the header with its options.
    pub checksum: U16,
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

const _: () = assert!(size_of::<Header>() == LENGTH);

impl Header {
    /// The version; 4 in a valid header.
    pub const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Length with options in bytes, as the header has it: 0 to 60.
    pub const fn header_length(&self) -> usize {
        (self.version_ihl as usize & 0xf) * 4
    }

    /// Fragment offset in bytes.
    pub const fn fragment_offset(&self) -> u16 {
        (self.fragment.get() & OFFSET_MASK) * 8
    }

    /// Whether later fragments follow.
    pub const fn more_fragments(&self) -> bool {
        self.fragment.get() & MORE_FRAGMENTS != 0
    }

    /// Whether routers must not fragment the packet.
    pub const fn dont_fragment(&self) -> bool {
        self.fragment.get() & DONT_FRAGMENT != 0
    }

    /// Whether the checksum is right for this header with its `options`.
    #[inline]
    pub fn is_checksum_valid(&self, options: &[u8]) -> bool {
        let sum = Checksum::new().add_bytes(self.as_bytes());
        let sum = if options.is_empty() { sum } else { sum.add_bytes(options) };
        sum.finish() == 0
    }

    /// The part of a packet that this is.
    #[inline]
    pub const fn part(&self) -> Fragment {
        match self.fragment.get() & (OFFSET_MASK | MORE_FRAGMENTS) {
            0 => Fragment::Whole,
            MORE_FRAGMENTS => Fragment::First,
            _ => Fragment::Later,
        }
    }

    /// Fills in the checksum of a header without options.
    pub fn with_checksum(mut self) -> Header {
        self.checksum = U16::ZERO;
        self.checksum = U16::new(Checksum::of(self.as_bytes()));
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The outer header of GRE over IPv4 of the vectors, section 1.4.
    const OUTER: [u8; 20] = *b"\x45\0\0\x40\0\0\x40\0\x40\x2f\x6e\x89\xc0\0\x02\x01\x0a\0\0\x05";

    fn outer() -> Header {
        Header {
            version_ihl: 0x45,
            traffic_class: 0,
            total_length: U16::new(64),
            identification: U16::ZERO,
            fragment: U16::new(DONT_FRAGMENT),
            ttl: 64,
            protocol: 47,
            checksum: U16::ZERO,
            source: [192, 0, 2, 1],
            destination: [10, 0, 0, 5],
        }
    }

    #[test]
    fn builds_the_outer_header() {
        assert_eq!(outer().with_checksum().as_bytes(), OUTER);
    }

    #[test]
    fn reads_the_outer_header() {
        let header = Header::read_from_bytes(&OUTER).unwrap();
        assert_eq!(header, outer().with_checksum());
        assert_eq!((header.version(), header.header_length()), (4, 20));
        assert!(header.dont_fragment() && !header.more_fragments());
        assert_eq!(header.part(), Fragment::Whole);
        assert!(header.is_checksum_valid(&[]));
        assert!(!header.is_checksum_valid(&[0, 1]));
    }

    #[test]
    fn fragment_flags_and_offset_give_the_part() {
        let part = |bits| Header { fragment: U16::new(bits), ..outer() }.part();
        assert_eq!(part(0x4000), Fragment::Whole);
        assert_eq!(part(0x8000), Fragment::Whole);
        assert_eq!(part(0x2000), Fragment::First);
        assert_eq!(part(0x2001), Fragment::Later);
        assert_eq!(part(0x1fff), Fragment::Later);
        assert_eq!(Header { fragment: U16::new(0x3fff), ..outer() }.fragment_offset(), 65_528);
    }

    /// RFC 791 section 3.1: two options are one byte long, the others have a length.
    #[test]
    fn options_end_with_their_list() {
        fn kinds(bytes: &[u8]) -> Vec<(u8, usize)> {
            options(bytes).map(|(kind, option)| (kind, option.len())).collect()
        }
        assert_eq!(kinds(&[]), []);
        assert_eq!(kinds(&[0, 0x94, 4, 0, 0]), []);
        assert_eq!(kinds(&[0x94, 4, 0, 0]), [(0x94, 4)]);
        assert_eq!(kinds(&[1, 131, 3, 4, 1, 0, 1]), [(1, 1), (LOOSE_ROUTE, 3), (1, 1)]);
        for malformed in [&[0x94, 4, 0, 0, 7][..], &[0x94, 4, 0, 0, 7, 1], &[0x94, 4, 0, 0, 7, 3]] {
            assert_eq!(kinds(malformed), [(0x94, 4)]);
        }
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(bytes: [u8; LENGTH]) {
            let header = Header::read_from_bytes(&bytes).unwrap().with_checksum();
            prop_assert!(Checksum::is_valid(header.as_bytes()));
            prop_assert_eq!(Header::read_from_bytes(header.as_bytes()).unwrap(), header);
            prop_assert_eq!(&header.as_bytes()[..10], &bytes[..10]);
            prop_assert_eq!(&header.as_bytes()[12..], &bytes[12..]);
        }
    }
}
