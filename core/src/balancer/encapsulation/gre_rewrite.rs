//! Plain GRE before a frame without a tag: the headers that nearly every packet gets.
//!
//! Their lengths are known to the compiler, so that they are copied by a few wide stores. [`super::Template`] has the
//! same headers for frames with tags.

use std::hint::cold_path;

use super::outer;
use crate::balancer::frame::Frame;
use crate::wire::plain::Ipv4FirstWord;
use crate::wire::{ethernet, gre, ipv4, ipv6};

/// Offset of the outer IP header.
const IP: usize = ethernet::LENGTH;
/// Length of all headers over IPv4.
const OVER_V4: usize = IP + ipv4::LENGTH + gre::LENGTH;
/// Length of all headers over IPv6.
const OVER_V6: usize = IP + ipv6::LENGTH + gre::LENGTH;
/// Length of GRE's protocol type, with which the headers end. It lies where the frame's Ethertype was, with the same
/// value, so it needs no store.
const TYPE: usize = 2;

/// Bytes that a packet grows by with headers of this length.
#[expect(clippy::cast_possible_truncation, reason = "at most 44")]
const fn growth(headers: usize) -> u16 {
    (headers - IP) as u16
}

/// The headers of a backend that gets GRE without a key, behind an outer header that is the same for every flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::balancer) struct GreRewrite {
    /// The longest inner packet in an outer IPv4 packet; 0 if the outer header is IPv6.
    longest_in_v4: u16,
    /// The longest inner packet in an outer IPv6 packet; 0 if the outer header is IPv4.
    longest_in_v6: u16,
    /// Sum of the words of an outer IPv4 header, without its first 32 bits.
    sum: u32,
    /// All headers up to GRE's protocol type.
    headers: [u8; OVER_V6 - TYPE],
}

impl GreRewrite {
    /// Headers for no packet.
    pub(in crate::balancer) const NONE: GreRewrite =
        GreRewrite { longest_in_v4: 0, longest_in_v6: 0, sum: 0, headers: [0; OVER_V6 - TYPE] };

    /// A rewrite with these headers, whose outer IP header has words of this sum.
    pub(super) fn new(
        outer: outer::Family,
        sum: u32,
        headers: &[u8],
        mtu: u16,
    ) -> Option<GreRewrite> {
        let longest = mtu.saturating_sub(growth(headers.len()));
        let mut gre_rewrite = match outer {
            outer::Family::V4 => {
                let sum = sum - (Ipv4FirstWord::BASE.0 >> 16);
                GreRewrite { longest_in_v4: longest, sum, ..GreRewrite::NONE }
            }
            outer::Family::V6 => GreRewrite { longest_in_v6: longest, ..GreRewrite::NONE },
        };
        let headers = headers.get(..headers.len() - TYPE)?;
        gre_rewrite.headers.get_mut(..headers.len())?.copy_from_slice(headers);
        Some(gre_rewrite)
    }

    /// Puts the headers before a packet and removes bytes behind it. `first` is the packet's first word. Returns `None`
    /// if the packet is too long, the headroom is too small, or the frame is shorter than `first` states.
    #[inline(always)]
    pub(in crate::balancer) fn apply(
        &self,
        first: Ipv4FirstWord,
        entropy: u64,
        frame: &mut impl Frame,
    ) -> Option<()> {
        if first.length() <= self.longest_in_v4 {
            return self.apply_v4(first, frame);
        }
        cold_path();
        if first.length() <= self.longest_in_v6 {
            return self.apply_v6(first, entropy, frame);
        }
        None
    }

    /// Puts IPv4 headers before a packet. The copies are a few wide stores, which overlap.
    #[inline(always)]
    fn apply_v4(&self, first: Ipv4FirstWord, frame: &mut impl Frame) -> Option<()> {
        let headers = frame.wrap::<OVER_V4>(first.length())?;
        const END: usize = OVER_V4 - TYPE;
        headers[..32].copy_from_slice(&self.headers[..32]);
        headers[END - 8..END].copy_from_slice(&self.headers[END - 8..END]);
        outer::begin_v4(&mut headers[IP..], self.sum, first.longer(growth(OVER_V4)));
        Some(())
    }

    /// Puts IPv6 headers before a packet. The copies are a few wide stores, which overlap.
    #[inline(always)]
    fn apply_v6(&self, first: Ipv4FirstWord, entropy: u64, frame: &mut impl Frame) -> Option<()> {
        let headers = frame.wrap::<OVER_V6>(first.length())?;
        const END: usize = OVER_V6 - TYPE;
        headers[..32].copy_from_slice(&self.headers[..32]);
        headers[END - 32..END].copy_from_slice(&self.headers[END - 32..END]);
        let first = first.longer(growth(OVER_V6));
        outer::fix_v6(&mut headers[IP..], first.length(), first.traffic_class(), entropy);
        Some(())
    }
}
