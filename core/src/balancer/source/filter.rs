//! The filter before the full source check: one branch that lets nearly every packet pass.

use ipnet::IpNet;
use rustc_hash::FxHashSet;

use super::own::OwnAddresses;
use crate::balancer::address::{Address, address};
use crate::balancer::flow::FlowKey;
use crate::wire::Family;

/// Slots of each hashed part of the filter.
const SLOTS: usize = 4096;

/// Tables with 1 where a packet is suspect and 0 elsewhere. An ordinary packet is suspect by chance, with a
/// probability of the number of entries divided by [`SLOTS`], and then costs a full check.
#[derive(Debug, PartialEq)]
pub(super) struct Filter {
    /// Source MAC addresses, by [`slot_of_mac`].
    source_macs: [u8; SLOTS],
    /// Source IP addresses, by [`slot_v4`] and [`slot_v6`].
    sources: [u8; SLOTS],
    /// IPv4 sources, by the first byte of the address.
    first_v4: [u8; 256],
    /// IPv6 sources, by the first byte of the address.
    first_v6: [u8; 256],
}

impl Filter {
    pub(super) fn new(own: &OwnAddresses, addresses: &FxHashSet<Address>) -> Filter {
        let mut filter = Filter {
            source_macs: [0; SLOTS],
            sources: [0; SLOTS],
            first_v4: [0; 256],
            first_v6: [0; 256],
        };
        for &[.., e, f] in &own.macs {
            filter.source_macs[slot_of_mac([e, f])] = 1;
        }
        let networks = own.networks.iter().flat_map(|network| every_address(network, SLOTS));
        for (family, bits) in addresses.iter().copied().chain(networks) {
            #[expect(clippy::cast_possible_truncation, reason = "an IPv4 address has 32 bits")]
            let slot = match family {
                Family::V4 => slot_v4((bits as u32).to_be_bytes()),
                Family::V6 => slot_v6(bits.to_be_bytes()),
            };
            filter.sources[slot] = 1;
        }
        if own.networks.iter().any(|network| every_address(network, SLOTS).next().is_none()) {
            filter.sources.fill(1);
        }
        filter.first_v4[224..].fill(1);
        for first in [0, 127, 169] {
            filter.first_v4[first] = 1;
        }
        for first in [0, 0xfe, 0xff] {
            filter.first_v6[first] = 1;
        }
        filter
    }

    /// Whether the full check may refuse a packet. The parts are combined before the comparison, so that there is
    /// only one branch.
    #[inline(always)]
    pub(super) fn suspects(&self, key: &FlowKey, frame: &[u8]) -> bool {
        // A shorter frame is no packet, and the full check refuses it.
        let Some(&[.., e, f]) = frame.first_chunk::<12>() else { return true };
        let by_address = match key {
            FlowKey::V4(key) => {
                let source = [key[0], key[1], key[2], key[3]];
                self.first_v4[usize::from(key[0])] | self.sources[slot_v4(source)]
            }
            FlowKey::V6(key) => {
                let [source, ..] = key.as_chunks().0 else { return true };
                self.first_v6[usize::from(key[0])] | self.sources[slot_v6(*source)]
            }
        };
        self.source_macs[slot_of_mac([e, f])] | by_address != 0
    }
}

/// Every address of a network; none if the network has more than `most`.
fn every_address(network: &IpNet, most: usize) -> impl Iterator<Item = Address> + use<> {
    let (family, first) = address(network.network());
    let (_, last) = address(network.broadcast());
    let count = if last - first < most as u128 { last - first + 1 } else { 0 };
    (0..count).map(move |host| (family, first | host))
}

/// The slot of a source MAC address, by its last two bytes. The ports of one device differ in the last one.
#[inline(always)]
fn slot_of_mac(end: [u8; 2]) -> usize {
    usize::from(u16::from_le_bytes(end) >> 4)
}

/// The slot of an IPv4 address.
#[inline(always)]
fn slot_v4(source: [u8; 4]) -> usize {
    (u32::from_le_bytes(source).wrapping_mul(0x9e37_79b1) >> 20) as usize
}

/// The slot of an IPv6 address.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "both halves are wanted")]
fn slot_v6(source: [u8; 16]) -> usize {
    let bits = u128::from_le_bytes(source);
    let folded = (bits as u64) ^ ((bits >> 64) as u64);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::super::SourceCheck;
    use super::super::tests::source_check;
    use super::*;
    use crate::balancer::sample::Sample;
    use crate::wire::Packet;

    /// How many percent of these sources the filter suspects.
    fn suspects(source_check: &SourceCheck, sources: impl Iterator<Item = IpAddr>) -> usize {
        let frame = Sample::udp("198.51.100.1:1025", "203.0.113.10:53").frame();
        let (mut all, mut suspect) = (0, 0);
        for source in sources {
            let to: IpAddr = match source {
                IpAddr::V4(_) => "203.0.113.10".parse().unwrap(),
                IpAddr::V6(_) => "2001:db8::10".parse().unwrap(),
            };
            let key = FlowKey::new((source, 1025).into(), (to, 53).into(), 17).unwrap();
            all += 1;
            suspect += usize::from(source_check.is_suspect(&key, &frame));
        }
        suspect * 100 / all
    }

    #[test]
    #[cfg_attr(miri, ignore = "statistics over 20,000 sources: minutes under Miri")]
    fn the_filter_hardly_suspects_ordinary_sources() {
        let v4 = (0..10_000u32).map(|n| Ipv4Addr::from_bits(0x0a00_0000 + n * 1237).into());
        let v6 = (0..10_000u128)
            .map(|n| Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | (n * 1237) << 64 | n).into());
        // 7 addresses and a network of 64 have 71 slots of 4096.
        assert!(suspects(&source_check(), v4) < 4);
        assert!(suspects(&source_check(), v6) < 4);
    }

    #[test]
    fn a_network_is_suspected_whole() {
        let lengths = if cfg!(miri) { &[28, 32][..] } else { &[16, 19, 20, 24, 32] };
        for &length in lengths {
            let network = IpNet::new("10.1.0.0".parse().unwrap(), length).unwrap();
            let own = OwnAddresses { networks: vec![network], ..OwnAddresses::default() };
            let hosts = (0..1u32 << (32 - length)).map(|n| Ipv4Addr::from_bits(0x0a01_0000 + n));
            let source_check = SourceCheck::new(&own, std::iter::empty());
            assert_eq!(suspects(&source_check, hosts.map(IpAddr::from)), 100, "/{length}");
        }
        let network = "2001:db8::/64".parse().unwrap();
        let own = OwnAddresses { networks: vec![network], ..OwnAddresses::default() };
        let source_check = SourceCheck::new(&own, std::iter::empty());
        assert_eq!(suspects(&source_check, ["2001:db8::5".parse().unwrap()].into_iter()), 100);
    }

    proptest! {
        /// A packet that is not suspect passes the full check.
        #[test]
        fn the_filter_suspects_all_that_the_check_refuses(
            source in prop_oneof![
                any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))),
                any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))),
                any::<u8>().prop_map(|host| IpAddr::from([192, 0, 2, host])),
                (any::<u8>(), any::<u16>()).prop_map(|(first, last)| {
                    IpAddr::from(Ipv6Addr::from_bits(u128::from(first) << 120 | u128::from(last)))
                }),
            ],
            mac: u8,
        ) {
            let source_check = source_check();
            let sample = match source {
                IpAddr::V4(_) => Sample::udp(&format!("{source}:1025"), "203.0.113.10:53"),
                IpAddr::V6(_) => Sample::udp(&format!("[{source}]:1025"), "[2001:db8::10]:53"),
            };
            let mut frame = sample.frame();
            frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, mac]);
            let packet = Packet::parse(&frame).unwrap();
            let key = FlowKey::of(&packet, &frame).unwrap();
            prop_assert!(source_check.is_suspect(&key, &frame) || source_check.check(&packet, &frame).is_ok());
        }
    }
}
