//! `mpls-udp`: one MPLS label behind UDP, RFC 7510. Nothing but the label identifies the inner packet, so the backend
//! must accept both families under it.

use super::descriptor::{Carrier, Descriptor, Header, Inner, Setting};
use super::parameters::Parameters;

pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "mpls-udp",
    carrier: Carrier::Udp(6635),
    keys: &[Setting::UdpPort, Setting::UdpChecksum, Setting::Label],
    required: &[Setting::Label],
    header: |parameters| Header::from(&entry(parameters)),
};

/// Time to live of the label, the same as the outer packet's.
const TTL: u32 = 64;
/// The S bit: this label is the bottom of the stack.
const BOTTOM: u32 = 1 << 8;

/// The label stack entry (RFC 3032), traffic class 0: the outer IP header carries the DSCP.
pub(super) fn entry(parameters: &Parameters) -> [u8; 4] {
    (parameters.label.unwrap_or_default() << 12 | BOTTOM | TTL).to_be_bytes()
}

/// Does nothing: the header is the same for every packet.
pub(super) fn fix(_: &mut [u8], _: &Inner) {}
