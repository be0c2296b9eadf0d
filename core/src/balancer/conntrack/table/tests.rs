//! The flow table: its rules one by one, and against a plain map.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const TIMEOUTS: Timeouts = Timeouts::DEFAULT;
const SERVICE: ServiceId = ServiceId(0);

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn backend(n: u32) -> BackendId {
    BackendId::new(n)
}

#[test]
fn entry_keeps_what_it_is_given() {
    for state in State::ALL {
        let steady = matches!(state, State::Established | State::Udp | State::HalfClosed);
        assert_eq!(Entry::new(backend(7), state, at(0)).is_steady(), steady);
        let entry = Entry::new(backend(BackendId::MAX), state, at(u64::from(u32::MAX) + 6));
        assert_eq!((entry.backend(), entry.state()), (backend(BackendId::MAX), state));
        assert_eq!(entry.idle_ms(at(u64::from(u32::MAX) + 9)), 3);
    }
}

#[test]
fn each_state_expires_after_its_own_time() {
    for (state, timeout) in State::ALL.into_iter().zip(TIMEOUTS.idle) {
        let mut table = Table::new(4);
        table.insert(9, SERVICE, backend(1), state, at(5), &TIMEOUTS);
        assert!(table.get(9, at(5 + u64::from(timeout)), &TIMEOUTS).is_some());
        assert!(table.get(9, at(6 + u64::from(timeout)), &TIMEOUTS).is_none());
    }
}

proptest! {
    /// With and without vector instructions.
    #[test]
    fn the_first_way_of_a_tag_is_found(tags: [u64; WAYS], bits in 0u32..64, tag: u64) {
        let mask = u64::MAX >> bits;
        let (tags, tag) = (tags.map(|other| other & mask), tag & mask);
        prop_assert_eq!(way(&tags, tag), tags.iter().position(|&other| other == tag));
        prop_assert_eq!(way(&tags, tags[3]), tags.iter().position(|&other| other == tags[3]));
    }

    #[test]
    fn a_touch_moves_nothing_but_the_time(tag: u64, number in 0u32..BackendId::MAX, later in 0u64..60_000) {
        let mut table = Table::new(64);
        table.insert(tag, SERVICE, backend(number), State::Established, at(7), &TIMEOUTS);
        let entry = table.find(stored(tag), at(7 + 5000), 5000).unwrap();
        entry.touch(at(7 + later));
        prop_assert!(table.find(stored(tag), at(7 + later + 5001), 5000).is_none());
        let (_, entry) = table.get(tag, at(7 + later + 900_000), &TIMEOUTS).unwrap();
        prop_assert_eq!((entry.backend(), entry.state()), (backend(number), State::Established));
        prop_assert_eq!(entry.idle_ms(at(7 + later)), 0);
    }
}

#[test]
fn tag_zero_is_a_tag_like_any_other() {
    let mut table = Table::new(4);
    assert!(table.get(0, at(0), &TIMEOUTS).is_none());
    table.insert(0, SERVICE, backend(3), State::Udp, at(0), &TIMEOUTS);
    assert_eq!(table.get(0, at(0), &TIMEOUTS).unwrap().1.backend(), backend(3));
}

#[test]
fn a_full_bucket_keeps_its_established_flows() {
    let mut table = Table::new(4);
    for tag in [1, 3, 5, 7] {
        let stored = table.insert(tag, SERVICE, backend(1), State::Established, at(0), &TIMEOUTS);
        assert_eq!(stored, Insertion::Stored);
    }
    for state in State::ALL {
        assert_eq!(table.insert(9, SERVICE, backend(2), state, at(1), &TIMEOUTS), Insertion::Full);
    }
    assert!([1, 3, 5, 7].iter().all(|&tag| table.get(tag, at(1), &TIMEOUTS).is_some()));
    assert_eq!(table.len(), 4);
}

#[test]
#[cfg_attr(miri, ignore = "65,536 flows: minutes under Miri")]
fn a_half_full_table_has_room_for_nearly_every_flow() {
    let mut table = Table::new(1 << 16);
    let mut lost = [0; 4];
    for n in 0..1u64 << 16 {
        // Any numbers without a pattern.
        let tag = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let tag = (tag ^ tag >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let insertion =
            table.insert(tag, SERVICE, backend(1), State::Established, at(0), &TIMEOUTS);
        lost[usize::try_from(n >> 14).unwrap()] += u32::from(insertion == Insertion::Full);
    }
    // Each quarter of the table's size has 16,384 flows.
    assert!(lost[0] <= 16 && lost[0] + lost[1] <= 32_768 / 100, "{lost:?}");
}

#[test]
fn an_established_flow_displaces_the_oldest_syn() {
    let mut table = Table::new(4);
    table.insert(7, SERVICE, backend(1), State::Udp, at(0), &TIMEOUTS);
    for (tag, ms) in [(3, 10), (5, 20), (1, 30)] {
        table.insert(tag, SERVICE, backend(1), State::Syn, at(ms), &TIMEOUTS);
    }
    assert_eq!(
        table.insert(9, SERVICE, backend(2), State::Syn, at(40), &TIMEOUTS),
        Insertion::Full
    );
    let displaced = table.insert(11, SERVICE, backend(2), State::Established, at(40), &TIMEOUTS);
    assert_eq!(displaced, Insertion::Displaced);
    let present = |tag| table.get(tag, at(40), &TIMEOUTS).is_some();
    assert_eq!([1, 3, 5, 7, 11].map(present), [true, false, true, true, true]);
    assert_eq!(table.len(), 4);
}

#[test]
fn a_connection_that_ended_can_be_displaced_after_a_while() {
    for (state, victim) in
        [(State::Closing, true), (State::Reset, true), (State::HalfClosed, false)]
    {
        let mut table = Table::new(4);
        for tag in [1, 3, 5] {
            table.insert(tag, SERVICE, backend(1), State::Established, at(0), &TIMEOUTS);
        }
        table.insert(7, SERVICE, backend(1), state, at(0), &TIMEOUTS);
        let insert = |table: &mut Table, ms| {
            table.insert(9, SERVICE, backend(2), State::Syn, at(ms), &TIMEOUTS)
        };
        assert_eq!(insert(&mut table, 30_000), Insertion::Full);
        let expected = if victim { Insertion::Displaced } else { Insertion::Full };
        assert_eq!(insert(&mut table, 30_001), expected);
    }
}

/// Unconfirmed flows get half of the slots. Beyond it they displace one another, and a SYN displaces one of them.
#[test]
fn unconfirmed_flows_keep_to_their_share() {
    let mut table = Table::new(8);
    let insert = |table: &mut Table, tag, state| {
        table.insert(tag, SERVICE, backend(1), state, at(tag), &TIMEOUTS)
    };
    for tag in [1, 3, 5, 7] {
        assert_eq!(insert(&mut table, tag, State::Unconfirmed), Insertion::Stored);
    }
    assert_eq!(insert(&mut table, 9, State::Unconfirmed), Insertion::Displaced);
    assert_eq!(table.len(), 4);
    let present = |table: &Table, tag| table.get(tag, at(99), &TIMEOUTS).is_some();
    assert_eq!([1, 3, 5, 7, 9].map(|tag| present(&table, tag)), [false, true, true, true, true]);
    for tag in [11, 13, 15, 17] {
        assert_eq!(insert(&mut table, tag, State::Syn), Insertion::Stored);
    }
    assert_eq!(insert(&mut table, 19, State::Syn), Insertion::Displaced);
    assert!(!present(&table, 3));
    assert_eq!(insert(&mut table, 21, State::Unconfirmed), Insertion::Displaced);
    assert_eq!([11, 13, 21].map(|tag| present(&table, tag)), [false, true, true]);
}

#[test]
fn a_flow_that_expired_and_comes_back_unconfirmed_keeps_to_the_share() {
    let mut table = Table::new(8);
    let insert = |table: &mut Table, tag, state, ms| {
        table.insert(tag, SERVICE, backend(1), state, at(ms), &TIMEOUTS)
    };
    assert_eq!(insert(&mut table, 9, State::Syn, 0), Insertion::Stored);
    let later = u64::from(TIMEOUTS.idle[State::Syn as usize]) + 1;
    // These go to the other bucket, so that the expired entry stays.
    for tag in [2, 4, 6, 8] {
        assert_eq!(insert(&mut table, tag, State::Unconfirmed, later), Insertion::Stored);
    }
    assert_eq!(insert(&mut table, 9, State::Unconfirmed, later), Insertion::Displaced);
    assert_eq!(table.len(), 4);
}

#[test]
fn a_sweep_empties_what_is_expired_or_gone() {
    let mut table = Table::new(64);
    for n in 0..32u32 {
        let state = if n % 2 == 0 { State::Udp } else { State::Established };
        table.insert(u64::from(n), SERVICE, backend(n % 4), state, at(0), &TIMEOUTS);
    }
    let before = table.len();
    let mut steps = 1;
    while !table.sweep(at(100_000), &TIMEOUTS, |_, b| b != backend(3)) {
        steps += 1;
    }
    assert_eq!(steps, 16);
    assert_eq!(before, 32);
    // Established flows of other backends than 3 are left.
    assert_eq!(table.len(), 8);
    assert!(table.entries(0..16, at(100_000), &TIMEOUTS).all(|(_, e)| e.backend() == backend(1)));
}

/// What may happen to a flow.
#[derive(Clone, Debug)]
enum Step {
    Packet { tag: u64, state: State },
    Wait { ms: u64 },
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    // Few tags, all in the same few buckets, so that buckets fill up.
    let tag = (0u64..3, 0u64..11).prop_map(|(bucket, n)| bucket | n << 32);
    let state = prop::sample::select(State::ALL.to_vec());
    prop_oneof![
        8 => (tag, state).prop_map(|(tag, state)| Step::Packet { tag, state }),
        1 => (0u64..50_000).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    /// The table against a map that forgets nothing. Every flow that the table returns is in the map, with the same
    /// backend. Every flow that the table stored stays until it expires or is displaced.
    #[test]
    fn agrees_with_a_plain_map(steps in prop::collection::vec(step(), 1..400)) {
        let mut table = Table::new(16);
        let mut model: HashMap<u64, (BackendId, State, u64)> = HashMap::new();
        let mut now = 0;
        for (n, step) in (0u32..).zip(steps) {
            let live = |&(_, state, seen): &(BackendId, State, u64), now: u64| {
                now - seen <= u64::from(TIMEOUTS.idle[state as usize])
            };
            match step {
                Step::Wait { ms } => now += ms,
                Step::Sweep => {
                    while !table.sweep(at(now), &TIMEOUTS, |_, _| true) {}
                    model.retain(|_, flow| live(flow, now));
                    prop_assert_eq!(table.len(), model.len());
                }
                Step::Packet { tag, state } => {
                    let found = table.get(tag, at(now), &TIMEOUTS);
                    let expected = model.get(&stored(tag)).filter(|flow| live(flow, now));
                    prop_assert_eq!(
                        found.map(|(_, e)| (e.backend(), e.state())),
                        expected.map(|&(backend, state, _)| (backend, state))
                    );
                    if let Some((slot, entry)) = found {
                        table.update(slot, Entry::new(entry.backend(), state, at(now)));
                        model.insert(stored(tag), (entry.backend(), state, now));
                        continue;
                    }
                    let pair = table.index(stored(tag)) / 2;
                    let victims = |model: &HashMap<u64, (BackendId, State, u64)>| -> Vec<u64> {
                        let mut victims: Vec<_> = model
                            .iter()
                            .filter(|(t, flow)| table.index(**t) / 2 == pair && live(flow, now))
                            .map(|(&t, flow)| (flow.2, t))
                            .collect();
                        victims.sort();
                        victims.into_iter().map(|(_, t)| t).collect()
                    };
                    let victims = victims(&model);
                    let unconfirmed =
                        victims.iter().filter(|t| model[t].1 == State::Unconfirmed).count();
                    match table.insert(tag, SERVICE, backend(n), state, at(now), &TIMEOUTS) {
                        Insertion::Full => prop_assert_eq!(victims.len(), 2 * WAYS),
                        Insertion::Stored => {
                            prop_assert!(victims.len() < 2 * WAYS);
                            prop_assert!(state != State::Unconfirmed || unconfirmed < WAYS);
                            model.insert(stored(tag), (backend(n), state, now));
                        }
                        Insertion::Displaced => {
                            let share = state == State::Unconfirmed && unconfirmed >= WAYS;
                            prop_assert!(victims.len() == 2 * WAYS || share);
                            let gone: Vec<u64> = victims
                                .into_iter()
                                .filter(|&t| table.get(t, at(now), &TIMEOUTS).is_none())
                                .collect();
                            prop_assert_eq!(gone.len(), 1);
                            let (_, victim, seen) = model.remove(&gone[0]).unwrap();
                            match victim {
                                State::Syn => prop_assert_ne!(state, State::Syn),
                                State::Closing | State::Reset => {
                                    prop_assert!(now - seen > u64::from(ENDED_LINGER_MS));
                                }
                                victim => {
                                    prop_assert_eq!(victim, State::Unconfirmed);
                                    prop_assert!(state != State::Syn || unconfirmed >= WAYS);
                                }
                            }
                            if share {
                                prop_assert_eq!(victim, State::Unconfirmed);
                            }
                            prop_assert!(model.iter().all(|(t, flow)| table.index(*t) / 2 != pair
                                || flow.1 != victim || !live(flow, now) || flow.2 >= seen));
                            model.insert(stored(tag), (backend(n), state, now));
                        }
                    }
                }
            }
        }
    }
}
