//! An index that packets are looked up in: by one multiplication and, nearly always, one comparison.
//!
//! It is a table with open addressing and at least four slots for each entry, built whole and never changed. The hash has no
//! secret, but only the operator adds entries, so nobody outside can make them collide.

use std::hint::cold_path;

/// A search key of an [`Index`].
pub(super) trait Key: Copy + Eq + Sized {
    /// The key of an empty slot. Every other key has some bits that are 0.
    const EMPTY: Self;

    /// A hash by an odd factor. Its high bits choose the slot.
    fn hash(self, factor: u64) -> u64;

    /// Whether a slot has this key. Compares integers, so that the key stays in registers.
    fn is(self, slot: Self) -> bool;
}

impl Key for u64 {
    const EMPTY: u64 = u64::MAX;

    #[inline(always)]
    fn hash(self, factor: u64) -> u64 {
        self.wrapping_mul(factor)
    }

    #[inline(always)]
    fn is(self, slot: u64) -> bool {
        self == slot
    }
}

impl Key for [u64; 3] {
    const EMPTY: [u64; 3] = [u64::MAX; 3];

    #[inline(always)]
    fn hash(self, factor: u64) -> u64 {
        let [low, high, rest] = self;
        let mixed = low.wrapping_mul(FACTOR) ^ high ^ rest;
        (mixed ^ mixed >> 29).wrapping_mul(factor)
    }

    #[inline(always)]
    fn is(self, slot: [u64; 3]) -> bool {
        // Comparing the arrays would use vectors: the key would be assembled in memory first and waited for.
        let ([a, b, c], [d, e, f]) = (self, slot);
        a ^ d | b ^ e | c ^ f == 0
    }
}

/// An odd number without a pattern, from SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
const FACTOR: u64 = 0xbf58_476d_1ce4_e5b9;

/// The `n`-th of a series of odd numbers without a pattern.
const fn factor(n: u64) -> u64 {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 27).wrapping_mul(FACTOR) | 1
}

/// An entry, or none.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Slot<K, V> {
    key: K,
    value: V,
}

/// Values by their keys.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Index<K, V> {
    /// Their number is a power of two. Most are empty.
    slots: Box<[Slot<K, V>]>,
    /// How far the hash is shifted to the right to give a slot.
    shift: u32,
    /// The factor of the hash, chosen for these keys.
    factor: u64,
}

/// Factors that are tried. With some of them, consecutive keys cluster.
const TRIES: u64 = 16;

impl<K: Key, V: Copy> Index<K, V> {
    /// Indexes values, each of which has a key of its own. An empty slot has the value `none`.
    pub(super) fn new(entries: &[(K, V)], none: V) -> Index<K, V> {
        // At least two slots: a shift by 64 would overflow.
        let size = (entries.len() * 4).max(2).next_power_of_two();
        let empty = vec![Slot { key: K::EMPTY, value: none }; size];
        let mut best = Index::with_factor(entries, &empty, factor(0));
        for n in 1..TRIES {
            let (_, displaced) = best;
            // By chance one of thirteen is displaced.
            if displaced <= entries.len() / 8 {
                break;
            }
            let tried = Index::with_factor(entries, &empty, factor(n));
            if tried.1 < displaced {
                best = tried;
            }
        }
        best.0
    }

    /// An index by one factor, and how many entries are not in the slot that is searched first.
    fn with_factor(entries: &[(K, V)], empty: &[Slot<K, V>], factor: u64) -> (Index<K, V>, usize) {
        let size = empty.len();
        let mut index = Index { slots: empty.into(), shift: 64 - size.trailing_zeros(), factor };
        let mut displaced = 0;
        for &(key, value) in entries {
            let home = index.home(key);
            let mut at = home;
            while index.slots[at].key != K::EMPTY {
                at = (at + 1) & (size - 1);
            }
            displaced += usize::from(at != home);
            index.slots[at] = Slot { key, value };
        }
        (index, displaced)
    }

    /// The slot in which a key is searched first: the high bits of its hash.
    #[expect(clippy::cast_possible_truncation, reason = "no larger than the table")]
    #[inline(always)]
    fn home(&self, key: K) -> usize {
        (key.hash(self.factor) >> self.shift) as usize
    }

    /// The value of a key.
    #[inline(always)]
    pub(super) fn get(&self, key: K) -> Option<&V> {
        let at = self.home(key);
        let slot = &self.slots[at];
        if key.is(slot.key) {
            return Some(&slot.value);
        }
        cold_path();
        if K::EMPTY.is(slot.key) {
            return None;
        }
        self.search(key, at)
    }

    /// Searches the slots from `from` on, up to an empty one. Three of four are empty.
    #[cold]
    fn search(&self, key: K, from: usize) -> Option<&V> {
        let (before, behind) = self.slots.split_at(from);
        let mut slots = behind.iter().chain(before).take_while(|slot| slot.key != K::EMPTY);
        slots.find(|slot| slot.key == key).map(|slot| &slot.value)
    }

    /// How many entries are not in the slot that is searched first.
    #[cfg(test)]
    pub(super) fn displaced(&self) -> usize {
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| slot.key != K::EMPTY);
        slots.filter(|(at, slot)| self.home(slot.key) != *at).count()
    }
}
