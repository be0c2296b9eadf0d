//! Shares of the buffer in which fragments wait, so that no source fills all of it.
//!
//! A source is an IPv4 address or an IPv6 prefix of 64 bits, within which a host chooses its addresses. A source is
//! hashed to one of many shares. A share may hold at most as much as is free: one source alone gets half of the
//! buffer, and n sources that flood it get 1/(n + 1) each and leave as much for the others (dynamic thresholds,
//! Choudhury and Hahne, 1998).

use super::super::hash::LocalSeed;
use super::DatagramKey;

/// Packets and bytes of one share, or of all.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    packets: usize,
    bytes: usize,
}

/// All shares: how much each holds, how much all hold, and the limit.
#[derive(Debug)]
pub(super) struct Shares {
    seed: LocalSeed,
    /// Their number is a power of two.
    shares: Box<[Share]>,
    limit: Share,
    used: Share,
}

impl Shares {
    /// Shares of a buffer of so many packets and bytes. They allocate nothing later.
    pub(super) fn new(packets: usize, bytes: usize, seed: LocalSeed) -> Shares {
        let shares = packets.next_power_of_two().clamp(64, 4096);
        Shares {
            seed,
            shares: vec![Share::default(); shares].into(),
            limit: Share { packets, bytes },
            used: Share::default(),
        }
    }

    /// The index of the share of a datagram's source.
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    pub(super) fn of(&self, key: &DatagramKey) -> u32 {
        self.seed.hash_bytes(key.source_prefix()) as u32 & (self.shares.len() as u32 - 1)
    }

    /// Whether a share has room for one more packet of so many bytes.
    pub(super) fn has_room(&self, share: u32, bytes: usize) -> bool {
        let Share { packets: own, bytes: own_bytes } = self.shares[share as usize];
        own < self.limit.packets - self.used.packets
            && own_bytes.saturating_add(bytes) <= self.limit.bytes - self.used.bytes
    }

    /// Adds a waiting packet, for which there must be room.
    pub(super) fn add(&mut self, share: u32, bytes: usize) {
        for held in [&mut self.used, &mut self.shares[share as usize]] {
            held.packets += 1;
            held.bytes += bytes;
        }
    }

    /// Removes a packet that waits no more.
    pub(super) fn remove(&mut self, share: u32, bytes: usize) {
        for held in [&mut self.used, &mut self.shares[share as usize]] {
            held.packets -= 1;
            held.bytes -= bytes;
        }
    }

    /// The packets that wait, and their bytes.
    pub(super) fn used(&self) -> (usize, usize) {
        (self.used.packets, self.used.bytes)
    }
}
