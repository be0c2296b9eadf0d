//! Ethernet II, 14 bytes. 802.3 frames, with a length instead of the ethertype, count as "not IP".

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A MAC address.
pub type Mac = [u8; 6];

/// The address of all hosts on the link.
pub const BROADCAST: Mac = [0xff; 6];

/// Least length of a frame without its check sequence (IEEE 802.3, section 4A.2.3.2.4). Shorter frames are padded.
pub const LEAST: usize = 60;
/// Length of the header without tags.
pub const LENGTH: usize = 14;

/// IPv4
pub const IPV4: u16 = 0x0800;
/// ARP, RFC 826
pub const ARP: u16 = 0x0806;
/// 802.1Q tag
pub const VLAN: u16 = 0x8100;
/// IPv6, RFC 2464
pub const IPV6: u16 = 0x86dd;
/// 802.1ad service tag
pub const SERVICE_VLAN: u16 = 0x88a8;

/// The first bytes of every frame.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// The host or group that the frame is for.
    pub destination: Mac,
    /// The host that sent the frame.
    pub source: Mac,
    /// What follows: [`IPV4`], [`IPV6`], [`VLAN`], ...
    pub ethertype: U16,
}

const _: () = assert!(size_of::<Header>() == LENGTH);

/// Whether `mac` addresses a group; broadcast is one.
pub const fn is_multicast(mac: Mac) -> bool {
    mac[0] & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gratuitous ARP of the vectors, section 1.4.
    #[test]
    fn reads_a_broadcast() {
        let frame = b"\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x10\x08\x06\x00\x01";
        let (header, rest) = Header::ref_from_prefix(frame).unwrap();
        assert_eq!(header.destination, BROADCAST);
        assert_eq!(header.source, [2, 0, 0, 0, 0, 0x10]);
        assert_eq!(header.ethertype.get(), ARP);
        assert_eq!(rest, [0, 1]);
        assert_eq!(header.as_bytes(), &frame[..LENGTH]);
    }

    #[test]
    fn the_group_bit_is_the_lowest_of_the_first_byte() {
        assert!(is_multicast(BROADCAST));
        assert!(is_multicast([0x33, 0x33, 0, 0, 0, 1]));
        assert!(!is_multicast([2, 0, 0, 0, 0, 1]));
    }

    #[test]
    fn short_input_has_no_header() {
        assert!(Header::ref_from_prefix(&[0; LENGTH - 1]).is_err());
    }
}
