//! `geneve`: RFC 8926. Eight bytes behind UDP, without options, then the packet itself: no Ethernet header.

use super::descriptor::{Carrier, Descriptor, Header, Inner, Setting};
use super::parameters::Parameters;

pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "geneve",
    carrier: Carrier::Udp(6081),
    keys: &[Setting::UdpPort, Setting::UdpChecksum, Setting::Vni],
    required: &[Setting::Vni],
    header,
};

/// Where the protocol type is: an Ethertype, of 16 bits.
const PROTOCOL_TYPE: usize = 2;

/// Version 0, no options, neither control nor critical; then the protocol type and the network identifier.
fn header(parameters: &Parameters) -> Header {
    let [_, a, b, c] = parameters.vni.unwrap_or_default().to_be_bytes();
    Header::from(&[0, 0, 0, 0, a, b, c, 0])
}

/// Sets the protocol type.
pub(super) fn fix(header: &mut [u8], inner: &Inner) {
    header[PROTOCOL_TYPE..PROTOCOL_TYPE + 2].copy_from_slice(&inner.ethertype().to_be_bytes());
}
