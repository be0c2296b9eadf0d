//! Unknown IPv6 options in packets for this node. The two highest bits of an option's type decide what happens to the
//! packet (RFC 8200 section 4.2).

use crate::wire::{Family, Packet, ipv6};

const PAD1: u8 = 0;

/// What an unknown option demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionAction {
    /// 01: the packet is discarded.
    Discard,
    /// 10 and 11: the packet is discarded and its source gets an error. The two differ for multicast only, which gets
    /// no reply here.
    Report {
        /// Offset of the option's type in the packet.
        pointer: u16,
    },
}

/// The first option of a packet that stops its processing. All options but padding are unknown here.
pub fn refused_option(packet: &Packet, frame: &[u8]) -> Option<OptionAction> {
    if packet.family == Family::V4 {
        return None;
    }
    let header = frame.get(packet.l3.into()..packet.l4.into())?;
    let mut next = *header.get(6)?;
    let mut at = ipv6::LENGTH;
    while let [following, length, ..] = *header.get(at..)? {
        let length = usize::from(length);
        let size = match next {
            ipv6::FRAGMENT => 8,
            ipv6::AUTHENTICATION => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        if matches!(next, ipv6::HOP_BY_HOP | ipv6::DESTINATION_OPTIONS)
            && let Some(refusal) = refused_in(header.get(..at + size)?, at + 2)
        {
            return Some(refusal);
        }
        next = following;
        at += size;
    }
    None
}

/// The first option that stops processing among the options from offset `at` to the end of these bytes.
fn refused_in(bytes: &[u8], mut at: usize) -> Option<OptionAction> {
    loop {
        let kind = *bytes.get(at)?;
        match kind >> 6 {
            0 => {}
            1 => return Some(OptionAction::Discard),
            _ => return Some(OptionAction::Report { pointer: u16::try_from(at).ok()? }),
        }
        at += match kind {
            PAD1 => 1,
            _ => 2 + usize::from(*bytes.get(at + 1)?),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balancer::sample::Sample;

    const PADN: u8 = 1;

    fn refused(extension: u8, extensions: &[u8]) -> Option<OptionAction> {
        let mut sample = Sample::udp("[2001:db8:c::1]:9", "[2001:db8::10]:80");
        (sample.extension, sample.extensions) = (extension, extensions.to_vec());
        let frame = sample.frame();
        refused_option(&Packet::parse(&frame).unwrap(), &frame)
    }

    #[test]
    fn by_the_two_highest_bits() {
        let report = |pointer| Some(OptionAction::Report { pointer });
        for (kind, expected) in [
            (PADN, None),
            (0x05, None),
            (0x3e, None),
            (0x40, Some(OptionAction::Discard)),
            (0x63, Some(OptionAction::Discard)),
            (0x80, report(42)),
            (0xc9, report(42)),
        ] {
            for extension in [ipv6::HOP_BY_HOP, ipv6::DESTINATION_OPTIONS] {
                assert_eq!(refused(extension, &[17, 0, kind, 4, 0, 0, 0, 0]), expected, "{kind:x}");
            }
        }
    }

    #[test]
    fn behind_padding_and_other_headers() {
        let behind = [60, 0, PAD1, PADN, 2, 0x40, 0x40, PAD1, 17, 0, 5, 1, 0xff, 0x80, 1, 0];
        assert_eq!(refused(60, &behind), Some(OptionAction::Report { pointer: 53 }));
        // The bytes of an authentication header are no options.
        let hidden = [17, 4, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(refused(ipv6::AUTHENTICATION, &hidden), None);
        // No option follows one that ends behind its header.
        assert_eq!(refused(60, &[17, 0, PADN, 200, 0x40, 0, 0, 0]), None);
        assert_eq!(refused(60, &[17, 0, PADN, 3, 0, 0, 0, 0x40]), Some(OptionAction::Discard));
    }
}
