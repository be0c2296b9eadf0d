//! Fragmentation of IPv4 packets that allow it, as a router does it (RFC 791 section 3.2), and of packets that this
//! node sends itself, as their source does it (RFC 8200 section 4.5 for IPv6).
//!
//! [`Fragments`] is a plan and copies no payload: each [`OutgoingFragment`] has its header and the range of the frame
//! that follows. Packets that are fragments themselves are fragmented like any other.

use std::ops::Range;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use crate::balancer::verdict::DropReason;
use crate::wire::{Checksum, Family, Fragment, Packet, ipv4, ipv6};

/// The longest header: IPv4's with all options. IPv6's with a fragment header has 48 bytes.
const LONGEST: usize = 60;
/// Length of IPv6's fragment header.
const FRAGMENT_HEADER: usize = size_of::<ipv6::FragmentHeader>();
/// Fragment offsets count in units of so many bytes.
const UNIT: usize = 8;

/// The fragments of a packet, in order.
#[derive(Clone, Debug)]
pub struct Fragments {
    /// The header of the next fragment, without its total length and checksum.
    header: Header,
    /// The header of all fragments after the first, without their total length and checksum.
    later: Header,
    /// The range of the frame that is not in a fragment yet.
    payload: Range<usize>,
    /// The offset of that range in the whole packet, in units of 8 bytes.
    offset: usize,
    /// Flags of the packet. Every fragment has them, and all but the last "more fragments" too.
    flags: u16,
    family: Family,
    limit: usize,
}

/// One fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingFragment {
    header: Header,
    /// The range of the frame that follows the header.
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

    /// This header with only the options that are copied into every fragment.
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
        // Zeros up to the next word end the list.
        later.length = later.length.next_multiple_of(4);
        let words = u8::try_from(later.length / 4).unwrap_or(15);
        later.bytes[0] = 0x40 | words;
        later
    }
}

impl Fragments {
    /// The fragments of a packet, each of `limit` bytes at most, including headers.
    ///
    /// # Errors
    /// [`DropReason::ExceedsMtu`] if the packet must not be fragmented (IPv6, "don't fragment") or if the limit leaves
    /// no room; [`DropReason::FragmentMalformed`] if it reaches beyond the longest packet there is.
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

    /// The fragments of a packet that this node sends itself. A source may fragment IPv6 too, and packets with "don't
    /// fragment", which the fragments do not have. The fragments get `identification`, because a whole packet has none
    /// that a receiver could reassemble by (RFC 6864 section 4.1). IPv4 without "don't fragment" keeps its own.
    ///
    /// # Errors
    /// [`DropReason::ExceedsMtu`] if the limit leaves no room, or if IPv6 has other extension headers than that of a
    /// fragment; [`DropReason::FragmentMalformed`] as for [`Fragments::new`].
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
        // Every fragment gets a checksum of its own.
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

    /// Completes the header of a fragment of `length` bytes.
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
        // There is at least one fragment, also of a packet without payload. Then the header is used up.
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
