//! The headers of one backend as data for the fast path: bytes to copy before a packet, and where a few fields go.
//!
//! A [`Rewrite`] is compiled from a [`Template`], which says the same by steps. Every encapsulation has the same
//! fields that differ from packet to packet, if at other places:
//!
//! - the outer IP header's length, traffic class and checksum or flow label;
//! - two bytes that say which family the packet has: an Ethertype, or a protocol number beside a constant byte;
//! - four bytes that a hash of the flow fills, as far as a mask has them: UDP's source port beside its destination
//!   port, or a GRE key; and the host part of an IPv4 source address;
//! - UDP's length.
//!
//! A field that a backend's headers do not have is written all the same, to a place before the frame. So packets for
//! backends of several encapsulations take the same instructions, without a branch to be guessed.
//!
//! What no rewrite does: the checksum of an outer UDP header, and reports about packets that do not fit.

use std::hint::cold_path;

use super::descriptor::Carrier;
use super::template::{TEMPLATE, Template};
use super::{Encapsulation, gre, outer, udp};
use crate::balancer::frame::{BEFORE, Border, Frame};
use crate::wire::plain::{self, Ipv4FirstWord, PlainHeaders};
use crate::wire::{Family, ethernet, hops, ipv4, ipv6, vlan};

/// Length of the longest headers: those of VXLAN over IPv6 in a VLAN.
const LONGEST: usize = 88;
/// Length of the MAC addresses, behind which tags begin.
const MACS: usize = 12;
/// Length of two tags.
const TAGS: usize = vlan::MAX_TAGS * vlan::LENGTH;
/// Length of the headers of plain GRE over IPv4.
const GRE_V4: usize = ethernet::LENGTH + ipv4::LENGTH + GRE;
/// Length of GRE without a key, and of the type with which it ends.
const GRE: usize = crate::wire::gre::LENGTH;
const TYPE: usize = 2;
/// Lengths of the outer headers.
const LENGTH_V4: u16 = short(ipv4::LENGTH);
const LENGTH_V6: u16 = short(ipv6::LENGTH);
/// The place of fields that the headers do not have: before any frame.
const NOWHERE: u8 = 0;
const _: () = assert!(BEFORE - LONGEST - vlan::MAX_TAGS * vlan::LENGTH >= 4);

/// The headers of a backend, as data. What plain GRE over IPv4 needs is in the second of two cache lines, if four bytes
/// lie before it or behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Rewrite {
    /// Places in a [`Border`]: of the bytes that follow the family, of those that follow the flow, and of UDP's length.
    family_at: u8,
    flow_at: u8,
    datagram_at: u8,
    /// By how many bits the flow's hash is shifted to the right, before the mask.
    flow_shift: u8,
    flow_mask: u32,
    flow_base: u32,
    /// Bits of an outer IPv4 source address that the flow chooses.
    host_mask: u32,
    /// What the family's bytes are, by [`Family`].
    families: [[u8; 2]; 2],
    /// By how much the sum of an outer IPv4 header's words differs by [`Family`].
    sums_more: [u16; 2],
    /// The headers, at the end.
    headers: [u8; LONGEST],
    /// Sum of the words of an outer IPv4 header without its first 32 bits.
    sum: u32,
    /// The longest packet that fits with the headers; 0 for none.
    longest: u16,
    /// Bytes of all headers.
    length: u8,
    /// Where the outer IP header is in a [`Border`].
    ip: u8,
    outer: Outer,
    /// All bits are set if packets keep their tags, none if the headers have one in their place.
    kept_tags: u8,
    class: Class,
}

const _: () = assert!(size_of::<Rewrite>() == 124);

/// What rewrites need, the least first. A loop over packets serves one class of backends, and all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(in crate::balancer) enum Class {
    /// Headers of plain GRE over IPv4.
    GreV4,
    /// An outer IPv4 header with a source address that is the same for all packets.
    V4,
    /// Anything.
    Any,
}

/// A loop's way to rewrite packets for backends of one class.
pub trait Apply {
    /// Puts the headers before a packet and removes bytes behind it. `None` means that the full path has to do it: the packet
    /// is too long, has no hop left, or the frame has not the usual room before it. Nothing has changed then.
    fn apply(
        rewrite: &Rewrite,
        packet: PlainHeaders,
        entropy: u64,
        frame: &mut impl Frame,
    ) -> Option<()>;
}

/// For plain GRE over IPv4, and packets without tags.
pub struct GreV4;
/// For plain GRE over IPv4.
pub struct TaggedGreV4;
/// For tunnels over IPv4 from a source address that is the same for all packets.
pub struct InV4;
/// For any encapsulation.
pub struct Any;

impl Apply for GreV4 {
    #[inline(always)]
    fn apply(
        rewrite: &Rewrite,
        packet: PlainHeaders,
        _entropy: u64,
        frame: &mut impl Frame,
    ) -> Option<()> {
        rewrite.apply_gre_v4(packet.first, frame)
    }
}

impl Apply for TaggedGreV4 {
    #[inline(always)]
    fn apply(
        rewrite: &Rewrite,
        packet: PlainHeaders,
        _entropy: u64,
        frame: &mut impl Frame,
    ) -> Option<()> {
        rewrite.apply_tagged_gre_v4(packet, frame)
    }
}

impl Apply for InV4 {
    #[inline(always)]
    fn apply(
        rewrite: &Rewrite,
        packet: PlainHeaders,
        entropy: u64,
        frame: &mut impl Frame,
    ) -> Option<()> {
        rewrite.apply_in_v4(packet, entropy, frame)
    }
}

impl Apply for Any {
    #[inline(always)]
    fn apply(
        rewrite: &Rewrite,
        packet: PlainHeaders,
        entropy: u64,
        frame: &mut impl Frame,
    ) -> Option<()> {
        rewrite.apply(packet, entropy, frame)
    }
}

/// What the packet becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Outer {
    /// A packet in IPv4.
    V4,
    /// A packet in IPv6.
    V6,
    /// The same packet with other MAC addresses.
    Link,
}

impl Rewrite {
    /// Headers for no packet.
    pub(in crate::balancer) const NONE: Rewrite = Rewrite {
        family_at: NOWHERE,
        flow_at: NOWHERE,
        datagram_at: NOWHERE,
        flow_shift: 0,
        flow_mask: 0,
        flow_base: 0,
        host_mask: 0,
        families: [[0; 2]; 2],
        sums_more: [0; 2],
        headers: [0; LONGEST],
        sum: 0,
        longest: 0,
        length: 0,
        ip: 0,
        outer: Outer::Link,
        kept_tags: 0,
        class: Class::GreV4,
    };

    /// The rewrite that does what a template does; `None` for a template that computes checksums of UDP, or has the
    /// flow choose both UDP's source port and a key.
    pub(in crate::balancer) fn compile(template: &Template) -> Option<Rewrite> {
        let Template { carrier, outer, keyed_by_flow, .. } = *template;
        let is_udp = matches!(carrier, Carrier::Udp(_));
        if template.computes_checksum || (is_udp && keyed_by_flow) {
            return None;
        }
        // Where a byte of the template is in a border. A tag before it moves nothing: the headers end at the packet.
        let end = usize::from(template.length);
        let place = |at: usize| u8::try_from((BEFORE + at).checked_sub(end)?).ok();
        let datagram = ethernet::LENGTH + outer.length();
        let of_family = [Family::V4, Family::V6].map(|family| template.headers_of(family));
        let (family_at, families) = difference(&of_family);
        let mut rewrite = Rewrite {
            longest: template.mtu,
            length: template.length,
            kept_tags: u8::MAX,
            family_at: family_at.map_or(Some(NOWHERE), place)?,
            families,
            ..Rewrite::NONE
        };
        if carrier != Carrier::Link {
            rewrite.longest = template.mtu.saturating_sub(u16::try_from(template.overhead()).ok()?);
            rewrite.ip = place(ethernet::LENGTH)?;
            rewrite.outer = Outer::V6;
        }
        if carrier != Carrier::Link && outer == outer::Family::V4 {
            rewrite.outer = Outer::V4;
            rewrite.host_mask = outer::host_mask(template.host_bits);
            let [v4, v6] =
                of_family.map(|headers| outer::sum_v4(&headers[ethernet::LENGTH..datagram]));
            rewrite.sum = v4 - (Ipv4FirstWord::BASE.0 >> 16);
            // IPv6's protocol number is the larger one.
            rewrite.sums_more = [0, u16::try_from(v6.checked_sub(v4)?).ok()?];
        }
        if is_udp {
            let port = [template.headers[datagram + 2], template.headers[datagram + 3]];
            rewrite.flow_at = place(datagram)?;
            (rewrite.flow_shift, rewrite.flow_mask, rewrite.flow_base) = udp::ports_of_flow(port);
            rewrite.datagram_at = place(datagram + udp::LENGTH_AT)?;
        } else if keyed_by_flow {
            rewrite.flow_at = place(datagram + gre::KEY_AT)?;
            rewrite.flow_mask = u32::MAX;
        }
        rewrite.class = match (rewrite.outer, template.host_bits) {
            (Outer::V4, 0) if end == GRE_V4 && template.vlan.is_none() => {
                match template.encapsulation() {
                    Encapsulation::Gre => Class::GreV4,
                    _ => Class::V4,
                }
            }
            (Outer::V4, 0) => Class::V4,
            _ => Class::Any,
        };
        rewrite
            .headers
            .get_mut(LONGEST.checked_sub(end)?..)?
            .copy_from_slice(&template.headers[..end]);
        if let Some(identifier) = template.vlan {
            const TAG: usize = vlan::LENGTH;
            rewrite.kept_tags = 0;
            rewrite.length = u8::try_from(end + TAG).ok()?;
            let begin = LONGEST.checked_sub(end + TAG)?;
            rewrite.headers.copy_within(begin + TAG..begin + TAG + MACS, begin);
            rewrite.headers[begin + MACS..begin + MACS + TAG]
                .copy_from_slice(&vlan::tag(0, identifier));
        }
        Some(rewrite)
    }

    /// What the rewrite needs.
    pub(in crate::balancer) fn class(&self) -> Class {
        self.class
    }

    /// Rewrites as [`Apply::apply`] says, for any encapsulation.
    #[inline(always)]
    pub(in crate::balancer) fn apply(
        &self,
        packet: PlainHeaders,
        entropy: u64,
        frame: &mut impl Frame,
    ) -> Option<()> {
        let PlainHeaders { first, family, .. } = packet;
        if !self.fits(first) {
            return None;
        }
        let length = match self.outer {
            Outer::Link => kept_by_link(packet, frame)?,
            Outer::V4 | Outer::V6 => first.length(),
        };
        let border = self.begin(packet, length, frame)?;
        let sum = self.fix(family, entropy, border);
        match self.outer {
            Outer::V4 => {
                let host = (entropy >> 32) as u32 & self.host_mask;
                let at = usize::from(self.ip).min(BEFORE - ipv4::LENGTH);
                let sum = sum + outer::choose_host(&mut border[at..at + ipv4::LENGTH], host);
                self.fix_v4(first, sum, border);
            }
            Outer::V6 => {
                let first = first.longer(self.growth());
                put(border, self.datagram_at, 0, (first.length() - LENGTH_V6).to_be_bytes());
                let at = usize::from(self.ip).min(BEFORE - ipv6::LENGTH);
                let ip = &mut border[at..at + ipv6::LENGTH];
                outer::fix_v6(ip, first.length(), first.traffic_class(), entropy);
            }
            Outer::Link => {
                // `kept_by_link` has found a hop.
                hops::lower(&mut border[BEFORE..]);
            }
        }
        Some(())
    }

    /// Whether a packet has a hop left, if it goes on by the link.
    #[inline(always)]
    pub(in crate::balancer) fn has_hop(&self, packet: PlainHeaders, frame: &impl Frame) -> bool {
        self.outer != Outer::Link || kept_by_link(packet, frame).is_some()
    }

    /// As [`Rewrite::apply`], for backends of [`Class::V4`].
    #[inline(always)]
    fn apply_in_v4(
        &self,
        packet: PlainHeaders,
        entropy: u64,
        frame: &mut impl Frame,
    ) -> Option<()> {
        if !self.fits(packet.first) {
            return None;
        }
        let border = self.begin(packet, packet.first.length(), frame)?;
        let sum = self.fix(packet.family, entropy, border);
        self.fix_v4(packet.first, sum, border);
        Some(())
    }

    /// Whether a packet is not too long.
    #[inline(always)]
    pub(in crate::balancer) fn fits(&self, first: Ipv4FirstWord) -> bool {
        first.length() <= self.longest
    }

    /// As [`Rewrite::apply`], for backends of [`Class::GreV4`] and packets without tags. The lengths are known to the
    /// compiler, and the Ethertype with which GRE ends lies where the frame's was.
    #[inline(always)]
    fn apply_gre_v4(&self, first: Ipv4FirstWord, frame: &mut impl Frame) -> Option<()> {
        if !self.fits(first) {
            return None;
        }
        let headers = frame.wrap::<GRE_V4>(first.length())?;
        // Two wide copies, which overlap.
        const BEGIN: usize = LONGEST - GRE_V4;
        const END: usize = GRE_V4 - TYPE;
        headers[..32].copy_from_slice(&self.headers[BEGIN..BEGIN + 32]);
        headers[END - 8..END].copy_from_slice(&self.headers[BEGIN + END - 8..BEGIN + END]);
        let growth = const { short(GRE_V4 - ethernet::LENGTH) };
        outer::begin_v4(&mut headers[ethernet::LENGTH..], self.sum, first.longer(growth));
        Some(())
    }

    /// As [`Rewrite::apply`], for backends of [`Class::GreV4`]. Lengths and places are known to the compiler, and packets
    /// with and without tags take the same instructions.
    #[inline(always)]
    fn apply_tagged_gre_v4(&self, packet: PlainHeaders, frame: &mut impl Frame) -> Option<()> {
        const END: usize = BEFORE - TYPE;
        const IP: usize = BEFORE - GRE - ipv4::LENGTH;
        // The Ethertype of the outer header lies between the tags and the IP header.
        const TAGS_END: usize = IP - TYPE;
        const GROWTH: u16 = short(GRE_V4 - ethernet::LENGTH);
        let first = packet.first;
        if !self.fits(first) {
            return None;
        }
        let kept = usize::from(packet.tags);
        let border = frame.reframe(packet.l3(), GRE_V4 + kept, first.length())?;
        let tags: [u8; TAGS] = plain::word(border, END - TAGS);
        // All headers up to the type with which GRE ends: that lies where the frame's was.
        border[END - 32..END].copy_from_slice(&self.headers[LONGEST - TYPE - 32..LONGEST - TYPE]);
        border[TAGS_END - TAGS..TAGS_END].copy_from_slice(&tags);
        let macs: [u8; MACS] = plain::word(&self.headers, LONGEST - GRE_V4);
        let at = TAGS_END - MACS - kept.min(TAGS);
        border[at..at + MACS].copy_from_slice(&macs);
        outer::begin_v4(&mut border[IP..], self.sum, first.longer(GROWTH));
        Some(())
    }

    /// Bytes that a packet grows by.
    #[inline(always)]
    fn growth(&self) -> u16 {
        const { short(BEFORE) }.wrapping_sub(self.ip.into())
    }

    /// Replaces all before the packet by the headers, and keeps so many bytes of it and behind it.
    #[inline(always)]
    fn begin<'f>(
        &self,
        packet: PlainHeaders,
        length: u16,
        frame: &'f mut impl Frame,
    ) -> Option<&'f mut Border> {
        let kept = usize::from(packet.tags & self.kept_tags);
        let border = frame.reframe(packet.l3(), usize::from(self.length) + kept, length)?;
        let tags: [u8; TAGS] = plain::word(border, BEFORE - 2 - TAGS);
        // Three wide copies, of which the last two overlap.
        for at in [0, 32, LONGEST - 32] {
            let to = BEFORE - LONGEST + at;
            border[to..to + 32].copy_from_slice(&self.headers[at..at + 32]);
        }
        if kept > 0 {
            cold_path();
            self.keep_tags(border, tags, kept);
        }
        Some(border)
    }

    /// Writes what follows the packet's family and flow. Returns the sum of the words of an outer IPv4 header.
    #[inline(always)]
    fn fix(&self, family: Family, entropy: u64, border: &mut Border) -> u32 {
        let family = family as usize;
        put(border, self.family_at, 0, self.families[family]);
        let hash = (entropy >> 32) as u32;
        let of_flow = hash >> (self.flow_shift & 31) & self.flow_mask | self.flow_base;
        put(border, self.flow_at, 0, of_flow.to_be_bytes());
        self.sum + u32::from(self.sums_more[family])
    }

    /// Completes an outer IPv4 header, whose other words sum to `sum`, and UDP's length.
    #[inline(always)]
    fn fix_v4(&self, first: Ipv4FirstWord, sum: u32, border: &mut Border) {
        let first = first.longer(self.growth());
        put(border, self.datagram_at, 0, (first.length() - LENGTH_V4).to_be_bytes());
        put(border, self.ip, 0, first.0.to_be_bytes());
        put(border, self.ip, outer::CHECKSUM_V4, outer::checksum_v4(first, sum).to_be_bytes());
    }

    /// Puts the MAC addresses before the tags that a packet keeps.
    #[inline(always)]
    fn keep_tags(&self, border: &mut Border, tags: [u8; TAGS], kept: usize) {
        let length = usize::from(self.length).clamp(MACS, LONGEST);
        let macs: [u8; MACS] = plain::word(&self.headers, LONGEST - length);
        let end = BEFORE - length + MACS;
        // The tags come last in their eight bytes, so the MAC addresses follow them, from the end on.
        border[end - TAGS..end].copy_from_slice(&tags);
        border[end - kept - MACS..end - kept].copy_from_slice(&macs);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "lengths of headers")]
const fn short(length: usize) -> u16 {
    length as u16
}

/// Writes bytes to a place in a border, or so many bytes behind it.
#[inline(always)]
fn put<const N: usize>(border: &mut Border, at: u8, behind: usize, bytes: [u8; N]) {
    const { assert!(127 + outer::CHECKSUM_V4 + N <= size_of::<Border>() || N > 2) };
    let at = usize::from(at & 127) + behind;
    border[at..at + N].copy_from_slice(&bytes);
}

/// The first two bytes of the headers for IPv4 that differ from those for IPv6, and both. The second byte may be the same.
fn difference([v4, v6]: &[[u8; TEMPLATE]; 2]) -> (Option<usize>, [[u8; 2]; 2]) {
    match v4.iter().zip(v6).position(|(v4, v6)| v4 != v6) {
        Some(at) => (Some(at), [plain::word(v4, at), plain::word(v6, at)]),
        None => (None, [[0; 2]; 2]),
    }
}

/// How many bytes of a packet and behind it stay that goes on by the link: padding to the least length does, too.
/// `None` if the packet has no hop left.
fn kept_by_link(packet: PlainHeaders, frame: &impl Frame) -> Option<u16> {
    let ip = frame.bytes().get(packet.l3()..)?;
    let hops = match packet.family {
        Family::V4 => ip.get(8)?,
        Family::V6 => ip.get(7)?,
    };
    let least = ethernet::LEAST.saturating_sub(packet.l3()).min(ip.len());
    let least = u16::try_from(least).ok()?;
    (*hops > 1).then_some(packet.first.length().max(least))
}
