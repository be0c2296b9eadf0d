//! Fills the slots, turn by turn: the candidate whose turn it is claims the next free slot of its permutation.
//!
//! The definition is a loop of a few lines, as in the paper (the tests have it as `plain`). This code gives the
//! same result in less than half the time. With s free slots a candidate has to look at size/s slots, and no
//! branch predictor foresees where it stops. Therefore:
//!
//! - One bit for each slot tells whether it is taken, so that all bits are in the nearest caches.
//! - A candidate looks at several slots of its permutation at once and picks the first free one without a branch:
//!   two while most are free, eight after that. The CPU computes them side by side instead of one from another.
//! - The last slots are searched from the slots instead of from the permutation (`last.rs`).

use super::candidate::Value;
use super::claimant::{Claimant, add};
use super::last::{claim_last, few};

/// Slots that a candidate looks at together while most slots are free.
const EARLY: usize = 2;
/// Slots that a candidate looks at together after that.
const LATE: usize = 8;

/// The slots of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled {
    /// The value of each slot.
    pub(super) slots: Vec<Value>,
    /// How many turns its candidate had had before it claimed each slot; empty if they are not recorded.
    pub(super) earlier: Vec<u16>,
}

/// What is recorded of the turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Nothing,
    /// [`Filled::earlier`]. No claimant has more than 2^16 turns.
    Earlier,
    /// The same, of claimants that take turns one after another, again and again. That is faster: one number is stored for
    /// each slot, that of its turn, which tells the claimant and what came earlier.
    EarlierOfRounds,
}

/// Lets the claimants take their `turns`, at least as many as there are slots. The size is a prime below 2^31.
pub(super) fn fill(
    size: u32,
    claimants: Vec<Claimant>,
    turns: impl Iterator<Item = u32>,
    record: Record,
) -> Filled {
    assert!(size < 1 << 31, "a Maglev table of {size} slots");
    let recorded = |count| if record == Record::Earlier { count } else { 0 };
    let filling = Filling {
        size,
        had: vec![0; recorded(claimants.len())],
        claimants,
        taken: vec![0; size as usize / 64 + 1],
        slots: vec![0; size as usize],
        earlier: vec![0; recorded(size as usize)],
        free: size as usize,
    };
    match record {
        Record::Nothing => filling.fill::<NOTHING>(turns),
        Record::Earlier => filling.fill::<EARLIER>(turns),
        Record::EarlierOfRounds => {
            let values: Vec<Value> = filling.claimants.iter().map(|it| it.value).collect();
            of_rounds(filling.fill::<NUMBER>(turns).slots, &values)
        }
    }
}

/// [`Record`] as a constant; with the last, slots get the numbers of turns instead of values.
const NOTHING: u8 = 0;
const EARLIER: u8 = 1;
const NUMBER: u8 = 2;

/// From the number of each slot's turn to what the table has, if claimants of these values take turns one after another.
fn of_rounds(mut slots: Vec<u32>, values: &[Value]) -> Filled {
    #[expect(clippy::cast_possible_truncation, reason = "as many as slots at the most")]
    let count = values.len() as u32;
    let mut earlier = vec![0; slots.len()];
    for (slot, earlier) in slots.iter_mut().zip(&mut earlier) {
        let round = *slot / count;
        *slot = values[(*slot - round * count) as usize];
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^16 rounds")]
        let rounds = round as u16;
        *earlier = rounds;
    }
    Filled { slots, earlier }
}

/// A table that is being filled.
struct Filling {
    size: u32,
    claimants: Vec<Claimant>,
    /// How many turns each claimant has had, if turns are recorded.
    had: Vec<u16>,
    /// One bit for each slot.
    taken: Vec<u64>,
    /// The value of each slot, valid where the slot is taken.
    slots: Vec<Value>,
    /// [`Filled::earlier`].
    earlier: Vec<u16>,
    free: usize,
}

impl Filling {
    fn fill<const RECORD: u8>(mut self, mut turns: impl Iterator<Item = u32>) -> Filled {
        let few = few(self.size);
        let third = (self.size as usize / 3).max(few);
        self.claim::<EARLY, RECORD>(&mut turns, third);
        self.claim::<LATE, RECORD>(&mut turns, few);
        self.claim_last::<RECORD>(turns)
    }

    /// Takes turns until no more than `until` slots are free. `AHEAD`, a power of two, is how many slots are
    /// looked at together.
    fn claim<const AHEAD: usize, const RECORD: u8>(
        &mut self,
        turns: &mut impl Iterator<Item = u32>,
        until: usize,
    ) {
        const NONE: u32 = u32::MAX;
        let Filling { size, claimants, had, taken, slots, earlier, free } = self;
        let (size, taken, slots) = (*size, &mut taken[..], &mut slots[..]);
        #[expect(clippy::cast_possible_truncation, reason = "below the size")]
        let number = (slots.len() - *free) as u32;
        for (number, i) in (number..).zip(turns.take(free.saturating_sub(until))) {
            let claimant = &mut claimants[i as usize];
            let mut ahead = [claimant.offset; AHEAD];
            // The distance of known slots in the permutation: one, two, four, at last that of a whole group.
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
            slots[found as usize] = if RECORD == NUMBER { number } else { claimant.value };
            if RECORD == EARLIER {
                let had = &mut had[i as usize];
                earlier[found as usize] = *had;
                *had = had.wrapping_add(1);
            }
            // From here on the offset is the slot that is next.
            claimant.offset = add(found, claimant.skip, size);
        }
        *free = (*free).min(until);
    }

    /// Takes the last turns.
    fn claim_last<const RECORD: u8>(self, turns: impl Iterator<Item = u32>) -> Filled {
        let free = self.free_slots();
        let Filling { size, claimants, mut had, mut slots, mut earlier, .. } = self;
        #[expect(clippy::cast_possible_truncation, reason = "below the size")]
        let mut numbers = (slots.len() - free.len()) as u32..;
        claim_last(size, &claimants, free, turns, |claimant, slot| {
            let (claimant, slot) = (claimant as usize, slot as usize);
            slots[slot] = match numbers.next() {
                Some(number) if RECORD == NUMBER => number,
                _ => claimants[claimant].value,
            };
            if let (Some(had), Some(earlier)) = (had.get_mut(claimant), earlier.get_mut(slot)) {
                *earlier = *had;
                *had = had.wrapping_add(1);
            }
        });
        Filled { slots, earlier }
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
        // The last word has bits behind the last slot.
        while slots.last().is_some_and(|&slot| slot >= self.size) {
            slots.pop();
        }
        slots
    }
}
