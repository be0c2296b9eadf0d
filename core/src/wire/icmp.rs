//! ICMP, RFC 792: 8 bytes, and for errors the start of the packet that caused them.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header; an error's quotation begins behind it.
pub const LENGTH: usize = 8;

/// Reply to an echo request.
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
    /// The subtype.
    pub code: u8,
    /// Over header and data, without a pseudo-header.
    pub checksum: U16,
    /// Depends on the type: an echo's identifier, zero in most errors.
    pub identifier: U16,
    /// Depends on the type: an echo's sequence number, the MTU of [`FRAGMENTATION_NEEDED`].
    pub sequence: U16,
}

const _: () = assert!(size_of::<Header>() == LENGTH);

impl Header {
    /// Whether the message reports an error about the packet that it quotes. Source quench is obsolete (RFC 6633), and
    /// a redirect is for the link only.
    pub const fn is_error(&self) -> bool {
        matches!(self.kind, DESTINATION_UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM)
    }

    /// The MTU of the next hop (RFC 1191), if the message reports one. Old routers report 0.
    pub const fn mtu(&self) -> Option<u16> {
        match (self.kind, self.code) {
            (DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED) => Some(self.sequence.get()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;
    use crate::wire::Checksum;

    /// "Fragmentation needed, MTU 1476" of the vectors, section 1.4, with its quotation.
    #[test]
    fn reads_the_mtu() {
        let message = b"\x03\x04\x5a\xa6\0\0\x05\xc4\
            \x45\0\0\x28\0\x01\0\0\x40\x06\x14\x90\xc6\x33\x64\x01\xcb\0\x71\x0a\
            \x9c\x40\0\x50\0\0\0\x01";
        let (header, quotation) = Header::ref_from_prefix(message).unwrap();
        assert!(header.is_error());
        assert_eq!(header.mtu(), Some(1476));
        assert_eq!(quotation.len(), 28);
        assert!(Checksum::is_valid(message));
    }

    #[test]
    fn an_echo_is_no_error() {
        let header = Header::ref_from_bytes(&[8, 0, 0, 0, 0x12, 0x34, 0, 1]).unwrap();
        assert!(!header.is_error());
        assert_eq!(header.mtu(), None);
        assert_eq!((header.identifier.get(), header.sequence.get()), (0x1234, 1));
    }

    #[test]
    fn three_types_are_errors() {
        let is_error = |kind| Header { kind, ..Header::new_zeroed() }.is_error();
        let errors: Vec<u8> = (0..=u8::MAX).filter(|&kind| is_error(kind)).collect();
        assert_eq!(errors, [3, 11, 12]);
    }
}
