//! The table against a plain map that forgets nothing.
//!
//! Every flow that the table returns is in the map, with the same backend. Every flow that the table stored stays,
//! with all that it had, until it expires, is displaced by the rules, or the sweep takes it. Flows move only if that
//! makes room, and no room is overlooked.

use std::collections::HashMap;

use proptest::prelude::*;

use super::super::bucket::WAYS;
use super::*;
use crate::stats::{Reader, channel};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    service: ServiceId,
    backend: BackendId,
    state: State,
    seen: u64,
}

impl Flow {
    fn is_live(&self, now: u64) -> bool {
        now - self.seen <= u64::from(TIMEOUTS.idle[self.state as usize])
    }

    fn has_ended(&self, now: u64) -> bool {
        matches!(self.state, State::Closing | State::Reset)
            && now - self.seen > u64::from(ENDED_LINGER_MS)
    }
}

/// What may happen to the table.
#[derive(Clone, Debug)]
enum Step {
    Packet { flow: u64, state: State },
    Move { flow: u64 },
    Wait { ms: u64 },
    Sweep { buckets: usize, gone: Option<u32> },
}

fn step() -> impl Strategy<Value = Step> {
    let state = prop::sample::select(State::ALL.to_vec());
    prop_oneof![
        40 => (any::<u64>(), state).prop_map(|(flow, state)| Step::Packet { flow, state }),
        2 => any::<u64>().prop_map(|flow| Step::Move { flow }),
        1 => (0u64..50_000).prop_map(|ms| Step::Wait { ms }),
        1 => (1usize..40, prop::option::weighted(0.2, 0u32..8))
            .prop_map(|(buckets, gone)| Step::Sweep { buckets, gone }),
    ]
}

/// The table, and what should be in it.
struct Rig {
    table: Table,
    reader: Reader,
    model: HashMap<u64, Flow>,
    now: u64,
}

impl Rig {
    fn new(entries: usize) -> Rig {
        let (writer, reader) = channel(8, 8);
        let mut table = Table::new(entries);
        table.count_by(writer.flow_writer());
        Rig { table, reader, model: HashMap::new(), now: 0 }
    }

    /// The bucket in which each flow is, expired or not.
    fn places(&self) -> HashMap<u64, usize> {
        let buckets = self.table.buckets.iter().enumerate();
        buckets
            .flat_map(|(index, bucket)| bucket.tags.map(|tag| (tag, index)))
            .filter(|&(tag, _)| tag != 0)
            .collect()
    }

    fn is_live(&self, tag: u64) -> bool {
        self.model.get(&tag).is_some_and(|flow| flow.is_live(self.now))
    }

    /// The live flows of a bucket.
    fn live_in(&self, index: usize) -> Vec<u64> {
        let tags = self.table.buckets[index].tags.into_iter();
        tags.filter(|&tag| tag != 0 && self.is_live(tag)).collect()
    }

    fn has_empty(&self, index: usize) -> bool {
        self.table.buckets[index].tags.contains(&0)
    }

    fn has_free(&self, index: usize) -> bool {
        self.live_in(index).len() < WAYS
    }

    /// Whether so many flows, or fewer, can move so that one of these buckets has a slot, and the last of them moves
    /// into a bucket with room.
    fn has_path(&self, from: &[usize], moves: u32, has_room: fn(&Rig, usize) -> bool) -> bool {
        from.iter().any(|&index| {
            let tags = self.table.buckets[index].tags;
            let others = tags.map(|tag| self.table.other(index, tag));
            others.iter().any(|&other| has_room(self, other))
                || moves > 1 && self.has_path(&others, moves - 1, has_room)
        })
    }

    fn packet(&mut self, tag: u64, state: State, number: u32) {
        let found = self.table.get(tag, at(self.now), &TIMEOUTS);
        assert_eq!(found.is_some(), self.is_live(tag));
        if let Some((slot, entry)) = found {
            self.table.update(slot, Entry::new(entry.backend(), state, at(self.now)));
            let flow = self.model.get_mut(&tag).unwrap();
            (flow.state, flow.seen) = (state, self.now);
            return;
        }
        let home = self.table.index(tag);
        let mut pair = vec![home, self.table.other(home, tag)];
        pair.dedup();
        let here: Vec<u64> = pair.iter().flat_map(|&index| self.live_in(index)).collect();
        let is_full = here.len() == WAYS * pair.len();
        let unconfirmed =
            here.iter().filter(|tag| self.model[tag].state == State::Unconfirmed).count();
        let share_full = unconfirmed >= 2 * pair.len();
        let has_none = !pair.iter().any(|&index| self.has_empty(index));
        let searched = has_none && self.table.len() * 32 < self.table.capacity() * 31;
        // Of the paths of three flows, or of two to an expired one, not all are tried.
        let may_move = searched && self.has_path(&pair, 3, Rig::has_free);
        let must_move = searched
            && (self.has_path(&pair, 2, Rig::has_empty) || self.has_path(&pair, 1, Rig::has_free));
        let before = self.places();
        let (service, backend) = (ServiceId(number % 8), backend(number / 8 % 8));
        let (entry, now) = (Entry::new(backend, state, at(self.now)), at(self.now));
        let insertion = self.table.insert(tag, service, entry, now, &TIMEOUTS, |_, _| true);

        let lost: Vec<u64> = before
            .keys()
            .copied()
            .filter(|&other| self.is_live(other))
            .filter(|&other| self.table.get(other, at(self.now), &TIMEOUTS).is_none())
            .collect();
        let after = self.places();
        let moved: Vec<u64> = before
            .keys()
            .copied()
            .filter(|other| after.get(other).is_some_and(|place| *place != before[other]))
            .filter(|&other| other != tag)
            .collect();
        let of = |tag: &u64| self.model[tag];
        let oldest = |which: &dyn Fn(&Flow) -> bool| {
            here.iter().map(of).filter(|flow| which(flow)).map(|flow| flow.seen).min()
        };
        let ended = oldest(&|flow| flow.has_ended(self.now));
        let syn = oldest(&|flow| flow.state == State::Syn);
        match insertion {
            Insertion::Stored => {
                assert!(lost.is_empty());
                assert!(state != State::Unconfirmed || !share_full);
                assert!(moved.is_empty() || may_move && moved.len() <= 3);
                assert!(!is_full || !moved.is_empty());
            }
            Insertion::Displaced => {
                assert!(moved.is_empty() && lost.len() == 1 && here.contains(&lost[0]));
                let victim = self.model.remove(&lost[0]).unwrap();
                let is_alike = |flow: &Flow| match victim.has_ended(self.now) {
                    true => flow.has_ended(self.now),
                    false => flow.state == victim.state,
                };
                let seen = here.iter().filter_map(|tag| self.model.get(tag));
                assert!(seen.filter(|flow| is_alike(flow)).all(|flow| flow.seen >= victim.seen));
                if state == State::Unconfirmed && share_full {
                    assert_eq!(victim.state, State::Unconfirmed);
                } else {
                    assert!(is_full);
                    assert_eq!(victim.has_ended(self.now), ended.is_some());
                    assert!(!must_move);
                    match victim.state {
                        State::Syn => assert_ne!(state, State::Syn),
                        State::Unconfirmed if state == State::Syn => assert!(share_full),
                        State::Unconfirmed => assert_eq!(syn, None),
                        _ => assert!(ended.is_some()),
                    }
                }
            }
            Insertion::Full => {
                assert!(lost.is_empty() && moved.is_empty());
                assert!(is_full && !must_move && ended.is_none());
                let displaces = |flow: &Flow| match flow.state {
                    State::Syn => state != State::Syn,
                    State::Unconfirmed => state != State::Syn || share_full,
                    _ => false,
                };
                assert_eq!(oldest(&displaces), None);
                return;
            }
        }
        self.model.insert(tag, Flow { service, backend, state, seen: self.now });
    }

    /// Gives a flow another service and backend.
    fn move_to(&mut self, tag: u64, number: u32) {
        if let Some((slot, entry)) = self.table.get(tag, at(self.now), &TIMEOUTS) {
            let (service, backend) = (ServiceId(number % 8), backend(number / 8 % 8));
            self.table.move_to(slot, service, entry.moved_to(backend));
            let flow = self.model.get_mut(&tag).unwrap();
            (flow.service, flow.backend) = (service, backend);
        }
    }

    fn sweep(&mut self, buckets: usize, gone: Option<u32>) {
        let gone = gone.map(ServiceId);
        for _ in 0..buckets {
            let index = self.table.cursor;
            for tag in self.table.buckets[index].tags.into_iter().filter(|&tag| tag != 0) {
                if Some(self.model[&tag].service) == gone {
                    self.model.remove(&tag);
                }
            }
            let is_over = self.table.sweep(at(self.now), &TIMEOUTS, |s, _| Some(s) != gone);
            assert_eq!(is_over, index + 1 == self.table.buckets.len());
            assert!(
                self.table.buckets[index].tags.iter().all(|&tag| tag == 0 || self.is_live(tag))
            );
        }
    }

    fn check(&self) {
        let tags = tags(&self.table);
        assert!(tags.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(tags.len(), self.table.len());
        let (mut services, mut backends) = ([0; 8], [0; 8]);
        for tag in &tags {
            let flow = self.model[tag];
            let slot = self.table.search(*tag).unwrap();
            assert_eq!(self.table.services[slot.index][slot.way], flow.service);
            let entry = self.table.buckets[slot.index].entries[slot.way];
            assert!(entry == Entry::new(flow.backend, flow.state, at(flow.seen)));
            services[flow.service.index()] += 1;
            backends[flow.backend.index()] += 1;
        }
        for n in 0..8 {
            assert_eq!(self.reader.service(n).live, services[n]);
            assert_eq!(self.reader.backend(n).live, backends[n]);
        }
        for (&tag, flow) in &self.model {
            let found = self.table.get(tag, at(self.now), &TIMEOUTS);
            assert_eq!(found.is_some(), flow.is_live(self.now));
        }
        let listed = self.table.entries(0..usize::MAX, at(self.now), &TIMEOUTS);
        assert_eq!(listed.count(), self.model.keys().filter(|&&tag| self.is_live(tag)).count());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 256 }))]

    #[test]
    fn agrees_with_a_plain_map(
        entries in prop::sample::select(vec![4usize, 8, 16, 32, 64, 128]),
        steps in prop::collection::vec(step(), 1..if cfg!(miri) { 100 } else { 800 }),
    ) {
        let mut rig = Rig::new(entries);
        // More flows than entries, so that the table fills up.
        let flow = |n: u64| tag(n % (entries as u64 * 3 / 2));
        for (number, step) in (0u32..).zip(steps) {
            match step {
                Step::Packet { flow: n, state } => rig.packet(flow(n), state, number),
                Step::Move { flow: n } => rig.move_to(flow(n), number),
                Step::Wait { ms } => rig.now += ms,
                Step::Sweep { buckets, gone } => rig.sweep(buckets, gone),
            }
            rig.check();
        }
    }
}
