//! The facts about one encapsulation, and what its per-packet part gets to know of a packet.
//!
//! Each encapsulation has a file with a constant [`Descriptor`] and a function `fix`, which sets the fields of its
//! header that differ from packet to packet.

use super::parameters::Parameters;
use crate::wire::{Family, ethernet, protocol};

/// The facts about one encapsulation.
pub(super) struct Descriptor {
    /// Its name in configurations and listings.
    pub(super) name: &'static str,
    /// What stands between the outer IP header and the header of the encapsulation.
    pub(super) carrier: Carrier,
    /// The settings that it uses.
    pub(super) keys: &'static [Setting],
    /// The settings that it requires, all of them in `keys`.
    pub(super) required: &'static [Setting],
    /// The header behind IP or UDP, as far as it is the same for all packets. Its length must be even, for the UDP
    /// checksum.
    pub(super) header: fn(&Parameters) -> Header,
}

/// How the outer IP header leads to the encapsulation: what carries its header and the inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// IP with this protocol number, then the header of the encapsulation.
    Ip(u8),
    /// IP with the protocol number of the inner packet, which follows at once.
    InnerProtocol,
    /// IP, then UDP to this port (or to `udp_port` if that is set), then the header of the encapsulation.
    Udp(u16),
    /// The link itself: there is no outer packet.
    Link,
}

impl Carrier {
    /// Bytes between the outer IP header and the header of the encapsulation.
    pub(super) const fn length(self) -> usize {
        match self {
            Carrier::Udp(_) => super::udp::LENGTH,
            Carrier::Ip(_) | Carrier::InnerProtocol | Carrier::Link => 0,
        }
    }
}

/// A configuration key that sets one of the [`Parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `gre_key`
    GreKey,
    /// `udp_port`
    UdpPort,
    /// `udp_checksum`
    UdpChecksum,
    /// `vni`
    Vni,
    /// `inner_source_mac`
    InnerSourceMac,
    /// `inner_destination_mac`
    InnerDestinationMac,
    /// `label`
    Label,
}

impl Setting {
    /// Every key.
    pub const ALL: [Setting; 7] = [
        Setting::GreKey,
        Setting::UdpPort,
        Setting::UdpChecksum,
        Setting::Vni,
        Setting::InnerSourceMac,
        Setting::InnerDestinationMac,
        Setting::Label,
    ];

    /// The key's name.
    pub const fn name(self) -> &'static str {
        match self {
            Setting::GreKey => "gre_key",
            Setting::UdpPort => "udp_port",
            Setting::UdpChecksum => "udp_checksum",
            Setting::Vni => "vni",
            Setting::InnerSourceMac => "inner_source_mac",
            Setting::InnerDestinationMac => "inner_destination_mac",
            Setting::Label => "label",
        }
    }

    /// Whether the parameters set it.
    pub const fn is_set(self, parameters: &Parameters) -> bool {
        match self {
            Setting::GreKey => parameters.gre_key.is_some(),
            Setting::UdpPort => parameters.udp_port.is_some(),
            Setting::UdpChecksum => parameters.udp_checksum.is_some(),
            Setting::Vni => parameters.vni.is_some(),
            Setting::InnerSourceMac => parameters.inner_source_mac.is_some(),
            Setting::InnerDestinationMac => parameters.inner_destination_mac.is_some(),
            Setting::Label => parameters.label.is_some(),
        }
    }
}

/// The longest header: VXLAN's eight bytes and an Ethernet header.
pub(super) const MAX_HEADER: usize = 22;

/// The bytes of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    bytes: [u8; MAX_HEADER],
    length: usize,
}

impl Header {
    pub(super) const NONE: Header = Header { bytes: [0; MAX_HEADER], length: 0 };

    pub(super) fn from(bytes: &[u8]) -> Header {
        Header::NONE.and(bytes)
    }

    /// This header with more bytes behind it.
    pub(super) fn and(mut self, bytes: &[u8]) -> Header {
        let end = self.length + bytes.len();
        self.bytes[self.length..end].copy_from_slice(bytes);
        self.length = end;
        self
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What the header of an encapsulation may depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inner {
    pub(super) family: Family,
    /// A hash of the flow.
    pub(super) entropy: u64,
    /// Whether the flow chooses the GRE key.
    pub(super) keyed_by_flow: bool,
}

impl Inner {
    #[inline]
    pub(super) const fn ethertype(&self) -> u16 {
        ethertype(self.family)
    }

    /// The protocol number of this packet inside another.
    #[inline]
    pub(super) const fn protocol(&self) -> u8 {
        match self.family {
            Family::V4 => protocol::IPV4,
            Family::V6 => protocol::IPV6,
        }
    }

    /// 32 bits of the flow's hash.
    #[inline]
    pub(super) const fn flow_key(&self) -> u32 {
        (self.entropy >> 32) as u32
    }
}

#[inline]
pub(super) const fn ethertype(family: Family) -> u16 {
    match family {
        Family::V4 => ethernet::IPV4,
        Family::V6 => ethernet::IPV6,
    }
}
