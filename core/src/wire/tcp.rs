//! TCP, RFC 9293: 20 bytes and up to 40 of options. The forwarder reads ports, flags and, in a SYN, the segment size;
//! for a RST it reads the sequence numbers.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header without options.
pub const LENGTH: usize = 20;
/// Offset of the byte with the header's length, section 3.1.
pub const OFFSET: usize = 12;
/// Offset of the flags, section 3.1.
pub const FLAGS: usize = 13;

/// No more data from the sender.
pub const FIN: u8 = 0x01;
/// Synchronise sequence numbers.
pub const SYN: u8 = 0x02;
/// Reset the connection.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// The acknowledgement is significant.
pub const ACK: u8 = 0x10;
/// The urgent pointer is significant.
pub const URG: u8 = 0x20;
/// ECN echo, RFC 3168.
pub const ECE: u8 = 0x40;
/// Congestion window reduced, RFC 3168.
pub const CWR: u8 = 0x80;

/// Length of a header with its options, by the byte at [`OFFSET`].
#[inline(always)]
pub const fn header_length(offset: u8) -> usize {
    (offset as usize >> 4) * 4
}

/// The fixed part; options follow it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Source port.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// Sequence number.
    pub sequence: U32,
    /// Acknowledgement number.
    pub acknowledgement: U32,
    /// Data offset in words of 4 bytes (4 bits), reserved (4 bits).
    pub offset_reserved: u8,
    /// [`SYN`], [`ACK`], ...
    pub flags: u8,
    /// Window.
    pub window: U16,
    /// Over pseudo-header, header and data.
    pub checksum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

const _: () = assert!(size_of::<Header>() == LENGTH);

impl Header {
    /// Length with options in bytes, as the header has it: 0 to 60.
    pub const fn header_length(&self) -> usize {
        header_length(self.offset_reserved)
    }

    /// How many sequence numbers a segment of `length` bytes with its header takes: one for each byte of data, for SYN
    /// and for FIN (RFC 9293 section 3.4).
    pub const fn sequence_length(&self, length: u16) -> u32 {
        let header = (self.offset_reserved as u32 >> 4) * 4;
        let data = (length as u32).saturating_sub(header);
        data + (self.flags & SYN != 0) as u32 + (self.flags & FIN != 0) as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The SYN of the vectors, section 1.4.
    const SEGMENT: [u8; LENGTH] = *b"\x9c\x40\0\x50\0\0\0\x01\0\0\0\0\x50\x02\xfa\xf0\xb2\x20\0\0";

    #[test]
    fn reads_a_syn() {
        let header = Header::ref_from_bytes(&SEGMENT).unwrap();
        assert_eq!((header.source.get(), header.destination.get()), (40_000, 80));
        assert_eq!((header.sequence.get(), header.acknowledgement.get()), (1, 0));
        assert_eq!((header.header_length(), header.flags), (20, SYN));
        assert_eq!((header.window.get(), header.checksum.get()), (64_240, 0xb220));
    }

    #[test]
    fn data_syn_and_fin_take_sequence_numbers() {
        let taken = |words: u8, flags, length| {
            let header = Header::read_from_bytes(&SEGMENT).unwrap();
            Header { offset_reserved: words << 4, flags, ..header }.sequence_length(length)
        };
        assert_eq!((taken(5, ACK, 20), taken(5, ACK, 21), taken(15, ACK, 65_515)), (0, 1, 65_455));
        assert_eq!((taken(6, SYN, 24), taken(6, SYN, 31), taken(5, FIN | ACK, 20)), (1, 8, 1));
        assert_eq!(taken(5, SYN | FIN, 22), 4);
        assert_eq!(taken(15, ACK, 20), 0, "a header that is longer than the segment");
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(source: u16, destination: u16, words in 5u8..16, flags: u8) {
            let built = Header {
                source: U16::new(source),
                destination: U16::new(destination),
                offset_reserved: words << 4,
                flags,
                ..Header::read_from_bytes(&SEGMENT).unwrap()
            };
            let bytes = [built.as_bytes(), &[0; 40]].concat();
            let other = etherparse::TcpHeaderSlice::from_slice(&bytes).unwrap().to_header();
            prop_assert_eq!((other.source_port, other.destination_port), (source, destination));
            prop_assert_eq!(other.header_len(), built.header_length());
            let bits = [other.fin, other.syn, other.rst, other.psh, other.ack, other.urg, other.ece, other.cwr];
            let seen = bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
            prop_assert_eq!(seen, flags);
        }
    }
}
