//! How a flow is recorded: where it finds room, and which flow it may displace.

use super::super::id::{BackendId, ServiceId};
use super::super::prefetch::prefetch;
use super::super::time::Time;
use super::bucket::{Slot, WAYS, stored};
use super::entry::{ENDED_LINGER_MS, Entry};
use super::state::{State, Timeouts};
use super::table::Table;

/// Slots of a flow's two buckets that unconfirmed flows may have: half of them.
const UNCONFIRMED: usize = WAYS;

/// The result of an attempt to record a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// Recorded.
    Stored,
    /// Recorded. It displaced a flow that had seen only a SYN, was unconfirmed, or had ended.
    Displaced,
    /// Not recorded: no slot of the two buckets is free, can be emptied by moving flows, or may be taken.
    Full,
}

impl Table {
    /// Loads what recording a flow will need. Both of its buckets should be in the cache: right after
    /// [`Table::get`] has not found the flow.
    #[inline]
    pub fn prefetch_insert(&self, tag: u64) {
        let home = self.index(tag);
        let pair = [home, self.other(home, stored(tag))];
        match self.empty_slot(pair) {
            Some(Slot { index, .. }) => prefetch(&self.services[index]),
            None => self.prefetch_room(pair),
        }
    }

    /// Records a flow that [`Table::get`] has just not found.
    ///
    /// If no slot is empty, other flows move to their other buckets. If that makes no room, an entry that has expired
    /// is replaced, else the flow displaces the oldest connection that has ended (`ENDED_LINGER_MS`), else the oldest SYN,
    /// else the oldest unconfirmed flow. A SYN never displaces another SYN, and an unconfirmed flow only if these have
    /// their whole share. Unconfirmed flows that have their whole share displace one another, even if a slot is free.
    ///
    /// `keep` is that of [`Table::sweep`]: it judges flows that move past the sweep.
    #[inline(always)]
    pub fn insert(
        &mut self,
        tag: u64,
        service: ServiceId,
        entry: Entry,
        now: Time,
        timeouts: &Timeouts,
        keep: impl Fn(ServiceId, BackendId) -> bool,
    ) -> Insertion {
        let flow = Flow::new(tag, service, entry);
        // An expired entry of the same flow, which must not be there twice.
        if let Some(slot) = self.search(flow.tag) {
            return self.insert_again(slot, flow, now, timeouts, keep);
        }
        self.insert_new(flow, now, timeouts, keep)
    }

    /// Records a flow whose expired entry is in this slot.
    #[cold]
    #[inline(never)]
    fn insert_again(
        &mut self,
        slot: Slot,
        flow: Flow,
        now: Time,
        timeouts: &Timeouts,
        keep: impl Fn(ServiceId, BackendId) -> bool,
    ) -> Insertion {
        self.remove_expired(slot);
        // The share of unconfirmed flows may be full.
        if flow.entry.state() == State::Unconfirmed {
            return self.insert_new(flow, now, timeouts, keep);
        }
        self.put(slot, flow.tag, flow.service, flow.entry);
        Insertion::Stored
    }

    /// Records a flow that has no entry, not even an expired one.
    #[inline(always)]
    pub(in super::super) fn insert_new(
        &mut self,
        flow: Flow,
        now: Time,
        timeouts: &Timeouts,
        keep: impl Fn(ServiceId, BackendId) -> bool,
    ) -> Insertion {
        let home = self.index(flow.tag);
        let pair = [home, self.other(home, flow.tag)];
        if flow.entry.state() != State::Unconfirmed || self.has_share(pair) {
            // Nearly every flow finds room so, without a look at the kind and the age of each entry.
            let slot = self.empty_slot(pair);
            if let Some(slot) = slot.or_else(|| self.make_room(pair, now, timeouts, &keep)) {
                self.put(slot, flow.tag, flow.service, flow.entry);
                return Insertion::Stored;
            }
        }
        self.displace(flow, pair, now, timeouts)
    }

    /// An empty slot of the flow's own bucket, else of its other one.
    #[inline(always)]
    fn empty_slot(&self, pair: [usize; 2]) -> Option<Slot> {
        let slot = |index: usize| Some(Slot { index, way: self.buckets[index].empty_way()? });
        slot(pair[0]).or_else(|| slot(pair[1]))
    }

    /// Whether two buckets have certainly no more unconfirmed flows than they may. Those that have expired count.
    #[inline(always)]
    fn has_share(&self, pair: [usize; 2]) -> bool {
        // In a table of one bucket both are the same, and the share is half as large.
        pair.map(|index| self.buckets[index].unconfirmed()).iter().sum::<usize>() < UNCONFIRMED
    }

    /// Records a flow for which there is no room yet.
    #[cold]
    #[inline(never)]
    fn displace(
        &mut self,
        Flow { tag, service, entry }: Flow,
        pair: [usize; 2],
        now: Time,
        timeouts: &Timeouts,
    ) -> Insertion {
        let (free, victims) = self.find_room(pair, now, timeouts);
        let is_share_full = victims.unconfirmed >= UNCONFIRMED.min(self.capacity() / 2);
        let (free, victim) = match entry.state() {
            State::Unconfirmed if is_share_full => (None, victims.oldest_unconfirmed),
            _ => (free, victims.oldest_ended),
        };
        let room = free.map(|slot| (slot, Insertion::Stored));
        let room = room.or_else(|| victim.map(|(_, slot)| (slot, Insertion::Displaced)));
        let Some((slot, insertion)) = room.or_else(|| {
            let (_, slot) = match entry.state() {
                State::Syn if is_share_full => victims.oldest_unconfirmed,
                State::Syn => None,
                _ => victims.oldest_syn.or(victims.oldest_unconfirmed),
            }?;
            Some((slot, Insertion::Displaced))
        }) else {
            return Insertion::Full;
        };
        if insertion == Insertion::Displaced {
            self.remove(slot);
        } else if self.buckets[slot.index].tags[slot.way] != 0 {
            self.remove_expired(slot);
        }
        self.put(slot, tag, service, entry);
        insertion
    }

    /// Searches both buckets of a flow for a free slot and for flows that may be displaced.
    fn find_room(
        &self,
        pair: [usize; 2],
        now: Time,
        timeouts: &Timeouts,
    ) -> (Option<Slot>, Victims) {
        let (mut free, mut victims) = (None, Victims::default());
        // In a table of one bucket both are the same.
        for &index in &pair[..1 + usize::from(pair[0] != pair[1])] {
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
}

/// A flow that is to be recorded.
pub(in super::super) struct Flow {
    tag: u64,
    service: ServiceId,
    entry: Entry,
}

impl Flow {
    pub(in super::super) fn new(tag: u64, service: ServiceId, entry: Entry) -> Flow {
        Flow { tag: stored(tag), service, entry }
    }
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
