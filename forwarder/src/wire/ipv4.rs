//! IPv4, RFC 791: 20 bytes and up to 40 of options.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::Checksum;

/// Length of the header without options.
pub const LENGTH: usize = 20;

/// The "don't fragment" bit of [`Header::fragment`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// The "more fragments" bit of [`Header::fragment`].
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset's bits of [`Header::fragment`], in units of 8 bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

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
    /// Which packet a fragment belongs to; of no meaning in others (RFC 6864).
    pub identification: U16,
    /// Flags (3 bits) and fragment offset (13 bits).
    pub fragment: U16,
    /// Time to live.
    pub ttl: u8,
    /// What follows, see [`super::protocol`].
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

    /// Length with options, in bytes, as the header says: 0 to 60.
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

    /// Fills in the checksum of a header without options.
    pub fn with_checksum(mut self) -> Header {
        self.checksum = U16::ZERO;
        self.checksum = U16::new(Checksum::of(self.as_bytes()));
        self
    }
}
