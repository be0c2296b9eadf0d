//! `l2`: direct server return by destination MAC. Only the MAC addresses and the hop count of the packet change. The
//! backend must be on the link.

use super::descriptor::{Carrier, Descriptor, Header, Inner};

pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "l2",
    carrier: Carrier::Link,
    keys: &[],
    required: &[],
    header: |_| Header::NONE,
};

/// Does nothing: there is no header.
pub(super) fn fix(_: &mut [u8], _: &Inner) {}
