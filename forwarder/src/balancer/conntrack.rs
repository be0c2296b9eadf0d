//! The flow table: which backend has which flow. Each worker has one and shares it with no one.
//!
//! Buckets of 64 bytes, one cache line, hold four entries of a tag and a 64-bit value each. The tag is the
//! flow's keyed hash, 63 bits and one that is set ([`super::hash::LocalSeed`]): addresses are not kept,
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

use super::hash::MARK;
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
    fn from_bits(bits: u32) -> State {
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

/// The value half of an entry, in two parts that are read and written each by itself: what is written in one
/// piece and read in another makes the reader wait until it is in the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// State in bits 0 to 7, backend in 8 to 31.
    value: u32,
    /// [`Time::stamp`] of the flow's last packet.
    stamp: u32,
}

impl Entry {
    #[inline]
    fn new(backend: BackendId, state: State, now: Time) -> Entry {
        Entry { value: backend.get() << 8 | u32::from(state as u8), stamp: now.stamp() }
    }

    /// The backend that has the flow.
    #[inline]
    pub fn backend(self) -> BackendId {
        BackendId::new(self.value >> 8)
    }

    /// How far the flow has come.
    #[inline]
    pub fn state(self) -> State {
        State::from_bits(self.value)
    }

    /// Whether the flow stays in its state with every packet that neither begins nor ends one.
    #[inline]
    pub fn is_steady(self) -> bool {
        // Both numbers are odd, and the others are not.
        const _: () = assert!(State::Established as u8 == 1 && State::Udp as u8 == 3);
        self.value & 1 == 1
    }

    /// Notes the time of the flow's last packet.
    #[inline]
    pub fn touch(&mut self, now: Time) {
        self.stamp = now.stamp();
    }

    /// Milliseconds since the flow's last packet.
    #[inline]
    pub fn idle_ms(self, now: Time) -> u32 {
        now.stamp().wrapping_sub(self.stamp)
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
    /// A power of two of them.
    buckets: Box<[Bucket]>,
    used: usize,
    cursor: usize,
}

impl Table {
    /// A table of `entries`, rounded up to a power of two of at least one bucket.
    pub fn new(entries: usize) -> Table {
        let buckets = entries.div_ceil(WAYS).next_power_of_two();
        let empty = Bucket { tags: [0; WAYS], entries: [Entry { value: 0, stamp: 0 }; WAYS] };
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

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    #[inline(always)]
    fn index(&self, tag: u64) -> usize {
        // The low bits: the high ones may have chosen the worker.
        tag as usize & (self.buckets.len() - 1)
    }
}

/// The way of a tag among those of a bucket: all four are compared at once.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
#[inline(always)]
fn way(tags: &[u64; WAYS], tag: u64) -> Option<usize> {
    use safe_arch::{cast_to_m256d_from_m256i, cmp_eq_mask_i64_m256i, m256i, move_mask_m256d};
    let equal = cmp_eq_mask_i64_m256i(m256i::from(*tags), m256i::from([tag; WAYS]));
    // A bit of a kind for each way.
    let mask = move_mask_m256d(cast_to_m256d_from_m256i(equal)).cast_unsigned();
    (mask != 0).then(|| mask.trailing_zeros() as usize % WAYS)
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
    tag | MARK
}

#[cfg(test)]
mod tests;
