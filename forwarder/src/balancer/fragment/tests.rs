//! The fragment table, case by case and against a model without lists.

use std::collections::HashMap;

use proptest::prelude::*;

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

fn checked(fragment: Fragment, fields: FragmentFields) -> Result<(), Reason> {
    let packet = Packet {
        family: Family::V4,
        l3: 14,
        l4: 34,
        end: 34 + u32::from(fields.length),
        protocol: fields.protocol,
        traffic_class: 0,
        fragment,
        source: 0,
        destination: 0,
        tcp_flags: 0,
    };
    check(&packet, &fields)
}

#[test]
fn malformed_and_tiny_fragments_are_refused() {
    use Fragment::{First, Later};
    let last = |offset, length| FragmentFields { more: false, ..fields(offset, length) };
    let tcp = |fields| FragmentFields { protocol: protocol::TCP, ..fields };
    let malformed = Err(Reason::Malformed);
    for (fragment, fields, expected) in [
        (First, fields(0, 8), Ok(())),
        (Later, fields(8, 8), Ok(())),
        (Later, last(8, 1), Ok(())),
        (First, fields(0, 12), malformed),
        (Later, fields(8, 12), malformed),
        (Later, fields(8, 0), malformed),
        (Later, last(8, 0), malformed),
        (Later, fields(0, 8), malformed),
        (Later, last(65_512, 3), Ok(())),
        (Later, last(65_512, 4), malformed),
        // RFC 3128: an offset of one unit would overwrite TCP's flags.
        (Later, tcp(fields(8, 8)), Err(Reason::Tiny)),
        (Later, tcp(fields(16, 8)), Err(Reason::Tiny)),
        (Later, tcp(fields(24, 8)), Ok(())),
        (First, tcp(fields(0, 24)), Ok(())),
    ] {
        assert_eq!(checked(fragment, fields), expected, "{fragment:?} {fields:?}");
    }
}

/// The rules of the table, over a map.
#[derive(Default)]
struct Model {
    datagrams: HashMap<u32, ModelContext>,
    clock: u64,
}

#[derive(Clone, Debug)]
struct ModelContext {
    choice: Option<char>,
    poisoned: bool,
    first: u16,
    since: u64,
    /// When it was touched last, to order entries of the same millisecond.
    touched: u64,
    buffered: Vec<(u32, usize, u16)>,
}

impl Model {
    fn usage(&self) -> Usage {
        let buffered = || self.datagrams.values().flat_map(|datagram| &datagram.buffered);
        Usage {
            datagrams: self.datagrams.len(),
            packets: buffered().count(),
            bytes: buffered().map(|&(_, bytes, _)| bytes).sum(),
        }
    }

    /// Waiting packets and bytes of all sources that have the same share as this one.
    fn of_source(&self, number: u32) -> (usize, usize) {
        let shares = Shares::new(LIMITS.packets, LIMITS.bytes, LocalSeed::new(1));
        let share = |number| shares.of(&key_of(number));
        let buffered = || {
            let datagrams = self.datagrams.iter().filter(|(n, _)| share(**n) == share(number));
            datagrams.flat_map(|(_, datagram)| &datagram.buffered)
        };
        (buffered().count(), buffered().map(|&(_, bytes, _)| bytes).sum())
    }

    fn alive(&mut self, number: u32, now: u64) -> (Option<&mut ModelContext>, Vec<(u32, Reason)>) {
        self.clock += 1;
        let mut dropped = Vec::new();
        let due = |c: &ModelContext| now - c.since >= LIMITS.timeout_ms;
        if self.datagrams.get(&number).is_some_and(due) {
            let datagram = self.datagrams.remove(&number).unwrap();
            dropped.extend(datagram.buffered.iter().map(|&(packet, ..)| (packet, Reason::Timeout)));
        }
        (self.datagrams.get_mut(&number), dropped)
    }

    fn add(&mut self, number: u32, first: u16, now: u64) -> bool {
        if self.datagrams.len() == LIMITS.datagrams {
            let settled = self.datagrams.iter().filter(|(_, c)| c.choice.is_some() || c.poisoned);
            let Some(oldest) = settled.min_by_key(|(_, c)| c.touched).map(|(&n, _)| n) else {
                return false;
            };
            self.datagrams.remove(&oldest);
        }
        let touched = self.clock;
        let datagram = ModelContext {
            choice: None,
            poisoned: false,
            first,
            since: now,
            touched,
            buffered: Vec::new(),
        };
        self.datagrams.insert(number, datagram);
        true
    }
}

fn poison(datagram: &mut ModelContext, now: u64, touched: u64) -> Vec<(u32, Reason)> {
    (datagram.poisoned, datagram.choice, datagram.since) = (true, None, now);
    datagram.touched = touched;
    datagram.buffered.drain(..).map(|(packet, ..)| (packet, Reason::Overlap)).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u32, u16),
    Decide(u32, char),
    Later(u32, u16, usize),
    Expire,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0u32..7;
    prop_oneof![
        3 => (number.clone(), prop_oneof![Just(8u16), Just(16)]).prop_map(|(n, l)| Step::Begin(n, l)),
        3 => (number.clone(), prop_oneof![Just('a'), Just('b')]).prop_map(|(n, c)| Step::Decide(n, c)),
        6 => (number, 1u16..5, 0usize..2000).prop_map(|(n, o, b)| Step::Later(n, o * 8, b)),
        1 => Just(Step::Expire),
        1 => (0u64..1500).prop_map(Step::Wait),
    ]
}

/// The key of a datagram: even numbers are IPv4, odd ones IPv6.
fn key_of(number: u32) -> DatagramKey {
    from(number % 3, if number.is_multiple_of(2) { 4 } else { 6 }, number)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_table_is_the_model(steps in proptest::collection::vec(step(), 0..120)) {
        let mut table = table(LIMITS);
        let mut model = Model::default();
        let (mut now, mut packet) = (0, 0);
        for step in steps {
            let mut got = Vec::new();
            match step {
                Step::Wait(ms) => now += ms,
                Step::Begin(number, length) => {
                    let result = table.begin(
                        &key_of(number), &fields(0, length), ms(now), |p, r| got.push((p, r)));
                    let clock = model.clock + 1;
                    let mut dropped = model.alive(number, now).1;
                    let is_new = !model.datagrams.contains_key(&number);
                    let is_added = is_new && model.add(number, length, now);
                    let expected = match model.datagrams.get_mut(&number) {
                        _ if is_added => Ok(()),
                        None => Err(Reason::TableFull),
                        Some(datagram) if datagram.poisoned => Err(Reason::Overlap),
                        Some(datagram) => {
                            let other = datagram.first != 0 && datagram.first != length;
                            let back = datagram.buffered.iter().any(|&(_, _, offset)| offset < length);
                            if (other && number % 2 == 1) || back {
                                dropped.extend(poison(datagram, now, clock));
                                Err(Reason::Overlap)
                            } else {
                                datagram.first = length;
                                if datagram.choice.take().is_some() {
                                    datagram.since = now;
                                }
                                Ok(())
                            }
                        }
                    };
                    prop_assert_eq!((result, got), (expected, dropped));
                }
                Step::Decide(number, choice) => {
                    let mut left = Vec::new();
                    let known =
                        table.decide(&key_of(number), choice, ms(now), |p, r| left.push((p, r)));
                    let clock = model.clock + 1;
                    let (datagram, dropped) = model.alive(number, now);
                    let mut expected: Vec<_> =
                        dropped.into_iter().map(|(p, r)| (p, Some(r))).collect();
                    let datagram = datagram.filter(|datagram| !datagram.poisoned);
                    prop_assert_eq!(known, datagram.is_some());
                    if let Some(datagram) = datagram {
                        expected.extend(datagram.buffered.drain(..).map(|(p, ..)| (p, None)));
                        (datagram.choice, datagram.since) = (Some(choice), now);
                        datagram.touched = clock;
                    }
                    prop_assert_eq!(left, expected);
                }
                Step::Later(number, offset, bytes) => {
                    packet += 1;
                    let result = table.later(
                        &key_of(number), &fields(offset, 8), packet, bytes, ms(now),
                        |p, r| got.push((p, r)));
                    let clock = model.clock + 1;
                    let mut dropped = model.alive(number, now).1;
                    let (used, own) = (model.usage(), model.of_source(number));
                    let has_room = used.packets + own.0 < LIMITS.packets
                        && used.bytes + own.1 + bytes <= LIMITS.bytes;
                    let is_new = !model.datagrams.contains_key(&number);
                    let expected = if is_new && !has_room {
                        Later::Dropped(packet, Reason::BufferFull)
                    } else if is_new && !model.add(number, 0, now) {
                        Later::Dropped(packet, Reason::TableFull)
                    } else {
                        let datagram = model.datagrams.get_mut(&number).unwrap();
                        if datagram.poisoned {
                            Later::Dropped(packet, Reason::Overlap)
                        } else if offset < datagram.first {
                            dropped.extend(poison(datagram, now, clock));
                            Later::Dropped(packet, Reason::Overlap)
                        } else if let Some(choice) = datagram.choice {
                            (datagram.since, datagram.touched) = (now, clock);
                            Later::Follow(packet, choice)
                        } else if !has_room || datagram.buffered.len() == LIMITS.packets_per_datagram {
                            Later::Dropped(packet, Reason::BufferFull)
                        } else {
                            datagram.buffered.push((packet, bytes, offset));
                            Later::Buffered
                        }
                    };
                    prop_assert_eq!((result, got), (expected, dropped));
                }
                Step::Expire => {
                    table.expire(ms(now), |p, r| got.push((p, r)));
                    let due: Vec<u32> = model
                        .datagrams
                        .iter()
                        .filter(|(_, c)| now - c.since >= LIMITS.timeout_ms)
                        .map(|(&number, _)| number)
                        .collect();
                    let mut dropped: Vec<_> = due
                        .into_iter()
                        .flat_map(|number| model.datagrams.remove(&number).unwrap().buffered)
                        .map(|(packet, ..)| (packet, Reason::Timeout))
                        .collect();
                    got.sort_by_key(|&(packet, _)| packet);
                    dropped.sort_by_key(|&(packet, _)| packet);
                    prop_assert_eq!(got, dropped);
                }
            }
            prop_assert_eq!(table.usage(), model.usage());
        }
        table.clear(|_| {});
        prop_assert_eq!(table.usage(), Usage::default());
    }
}
