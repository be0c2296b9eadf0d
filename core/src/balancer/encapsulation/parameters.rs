//! The settings of an encapsulation that the operator can make, per pool or backend.

/// The settings. `None` means the default of the encapsulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// `gre_key`
    pub gre_key: Option<GreKey>,
    /// `udp_port`, the destination port
    pub udp_port: Option<u16>,
    /// `udp_checksum`
    pub udp_checksum: Option<UdpChecksum>,
    /// `vni`, 24 bits
    pub vni: Option<u32>,
    /// `inner_source_mac`, by default the port's
    pub inner_source_mac: Option<[u8; 6]>,
    /// `inner_destination_mac`, by default [`INNER_DESTINATION_MAC`]
    pub inner_destination_mac: Option<[u8; 6]>,
    /// `label`, 20 bits
    pub label: Option<u32>,
}

/// The default destination of an inner Ethernet header: a locally administered address, which a backend can give its
/// device.
pub const INNER_DESTINATION_MAC: [u8; 6] = [0x02, 0x47, 0x57, 0, 0, 1];

/// The key of a GRE header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GreKey {
    /// One key for all packets.
    Fixed(u32),
    /// A hash of the flow.
    Flow,
}

/// The checksum of an outer UDP header over IPv6; over IPv4 it is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UdpChecksum {
    /// No checksum, as RFC 6935 and RFC 6936 allow.
    #[default]
    Zero,
    /// Computed for each packet.
    Compute,
}

impl Parameters {
    /// These settings, with those of `other` where none is set.
    pub fn or(self, other: &Parameters) -> Parameters {
        Parameters {
            gre_key: self.gre_key.or(other.gre_key),
            udp_port: self.udp_port.or(other.udp_port),
            udp_checksum: self.udp_checksum.or(other.udp_checksum),
            vni: self.vni.or(other.vni),
            inner_source_mac: self.inner_source_mac.or(other.inner_source_mac),
            inner_destination_mac: self.inner_destination_mac.or(other.inner_destination_mac),
            label: self.label.or(other.label),
        }
    }
}
