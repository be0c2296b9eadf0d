//! What there is to say of one encapsulation, and what its file is told of a packet.

use super::parameters::Parameters;
use crate::wire::{Family, ethernet, protocol};

/// One encapsulation.
pub(super) struct Descriptor {
    /// Its name in configurations and listings.
    pub(super) name: &'static str,
    pub(super) carrier: Carrier,
    /// The settings that it uses,
    pub(super) keys: &'static [Setting],
    /// and those of them that it cannot do without.
    pub(super) required: &'static [Setting],
    /// The header behind IP, or behind UDP if that carries it, as far as it is alike for all packets.
    /// Its length must be even, for the checksum of UDP.
    pub(super) header: fn(&Parameters) -> Header,
}

/// What carries the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// IP with this protocol number, before a header.
    Ip(u8),
    /// IP with the protocol number of the inner packet.
    InnerProtocol,
    /// UDP to this port, unless `udp_port` names another.
    Udp(u16),
    /// The link itself: the packet is not encapsulated.
    Link,
}

impl Carrier {
    /// The length of what stands between the IP header and that of the encapsulation.
    pub(super) const fn length(self) -> usize {
        match self {
            Carrier::Udp(_) => super::udp::LENGTH,
            Carrier::Ip(_) | Carrier::InnerProtocol | Carrier::Link => 0,
        }
    }
}

/// A key of the configuration that sets one of the [`Parameters`].
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

    /// Its name.
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

    /// Whether it is set.
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

    /// With more bytes behind it.
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

/// What the header of an encapsulation may follow in a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inner {
    pub(super) family: Family,
    /// A hash of the flow.
    pub(super) entropy: u64,
    /// The key of GRE is that of the flow.
    pub(super) keyed_by_flow: bool,
}

impl Inner {
    #[inline]
    pub(super) const fn ethertype(&self) -> u16 {
        ethertype(self.family)
    }

    /// The protocol number of the packet in another.
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
