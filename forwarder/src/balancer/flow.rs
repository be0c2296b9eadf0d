//! The flow key: what makes two packets one flow.

use std::net::{IpAddr, SocketAddr};

use crate::wire::{Family, Packet};

/// Source and destination address, source and destination port, protocol: in this order, as they
/// stand in the packet. The fleet's choice of backend is a hash of these bytes, so the layout is part
/// of the protocol between nodes. The families cannot be confused, for their lengths differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKey {
    /// IPv4: 4 + 4 + 2 + 2 + 1 bytes.
    V4([u8; 13]),
    /// IPv6: 16 + 16 + 2 + 2 + 1 bytes.
    V6([u8; 37]),
}

impl FlowKey {
    /// The key of a flow that is given by its ends; none if their families differ.
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

    /// The key of a packet that [`Packet::parse`] made of this very frame.
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

    /// The key as it is hashed.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            FlowKey::V4(bytes) => bytes,
            FlowKey::V6(bytes) => bytes,
        }
    }
}

#[inline]
fn ports(packet: &Packet) -> [u8; 4] {
    let [a, b] = packet.source.to_be_bytes();
    let [c, d] = packet.destination.to_be_bytes();
    [a, b, c, d]
}
