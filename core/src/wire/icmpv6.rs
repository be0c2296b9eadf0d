//! ICMPv6, RFC 4443: 8 bytes, and for errors the start of the packet that caused them.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header; an error's quotation begins behind it.
pub const LENGTH: usize = 8;

/// An error: the packet could not be delivered.
pub const DESTINATION_UNREACHABLE: u8 = 1;
/// An error: the packet was larger than the next link's MTU.
pub const PACKET_TOO_BIG: u8 = 2;
/// An error: the hop limit ran out.
pub const TIME_EXCEEDED: u8 = 3;
/// An error: a header field was wrong.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Reply to an echo request.
pub const ECHO_REPLY: u8 = 129;
/// Neighbour discovery, RFC 4861: the first of five types, 133 to 137.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Neighbour discovery: who has this address?
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// Neighbour discovery: I have this address.
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Neighbour discovery: the last of five types.
pub const REDIRECT: u8 = 137;

/// The header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// [`ECHO_REQUEST`], [`PACKET_TOO_BIG`], ...
    pub kind: u8,
    /// The subtype.
    pub code: u8,
    /// Over pseudo-header, header and data.
    pub checksum: U16,
    /// Depends on the type: an echo's identifier and sequence number, the MTU of [`PACKET_TOO_BIG`].
    pub data: U32,
}

const _: () = assert!(size_of::<Header>() == LENGTH);

impl Header {
    /// Whether the message is an error, which quotes the packet that caused it: errors are the types below 128.
    pub const fn is_error(&self) -> bool {
        self.kind < 128
    }

    /// The MTU of the next hop, if the message reports one.
    pub const fn mtu(&self) -> Option<u32> {
        match self.kind {
            PACKET_TOO_BIG => Some(self.data.get()),
            _ => None,
        }
    }

    /// Whether the message is neighbour discovery, which never leaves the link.
    pub const fn is_neighbor_discovery(&self) -> bool {
        matches!(self.kind, ROUTER_SOLICITATION..=REDIRECT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_mtu() {
        let header = Header::ref_from_bytes(&[2, 0, 0, 0, 0, 0, 0x05, 0xdc]).unwrap();
        assert!(header.is_error());
        assert_eq!(header.mtu(), Some(1500));
        assert!(!header.is_neighbor_discovery());
    }

    /// The neighbour advertisement of the vectors, section 1.4.
    #[test]
    fn knows_neighbour_discovery() {
        let header = Header::ref_from_bytes(b"\x88\0\xf8\xfd\x20\0\0\0").unwrap();
        assert_eq!(header.kind, NEIGHBOR_ADVERTISEMENT);
        assert!(header.is_neighbor_discovery() && !header.is_error());
        assert_eq!((header.checksum.get(), header.mtu()), (0xf8fd, None));
    }
}
