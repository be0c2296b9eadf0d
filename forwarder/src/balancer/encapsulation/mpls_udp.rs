//! `mpls-udp`: one MPLS label behind UDP, RFC 7510. The label says what is inside, so that the backend
//! must take both families by it.

use super::descriptor::{Carrier, Descriptor, Header, Inner, Setting};
use super::parameters::Parameters;

pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "mpls-udp",
    carrier: Carrier::Udp(6635),
    keys: &[Setting::UdpPort, Setting::UdpChecksum, Setting::Label],
    required: &[Setting::Label],
    header: |parameters| Header::from(&entry(parameters)),
};

/// Time to live of the label, as of the outer packet.
const TTL: u32 = 64;
/// S: the bottom of the stack.
const BOTTOM: u32 = 1 << 8;

/// The label stack entry (RFC 3032), traffic class 0: the outer IP header carries the DSCP.
pub(super) fn entry(parameters: &Parameters) -> [u8; 4] {
    (parameters.label.unwrap_or_default() << 12 | BOTTOM | TTL).to_be_bytes()
}

/// Nothing of the header follows the packet.
pub(super) fn fix(_: &mut [u8], _: &Inner) {}
