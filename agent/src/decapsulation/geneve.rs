//! Geneve, RFC 8926: an IP packet in UDP, behind a header with options.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |Ver|  Opt Len  |O|C|    Rsvd.  |          Protocol Type        |
//! |        Virtual Network Identifier (VNI)       |    Reserved   |
//! |                  Opt Len words of options                     |
//! ```
//!
//! The protocol type is IPv4 or IPv6: the forwarder sends no Ethernet frame. The agent knows no
//! option. It drops a packet with a critical option (C) and skips the options of others, as section
//! 3.4 allows. Control packets (O) are dropped. Reserved bits are ignored.

use super::inner::{Error, Family, Inner, inner};
use super::tunnel::{Carrier, Encapsulation, Settings, Tunnel};

/// Geneve over UDP.
pub(super) const ENCAPSULATION: Encapsulation = Encapsulation {
    names: &["geneve"],
    tunnels: |_| vec![Tunnel { carrier: Carrier::Udp(PORT), decapsulate }],
};

const PORT: u16 = 6081;

const HEADER: usize = 8;
const WORD: usize = 4;
const OPTIONS_LENGTH: u8 = 0x3f;
const CONTROL: u8 = 0x80;
const CRITICAL: u8 = 0x40;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

fn decapsulate(payload: &[u8], settings: &Settings) -> Result<Inner, Error> {
    let header = payload.first_chunk::<HEADER>().ok_or(Error::Truncated)?;
    let version = header[0] >> 6;
    if version != 0 {
        return Err(Error::Version(version));
    }
    if header[1] & (CONTROL | CRITICAL) != 0 {
        return Err(Error::Flags(u16::from_be_bytes([header[0], header[1]])));
    }
    let vni = u32::from_be_bytes([0, header[4], header[5], header[6]]);
    if settings.vni.is_some_and(|accepted| accepted != vni) {
        return Err(Error::Network(vni));
    }
    let family = match u16::from_be_bytes([header[2], header[3]]) {
        IPV4 => Family::V4,
        IPV6 => Family::V6,
        other => return Err(Error::Protocol(other)),
    };
    inner(family, payload, HEADER + WORD * usize::from(header[0] & OPTIONS_LENGTH))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{SETTINGS, SYN, V6, found};
    use super::*;

    fn decapsulate(payload: &[u8]) -> Result<Inner, Error> {
        super::decapsulate(payload, &SETTINGS)
    }

    /// The network identifier is 5000, the last byte of the header reserved.
    fn packet(first: [u8; 2], protocol: u16, options: &[u8], packet: &[u8]) -> Vec<u8> {
        [&first[..], &protocol.to_be_bytes(), &[0x00, 0x13, 0x88, 0xff], options, packet].concat()
    }

    /// RFC 8926, section 3.4.
    #[test]
    fn the_packet_follows_eight_bytes() {
        assert_eq!(decapsulate(&packet([0, 0], 0x0800, &[], &SYN)), found(Family::V4, 8, 40));
        assert_eq!(decapsulate(&packet([0, 0x3f], 0x86dd, &[], &V6)), found(Family::V6, 8, 48));
        let plain = packet([0, 0], 0x0800, &[], &SYN);
        assert_eq!(decapsulate(&plain[..7]), Err(Error::Truncated));
        assert_eq!(decapsulate(&plain[..8]), Err(Error::InnerTruncated));
    }

    /// RFC 8926, section 3.5: each option has a header of four bytes.
    #[test]
    fn options_are_skipped() {
        let option = [0x01, 0x02, 0x03, 0x01, 1, 2, 3, 4];
        let one = packet([2, 0], 0x0800, &option, &SYN);
        assert_eq!(decapsulate(&one), found(Family::V4, 16, 40));
        assert_eq!(decapsulate(&one[..15]), Err(Error::Truncated));
        let longest = packet([0x3f, 0], 0x86dd, &[0; 252], &V6);
        assert_eq!(decapsulate(&longest), found(Family::V6, 260, 48));
    }

    /// RFC 8926, section 3.4: an end without options drops by the bit C, and O is for the control
    /// plane.
    #[test]
    fn control_packets_and_critical_options_are_refused() {
        let control = packet([0, 0x80], 0x0800, &[], &SYN);
        assert_eq!(decapsulate(&control), Err(Error::Flags(0x0080)));
        let critical = packet([1, 0x40], 0x0800, &[0, 0, 0x80, 0], &SYN);
        assert_eq!(decapsulate(&critical), Err(Error::Flags(0x0140)));
    }

    #[test]
    fn other_versions_and_protocols_are_refused() {
        assert_eq!(decapsulate(&packet([0x40, 0], 0x0800, &[], &SYN)), Err(Error::Version(1)));
        for protocol in [0x6558, 0x8847] {
            let other = packet([0, 0], protocol, &[], &SYN);
            assert_eq!(decapsulate(&other), Err(Error::Protocol(protocol)));
        }
    }

    #[test]
    fn another_network_is_refused() {
        let plain = packet([0, 0], 0x0800, &[], &SYN);
        let ours = Settings { vni: Some(5000), ..SETTINGS };
        assert_eq!(super::decapsulate(&plain, &ours), found(Family::V4, 8, 40));
        let other = Settings { vni: Some(5001), ..SETTINGS };
        assert_eq!(super::decapsulate(&plain, &other), Err(Error::Network(5000)));
    }
}
