//! VXLAN, RFC 7348: an Ethernet frame in UDP.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |R|R|R|R|I|R|R|R|            Reserved                           |
//! |                VXLAN Network Identifier (VNI) |   Reserved    |
//! ```
//!
//! The frame's MAC addresses are ignored: the frame goes to this host, not to a bridge. Reserved
//! bits are ignored. A frame with a VLAN tag is dropped, as section 6.1 asks.

use super::inner::{Error, Family, Inner, inner};
use super::tunnel::{Carrier, Encapsulation, Settings, Tunnel};

/// VXLAN over UDP.
pub(super) const ENCAPSULATION: Encapsulation = Encapsulation {
    names: &["vxlan"],
    tunnels: |_| vec![Tunnel { carrier: Carrier::Udp(PORT), decapsulate }],
};

const PORT: u16 = 4789;

const HEADER: usize = 8;
const ETHERNET: usize = 14;
/// The VNI is valid.
const VALID: u8 = 0x08;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

fn decapsulate(payload: &[u8], settings: &Settings) -> Result<Inner, Error> {
    let header = payload.first_chunk::<{ HEADER + ETHERNET }>().ok_or(Error::Truncated)?;
    if header[0] & VALID == 0 {
        return Err(Error::Flags(u16::from_be_bytes([header[0], header[1]])));
    }
    let vni = u32::from_be_bytes([0, header[4], header[5], header[6]]);
    if settings.vni.is_some_and(|accepted| accepted != vni) {
        return Err(Error::Network(vni));
    }
    let family = match u16::from_be_bytes([header[20], header[21]]) {
        IPV4 => Family::V4,
        IPV6 => Family::V6,
        other => return Err(Error::Protocol(other)),
    };
    inner(family, payload, HEADER + ETHERNET)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{SETTINGS, SYN, V6, found};
    use super::*;

    fn packet(first: u8, vni: u32, ethertype: u16, packet: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first, 0, 0, 0];
        bytes.extend((vni << 8).to_be_bytes());
        bytes.extend([2, 0, 0, 0, 0, 0x11, 2, 0, 0, 0, 0, 1]);
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(packet);
        bytes
    }

    /// RFC 7348, section 5.
    #[test]
    fn the_frame_follows_eight_bytes() {
        let plain = packet(0x08, 5000, 0x0800, &SYN);
        assert_eq!(plain[..8], [0x08, 0, 0, 0, 0x00, 0x13, 0x88, 0]);
        assert_eq!(decapsulate(&plain, &SETTINGS), found(Family::V4, 22, 40));
        let v6 = packet(0xff, 0, 0x86dd, &V6);
        assert_eq!(decapsulate(&v6, &SETTINGS), found(Family::V6, 22, 48));
        assert_eq!(decapsulate(&plain[..21], &SETTINGS), Err(Error::Truncated));
        assert_eq!(decapsulate(&plain[..22], &SETTINGS), Err(Error::InnerTruncated));
        let without = packet(0xf7, 5000, 0x0800, &SYN);
        assert_eq!(decapsulate(&without, &SETTINGS), Err(Error::Flags(0xf700)));
    }

    #[test]
    fn another_network_is_refused() {
        let only = Settings { vni: Some(5000), ..SETTINGS };
        let ours = packet(0x08, 5000, 0x0800, &SYN);
        assert_eq!(decapsulate(&ours, &only), found(Family::V4, 22, 40));
        let other = packet(0x08, 5001, 0x0800, &SYN);
        assert_eq!(decapsulate(&other, &only), Err(Error::Network(5001)));
    }

    /// RFC 7348, section 6.1: tagged frames are discarded.
    #[test]
    fn other_ethertypes_are_refused() {
        for ethertype in [0x8100, 0x0806] {
            let frame = packet(0x08, 1, ethertype, &SYN);
            assert_eq!(decapsulate(&frame, &SETTINGS), Err(Error::Protocol(ethertype)));
        }
    }
}
