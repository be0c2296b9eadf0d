//! Filling the slots, turn by turn: the candidate whose turn it is claims the next free slot of its
//! permutation.
//!
//! The definition is a loop of a few lines, as in the paper (the tests have it as `plain`); this
//! has the same result in less than half its time. How many slots a candidate has to look at is the
//! size divided by the number of free slots, and where it adjacencies nobody can predict, the CPU's
//! branch predictor included. Hence:
//!
//! - Which slots are taken is kept in one bit for each, so that all of them are in the nearest
//!   caches.
//! - A candidate looks at several slots of its permutation at once and picks the first that is free
//!   without a branch: two while most are free, eight after that, which are computed side by side
//!   instead of one from another.
//! - The last slots are claimed the other way round. With s free slots, the candidate's permutation
//!   has to be followed for size/s slots, but there are only s to choose from: for each of them its
//!   place in the permutation follows from one multiplication, and the lowest place has it.

use super::candidate::{Candidate, Value};
use crate::balancer::hash::FleetKey;

/// Slots that a candidate looks at, at once, while most are free and after that.
const EARLY: usize = 2;
const LATE: usize = 8;

/// Who claims slots, and the slot of its permutation that is next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimant {
    pub(super) next: u32,
    pub(super) skip: u32,
    pub(super) value: Value,
}

impl Claimant {
    #[expect(clippy::cast_possible_truncation, reason = "both are remainders of a u32")]
    pub(super) fn of(key: &FleetKey, size: u32, candidate: &Candidate) -> Claimant {
        let (offset, skip) = key.hash_pair(&candidate.identity);
        Claimant {
            next: (offset % u64::from(size)) as u32,
            skip: (skip % u64::from(size - 1)) as u32 + 1,
            value: candidate.value,
        }
    }
}

/// Lets the claimants have their `turns`, at least as many as there are slots; answers each slot's
/// value. The size is a prime below 2^31.
pub(super) fn fill(
    size: u32,
    claimants: Vec<Claimant>,
    mut turns: impl Iterator<Item = u32>,
) -> Vec<Value> {
    assert!(size < 1 << 31, "a Maglev table of {size} slots");
    let mut filling = Filling {
        size,
        claimants,
        taken: vec![0; size as usize / 64 + 1],
        slots: vec![0; size as usize],
        free: size as usize,
    };
    let few = filling.few();
    filling.claim::<EARLY>(&mut turns, (size as usize / 3).max(few));
    filling.claim::<LATE>(&mut turns, few);
    filling.claim_last(turns);
    filling.slots
}

/// A table that is being filled.
struct Filling {
    size: u32,
    claimants: Vec<Claimant>,
    /// One bit for each slot.
    taken: Vec<u64>,
    /// Those taken are valid.
    slots: Vec<Value>,
    free: usize,
}

/// The sum of two slots, in a ring of `size` slots.
#[inline(always)]
fn add(a: u32, b: u32, size: u32) -> u32 {
    let sum = a + b;
    // Below the size, the difference wraps around to a large number.
    sum.min(sum.wrapping_sub(size))
}

impl Filling {
    /// From how many free slots on it is faster to look at each of them than to follow a
    /// permutation. Both have as many to look at if there are as many as the root of the size;
    /// those that lie side by side are looked at faster. [`Filling::claim_last`] has 16 bits for
    /// their indices.
    fn few(&self) -> usize {
        (self.slots.len().isqrt() * 5 / 4).min(1 << 16)
    }

    /// Takes turns until no more than `until` slots are free. `AHEAD`, a power of two, is how many
    /// slots are looked at, at once.
    fn claim<const AHEAD: usize>(&mut self, turns: &mut impl Iterator<Item = u32>, until: usize) {
        const NONE: u32 = u32::MAX;
        let Filling { size, claimants, taken, slots, free } = self;
        let (size, taken, slots) = (*size, &mut taken[..], &mut slots[..]);
        for i in turns.take(free.saturating_sub(until)) {
            let claimant = &mut claimants[i as usize];
            let mut ahead = [claimant.next; AHEAD];
            // What is one slot apart at first, then two, then four: at last the stride of a group.
            let mut stride = claimant.skip;
            let mut known = 1;
            while known < AHEAD {
                for k in 0..known {
                    ahead[known + k] = add(ahead[k], stride, size);
                }
                stride = add(stride, stride, size);
                known *= 2;
            }
            let found = loop {
                let mut first = NONE;
                for &slot in ahead.iter().rev() {
                    let is_taken = taken[(slot >> 6) as usize] >> (slot & 63) & 1 != 0;
                    first = if is_taken { first } else { slot };
                }
                if first != NONE {
                    break first;
                }
                ahead = ahead.map(|slot| add(slot, stride, size));
            };
            taken[(found >> 6) as usize] |= 1 << (found & 63);
            slots[found as usize] = claimant.value;
            claimant.next = add(found, claimant.skip, size);
        }
        *free = (*free).min(until);
    }

    /// Takes the last turns, by looking at all free slots, at most 2^16, each time.
    ///
    /// The slot s has the place `j = (s - next) / skip mod size` in what is left of a permutation.
    /// With the multiplier `ceil(2^64 / size * (1 / skip mod size))`, the low 64 bits of
    /// `(s - next) * multiplier` are `j * 2^64 / size`, give or take less than the size. Places are
    /// `2^64 / size` apart, so the low bits tell nothing, and the slot's index is put there.
    fn claim_last(&mut self, turns: impl Iterator<Item = u32>) {
        let mut free = self.free_slots();
        let multipliers = multipliers(self.size, &self.claimants);
        for i in turns.take(free.len()) {
            let claimant = &mut self.claimants[i as usize];
            let multiplier = multipliers[i as usize];
            let next = u64::from(claimant.next).wrapping_mul(multiplier);
            let places = (0u64..).zip(&free).map(|(index, &slot)| {
                u64::from(slot).wrapping_mul(multiplier).wrapping_sub(next) & !0xffff | index
            });
            let index = (places.fold(u64::MAX, u64::min) & 0xffff) as usize;
            let found = free.swap_remove(index);
            self.slots[found as usize] = claimant.value;
            claimant.next = add(found, claimant.skip, self.size);
        }
    }

    fn free_slots(&self) -> Vec<u32> {
        let mut slots = Vec::with_capacity(self.free);
        for (base, &taken) in (0..self.size).step_by(64).zip(&self.taken) {
            let mut free = !taken;
            while free != 0 {
                slots.push(base + free.trailing_zeros());
                free &= free - 1;
            }
        }
        // The bits behind the last slot.
        while slots.last().is_some_and(|&slot| slot >= self.size) {
            slots.pop();
        }
        slots
    }
}

/// `ceil(2^64 / size * (1 / skip mod size))` of each claimant. One inverse gives all of them: that of
/// their product, from which the others are multiplied away (Montgomery's trick).
fn multipliers(size: u32, claimants: &[Claimant]) -> Vec<u64> {
    let modulus = u64::from(size);
    let mut product = 1;
    let mut multipliers = Vec::with_capacity(claimants.len());
    for claimant in claimants {
        multipliers.push(product);
        product = product * u64::from(claimant.skip) % modulus;
    }
    // Of the product of this skip and those before it.
    let mut inverse = power(product, size - 2, modulus);
    for (multiplier, claimant) in multipliers.iter_mut().zip(claimants).rev() {
        let of_skip = inverse * *multiplier % modulus;
        #[expect(clippy::cast_possible_truncation, reason = "the inverse is below the size")]
        let scaled = (u128::from(of_skip) << 64).div_ceil(size.into()) as u64;
        *multiplier = scaled;
        inverse = inverse * u64::from(claimant.skip) % modulus;
    }
    multipliers
}

/// `base ^ exponent mod modulus`; the exponent `modulus - 2` gives the inverse modulo a prime
/// (Fermat).
fn power(base: u64, exponent: u32, modulus: u64) -> u64 {
    let (mut result, mut square, mut left) = (1, base, exponent);
    while left > 0 {
        if left & 1 != 0 {
            result = result * square % modulus;
        }
        square = square * square % modulus;
        left >>= 1;
    }
    result
}
