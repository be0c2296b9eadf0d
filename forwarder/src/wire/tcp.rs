//! TCP, RFC 9293: 20 bytes and up to 40 of options. The forwarder reads ports and flags, nothing else.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header without options.
pub const LENGTH: usize = 20;

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
    /// Length with options, in bytes, as the header says: 0 to 60.
    pub const fn header_length(&self) -> usize {
        (self.offset_reserved as usize >> 4) * 4
    }
}
