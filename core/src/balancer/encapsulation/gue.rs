//! `gue`: generic UDP encapsulation, variant 1 (draft-ietf-intarea-gue, section 4). The packet follows UDP at once. Its
//! IP version is the variant: 4 and 6 both begin with the bits 01.

use super::descriptor::{Carrier, Descriptor, Header, Inner, Setting};

/// The UDP port assigned to GUE.
pub(super) const PORT: u16 = 6080;

pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "gue",
    carrier: Carrier::Udp(PORT),
    keys: &[Setting::UdpPort, Setting::UdpChecksum],
    required: &[],
    header: |_| Header::NONE,
};

/// Does nothing: the encapsulation has no header of its own.
pub(super) fn fix(_: &mut [u8], _: &Inner) {}
