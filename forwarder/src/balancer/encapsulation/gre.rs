//! GRE (RFC 2784): four bytes, no checksum, no key.

use crate::wire::{Family, Packet, ethernet};

/// Flags and version zero; the protocol type follows the packet.
pub(super) const HEADER: [u8; 4] = [0; 4];

/// Sets the protocol type to the inner packet's Ethertype.
#[inline]
pub(super) fn fix(header: &mut [u8], inner: &Packet) {
    let ethertype = match inner.family {
        Family::V4 => ethernet::IPV4,
        Family::V6 => ethernet::IPV6,
    };
    header[2..4].copy_from_slice(&ethertype.to_be_bytes());
}
