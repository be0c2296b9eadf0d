//! UDP, RFC 768: 8 bytes.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header.
pub const LENGTH: usize = 8;

/// The header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Source port; 0 if no answer is expected.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// Header and data, in bytes.
    pub length: U16,
    /// Over pseudo-header, header and data; 0 is none.
    pub checksum: U16,
}

const _: () = assert!(size_of::<Header>() == LENGTH);
