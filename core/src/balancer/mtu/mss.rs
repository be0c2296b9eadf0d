//! The maximum segment size of TCP (RFC 9293 section 3.7.1, option 2): the size that the sender of a SYN accepts in
//! one segment. Lowering it makes the other side send segments that fit.

use zerocopy::FromBytes;
use zerocopy::network_endian::U16;

use super::inner_mtu;
use crate::wire::{Family, Packet, checksum, ipv4, ipv6, protocol, tcp};

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;
const MSS_LENGTH: usize = 4;

/// The largest segment whose packet, without options, fits a port of this MTU with `overhead` bytes of
/// encapsulation.
pub fn mss_for(mtu: u16, overhead: usize, family: Family) -> u16 {
    let headers = tcp::LENGTH
        + match family {
            Family::V4 => ipv4::LENGTH,
            Family::V6 => ipv6::LENGTH,
        };
    inner_mtu(mtu, overhead + headers)
}

/// Lowers the maximum segment size that a SYN, or a SYN with ACK, announces to `mss`. Returns whether it was above.
/// Changes nothing if the option is absent or the options are malformed.
pub fn clamp(packet: &Packet, frame: &mut [u8], mss: u16) -> bool {
    // Without a TCP header there are no flags.
    if packet.protocol != protocol::TCP || packet.tcp_flags & tcp::SYN == 0 {
        return false;
    }
    let Some(segment) = frame.get_mut(packet.l4.into()..packet.end as usize) else { return false };
    let Ok((header, rest)) = tcp::Header::mut_from_prefix(segment) else { return false };
    let length = header.header_length().saturating_sub(tcp::LENGTH);
    let Some(options) = rest.get_mut(..length) else { return false };
    if !is_well_formed(options) {
        return false;
    }
    let mut clamped = false;
    let mut at = 0;
    // Receivers honour the first or the last of several such options, so all are lowered.
    while let Some((kind, length)) = option(options, at) {
        if kind == MSS {
            let value = [options[at + 2], options[at + 3]];
            let old = u16::from_be_bytes(value);
            if old > mss {
                options[at + 2..at + 4].copy_from_slice(&mss.to_be_bytes());
                let sum = header.checksum.get();
                // At an odd offset the bytes are swapped in their words.
                let sum = match at % 2 {
                    0 => checksum::update_u16(sum, old, mss),
                    _ => checksum::update_u16(sum, old.swap_bytes(), mss.swap_bytes()),
                };
                header.checksum = U16::new(sum);
                clamped = true;
            }
        }
        at += length;
    }
    clamped
}

/// Type and length of the option at an offset; `None` at the end of the list, or if the option is malformed.
fn option(options: &[u8], at: usize) -> Option<(u8, usize)> {
    let rest = options.get(at..)?;
    match *rest {
        [] | [END, ..] => None,
        [NO_OPERATION, ..] => Some((NO_OPERATION, 1)),
        [kind, length, ..] => {
            let length = usize::from(length);
            let fits = length >= 2 && length <= rest.len() && (kind != MSS || length == MSS_LENGTH);
            fits.then_some((kind, length))
        }
        [_] => None,
    }
}

/// Whether the list ends at its end mark or with the header.
fn is_well_formed(options: &[u8]) -> bool {
    let mut at = 0;
    while let Some((_, length)) = option(options, at) {
        at += length;
    }
    options.get(at).is_none_or(|&kind| kind == END)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::balancer::sample::Sample;
    use crate::wire::Checksum;

    /// A segment with options, whose length is a multiple of 4, and a right checksum.
    fn frame(v6: bool, flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
        let (source, destination) = match v6 {
            false => ("198.51.100.1:40000", "203.0.113.10:80"),
            true => ("[2001:db8:c::1]:40000", "[2001:db8::10]:80"),
        };
        let mut sample = Sample::tcp(source, destination, flags);
        sample.payload = [options, data].concat();
        let mut frame = sample.frame();
        let l4 = if v6 { 54 } else { 34 };
        frame[l4 + 12] = u8::try_from(5 + options.len() / 4).unwrap() << 4;
        let packet = Packet::parse(&frame).unwrap();
        let sum = sum(&packet, &frame);
        frame[l4 + 16..l4 + 18].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    /// The checksum over a segment with its checksum, and its pseudo-header: 0 if the segment's checksum is right.
    fn sum(packet: &Packet, frame: &[u8]) -> u16 {
        let segment = packet.payload(frame).unwrap();
        let length = u16::try_from(segment.len()).unwrap();
        let pseudo = match (packet.addresses_v4(frame), packet.addresses_v6(frame)) {
            (Some((a, b)), _) => Checksum::pseudo_v4(a, b, 6, length),
            (_, Some((a, b))) => Checksum::pseudo_v6(a, b, 6, length.into()),
            _ => unreachable!(),
        };
        pseudo.add_bytes(segment).finish()
    }

    fn clamped(frame: &[u8], mss: u16) -> Option<Vec<u8>> {
        let packet = Packet::parse(frame).unwrap();
        let mut after = frame.to_vec();
        let changed = clamp(&packet, &mut after, mss);
        assert_eq!(changed, after != frame);
        changed.then_some(after)
    }

    #[test]
    fn the_largest_segment_that_fits_a_port() {
        assert_eq!(mss_for(1500, 0, Family::V4), 1460);
        assert_eq!(mss_for(1500, 24, Family::V4), 1436);
        assert_eq!(mss_for(1500, 44, Family::V6), 1396);
        assert_eq!(mss_for(50, 24, Family::V4), 0);
        assert_eq!(mss_for(1500, 70_000, Family::V4), 0);
    }

    /// Scapy: IP / TCP with MSS 1460, SACK permitted, time stamps, window scale; then with MSS 1400.
    #[test]
    fn a_syn_as_linux_sends_it() {
        let options = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];
        let before = frame(false, tcp::SYN, &options, &[]);
        let after = clamped(&before, 1400).unwrap();
        assert_eq!(after[56..58], [5, 0x78]);
        assert_eq!(before[50..52], [0x4a, 0x35]);
        assert_eq!(after[50..52], [0x4a, 0x71]);
        assert_eq!(clamped(&before, 1460), None, "it is lowered, never raised");
        assert_eq!(clamped(&before, 9000), None);
    }

    #[test]
    fn only_segments_with_syn() {
        let options = [2, 4, 5, 0xb4];
        for (flags, changes) in [
            (tcp::SYN, true),
            (tcp::SYN | tcp::ACK, true),
            (tcp::SYN | tcp::ECE | tcp::CWR, true),
            (tcp::ACK, false),
            (tcp::RST, false),
        ] {
            let clamped = clamped(&frame(true, flags, &options, b"data"), 1396);
            assert_eq!(clamped.is_some(), changes, "{flags:#x}");
        }
        let udp = Sample::udp("198.51.100.1:1", "203.0.113.10:53").frame();
        assert_eq!(clamped(&udp, 1), None);
    }

    #[test]
    fn absent_and_malformed_options_stay_as_they_are() {
        for options in [
            &[][..],
            &[1, 1, 1, 1],
            &[8, 4, 0, 0],
            // Behind the end of the list.
            &[0, 0, 0, 0, 2, 4, 5, 0xb4],
            // Lengths of 0, of 1, beyond the header, and wrong ones of an MSS.
            &[2, 4, 5, 0xb4, 3, 0, 0, 0],
            &[2, 4, 5, 0xb4, 3, 1, 0, 0],
            &[2, 4, 5, 0xb4, 3, 5, 0, 0],
            &[2, 4, 5, 0xb4, 1, 1, 1, 2],
            &[2, 6, 5, 0xb4, 0, 0, 0, 0],
            &[2, 3, 5, 1],
        ] {
            assert_eq!(clamped(&frame(false, tcp::SYN, options, &[]), 100), None, "{options:?}");
        }
    }

    #[test]
    fn every_one_of_several_is_lowered() {
        let options = [2, 4, 5, 0xb4, 1, 2, 4, 5, 0xb4, 1, 1, 0];
        let after = clamped(&frame(false, tcp::SYN, &options, &[7]), 1000).unwrap();
        assert_eq!(after[54..66], [2, 4, 3, 0xe8, 1, 2, 4, 3, 0xe8, 1, 1, 0]);
        assert_eq!(sum(&Packet::parse(&after).unwrap(), &after), 0);
    }

    proptest! {
        #[test]
        fn the_checksum_stays_right(
            v6: bool, before in 0usize..20, old: u16, mss: u16, data in vec(any::<u8>(), 0..30),
        ) {
            let mut options = vec![NO_OPERATION; before];
            options.extend([MSS, 4, old.to_be_bytes()[0], old.to_be_bytes()[1]]);
            options.resize(options.len().next_multiple_of(4), 0);
            let frame = frame(v6, tcp::SYN, &options, &data);
            let after = clamped(&frame, mss);
            prop_assert_eq!(after.is_some(), old > mss);
            let after = after.unwrap_or(frame);
            prop_assert_eq!(sum(&Packet::parse(&after).unwrap(), &after), 0);
            let other = etherparse::SlicedPacket::from_ethernet(&after).unwrap();
            let Some(etherparse::TransportSlice::Tcp(tcp)) = other.transport else { panic!() };
            let found = tcp.options_iterator().find_map(|option| match option {
                Ok(etherparse::TcpOptionElement::MaximumSegmentSize(value)) => Some(value),
                _ => None,
            });
            prop_assert_eq!(found, Some(old.min(mss)));
        }

        #[test]
        fn any_options_change_in_nothing_else(options in vec(
            prop_oneof![Just(0u8), Just(1), Just(2), Just(4), any::<u8>()], 40), mss: u16,
        ) {
            let before = frame(false, tcp::SYN, &options, b"x");
            let packet = Packet::parse(&before).unwrap();
            let mut after = before.clone();
            clamp(&packet, &mut after, mss);
            prop_assert_eq!(sum(&packet, &after), 0);
            prop_assert_eq!(&after[..50], &before[..50]);
            prop_assert_eq!(after.last(), before.last());
        }
    }
}
