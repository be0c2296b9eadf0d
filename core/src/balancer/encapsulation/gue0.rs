//! `gue0`: generic UDP encapsulation, variant 0 (draft-ietf-intarea-gue, section 3). Four bytes behind UDP, without
//! extension fields.

use super::descriptor::{Carrier, Descriptor, Header, Inner, Setting};
use super::gue;

pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "gue0",
    carrier: Carrier::Udp(gue::PORT),
    keys: &[Setting::UdpPort, Setting::UdpChecksum],
    required: &[],
    // Variant, C and Hlen in one byte, the inner packet's protocol number, 16 flags.
    header: |_| Header::from(&[0; 4]),
};

/// Sets the protocol number.
pub(super) fn fix(header: &mut [u8], inner: &Inner) {
    header[1] = inner.protocol();
}
