//! The source check: refuses packets with a source address that no host has, and frames that we sent.
//!
//! Forwarding such a packet would help spoofing and reflection, or loop it. RFC 1812 section 5.3.7 and RFC 1122
//! section 3.2.1.3 name the IPv4 addresses that are no source, RFC 4291 sections 2.5 and 2.7 those of IPv6. The
//! appliance's own addresses are refused too: virtual addresses (a packet from one is a "land" attack), addresses
//! of ports and tunnels, and the broadcast and network addresses of its links.
//!
//! The check is made where a flow begins and for every packet without a flow: a fragment, an ICMP message, a
//! packet out of a tunnel, a packet that gets a reply. Later packets of a flow have the addresses of its first
//! one and are not checked.
//!
//! The check is built with the tables. A new flow first meets a filter of one branch (`filter.rs`). Only packets
//! that the filter suspects are checked in full.

mod filter;
mod own;

pub use own::OwnAddresses;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::FxHashSet;

use super::address::{Address, address};
use super::flow::FlowKey;
use super::verdict::DropReason;
use crate::wire::{Family, Packet, ethernet};
use filter::Filter;

/// What a source address can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// An address of a host.
    Host,
    /// An address of a host on its own link. Its packets must not be forwarded (RFC 4291 section 2.5.6, RFC 3927
    /// section 2.7).
    LinkLocal,
    /// An address that no host has.
    Impossible,
}

/// Finds packets that no host can have sent. A clone shares everything.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SourceCheck {
    filter: Arc<Filter>,
    /// Our own MAC addresses, as [`source_mac`] returns them.
    macs: Arc<[u64]>,
    addresses: Arc<FxHashSet<Address>>,
    networks: Arc<[IpNet]>,
}

impl SourceCheck {
    pub(super) fn new(own: &OwnAddresses, vips: impl Iterator<Item = Address>) -> SourceCheck {
        let addresses: FxHashSet<Address> =
            own.addresses.iter().map(|&ip| address(ip)).chain(vips).collect();
        let macs = own.macs.iter().map(|mac| {
            let [a, b, c, d, e, f] = *mac;
            u64::from_be_bytes([0, 0, a, b, c, d, e, f])
        });
        SourceCheck {
            filter: Arc::new(Filter::new(own, &addresses)),
            macs: macs.collect(),
            addresses: Arc::new(addresses),
            networks: own.networks.as_slice().into(),
        }
    }

    /// Whether [`SourceCheck::check`] may refuse a packet of this flow. If not, the check accepts it.
    #[inline(always)]
    pub(super) fn is_suspect(&self, key: &FlowKey, frame: &[u8]) -> bool {
        self.filter.suspects(key, frame)
    }

    /// Whether the frame was sent by one of our own ports.
    pub(super) fn is_own_frame(&self, frame: &[u8]) -> bool {
        source_mac(frame).is_some_and(|source_mac| self.macs.contains(&source_mac))
    }

    /// The kind of source of a packet that was parsed from this same frame.
    pub(super) fn source(&self, packet: &Packet, frame: &[u8]) -> SourceKind {
        if let Some((source, _)) = packet.addresses_v4(frame) {
            let bits = u32::from_be_bytes(source).into();
            return match source[0] {
                0 | 127 | 224.. => SourceKind::Impossible,
                169 if source[1] == 254 => SourceKind::LinkLocal,
                _ => self.ordinary((Family::V4, bits)),
            };
        }
        let Some((source, _)) = packet.addresses_v6(frame) else { return SourceKind::Impossible };
        let bits = u128::from_be_bytes(source);
        match source[0] {
            // `::`, `::1` and IPv4-mapped addresses.
            0 if bits <= 1 || bits >> 32 == 0xffff => SourceKind::Impossible,
            0xff => SourceKind::Impossible,
            0xfe if source[1] & 0xc0 == 0x80 && !self.is_own((Family::V6, bits)) => {
                SourceKind::LinkLocal
            }
            _ => self.ordinary((Family::V6, bits)),
        }
    }

    /// The kind of a unicast source: a host, unless the address is ours.
    fn ordinary(&self, source: Address) -> SourceKind {
        if self.is_own(source) { SourceKind::Impossible } else { SourceKind::Host }
    }

    fn is_own(&self, source: Address) -> bool {
        self.addresses.contains(&source)
            || self.networks.iter().any(|network| network.contains(&ip(source)))
    }

    /// Refuses a packet to be forwarded whose source no host can have.
    ///
    /// # Errors
    /// The reason to drop it.
    #[cold]
    pub(super) fn check(&self, packet: &Packet, frame: &[u8]) -> Result<(), DropReason> {
        if self.is_own_frame(frame) {
            return Err(DropReason::LoopedFrame);
        }
        match self.source(packet, frame) {
            SourceKind::Host => Ok(()),
            SourceKind::LinkLocal | SourceKind::Impossible => Err(DropReason::SourceInvalid),
        }
    }
}

/// The address that was made into `source`.
#[expect(clippy::cast_possible_truncation, reason = "an IPv4 address has 32 bits")]
fn ip((family, bits): Address) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(bits as u32).into(),
        Family::V6 => Ipv6Addr::from_bits(bits).into(),
    }
}

/// The source MAC address of a frame.
fn source_mac(frame: &[u8]) -> Option<u64> {
    let head: [u8; 8] = *frame.get(4..)?.first_chunk()?;
    const _: () = assert!(ethernet::LENGTH >= 12);
    Some(u64::from_be_bytes(head) & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{MAC, Sample};
    use super::*;

    pub(super) fn source_check() -> SourceCheck {
        let own = OwnAddresses {
            macs: vec![[2, 0, 0, 0, 0, 9]],
            addresses: ["192.0.2.1", "192.0.2.255", "192.0.2.0", "2001:db8::1", "fe80::1"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            networks: vec!["192.0.2.64/26".parse().unwrap()],
        };
        let vips = ["203.0.113.10", "2001:db8::10"].map(|text| address(text.parse().unwrap()));
        SourceCheck::new(&own, vips.into_iter())
    }

    fn source(text: &str) -> SourceKind {
        let sample = match text.contains(':') {
            true => Sample::tcp(&format!("[{text}]:1025"), "[2001:db8::10]:80", 0),
            false => Sample::tcp(&format!("{text}:1025"), "203.0.113.10:80", 0),
        };
        let frame = sample.frame();
        let packet = Packet::parse(&frame).unwrap();
        let source = source_check().source(&packet, &frame);
        let key = FlowKey::of(&packet, &frame).unwrap();
        assert!(source_check().is_suspect(&key, &frame) || source == SourceKind::Host, "{text}");
        source
    }

    /// Addresses of RFC 1122 section 3.2.1.3 and RFC 4291 sections 2.5 and 2.7, and our own.
    #[test]
    fn impossible_link_local_and_host_sources() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "203.0.113.10",
            "192.0.2.1",
            "192.0.2.255",
            "192.0.2.0",
            "192.0.2.64",
            "192.0.2.127",
            "::",
            "::1",
            "::ffff:198.51.100.1",
            "ff02::1",
            "ff0e::1",
            "2001:db8::10",
            "2001:db8::1",
            "fe80::1",
        ] {
            assert_eq!(source(text), SourceKind::Impossible, "{text}");
        }
        for text in ["169.254.0.1", "169.254.255.254", "fe80::2", "febf::1"] {
            assert_eq!(source(text), SourceKind::LinkLocal, "{text}");
        }
        for text in [
            "1.0.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.0.1",
            "169.255.0.1",
            "223.255.255.255",
            "192.0.2.2",
            "192.0.2.63",
            "192.0.2.128",
            "203.0.113.11",
            "::2:0:0:1",
            "64:ff9b::1",
            "2001:db8::2",
            "fec0::1",
            "fd00::1",
            "fe00::1",
        ] {
            assert_eq!(source(text), SourceKind::Host, "{text}");
        }
    }

    #[test]
    fn frames_with_a_source_mac_of_ours_are_refused() {
        let mut frame = Sample::udp("198.51.100.1:1025", "203.0.113.10:53").frame();
        let packet = Packet::parse(&frame).unwrap();
        assert_eq!(source_check().check(&packet, &frame), Ok(()));
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        assert!(source_check().is_suspect(&FlowKey::of(&packet, &frame).unwrap(), &frame));
        assert_eq!(source_check().check(&packet, &frame), Err(DropReason::LoopedFrame));
        assert!(!source_check().is_own_frame(&MAC), "too short for a source");
    }
}
