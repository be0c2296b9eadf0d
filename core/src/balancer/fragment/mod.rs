//! Fragments: which datagram a fragment belongs to, whether it is well-formed, and the table by which later
//! fragments follow the first.
//!
//! Only a first fragment has ports. For each datagram [`Table`] keeps the backend of the first fragment, and buffers
//! fragments that arrive before it is known: the first one may be late, or may wait for an owner query. All memory
//! is reserved at the start.
//!
//! [`check`] finds faults of a fragment by itself. [`Table`] finds the overlaps that attack a decision by the first
//! fragment: a later fragment that reaches back into the first, and over IPv6 (RFC 5722) a first fragment of another
//! length. Other overlaps are left to the backend, which must refuse them anyway (RFC 8200, section 4.5).

mod link;
mod share;
mod table;
#[cfg(test)]
mod tests;

pub use table::{Capacity, Later, Table, Usage};

use super::verdict::DropReason;
use crate::wire::fragment::FragmentFields;
use crate::wire::{self, Family, Packet, protocol, tcp};

/// The datagram of a fragment: family, identification, source, destination and, over IPv4, protocol. Over IPv6 the
/// next headers of later fragments may differ (RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatagramKey([u8; 38]);

impl DatagramKey {
    /// The key of a fragment that was parsed from this same frame; `None` if this is another frame.
    pub fn of(packet: &Packet, fields: &FragmentFields, frame: &[u8]) -> Option<DatagramKey> {
        let mut key = [0; 38];
        key[2..6].copy_from_slice(&fields.identification.to_be_bytes());
        match packet.family {
            Family::V4 => {
                let (source, destination) = packet.addresses_v4(frame)?;
                key[0] = 4;
                key[1] = fields.protocol;
                key[6..10].copy_from_slice(&source);
                key[22..26].copy_from_slice(&destination);
            }
            Family::V6 => {
                let (source, destination) = packet.addresses_v6(frame)?;
                key[0] = 6;
                key[6..22].copy_from_slice(&source);
                key[22..38].copy_from_slice(&destination);
            }
        }
        Some(DatagramKey(key))
    }

    /// The key as it is hashed.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The part of the source address that its host cannot choose: all of IPv4, 64 bits of IPv6.
    fn source_prefix(&self) -> &[u8] {
        if self.is_v6() { &self.0[6..14] } else { &self.0[6..10] }
    }

    /// Whether the datagram is IPv6, where two first fragments of different length can only be an overlap. IPv4 has so
    /// few identifications that a fast sender uses one again within the timeout.
    fn is_v6(&self) -> bool {
        self.0[0] == 6
    }
}

/// What a service does with fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Fragments follow the first one of their datagram.
    #[default]
    Follow,
    /// Fragments are dropped.
    Drop,
}

impl Policy {
    /// Every policy with its name in configurations.
    pub const NAMES: &[(&str, Policy)] = &[("follow", Policy::Follow), ("drop", Policy::Drop)];
}

/// Packets of one datagram that may wait, so that no sender fills the buffer with one. 64 KiB are 46 fragments over
/// Ethernet, and 120 packets of 576 bytes, the size that every host accepts.
pub const PACKETS_PER_DATAGRAM: usize = 128;

/// Why a fragment is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is empty, ends off the 8-byte grid in the middle of its datagram, ends beyond the largest packet, or its
    /// headers disagree on whether it is the first.
    Malformed,
    /// It begins inside the TCP header (RFC 3128).
    Tiny,
    /// It overlaps the first fragment, or another fragment of its datagram did before (RFC 5722).
    Overlap,
    /// The table has no entry for one more datagram.
    TableFull,
    /// The buffer, or the share of this source, has no room for one more packet.
    BufferFull,
    /// Its first fragment did not come in time.
    Timeout,
}

impl From<Reason> for DropReason {
    fn from(reason: Reason) -> DropReason {
        match reason {
            Reason::Malformed => DropReason::FragmentMalformed,
            Reason::Tiny => DropReason::Malformed(wire::Error::FragmentTiny),
            Reason::Overlap => DropReason::FragmentOverlap,
            Reason::TableFull => DropReason::FragmentTableFull,
            Reason::BufferFull => DropReason::FragmentBufferFull,
            Reason::Timeout => DropReason::FragmentTimeout,
        }
    }
}

/// Refuses a fragment that is malformed by itself. The parser has already refused first fragments without all of their
/// headers.
///
/// # Errors
/// The reason to drop it.
pub fn check(packet: &Packet, fields: &FragmentFields) -> Result<(), Reason> {
    let is_first = packet.fragment == wire::Fragment::First;
    let off_grid = fields.more && !fields.length.is_multiple_of(8);
    // An empty last fragment adds nothing; with an empty one in the middle a datagram never ends.
    let is_empty = fields.length == 0;
    if is_first != (fields.offset == 0) || is_empty || off_grid || fields.is_too_long() {
        return Err(Reason::Malformed);
    }
    let begins_inside = !is_first && usize::from(fields.offset) < tcp::LENGTH;
    if begins_inside && fields.protocol == protocol::TCP {
        return Err(Reason::Tiny);
    }
    Ok(())
}
