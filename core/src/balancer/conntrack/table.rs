//! The table and its buckets: finds, records, displaces and sweeps flows.

use std::ops::Range;

use super::super::hash::MARK;
use super::super::id::{BackendId, ServiceId};
use super::super::prefetch::prefetch;
use super::super::time::Time;
use super::entry::{ENDED_LINGER_MS, Entry};
use super::state::{State, Timeouts};
use crate::stats::FlowWriter;

/// Entries of a bucket: the ways of a set, as caches have them.
pub const WAYS: usize = 4;

/// Slots of a pair of buckets that unconfirmed flows may have: half of them.
const UNCONFIRMED: usize = WAYS;

/// How many buckets ahead the sweep loads.
const SWEPT_AHEAD: usize = 8;

/// One cache line of entries. The tags lie together, so that all are compared at once.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Bucket {
    /// 0 where the slot is empty.
    tags: [u64; WAYS],
    entries: [Entry; WAYS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// The result of an attempt to record a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// Recorded.
    Stored,
    /// Recorded. It displaced a flow that had seen only a SYN, was unconfirmed, or had ended.
    Displaced,
    /// Not recorded: no slot of the two buckets is free or may be taken.
    Full,
}

/// A worker's flow table.
pub struct Table {
    /// Their number is a power of two.
    buckets: Box<[Bucket]>,
    /// The service of each entry, by bucket and way. They are not beside the entries, because packets of known flows
    /// do not need them.
    services: Box<[[ServiceId; WAYS]]>,
    used: usize,
    cursor: usize,
    counts: FlowWriter,
}

impl Table {
    /// A table of `entries`, rounded up to a power of two of at least one bucket.
    pub fn new(entries: usize) -> Table {
        let buckets = entries.div_ceil(WAYS).next_power_of_two();
        let empty = Bucket { tags: [0; WAYS], entries: [Entry::EMPTY; WAYS] };
        Table {
            buckets: vec![empty; buckets].into_boxed_slice(),
            services: vec![[ServiceId(0); WAYS]; buckets].into_boxed_slice(),
            used: 0,
            cursor: 0,
            counts: FlowWriter::default(),
        }
    }

    /// Counts entries by `counts` from here on. The table must be empty.
    pub(in super::super) fn count_by(&mut self, counts: FlowWriter) {
        debug_assert!(self.is_empty());
        self.counts = counts;
    }

    /// How many entries there is room for.
    pub fn capacity(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// Entries in use, including expired ones that no sweep has emptied yet.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether no entry is in use.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Entries of a backend, including expired ones; 0 unless they are counted.
    #[inline]
    pub(in super::super) fn live(&self, backend: BackendId) -> u64 {
        self.counts.live(backend.index())
    }

    /// The bucket of a tag, for a prefetch.
    #[inline]
    pub fn bucket(&self, tag: u64) -> &Bucket {
        &self.buckets[self.index(tag)]
    }

    /// Whether a flow has an entry in its own bucket, live or not.
    #[inline]
    pub fn is_at_home(&self, tag: u64) -> bool {
        way(&self.bucket(tag).tags, stored(tag)).is_some()
    }

    /// The other bucket of the pair, for a prefetch. It is searched if the first does not have the flow.
    #[inline]
    pub fn alternate_bucket(&self, tag: u64) -> &Bucket {
        &self.buckets[self.alternate(self.index(tag))]
    }

    /// Names what an insertion of a flow writes besides its buckets, for a prefetch.
    #[inline]
    pub fn prefetch_insert(&self, tag: u64, prefetch: impl Fn(&[ServiceId; WAYS])) {
        prefetch(&self.services[self.index(tag)]);
    }

    /// The entry of a flow that was idle for at most `limit` milliseconds. The tag must come from
    /// [`super::super::hash::LocalSeed`].
    #[inline(always)]
    pub fn find(&mut self, tag: u64, now: Time, limit: u32) -> Option<&mut Entry> {
        debug_assert_eq!(tag, stored(tag));
        let home = self.index(tag);
        let entry = match way(&self.buckets[home].tags, tag) {
            Some(way) => &mut self.buckets[home].entries[way],
            None => self.find_in_alternate(home, tag)?,
        };
        (entry.idle_ms(now) <= limit).then_some(entry)
    }

    #[cold]
    fn find_in_alternate(&mut self, home: usize, tag: u64) -> Option<&mut Entry> {
        let (index, way) = self.search_alternate(home, tag)?;
        Some(&mut self.buckets[index].entries[way])
    }

    /// The live entry of a flow.
    pub fn get(&self, tag: u64, now: Time, timeouts: &Timeouts) -> Option<(Slot, Entry)> {
        let tag = stored(tag);
        let home = self.index(tag);
        let (index, way) = match way(&self.buckets[home].tags, tag) {
            Some(way) => (home, way),
            None => self.search_alternate(home, tag)?,
        };
        let entry = self.buckets[index].entries[way];
        (!entry.has_expired(now, timeouts)).then_some((Slot { index, way }, entry))
    }

    /// Finds a tag in the other bucket of the pair.
    fn search_alternate(&self, home: usize, tag: u64) -> Option<(usize, usize)> {
        let index = self.alternate(home);
        way(&self.buckets[index].tags, tag).map(|way| (index, way))
    }

    /// Replaces the entry that [`Table::get`] has just found by one of the same backend.
    #[inline]
    pub fn update(&mut self, slot: Slot, entry: Entry) {
        let before = &mut self.buckets[slot.index].entries[slot.way];
        debug_assert_eq!(before.backend(), entry.backend());
        *before = entry;
    }

    /// Replaces the entry that [`Table::get`] has just found by one of another backend.
    pub fn move_to(&mut self, slot: Slot, service: ServiceId, entry: Entry) {
        let before = &mut self.buckets[slot.index].entries[slot.way];
        let service_before = &mut self.services[slot.index][slot.way];
        self.counts.removed(service_before.index(), before.backend().index());
        self.counts.recorded(service.index(), entry.backend().index());
        (*before, *service_before) = (entry, service);
    }

    /// Renews the time stamp of the entry that [`Table::get`] has just found.
    #[inline]
    pub fn touch(&mut self, slot: Slot, now: Time) {
        self.buckets[slot.index].entries[slot.way].touch(now);
    }

    /// Records a flow that [`Table::get`] has just not found.
    ///
    /// If no slot is free, the flow displaces the oldest connection that has ended (`ENDED_LINGER_MS`), else the
    /// oldest SYN, else the oldest unconfirmed flow. A SYN never displaces another SYN, and an unconfirmed flow
    /// only if these have their whole share. Unconfirmed flows that have their whole share displace one another,
    /// even if a slot is free.
    #[inline(always)]
    pub fn insert(
        &mut self,
        tag: u64,
        service: ServiceId,
        backend: BackendId,
        state: State,
        now: Time,
        timeouts: &Timeouts,
    ) -> Insertion {
        let (tag, entry) = (stored(tag), Entry::new(backend, state, now));
        let home = self.index(tag);
        // An expired entry of the same flow, which must not be there twice.
        let own = match way(&self.buckets[home].tags, tag) {
            Some(way) => Some(Slot { index: home, way }),
            None => self.search_alternate(home, tag).map(|(index, way)| Slot { index, way }),
        };
        if let Some(slot) = own {
            return self.insert_again(slot, tag, service, entry, now, timeouts);
        }
        if state == State::Syn
            && let Some(way) = way(&self.buckets[home].tags, 0)
        {
            // Nearly every SYN finds an empty slot here and needs no `find_room`.
            self.put(Slot { index: home, way }, tag, service, entry);
            return Insertion::Stored;
        }
        self.insert_in_pair(tag, service, entry, now, timeouts)
    }

    /// Records a flow whose expired entry is in this slot.
    #[cold]
    fn insert_again(
        &mut self,
        slot: Slot,
        tag: u64,
        service: ServiceId,
        entry: Entry,
        now: Time,
        timeouts: &Timeouts,
    ) -> Insertion {
        self.remove_expired(slot);
        // The share of unconfirmed flows may be full.
        if entry.state() == State::Unconfirmed {
            return self.insert_in_pair(tag, service, entry, now, timeouts);
        }
        self.put(slot, tag, service, entry);
        Insertion::Stored
    }

    #[cold]
    fn insert_in_pair(
        &mut self,
        tag: u64,
        service: ServiceId,
        entry: Entry,
        now: Time,
        timeouts: &Timeouts,
    ) -> Insertion {
        let state = entry.state();
        let (free, victims) = self.find_room(tag, now, timeouts);
        let is_share_full = victims.unconfirmed >= UNCONFIRMED.min(self.capacity() / 2);
        let (free, victim) = match state {
            State::Unconfirmed if is_share_full => (None, victims.oldest_unconfirmed),
            State::Syn if is_share_full => {
                (free, victims.oldest_ended.or(victims.oldest_unconfirmed))
            }
            State::Syn => (free, victims.oldest_ended),
            _ => (free, victims.oldest_ended.or(victims.oldest_syn).or(victims.oldest_unconfirmed)),
        };
        let (slot, insertion) = match (free, victim) {
            (Some(slot), _) => (slot, Insertion::Stored),
            (None, Some((_, slot))) => (slot, Insertion::Displaced),
            (None, None) => return Insertion::Full,
        };
        if insertion == Insertion::Displaced {
            self.remove(slot);
        } else if self.buckets[slot.index].tags[slot.way] != 0 {
            self.remove_expired(slot);
        }
        self.put(slot, tag, service, entry);
        insertion
    }

    /// Fills an empty slot.
    #[inline(always)]
    fn put(&mut self, slot: Slot, tag: u64, service: ServiceId, entry: Entry) {
        let bucket = &mut self.buckets[slot.index];
        bucket.tags[slot.way] = tag;
        bucket.entries[slot.way] = entry;
        self.services[slot.index][slot.way] = service;
        self.used += 1;
        self.counts.recorded(service.index(), entry.backend().index());
    }

    /// Empties a slot.
    #[cold]
    fn remove(&mut self, slot: Slot) {
        let bucket = &mut self.buckets[slot.index];
        bucket.tags[slot.way] = 0;
        let service = self.services[slot.index][slot.way];
        self.used -= 1;
        self.counts.removed(service.index(), bucket.entries[slot.way].backend().index());
    }

    /// Empties the slot of an entry that has expired.
    #[cold]
    fn remove_expired(&mut self, slot: Slot) {
        self.remove(slot);
        self.counts.expired(1);
    }

    /// Searches the slots that a flow may have for a free one and for flows that may be displaced.
    fn find_room(&self, tag: u64, now: Time, timeouts: &Timeouts) -> (Option<Slot>, Victims) {
        let home = self.index(tag);
        let alternate = self.alternate(home);
        // A table of one bucket has no pair.
        let pair = [home, alternate];
        let (mut free, mut victims) = (None, Victims::default());
        for &index in &pair[..1 + usize::from(home != alternate)] {
            let bucket = &self.buckets[index];
            for (way, (&other, &entry)) in bucket.tags.iter().zip(&bucket.entries).enumerate() {
                let slot = Slot { index, way };
                if other == 0 || entry.has_expired(now, timeouts) {
                    free = free.or(Some(slot));
                } else {
                    victims.add(entry, slot, now);
                }
            }
        }
        (free, victims)
    }

    /// Empties the next bucket of expired entries and of entries whose service and backend `keep` rejects. Returns
    /// whether this ends a pass over the whole table.
    #[inline]
    pub fn sweep(
        &mut self,
        now: Time,
        timeouts: &Timeouts,
        keep: impl Fn(ServiceId, BackendId) -> bool,
    ) -> bool {
        let (index, mask) = (self.cursor, self.buckets.len() - 1);
        prefetch(&self.buckets[(index + SWEPT_AHEAD) & mask]);
        let Bucket { tags, entries } = &self.buckets[index];
        if *tags != [0; WAYS] {
            let (tags, entries) = (*tags, *entries);
            for way in (0..WAYS).filter(|&way| tags[way] != 0) {
                let (entry, slot) = (entries[way], Slot { index, way });
                if entry.has_expired(now, timeouts) {
                    self.remove_expired(slot);
                } else if !keep(self.services[index][way], entry.backend()) {
                    self.remove(slot);
                }
            }
        }
        self.cursor = (self.cursor + 1) & mask;
        self.cursor == 0
    }

    /// The live entries of some buckets, each with its tag. There are [`Table::capacity`] / [`WAYS`] buckets;
    /// those beyond are empty.
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
            .filter(move |&(tag, entry)| tag != 0 && !entry.has_expired(now, timeouts))
    }

    /// The service and the backend of every entry in use, expired or not.
    #[cfg(test)]
    pub(in super::super) fn owners(&self) -> impl Iterator<Item = (ServiceId, BackendId)> {
        let buckets = self.buckets.iter().zip(&self.services);
        buckets.flat_map(|(bucket, services)| {
            let used = (0..WAYS).filter(|&way| bucket.tags[way] != 0);
            used.map(|way| (services[way], bucket.entries[way].backend()))
        })
    }

    /// The other bucket of the pair, for flows whose own bucket is full.
    #[inline]
    fn alternate(&self, home: usize) -> usize {
        (home ^ 1) & (self.buckets.len() - 1)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    #[inline(always)]
    fn index(&self, tag: u64) -> usize {
        // The low bits: the high ones may have chosen the worker.
        tag as usize & (self.buckets.len() - 1)
    }
}

/// The way of a bucket that has a tag. Compares all four at once.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
#[inline(always)]
fn way(tags: &[u64; WAYS], tag: u64) -> Option<usize> {
    use safe_arch::{cast_to_m256d_from_m256i, cmp_eq_mask_i64_m256i, m256i, move_mask_m256d};
    let equal = cmp_eq_mask_i64_m256i(m256i::from(*tags), m256i::from([tag; WAYS]));
    // One bit for each way.
    let mask = move_mask_m256d(cast_to_m256d_from_m256i(equal)).cast_unsigned();
    (mask != 0).then(|| mask.trailing_zeros() as usize % WAYS)
}

/// The way of a bucket that has a tag.
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
#[inline(always)]
fn way(tags: &[u64; WAYS], tag: u64) -> Option<usize> {
    tags.iter().position(|&other| other == tag)
}

/// The position of an entry that [`Table::get`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    index: usize,
    way: usize,
}

/// Live flows that may be displaced: the oldest of each kind, with its idle time.
#[derive(Default)]
struct Victims {
    unconfirmed: usize,
    oldest_unconfirmed: Option<(u32, Slot)>,
    oldest_syn: Option<(u32, Slot)>,
    oldest_ended: Option<(u32, Slot)>,
}

impl Victims {
    fn add(&mut self, entry: Entry, slot: Slot, now: Time) {
        let idle = entry.idle_ms(now);
        let oldest = match entry.state() {
            State::Syn => &mut self.oldest_syn,
            State::Unconfirmed => {
                self.unconfirmed += 1;
                &mut self.oldest_unconfirmed
            }
            State::Closing | State::Reset if idle > ENDED_LINGER_MS => &mut self.oldest_ended,
            _ => return,
        };
        *oldest = (*oldest).max(Some((idle, slot)));
    }
}

/// A tag as the table stores it, where 0 means empty. The flows' hash sets the same bit.
#[inline]
const fn stored(tag: u64) -> u64 {
    tag | MARK
}

#[cfg(test)]
mod tests;
