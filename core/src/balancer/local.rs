//! Addresses that are the node's: virtual addresses, and its own.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::address::{Address, address};
use super::flow::FlowKey;
use super::index::Index;
use super::services::Vip;
use crate::wire::Family;
use crate::wire::plain::word;

/// What an address of the node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Local {
    /// A virtual address. It may be one of the node's own too.
    Virtual(Vip),
    /// An address of the node itself.
    Own,
}

/// The addresses of the node, except those that a prefix names.
#[derive(Debug, PartialEq)]
pub(super) struct Locals {
    v4: Index<u64, Local>,
    v6: Index<[u64; 3], Local>,
}

impl Locals {
    /// Indexes virtual addresses, with what the node replies for them, and its own addresses.
    pub(super) fn new(vips: &FxHashMap<Address, Vip>, own: impl Iterator<Item = IpAddr>) -> Locals {
        let own =
            own.map(address).filter(|own| !vips.contains_key(own)).map(|own| (own, Local::Own));
        let vips = vips.iter().map(|(&vip, &replies)| (vip, Local::Virtual(replies)));
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for ((family, bits), local) in own.chain(vips) {
            match family {
                Family::V4 => v4.push((key_v4(bits), local)),
                Family::V6 => v6.push((key_v6(bits), local)),
            }
        }
        Locals { v4: Index::new(&v4, Local::Own), v6: Index::new(&v6, Local::Own) }
    }

    /// What an address is; `None` if it is not the node's.
    pub(super) fn get(&self, ip: IpAddr) -> Option<Local> {
        match address(ip) {
            (Family::V4, bits) => self.v4.get(key_v4(bits)),
            (Family::V6, bits) => self.v6.get(key_v6(bits)),
        }
        .copied()
    }

    /// What the destination of a flow is; `None` if it is not the node's.
    #[inline(always)]
    pub(super) fn destination(&self, flow: &FlowKey) -> Option<Local> {
        match *flow {
            FlowKey::V4([_, _, _, _, a, b, c, d, ..]) => {
                self.v4.get(u32::from_be_bytes([a, b, c, d]).into())
            }
            FlowKey::V6(key) => self.v6.get(key_v6(u128::from_be_bytes(word(&key, 16)))),
        }
        .copied()
    }
}

/// The low and the high half.
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
#[inline(always)]
const fn key_v6(bits: u128) -> [u64; 3] {
    [bits as u64, (bits >> 64) as u64, 0]
}

#[expect(clippy::cast_possible_truncation, reason = "an IPv4 address has 32 bits")]
const fn key_v4(bits: u128) -> u64 {
    bits as u32 as u64
}
