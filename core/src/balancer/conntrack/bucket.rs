//! A bucket: one cache line with four entries. The tags lie together, so that all are compared at once.

use super::super::hash::MARK;
use super::entry::Entry;
use super::state::State;

/// Entries of a bucket: the ways of a set, as caches have them.
pub const WAYS: usize = 4;

/// One cache line of entries.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Bucket {
    /// 0 where the slot is empty.
    pub(super) tags: [u64; WAYS],
    pub(super) entries: [Entry; WAYS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    pub(super) const EMPTY: Bucket = Bucket { tags: [0; WAYS], entries: [Entry::EMPTY; WAYS] };

    /// The way of a tag.
    #[inline(always)]
    pub(super) fn way(&self, tag: u64) -> Option<usize> {
        first(ways(&self.tags, tag))
    }

    /// A way without a tag.
    #[inline(always)]
    pub(super) fn empty_way(&self) -> Option<usize> {
        first(ways(&self.tags, 0))
    }

    /// How many flows are unconfirmed, expired ones included.
    #[inline(always)]
    pub(super) fn unconfirmed(&self) -> usize {
        let slots = self.tags.iter().zip(&self.entries);
        // Both are always tested: a branch could not be predicted.
        slots.map(|(&tag, e)| usize::from((tag != 0) & (e.state() == State::Unconfirmed))).sum()
    }

    /// Whether no way but this one is without a tag.
    #[inline(always)]
    pub(super) fn is_last_empty(&self, way: usize) -> bool {
        ways(&self.tags, 0) & !(1 << way) == 0
    }
}

/// The position of an entry that [`Table::get`](super::Table::get) found. The next insert may move the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    pub(super) index: usize,
    pub(super) way: usize,
}

/// A tag as the table stores it, where 0 means empty. The flows' hash sets the same bit.
#[inline]
pub(super) const fn stored(tag: u64) -> u64 {
    tag | MARK
}

/// The first of some ways.
#[inline(always)]
pub(super) fn first(ways: u32) -> Option<usize> {
    (ways != 0).then(|| ways.trailing_zeros() as usize % WAYS)
}

/// The ways of a bucket that have a tag, a bit for each. Compares all four at once.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
#[inline(always)]
fn ways(tags: &[u64; WAYS], tag: u64) -> u32 {
    use safe_arch::{cast_to_m256d_from_m256i, cmp_eq_mask_i64_m256i, m256i, move_mask_m256d};
    let equal = cmp_eq_mask_i64_m256i(m256i::from(*tags), m256i::from([tag; WAYS]));
    move_mask_m256d(cast_to_m256d_from_m256i(equal)).cast_unsigned()
}

/// The ways of a bucket that have a tag, a bit for each.
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
#[inline(always)]
fn ways(tags: &[u64; WAYS], tag: u64) -> u32 {
    (0..WAYS).map(|way| u32::from(tags[way] == tag) << way).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// With and without vector instructions.
        #[test]
        fn the_ways_of_a_tag_are_found(tags: [u64; WAYS], bits in 0u32..64, tag: u64) {
            let mask = u64::MAX >> bits;
            let (tags, tag) = (tags.map(|other| other & mask), tag & mask);
            let bucket = Bucket { tags, ..Bucket::EMPTY };
            for tag in [tag, tags[3]] {
                prop_assert_eq!(bucket.way(tag), tags.iter().position(|&other| other == tag));
            }
            let empty: Vec<usize> = (0..WAYS).filter(|&way| tags[way] == 0).collect();
            prop_assert_eq!(bucket.empty_way(), empty.first().copied());
            for way in 0..WAYS {
                prop_assert_eq!(bucket.is_last_empty(way), empty.iter().all(|&other| other == way));
            }
        }
    }
}
