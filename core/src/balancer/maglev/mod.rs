//! Maglev's consistent hashing (Eisenbud et al., NSDI 2016, section 3.4), with weights.
//!
//! Every candidate has a permutation of the slots, `offset + j * skip mod size`, which follows from the fleet's
//! key and the candidate's identity alone. Candidates take turns in claiming the next free slot of their
//! permutation until all slots are taken. Two things differ from the paper's figure:
//!
//! - Candidates are sorted by identity first. So the order in the configuration, which may differ between nodes or
//!   reloads, cannot change the table.
//! - Each candidate has a quota: its exact share, rounded by the largest remainder method. A candidate of weight w
//!   takes w turns for every w_max turns of one with the largest weight. So a share is always within one slot of
//!   the ideal, which turns alone do not give when weights differ.
//!
//! The whole fleet shares this definition. A change of it moves flows during an upgrade, and so is a change of
//! the protocol between nodes.
//!
//! | file | what |
//! |---|---|
//! | `turns.rs` | whose turn it is |
//! | `fill.rs`, `last.rs` | the slots are claimed, and the last of them |
//! | `update.rs`, `members.rs` | a large table is made from the one before |

mod candidate;
mod claimant;
mod fill;
mod last;
mod members;
mod turns;
mod update;

pub use candidate::{Candidate, Value, identity};

use self::claimant::Claimant;
use self::fill::{Filled, Record, fill};
use self::turns::{Turns, quotas};
use self::update::{Before, update};
use super::hash::FleetKey;

/// Slots from which on a table is worth to be made from the one before it, with two bytes more for each slot.
const UPDATED: u32 = 1 << 20;

/// A lookup table whose slots each name a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    slots: Box<[Value]>,
    /// How many turns its candidate had had before it claimed each slot; only of large tables.
    earlier: Box<[u16]>,
}

impl Table {
    /// Builds a table of `size` slots, a prime. Without a candidate of positive weight the table is empty and
    /// chooses nothing.
    pub fn build(key: &FleetKey, size: u32, candidates: &[Candidate]) -> Table {
        Table::build_all(key, size, &weighted(candidates), size >= UPDATED)
    }

    /// The table of `size` slots for other candidates than those that this one was built for, `before`. It is the one
    /// that [`Table::build`] builds. If few candidates are new or have a larger weight, and all others one weight, a large
    /// table is made in a tenth of the time.
    pub fn changed(
        &self,
        key: &FleetKey,
        size: u32,
        before: &[Candidate],
        candidates: &[Candidate],
    ) -> Table {
        let (before, candidates) = (weighted(before), weighted(candidates));
        let before = Before { candidates: &before, slots: &self.slots, earlier: &self.earlier };
        match update(key, size, before, &candidates) {
            Some(filled) => filled.into(),
            None => {
                let is_recorded = size >= UPDATED || !self.earlier.is_empty();
                Table::build_all(key, size, &candidates, is_recorded)
            }
        }
    }

    /// Builds a table for candidates that have a weight and are ordered by identity.
    fn build_all(key: &FleetKey, size: u32, candidates: &[Candidate], is_recorded: bool) -> Table {
        let Some(heaviest) = candidates.iter().map(|m| m.weight).max() else {
            return Table { slots: Box::default(), earlier: Box::default() };
        };
        let claimants = candidates.iter().map(|m| Claimant::of(key, size, m)).collect();
        let weights: Vec<u32> = candidates.iter().map(|m| m.weight).collect();
        let sum: u64 = weights.iter().copied().map(u64::from).sum();
        // A share is at most one more than that.
        let most = u64::from(size) * u64::from(heaviest) / sum;
        let is_recorded = is_recorded && most < u64::from(u16::MAX);
        let record = |how| if is_recorded { how } else { Record::Nothing };
        let filled = match turns::turns(size, &weights) {
            Turns::Cyclic(candidates) => {
                let turns = (0..candidates).cycle();
                fill(size, claimants, turns, record(Record::EarlierOfRounds))
            }
            Turns::Listed(turns) => {
                fill(size, claimants, turns.into_iter(), record(Record::Earlier))
            }
        };
        filled.into()
    }

    /// How many slots each of the candidates has in a table of `size`, in their order.
    pub fn shares(size: u32, candidates: &[Candidate]) -> Vec<u32> {
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.retain(|&index| candidates[index].weight > 0);
        order.sort_by_key(|&index| candidates[index].identity);
        let weights: Vec<u32> = order.iter().map(|&index| candidates[index].weight).collect();
        let mut shares = vec![0; candidates.len()];
        if !weights.is_empty() {
            let quotas = quotas(size, &weights).into_iter();
            order.into_iter().zip(quotas).for_each(|(index, quota)| shares[index] = quota);
        }
        shares
    }

    /// A table whose slots are turns, to be taken one after the other: as many as show the weights exactly, but at
    /// most `size`, which then show them within one turn. Candidates of equal weight have a turn each. The turns of
    /// each candidate are as far apart as they can be.
    pub fn turns(size: u32, candidates: &[Candidate]) -> Table {
        let candidates = weighted(candidates);
        let divisor = candidates.iter().fold(0, |divisor, m| common_divisor(divisor, m.weight));
        let weights: Vec<u32> = candidates.iter().map(|m| m.weight / divisor.max(1)).collect();
        let sum: u64 = weights.iter().copied().map(u64::from).sum();
        let size = u32::try_from(sum).map_or(size, |sum| sum.min(size));
        let value = |turn: u32| candidates[turn as usize].value;
        let slots = match turns::turns(size, &weights) {
            Turns::Cyclic(candidates) => (0..candidates).map(value).collect(),
            Turns::Listed(turns) => turns.into_iter().map(value).collect(),
        };
        Table { slots, earlier: Box::default() }
    }

    /// The candidate for a flow of this [`FleetKey::hash`].
    #[inline]
    pub fn choose(&self, hash: u64) -> Option<Value> {
        self.slots.get(self.slot(hash)).copied()
    }

    /// The slot that [`Table::choose`] reads, for a prefetch.
    #[inline]
    pub fn place(&self, hash: u64) -> Option<&Value> {
        self.slots.get(self.slot(hash))
    }

    /// The slot for a hash; 0 if there is none.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the product is below the slots' number")]
    pub(super) fn slot(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    /// The slots, for counting shares.
    pub fn slots(&self) -> &[Value] {
        &self.slots
    }
}

impl From<Filled> for Table {
    fn from(Filled { slots, earlier }: Filled) -> Table {
        Table { slots: slots.into_boxed_slice(), earlier: earlier.into_boxed_slice() }
    }
}

/// The candidates that have a weight, ordered by identity.
fn weighted(candidates: &[Candidate]) -> Vec<Candidate> {
    let mut weighted: Vec<Candidate> =
        candidates.iter().filter(|m| m.weight > 0).copied().collect();
    weighted.sort_by_key(|m| m.identity);
    weighted
}

/// The greatest common divisor, by Euclid. That of 0 and a number is the number.
fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: FleetKey = FleetKey::new([7; 16]);

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        (0u32..)
            .zip(weights)
            .map(|(i, &weight)| {
                let mut identity = [0; 16];
                identity[12..].copy_from_slice(&i.to_be_bytes());
                Candidate { identity, weight, value: i }
            })
            .collect()
    }

    /// The definition in docs/fleet.md, word for word.
    fn plain(key: &FleetKey, size: u32, candidates: &[Candidate]) -> Vec<Value> {
        let mut candidates: Vec<Candidate> =
            candidates.iter().filter(|m| m.weight > 0).copied().collect();
        candidates.sort_by_key(|m| m.identity);
        let Some(heaviest) = candidates.iter().map(|m| m.weight).max() else { return Vec::new() };
        let (size, heaviest) = (u64::from(size), u64::from(heaviest));
        let sum: u64 = candidates.iter().map(|m| u64::from(m.weight)).sum();
        let share = |i: usize| size * u64::from(candidates[i].weight);
        let mut quotas: Vec<u64> = (0..candidates.len()).map(|i| share(i) / sum).collect();
        let left = size - quotas.iter().sum::<u64>();
        let mut by_remainder: Vec<usize> = (0..candidates.len()).collect();
        by_remainder.sort_by_key(|&i| std::cmp::Reverse(share(i) % sum));
        by_remainder.iter().zip(0..left).for_each(|(&i, _)| quotas[i] += 1);

        let mut credits = vec![0; candidates.len()];
        let mut tries = vec![0; candidates.len()];
        let mut slots = vec![None; usize::try_from(size).unwrap()];
        while quotas.iter().any(|&quota| quota > 0) {
            for (i, candidate) in candidates.iter().enumerate() {
                credits[i] += u64::from(candidate.weight);
                if credits[i] < heaviest {
                    continue;
                }
                credits[i] -= heaviest;
                if quotas[i] == 0 {
                    continue;
                }
                quotas[i] -= 1;
                let (h1, h2) = key.hash_pair(&candidate.identity);
                let (offset, skip) = (h1 % size, h2 % (size - 1) + 1);
                let slot = loop {
                    let slot = usize::try_from((offset + tries[i] * skip) % size).unwrap();
                    tries[i] += 1;
                    if slots[slot].is_none() {
                        break slot;
                    }
                };
                slots[slot] = Some(candidate.value);
            }
        }
        slots.into_iter().map(Option::unwrap).collect()
    }

    fn count(table: &Table, value: u32) -> usize {
        table.slots().iter().filter(|&&v| v == value).count()
    }

    fn moved(a: &Table, b: &Table) -> usize {
        a.slots().iter().zip(b.slots()).filter(|(x, y)| x != y).count()
    }

    /// The example of docs/fleet.md, which another implementation of that definition computed.
    #[test]
    #[cfg_attr(miri, ignore = "a table of 65,537 slots: minutes under Miri")]
    fn documented_example() {
        use std::net::Ipv4Addr;

        use super::super::flow::FlowKey;

        let key = FleetKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        let candidate = |last| Candidate {
            identity: Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped().octets(),
            weight: 1,
            value: last.into(),
        };
        let candidates = [candidate(12), candidate(11)];
        let start = |candidate| {
            let claimant = Claimant::of(&key, 65537, candidate);
            (claimant.offset, claimant.skip)
        };
        assert_eq!(start(&candidates[1]), (46993, 24940));
        assert_eq!(start(&candidates[0]), (64216, 40126));
        let table = Table::build(&key, 65537, &candidates);
        assert_eq!((count(&table, 11), count(&table, 12)), (32769, 32768));
        let (source, destination) = ("198.51.100.1:40000", "203.0.113.10:80");
        let flow = FlowKey::new(source.parse().unwrap(), destination.parse().unwrap(), 6).unwrap();
        let hash = key.hash(&flow);
        assert_eq!(hash, 0x4778_6063_f3cd_2402);
        assert_eq!((table.slots()[18296], table.choose(hash)), (11, Some(11)));
    }

    /// Table 1 of the paper: (offset, skip) = (3,4), (0,2), (3,1) in seven slots.
    #[test]
    fn paper_example() {
        let b = [(3, 4), (0, 2), (3, 1)];
        let lookup = |which: &[u32]| -> Vec<Value> {
            let claimant = |&value: &u32| {
                let (offset, skip) = b[value as usize];
                Claimant { offset, skip, value }
            };
            let claimants: Vec<Claimant> = which.iter().map(claimant).collect();
            let candidates = u32::try_from(which.len()).unwrap();
            fill(7, claimants, (0..candidates).cycle(), Record::Nothing).slots
        };
        assert_eq!(lookup(&[0, 1, 2]), [1, 0, 1, 0, 2, 2, 0]);
        assert_eq!(lookup(&[0, 2]), [0, 0, 0, 0, 2, 2, 2]);
        assert_eq!(lookup(&[1, 2]), [1, 1, 1, 2, 2, 2, 1]);
        assert_eq!(lookup(&[0, 1]), [1, 0, 1, 0, 0, 0, 1]);
    }

    /// A known table: if it changes, the protocol between nodes changes.
    #[test]
    fn the_fleet_shares_this_table() {
        let table = Table::build(&FleetKey::new([0; 16]), 13, &candidates(&[1, 2, 3]));
        assert_eq!(table.slots(), [1, 0, 2, 1, 0, 2, 1, 2, 2, 1, 2, 2, 2]);
    }

    #[test]
    fn turns_alternate_by_weight() {
        let turns = |weights: &[u32]| Table::turns(251, &candidates(weights)).slots().to_vec();
        assert_eq!(turns(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(turns(&[7, 7]), [0, 1]);
        assert_eq!(turns(&[10, 0, 20]), [2, 0, 2]);
        assert_eq!(turns(&[1, 2, 4]), [2, 1, 2, 2, 0, 1, 2]);
        assert_eq!(turns(&[5]), [0]);
        assert!(turns(&[0, 0]).is_empty() && turns(&[]).is_empty());
        // More backends than slots have a turn each all the same.
        assert_eq!(turns(&[3; 300]).len(), 300);
        // 1,000,001 turns do not fit: the small weight has a turn if it has half of one.
        let many = Table::turns(1021, &candidates(&[1_000_000, 1]));
        assert_eq!((many.slots().len(), count(&many, 1)), (1021, 0));
    }

    #[test]
    fn nothing_to_choose_from() {
        assert_eq!(Table::build(&KEY, 251, &[]).choose(1), None);
        assert_eq!(Table::build(&KEY, 251, &candidates(&[0, 0])).choose(u64::MAX), None);
    }

    #[test]
    fn every_hash_finds_a_slot() {
        let table = Table::build(&KEY, 251, &candidates(&[1, 1]));
        assert_eq!(table.choose(0), Some(table.slots()[0]));
        assert_eq!(table.choose(u64::MAX), Some(table.slots()[250]));
    }

    #[test]
    #[cfg_attr(miri, ignore = "five tables of 65,537 slots: hours under Miri")]
    fn a_large_table_is_what_the_definition_says() {
        let mixed: Vec<u32> = (0..1000).map(|i| i * i % 7 + 1).collect();
        // The fourth has a turn once in a million rounds, and no slot.
        let uneven = [1_000_000, 1000, 999_999, 1, 500_000];
        for weights in [&[1; 1000][..], &mixed, &uneven, &[3, 3, 3], &[5]] {
            let all = candidates(weights);
            assert!(Table::build(&KEY, 65537, &all).slots() == plain(&KEY, 65537, &all));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "nine tables of 65,537 slots: hours under Miri")]
    fn removal_of_one_of_a_thousand_moves_under_one_percent() {
        let all = candidates(&[1; 1000]);
        let before = Table::build(&KEY, 65537, &all);
        let mut worst = 0;
        for gone in [0, 1, 250, 499, 500, 750, 998, 999] {
            let mut rest = all.clone();
            rest.remove(gone);
            worst = worst.max(moved(&before, &Table::build(&KEY, 65537, &rest)));
        }
        assert!(worst < 655, "{worst} of 65537 slots moved");
    }

    #[test]
    fn another_key_is_another_table() {
        let all = candidates(&[1; 10]);
        let other = FleetKey::new([8; 16]);
        let differ = moved(&Table::build(&KEY, 1021, &all), &Table::build(&other, 1021, &all));
        assert!(differ > 800, "{differ}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 64 }))]

        #[test]
        fn a_table_is_what_the_definition_says(
            weights in prop_oneof![
                proptest::collection::vec(1u32..2, 0..60),
                proptest::collection::vec(0u32..4, 0..60),
                proptest::collection::vec(0u32..1000, 0..60),
            ],
            key in any::<[u8; 16]>(),
            size in proptest::sample::select(&[2u32, 3, 5, 61, 67, 127, 131, 251, 1021, 4093][..]),
        ) {
            let (key, all) = (FleetKey::new(key), candidates(&weights));
            let table = Table::build(&key, size, &all);
            prop_assert_eq!(table.slots(), plain(&key, size, &all));
        }

        #[test]
        #[cfg_attr(miri, ignore = "tables of up to 16,381 slots: minutes under Miri")]
        fn shares_lie_within_one_slot_of_the_ideal(
            weights in proptest::collection::vec(0u32..1000, 1..40),
            size in prop_oneof![Just(251u32), Just(4093), Just(16381)],
        ) {
            let table = Table::build(&KEY, size, &candidates(&weights));
            let sum: u32 = weights.iter().sum();
            for (value, &weight) in (0u32..).zip(&weights) {
                let share = count(&table, value) as f64;
                if sum == 0 {
                    prop_assert_eq!(share, 0.0);
                } else {
                    let ideal = f64::from(size) * f64::from(weight) / f64::from(sum);
                    prop_assert!((share - ideal).abs() < 1.0, "{} against {}", share, ideal);
                }
            }
        }

        /// In any run of turns, each candidate has its share, but for two turns.
        #[test]
        fn turns_are_spread_evenly(
            weights in proptest::collection::vec(0u32..50, 1..8),
            start in any::<prop::sample::Index>(),
            length in any::<prop::sample::Index>(),
        ) {
            let table = Table::turns(1021, &candidates(&weights));
            let sum: u32 = weights.iter().sum();
            prop_assume!(sum > 0);
            let turns = table.slots();
            let (start, length) = (start.index(turns.len()), length.index(turns.len()) + 1);
            let run: Vec<Value> = turns.iter().cycle().skip(start).take(length).copied().collect();
            for (value, &weight) in (0u32..).zip(&weights) {
                let had = run.iter().filter(|&&turn| turn == value).count() as f64;
                let ideal = length as f64 * f64::from(weight) / f64::from(sum);
                let slack = 2.0 + weights.len() as f64 * f64::from(weight) / f64::from(sum);
                prop_assert!((had - ideal).abs() <= slack, "{had} of {ideal}: {turns:?}");
            }
        }

        #[test]
        fn the_order_of_members_does_not_matter(
            weights in proptest::collection::vec(0u32..5, 1..30),
            shuffle in any::<u64>(),
        ) {
            let mut all = candidates(&weights);
            let table = Table::build(&KEY, 1021, &all);
            let shuffle = FleetKey::new(u128::from(shuffle).to_le_bytes());
            all.sort_by_key(|m| shuffle.hash_pair(&m.identity));
            prop_assert_eq!(Table::build(&KEY, 1021, &all), table);
        }

        #[test]
        #[cfg_attr(miri, ignore = "tables of 16,381 slots: minutes under Miri")]
        fn removal_moves_little_more_than_it_must(n in 2usize..60, gone in any::<prop::sample::Index>()) {
            let all = candidates(&vec![1; n]);
            let before = Table::build(&KEY, 16381, &all);
            let mut rest = all.clone();
            let gone = rest.remove(gone.index(n));
            let after = Table::build(&KEY, 16381, &rest);
            let must = count(&before, gone.value);
            prop_assert!(moved(&before, &after) < must + 16381 / 20);
        }
    }
}
