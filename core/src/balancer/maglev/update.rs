//! Makes a table from the one before it, if few candidates are new or have a larger weight.
//!
//! The result is that of `fill.rs`, to the last slot, for a tenth of the work. It follows from the order of the turns alone
//! who has which slot. If candidates that stay have one weight, their turns come in the order in which they came before:
//! those are the *kept* turns, numbered from 0. The turns of the others, the *changed* candidates, lie between them.
//!
//! Both runs of the loop, that of the old table and that of the new one, are followed at the same time, but only where
//! they differ. A turn that only the new run has takes a slot that the old run takes at a later turn. When that turn comes,
//! it has to look further in its permutation, and takes a slot of a still later turn; and so on. The last turns, which
//! would have to look far, are taken again as `last.rs` takes them.
//!
//! If the old run takes a slot that is free in the new one, it is not known who would have liked it. That is so for a
//! candidate with fewer turns. Then the table has to be built as a whole.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::{FxHashMap, FxHashSet};

use super::candidate::{Candidate, Value};
use super::claimant::{Claimant, add};
use super::fill::Filled;
use super::last::{claim_last, few};
use super::members::{ChangedTurn, Members};
use crate::balancer::hash::FleetKey;

/// The table before: its candidates with a weight, ordered by identity, and what [`Filled`] has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before<'a> {
    pub(super) candidates: &'a [Candidate],
    pub(super) slots: &'a [Value],
    pub(super) earlier: &'a [u16],
}

/// The table of `size` slots for these candidates, which have a weight and are ordered by identity; `None` if it has to be
/// built.
pub(super) fn update(
    key: &FleetKey,
    size: u32,
    before: Before<'_>,
    candidates: &[Candidate],
) -> Option<Filled> {
    if [before.slots.len(), before.earlier.len()] != [size as usize; 2] {
        return None;
    }
    let members = Members::new(size, before.candidates, candidates)?;
    // More turns than in `fill.rs`: to follow one costs more here.
    let last = 2 * few(size) as u64;
    // The kept turn from which on all are taken again.
    let kept = members.kept_before.min(members.kept_after);
    let cut = kept.checked_sub(last).filter(|&cut| cut > 0)?;
    let mut update = Update::new(key, before, &members, cut);
    let up_to_cut = |turns: &[ChangedTurn]| turns.partition_point(|turn| turn.at <= cut);
    let (old, turns) = (members.turns_before(), members.turns_after());
    let (old, _) = old.split_at(up_to_cut(&old));
    let (first, others) = turns.split_at(up_to_cut(&turns));
    let free = u64::from(size).checked_sub(cut + first.len() as u64)?;
    // Each turn more displaces others, mostly of one candidate to the end, which looks at one slot in so many free ones.
    let more = first.len().saturating_sub(old.len()) as u64;
    let looks = 2 * more * (members.kept_each() + u64::from(size) / free.max(1));
    if free > (4 * last).min(1 << 16) || looks > u64::from(size) / 2 {
        return None;
    }
    update.follow(old, first)?;
    update.finish(others)
}

/// Who has a slot in the old run, and since when.
enum Owner {
    /// Since a kept turn.
    Kept(u64),
    /// A changed candidate, after so many other turns of its own.
    Changed(usize, u16),
}

/// Both runs, up to some turn.
struct Update<'a> {
    key: &'a FleetKey,
    size: u32,
    before: Before<'a>,
    members: &'a Members<'a>,
    cut: u64,
    /// How many turns the old run has taken of each changed candidate, and the slot of its permutation that is next.
    passed: Vec<(u16, u32)>,
    /// The slots that are taken in the new run alone.
    ahead: FxHashSet<u32>,
    /// Kept turns whose slot somebody else has in the new run, each with that slot.
    displaced: BinaryHeap<Reverse<(u64, u32)>>,
    /// What the new run has other than the old one: slot, value, and earlier turns.
    claims: Vec<(u32, Value, u16)>,
    /// How many slots may still be looked at, so that the search is never longer than building the table.
    looks: u32,
}

impl<'a> Update<'a> {
    fn new(key: &'a FleetKey, before: Before<'a>, members: &'a Members<'a>, cut: u64) -> Self {
        let size = members.size;
        let first = |changed: &Candidate| (0, Claimant::of(key, size, changed).offset);
        Update {
            key,
            size,
            before,
            members,
            cut,
            passed: members.changed.iter().map(|changed| first(changed.candidate)).collect(),
            ahead: FxHashSet::default(),
            displaced: BinaryHeap::new(),
            claims: Vec::new(),
            looks: size,
        }
    }

    /// Follows both runs up to the cut, given the turns of changed candidates in the old run and in the new one.
    fn follow(&mut self, old: &[ChangedTurn], turns: &[ChangedTurn]) -> Option<()> {
        let members = self.members;
        let (mut old, mut turns) = (old.iter().peekable(), turns.iter().peekable());
        let claimant = |c: usize| Claimant::of(self.key, self.size, members.changed[c].candidate);
        let mut claimants: Vec<Claimant> = (0..members.changed.len()).map(claimant).collect();
        loop {
            let at = |turn: &&ChangedTurn| turn.at;
            let (new_at, old_at) = (turns.peek().map(at), old.peek().map(at));
            let displaced_at = self.displaced.peek().map(|Reverse((turn, _))| *turn);
            let is_first = |at: Option<u64>, others: [Option<u64>; 2]| {
                at.is_some_and(|at| others.into_iter().flatten().all(|other| at <= other))
            };
            // What happens before the same kept turn happens in this order: so a slot that a candidate has in both runs
            // is never free in the new one alone.
            if is_first(new_at, [old_at, displaced_at])
                && let Some(turn) = turns.next()
            {
                let claimant = &mut claimants[turn.candidate];
                let slot = self.claim(turn.at, *claimant, turn.earlier)?;
                // From here on the offset is the slot that is next.
                claimant.offset = add(slot, claimant.skip, self.size);
            } else if is_first(old_at, [displaced_at, None])
                && let Some(turn) = old.next()
            {
                self.pass(turn)?;
            } else if let Some(Reverse((turn, slot))) = self.displaced.pop() {
                self.ahead.remove(&slot);
                let (candidate, earlier) = members.kept_turn(turn)?;
                let mut claimant = Claimant::of(self.key, self.size, candidate);
                claimant.offset = add(slot, claimant.skip, self.size);
                self.claim(turn, claimant, earlier)?;
            } else {
                return Some(());
            }
        }
    }

    /// Takes a turn of the new run, which comes before this kept one or is it: claims the first free slot from the
    /// claimant's offset on.
    fn claim(&mut self, turn: u64, claimant: Claimant, earlier: u16) -> Option<u32> {
        let mut slot = claimant.offset;
        while !self.is_free(slot, turn) {
            self.looks = self.looks.checked_sub(1)?;
            slot = add(slot, claimant.skip, self.size);
        }
        self.ahead.insert(slot);
        self.claims.push((slot, claimant.value, earlier));
        if let Some(Owner::Kept(later)) = self.owner(slot)
            && later < self.cut
        {
            self.displaced.push(Reverse((later, slot)));
        }
        Some(slot)
    }

    /// Takes a turn of the old run alone; `None` if its slot is free in the new one.
    fn pass(&mut self, turn: &ChangedTurn) -> Option<()> {
        let changed =
            Claimant::of(self.key, self.size, self.members.changed[turn.candidate].candidate);
        let (_, mut slot) = self.passed[turn.candidate];
        let index = loop {
            let index = slot as usize;
            if self.before.slots[index] == changed.value
                && self.before.earlier[index] == turn.earlier
            {
                break slot;
            }
            self.looks = self.looks.checked_sub(1)?;
            slot = add(slot, changed.skip, self.size);
        };
        self.passed[turn.candidate] = (turn.earlier + 1, add(index, changed.skip, self.size));
        self.ahead.remove(&index).then_some(())
    }

    /// Whether nobody has taken a slot in the new run before a kept turn.
    fn is_free(&self, slot: u32, turn: u64) -> bool {
        let is_taken_before = match self.owner(slot) {
            Some(Owner::Kept(taken)) => taken < turn,
            Some(Owner::Changed(candidate, earlier)) => earlier < self.passed[candidate].0,
            None => true,
        };
        !is_taken_before && !self.ahead.contains(&slot)
    }

    fn owner(&self, slot: u32) -> Option<Owner> {
        let index = slot as usize;
        let earlier = self.before.earlier[index];
        let (is_kept, place) = self.members.place(self.before.slots[index])?;
        Some(match is_kept {
            true => Owner::Kept(self.members.number(place, earlier)),
            false => Owner::Changed(place, earlier),
        })
    }

    /// Takes all turns from the cut on. `turns` are those of changed candidates.
    fn finish(self, turns: &[ChangedTurn]) -> Option<Filled> {
        let members = self.members;
        let free = self.free_slots();
        // The claimants that still have turns, each with its index, and the turns: claimant, and how many it had earlier.
        let mut claimants: Vec<Claimant> = Vec::new();
        let mut indices: FxHashMap<Value, u32> = FxHashMap::default();
        let mut next = 0;
        let mut last: Vec<(u32, u16)> = Vec::with_capacity(free.len());
        let mut add = |candidate: &Candidate, earlier: u16| {
            let index = *indices.entry(candidate.value).or_insert_with(|| {
                claimants.push(Claimant::of(self.key, self.size, candidate));
                next += 1;
                next - 1
            });
            last.push((index, earlier));
        };
        let mut turns = turns.iter().peekable();
        for number in self.cut..members.kept_after {
            while let Some(turn) = turns.next_if(|turn| turn.at <= number) {
                add(members.changed[turn.candidate].candidate, turn.earlier);
            }
            let (candidate, earlier) = members.kept_turn(number)?;
            add(candidate, earlier);
        }
        turns.for_each(|turn| add(members.changed[turn.candidate].candidate, turn.earlier));
        if last.len() != free.len() {
            return None;
        }
        let (mut slots, mut earlier) = (self.before.slots.to_vec(), self.before.earlier.to_vec());
        let mut claim = |slot: u32, value, turns| {
            slots[slot as usize] = value;
            earlier[slot as usize] = turns;
        };
        self.claims.iter().for_each(|&(slot, value, turns)| claim(slot, value, turns));
        let mut of_turn = last.iter();
        let turns = last.iter().map(|&(claimant, _)| claimant);
        claim_last(self.size, &claimants, free, turns, |claimant, slot| {
            let turns = of_turn.next().map_or(0, |&(_, turns)| turns);
            claim(slot, claimants[claimant as usize].value, turns);
        });
        Some(Filled { slots, earlier })
    }

    /// The slots that are free in the new run at the cut.
    fn free_slots(&self) -> Vec<u32> {
        /// Slots whose turns are compared together.
        const TOGETHER: usize = 64;
        // No slot that was claimed with fewer earlier turns is free.
        let of_kept = self.members.kept_turn(self.cut).map_or(0, |(_, earlier)| earlier);
        let changed = self.members.changed.iter().zip(&self.passed);
        let of_changed =
            changed.filter(|(it, _)| it.has_turns_before()).map(|(_, &(turns, _))| turns);
        let least = of_changed.fold(of_kept, u16::min);
        let mut free = Vec::new();
        for (base, earlier) in
            (0..self.size).step_by(TOGETHER).zip(self.before.earlier.chunks(TOGETHER))
        {
            if earlier.iter().fold(0, |most, &turns| most.max(turns)) < least {
                continue;
            }
            let slots = (base..).zip(earlier).filter(|&(_, &turns)| turns >= least);
            free.extend(slots.map(|(slot, _)| slot).filter(|&slot| self.is_free(slot, self.cut)));
        }
        free
    }
}

#[cfg(test)]
mod tests;
