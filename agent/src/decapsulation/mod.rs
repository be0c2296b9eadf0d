//! Decapsulation: finds the inner packet in an outer packet's payload.
//!
//! Each encapsulation has a file here and a line in [`ALL`]. The file names the [`Carrier`], and has a pure
//! function from the bytes after the carrier's header to the [`Inner`] packet, or to the reason why there is
//! none. This file has the check that all share: the inner header must agree with the tunnel header and
//! with the length received, because the host's stack gets the packet as if it had come by wire.
//!
//! Direct server return by MAC address (the forwarder's `l2`) has no file: the packet arrives as the
//! client sent it, and the host accepts it because it holds the address.

mod geneve;
mod gre;
mod gre_udp;
mod gue;
mod ipip;
mod mpls;
mod mpls_udp;
mod vxlan;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Every encapsulation that the agent can decapsulate.
pub(crate) const ALL: &[Encapsulation] = &[
    gre::ENCAPSULATION,
    ipip::ENCAPSULATION,
    gue::ENCAPSULATION,
    gre_udp::ENCAPSULATION,
    vxlan::ENCAPSULATION,
    geneve::ENCAPSULATION,
    mpls_udp::ENCAPSULATION,
];

/// One encapsulation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encapsulation {
    /// Its names in the forwarder's configuration. Several if the forwarder has several encapsulations
    /// that arrive at the same place and look alike here.
    names: &'static [&'static str],
    /// Its tunnels.
    tunnels: fn(&Settings) -> Vec<Tunnel>,
}

/// The packets of one encapsulation and one carrier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tunnel {
    /// Where the packets arrive.
    pub(crate) carrier: Carrier,
    /// Finds the inner packet in the bytes after the carrier's header.
    pub(crate) decapsulate: fn(&[u8], &Settings) -> Result<Inner, Error>,
}

/// The header before the tunnel header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// An IP header with this protocol number.
    Ip(u8),
    /// A UDP header with this destination port.
    Udp(u16),
}

/// Options of encapsulations.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Settings {
    /// UDP port of GUE
    #[arg(long, value_name = "PORT", default_value_t = gue::PORT,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) gue_port: u16,
    /// Accept VXLAN and Geneve only with this network identifier [default: any]
    #[arg(long, value_name = "VNI", value_parser = clap::value_parser!(u32).range(..1 << 24))]
    pub(crate) vni: Option<u32>,
}

impl Encapsulation {
    /// Its name in output: the first of its names.
    pub(crate) fn name(&self) -> &'static str {
        self.names[0]
    }

    /// Its tunnels, with these settings.
    pub(crate) fn tunnels(&self, settings: &Settings) -> Vec<Tunnel> {
        (self.tunnels)(settings)
    }
}

impl FromStr for Encapsulation {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        ALL.iter().find(|known| known.names.contains(&text)).copied().ok_or(UnknownName)
    }
}

/// The error for a name that no encapsulation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownName;

impl std::error::Error for UnknownName {}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there are")?;
        for name in ALL.iter().flat_map(|encapsulation| encapsulation.names) {
            write!(f, " {name}")?;
        }
        f.write_str("; l2 needs no agent, only the address on the loopback")
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Carrier::Ip(protocol) => write!(f, "IP protocol {protocol}"),
            Carrier::Udp(port) => write!(f, "UDP port {port}"),
        }
    }
}

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
fn inner_of_any_family(payload: &[u8], start: usize) -> Result<Inner, Error> {
    let packet = payload.get(start..).ok_or(Error::Truncated)?;
    let family = match packet.first().ok_or(Error::InnerTruncated)? >> 4 {
        4 => Family::V4,
        6 => Family::V6,
        _ => return Err(Error::InnerHeader),
    };
    inner(family, payload, start)
}

/// The inner packet at `start` of `payload`, which must be of `family`.
fn inner(family: Family, payload: &[u8], start: usize) -> Result<Inner, Error> {
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
mod samples {
    //! Packets and expected results for the tests of all encapsulations.

    use super::{Error, Family, Inner, Settings};

    /// A SYN of 198.51.100.1:40000 to 203.0.113.10:80.
    pub(super) const SYN: [u8; 40] = [
        0x45, 0x00, 0x00, 0x28, 0x00, 0x01, 0x00, 0x00, 0x40, 0x06, 0x14, 0x90, 0xc6, 0x33, 0x64,
        0x01, 0xcb, 0x00, 0x71, 0x0a, 0x9c, 0x40, 0x00, 0x50, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
        0x00, 0x00, 0x50, 0x02, 0xfa, 0xf0, 0xb2, 0x20, 0x00, 0x00,
    ];

    /// An IPv6 packet with eight bytes of payload.
    pub(super) const V6: [u8; 48] = {
        let mut packet = [0; 48];
        packet[0] = 0x60;
        packet[5] = 8;
        packet
    };

    /// The default settings.
    pub(super) const SETTINGS: Settings = Settings { gue_port: 6080, vni: None };

    pub(super) fn found(family: Family, start: usize, length: usize) -> Result<Inner, Error> {
        Ok(Inner { family, range: start..start + length })
    }
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

    /// The numbers are IANA's, and those of RFC 8086, RFC 7348, RFC 8926, RFC 7510 and the draft of GUE.
    #[test]
    fn carriers_have_the_assigned_numbers() {
        let all: Vec<_> = ALL.iter().flat_map(|e| e.tunnels(&samples::SETTINGS)).collect();
        assert_eq!(
            all.iter().map(|tunnel| tunnel.carrier).collect::<Vec<_>>(),
            [
                Carrier::Ip(47),
                Carrier::Ip(4),
                Carrier::Ip(41),
                Carrier::Udp(6080),
                Carrier::Udp(4754),
                Carrier::Udp(4789),
                Carrier::Udp(6081),
                Carrier::Udp(6635),
            ]
        );
        let moved = Settings { gue_port: 19523, ..samples::SETTINGS };
        let gue: Encapsulation = "gue0".parse().unwrap();
        assert_eq!(gue.tunnels(&moved)[0].carrier, Carrier::Udp(19523));
    }

    #[test]
    fn names_are_the_forwarders() {
        for (text, name) in [
            ("gre", "gre"),
            ("mpls-gre", "gre"),
            ("ipip", "ipip"),
            ("gue", "gue"),
            ("gue0", "gue"),
            ("gre-udp", "gre-udp"),
            ("vxlan", "vxlan"),
            ("geneve", "geneve"),
            ("mpls-udp", "mpls-udp"),
        ] {
            assert_eq!(text.parse::<Encapsulation>().unwrap().name(), name);
        }
        assert_eq!(
            "l2".parse::<Encapsulation>().unwrap_err().to_string(),
            "there are gre mpls-gre ipip gue gue0 gre-udp vxlan geneve mpls-udp; l2 needs no agent, \
             only the address on the loopback"
        );
    }

    proptest! {
        /// No payload of any tunnel panics, and a packet that is found lies within the payload.
        #[test]
        fn any_bytes_never_panic(payload: Vec<u8>, settings in prop::option::of(0u32..1 << 24)) {
            let settings = Settings { vni: settings, ..samples::SETTINGS };
            for tunnel in ALL.iter().flat_map(|encapsulation| encapsulation.tunnels(&settings)) {
                if let Ok(found) = (tunnel.decapsulate)(&payload, &settings) {
                    prop_assert!(found.range.end <= payload.len());
                    let least = match found.family {
                        Family::V4 => IPV4_HEADER,
                        Family::V6 => IPV6_HEADER,
                    };
                    prop_assert!(found.range.len() >= least);
                }
            }
        }

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
