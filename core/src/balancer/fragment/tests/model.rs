//! The fragment table against a model without lists.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

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
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 512 }))]

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
