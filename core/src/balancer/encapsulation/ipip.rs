//! `ipip`: the packet follows the outer IP header at once. IPv4 in IPv4 is RFC 2003, in IPv6 RFC 2473; IPv6 in IPv4 is
//! RFC 4213, in IPv6 RFC 2473.

use super::descriptor::{Carrier, Descriptor, Header, Inner};

pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "ipip",
    carrier: Carrier::InnerProtocol,
    keys: &[],
    required: &[],
    header: |_| Header::NONE,
};

/// Does nothing: the encapsulation has no header of its own.
pub(super) fn fix(_: &mut [u8], _: &Inner) {}
