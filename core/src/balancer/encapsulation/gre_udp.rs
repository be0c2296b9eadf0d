//! `gre-udp`: GRE behind UDP, RFC 8086.

use super::descriptor::{Carrier, Descriptor, Setting};
pub(super) use super::gre::fix;
use super::gre::header;

pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "gre-udp",
    carrier: Carrier::Udp(4754),
    keys: &[Setting::UdpPort, Setting::UdpChecksum, Setting::GreKey],
    required: &[],
    header,
};
