//! What claims slots: a candidate with its permutation of them.

use super::candidate::{Candidate, Value};
use crate::balancer::hash::FleetKey;

/// A candidate that claims slots: where its permutation begins, or goes on, and the distance from each slot to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimant {
    pub(super) offset: u32,
    pub(super) skip: u32,
    pub(super) value: Value,
}

impl Claimant {
    #[expect(clippy::cast_possible_truncation, reason = "both are remainders of a u32")]
    pub(super) fn of(key: &FleetKey, size: u32, candidate: &Candidate) -> Claimant {
        let (offset, skip) = key.hash_pair(&candidate.identity);
        Claimant {
            offset: (offset % u64::from(size)) as u32,
            skip: (skip % u64::from(size - 1)) as u32 + 1,
            value: candidate.value,
        }
    }
}

/// The sum of two slots modulo `size`.
#[inline(always)]
pub(super) fn add(a: u32, b: u32, size: u32) -> u32 {
    let sum = a + b;
    // If the sum is below the size, the difference wraps to a large number.
    sum.min(sum.wrapping_sub(size))
}
