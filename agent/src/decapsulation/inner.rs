//! The inner packet: the check that all encapsulations share.
//!
//! The inner header must agree with the tunnel header and with the length received, because the
//! host's stack gets the packet as if it had come by wire.

use std::ops::Range;

/// An inner packet that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    /// Its family.
    pub(crate) family: Family,
    /// Its bytes in the outer payload, without trailing bytes that are not part of it.
    pub(crate) range: Range<usize>,
}

/// The family of an inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Why an outer payload holds no packet for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The tunnel header is truncated.
    #[error("the tunnel header is truncated")]
    Truncated,
    /// The tunnel header has another version.
    #[error("version {0} of the tunnel header is not supported")]
    Version(u8),
    /// The tunnel header needs something that the agent does not support and must not ignore.
    #[error("the tunnel header needs something unsupported, or sets reserved bits ({0:#06x})")]
    Flags(u16),
    /// The tunnel carries neither IPv4 nor IPv6.
    #[error("the tunnel carries protocol {0:#06x}; only IPv4 and IPv6 are supported")]
    Protocol(u16),
    /// The tunnel's checksum is wrong.
    #[error("the tunnel's checksum is wrong")]
    Checksum,
    /// The tunnel belongs to another virtual network than `--vni`.
    #[error("the virtual network {0} is not the one that --vni accepts")]
    Network(u32),
    /// The inner header has another family than the tunnel header announces, or contradicts itself.
    #[error("the inner header is malformed")]
    InnerHeader,
    /// The inner packet is longer than the bytes that the tunnel carried.
    #[error("the inner packet is truncated")]
    InnerTruncated,
}

/// Bytes of an IPv4 header without options.
pub(crate) const IPV4_HEADER: usize = 20;
/// Bytes of the IPv6 header.
pub(crate) const IPV6_HEADER: usize = 40;

/// The inner packet at `start` of `payload`; its version field decides the family.
pub(super) fn inner_of_any_family(payload: &[u8], start: usize) -> Result<Inner, Error> {
    let packet = payload.get(start..).ok_or(Error::Truncated)?;
    let family = match packet.first().ok_or(Error::InnerTruncated)? >> 4 {
        4 => Family::V4,
        6 => Family::V6,
        _ => return Err(Error::InnerHeader),
    };
    inner(family, payload, start)
}

/// The inner packet at `start` of `payload`, which must be of `family`.
pub(super) fn inner(family: Family, payload: &[u8], start: usize) -> Result<Inner, Error> {
    let packet = payload.get(start..).ok_or(Error::Truncated)?;
    let version = packet.first().ok_or(Error::InnerTruncated)? >> 4;
    let length = match (family, version) {
        (Family::V4, 4) => {
            let header = packet.first_chunk::<IPV4_HEADER>().ok_or(Error::InnerTruncated)?;
            let header_length = usize::from(header[0] & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
            if header_length < IPV4_HEADER || total < header_length {
                return Err(Error::InnerHeader);
            }
            total
        }
        (Family::V6, 6) => {
            let header = packet.first_chunk::<IPV6_HEADER>().ok_or(Error::InnerTruncated)?;
            IPV6_HEADER + usize::from(u16::from_be_bytes([header[4], header[5]]))
        }
        _ => return Err(Error::InnerHeader),
    };
    if length > packet.len() {
        return Err(Error::InnerTruncated);
    }
    Ok(Inner { family, range: start..start + length })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V4: [u8; 20] =
        [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 198, 51, 100, 1, 203, 0, 113, 10];

    #[test]
    fn trailing_bytes_are_not_part_of_the_packet() {
        let payload = [&[0xff; 3][..], &V4, &[0; 6]].concat();
        assert_eq!(inner(Family::V4, &payload, 3), Ok(Inner { family: Family::V4, range: 3..23 }));
    }

    #[test]
    fn family_must_agree_with_the_version() {
        assert_eq!(inner(Family::V6, &V4, 0), Err(Error::InnerHeader));
        assert_eq!(inner(Family::V4, &[0x65; 60], 0), Err(Error::InnerHeader));
    }

    #[test]
    fn lengths_are_checked() {
        assert_eq!(inner(Family::V4, &V4[..19], 0), Err(Error::InnerTruncated));
        assert_eq!(inner(Family::V4, &[], 0), Err(Error::InnerTruncated));
        assert_eq!(inner(Family::V4, &V4, 21), Err(Error::Truncated));
        for (position, value, error) in [
            (0, 0x44, Error::InnerHeader),
            (0, 0x46, Error::InnerHeader),
            (3, 19, Error::InnerHeader),
            (3, 21, Error::InnerTruncated),
        ] {
            let mut packet = V4;
            packet[position] = value;
            assert_eq!(inner(Family::V4, &packet, 0), Err(error), "byte {position} = {value}");
        }
        let mut v6 = [0; 41];
        v6[0] = 0x60;
        v6[5] = 1;
        assert_eq!(inner(Family::V6, &v6, 0).map(|i| i.range), Ok(0..41));
        v6[5] = 2;
        assert_eq!(inner(Family::V6, &v6, 0), Err(Error::InnerTruncated));
    }

    proptest! {
        #[test]
        fn a_packet_found_lies_within_the_payload(payload: Vec<u8>, start in 0usize..80) {
            for family in [Family::V4, Family::V6] {
                if let Ok(found) = inner(family, &payload, start) {
                    prop_assert_eq!(found.range.start, start);
                    prop_assert!(found.range.end <= payload.len());
                }
            }
        }
    }
}
