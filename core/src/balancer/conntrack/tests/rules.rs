//! The rules of the table, one by one.

use proptest::prelude::*;

use super::*;

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
        insert(&mut table, 9, backend(1), state, 5);
        assert!(table.get(9, at(5 + u64::from(timeout)), &TIMEOUTS).is_some());
        assert!(table.get(9, at(6 + u64::from(timeout)), &TIMEOUTS).is_none());
    }
}

proptest! {
    #[test]
    fn a_touch_moves_nothing_but_the_time(tag: u64, number in 0u32..BackendId::MAX, later in 0u64..60_000) {
        let mut table = Table::new(64);
        insert(&mut table, tag, backend(number), State::Established, 7);
        let mut homes = table.homes();
        let entry = homes.find(stored(tag), at(7 + 5000), 5000).unwrap();
        entry.touch(at(7 + later));
        prop_assert!(table.homes().find(stored(tag), at(7 + later + 5001), 5000).is_none());
        let (_, entry) = table.get(tag, at(7 + later + 900_000), &TIMEOUTS).unwrap();
        prop_assert_eq!((entry.backend(), entry.state()), (backend(number), State::Established));
        prop_assert_eq!(entry.idle_ms(at(7 + later)), 0);
    }
}

#[test]
fn tag_zero_is_a_tag_like_any_other() {
    let mut table = Table::new(4);
    assert!(table.get(0, at(0), &TIMEOUTS).is_none());
    insert(&mut table, 0, backend(3), State::Udp, 0);
    assert_eq!(table.get(0, at(0), &TIMEOUTS).unwrap().1.backend(), backend(3));
}

#[test]
fn a_full_bucket_keeps_its_established_flows() {
    let mut table = Table::new(4);
    for tag in [1, 3, 5, 7] {
        let stored = insert(&mut table, tag, backend(1), State::Established, 0);
        assert_eq!(stored, Insertion::Stored);
    }
    for state in State::ALL {
        assert_eq!(insert(&mut table, 9, backend(2), state, 1), Insertion::Full);
    }
    assert!([1, 3, 5, 7].iter().all(|&tag| table.get(tag, at(1), &TIMEOUTS).is_some()));
    assert_eq!(table.len(), 4);
}

#[test]
fn each_bucket_of_a_flow_leads_to_the_other() {
    for buckets in [1, 2, 4, 64, 1 << 12] {
        let table = Table::new(4 * buckets);
        for tag in (0..1000).map(tag) {
            let home = table.index(tag);
            let other = table.other(home, tag);
            assert_eq!(home != other, buckets > 1);
            assert_eq!(table.other(other, tag), home);
            assert!(std::ptr::eq(table.alternate_bucket(tag), &raw const table.buckets[other]));
        }
    }
}

/// The flows of one bucket of one worker have their other buckets anywhere, as chance would have it: each bucket is the
/// other one of about a hundred, with a standard deviation of ten.
#[test]
#[cfg_attr(miri, ignore = "statistics over 6,400 flows: slow under Miri")]
fn the_flows_of_a_bucket_have_their_other_buckets_anywhere() {
    let table = Table::new(4 * 128);
    for home in [0u64, 77, 127] {
        let mut flows = [0u32; 128];
        for n in 0..6400 {
            let tag = tag(n) & !127 & (u64::MAX >> 8) | home | 0x5a << 56;
            flows[table.other(table.index(tag), tag)] += 1;
        }
        // An even bucket leads to an odd one and the other way round, so that none leads to itself.
        let parity = usize::from(home % 2 == 0);
        for (index, &flows) in flows.iter().enumerate() {
            let expected = if index % 2 == parity { 60..=140 } else { 0..=0 };
            assert!(expected.contains(&flows), "from {home} to {index}: {flows}");
        }
    }
}

#[test]
fn an_established_flow_displaces_the_oldest_syn() {
    let mut table = Table::new(4);
    insert(&mut table, 7, backend(1), State::Udp, 0);
    for (tag, ms) in [(3, 10), (5, 20), (1, 30)] {
        insert(&mut table, tag, backend(1), State::Syn, ms);
    }
    assert_eq!(insert(&mut table, 9, backend(2), State::Syn, 40), Insertion::Full);
    let displaced = insert(&mut table, 11, backend(2), State::Established, 40);
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
            insert(&mut table, tag, backend(1), State::Established, 0);
        }
        insert(&mut table, 7, backend(1), state, 0);
        let insert = |table: &mut Table, ms| super::insert(table, 9, backend(2), State::Syn, ms);
        assert_eq!(insert(&mut table, 30_000), Insertion::Full);
        let expected = if victim { Insertion::Displaced } else { Insertion::Full };
        assert_eq!(insert(&mut table, 30_001), expected);
    }
}

/// Unconfirmed flows get half of the slots. Beyond it they displace one another, and a SYN displaces one of them.
#[test]
fn unconfirmed_flows_keep_to_their_share() {
    let mut table = Table::new(8);
    let insert = |table: &mut Table, tag, state| super::insert(table, tag, backend(1), state, tag);
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
    let insert =
        |table: &mut Table, tag, state, ms| super::insert(table, tag, backend(1), state, ms);
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
        insert(&mut table, u64::from(n), backend(n % 4), state, 0);
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
