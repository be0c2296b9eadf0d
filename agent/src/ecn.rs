//! Copies congestion marks of the outer header to the inner header: RFC 6040, section 4.2.
//!
//! A router between forwarder and host marks only the outer header. Without this step the mark
//! would be lost, and the sender would not learn of the congestion. A marked packet whose transport
//! does not use ECN is dropped, because a drop is the only signal that its sender understands.

use crate::decapsulation::Family;

/// The ECN field, RFC 3168.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ecn {
    /// Not-ECT: the transport does not use ECN.
    NotEct,
    /// ECT(1): the transport uses ECN.
    Ect1,
    /// ECT(0): the transport uses ECN.
    Ect0,
    /// CE: a router experienced congestion.
    Ce,
}

impl Ecn {
    /// The field in an IPv4 TOS byte or an IPv6 traffic class.
    pub(crate) fn of(traffic_class: u8) -> Self {
        match traffic_class & 0b11 {
            0b00 => Ecn::NotEct,
            0b01 => Ecn::Ect1,
            0b10 => Ecn::Ect0,
            _ => Ecn::Ce,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Ecn::NotEct => 0b00,
            Ecn::Ect1 => 0b01,
            Ecn::Ect0 => 0b10,
            Ecn::Ce => 0b11,
        }
    }
}

/// Combines the outer mark with that of `packet`, a whole inner packet of `family`. Returns `false`
/// if the packet must be dropped.
pub(crate) fn copy_mark(outer: Ecn, family: Family, packet: &mut [u8]) -> bool {
    // IPv4 has the traffic class in byte 1; IPv6 has it in the low half of byte 0 and the high half
    // of byte 1.
    let shift = match family {
        Family::V4 => 0,
        Family::V6 => 4,
    };
    let inner = Ecn::of(packet[1] >> shift);
    let Some(combined) = combine(inner, outer) else { return false };
    if combined != inner {
        let old = packet[1];
        let new = old & !(0b11 << shift) | combined.bits() << shift;
        packet[1] = new;
        if family == Family::V4 {
            let checksum = u16::from_be_bytes([packet[10], packet[11]]);
            // Only the low byte of the header's first word changes.
            let checksum = replace_word(checksum, old.into(), new.into());
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
    }
    true
}

/// RFC 6040, figure 4. `None` means *drop*.
fn combine(inner: Ecn, outer: Ecn) -> Option<Ecn> {
    match (inner, outer) {
        (Ecn::NotEct, Ecn::Ce) => None,
        (Ecn::NotEct, _) => Some(Ecn::NotEct),
        (Ecn::Ect0, Ecn::NotEct | Ecn::Ect0) => Some(Ecn::Ect0),
        (Ecn::Ect0, Ecn::Ect1) => Some(Ecn::Ect1),
        (Ecn::Ect1, Ecn::NotEct | Ecn::Ect0 | Ecn::Ect1) => Some(Ecn::Ect1),
        (Ecn::Ce, _) | (_, Ecn::Ce) => Some(Ecn::Ce),
    }
}

/// RFC 1624, equation 3: HC' = ~(~HC + ~m + m').
fn replace_word(checksum: u16, old: u16, new: u16) -> u16 {
    let add = |a: u16, b: u16| {
        let (sum, carry) = a.overflowing_add(b);
        sum + u16::from(carry)
    };
    !add(add(!checksum, !old), new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The columns are the outer field: Not-ECT, ECT(0), ECT(1), CE.
    #[test]
    fn rfc6040_figure_4() {
        use Ecn::{Ce, Ect0, Ect1, NotEct};
        for (inner, arrives) in [
            (NotEct, [Some(NotEct), Some(NotEct), Some(NotEct), None]),
            (Ect0, [Some(Ect0), Some(Ect0), Some(Ect1), Some(Ce)]),
            (Ect1, [Some(Ect1), Some(Ect1), Some(Ect1), Some(Ce)]),
            (Ce, [Some(Ce); 4]),
        ] {
            assert_eq!([NotEct, Ect0, Ect1, Ce].map(|outer| combine(inner, outer)), arrives);
        }
    }

    /// RFC 1624, section 4: the example that equation 2 gets wrong.
    #[test]
    fn rfc1624_example() {
        assert_eq!(replace_word(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn ipv6_keeps_the_fields_beside_the_mark() {
        // Traffic class 0xa9, ECT(1), becomes 0xab, CE; flow label 0xeefff.
        let mut packet = [0x6a, 0x9e, 0xef, 0xff];
        assert!(copy_mark(Ecn::Ce, Family::V6, &mut packet));
        assert_eq!(packet, [0x6a, 0xbe, 0xef, 0xff]);
        assert!(!copy_mark(Ecn::Ce, Family::V6, &mut [0x60, 0x0f, 0xff, 0xff]));
    }

    fn sum(header: &[u8]) -> u16 {
        let mut sum: u32 =
            header.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    proptest! {
        #[test]
        fn ipv4_checksum_stays_correct(mut header: [u8; 20], outer: u8) {
            header[0] = 0x45;
            header[10..12].fill(0);
            let checksum = !sum(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            let before = header;
            let kept = copy_mark(Ecn::of(outer), Family::V4, &mut header);
            prop_assert_eq!(kept, combine(Ecn::of(before[1]), Ecn::of(outer)).is_some());
            prop_assert_eq!(sum(&header), 0xffff);
            prop_assert_eq!(header[1] & 0xfc, before[1] & 0xfc);
            prop_assert_eq!(&header[2..10], &before[2..10]);
            prop_assert_eq!(&header[12..], &before[12..]);
        }
    }
}
