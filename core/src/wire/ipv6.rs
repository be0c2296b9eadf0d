//! IPv6, RFC 8200: 40 bytes, then a chain of extension headers, then the transport.
//!
//! [`walk`] follows the chain: hop-by-hop options, routing, fragment, destination options and authentication (RFC
//! 4302), at most [`MAX_EXTENSIONS`] of them. Any other header ends the chain and is the packet's protocol: ESP hides
//! what follows it, and nothing follows mobility (RFC 6275) and HIP.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Fragment};

/// Length of the header without extensions.
pub const LENGTH: usize = 40;

/// The longest chain that is followed; a longer one is an attack (RFC 8504 section 5.3 allows such limits).
pub const MAX_EXTENSIONS: usize = 8;

/// Hop-by-hop options
pub const HOP_BY_HOP: u8 = 0;
/// Routing
pub const ROUTING: u8 = 43;
/// Fragment
pub const FRAGMENT: u8 = 44;
/// Authentication, RFC 4302
pub const AUTHENTICATION: u8 = 51;
/// Nothing follows
pub const NO_NEXT_HEADER: u8 = 59;
/// Destination options
pub const DESTINATION_OPTIONS: u8 = 60;

/// The fixed header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Version (4 bits), traffic class (8 bits), flow label (20 bits).
    pub version_class_flow: U32,
    /// Bytes behind this header, including extension headers.
    pub payload_length: U16,
    /// The first extension header or the transport.
    pub next_header: u8,
    /// What IPv4 calls time to live.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

const _: () = assert!(size_of::<Header>() == LENGTH);

impl Header {
    /// The first word. `flow_label` keeps its low 20 bits.
    pub const fn first_word(traffic_class: u8, flow_label: u32) -> U32 {
        U32::new(6 << 28 | (traffic_class as u32) << 20 | flow_label & 0xf_ffff)
    }

    /// The version; 6 in a valid header.
    pub const fn version(&self) -> u8 {
        self.version_class_flow.to_bytes()[0] >> 4
    }

    /// DSCP (6 bits) and ECN (2 bits).
    pub const fn traffic_class(&self) -> u8 {
        let [first, second, ..] = self.version_class_flow.to_bytes();
        first << 4 | second >> 4
    }

    /// The flow label, 20 bits.
    pub const fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & 0xf_ffff
    }
}

/// The fragment header, RFC 8200 section 4.5.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct FragmentHeader {
    /// The header that follows in the whole packet.
    pub next_header: u8,
    /// Reserved: zero.
    pub reserved: u8,
    /// Offset in units of 8 bytes (13 bits), reserved (2 bits), more fragments (1 bit).
    pub offset_more: U16,
    /// Which packet the fragment belongs to.
    pub identification: U32,
}

const _: () = assert!(size_of::<FragmentHeader>() == 8);

impl FragmentHeader {
    /// Offset in bytes.
    pub const fn offset(&self) -> u16 {
        self.offset_more.get() & 0xfff8
    }

    /// Whether later fragments follow.
    pub const fn more_fragments(&self) -> bool {
        self.offset_more.get() & 1 != 0
    }

    /// The part of a packet that this is. Offset 0 without more fragments is an atomic fragment: a whole packet (RFC
    /// 6946).
    pub const fn fragment(&self) -> Fragment {
        match (self.offset(), self.more_fragments()) {
            (0, false) => Fragment::Whole,
            (0, true) => Fragment::First,
            _ => Fragment::Later,
        }
    }
}

/// The end of a chain of extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The first header that [`walk`] does not follow.
    pub protocol: u8,
    /// Length of the extension headers in bytes, which is the offset of that header in the payload.
    pub length: usize,
    /// The part of a packet that this is.
    pub fragment: Fragment,
}

/// Whether `next_header` is an extension header that [`walk`] follows.
pub const fn is_extension(next_header: u8) -> bool {
    matches!(next_header, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// A fragment header, and where it ends in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The header.
    pub header: FragmentHeader,
    /// The offset behind it.
    pub end: usize,
}

/// The first fragment header of a chain that [`walk`] accepts.
pub fn find_fragment(next_header: u8, payload: &[u8]) -> Option<Extension> {
    let mut next = next_header;
    let mut length = 0;
    for _ in 0..MAX_EXTENSIONS {
        let (&header, _) = FragmentHeader::ref_from_prefix(payload.get(length..)?).ok()?;
        length += match next {
            FRAGMENT => return Some(Extension { header, end: length + size_of_val(&header) }),
            AUTHENTICATION => (usize::from(header.reserved) + 2) * 4,
            _ if is_extension(next) => (usize::from(header.reserved) + 1) * 8,
            _ => return None,
        };
        next = header.next_header;
    }
    None
}

/// Follows the extension headers at the start of `payload`, the first of which is `next_header`.
///
/// In a later fragment the chain ends with the fragment header, because no header follows. A fragment inside a fragment
/// is the later of the two.
pub fn walk(next_header: u8, payload: &[u8]) -> Result<Chain, Error> {
    let mut next = next_header;
    let mut length = 0;
    let mut fragment = Fragment::Whole;
    for count in 0.. {
        if !is_extension(next) {
            break;
        }
        if next == HOP_BY_HOP && count > 0 {
            return Err(Error::Ipv6ExtensionOrder);
        }
        if count == MAX_EXTENSIONS {
            return Err(Error::Ipv6ExtensionLimit);
        }
        // An extension header has at least 8 bytes; its second byte is the length.
        let rest = payload.get(length..).unwrap_or_default();
        // RFC 7112: the first fragment must have the whole chain.
        let truncated = || match fragment {
            Fragment::First => Error::FragmentTiny,
            _ => Error::Ipv6ExtensionTruncated,
        };
        let (header, _) = FragmentHeader::ref_from_prefix(rest).map_err(|_| truncated())?;
        let size = match next {
            FRAGMENT => 8,
            // Three words are fixed: a length of 0 would be shorter.
            AUTHENTICATION if header.reserved == 0 => return Err(Error::Ipv6ExtensionTruncated),
            AUTHENTICATION => (usize::from(header.reserved) + 2) * 4,
            _ => (usize::from(header.reserved) + 1) * 8,
        };
        if size > rest.len() {
            return Err(truncated());
        }
        length += size;
        if next == FRAGMENT {
            fragment = fragment.max(header.fragment());
        }
        next = header.next_header;
        if fragment == Fragment::Later {
            break;
        }
    }
    Ok(Chain { protocol: next, length, fragment })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// An extension header of `words` times 8 bytes before `next`.
    fn options(next: u8, words: u8) -> Vec<u8> {
        let mut bytes = vec![0; usize::from(words) * 8];
        bytes[..2].copy_from_slice(&[next, words - 1]);
        bytes
    }

    fn fragment(next: u8, offset_more: u16) -> Vec<u8> {
        let offset_more = U16::new(offset_more);
        let identification = U32::new(7);
        let header = FragmentHeader { next_header: next, reserved: 0, offset_more, identification };
        header.as_bytes().to_vec()
    }

    /// The neighbour advertisement of the vectors, section 1.4.
    #[test]
    fn reads_a_header() {
        let bytes = b"\x60\0\0\0\0\x20\x3a\xff\
            \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x10\xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
        let header = Header::ref_from_bytes(bytes).unwrap();
        assert_eq!((header.version(), header.traffic_class(), header.flow_label()), (6, 0, 0));
        assert_eq!(
            (header.payload_length.get(), header.next_header, header.hop_limit),
            (32, 58, 255)
        );
        assert_eq!(header.source, 0x2001_0db8_0000_0000_0000_0000_0000_0010u128.to_be_bytes());
        assert_eq!(header.destination, (0xff02u128 << 112 | 1).to_be_bytes());
    }

    #[test]
    fn no_extensions_is_an_empty_chain() {
        for next in [6, 17, 58, 50, 135, NO_NEXT_HEADER] {
            let chain = Chain { protocol: next, length: 0, fragment: Fragment::Whole };
            assert_eq!(walk(next, &[]), Ok(chain));
        }
    }

    #[test]
    fn lengths_are_in_the_units_of_each_header() {
        // Authentication counts in words of 4 bytes, minus 2 (RFC 4302 section 2.2); the others in 8, minus 1.
        let mut authentication = vec![0; 12];
        authentication[..2].copy_from_slice(&[6, 1]);
        let payload = [options(AUTHENTICATION, 2), authentication].concat();
        let chain = Chain { protocol: 6, length: 28, fragment: Fragment::Whole };
        assert_eq!(walk(HOP_BY_HOP, &payload), Ok(chain));
        assert_eq!(walk(HOP_BY_HOP, &payload[..27]), Err(Error::Ipv6ExtensionTruncated));
        assert_eq!(walk(AUTHENTICATION, &[0; 12]), Err(Error::Ipv6ExtensionTruncated));
    }

    #[test]
    fn eight_extensions_are_followed_and_nine_are_not() {
        let eight = options(DESTINATION_OPTIONS, 1).repeat(7);
        let chain = walk(DESTINATION_OPTIONS, &[eight.clone(), options(17, 1)].concat());
        assert_eq!(chain, Ok(Chain { protocol: 17, length: 64, fragment: Fragment::Whole }));
        let nine = [eight, options(DESTINATION_OPTIONS, 1), options(17, 1)].concat();
        assert_eq!(walk(DESTINATION_OPTIONS, &nine), Err(Error::Ipv6ExtensionLimit));
    }

    #[test]
    fn hop_by_hop_stands_first_or_not_at_all() {
        assert_eq!(walk(HOP_BY_HOP, &options(17, 1)).map(|chain| chain.length), Ok(8));
        let late = [options(HOP_BY_HOP, 1), options(17, 1)].concat();
        assert_eq!(walk(DESTINATION_OPTIONS, &late), Err(Error::Ipv6ExtensionOrder));
        assert_eq!(walk(HOP_BY_HOP, &late), Err(Error::Ipv6ExtensionOrder));
    }

    #[test]
    fn fragments() {
        let chain = |offset_more| {
            let payload = [fragment(DESTINATION_OPTIONS, offset_more), options(17, 1)].concat();
            walk(FRAGMENT, &payload).map(|chain| (chain.fragment, chain.protocol, chain.length))
        };
        // RFC 6946: an atomic fragment is a whole packet.
        assert_eq!(chain(0), Ok((Fragment::Whole, 17, 16)));
        assert_eq!(chain(1), Ok((Fragment::First, 17, 16)));
        // The chain of a later fragment ends with its header.
        assert_eq!(chain(8 << 3 | 1), Ok((Fragment::Later, DESTINATION_OPTIONS, 8)));
        assert_eq!(chain(8 << 3), Ok((Fragment::Later, DESTINATION_OPTIONS, 8)));
    }

    #[test]
    fn a_nested_fragment_is_the_later_of_the_two() {
        let nested = [fragment(FRAGMENT, 1), fragment(17, 0)].concat();
        assert_eq!(walk(FRAGMENT, &nested).map(|chain| chain.fragment), Ok(Fragment::First));
        let nested = [fragment(FRAGMENT, 0), fragment(17, 8)].concat();
        assert_eq!(walk(FRAGMENT, &nested).map(|chain| chain.fragment), Ok(Fragment::Later));
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(class: u8, flow_label in 0u32..1 << 20, bytes: [u8; LENGTH]) {
            let mut header = Header::read_from_bytes(&bytes).unwrap();
            header.version_class_flow = Header::first_word(class, flow_label);
            let read = Header::read_from_bytes(header.as_bytes()).unwrap();
            prop_assert_eq!(read, header);
            let first = (read.version(), read.traffic_class(), read.flow_label());
            prop_assert_eq!(first, (6, class, flow_label));
            prop_assert_eq!(&header.as_bytes()[4..], &bytes[4..]);
        }

        #[test]
        fn any_chain_ends_inside_the_payload(
            next in prop_oneof![Just(0u8), Just(43), Just(44), Just(51), Just(60), any::<u8>()],
            payload in vec(prop_oneof![3 => Just(0u8), 1 => Just(60), 1 => Just(44), 1 => any::<u8>()], 0..160),
        ) {
            if let Ok(chain) = walk(next, &payload) {
                prop_assert!(chain.length <= payload.len());
                prop_assert!(!is_extension(chain.protocol) || chain.fragment == Fragment::Later);
            }
        }
    }
}
