//! `mpls-gre`: one MPLS label behind GRE without a key, RFC 4023.

use super::descriptor::{Carrier, Descriptor, Header, Setting};
use super::mpls_udp::entry;
pub(super) use super::mpls_udp::fix;
use crate::wire::protocol;

pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "mpls-gre",
    carrier: Carrier::Ip(protocol::GRE),
    keys: &[Setting::Label],
    required: &[Setting::Label],
    // The Ethertype of MPLS unicast.
    header: |parameters| Header::from(&[0, 0, 0x88, 0x47]).and(&entry(parameters)),
};
