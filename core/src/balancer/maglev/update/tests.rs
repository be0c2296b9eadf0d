use proptest::prelude::*;

use super::super::Table;
use super::*;

const KEY: FleetKey = FleetKey::new([3; 16]);

/// Candidates of these weights, with scattered identities and values that have gaps.
fn candidates(weights: &[u32]) -> Vec<Candidate> {
    let candidate = |(n, &weight): (u32, &u32)| {
        let identity = n.wrapping_mul(0x9e37_79b9).to_be_bytes().repeat(4);
        Candidate { identity: identity.try_into().unwrap(), weight, value: 10 + 3 * n }
    };
    (0..).zip(weights).map(candidate).collect()
}

fn weighted(candidates: &[Candidate]) -> Vec<Candidate> {
    super::super::weighted(candidates)
}

/// A table that records turns, whatever its size.
fn build(size: u32, candidates: &[Candidate]) -> Table {
    Table::build_all(&KEY, size, &weighted(candidates), true)
}

/// Makes a table from the one before it, and compares it with the one that is built. Returns whether it was made.
#[track_caller]
fn is_made(size: u32, before: &[Candidate], after: &[Candidate]) -> bool {
    let (old, expected) = (build(size, before), build(size, after));
    let made = {
        let (candidates, after) = (weighted(before), weighted(after));
        let Table { slots, earlier } = &old;
        update(&KEY, size, Before { candidates: &candidates, slots, earlier }, &after)
    };
    if let Some(made) = &made {
        assert!(made.slots[..] == *expected.slots, "slots differ");
        assert!(made.earlier[..] == *expected.earlier, "turns differ");
    }
    assert!(old.changed(&KEY, size, before, after).slots == expected.slots);
    made.is_some()
}

#[test]
#[cfg_attr(miri, ignore = "tables of 65,537 slots: hours under Miri")]
fn a_new_candidate_or_a_larger_weight_makes_the_table() {
    let all = candidates(&[1; 2000]);
    for place in [0, 1, 1000, 1998, 1999] {
        let mut fewer = all.clone();
        fewer.remove(place);
        assert!(is_made(65_537, &fewer, &all), "new at {place}");
        for weight in [2, 3] {
            let mut heavier = all.clone();
            heavier[place].weight = weight;
            assert!(is_made(65_537, &all, &heavier), "{weight} at {place}");
            // At once with a new one.
            let new = (place + 5) % 2000;
            let mut one = all.clone();
            one.remove(new);
            assert!(is_made(65_537, &one, &heavier), "{weight} at {place}, and {new} is new");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "tables of 65,537 slots: hours under Miri")]
fn a_slow_start_makes_a_table_for_each_step() {
    let at = |share| {
        let mut all = candidates(&[1000; 2000]);
        all[70].weight = share;
        all
    };
    let steps = [30, 110, 510, 990];
    // Before, the others had another weight, since nobody had a share.
    let mut others = candidates(&[1; 2000]);
    others.remove(70);
    assert!(is_made(65_537, &others, &at(30)));
    for (before, after) in steps.iter().zip(&steps[1..]) {
        assert!(is_made(65_537, &at(*before), &at(*after)), "{before} to {after}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "tables of 65,537 slots: hours under Miri")]
fn what_cannot_be_made_is_built() {
    let all = candidates(&[1; 300]);
    let changed = |change: fn(&mut Vec<Candidate>)| {
        let mut changed = all.clone();
        change(&mut changed);
        changed
    };
    let size = 65_537;
    let fewer = changed(|all| _ = all.remove(7));
    let many = changed(|all| all[..40].iter_mut().for_each(|c| c.weight = 2));
    let mixed = changed(|all| all.iter_mut().step_by(2).for_each(|c| c.weight = 2));
    let other_value = changed(|all| all[5].value = 5000);
    let far_value = changed(|all| all[5].value = 1 << 30);
    let twice = changed(|all| all[5].identity = all[6].identity);
    let nobody = changed(Vec::clear);
    for other in [&many, &mixed, &other_value, &far_value, &twice, &nobody] {
        assert!(!is_made(size, &all, other));
    }
    for (before, after) in [(&all, &fewer), (&nobody, &all), (&mixed, &all), (&twice, &all)] {
        assert!(!is_made(size, before, after));
    }
    // Too small, and more turns than are recorded.
    assert!(!is_made(251, &all[..2], &all[..3]));
    assert!(!is_made(655_373, &all[..2], &all[..3]));
}

#[test]
fn small_tables_are_built() {
    let all = candidates(&[1; 30]);
    let table = Table::build(&KEY, 4093, &all[..29]);
    assert!(table.earlier.is_empty());
    assert_eq!(table.changed(&KEY, 4093, &all[..29], &all), Table::build(&KEY, 4093, &all));
    let none = Table::build(&KEY, 4093, &[]);
    assert_eq!(none.changed(&KEY, 4093, &[], &all), Table::build(&KEY, 4093, &all));
    assert_eq!(table.changed(&KEY, 4093, &all[..29], &[]), none);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 96 }))]

    /// Candidates come, go, and change their weight: one table after the other.
    #[test]
    #[cfg_attr(miri, ignore = "tables of 16,381 slots: minutes under Miri")]
    fn a_made_table_is_the_built_one(
        count in 2usize..400,
        weight in proptest::sample::select(&[1u32, 2, 7, 1000][..]),
        size in proptest::sample::select(&[1021u32, 4093, 16_381][..]),
        changes in proptest::collection::vec(
            proptest::collection::vec((any::<prop::sample::Index>(), 0u32..4), 1..4), 1..5),
    ) {
        let mut all = candidates(&vec![weight; count]);
        for changes in changes {
            let before = all.clone();
            for (index, change) in changes {
                let index = index.index(count);
                all[index].weight = match change {
                    0 => 0,
                    1 => weight,
                    2 => weight * 2,
                    _ => (weight / 2).max(1),
                };
            }
            is_made(size, &before, &all);
        }
    }
}
