//! The candidates of two tables: which stay as they are, which change, and whose turn comes when.

use super::candidate::{Candidate, Value};
use super::turns::{TurnOrder, quotas};

/// Changed candidates at the most.
const CHANGED: usize = 16;

/// The candidates of two tables of one size.
#[derive(Debug)]
pub(super) struct Members<'a> {
    pub(super) size: u32,
    /// Those with the usual weight in both, ordered by identity.
    kept: Vec<&'a Candidate>,
    /// The others, likewise.
    pub(super) changed: Vec<Changed<'a>>,
    /// How many turns the kept candidates have in the table before, and in the new one.
    pub(super) kept_before: u64,
    pub(super) kept_after: u64,
    /// The usual weight in the table before, and in the new one.
    weight_before: u32,
    weight_after: u32,
    /// The least value.
    first: Value,
    /// By value from `first` on: the index among the kept candidates, or that among the changed ones plus [`IS_CHANGED`].
    places: Vec<u32>,
}

/// Marks the place of a changed candidate.
const IS_CHANGED: u32 = 1 << 31;
/// The place of a value that no candidate has.
const NOWHERE: u32 = u32::MAX;

/// A candidate with another weight, a new one, or one that is gone.
#[derive(Debug)]
pub(super) struct Changed<'a> {
    pub(super) candidate: &'a Candidate,
    /// How many kept candidates come before it.
    kept_before: u64,
    /// Its turns in the table before and in the new one.
    before: Option<TurnOrder>,
    after: Option<TurnOrder>,
}

impl Changed<'_> {
    /// Whether it is a candidate of the table before.
    pub(super) fn has_turns_before(&self) -> bool {
        self.before.is_some()
    }
}

/// A turn of a changed candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChangedTurn {
    /// How many kept turns come before it.
    pub(super) at: u64,
    round: u64,
    /// An index of [`Members::changed`].
    pub(super) candidate: usize,
    /// How many turns the candidate had earlier.
    pub(super) earlier: u16,
}

impl<'a> Members<'a> {
    /// The candidates of a table and of the one before it, both with weights and ordered by identity. `None` if it is not
    /// worth while to look for their differences, or not known how.
    pub(super) fn new(
        size: u32,
        before: &'a [Candidate],
        after: &'a [Candidate],
    ) -> Option<Members<'a>> {
        let mut kept: Vec<&Candidate> = Vec::with_capacity(before.len());
        let mut changed: Vec<Changed<'_>> = Vec::new();
        let (old_turns, new_turns) = (Orders::new(size, before), Orders::new(size, after));
        let (mut old, mut new) =
            (before.iter().enumerate().peekable(), after.iter().enumerate().peekable());
        let mut last = None;
        while let Some(identity) =
            [old.peek(), new.peek()].into_iter().flatten().map(|(_, c)| c.identity).min()
        {
            if last.replace(identity) == Some(identity) || changed.len() > CHANGED {
                return None;
            }
            let both = (
                old.next_if(|(_, candidate)| candidate.identity == identity),
                new.next_if(|(_, candidate)| candidate.identity == identity),
            );
            let (candidate, of_old, of_new) = match both {
                (Some((_, old)), Some((_, new)))
                    if old.value == new.value
                        && (old.weight, new.weight) == (old_turns.usual, new_turns.usual) =>
                {
                    kept.push(new);
                    continue;
                }
                (Some((m, old)), Some((n, new))) if old.value == new.value => {
                    (new, Some(m), Some(n))
                }
                (Some((m, old)), None) => (old, Some(m), None),
                (None, Some((n, new))) => (new, None, Some(n)),
                // Another value for the same candidate, or no candidate.
                _ => return None,
            };
            changed.push(Changed {
                candidate,
                kept_before: kept.len() as u64,
                before: of_old.map(|index| old_turns.of(index)),
                after: of_new.map(|index| new_turns.of(index)),
            });
        }
        let mut counts = old_turns.quotas.iter().chain(&new_turns.quotas);
        if kept.is_empty()
            || changed.len() > CHANGED
            || counts.any(|&quota| quota > u32::from(u16::MAX))
        {
            return None;
        }
        let turns = |of: fn(&Changed<'_>) -> Option<TurnOrder>| {
            let changed = changed.iter().filter_map(of).map(|order| u64::from(order.quota));
            u64::from(size) - changed.sum::<u64>()
        };
        let (kept_before, kept_after) = (turns(|it| it.before), turns(|it| it.after));
        let (first, places) = places(&kept, &changed)?;
        let (weight_before, weight_after) = (old_turns.usual, new_turns.usual);
        Some(Members {
            size,
            kept,
            changed,
            kept_before,
            kept_after,
            weight_before,
            weight_after,
            first,
            places,
        })
    }

    /// The candidate of a value: whether it is a kept one, and its index.
    pub(super) fn place(&self, value: Value) -> Option<(bool, usize)> {
        let index = value.checked_sub(self.first)? as usize;
        match self.places.get(index).copied()? {
            NOWHERE => None,
            place if place & IS_CHANGED != 0 => Some((false, (place & !IS_CHANGED) as usize)),
            place => Some((true, place as usize)),
        }
    }

    /// The number of the turn that a kept candidate has after so many others of its own.
    pub(super) fn number(&self, place: usize, earlier: u16) -> u64 {
        u64::from(earlier) * self.kept.len() as u64 + place as u64
    }

    /// The candidate of a kept turn, and how many turns it had earlier.
    pub(super) fn kept_turn(&self, number: u64) -> Option<(&'a Candidate, u16)> {
        let count = self.kept.len() as u64;
        let candidate = self.kept.get(usize::try_from(number % count).ok()?)?;
        Some((candidate, u16::try_from(number / count).ok()?))
    }

    /// How many turns each kept candidate has in the new table, about.
    pub(super) fn kept_each(&self) -> u64 {
        self.kept_after / self.kept.len() as u64
    }

    /// The turns of changed candidates in the table before, in their order.
    pub(super) fn turns_before(&self) -> Vec<ChangedTurn> {
        self.turns(self.weight_before, |changed| changed.before)
    }

    /// The turns of changed candidates in the new table, in their order.
    pub(super) fn turns_after(&self) -> Vec<ChangedTurn> {
        self.turns(self.weight_after, |changed| changed.after)
    }

    fn turns(&self, weight: u32, order: fn(&Changed<'_>) -> Option<TurnOrder>) -> Vec<ChangedTurn> {
        let count = self.kept.len() as u64;
        let mut turns = Vec::new();
        for (candidate, changed) in self.changed.iter().enumerate() {
            let Some(order) = order(changed) else { continue };
            let (heaviest, weight) = (u128::from(order.heaviest), u128::from(weight));
            turns.extend(order.all().zip(0..).map(|(round, earlier)| {
                // The turns that each kept candidate has up to this round, and the round of the last.
                let each = u128::from(round) * weight / heaviest;
                let is_tie = each > 0 && (each * heaviest).div_ceil(weight) == u128::from(round);
                #[expect(clippy::cast_possible_truncation, reason = "at most the round")]
                let each = each as u64;
                let at = match is_tie {
                    true => (each - 1) * count + changed.kept_before,
                    false => each * count,
                };
                ChangedTurn { at, round, candidate, earlier }
            }));
        }
        turns.sort_unstable();
        turns
    }
}

/// The turns of the candidates of one table.
struct Orders<'a> {
    candidates: &'a [Candidate],
    quotas: Vec<u32>,
    heaviest: u32,
    /// The weight in the middle.
    usual: u32,
}

impl<'a> Orders<'a> {
    fn new(size: u32, candidates: &'a [Candidate]) -> Orders<'a> {
        let weights: Vec<u32> = candidates.iter().map(|candidate| candidate.weight).collect();
        let heaviest = weights.iter().copied().max().unwrap_or(0);
        let quotas = if weights.is_empty() { Vec::new() } else { quotas(size, &weights) };
        let mut sorted = weights;
        let middle = sorted.len() / 2;
        let usual = match sorted.is_empty() {
            true => 0,
            false => *sorted.select_nth_unstable(middle).1,
        };
        Orders { candidates, quotas, heaviest, usual }
    }

    fn of(&self, index: usize) -> TurnOrder {
        let (weight, quota) = (self.candidates[index].weight, self.quotas[index]);
        TurnOrder { candidate: 0, weight, quota, heaviest: self.heaviest }
    }
}

/// [`Members::first`] and [`Members::places`]; `None` if values are too far apart, or not unique.
fn places(kept: &[&Candidate], changed: &[Changed<'_>]) -> Option<(Value, Vec<u32>)> {
    /// Values in all at the most, used or not.
    const MOST: u32 = 1 << 22;
    let kept = (0..).zip(kept.iter().copied());
    let changed = (IS_CHANGED..).zip(changed.iter().map(|changed| changed.candidate));
    let all = || kept.clone().chain(changed.clone());
    let values = || all().map(|(_, candidate)| candidate.value);
    let (first, last) = (values().min()?, values().max()?);
    if last - first >= MOST {
        return None;
    }
    let mut places = vec![NOWHERE; (last - first) as usize + 1];
    for (place, candidate) in all() {
        let known = &mut places[(candidate.value - first) as usize];
        if *known != NOWHERE {
            return None;
        }
        *known = place;
    }
    Some((first, places))
}
