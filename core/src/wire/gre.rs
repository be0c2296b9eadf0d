//! GRE: RFC 2784, with the key and sequence number of RFC 2890 and the recursion count of RFC 1701.
//!
//! The forwarder sends the basic header, 4 bytes. [`parse`] accepts what others may send:
//!
//! ```text
//!  C R K S s Recur  flags   ver    C checksum, R routing, K key, S sequence, s strict source route
//!  0 1 2 3 4 5-7    8-12    13-15  then 16 bits of ethertype; checksum + 16 zero bits, key, sequence as flagged
//! ```
//!
//! Receivers by RFC 2784 discard packets with bits 1 to 5 that they do not understand, and ignore bits 6 to 12. So they
//! accept recursion counts up to 3.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::Checksum;

/// Length of the basic header.
pub const LENGTH: usize = 4;

const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const STRICT_ROUTE: u16 = 0x0800;
const RECURSION: u16 = 0x0700;
const RECURSION_HIGH: u16 = 0x0400;
const VERSION: u16 = 0x0007;

/// Why bytes are no GRE packet that the forwarder accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end inside the header.
    #[error("packet ends inside the GRE header")]
    Truncated,
    /// The routing bit is set. RFC 2784 has removed the source routes of RFC 1701.
    #[error("GRE source routing is not supported: turn it off on the sender")]
    Routing,
    /// Bit 4 or 5 is set, with which RFC 2784 section 2.3 demands to discard the packet.
    #[error("GRE header has reserved bits set")]
    Reserved,
    /// The version is not 0. Version 1 is PPTP's (RFC 2637).
    #[error("GRE version is not 0: the sender speaks PPTP or something newer")]
    Version,
    /// The checksum is there and wrong.
    #[error("GRE checksum is wrong: look for a faulty link or router")]
    Checksum,
}

/// The header without optional fields.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Which optional fields follow, recursion count, version.
    pub flags_version: U16,
    /// The ethertype of the inner packet.
    pub protocol: U16,
}

const _: () = assert!(size_of::<Header>() == LENGTH);

impl Header {
    /// The basic header of RFC 2784 before a packet of ethertype `protocol`.
    pub const fn new(protocol: u16) -> Header {
        Header { flags_version: U16::ZERO, protocol: U16::new(protocol) }
    }

    /// This header with RFC 1701's recursion count: how many more encapsulations are permitted. Only its low 2 bits are
    /// set, because receivers discard packets with the third.
    pub const fn with_recursion(self, count: u8) -> Header {
        let cleared = self.flags_version.get() & !RECURSION;
        Header { flags_version: U16::new(cleared | (count as u16 & 3) << 8), ..self }
    }
}

/// The contents of a GRE header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gre {
    /// The ethertype of the inner packet.
    pub protocol: u16,
    /// Length of the header with its optional fields, behind which the inner packet begins.
    pub length: usize,
    /// The checksum, which was verified.
    pub checksum: Option<u16>,
    /// RFC 2890: the traffic flow within the tunnel.
    pub key: Option<u32>,
    /// RFC 2890: the packet's number within the tunnel.
    pub sequence: Option<u32>,
    /// RFC 1701: how many more encapsulations are permitted.
    pub recursion: u8,
}

/// Reads the header of `packet`, which must end where the outer IP packet ends: a checksum is over all of it.
pub fn parse(packet: &[u8]) -> Result<Gre, Error> {
    let (header, _) = Header::ref_from_prefix(packet).map_err(|_| Error::Truncated)?;
    let flags = header.flags_version.get();
    if flags & VERSION != 0 {
        return Err(Error::Version);
    }
    if flags & ROUTING != 0 {
        return Err(Error::Routing);
    }
    if flags & (STRICT_ROUTE | RECURSION_HIGH) != 0 {
        return Err(Error::Reserved);
    }
    let mut length = LENGTH;
    let mut field = |bit: u16| -> Result<Option<u32>, Error> {
        if flags & bit == 0 {
            return Ok(None);
        }
        let rest = packet.get(length..).unwrap_or_default();
        let (word, _) = U32::ref_from_prefix(rest).map_err(|_| Error::Truncated)?;
        length += size_of::<U32>();
        Ok(Some(word.get()))
    };
    let checksum = field(CHECKSUM)?.map(|word| {
        let [high, low, ..] = word.to_be_bytes();
        u16::from_be_bytes([high, low])
    });
    let key = field(KEY)?;
    let sequence = field(SEQUENCE)?;
    if checksum.is_some() && !Checksum::is_valid(packet) {
        return Err(Error::Checksum);
    }
    let [first, _] = header.flags_version.to_bytes();
    let protocol = header.protocol.get();
    Ok(Gre { protocol, length, checksum, key, sequence, recursion: first & 7 })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::ethernet;

    #[test]
    fn vectors() {
        assert_eq!(Header::new(ethernet::IPV4).as_bytes(), [0x00, 0x00, 0x08, 0x00]);
        let header = Header::new(ethernet::IPV4).with_recursion(1);
        assert_eq!(header.as_bytes(), [0x01, 0x00, 0x08, 0x00]);
        let gre = parse(header.as_bytes()).unwrap();
        assert_eq!((gre.protocol, gre.recursion, gre.length), (0x0800, 1, 4));
    }

    #[test]
    fn a_recursion_count_that_receivers_discard_is_never_built() {
        for count in 0..=u8::MAX {
            let header = Header::new(ethernet::IPV6).with_recursion(count);
            assert_eq!(parse(header.as_bytes()).map(|gre| gre.recursion), Ok(count & 3));
        }
    }

    #[test]
    fn bits_2_to_4_of_the_first_byte_and_the_version_have_errors() {
        assert_eq!(parse(&[0x00, 0, 8]), Err(Error::Truncated));
        assert_eq!(parse(&[0x40, 0, 8, 0]), Err(Error::Routing));
        assert_eq!(parse(&[0x08, 0, 8, 0]), Err(Error::Reserved));
        assert_eq!(parse(&[0x04, 0, 8, 0]), Err(Error::Reserved));
        for version in 1..8 {
            assert_eq!(parse(&[0, version, 8, 0]), Err(Error::Version));
        }
        // Bits 8 to 12 are ignored.
        assert!(parse(&[0, 0xf8, 8, 0]).is_ok());
    }

    #[test]
    fn optional_fields_stand_in_the_order_of_rfc_2890() {
        let packet = *b"\x30\0\x86\xdd\0\0\0\x07\0\0\0\x2a";
        let gre = parse(&packet).unwrap();
        assert_eq!((gre.key, gre.sequence, gre.length), (Some(7), Some(42), 12));
        assert_eq!((gre.protocol, gre.checksum), (0x86dd, None));
        assert_eq!(parse(&packet[..11]), Err(Error::Truncated));
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(
            protocol: u16,
            checksum: bool,
            key in prop::option::of(any::<u32>()),
            sequence in prop::option::of(any::<u32>()),
            inner in vec(any::<u8>(), 0..60),
            flip in any::<prop::sample::Index>(),
        ) {
            let flag = |set: bool, bit: u16| if set { bit } else { 0 };
            let flags = flag(checksum, CHECKSUM)
                | flag(key.is_some(), KEY)
                | flag(sequence.is_some(), SEQUENCE);
            let mut packet = [flags.to_be_bytes(), protocol.to_be_bytes()].concat();
            packet.extend(if checksum { &[0; 4][..] } else { &[] });
            packet.extend([key, sequence].into_iter().flatten().flat_map(u32::to_be_bytes));
            let length = packet.len();
            packet.extend(&inner);
            let sum = Checksum::of(&packet);
            if checksum {
                packet[4..6].copy_from_slice(&sum.to_be_bytes());
            }
            let checksum = checksum.then_some(sum);
            let gre = Gre { protocol, length, checksum, key, sequence, recursion: 0 };
            prop_assert_eq!(parse(&packet), Ok(gre));
            if checksum.is_some() {
                // Any wrong bit behind the flags shows.
                let at = 2 + flip.index(packet.len() - 2);
                packet[at] ^= 0x10;
                prop_assert_eq!(parse(&packet), Err(Error::Checksum));
            }
        }

        #[test]
        fn any_bytes_are_a_header_or_an_error(packet in vec(any::<u8>(), 0..24)) {
            if let Ok(gre) = parse(&packet) {
                prop_assert!(gre.length <= packet.len());
            }
        }
    }
}
