//! ARP for IPv4 over Ethernet, RFC 826: 28 bytes.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ethernet::{self, ARP, BROADCAST, IPV4, Mac};

/// Length of the message.
pub const LENGTH: usize = 28;

/// Who has this address?
pub const REQUEST: u16 = 1;
/// I have this address.
pub const REPLY: u16 = 2;

/// The message.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// 1: Ethernet.
    pub hardware: U16,
    /// [`IPV4`].
    pub protocol: U16,
    /// Bytes of a MAC address, 6.
    pub hardware_length: u8,
    /// Bytes of an IPv4 address, 4.
    pub protocol_length: u8,
    /// [`REQUEST`] or [`REPLY`].
    pub operation: U16,
    /// Who sends the message.
    pub sender_mac: Mac,
    /// The sender's address.
    pub sender: [u8; 4],
    /// Whom it is for; zeros if that is not known.
    pub target_mac: Mac,
    /// The address that is asked for, or the receiver's.
    pub target: [u8; 4],
}

const _: () = assert!(size_of::<Header>() == LENGTH);

/// A frame of the least length.
pub type Frame = [u8; ethernet::LEAST];

/// The frame by which a host announces that an address is at its MAC address, so that others correct what they know
/// (RFC 5227, section 2.3). All hosts read it, and none replies.
pub fn announcement(mac: Mac, address: [u8; 4]) -> Frame {
    let ethernet =
        ethernet::Header { destination: BROADCAST, source: mac, ethertype: U16::new(ARP) };
    let message = Header {
        hardware: U16::new(1),
        protocol: U16::new(IPV4),
        hardware_length: 6,
        protocol_length: 4,
        operation: U16::new(REQUEST),
        sender_mac: mac,
        sender: address,
        target_mac: [0; 6],
        target: address,
    };
    let mut frame = [0; ethernet::LEAST];
    let (head, rest) = frame.split_at_mut(ethernet::LENGTH);
    head.copy_from_slice(ethernet.as_bytes());
    rest[..LENGTH].copy_from_slice(message.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_to_the_byte() {
        let frame = announcement([2, 0, 0, 0, 0, 1], [192, 0, 2, 100]);
        let expected = b"\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x08\x06\
            \x00\x01\x08\x00\x06\x04\x00\x01\
            \x02\x00\x00\x00\x00\x01\xc0\x00\x02\x64\
            \x00\x00\x00\x00\x00\x00\xc0\x00\x02\x64\
            \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
        assert_eq!(&frame, expected);
    }

    #[test]
    fn etherparse_agrees() {
        let frame = announcement([2, 0, 0, 0, 0, 1], [192, 0, 2, 100]);
        let parsed = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(etherparse::NetSlice::Arp(arp)) = parsed.net else { panic!("{parsed:?}") };
        assert_eq!(arp.operation(), etherparse::ArpOperation::REQUEST);
        assert_eq!(
            (arp.sender_hw_addr(), arp.sender_protocol_addr()),
            (&frame[6..12], &frame[28..32])
        );
        assert_eq!(arp.target_protocol_addr(), [192, 0, 2, 100]);
    }
}
