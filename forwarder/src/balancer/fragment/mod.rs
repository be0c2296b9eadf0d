//! Fragments: which datagram one belongs to, what is wrong with it, and the table by which later
//! ones follow the first.
//!
//! Only a first fragment has ports. [`Table`] keeps, for each datagram, what was chosen for its first
//! fragment, and holds back those that arrive before the choice is known: a first fragment may have
//! to ask other workers, or may not have arrived at all. All memory is reserved at the start.
//!
//! What is wrong with a fragment by itself is said by [`check`]. Overlaps are looked for where they
//! are attacks on whoever decides by the first fragment: a later fragment that reaches back into the
//! first, and, over IPv6 (RFC 5722), a first one of another length. Overlaps of later fragments with
//! one another are left to the backend, which has to refuse them anyway (RFC 8200, section 4.5).

mod link;
mod share;
mod table;
#[cfg(test)]
mod tests;

pub use table::{Capacity, Later, Table, Usage};

use super::verdict::DropReason;
use crate::wire::fragment::FragmentFields;
use crate::wire::{self, Family, Packet, protocol, tcp};

/// Which datagram a fragment belongs to: family, identification, source, destination and, over IPv4,
/// protocol. Over IPv6 the next headers of later fragments may differ (RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatagramKey([u8; 38]);

impl DatagramKey {
    /// The key of a fragment that was parsed from this very frame; `None` if it is another.
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

    /// The part of the source that its host cannot choose: the IPv4 address, or 64 bits of IPv6.
    fn source_prefix(&self) -> &[u8] {
        if self.is_v6() { &self.0[6..14] } else { &self.0[6..10] }
    }

    /// Whether two first fragments of different length can only be an overlap. IPv4 has so few
    /// identifications that a fast sender comes round within the timeout.
    fn is_v6(&self) -> bool {
        self.0[0] == 6
    }
}

/// What a service does with fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// They follow the first of their datagram.
    #[default]
    Follow,
    /// They are dropped.
    Drop,
}

impl Policy {
    /// Both by their names in configurations.
    pub const NAMES: &[(&str, Policy)] = &[("follow", Policy::Follow), ("drop", Policy::Drop)];
}

/// Packets of one datagram that may wait, so that no sender takes all room with one: 64 KiB are 46
/// fragments over Ethernet, and 120 in packets of 576 bytes, the least that all hosts take.
pub const PACKETS_PER_DATAGRAM: usize = 128;

/// Why a fragment does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has no bytes, ends off the 8-byte grid in the middle of its datagram, or beyond the largest
    /// packet; or a header says that it is the first and another that it is not.
    Malformed,
    /// It begins inside the TCP header (RFC 3128).
    Tiny,
    /// It overlaps the first fragment, or one of its datagram did before (RFC 5722).
    Overlap,
    /// The table has no fields for one more datagram.
    TableFull,
    /// The buffer has no room for one more packet, or none for one more of this source.
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

/// What is wrong with a fragment by itself. A first fragment that lacks a part of its headers has
/// been refused by the parser.
///
/// # Errors
/// The reason to drop it.
pub fn check(packet: &Packet, fields: &FragmentFields) -> Result<(), Reason> {
    let is_first = packet.fragment == wire::Fragment::First;
    let off_grid = fields.more && !fields.length.is_multiple_of(8);
    // A last fragment that ends at its beginning adds nothing; one in the middle never ends.
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
