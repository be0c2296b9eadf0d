//! What a worker keeps for choices that do not follow from the flow alone: random numbers, and the turns of each pool.

use super::hash::LocalSeed;
use super::id::PoolIndex;
use super::maglev;

/// A worker's state for choices at random and in turn.
pub(super) struct Chooser {
    /// The state of SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
    random: u64,
    /// The next turn of each pool that was asked for one. [`u32::MAX`] for the others.
    turns: Vec<u32>,
}

impl Chooser {
    pub(super) fn new(seed: LocalSeed) -> Chooser {
        Chooser { random: seed.hash_bytes(b"choices"), turns: Vec::new() }
    }

    /// A random number. The tag of the flow is part of it, so that the workers of a process, which have one seed,
    /// do not choose alike.
    pub(super) fn random(&mut self, tag: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random ^ tag;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// The candidate whose turn it is. The first turn of a pool is a random one, so that the workers do not all
    /// begin with the same backend. A pool whose turns have changed goes on at the same place, if there still is
    /// one.
    pub(super) fn turn(
        &mut self,
        pool: PoolIndex,
        turns: &maglev::Table,
        tag: u64,
    ) -> Option<maglev::Value> {
        let slots = turns.slots();
        let next = match self.turns.get(usize::from(pool.0)) {
            Some(&next) => next as usize,
            None => self.grow(pool),
        };
        let turn = if next < slots.len() {
            next
        } else if next == slots.len() {
            0
        } else {
            turns.slot(self.random(tag))
        };
        let candidate = slots.get(turn).copied()?;
        #[expect(clippy::cast_possible_truncation, reason = "a table has fewer than 2^32 slots")]
        let after = turn as u32 + 1;
        self.turns[usize::from(pool.0)] = after;
        Some(candidate)
    }

    /// Makes room for the turns of a pool: once for each pool, and not for each flow.
    #[cold]
    fn grow(&mut self, pool: PoolIndex) -> usize {
        self.turns.resize(usize::from(pool.0) + 1, u32::MAX);
        u32::MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::FleetKey;
    use super::*;

    fn turns(weights: &[u32]) -> maglev::Table {
        let candidates: Vec<_> = (0u8..)
            .zip(weights)
            .map(|(n, &weight)| maglev::Candidate { identity: [n; 16], weight, value: n.into() })
            .collect();
        maglev::Table::turns(251, &candidates)
    }

    /// The first outputs of SplitMix64 for the state 1234567, as its authors' program prints them.
    #[test]
    fn random_numbers_are_those_of_splitmix64() {
        let mut chooser = Chooser { random: 1_234_567, turns: Vec::new() };
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([chooser.random(0), chooser.random(0)], expected);
    }

    #[test]
    fn each_pool_has_turns_of_its_own() {
        let mut chooser = Chooser::new(LocalSeed::new(1));
        let (three, two) = (turns(&[1, 1, 1]), turns(&[1, 1]));
        let first = chooser.turn(PoolIndex(5), &three, 1).unwrap();
        let other = chooser.turn(PoolIndex(2), &two, 2).unwrap();
        for n in 1..20 {
            assert_eq!(chooser.turn(PoolIndex(5), &three, n.into()), Some((first + n) % 3));
            assert_eq!(chooser.turn(PoolIndex(2), &two, n.into()), Some((other + n) % 2));
        }
    }

    #[test]
    fn turns_go_on_when_the_pool_changes() {
        let mut chooser = Chooser::new(LocalSeed::new(1));
        let (pool, many, few) = (PoolIndex(0), turns(&[1; 9]), turns(&[1; 2]));
        while chooser.turn(pool, &many, 7) != Some(8) {}
        assert_eq!(chooser.turn(pool, &many, 7), Some(0));
        assert_eq!(chooser.turn(pool, &few, 7), Some(1));
        assert_eq!(chooser.turn(pool, &few, 7), Some(0));
        assert_eq!(chooser.turn(pool, &maglev::Table::turns(251, &[]), 7), None);
        assert!(chooser.turn(pool, &few, 7).is_some());
    }

    /// Workers with one seed, each of which has one flow, do not give all flows to one backend.
    #[test]
    fn workers_begin_with_different_backends() {
        let table = turns(&[1; 4]);
        let mut chosen = [0; 4];
        for flow in 0..400u64 {
            let mut chooser = Chooser::new(LocalSeed::new(1));
            let tag = LocalSeed::new(1).hash_bytes(&flow.to_le_bytes());
            chosen[chooser.turn(PoolIndex(0), &table, tag).unwrap() as usize] += 1;
        }
        assert!(chosen.iter().all(|n| (60..140).contains(n)), "{chosen:?}");
    }

    #[test]
    fn a_random_slot_is_any_slot() {
        let candidates: Vec<_> = (0u8..10)
            .map(|n| maglev::Candidate { identity: [n; 16], weight: 1, value: n.into() })
            .collect();
        let table = maglev::Table::build(&FleetKey::new([1; 16]), 251, &candidates);
        let mut chooser = Chooser::new(LocalSeed::new(1));
        let mut chosen = [0; 251];
        (0..251 * 100).for_each(|_| chosen[table.slot(chooser.random(9))] += 1);
        assert!(chosen.iter().all(|n| (50..160).contains(n)), "{chosen:?}");
    }
}
