//! Fragmentation of IPv4 packets that allow it, as a router does it (RFC 791 section 3.2).
//!
//! A plan, not a copy: each [`Piece`] says which header it gets and which bytes of the frame follow.
//! Packets that are fragments themselves are cut like any other.

use std::ops::Range;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use crate::balancer::verdict::Drop;
use crate::wire::{Checksum, Packet, ipv4};

/// The longest header.
const LONGEST: usize = 60;
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
    /// Flags of the packet.
    flags: u16,
    limit: usize,
}

/// One piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    header: Header,
    /// Which bytes of the frame follow the header.
    pub payload: Range<usize>,
}

impl Piece {
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
    /// [`Drop::ExceedsMtu`] if it must not be cut, being IPv6 or saying "don't fragment", or if the limit
    /// leaves no room; [`Drop::FragmentMalformed`] for one that reaches beyond the longest packet there is.
    pub fn new(packet: &Packet, frame: &[u8], limit: u16) -> Result<Fragments, Drop> {
        packet.addresses_v4(frame).ok_or(Drop::ExceedsMtu)?;
        let bytes = frame.get(packet.l3.into()..packet.l4.into()).ok_or(Drop::ExceedsMtu)?;
        let header = Header::new(bytes).ok_or(Drop::ExceedsMtu)?;
        let (fixed, _) = ipv4::Header::ref_from_prefix(bytes).map_err(|_| Drop::ExceedsMtu)?;
        let payload = packet.l4.into()..packet.end as usize;
        let limit = usize::from(limit);
        let fits = packet.ip_length() <= limit;
        if !fits && (fixed.dont_fragment() || header.length + UNIT > limit) {
            return Err(Drop::ExceedsMtu);
        }
        let offset = usize::from(fixed.fragment.get() & ipv4::OFFSET_MASK);
        if offset * UNIT + payload.len() > usize::from(u16::MAX) {
            return Err(Drop::FragmentMalformed);
        }
        let flags = fixed.fragment.get() & !ipv4::OFFSET_MASK;
        let later = header.of_later();
        Ok(Fragments { header, later, payload, offset, flags, limit })
    }
}

impl Iterator for Fragments {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        // One piece at least, for there are packets without payload; its header is then used up.
        if self.header.length == 0 {
            return None;
        }
        let mut header = self.header.clone();
        let room = self.limit.saturating_sub(header.length);
        let is_last = self.payload.len() <= room;
        let length = if is_last { self.payload.len() } else { room / UNIT * UNIT };
        let payload = self.payload.start..self.payload.start + length;
        let more = if is_last { 0 } else { ipv4::MORE_FRAGMENTS };
        let (fixed, options) =
            ipv4::Header::mut_from_prefix(&mut header.bytes[..header.length]).ok()?;
        fixed.total_length = U16::new(u16::try_from(ipv4::LENGTH + options.len() + length).ok()?);
        fixed.fragment = U16::new(self.flags | more | u16::try_from(self.offset).ok()?);
        fixed.checksum = U16::ZERO;
        let sum = Checksum::new().add_bytes(fixed.as_bytes()).add_bytes(options).finish();
        fixed.checksum = U16::new(sum);
        self.offset += length / UNIT;
        self.payload.start = payload.end;
        if is_last {
            self.header.length = 0;
        } else {
            self.header = self.later.clone();
        }
        Some(Piece { header, payload })
    }
}

#[cfg(test)]
mod tests;
