//! The flow table: which backend has which flow. Each worker has one and shares it with no one.
//!
//! Buckets of 64 bytes, one cache line, hold four entries of a tag and a 64-bit value each. The tag is the
//! flow's keyed hash, 63 bits above one that is set ([`super::hash::LocalSeed`]): addresses are not kept,
//! which is what makes an entry 16 bytes. Two live flows share a tag, and then a backend, with a probability
//! of about n²/2^64 for n flows: one in 17 million for a million flows.
//!
//! A flow whose bucket is full goes into the one beside it, in the same 128 bytes. A table half full then
//! has no place for one of 120 flows, a quarter full for one of 6,000; without, one of 26 and one of 240.
//!
//! The size is fixed; nothing is allocated after the start. An entry whose idle timeout has passed is
//! as good as absent, and is overwritten when its place is wanted. A live entry is never evicted, but
//! for one case: a flow past its handshake may take the place of the oldest entry that has seen only
//! a SYN. So a SYN flood neither displaces established flows nor keeps new ones out for long. When no
//! place is free the caller forwards the packet all the same, by the Maglev table.
//!
//! [`Table::sweep`] walks the table a bucket at a time and empties what has expired or belongs to a
//! backend that is gone: entries that would give no answer anyway. It keeps [`Table::len`] honest, and
//! a whole pass tells the control plane that no entry names a backend removed before the pass began.

use std::ops::Range;

use super::tables::BackendId;
use super::time::Time;

/// Entries of a bucket.
pub const WAYS: usize = 4;

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// TCP: a SYN, and nothing that told more.
    Syn,
    /// TCP after its SYN.
    Established,
    /// TCP: a FIN or RST was seen.
    Closing,
    /// UDP.
    Udp,
}

impl State {
    /// Every state, in the order of its number.
    pub const ALL: [State; 4] = [State::Syn, State::Established, State::Closing, State::Udp];

    #[inline]
    fn from_bits(bits: u64) -> State {
        match bits & 3 {
            0 => State::Syn,
            1 => State::Established,
            2 => State::Closing,
            _ => State::Udp,
        }
    }
}

/// Idle timeouts in milliseconds, by [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts(pub [u32; 4]);

impl Timeouts {
    /// The time in which no flow expires whose state is steady ([`Entry::is_steady`]).
    pub(super) fn of_steady(&self) -> u32 {
        self.0[State::Established as usize].min(self.0[State::Udp as usize])
    }

    #[inline]
    fn expired(&self, entry: Entry, now: Time) -> bool {
        entry.idle_ms(now) > self.0[entry.state() as usize]
    }
}

/// The value half of an entry: state in bits 0 to 7, backend in 8 to 31, time stamp in 32 to 63.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry(u64);

impl Entry {
    #[inline]
    fn new(backend: BackendId, state: State, now: Time) -> Entry {
        Entry(u64::from(now.stamp()) << 32 | u64::from(backend.get()) << 8 | state as u64)
    }

    /// The backend that has the flow.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the mask keeps 24 bits")]
    pub fn backend(self) -> BackendId {
        BackendId::new((self.0 >> 8) as u32 & BackendId::MAX)
    }

    /// How far the flow has come.
    #[inline]
    pub fn state(self) -> State {
        State::from_bits(self.0)
    }

    /// Whether the flow stays in its state with every packet that neither begins nor ends one.
    #[inline]
    pub fn is_steady(self) -> bool {
        // Both numbers are odd, and the others are not.
        const _: () = assert!(State::Established as u8 == 1 && State::Udp as u8 == 3);
        self.0 & 1 == 1
    }

    /// The same with another time of the flow's last packet.
    #[inline]
    pub fn touched(self, now: Time) -> Entry {
        Entry(u64::from(now.stamp()) << 32 | self.0 & 0xffff_ffff)
    }

    /// Milliseconds since the flow's last packet.
    #[inline]
    pub fn idle_ms(self, now: Time) -> u32 {
        now.stamp().wrapping_sub((self.0 >> 32) as u32)
    }
}

/// One cache line of entries; tags lie together so that all can be compared at once.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Bucket {
    /// 0 where the entry is empty.
    tags: [u64; WAYS],
    entries: [Entry; WAYS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// What came of an attempt to record a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// Recorded.
    Stored,
    /// Recorded in the place of another flow that had seen only a SYN.
    Displaced,
    /// Not recorded: every place of the bucket holds a live flow.
    Full,
}

/// A worker's flow table.
pub struct Table {
    buckets: Box<[Bucket]>,
    used: usize,
    cursor: usize,
}

impl Table {
    /// A table of `entries`, rounded up to a power of two of at least one bucket.
    pub fn new(entries: usize) -> Table {
        let buckets = entries.div_ceil(WAYS).next_power_of_two();
        let empty = Bucket { tags: [0; WAYS], entries: [Entry(0); WAYS] };
        Table { buckets: vec![empty; buckets].into_boxed_slice(), used: 0, cursor: 0 }
    }

    /// Entries there are.
    pub fn capacity(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// Entries in use, those included that expired since they were last swept.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether no entry is in use.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The bucket of a tag, to be prefetched.
    #[inline]
    pub fn bucket(&self, tag: u64) -> &Bucket {
        &self.buckets[self.index(tag)]
    }

    /// The bucket beside it, where a flow is looked for that the first has not.
    #[inline]
    pub fn bucket_beside(&self, tag: u64) -> &Bucket {
        &self.buckets[self.beside(self.index(tag))]
    }

    /// The entry of a flow that was seen no longer ago than `limit` milliseconds, to be touched. The tag
    /// is one that [`super::hash::LocalSeed`] made.
    #[inline(always)]
    pub fn find(&mut self, tag: u64, now: Time, limit: u32) -> Option<&mut Entry> {
        debug_assert_eq!(tag, stored(tag));
        let home = self.index(tag);
        let entry = match way(&self.buckets[home].tags, tag) {
            Some(way) => &mut self.buckets[home].entries[way],
            None => self.find_beside(home, tag)?,
        };
        (entry.idle_ms(now) <= limit).then_some(entry)
    }

    #[cold]
    fn find_beside(&mut self, home: usize, tag: u64) -> Option<&mut Entry> {
        let (index, way) = self.seek_beside(home, tag)?;
        Some(&mut self.buckets[index].entries[way])
    }

    /// The live entry of a flow.
    pub fn get(&self, tag: u64, now: Time, timeouts: &Timeouts) -> Option<(Place, Entry)> {
        let tag = stored(tag);
        let home = self.index(tag);
        let (index, way) = match way(&self.buckets[home].tags, tag) {
            Some(way) => (home, way),
            None => self.seek_beside(home, tag)?,
        };
        let entry = self.buckets[index].entries[way];
        (!timeouts.expired(entry, now)).then_some((Place { index, way }, entry))
    }

    /// Where a flow is that its own bucket has not.
    fn seek_beside(&self, home: usize, tag: u64) -> Option<(usize, usize)> {
        let index = self.beside(home);
        way(&self.buckets[index].tags, tag).map(|way| (index, way))
    }

    /// Rewrites the entry that [`Table::get`] has just found.
    #[inline]
    pub fn update(&mut self, place: Place, backend: BackendId, state: State, now: Time) {
        self.buckets[place.index].entries[place.way] = Entry::new(backend, state, now);
    }

    /// Records a flow that [`Table::get`] has just not found.
    pub fn insert(
        &mut self,
        tag: u64,
        backend: BackendId,
        state: State,
        now: Time,
        timeouts: &Timeouts,
    ) -> Insertion {
        let tag = stored(tag);
        let home = self.index(tag);
        let mut free = None;
        let mut oldest_syn: Option<(u32, usize, usize)> = None;
        'search: for index in [home, self.beside(home)] {
            let bucket = &self.buckets[index];
            for (way, (&other, &entry)) in bucket.tags.iter().zip(&bucket.entries).enumerate() {
                if other == tag {
                    free = Some((index, way));
                    break 'search;
                }
                if other == 0 || timeouts.expired(entry, now) {
                    free = free.or(Some((index, way)));
                } else if entry.state() == State::Syn {
                    oldest_syn = oldest_syn.max(Some((entry.idle_ms(now), index, way)));
                }
            }
        }
        let (index, way, insertion) = match (free, oldest_syn) {
            (Some((index, way)), _) => (index, way, Insertion::Stored),
            (None, Some((_, index, way))) if state == State::Established => {
                (index, way, Insertion::Displaced)
            }
            _ => return Insertion::Full,
        };
        let bucket = &mut self.buckets[index];
        self.used += usize::from(bucket.tags[way] == 0);
        bucket.tags[way] = tag;
        bucket.entries[way] = Entry::new(backend, state, now);
        insertion
    }

    /// Empties the expired entries of the next bucket, and those for which `keep` says no. Answers
    /// whether a pass over the whole table ends here.
    #[inline]
    pub fn sweep(
        &mut self,
        now: Time,
        timeouts: &Timeouts,
        keep: impl Fn(BackendId) -> bool,
    ) -> bool {
        let bucket = &mut self.buckets[self.cursor];
        for (tag, &entry) in bucket.tags.iter_mut().zip(&bucket.entries) {
            if *tag != 0 && (timeouts.expired(entry, now) || !keep(entry.backend())) {
                *tag = 0;
                self.used -= 1;
            }
        }
        self.cursor += 1;
        if self.cursor == self.buckets.len() {
            self.cursor = 0;
        }
        self.cursor == 0
    }

    /// The live entries of some buckets, each with its tag. Buckets count from 0 to
    /// [`Table::capacity`] divided by [`WAYS`]; those beyond are empty.
    pub fn entries(
        &self,
        buckets: Range<usize>,
        now: Time,
        timeouts: &Timeouts,
    ) -> impl Iterator<Item = (u64, Entry)> {
        let end = buckets.end.min(self.buckets.len());
        self.buckets[buckets.start.min(end)..end]
            .iter()
            .flat_map(|b| b.tags.into_iter().zip(b.entries))
            .filter(move |&(tag, entry)| tag != 0 && !timeouts.expired(entry, now))
    }

    /// The other bucket of a pair: where a flow goes whose own is full.
    #[inline]
    fn beside(&self, home: usize) -> usize {
        (home ^ 1) & (self.buckets.len() - 1)
    }

    #[inline]
    fn index(&self, tag: u64) -> usize {
        // The high bits: the low ones may have chosen the worker.
        (tag >> 32) as usize & (self.buckets.len() - 1)
    }
}

/// The way of a tag among those of a bucket: all four are compared at once.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
#[inline(always)]
fn way(tags: &[u64; WAYS], tag: u64) -> Option<usize> {
    use safe_arch::{cmp_eq_mask_i64_m256i, m256i, move_mask_i8_m256i};
    let equal = cmp_eq_mask_i64_m256i(m256i::from(*tags), m256i::from([tag; WAYS]));
    // Eight bits of a kind for each way.
    let mask = move_mask_i8_m256i(equal).cast_unsigned();
    (mask != 0).then(|| mask.trailing_zeros() as usize / 8 % WAYS)
}

/// The way of a tag among those of a bucket.
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
#[inline(always)]
fn way(tags: &[u64; WAYS], tag: u64) -> Option<usize> {
    tags.iter().position(|&other| other == tag)
}

/// Where [`Table::get`] found an entry.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    index: usize,
    way: usize,
}

/// A tag as the table stores it: 0 means empty there. The flows' hash sets the same bit.
#[inline]
const fn stored(tag: u64) -> u64 {
    tag | 1
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const TIMEOUTS: Timeouts = Timeouts([60_000, 900_000, 30_000, 60_000]);

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn backend(n: u32) -> BackendId {
        BackendId::new(n)
    }

    #[test]
    fn entry_keeps_what_it_is_given() {
        for state in State::ALL {
            let steady = matches!(state, State::Established | State::Udp);
            assert_eq!(Entry::new(backend(7), state, at(0)).is_steady(), steady);
            let entry = Entry::new(backend(BackendId::MAX), state, at(u64::from(u32::MAX) + 6));
            assert_eq!((entry.backend(), entry.state()), (backend(BackendId::MAX), state));
            assert_eq!(entry.idle_ms(at(u64::from(u32::MAX) + 9)), 3);
        }
    }

    #[test]
    fn each_state_expires_after_its_own_time() {
        for (state, timeout) in State::ALL.into_iter().zip(TIMEOUTS.0) {
            let mut table = Table::new(4);
            table.insert(9, backend(1), state, at(5), &TIMEOUTS);
            assert!(table.get(9, at(5 + u64::from(timeout)), &TIMEOUTS).is_some());
            assert!(table.get(9, at(6 + u64::from(timeout)), &TIMEOUTS).is_none());
        }
    }

    proptest! {
        /// Whatever instructions compare them.
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
            table.insert(tag, backend(number), State::Established, at(7), &TIMEOUTS);
            let entry = table.find(stored(tag), at(7 + 5000), 5000).unwrap();
            *entry = entry.touched(at(7 + later));
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
        table.insert(0, backend(3), State::Udp, at(0), &TIMEOUTS);
        assert_eq!(table.get(0, at(0), &TIMEOUTS).unwrap().1.backend(), backend(3));
    }

    #[test]
    fn a_full_bucket_keeps_its_established_flows() {
        let mut table = Table::new(4);
        for tag in [1, 3, 5, 7] {
            let stored = table.insert(tag, backend(1), State::Established, at(0), &TIMEOUTS);
            assert_eq!(stored, Insertion::Stored);
        }
        for state in State::ALL {
            assert_eq!(table.insert(9, backend(2), state, at(1), &TIMEOUTS), Insertion::Full);
        }
        assert!([1, 3, 5, 7].iter().all(|&tag| table.get(tag, at(1), &TIMEOUTS).is_some()));
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn half_full_has_a_place_for_nearly_every_flow() {
        let mut table = Table::new(1 << 16);
        let mut lost = [0; 4];
        for n in 0..1u64 << 16 {
            // Any numbers without a pattern.
            let tag = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let tag = (tag ^ tag >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let insertion = table.insert(tag, backend(1), State::Established, at(0), &TIMEOUTS);
            lost[usize::try_from(n >> 14).unwrap()] += u32::from(insertion == Insertion::Full);
        }
        // Of 16,384 each, from empty to full by quarters.
        assert!(lost[0] <= 16 && lost[0] + lost[1] <= 32_768 / 100, "{lost:?}");
    }

    #[test]
    fn an_established_flow_takes_the_place_of_the_oldest_syn() {
        let mut table = Table::new(4);
        table.insert(7, backend(1), State::Udp, at(0), &TIMEOUTS);
        for (tag, ms) in [(3, 10), (5, 20), (1, 30)] {
            table.insert(tag, backend(1), State::Syn, at(ms), &TIMEOUTS);
        }
        assert_eq!(table.insert(9, backend(2), State::Syn, at(40), &TIMEOUTS), Insertion::Full);
        let displaced = table.insert(11, backend(2), State::Established, at(40), &TIMEOUTS);
        assert_eq!(displaced, Insertion::Displaced);
        let present = |tag| table.get(tag, at(40), &TIMEOUTS).is_some();
        assert_eq!([1, 3, 5, 7, 11].map(present), [true, false, true, true, true]);
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn a_sweep_empties_what_is_expired_or_gone() {
        let mut table = Table::new(64);
        for n in 0..32u32 {
            let state = if n % 2 == 0 { State::Udp } else { State::Established };
            table.insert(u64::from(n) << 32 | 1, backend(n % 4), state, at(0), &TIMEOUTS);
        }
        let before = table.len();
        let mut steps = 1;
        while !table.sweep(at(100_000), &TIMEOUTS, |b| b != backend(3)) {
            steps += 1;
        }
        assert_eq!(steps, 16);
        assert_eq!(before, 32);
        // What is left: established, and not of backend 3.
        assert_eq!(table.len(), 8);
        assert!(
            table.entries(0..16, at(100_000), &TIMEOUTS).all(|(_, e)| e.backend() == backend(1))
        );
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
        let tag = (0u64..3, 0u64..11).prop_map(|(bucket, n)| bucket << 32 | n << 1);
        let state = prop::sample::select(State::ALL.to_vec());
        prop_oneof![
            8 => (tag, state).prop_map(|(tag, state)| Step::Packet { tag, state }),
            1 => (0u64..50_000).prop_map(|ms| Step::Wait { ms }),
            1 => Just(Step::Sweep),
        ]
    }

    proptest! {
        /// Against a map that forgets nothing: whatever the table answers, the map has too, with the
        /// same backend; and whatever the table claims to have stored stays until it expires or is
        /// said to be displaced.
        #[test]
        fn agrees_with_a_plain_map(steps in prop::collection::vec(step(), 1..400)) {
            let mut table = Table::new(16);
            let mut model: HashMap<u64, (BackendId, State, u64)> = HashMap::new();
            let mut now = 0;
            for (n, step) in (0u32..).zip(steps) {
                let live = |&(_, state, seen): &(BackendId, State, u64), now: u64| {
                    now - seen <= u64::from(TIMEOUTS.0[state as usize])
                };
                match step {
                    Step::Wait { ms } => now += ms,
                    Step::Sweep => {
                        while !table.sweep(at(now), &TIMEOUTS, |_| true) {}
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
                        if let Some((place, entry)) = found {
                            table.update(place, entry.backend(), state, at(now));
                            model.insert(stored(tag), (entry.backend(), state, now));
                            continue;
                        }
                        let pair = table.index(stored(tag)) / 2;
                        let rivals = |model: &HashMap<u64, (BackendId, State, u64)>| -> Vec<u64> {
                            let mut rivals: Vec<_> = model
                                .iter()
                                .filter(|(t, flow)| table.index(**t) / 2 == pair && live(flow, now))
                                .map(|(&t, flow)| (flow.2, t))
                                .collect();
                            rivals.sort();
                            rivals.into_iter().map(|(_, t)| t).collect()
                        };
                        let rivals = rivals(&model);
                        match table.insert(tag, backend(n), state, at(now), &TIMEOUTS) {
                            Insertion::Full => prop_assert_eq!(rivals.len(), 2 * WAYS),
                            Insertion::Stored => {
                                prop_assert!(rivals.len() < 2 * WAYS);
                                model.insert(stored(tag), (backend(n), state, now));
                            }
                            Insertion::Displaced => {
                                prop_assert_eq!((rivals.len(), state), (2 * WAYS, State::Established));
                                let gone: Vec<u64> = rivals
                                    .into_iter()
                                    .filter(|&t| table.get(t, at(now), &TIMEOUTS).is_none())
                                    .collect();
                                prop_assert_eq!(gone.len(), 1);
                                let (_, state, seen) = model.remove(&gone[0]).unwrap();
                                prop_assert_eq!(state, State::Syn);
                                prop_assert!(model.iter().all(|(t, flow)| table.index(*t) / 2 != pair
                                    || flow.1 != State::Syn || !live(flow, now) || flow.2 >= seen));
                                model.insert(stored(tag), (backend(n), State::Established, now));
                            }
                        }
                    }
                }
            }
        }
    }
}
