//! Takes the last turns of a table, when few slots are free: each looks at all of them.
//!
//! A permutation would have to be followed far to find one. But the position of each free slot in the permutation follows
//! from one multiplication, and the lowest position wins.

use super::claimant::Claimant;

/// With at most so many free slots, looking at each of them is faster than following a permutation. At the root of the
/// size both look at equally many slots, but slots that lie side by side are read faster. [`claim_last`] has 16 bits for
/// their indices.
pub(super) fn few(size: u32) -> usize {
    (size.isqrt() as usize * 5 / 4).min(1 << 16)
}

/// Lets claimants take `turns` until no slot is free. All free slots are listed, at most 2^16. `claim` gets the claimant of
/// each turn and its slot.
///
/// Slot s has the position `j = (s - offset) / skip mod size` in a permutation, or in the rest of one. With the multiplier
/// `ceil(2^64 / size * (1 / skip mod size))`, the low 64 bits of `(s - offset) * multiplier` are
/// `j * 2^64 / size`, with an error below the size. Positions are `2^64 / size` apart, so the low 16 bits
/// carry no information, and the slot's index is put there.
pub(super) fn claim_last(
    size: u32,
    claimants: &[Claimant],
    mut free: Vec<u32>,
    turns: impl Iterator<Item = u32>,
    mut claim: impl FnMut(u32, u32),
) {
    let multipliers = multipliers(size, claimants);
    for i in turns.take(free.len()) {
        let multiplier = multipliers[i as usize];
        let first = u64::from(claimants[i as usize].offset).wrapping_mul(multiplier);
        let places = (0u64..).zip(&free).map(|(index, &slot)| {
            u64::from(slot).wrapping_mul(multiplier).wrapping_sub(first) & !0xffff | index
        });
        let index = (places.fold(u64::MAX, u64::min) & 0xffff) as usize;
        claim(i, free.swap_remove(index));
    }
}

/// `ceil(2^64 / size * (1 / skip mod size))` of each claimant. All inverses follow from a single one, that of the
/// product of all skips (Montgomery's trick).
fn multipliers(size: u32, claimants: &[Claimant]) -> Vec<u64> {
    let modulus = u64::from(size);
    let mut product = 1;
    let mut multipliers = Vec::with_capacity(claimants.len());
    for claimant in claimants {
        multipliers.push(product);
        product = product * u64::from(claimant.skip) % modulus;
    }
    // The inverse of the product of this skip and those before it.
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

/// `base ^ exponent mod modulus`. The exponent `modulus - 2` gives the inverse modulo a prime (Fermat).
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
