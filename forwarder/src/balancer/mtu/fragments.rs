//! Fragmentation of IPv4 packets that allow it, as a router does it (RFC 791 section 3.2), and of packets
//! that this node sends itself, as their source does it (RFC 8200 section 4.5 for IPv6).
//!
//! A plan, not a copy: each [`OutgoingFragment`] says which header it gets and which bytes of the frame follow.
//! Packets that are fragments themselves are cut like any other.

use std::ops::Range;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use crate::balancer::verdict::DropReason;
use crate::wire::{Checksum, Family, Fragment, Packet, ipv4, ipv6};

/// The longest header: IPv4's with all options. IPv6's with a fragment header has 48 bytes.
const LONGEST: usize = 60;
/// IPv6's fragment header.
const FRAGMENT_HEADER: usize = size_of::<ipv6::FragmentHeader>();
/// Fragment offsets count in this.
const UNIT: usize = 8;

/// The pieces of a packet, in order.
#[derive(Clone, Debug)]
pub struct Fragments {
    /// Of the next piece, total length and checksum excepted.
    header: Header,
    /// Of those after the first, likewise.
    later: Header,
    /// What of the frame is yet to be sent.
    payload: Range<usize>,
    /// Where that lies in the whole packet, in units of 8 bytes.
    offset: usize,
    /// Flags of the packet. The last piece has them, and the others "more fragments" as well.
    flags: u16,
    family: Family,
    limit: usize,
}

/// One piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingFragment {
    header: Header,
    /// Which bytes of the frame follow the header.
    pub payload: Range<usize>,
}

impl OutgoingFragment {
    /// The IP header, options included.
    pub fn header(&self) -> &[u8] {
        self.header.bytes()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Header {
    fn new(bytes: &[u8]) -> Option<Header> {
        let mut header = Header { bytes: [0; LONGEST], length: bytes.len() };
        header.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(header)
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// This header with only the options that stand in every fragment.
    fn of_later(&self) -> Header {
        let mut later = Header { bytes: [0; LONGEST], length: ipv4::LENGTH };
        later.bytes[..ipv4::LENGTH].copy_from_slice(&self.bytes[..ipv4::LENGTH]);
        for (kind, option) in ipv4::options(&self.bytes()[ipv4::LENGTH..]) {
            if kind & ipv4::COPIED != 0 {
                let end = later.length + option.len();
                later.bytes[later.length..end].copy_from_slice(option);
                later.length = end;
            }
        }
        // Zeros to the next word: they end the list.
        later.length = later.length.next_multiple_of(4);
        let words = u8::try_from(later.length / 4).unwrap_or(15);
        later.bytes[0] = 0x40 | words;
        later
    }
}

impl Fragments {
    /// The pieces of a packet, each of `limit` bytes at most, headers included.
    ///
    /// # Errors
    /// [`DropReason::ExceedsMtu`] if it must not be cut, being IPv6 or saying "don't fragment", or if the limit
    /// leaves no room; [`DropReason::FragmentMalformed`] for one that reaches beyond the longest packet there is.
    pub fn new(packet: &Packet, frame: &[u8], limit: u16) -> Result<Fragments, DropReason> {
        packet.addresses_v4(frame).ok_or(DropReason::ExceedsMtu)?;
        let bytes = frame.get(packet.l3.into()..packet.l4.into()).ok_or(DropReason::ExceedsMtu)?;
        let header = Header::new(bytes).ok_or(DropReason::ExceedsMtu)?;
        let (fixed, _) =
            ipv4::Header::ref_from_prefix(bytes).map_err(|_| DropReason::ExceedsMtu)?;
        let payload = packet.l4.into()..packet.end as usize;
        let limit = usize::from(limit);
        let fits = packet.ip_length() <= limit;
        if !fits && (fixed.dont_fragment() || header.length + UNIT > limit) {
            return Err(DropReason::ExceedsMtu);
        }
        let offset = usize::from(fixed.fragment.get() & ipv4::OFFSET_MASK);
        if offset * UNIT + payload.len() > usize::from(u16::MAX) {
            return Err(DropReason::FragmentMalformed);
        }
        let flags = fixed.fragment.get() & !ipv4::OFFSET_MASK;
        let later = header.of_later();
        Ok(Fragments { header, later, payload, offset, flags, family: Family::V4, limit })
    }

    /// The pieces of a packet that this node sends itself. Its source may cut IPv6 too, and decides about
    /// "don't fragment", which the pieces do not have. A whole packet has no identification that its
    /// receiver could put pieces together by (RFC 6864 section 4.1): the pieces get this one, unless IPv4
    /// without "don't fragment" has one already.
    ///
    /// # Errors
    /// [`DropReason::ExceedsMtu`] if the limit leaves no room, or if IPv6 has extension headers besides that of
    /// a fragment; [`DropReason::FragmentMalformed`] as for [`Fragments::new`].
    pub fn of_own(
        packet: &Packet,
        frame: &mut [u8],
        limit: u16,
        identification: u32,
    ) -> Result<Fragments, DropReason> {
        if packet.family == Family::V6 {
            return Fragments::of_own_v6(packet, frame, limit, identification);
        }
        let bytes =
            frame.get_mut(packet.l3.into()..packet.l4.into()).ok_or(DropReason::ExceedsMtu)?;
        let (fixed, _) =
            ipv4::Header::mut_from_prefix(bytes).map_err(|_| DropReason::ExceedsMtu)?;
        if fixed.dont_fragment() {
            fixed.fragment = U16::new(fixed.fragment.get() & !ipv4::DONT_FRAGMENT);
            if packet.fragment == Fragment::Whole {
                let [.., high, low] = identification.to_be_bytes();
                fixed.identification = U16::from_bytes([high, low]);
            }
        }
        // Every piece gets a checksum of its own.
        Fragments::new(packet, frame, limit)
    }

    fn of_own_v6(
        packet: &Packet,
        frame: &[u8],
        limit: u16,
        identification: u32,
    ) -> Result<Fragments, DropReason> {
        let bytes = frame.get(packet.l3.into()..packet.l4.into()).ok_or(DropReason::ExceedsMtu)?;
        let (fixed, extensions) =
            ipv6::Header::ref_from_prefix(bytes).map_err(|_| DropReason::ExceedsMtu)?;
        let whole = ipv6::FragmentHeader {
            next_header: fixed.next_header,
            reserved: 0,
            offset_more: U16::ZERO,
            identification: U32::new(identification),
        };
        let fragment = match packet.fragment {
            Fragment::Whole if extensions.is_empty() => whole,
            Fragment::First | Fragment::Later if fixed.next_header == ipv6::FRAGMENT => {
                ipv6::FragmentHeader::read_from_bytes(extensions)
                    .map_err(|_| DropReason::ExceedsMtu)?
            }
            _ => return Err(DropReason::ExceedsMtu),
        };
        let fixed = ipv6::Header { next_header: ipv6::FRAGMENT, ..*fixed };
        let mut header = Header { bytes: [0; LONGEST], length: ipv6::LENGTH + FRAGMENT_HEADER };
        header.bytes[..ipv6::LENGTH].copy_from_slice(fixed.as_bytes());
        header.bytes[ipv6::LENGTH..header.length].copy_from_slice(fragment.as_bytes());
        let limit = usize::from(limit);
        if header.length + UNIT > limit {
            return Err(DropReason::ExceedsMtu);
        }
        let payload = packet.l4.into()..packet.end as usize;
        let offset = usize::from(fragment.offset()) / UNIT;
        if offset * UNIT + payload.len() > usize::from(u16::MAX) {
            return Err(DropReason::FragmentMalformed);
        }
        let flags = fragment.more_fragments().into();
        let later = header.clone();
        Ok(Fragments { header, later, payload, offset, flags, family: Family::V6, limit })
    }

    /// Makes the header that of a piece of so many bytes, which the last one is or is not.
    fn complete(&self, header: &mut Header, length: usize, is_last: bool) -> Option<()> {
        let bytes = &mut header.bytes[..header.length];
        match self.family {
            Family::V4 => {
                let more = if is_last { 0 } else { ipv4::MORE_FRAGMENTS };
                let (fixed, options) = ipv4::Header::mut_from_prefix(bytes).ok()?;
                let total = ipv4::LENGTH + options.len() + length;
                fixed.total_length = U16::new(u16::try_from(total).ok()?);
                fixed.fragment = U16::new(self.flags | more | u16::try_from(self.offset).ok()?);
                fixed.checksum = U16::ZERO;
                let sum = Checksum::new().add_bytes(fixed.as_bytes()).add_bytes(options).finish();
                fixed.checksum = U16::new(sum);
            }
            Family::V6 => {
                let more = u16::from(!is_last);
                let (fixed, rest) = ipv6::Header::mut_from_prefix(bytes).ok()?;
                fixed.payload_length = U16::new(u16::try_from(rest.len() + length).ok()?);
                let (fragment, _) = ipv6::FragmentHeader::mut_from_prefix(rest).ok()?;
                let offset = u16::try_from(self.offset * UNIT).ok()?;
                fragment.offset_more = U16::new(offset | self.flags | more);
            }
        }
        Some(())
    }
}

impl Iterator for Fragments {
    type Item = OutgoingFragment;

    fn next(&mut self) -> Option<OutgoingFragment> {
        // One piece at least, for there are packets without payload; its header is then used up.
        if self.header.length == 0 {
            return None;
        }
        let mut header = self.header.clone();
        let room = self.limit.saturating_sub(header.length);
        let is_last = self.payload.len() <= room;
        let length = if is_last { self.payload.len() } else { room / UNIT * UNIT };
        let payload = self.payload.start..self.payload.start + length;
        self.complete(&mut header, length, is_last)?;
        self.offset += length / UNIT;
        self.payload.start = payload.end;
        if is_last {
            self.header.length = 0;
        } else {
            self.header = self.later.clone();
        }
        Some(OutgoingFragment { header, payload })
    }
}

#[cfg(test)]
mod tests;
