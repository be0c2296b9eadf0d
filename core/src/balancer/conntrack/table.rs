//! The table: its buckets, and how flows are found, changed and swept. `insert.rs` records new flows.

use std::ops::Range;

use super::super::hash::MARK;
use super::super::id::{BackendId, ServiceId};
use super::super::prefetch::prefetch;
use super::super::time::Time;
use super::bucket::{Bucket, Slot, WAYS, stored};
use super::entry::Entry;
use super::state::Timeouts;
use crate::stats::FlowWriter;

/// How many buckets ahead the sweep loads.
const SWEPT_AHEAD: usize = 8;

/// Where the bits of a tag begin that lead from one bucket of a flow to the other: right above [`MARK`]. A table of the
/// greatest size has 2^26 buckets, which leaves 7 bits above them for the choice among workers.
const OTHER_BITS: u32 = MARK.trailing_zeros() + 1;

/// A worker's flow table.
pub struct Table {
    /// Their number is a power of two.
    pub(super) buckets: Box<[Bucket]>,
    /// The service of each entry, by bucket and way. They are not beside the entries, because packets of known flows
    /// do not need them.
    pub(super) services: Box<[[ServiceId; WAYS]]>,
    /// A bit for each bucket: whether it has an empty slot. 32 KiB for a million entries, so that a search for room
    /// reads hardly a bucket that has none.
    pub(super) vacant: Box<[u64]>,
    pub(super) used: usize,
    /// The bucket that the sweep visits next. Those before it were visited in this pass.
    pub(super) cursor: usize,
    counts: FlowWriter,
}

/// The buckets of a table. A loop over packets keeps where they are in registers, whatever it calls.
pub struct Homes<'t> {
    buckets: &'t mut [Bucket],
}

impl Homes<'_> {
    /// The entry of a flow that was idle for at most `limit` milliseconds, if it is in the flow's first bucket. The tag
    /// must come from [`super::super::hash::LocalSeed`].
    #[inline(always)]
    pub fn find(&mut self, tag: u64, now: Time, limit: u32) -> Option<&mut Entry> {
        self.entry(tag).filter(|entry| entry.idle_ms(now) <= limit)
    }

    /// The entry of a flow in its first bucket, live or not.
    #[inline(always)]
    pub(in super::super) fn entry(&mut self, tag: u64) -> Option<&mut Entry> {
        debug_assert_eq!(tag, stored(tag));
        let bucket = &mut self.buckets[home(tag, self.buckets.len())];
        let way = bucket.way(tag)?;
        Some(&mut bucket.entries[way])
    }
}

impl Table {
    /// A table of `entries`, rounded up to a power of two of at least one bucket.
    pub fn new(entries: usize) -> Table {
        let buckets = entries.div_ceil(WAYS).next_power_of_two();
        Table {
            buckets: vec![Bucket::EMPTY; buckets].into_boxed_slice(),
            services: vec![[ServiceId(0); WAYS]; buckets].into_boxed_slice(),
            vacant: vec![u64::MAX; buckets.div_ceil(64)].into_boxed_slice(),
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

    /// The entry of a flow in its other bucket, live or not.
    #[inline(always)]
    pub(in super::super) fn entry_elsewhere(&mut self, tag: u64) -> Option<&mut Entry> {
        let bucket = &mut self.buckets[self.other(self.index(tag), tag)];
        let way = bucket.way(stored(tag))?;
        Some(&mut bucket.entries[way])
    }

    /// The flow's other bucket, for a prefetch. It is searched if the first does not have the flow.
    #[inline]
    pub fn alternate_bucket(&self, tag: u64) -> &Bucket {
        &self.buckets[self.other(self.index(tag), tag)]
    }

    /// The buckets, to look flows up in the first ones of theirs, where nearly all are unless the table is rather full.
    #[inline(always)]
    pub fn homes(&mut self) -> Homes<'_> {
        Homes { buckets: &mut self.buckets }
    }

    /// The entry of a flow, live or not.
    #[inline(always)]
    pub(in super::super) fn entry(&mut self, tag: u64) -> Option<&mut Entry> {
        let slot = self.search(stored(tag))?;
        Some(&mut self.buckets[slot.index].entries[slot.way])
    }

    /// The live entry of a flow.
    pub fn get(&self, tag: u64, now: Time, timeouts: &Timeouts) -> Option<(Slot, Entry)> {
        let slot = self.search(stored(tag))?;
        let entry = self.buckets[slot.index].entries[slot.way];
        (!entry.has_expired(now, timeouts)).then_some((slot, entry))
    }

    /// Whether a flow has an entry in its other bucket, live or not.
    #[inline]
    pub fn is_in_alternate(&self, tag: u64) -> bool {
        self.alternate_bucket(tag).way(stored(tag)).is_some()
    }

    /// Finds the entry of a stored tag, expired or not.
    #[inline]
    pub(in super::super) fn search(&self, tag: u64) -> Option<Slot> {
        let home = self.index(tag);
        match self.buckets[home].way(tag) {
            Some(way) => Some(Slot { index: home, way }),
            None => self.search_alternate(home, tag),
        }
    }

    /// Finds a tag in the flow's other bucket.
    fn search_alternate(&self, home: usize, tag: u64) -> Option<Slot> {
        let index = self.other(home, tag);
        self.buckets[index].way(tag).map(|way| Slot { index, way })
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

    /// Fills an empty slot.
    #[inline(always)]
    pub(super) fn put(&mut self, slot: Slot, tag: u64, service: ServiceId, entry: Entry) {
        if self.buckets[slot.index].is_last_empty(slot.way) {
            self.vacant[slot.index / 64] &= !(1 << (slot.index % 64));
        }
        self.fill(slot, tag, service, entry);
        self.used += 1;
        self.counts.recorded(service.index(), entry.backend().index());
    }

    /// Empties a slot.
    #[cold]
    pub(super) fn remove(&mut self, slot: Slot) {
        let bucket = &mut self.buckets[slot.index];
        bucket.tags[slot.way] = 0;
        self.vacant[slot.index / 64] |= 1 << (slot.index % 64);
        let service = self.services[slot.index][slot.way];
        self.used -= 1;
        self.counts.removed(service.index(), bucket.entries[slot.way].backend().index());
    }

    /// Empties the slot of an entry that has expired.
    #[cold]
    pub(super) fn remove_expired(&mut self, slot: Slot) {
        self.remove(slot);
        self.counts.expired(1);
    }

    /// Copies an entry into an empty slot of its flow's other bucket. Its own slot must be filled at once.
    #[inline(always)]
    pub(super) fn relocate(&mut self, from: Slot, to: Slot) {
        // Without a branch, which the CPU could not predict here.
        let is_full = u64::from(self.buckets[to.index].is_last_empty(to.way));
        self.vacant[to.index / 64] &= !(is_full << (to.index % 64));
        let bucket = &self.buckets[from.index];
        let (tag, entry) = (bucket.tags[from.way], bucket.entries[from.way]);
        self.fill(to, tag, self.services[from.index][from.way], entry);
    }

    /// Writes a slot.
    #[inline(always)]
    fn fill(&mut self, slot: Slot, tag: u64, service: ServiceId, entry: Entry) {
        let bucket = &mut self.buckets[slot.index];
        bucket.tags[slot.way] = tag;
        bucket.entries[slot.way] = entry;
        self.services[slot.index][slot.way] = service;
    }

    /// Whether a bucket has an empty slot. Does not read the bucket.
    #[inline(always)]
    pub(super) fn is_vacant(&self, index: usize) -> bool {
        self.vacant[index / 64] >> (index % 64) & 1 == 1
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
                } else if !self.is_kept(slot, &keep) {
                    self.remove(slot);
                }
            }
        }
        self.cursor = (self.cursor + 1) & mask;
        self.cursor == 0
    }

    /// Whether `keep` accepts the service and the backend of an entry.
    #[inline(always)]
    pub(super) fn is_kept(&self, slot: Slot, keep: &impl Fn(ServiceId, BackendId) -> bool) -> bool {
        let backend = self.buckets[slot.index].entries[slot.way].backend();
        keep(self.services[slot.index][slot.way], backend)
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

    /// The bucket of a tag.
    #[inline(always)]
    pub(super) fn index(&self, tag: u64) -> usize {
        home(tag, self.buckets.len())
    }

    /// From one bucket of a flow to the other one, and back. They are the same only if the table has one bucket.
    #[inline(always)]
    pub(super) fn other(&self, index: usize, tag: u64) -> usize {
        // The bits above those that may choose the bucket, and below those that may have chosen the worker. So the
        // flows of a bucket have their other buckets anywhere. The lowest bit is set, so that none leads to itself.
        (index ^ ((tag >> OTHER_BITS) as usize | 1)) & (self.buckets.len() - 1)
    }
}

/// The first bucket of a flow, of so many.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
#[inline(always)]
fn home(tag: u64, buckets: usize) -> usize {
    // The low bits: the high ones may have chosen the worker.
    tag as usize & (buckets - 1)
}
