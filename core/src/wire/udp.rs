//! UDP, RFC 768: 8 bytes.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header.
pub const LENGTH: usize = 8;

/// The header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Source port; 0 if no reply is expected.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// Header and data, in bytes.
    pub length: U16,
    /// Over pseudo-header, header and data; 0 means that there is none.
    pub checksum: U16,
}

const _: () = assert!(size_of::<Header>() == LENGTH);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_a_query() {
        let header = Header::ref_from_bytes(b"\xcd\xab\0\x35\0\x0c\x12\x34").unwrap();
        assert_eq!((header.source.get(), header.destination.get()), (0xcdab, 53));
        assert_eq!((header.length.get(), header.checksum.get()), (12, 0x1234));
    }

    proptest! {
        #[test]
        fn agrees_with_etherparse(source: u16, destination: u16, length: u16, checksum: u16) {
            let built = Header {
                source: U16::new(source),
                destination: U16::new(destination),
                length: U16::new(length),
                checksum: U16::new(checksum),
            };
            let other = etherparse::UdpHeader {
                source_port: source,
                destination_port: destination,
                length,
                checksum,
            };
            prop_assert_eq!(built.as_bytes(), other.to_bytes());
            prop_assert_eq!(Header::read_from_bytes(&other.to_bytes()).unwrap(), built);
        }
    }
}
