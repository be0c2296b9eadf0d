//! GRE, RFC 2784 with the key and the sequence number of RFC 2890.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |C|R|K|S|s|     ignored     | Ver |         Protocol            |
//! |  Checksum (if C)          |       Reserved1 (if C)            |
//! |  Key (if K)                                                   |
//! |  Sequence number (if S)                                       |
//! ```
//!
//! The checksum is verified. Key and sequence number are skipped: the key only helps the network's
//! multipath, and nothing here uses the sequence number. The protocol is IPv4, IPv6, or MPLS (RFC
//! 4023). Bits 6 to 12 are ignored, so that a forwarder may use them (RFC 2784, section 2.3). A
//! packet with R, s or bit 5 is dropped, as that section asks: they mean RFC 1701, which the agent
//! does not implement. Version 1 is PPTP (RFC 2637).

use super::inner::{Error, Family, Inner, inner};
use super::mpls;
use super::tunnel::{Carrier, Encapsulation, Settings, Tunnel};

/// GRE over IP, which carries an IP packet or a label stack.
pub(super) const ENCAPSULATION: Encapsulation = Encapsulation {
    names: &["gre", "mpls-gre"],
    tunnels: |_| vec![Tunnel { carrier: Carrier::Ip(PROTOCOL), decapsulate }],
};

const PROTOCOL: u8 = 47;

const HEADER: usize = 4;
const FIELD: usize = 4;

const CHECKSUM: u16 = 0x8000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const UNSUPPORTED: u16 = 0x4000 | 0x0800 | 0x0400;
const VERSION: u16 = 0x0007;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;

/// Finds the inner packet in `payload`, which begins with the GRE header.
pub(super) fn decapsulate(payload: &[u8], _: &Settings) -> Result<Inner, Error> {
    let header = payload.first_chunk::<HEADER>().ok_or(Error::Truncated)?;
    let flags = u16::from_be_bytes([header[0], header[1]]);
    let protocol = u16::from_be_bytes([header[2], header[3]]);
    if flags & VERSION != 0 {
        return Err(Error::Version(header[1] & 0x07));
    }
    if flags & UNSUPPORTED != 0 {
        return Err(Error::Flags(flags));
    }
    if ![IPV4, IPV6, MPLS].contains(&protocol) {
        return Err(Error::Protocol(protocol));
    }
    let fields = [CHECKSUM, KEY, SEQUENCE].iter().filter(|&flag| flags & flag != 0).count();
    let start = HEADER + FIELD * fields;
    if payload.len() < start {
        return Err(Error::Truncated);
    }
    if flags & CHECKSUM != 0 && ones_complement_sum(payload) != 0xffff {
        return Err(Error::Checksum);
    }
    match protocol {
        IPV4 => inner(Family::V4, payload, start),
        IPV6 => inner(Family::V6, payload, start),
        _ => mpls::inner_after_labels(payload, start),
    }
}

/// The sum of RFC 1071: all ones if the bytes contain their correct checksum.
fn ones_complement_sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| match *word {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    });
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Cannot fail: the loop ends when the sum has 16 bits.
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples::{SETTINGS, SYN, V6, found};
    use super::*;

    fn decapsulate(payload: &[u8]) -> Result<Inner, Error> {
        super::decapsulate(payload, &SETTINGS)
    }

    fn packet(flags: u16, protocol: u16, optional: &[u8], packet: &[u8]) -> Vec<u8> {
        [&flags.to_be_bytes()[..], &protocol.to_be_bytes(), optional, packet].concat()
    }

    #[test]
    fn a_plain_header_has_four_bytes() {
        let plain = packet(0, 0x0800, &[], &SYN);
        assert_eq!(plain[..4], [0x00, 0x00, 0x08, 0x00]);
        assert_eq!(decapsulate(&plain), found(Family::V4, 4, 40));
        assert_eq!(decapsulate(&packet(0, 0x86dd, &[], &V6)), found(Family::V6, 4, 48));
    }

    /// RFC 4023, section 3: ethertype 8847. Label 16 with S, TTL 64.
    #[test]
    fn labels_follow_ethertype_8847() {
        let labelled = packet(0, 0x8847, &[0x00, 0x01, 0x01, 0x40], &SYN);
        assert_eq!(decapsulate(&labelled), found(Family::V4, 8, 40));
        let keyed = packet(0x2000, 0x8847, &[0, 0, 0, 7, 0x00, 0x01, 0x01, 0x40], &V6);
        assert_eq!(decapsulate(&keyed), found(Family::V6, 12, 48));
        assert_eq!(decapsulate(&labelled[..7]), Err(Error::Truncated));
    }

    /// RFC 2784, section 2.3: bits 6 to 12 are ignored. 01000800 is recursion control 1 of RFC
    /// 1701.
    #[test]
    fn bits_6_to_12_are_ignored() {
        assert_eq!(decapsulate(&packet(0x0100, 0x0800, &[], &SYN)), found(Family::V4, 4, 40));
        assert_eq!(decapsulate(&packet(0x03f8, 0x0800, &[], &SYN)), found(Family::V4, 4, 40));
    }

    /// RFC 2784, section 2.3: a receiver without RFC 1701 discards.
    #[test]
    fn reserved_bits_and_other_protocols_are_refused() {
        for flags in [0x4000, 0x0800, 0x0400, 0x0500] {
            assert_eq!(decapsulate(&packet(flags, 0x0800, &[], &SYN)), Err(Error::Flags(flags)));
        }
        assert_eq!(decapsulate(&packet(0x2001, 0x880b, &[], &SYN)), Err(Error::Version(1)));
        assert_eq!(decapsulate(&packet(0, 0x6558, &[], &SYN)), Err(Error::Protocol(0x6558)));
    }

    #[test]
    fn optional_fields_are_skipped() {
        let all = packet(0x3000, 0x0800, &[0, 0, 0, 7, 0, 0, 0, 1], &SYN);
        assert_eq!(decapsulate(&all), found(Family::V4, 12, 40));
        assert_eq!(decapsulate(&all[..11]), Err(Error::Truncated));
        assert_eq!(decapsulate(&all[..3]), Err(Error::Truncated));
        assert_eq!(decapsulate(&all[..51]), Err(Error::InnerTruncated));
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        // RFC 1071's example sums to ddf2.
        assert_eq!(ones_complement_sum(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        let mut sealed = packet(0x8000, 0x0800, &[0; 4], &SYN);
        let checksum = !ones_complement_sum(&sealed);
        sealed[4..6].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(decapsulate(&sealed), found(Family::V4, 8, 40));
        sealed[47] ^= 1;
        assert_eq!(decapsulate(&sealed), Err(Error::Checksum));
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(payload: Vec<u8>) {
            if let Ok(found) = decapsulate(&payload) {
                prop_assert!(found.range.end <= payload.len());
            }
        }

        #[test]
        fn the_carried_packet_comes_out(
            flags in prop::sample::subsequence(vec![CHECKSUM, KEY, SEQUENCE], 0..=3),
            ignored in 0u16..0x80,
            optional: [u8; 12],
            body in prop::collection::vec(any::<u8>(), 0..80),
            padding in 0usize..5,
        ) {
            let mut carried = SYN[..20].to_vec();
            carried[3] = u8::try_from(20 + body.len()).unwrap();
            carried.extend(body);
            let length = carried.len();
            carried.resize(length + padding, 0);
            let bits = flags.iter().sum::<u16>() | ignored << 3;
            let mut payload = packet(bits, IPV4, &optional[..4 * flags.len()], &carried);
            if flags.contains(&CHECKSUM) {
                payload[4..6].fill(0);
                let checksum = !ones_complement_sum(&payload);
                payload[4..6].copy_from_slice(&checksum.to_be_bytes());
            }
            prop_assert_eq!(
                decapsulate(&payload),
                found(Family::V4, HEADER + FIELD * flags.len(), length)
            );
        }
    }
}
