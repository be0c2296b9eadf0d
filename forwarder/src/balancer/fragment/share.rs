//! Shares of the buffer in which fragments wait, so that no source takes all of it.
//!
//! A source is an IPv4 address or an IPv6 prefix of 64 bits, which is what one host can choose from. Each
//! is hashed to one of many shares. A share may hold as much as is free, and no more: one source alone gets
//! half of the buffer, and n that flood it get 1/(n + 1) each and leave as much for the others (dynamic
//! thresholds, Choudhury and Hahne, 1998).

use super::super::hash::LocalSeed;
use super::DatagramKey;

/// What a share holds.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    packets: usize,
    bytes: usize,
}

/// What the shares hold, each and in all, and the bounds of it.
#[derive(Debug)]
pub(super) struct Shares {
    seed: LocalSeed,
    /// A power of two.
    shares: Box<[Share]>,
    limit: Share,
    used: Share,
}

impl Shares {
    /// Shares of so many packets and bytes. They never take more memory.
    pub(super) fn new(packets: usize, bytes: usize, seed: LocalSeed) -> Shares {
        let shares = packets.next_power_of_two().clamp(64, 4096);
        Shares {
            seed,
            shares: vec![Share::default(); shares].into(),
            limit: Share { packets, bytes },
            used: Share::default(),
        }
    }

    /// The share of a datagram's source.
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    pub(super) fn of(&self, key: &DatagramKey) -> u32 {
        self.seed.hash_bytes(key.source_prefix()) as u32 & (self.shares.len() as u32 - 1)
    }

    /// Whether one more packet of so many bytes may wait.
    pub(super) fn has_room(&self, share: u32, bytes: usize) -> bool {
        let Share { packets: own, bytes: own_bytes } = self.shares[share as usize];
        own < self.limit.packets - self.used.packets
            && own_bytes.saturating_add(bytes) <= self.limit.bytes - self.used.bytes
    }

    /// A packet waits, for which there was room.
    pub(super) fn add(&mut self, share: u32, bytes: usize) {
        for held in [&mut self.used, &mut self.shares[share as usize]] {
            held.packets += 1;
            held.bytes += bytes;
        }
    }

    /// A packet waits no more.
    pub(super) fn remove(&mut self, share: u32, bytes: usize) {
        for held in [&mut self.used, &mut self.shares[share as usize]] {
            held.packets -= 1;
            held.bytes -= bytes;
        }
    }

    /// Packets that wait, and their bytes.
    pub(super) fn used(&self) -> (usize, usize) {
        (self.used.packets, self.used.bytes)
    }
}
