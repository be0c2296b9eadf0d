//! The fragment table, case by case. `model.rs` compares it with a model without lists, `check.rs` has faults of single
//! fragments.

mod check;
mod model;

use super::share::Shares;
use super::*;
use crate::balancer::hash::LocalSeed;
use crate::balancer::time::Time;
use crate::wire::Fragment;

const LIMITS: Capacity =
    Capacity { datagrams: 4, packets: 8, bytes: 8000, packets_per_datagram: 3, timeout_ms: 2000 };

fn table(limits: Capacity) -> Table<u32, char> {
    Table::new(limits, LocalSeed::new(1))
}

/// The only datagram of a source.
fn key(family: u8, number: u32) -> DatagramKey {
    from(number, family, number)
}

/// A datagram of a source.
fn from(source: u32, family: u8, number: u32) -> DatagramKey {
    let mut key = [0; 38];
    key[0] = family;
    key[6..10].copy_from_slice(&source.to_be_bytes());
    key[2..6].copy_from_slice(&number.to_be_bytes());
    DatagramKey(key)
}

fn fields(offset: u16, length: u16) -> FragmentFields {
    FragmentFields { identification: 1, protocol: 17, offset, length, before: 20, more: true }
}

fn ms(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn none(packet: u32, reason: Reason) {
    panic!("{packet} was dropped: {reason:?}");
}

const FIRST: FragmentFields = FragmentFields {
    identification: 1,
    protocol: 17,
    offset: 0,
    length: 1480,
    before: 20,
    more: true,
};

/// The order in which a first fragment (0) and two later ones (1 and 2) leave, if they arrive in this order.
/// `handed_off` is whether another worker decides about the first one.
fn leaves(order: [u32; 3], handed_off: bool) -> Vec<u32> {
    let mut table = table(LIMITS);
    let key = key(4, 7);
    let mut left = Vec::new();
    let mut first_is_away = false;
    for fragment in order {
        if fragment == 0 {
            table.begin(&key, &FIRST, ms(0), none).unwrap();
            first_is_away = handed_off;
            if !handed_off {
                left.push(0);
                assert!(table.decide(&key, 'a', ms(0), |packet, _| left.push(packet)));
            }
            continue;
        }
        let offset = u16::try_from(fragment).unwrap() * 1480;
        match table.later(&key, &fields(offset, 1480), fragment, 1500, ms(1), none) {
            Later::Follow(packet, 'a') => left.push(packet),
            Later::Buffered => {}
            other => panic!("{other:?}"),
        }
    }
    if first_is_away {
        left.push(0);
        assert!(table.decide(&key, 'a', ms(1), |packet, _| left.push(packet)));
    }
    assert_eq!(table.usage(), Usage { datagrams: 1, packets: 0, bytes: 0 });
    left
}

#[test]
fn a_first_and_two_later_ones_in_every_order() {
    for (order, left) in [
        ([0, 1, 2], [0, 1, 2]),
        ([0, 2, 1], [0, 2, 1]),
        ([1, 0, 2], [0, 1, 2]),
        ([2, 0, 1], [0, 2, 1]),
        ([1, 2, 0], [0, 1, 2]),
        ([2, 1, 0], [0, 2, 1]),
    ] {
        assert_eq!(leaves(order, false), left, "{order:?}");
        let waited = [0, order.into_iter().find(|&f| f != 0).unwrap(), left[2]];
        assert_eq!(leaves(order, true), waited, "{order:?}, first handed off");
    }
}

#[test]
fn a_lost_first_is_waited_for_and_no_longer() {
    let mut table = table(LIMITS);
    for (number, fragment) in [(1, 10), (1, 11), (2, 20)] {
        let buffered = table.later(&key(6, number), &fields(1480, 8), fragment, 100, ms(5), none);
        assert_eq!(buffered, Later::Buffered);
    }
    assert_eq!(table.usage(), Usage { datagrams: 2, packets: 3, bytes: 300 });
    table.expire(ms(2004), none);
    let mut dropped = Vec::new();
    table.expire(ms(2005), |packet, reason| dropped.push((packet, reason)));
    assert_eq!(dropped, [10, 11, 20].map(|packet| (packet, Reason::Timeout)));
    assert_eq!(table.usage(), Usage::default());
}

#[test]
fn a_first_that_comes_too_late_has_nothing_to_follow_it() {
    let mut table = table(LIMITS);
    let key = key(4, 1);
    assert_eq!(table.later(&key, &fields(1480, 8), 1, 100, ms(0), none), Later::Buffered);
    let mut dropped = Vec::new();
    let begun =
        table.begin(&key, &FIRST, ms(2000), |packet, reason| dropped.push((packet, reason)));
    assert_eq!((begun, dropped), (Ok(()), vec![(1, Reason::Timeout)]));
    assert!(table.decide(&key, 'b', ms(2000), |_, _| panic!("nothing waits")));
    // A choice that comes too late releases nothing either.
    table.begin(&key, &FIRST, ms(2001), none).unwrap();
    assert_eq!(table.later(&key, &fields(1480, 8), 2, 100, ms(2002), none), Later::Buffered);
    let mut late = Vec::new();
    assert!(!table.decide(&key, 'b', ms(4001), |packet, reason| late.push((packet, reason))));
    assert_eq!(late, [(2, Some(Reason::Timeout))]);
    assert_eq!(table.usage(), Usage::default());
}

#[test]
fn a_full_buffer_takes_no_more() {
    let mut table = table(LIMITS);
    let mut later = |number, fragment, bytes| {
        table.later(&key(4, number), &fields(1480, 8), fragment, bytes, ms(0), none)
    };
    let full = |packet| Later::Dropped(packet, Reason::BufferFull);
    assert_eq!(later(1, 1, 8001), full(1), "bytes");
    assert_eq!(later(1, 2, 1000), Later::Buffered);
    assert_eq!(later(1, 3, 1000), Later::Buffered);
    assert_eq!(later(1, 4, 1000), Later::Buffered);
    assert_eq!(later(1, 5, 1), full(5), "the datagram's share");
    assert_eq!(later(2, 6, 5001), full(6), "bytes");
    assert_eq!(later(2, 7, 5000), Later::Buffered);
    assert_eq!(later(3, 8, 1), full(8), "bytes");
    assert_eq!(table.usage(), Usage { datagrams: 2, packets: 4, bytes: 8000 });
    let mut left = Vec::new();
    table.begin(&key(4, 1), &FIRST, ms(1), none).unwrap();
    table.decide(&key(4, 1), 'a', ms(1), |packet, reason| left.push((packet, reason)));
    assert_eq!(left, [(2, None), (3, None), (4, None)]);
    let mut rest = Vec::new();
    table.clear(|packet| rest.push(packet));
    assert_eq!((rest, table.usage()), (vec![7], Usage::default()));
}

/// One source that floods gets half of the buffer. Further ones leave as much free as each of them has.
#[test]
#[cfg_attr(miri, ignore = "thousands of fragments: minutes under Miri")]
fn one_source_does_not_fill_the_buffer_for_the_others() {
    let limits = Capacity { datagrams: 2000, packets: 1000, bytes: 1_500_000, ..LIMITS };
    for family in [4, 6] {
        let mut table = table(limits);
        let flood = |table: &mut Table<u32, char>, source, bytes| {
            (0..1500)
                .filter(|&n| {
                    let key = from(source, family, n);
                    table.later(&key, &fields(1480, 8), n, bytes, ms(0), none) == Later::Buffered
                })
                .count()
        };
        assert_eq!(flood(&mut table, 7, 1500), 500);
        for source in 1000..1100 {
            let key = from(source, family, 1);
            assert_eq!(table.later(&key, &fields(1480, 8), 1, 1500, ms(0), none), Later::Buffered);
            table.begin(&key, &FIRST, ms(0), none).unwrap();
            assert!(table.decide(&key, 'a', ms(0), |_, reason| assert_eq!(reason, None)));
        }
        assert_eq!(flood(&mut table, 8, 1), 250);
        assert!(flood(&mut table, 9, 1) >= 124);
        table.clear(|_| {});
        assert_eq!(table.usage(), Usage::default());
        // The same holds for bytes.
        assert_eq!(flood(&mut table, 7, 7500), 100);
        assert_eq!(flood(&mut table, 8, 7500), 50);
    }
}

/// All addresses that an IPv6 host can choose are one source.
#[test]
fn a_source_is_an_address_or_a_prefix_of_64_bits() {
    let shares = Shares::new(1000, 1000, LocalSeed::new(1));
    let with = |family: u8, byte: usize| {
        let mut key = from(1, family, 9);
        key.0[byte] ^= 1;
        shares.of(&key) == shares.of(&from(1, family, 9))
    };
    assert!((6..14).all(|byte| !with(6, byte)));
    assert!((14..38).chain(1..6).all(|byte| with(6, byte)));
    assert!((6..10).all(|byte| !with(4, byte)));
    assert!((10..38).chain(1..6).all(|byte| with(4, byte)));
}

/// Overlaps are as easy to forge as first fragments, so poisoned entries are evicted too.
#[test]
fn poisoned_datagrams_do_not_fill_the_table() {
    let mut table = table(LIMITS);
    for number in 1..=4 {
        table.begin(&key(4, number), &FIRST, ms(0), none).unwrap();
        let overlap = table.later(&key(4, number), &fields(8, 8), 1, 100, ms(0), none);
        assert_eq!(overlap, Later::Dropped(1, Reason::Overlap));
    }
    assert_eq!(table.begin(&key(4, 5), &FIRST, ms(1), none), Ok(()));
    assert!(table.decide(&key(4, 5), 'a', ms(1), |_, _| {}));
    assert_eq!(table.usage().datagrams, 4);
}

#[test]
fn a_full_table_forgets_what_was_decided_and_never_what_waits() {
    let mut table = table(Capacity { packets: 10, ..LIMITS });
    for (number, at) in [(1, 0), (2, 1)] {
        table.begin(&key(4, number), &FIRST, ms(at), none).unwrap();
        table.decide(&key(4, number), 'a', ms(at), |_, _| {});
    }
    for number in 3..=4 {
        assert_eq!(
            table.later(&key(4, number), &fields(1480, 8), number, 9, ms(2), none),
            Later::Buffered
        );
    }
    // Datagram 1 was idle for longer, until now.
    let follows = table.later(&key(4, 1), &fields(1480, 8), 0, 9, ms(3), none);
    assert_eq!(follows, Later::Follow(0, 'a'));
    assert_eq!(table.later(&key(4, 5), &fields(1480, 8), 5, 9, ms(4), none), Later::Buffered);
    let follows = table.later(&key(4, 1), &fields(2960, 8), 0, 9, ms(5), none);
    assert_eq!(follows, Later::Follow(0, 'a'));
    assert_eq!(table.later(&key(4, 6), &fields(1480, 8), 6, 9, ms(6), none), Later::Buffered);
    // Now all entries wait.
    let refused = table.later(&key(4, 7), &fields(1480, 8), 7, 9, ms(7), none);
    assert_eq!(refused, Later::Dropped(7, Reason::TableFull));
    assert_eq!(table.begin(&key(4, 7), &FIRST, ms(7), none), Err(Reason::TableFull));
    assert!(!table.decide(&key(4, 7), 'a', ms(7), |_, _| {}));
    assert_eq!(table.usage(), Usage { datagrams: 4, packets: 4, bytes: 36 });
}

#[test]
fn a_second_first_supersedes_the_choice() {
    let mut table = table(LIMITS);
    let key = key(4, 1);
    for (choice, length) in [('a', 1480), ('b', 1480), ('c', 8)] {
        table.begin(&key, &fields(0, length), ms(0), none).unwrap();
        // Until the new choice is known, later fragments do not follow the old one.
        assert_eq!(table.later(&key, &fields(1480, 8), 1, 9, ms(0), none), Later::Buffered);
        let mut left = Vec::new();
        assert!(table.decide(&key, choice, ms(0), |packet, _| left.push(packet)));
        assert_eq!(left, [1]);
        let follows = table.later(&key, &fields(2960, 8), 2, 9, ms(0), none);
        assert_eq!(follows, Later::Follow(2, choice));
    }
}

#[test]
fn an_overlap_with_the_first_ends_the_datagram() {
    for family in [4, 6] {
        let mut table = table(LIMITS);
        let key = key(family, 1);
        table.begin(&key, &FIRST, ms(0), none).unwrap();
        table.decide(&key, 'a', ms(0), |_, _| {});
        let overlap = |packet| Later::Dropped(packet, Reason::Overlap);
        assert_eq!(table.later(&key, &fields(1472, 8), 1, 9, ms(1), none), overlap(1));
        assert_eq!(table.later(&key, &fields(1480, 8), 2, 9, ms(1), none), overlap(2));
        assert_eq!(table.begin(&key, &FIRST, ms(1), none), Err(Reason::Overlap));
        assert!(!table.decide(&key, 'a', ms(1), |_, _| {}));
        assert_eq!(table.usage().datagrams, 1);
        table.expire(ms(2001), none);
        assert_eq!(table.usage(), Usage::default());
    }
}

#[test]
fn an_overlap_that_came_before_the_first_ends_the_datagram() {
    let mut table = table(LIMITS);
    let key = key(4, 1);
    for (fragment, offset) in [(1, 1480), (2, 1472)] {
        assert_eq!(
            table.later(&key, &fields(offset, 8), fragment, 9, ms(0), none),
            Later::Buffered
        );
    }
    let mut dropped = Vec::new();
    let begun = table.begin(&key, &FIRST, ms(0), |packet, reason| dropped.push((packet, reason)));
    assert_eq!(begun, Err(Reason::Overlap));
    assert_eq!(dropped, [(1, Reason::Overlap), (2, Reason::Overlap)]);
    assert_eq!(table.usage(), Usage { datagrams: 1, packets: 0, bytes: 0 });
}

/// RFC 5722. Over IPv4 a first fragment of another length is more likely a new datagram.
#[test]
fn a_first_of_another_length_is_an_overlap_over_ipv6() {
    let mut table = table(LIMITS);
    let key = key(6, 1);
    table.begin(&key, &FIRST, ms(0), none).unwrap();
    assert_eq!(table.later(&key, &fields(1480, 8), 1, 9, ms(0), none), Later::Buffered);
    let mut dropped = Vec::new();
    let begun =
        table.begin(&key, &fields(0, 1472), ms(0), |packet, reason| dropped.push((packet, reason)));
    assert_eq!((begun, dropped), (Err(Reason::Overlap), vec![(1, Reason::Overlap)]));
}

#[test]
fn a_step_of_expiry_is_small() {
    let limits = Capacity { datagrams: 1000, packets: 1000, bytes: 1 << 20, ..LIMITS };
    let mut table = table(limits);
    for number in 0..1000 {
        table.later(&key(4, number), &fields(1480, 8), number, 9, ms(0), none);
    }
    let mut steps = 0;
    while table.usage() != Usage::default() {
        let mut dropped = 0;
        table.expire(ms(2000), |_, _| dropped += 1);
        assert!(dropped <= 32);
        steps += 1;
    }
    assert!(steps <= 1000 / 16 + 1, "{steps}");
}
