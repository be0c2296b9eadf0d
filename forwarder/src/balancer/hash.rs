//! The two hashes of a flow, for two jobs.
//!
//! [`FleetKey`] chooses backends: SipHash-1-3 under the configured key, because every node must
//! choose alike and no client may be able to predict the choice. It runs on a flow-table miss only.
//! [`LocalSeed`] indexes this worker's flow table: XXH3 under a seed drawn at start, because it runs
//! for every packet. Neither is the NIC's RSS hash: its symmetric key leaves 16 bits of entropy, and
//! one hash used at two stages makes the second stage see only a part of its range.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13x128};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::flow::FlowKey;

/// `hash.key`: equal on every node of the fleet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FleetKey([u8; 16]);

impl FleetKey {
    /// The key in the byte order of the SipHash paper: its two words are read little-endian.
    pub const fn new(key: [u8; 16]) -> FleetKey {
        FleetKey(key)
    }

    /// The number that places a flow in a Maglev table.
    pub fn hash(&self, flow: &FlowKey) -> u64 {
        self.hash_bytes(flow.as_bytes())
    }

    /// The two numbers that place a backend's permutation in a Maglev table.
    pub(super) fn hash_pair(&self, identity: &[u8]) -> (u64, u64) {
        let mut hasher = SipHasher13x128::new_with_key(&self.0);
        hasher.write(identity);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }

    /// The number that places any bytes in a table that the fleet shares.
    pub(super) fn hash_bytes(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// Keeps the key out of logs.
impl std::fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FleetKey(..)")
    }
}

/// The seed of one process's flow tables.
#[derive(Clone, Copy, Debug)]
pub struct LocalSeed(u64);

impl LocalSeed {
    /// A seed that is given, for tests and for replays that must repeat.
    pub const fn new(seed: u64) -> LocalSeed {
        LocalSeed(seed)
    }

    /// A seed that no one outside the process can know.
    pub fn random() -> LocalSeed {
        use std::hash::{BuildHasher, RandomState};
        LocalSeed(RandomState::new().hash_one(std::process::id()))
    }

    /// The hash of what is no flow: fragments' keys and three-tuples.
    pub(super) fn hash_bytes(&self, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.0)
    }

    /// The tag of a flow.
    #[inline]
    pub fn hash(&self, flow: &FlowKey) -> u64 {
        match flow {
            FlowKey::V4(bytes) => xxh3_64_with_seed(bytes, self.0),
            FlowKey::V6(bytes) => xxh3_64_with_seed(bytes, self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    #[test]
    fn fleet_hash_is_siphash_1_3_of_the_reference_vectors() {
        let key = FleetKey::new(KEY);
        assert_eq!(key.hash_bytes(&[]), 0xabac_0158_050f_c4dc);
        assert_eq!(key.hash_bytes(&KEY[..15]), 0xd320_d86d_2a51_9956);
    }

    #[test]
    fn local_hash_is_xxh3_under_its_seed() {
        let flow = FlowKey::V4([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(LocalSeed::new(0).hash(&flow), 0xb7a5_d8a8_309a_2cb9);
        assert_eq!(LocalSeed::new(0x9e37_79b1_85eb_ca87).hash(&flow), 0x8d71_7c9e_64e5_4147);
        let long: [u8; 37] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        assert_eq!(LocalSeed::new(0).hash(&FlowKey::V6(long)), 0x29ab_b110_fd90_9861);
    }

    #[test]
    fn seeds_differ_between_processes() {
        assert_ne!(LocalSeed::random().0, LocalSeed::random().0);
    }
}
