//! The flow key: the five fields by which packets belong to one flow.
//!
//! [`FlowKey`] has them as the bytes that the whole fleet hashes. `FlowWords` has the same fields as words of
//! 16 bytes, which the packet path reads and hashes without rearranging them.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::wire::plain::{self, PlainHeaders};
use crate::wire::{Family, Packet, ethernet};

/// Source and destination address, source and destination port, protocol: in this order, in network byte
/// order. The fleet's choice of backend is a hash of these bytes, so the layout is part of the protocol between
/// nodes. The families differ in length and cannot be confused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKey {
    /// IPv4: 4 + 4 + 2 + 2 + 1 bytes.
    V4([u8; 13]),
    /// IPv6: 16 + 16 + 2 + 2 + 1 bytes.
    V6([u8; 37]),
}

impl FlowKey {
    /// The key of a flow between two sockets; `None` if their families differ.
    pub fn new(source: SocketAddr, destination: SocketAddr, protocol: u8) -> Option<FlowKey> {
        let (a, b) = (source.port().to_be_bytes(), destination.port().to_be_bytes());
        let tail = [a[0], a[1], b[0], b[1], protocol];
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut key = [0; 13];
                key[..4].copy_from_slice(&source.octets());
                key[4..8].copy_from_slice(&destination.octets());
                key[8..].copy_from_slice(&tail);
                Some(FlowKey::V4(key))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut key = [0; 37];
                key[..16].copy_from_slice(&source.octets());
                key[16..32].copy_from_slice(&destination.octets());
                key[32..].copy_from_slice(&tail);
                Some(FlowKey::V6(key))
            }
            _ => None,
        }
    }

    /// The key of a packet that was parsed from this same frame.
    #[inline]
    pub fn of(packet: &Packet, frame: &[u8]) -> Option<FlowKey> {
        let l3 = usize::from(packet.l3);
        match packet.family {
            Family::V4 => {
                let mut key = [0; 13];
                key[..8].copy_from_slice(frame.get(l3 + 12..l3 + 20)?);
                key[8..12].copy_from_slice(&ports(packet));
                key[12] = packet.protocol;
                Some(FlowKey::V4(key))
            }
            Family::V6 => {
                let mut key = [0; 37];
                key[..32].copy_from_slice(frame.get(l3 + 8..l3 + 40)?);
                key[32..36].copy_from_slice(&ports(packet));
                key[36] = packet.protocol;
                Some(FlowKey::V6(key))
            }
        }
    }

    /// The key of a plain IPv4 packet that was read from this same frame.
    #[inline(always)]
    pub(super) fn of_plain_v4(headers: PlainHeaders, frame: &[u8]) -> Option<FlowKey> {
        // Ports follow the addresses.
        let ip: &[u8; 24] = frame.get(headers.l3()..)?.first_chunk()?;
        let mut key = [ip[9]; 13];
        key[..12].copy_from_slice(&ip[12..]);
        Some(FlowKey::V4(key))
    }

    /// The key of a plain IPv6 packet that was read from this same frame.
    #[inline(always)]
    pub(super) fn of_plain_v6(headers: PlainHeaders, frame: &[u8]) -> Option<FlowKey> {
        let ip: &[u8; 44] = frame.get(headers.l3()..)?.first_chunk()?;
        let mut key = [ip[6]; 37];
        key[..36].copy_from_slice(&ip[8..]);
        Some(FlowKey::V6(key))
    }

    /// The key as the packet path reads it.
    pub(super) fn words(&self) -> FlowWords {
        let at = |bytes: &[u8], range: Range<usize>| {
            let mut word = [0; 16];
            word[16 - range.len()..].copy_from_slice(&bytes[range]);
            u128::from_le_bytes(word)
        };
        match self {
            FlowKey::V4(bytes) => {
                FlowWords::V4((at(bytes, 0..12) | u128::from(bytes[12]) << 8).to_le_bytes())
            }
            FlowKey::V6(bytes) => {
                let last = at(bytes, 32..36) | u128::from(bytes[36]) << 8;
                FlowWords::V6([at(bytes, 0..16), at(bytes, 16..32), last])
            }
        }
    }

    /// The source address.
    #[inline]
    pub fn source(&self) -> &[u8] {
        match self {
            FlowKey::V4(bytes) => &bytes[..4],
            FlowKey::V6(bytes) => &bytes[..16],
        }
    }

    /// The IP protocol number.
    #[inline(always)]
    pub(super) fn protocol(&self) -> u8 {
        match self {
            FlowKey::V4([.., protocol]) | FlowKey::V6([.., protocol]) => *protocol,
        }
    }

    /// The destination address.
    pub(super) fn destination(&self) -> IpAddr {
        match *self {
            FlowKey::V4([_, _, _, _, a, b, c, d, ..]) => [a, b, c, d].into(),
            FlowKey::V6(key) => plain::word::<16>(&key, 16).into(),
        }
    }

    /// The destination port.
    #[inline(always)]
    pub(super) fn destination_port(&self) -> u16 {
        match *self {
            FlowKey::V4([.., high, low, _]) | FlowKey::V6([.., high, low, _]) => {
                u16::from_be_bytes([high, low])
            }
        }
    }

    /// The key as the fleet hashes it.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            FlowKey::V4(bytes) => bytes,
            FlowKey::V6(bytes) => bytes,
        }
    }
}

/// A flow key as the packet path hashes and matches it: words of 16 bytes in the order of the packet, so that a
/// load reads a whole word of a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowWords {
    /// From the TTL to the ports: 0, protocol, 0, 0, source, destination, both ports.
    V4([u8; 16]),
    /// Source; destination; then protocol and ports as for IPv4, with addresses of 0.
    V6([u128; 3]),
}

/// Mask of the bytes of [`FlowWords::V4`] that are part of the key: all but TTL and checksum.
pub(super) const KEY_BYTES: [u8; 16] =
    [0, 255, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255];

impl FlowWords {
    /// The words of a plain IPv4 packet, still with TTL and checksum: mask them with [`KEY_BYTES`].
    #[inline(always)]
    pub(super) fn of_v4(head: &[u8; plain::HEAD_V4]) -> [u8; 16] {
        plain::word(head, ethernet::LENGTH + 8)
    }

    /// The words of a plain IPv6 packet.
    #[inline(always)]
    pub(super) fn of_v6(head: &[u8; plain::HEAD_V4], tail: &[u8; plain::TAIL_V6]) -> [u128; 3] {
        const IP: usize = ethernet::LENGTH;
        let ports = u32::from_le_bytes(plain::word(tail, 0));
        [
            u128::from_le_bytes(plain::word(head, IP + 8)),
            u128::from_le_bytes(plain::word(head, IP + 24)),
            u128::from(ports) << 96 | u128::from(head[IP + 6]) << 8,
        ]
    }
}

#[inline]
fn ports(packet: &Packet) -> [u8; 4] {
    let [a, b] = packet.source.to_be_bytes();
    let [c, d] = packet.destination.to_be_bytes();
    [a, b, c, d]
}
