//! ICMP, RFC 792: 8 bytes, and for errors the start of the packet that caused them.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header; an error's quotation begins behind it.
pub const LENGTH: usize = 8;

/// Answer to an echo request.
pub const ECHO_REPLY: u8 = 0;
/// An error: the packet could not be delivered.
pub const DESTINATION_UNREACHABLE: u8 = 3;
/// Echo request.
pub const ECHO: u8 = 8;
/// An error: the time to live ran out.
pub const TIME_EXCEEDED: u8 = 11;
/// An error: a header field was wrong.
pub const PARAMETER_PROBLEM: u8 = 12;

/// Code of [`DESTINATION_UNREACHABLE`]: the packet needed fragmentation and forbade it (RFC 1191).
pub const FRAGMENTATION_NEEDED: u8 = 4;

/// The header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// [`ECHO`], [`DESTINATION_UNREACHABLE`], ...
    pub kind: u8,
    /// Finer than the type.
    pub code: u8,
    /// Over header and data, without a pseudo-header.
    pub checksum: U16,
    /// By type: an echo's identifier, zero in most errors.
    pub identifier: U16,
    /// By type: an echo's sequence number, the MTU of [`FRAGMENTATION_NEEDED`].
    pub sequence: U16,
}

const _: () = assert!(size_of::<Header>() == LENGTH);

impl Header {
    /// Whether it quotes the packet that caused it.
    pub const fn is_error(&self) -> bool {
        matches!(self.kind, DESTINATION_UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM)
    }

    /// The MTU of the next hop (RFC 1191), if that is what it tells. Old routers say 0.
    pub const fn mtu(&self) -> Option<u16> {
        match (self.kind, self.code) {
            (DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED) => Some(self.sequence.get()),
            _ => None,
        }
    }
}
