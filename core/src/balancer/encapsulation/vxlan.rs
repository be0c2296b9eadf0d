//! `vxlan`: RFC 7348. Eight bytes behind UDP, then an Ethernet header without a tag.

use super::descriptor::{Carrier, Descriptor, Header, Inner, Setting};
use super::parameters::Parameters;

pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "vxlan",
    carrier: Carrier::Udp(4789),
    keys: &[
        Setting::UdpPort,
        Setting::UdpChecksum,
        Setting::Vni,
        Setting::InnerSourceMac,
        Setting::InnerDestinationMac,
    ],
    required: &[Setting::Vni],
    header,
};

/// The I flag: the network identifier is valid.
const VNI: u8 = 0x08;
/// Offset of the inner Ethertype.
const ETHERTYPE: usize = 8 + 12;

fn header(parameters: &Parameters) -> Header {
    let [_, a, b, c] = parameters.vni.unwrap_or_default().to_be_bytes();
    let [source, destination] = [parameters.inner_source_mac, parameters.inner_destination_mac]
        .map(Option::unwrap_or_default);
    Header::from(&[VNI, 0, 0, 0, a, b, c, 0]).and(&destination).and(&source).and(&[0; 2])
}

/// Sets the inner Ethertype.
pub(super) fn fix(header: &mut [u8], inner: &Inner) {
    header[ETHERTYPE..].copy_from_slice(&inner.ethertype().to_be_bytes());
}
