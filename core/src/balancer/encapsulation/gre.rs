//! `gre`: RFC 2784 without checksum, and RFC 2890's key if one is set.

use super::descriptor::{Carrier, Descriptor, Header, Inner, Setting};
use super::parameters::{GreKey, Parameters};
use crate::wire::{ethernet, protocol};

pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "gre",
    carrier: Carrier::Ip(protocol::GRE),
    keys: &[Setting::GreKey],
    required: &[],
    header,
};

/// Offset of the key, if there is one.
pub(super) const KEY_AT: usize = 4;

/// K: a key follows.
const KEY: u8 = 0x20;

/// Flags, version 0, the protocol type, then the key. [`fix`] sets the protocol type for each packet; without a key it
/// is IPv4's until then.
pub(super) fn header(parameters: &Parameters) -> Header {
    match parameters.gre_key {
        None => {
            let [a, b] = ethernet::IPV4.to_be_bytes();
            Header::from(&[0, 0, a, b])
        }
        Some(GreKey::Fixed(key)) => {
            let [a, b, c, d] = key.to_be_bytes();
            Header::from(&[KEY, 0, 0, 0, a, b, c, d])
        }
        Some(GreKey::Flow) => Header::from(&[KEY, 0, 0, 0, 0, 0, 0, 0]),
    }
}

/// Sets the protocol type to the inner packet's Ethertype.
#[inline]
pub(super) fn fix_type(header: &mut [u8], ethertype: u16) {
    header[2..4].copy_from_slice(&ethertype.to_be_bytes());
}

/// Sets the protocol type, and the key if the flow chooses it.
pub(super) fn fix(header: &mut [u8], inner: &Inner) {
    fix_type(header, inner.ethertype());
    if inner.keyed_by_flow
        && let Some(key) = header.get_mut(KEY_AT..KEY_AT + 4)
    {
        key.copy_from_slice(&inner.flow_key().to_be_bytes());
    }
}
