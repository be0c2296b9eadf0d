//! Decapsulation: finds the inner packet in an outer packet's payload.
//!
//! Each encapsulation has a file here and a line in [`ALL`]. The file names the [`Carrier`], and
//! has a pure function from the bytes after the carrier's header to the [inner
//! packet](inner::Inner), or to the reason why there is none. `tunnel.rs` has what these files fill
//! in, `inner.rs` the check that they share.
//!
//! Direct server return by MAC address (the forwarder's `l2`) has no file: the packet arrives as
//! the client sent it, and the host accepts it because it holds the address.

mod geneve;
mod gre;
mod gre_udp;
mod gue;
mod inner;
mod ipip;
mod mpls;
mod mpls_udp;
mod tunnel;
mod vxlan;

use std::fmt;
use std::str::FromStr;

pub(crate) use inner::{Error, Family, IPV4_HEADER};
pub(crate) use tunnel::{Carrier, Encapsulation, Settings, Tunnel};

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

#[cfg(test)]
mod samples {
    //! Packets and expected results for the tests of all encapsulations.

    use super::inner::Inner;
    use super::{Error, Family, Settings};

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

    use super::inner::IPV6_HEADER;
    use super::*;

    /// The numbers are IANA's, and those of RFC 8086, RFC 7348, RFC 8926, RFC 7510 and the draft of
    /// GUE.
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
    }
}
