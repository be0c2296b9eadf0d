//! A bucket: one cache line with four entries. The tags lie together, so that all are compared at once.

use super::super::hash::MARK;
use super::entry::Entry;

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
        way(&self.tags, tag)
    }

    /// A way without a tag.
    #[inline(always)]
    pub(super) fn empty_way(&self) -> Option<usize> {
        way(&self.tags, 0)
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

/// The way of a bucket that has a tag. Compares all four at once.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
#[inline(always)]
fn way(tags: &[u64; WAYS], tag: u64) -> Option<usize> {
    use safe_arch::{cast_to_m256d_from_m256i, cmp_eq_mask_i64_m256i, m256i, move_mask_m256d};
    let equal = cmp_eq_mask_i64_m256i(m256i::from(*tags), m256i::from([tag; WAYS]));
    // One bit for each way.
    let mask = move_mask_m256d(cast_to_m256d_from_m256i(equal)).cast_unsigned();
    (mask != 0).then(|| mask.trailing_zeros() as usize % WAYS)
}

/// The way of a bucket that has a tag.
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
#[inline(always)]
fn way(tags: &[u64; WAYS], tag: u64) -> Option<usize> {
    tags.iter().position(|&other| other == tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// With and without vector instructions.
        #[test]
        fn the_first_way_of_a_tag_is_found(tags: [u64; WAYS], bits in 0u32..64, tag: u64) {
            let mask = u64::MAX >> bits;
            let (tags, tag) = (tags.map(|other| other & mask), tag & mask);
            prop_assert_eq!(way(&tags, tag), tags.iter().position(|&other| other == tag));
            prop_assert_eq!(way(&tags, tags[3]), tags.iter().position(|&other| other == tags[3]));
        }
    }
}
