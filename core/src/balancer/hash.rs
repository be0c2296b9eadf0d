//! The two hashes of a flow.
//!
//! - [`FleetKey`] chooses backends by SipHash-1-3 under the configured key. Every node must choose alike, and no
//!   client may predict the choice. This hash runs where a backend is chosen, never on a flow table hit.
//! - [`LocalSeed`] indexes the flow table by AES rounds under keys drawn at start, because this hash runs for
//!   every packet. A build for CPUs without AES instructions has XXH3 instead.
//!
//! Neither is the NIC's RSS hash: a worker sees only the part of its range that led to the worker's queue.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13x128};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use super::flow::{FlowKey, FlowWords};
use rounds::{mix_v4, mix_v6};

/// The configured `hash.key`, equal on every node of the fleet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FleetKey([u8; 16]);

impl FleetKey {
    /// A key in the byte order of the SipHash paper, which reads its two words little-endian.
    pub const fn new(key: [u8; 16]) -> FleetKey {
        FleetKey(key)
    }

    /// The hash that chooses a flow's slot in a Maglev table: that of the key's bytes.
    #[inline(always)]
    pub fn hash(&self, flow: &FlowKey) -> u64 {
        // As numbers, which stay in registers.
        let mut hasher = SipHasher13::new_with_key(&self.0);
        match flow {
            FlowKey::V4(key) => write_key(&mut hasher, key),
            FlowKey::V6(key) => write_key(&mut hasher, key),
        }
        hasher.finish()
    }

    /// The hash that chooses the slot of all flows of a client.
    pub fn hash_source(&self, flow: &FlowKey) -> u64 {
        self.hash_bytes(flow.source())
    }

    /// The two hashes from which a candidate's permutation of a Maglev table follows.
    pub(super) fn hash_pair(&self, identity: &[u8]) -> (u64, u64) {
        let mut hasher = SipHasher13x128::new_with_key(&self.0);
        hasher.write(identity);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }

    /// The hash of any bytes that choose a slot in a table that the fleet shares.
    pub(super) fn hash_bytes(&self, bytes: &[u8]) -> u64 {
        SipHasher13::new_with_key(&self.0).hash(bytes)
    }
}

/// Writes the bytes of a flow key: words of eight bytes, four bytes of ports and one of the protocol.
#[inline(always)]
fn write_key<const N: usize>(hasher: &mut SipHasher13, key: &[u8; N]) {
    let (words, rest) = key.as_chunks();
    words.iter().for_each(|&word| hasher.write_u64(u64::from_ne_bytes(word)));
    if let [ports @ .., protocol] = rest
        && let Ok(&ports) = ports.try_into()
    {
        hasher.write_u32(u32::from_ne_bytes(ports));
        hasher.write_u8(*protocol);
    }
}

/// Keeps the key out of logs.
impl std::fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FleetKey(..)")
    }
}

/// The bit that is set in every tag. The bits below choose a flow's bucket; the bits above choose its worker and
/// what a tunnel varies by flow.
pub(super) const MARK: u64 = 1 << 30;

/// The seed of one process's flow tables, and the round keys that follow from it.
#[derive(Clone, Copy, Debug)]
pub struct LocalSeed {
    seed: u64,
    keys: [u128; 4],
}

impl LocalSeed {
    /// A known seed, for tests and for replays that must repeat.
    pub fn new(seed: u64) -> LocalSeed {
        LocalSeed { seed, keys: [0u8, 1, 2, 3].map(|n| xxh3_128_with_seed(&[n], seed)) }
    }

    /// A seed that nobody outside the process can know.
    pub fn random() -> LocalSeed {
        use std::hash::{BuildHasher, RandomState};
        LocalSeed::new(RandomState::new().hash_one(std::process::id()))
    }

    /// The hash of other bytes than a flow key: keys of fragments and three-tuples.
    pub(super) fn hash_bytes(&self, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.seed)
    }

    /// The tag of a flow: 64 bits. One of them is always set, so no tag is 0.
    pub fn hash(&self, flow: &FlowKey) -> u64 {
        match flow.words() {
            FlowWords::V4(words) => self.hash_v4(words),
            FlowWords::V6(words) => self.hash_v6(words),
        }
    }

    /// The tag of a flow over IPv4, by its [`FlowWords`].
    #[inline(always)]
    pub(super) fn hash_v4(&self, words: [u8; 16]) -> u64 {
        mix_v4(&self.keys, words)
    }

    /// The tag of a flow over IPv6, by its [`FlowWords`].
    #[inline(always)]
    pub(super) fn hash_v6(&self, words: [u128; 3]) -> u64 {
        mix_v6(&self.keys, words)
    }
}

/// A keyed hash by AES rounds. Each IPv6 address gets one round of its own, which spreads each byte over four, so
/// that the words cannot cancel each other. Four more rounds make every bit depend on every other.
#[cfg(all(target_arch = "x86_64", target_feature = "aes"))]
mod rounds {
    use safe_arch::{aes_encrypt_m128i, m128i};

    use super::MARK;
    use crate::balancer::flow::KEY_BYTES;

    #[inline(always)]
    pub(super) fn mix_v4(keys: &[u128; 4], words: [u8; 16]) -> u64 {
        // The mask is applied in a vector register, where the words are.
        let masked = m128i::from(words) & m128i::from(KEY_BYTES);
        finish(keys, masked ^ m128i::from(keys[0]))
    }

    #[inline(always)]
    pub(super) fn mix_v6(keys: &[u128; 4], [source, destination, last]: [u128; 3]) -> u64 {
        // Both addresses at once, each under keys of its own.
        let from = m128i::from(source) ^ m128i::from(keys[0]);
        let to = m128i::from(destination) ^ m128i::from(keys[2]);
        let from = aes_encrypt_m128i(from, m128i::from(keys[1]));
        let to = aes_encrypt_m128i(to, m128i::from(keys[3]));
        finish(keys, from ^ to ^ m128i::from(last))
    }

    #[inline(always)]
    fn finish(keys: &[u128; 4], mut state: m128i) -> u64 {
        for key in [keys[1], keys[2], keys[3], keys[0]] {
            state = aes_encrypt_m128i(state, m128i::from(key));
        }
        let [low, _]: [u64; 2] = state.into();
        low | MARK
    }
}

/// A keyed hash without AES instructions. Nothing outside the process shows which of the two is in use.
#[cfg(not(all(target_arch = "x86_64", target_feature = "aes")))]
mod rounds {
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    use super::MARK;
    use crate::balancer::flow::KEY_BYTES;

    pub(super) fn mix_v4(keys: &[u128; 4], words: [u8; 16]) -> u64 {
        mix(keys, [u128::from_le_bytes(words) & u128::from_le_bytes(KEY_BYTES)])
    }

    pub(super) fn mix_v6(keys: &[u128; 4], words: [u128; 3]) -> u64 {
        mix(keys, words)
    }

    fn mix<const N: usize>(keys: &[u128; 4], words: [u128; N]) -> u64 {
        let mut bytes = [[0; 16]; N];
        for ((bytes, word), key) in bytes.iter_mut().zip(words).zip(keys) {
            *bytes = (word ^ key).to_le_bytes();
        }
        #[expect(clippy::cast_possible_truncation, reason = "half of the key is the seed")]
        let seed = keys[3] as u64;
        xxh3_64_with_seed(bytes.as_flattened(), seed) | MARK
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

    /// The hash of a flow, which is written as numbers, is that of its bytes.
    #[test]
    fn a_flow_is_hashed_as_its_bytes() {
        let key = FleetKey::new(KEY);
        for n in 0..=u8::MAX {
            let byte = |i: usize| n.wrapping_mul(u8::try_from(i).unwrap()) ^ n.rotate_left(3);
            let flows =
                [FlowKey::V4(std::array::from_fn(byte)), FlowKey::V6(std::array::from_fn(byte))];
            for flow in flows {
                assert_eq!(key.hash(&flow), key.hash_bytes(flow.as_bytes()), "{flow:?}");
            }
        }
    }

    /// Each bit of the flow changes about half of the tag's bits, with and without AES instructions.
    #[test]
    #[cfg_attr(miri, ignore = "statistics over every bit: slow under Miri")]
    fn every_bit_of_a_flow_reaches_the_whole_tag() {
        let seed = LocalSeed::new(0x9e37_79b1_85eb_ca87);
        let flows = [
            FlowKey::V4(std::array::from_fn(|i| u8::try_from(i * 7).unwrap())),
            FlowKey::V6(std::array::from_fn(|i| u8::try_from(i * 5).unwrap())),
        ];
        for flow in flows {
            let mut moved = vec![0u32; 64];
            let bits = flow.as_bytes().len() * 8;
            for bit in 0..bits {
                let mut other = flow;
                match &mut other {
                    FlowKey::V4(bytes) => bytes[bit / 8] ^= 1 << (bit % 8),
                    FlowKey::V6(bytes) => bytes[bit / 8] ^= 1 << (bit % 8),
                }
                let difference = seed.hash(&flow) ^ seed.hash(&other);
                assert!((12..=52).contains(&difference.count_ones()), "bit {bit} of {flow:?}");
                for (bit, moved) in moved.iter_mut().enumerate() {
                    *moved += u32::from(difference >> bit & 1 == 1);
                }
            }
            let bits = u32::try_from(bits).unwrap();
            assert_eq!(moved.remove(30), 0);
            assert!(moved.iter().all(|moved| (bits / 4..=bits * 3 / 4).contains(moved)));
        }
    }

    /// Consecutive addresses or ports fill slots as chance would: with as many flows as slots, 1/e of the slots stay
    /// empty and none has more than a dozen flows.
    #[test]
    #[cfg_attr(miri, ignore = "statistics over 65,536 flows: minutes under Miri")]
    fn regular_flows_spread_like_random_ones() {
        let seed = LocalSeed::new(1);
        const SLOTS: usize = 1 << 16;
        type Maker = fn(u32) -> FlowKey;
        let makers: [Maker; 3] = [
            |n| {
                let mut key = [10; 13];
                key[..4].copy_from_slice(&n.to_be_bytes());
                FlowKey::V4(key)
            },
            |n| {
                let mut key = [10; 13];
                key[2..4].copy_from_slice(&n.to_be_bytes()[..2]);
                key[8..10].copy_from_slice(&n.to_be_bytes()[2..]);
                FlowKey::V4(key)
            },
            |n| {
                let mut key = [10; 37];
                key[12..16].copy_from_slice(&n.to_be_bytes());
                FlowKey::V6(key)
            },
        ];
        for maker in makers {
            for shift in [0, 14, 31, 48] {
                let mut slots = vec![0u32; SLOTS];
                for n in 0..u32::try_from(SLOTS).unwrap() {
                    let slot = seed.hash(&maker(n)) >> shift & (SLOTS as u64 - 1);
                    slots[usize::try_from(slot).unwrap()] += 1;
                }
                let empty = slots.iter().filter(|&&flows| flows == 0).count() as f64;
                assert!((empty / SLOTS as f64 - 0.3679).abs() < 0.01, "{empty} empty");
                assert!(slots.iter().max() < Some(&13));
            }
        }
    }

    #[test]
    fn the_family_and_the_seed_are_part_of_the_hash() {
        let zero = (FlowKey::V4([0; 13]), FlowKey::V6([0; 37]));
        let seeds = [LocalSeed::new(1), LocalSeed::new(2)];
        let tags: Vec<u64> =
            seeds.iter().flat_map(|seed| [seed.hash(&zero.0), seed.hash(&zero.1)]).collect();
        assert!((1..4).all(|n| !tags[..n].contains(&tags[n])), "{tags:x?}");
    }

    #[test]
    fn seeds_differ_between_processes() {
        assert_ne!(LocalSeed::random().seed, LocalSeed::random().seed);
    }
}
