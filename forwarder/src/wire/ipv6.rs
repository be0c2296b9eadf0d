//! IPv6, RFC 8200: 40 bytes, then a chain of extension headers, then the transport.
//!
//! [`walk`] follows the chain: hop-by-hop options, routing, fragment, destination options and
//! authentication (RFC 4302), at most [`MAX_EXTENSIONS`] of them. Everything else ends the chain as the
//! packet's protocol: ESP hides what follows it, mobility (RFC 6275) and HIP have nothing behind them.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Fragment};

/// Length of the header without extensions.
pub const LENGTH: usize = 40;

/// A chain longer than this is an attack on whoever follows it (RFC 8504 section 5.3 allows such limits).
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
    /// What follows this header, extension headers included, in bytes.
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
    /// What follows in the whole packet.
    pub next_header: u8,
    /// Zero.
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

    /// Which part of a packet this is. Offset 0 without more fragments is an atomic fragment: a whole packet
    /// (RFC 6946).
    pub const fn fragment(&self) -> Fragment {
        match (self.offset(), self.more_fragments()) {
            (0, false) => Fragment::Whole,
            (0, true) => Fragment::First,
            _ => Fragment::Later,
        }
    }
}

/// Where a chain of extension headers ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The first header that is none of those that [`walk`] follows.
    pub protocol: u8,
    /// Length of the extension headers in bytes: where that header begins in the payload.
    pub length: usize,
    /// Which part of a packet it is.
    pub fragment: Fragment,
}

/// Whether `next_header` is one that [`walk`] follows.
pub const fn is_extension(next_header: u8) -> bool {
    matches!(next_header, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// Follows the extension headers at the start of `payload`, whose first is `next_header`.
///
/// In a later fragment the chain ends with the fragment header: what follows is the middle of something.
/// A fragment inside a fragment is the later of the two.
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
        // An extension header is 8 bytes at least, and the second says how many there are.
        let rest = payload.get(length..).unwrap_or_default();
        let (header, _) =
            FragmentHeader::ref_from_prefix(rest).map_err(|_| Error::Ipv6ExtensionTruncated)?;
        let size = match next {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(header.reserved) + 2) * 4,
            _ => (usize::from(header.reserved) + 1) * 8,
        };
        if size > rest.len() {
            return Err(Error::Ipv6ExtensionTruncated);
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
