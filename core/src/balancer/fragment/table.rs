//! The fragment table of one worker.
//!
//! A datagram has one entry, which is in one of three states:
//!
//! - waiting: the choice is not known; later fragments are buffered in the order of their arrival,
//! - decided: later fragments follow the choice at once,
//! - poisoned: fragments overlapped, and every further fragment is dropped.
//!
//! The worker calls [`Table::begin`] for a first fragment, [`Table::decide`] once its choice is known, and
//! [`Table::later`] for later fragments. Entries are in two lists by age, so that [`Table::expire`] looks at due ones
//! only. A waiting or poisoned entry lives for the timeout from its beginning, a decided one from its last fragment.
//!
//! When all entries are in use, a new datagram evicts the decided or poisoned entry that was idle for longest. So
//! forged fragments shorten the memory of the table but do not end it. Waiting entries are never evicted. Each holds
//! packets or has its first fragment under way, and both are bounded, so a table should have at least as many entries
//! as packets. Waiting packets count against the share of their source ([`super::share`]), so that one source does
//! not take the room of the others.

use super::super::hash::LocalSeed;
use super::super::time::Time;
use super::link::{Link, Linked, List, NONE};
use super::share::Shares;
use super::{DatagramKey, Reason};
use crate::wire::fragment::FragmentFields;

/// The size and the timeout of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Datagrams known at a time, at least 1.
    pub datagrams: usize,
    /// Packets buffered at a time.
    pub packets: usize,
    /// Bytes of the packets buffered at a time.
    pub bytes: usize,
    /// Packets buffered at a time of one datagram, at least 1.
    pub packets_per_datagram: usize,
    /// Milliseconds that later fragments wait for the first.
    pub timeout_ms: u64,
}

/// How much a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Datagrams.
    pub datagrams: usize,
    /// Packets that wait.
    pub packets: usize,
    /// Bytes of the packets that wait.
    pub bytes: usize,
}

/// What happens to a later fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Later<P, C> {
    /// It follows the choice for the first one.
    Follow(P, C),
    /// It waits for the first.
    Buffered,
    /// It is to be dropped.
    Dropped(P, Reason),
}

/// Steps that one call of [`Table::expire`] takes at most.
const STEPS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State<C> {
    Vacant,
    Waiting,
    Decided(C),
    Poisoned,
}

#[derive(Debug)]
struct Datagram<C> {
    key: DatagramKey,
    state: State<C>,
    /// When the timeout began.
    since: Time,
    /// Bytes of the first fragment; 0 until it has come.
    first_length: u16,
    /// The next entry of the same bucket.
    chain: u32,
    link: Link,
    /// The first and the last packet that wait.
    buffered: (u32, u32),
    /// How many packets wait.
    buffered_count: u32,
}

impl<C> Linked for Datagram<C> {
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// A packet that waits, or a free slot for one.
#[derive(Debug)]
struct BufferedPacket<P> {
    packet: Option<P>,
    bytes: usize,
    /// The share that it counts against.
    share: u32,
    /// The offset in the datagram at which it begins.
    offset: u16,
    next: u32,
}

/// The fragment table: `P` is a packet that can be kept, `C` a choice for a datagram.
#[derive(Debug)]
pub struct Table<P, C> {
    limits: Capacity,
    seed: LocalSeed,
    /// The first entry of each bucket. Their number is a power of two.
    buckets: Box<[u32]>,
    datagrams: Box<[Datagram<C>]>,
    buffered: Box<[BufferedPacket<P>]>,
    free_datagrams: List,
    /// Waiting entries, by age.
    waiting: List,
    /// Decided and poisoned entries, by age.
    settled: List,
    free_buffered: u32,
    shares: Shares,
    used_datagrams: usize,
}

impl<P, C: Copy + PartialEq> Table<P, C> {
    /// A table that allocates nothing later. The seed keeps senders from choosing buckets.
    #[expect(clippy::cast_possible_truncation, reason = "buffered below u32::MAX")]
    pub fn new(limits: Capacity, seed: LocalSeed) -> Table<P, C> {
        let limits = Capacity {
            datagrams: limits.datagrams.clamp(1, 1 << 24),
            packets: limits.packets.min(1 << 24),
            packets_per_datagram: limits.packets_per_datagram.max(1),
            ..limits
        };
        let vacant = || Datagram {
            key: DatagramKey([0; 38]),
            state: State::Vacant,
            since: Time::default(),
            first_length: 0,
            chain: NONE,
            link: Link::ALONE,
            buffered: (NONE, NONE),
            buffered_count: 0,
        };
        let mut datagrams: Box<[Datagram<C>]> = (0..limits.datagrams).map(|_| vacant()).collect();
        let mut free_datagrams = List::EMPTY;
        for index in 0..limits.datagrams as u32 {
            free_datagrams.push(&mut datagrams, index);
        }
        let end = limits.packets as u32;
        let free_slot = |index: u32| BufferedPacket {
            packet: None,
            bytes: 0,
            share: 0,
            offset: 0,
            next: if index + 1 < end { index + 1 } else { NONE },
        };
        Table {
            limits,
            seed,
            buckets: vec![NONE; limits.datagrams.next_power_of_two()].into(),
            datagrams,
            buffered: (0..end).map(free_slot).collect(),
            free_datagrams,
            waiting: List::EMPTY,
            settled: List::EMPTY,
            free_buffered: if end > 0 { 0 } else { NONE },
            shares: Shares::new(limits.packets, limits.bytes, seed),
            used_datagrams: 0,
        }
    }

    /// How much it holds.
    pub fn usage(&self) -> Usage {
        let (packets, bytes) = self.shares.used();
        Usage { datagrams: self.used_datagrams, packets, bytes }
    }

    /// Records a first fragment whose choice is about to be made. Until then later fragments wait, also those of an
    /// earlier datagram with the same key, which this one supersedes. `drop` gets packets whose wait ends without a
    /// choice.
    ///
    /// # Errors
    /// [`Reason::Overlap`]: drop the fragment. [`Reason::TableFull`]: the fragment may be forwarded, but none will
    /// follow it.
    pub fn begin(
        &mut self,
        key: &DatagramKey,
        fields: &FragmentFields,
        now: Time,
        mut drop: impl FnMut(P, Reason),
    ) -> Result<(), Reason> {
        let Some(index) = self.find_alive(key, now, &mut drop) else {
            let index = self.add(key, now).ok_or(Reason::TableFull)?;
            self.datagrams[index as usize].first_length = fields.length;
            return Ok(());
        };
        let Datagram { state, first_length, .. } = self.datagrams[index as usize];
        if state == State::Poisoned {
            return Err(Reason::Overlap);
        }
        let differs = key.is_v6() && ![0, fields.length].contains(&first_length);
        if differs || self.reaches_back(index, fields.length) {
            self.poison(index, now, &mut drop);
            return Err(Reason::Overlap);
        }
        self.datagrams[index as usize].first_length = fields.length;
        if let State::Decided(_) = state {
            self.enter(index, State::Waiting, now);
        }
        Ok(())
    }

    /// Records the choice for a first fragment, which must have been sent by now. `release` gets the packets that
    /// waited for it, in the order of their arrival, or, with the reason to drop them, packets that waited for too
    /// long. Returns `false` if the datagram is unknown or poisoned, so that no fragment will follow the first.
    pub fn decide(
        &mut self,
        key: &DatagramKey,
        choice: C,
        now: Time,
        mut release: impl FnMut(P, Option<Reason>),
    ) -> bool {
        let alive = self.find_alive(key, now, |packet, reason| release(packet, Some(reason)));
        let Some(index) = alive else { return false };
        if self.datagrams[index as usize].state == State::Poisoned {
            return false;
        }
        while let Some(packet) = self.take_buffered(index) {
            release(packet, None);
        }
        self.enter(index, State::Decided(choice), now);
        true
    }

    /// Handles a later fragment of `bytes` bytes that passed [`super::check`]. `drop` gets packets whose wait ends
    /// without a choice.
    pub fn later(
        &mut self,
        key: &DatagramKey,
        fields: &FragmentFields,
        packet: P,
        bytes: usize,
        now: Time,
        mut drop: impl FnMut(P, Reason),
    ) -> Later<P, C> {
        let index = match self.find_alive(key, now, &mut drop) {
            Some(index) => index,
            // Checked before an entry is added, so that no entry is left without a packet.
            None if !self.shares.has_room(self.shares.of(key), bytes) => {
                return Later::Dropped(packet, Reason::BufferFull);
            }
            None => match self.add(key, now) {
                Some(index) => index,
                None => return Later::Dropped(packet, Reason::TableFull),
            },
        };
        let Datagram { state, first_length, .. } = self.datagrams[index as usize];
        match state {
            State::Poisoned => Later::Dropped(packet, Reason::Overlap),
            _ if fields.offset < first_length => {
                self.poison(index, now, &mut drop);
                Later::Dropped(packet, Reason::Overlap)
            }
            State::Decided(choice) => {
                self.enter(index, state, now);
                Later::Follow(packet, choice)
            }
            State::Waiting | State::Vacant => self.buffer(index, fields.offset, packet, bytes),
        }
    }

    /// Releases packets that have waited for too long, a few at a time, with the reason to drop them, and forgets
    /// idle datagrams. A worker calls it every few rounds.
    pub fn expire(&mut self, now: Time, mut release: impl FnMut(P, Reason)) {
        for _ in 0..STEPS {
            let due = |index: u32| index != NONE && self.is_due(index, now);
            let (waiting, settled) = (self.waiting.first(), self.settled.first());
            let index = match (due(waiting), due(settled)) {
                (true, _) => waiting,
                (false, true) => settled,
                (false, false) => return,
            };
            match self.take_buffered(index) {
                Some(packet) => release(packet, Reason::Timeout),
                None => self.forget(index),
            }
        }
    }

    /// Forgets all datagrams and releases the packets that waited, for the end of a worker.
    pub fn clear(&mut self, mut release: impl FnMut(P)) {
        while let Some(index) =
            [self.waiting.first(), self.settled.first()].into_iter().find(|&first| first != NONE)
        {
            while let Some(packet) = self.take_buffered(index) {
                release(packet);
            }
            self.forget(index);
        }
    }

    fn is_due(&self, index: u32, now: Time) -> bool {
        let since = self.datagrams[index as usize].since.as_millis();
        now.as_millis().saturating_sub(since) >= self.limits.timeout_ms
    }

    /// Whether a waiting packet begins within a first fragment of this length.
    fn reaches_back(&self, index: u32, first_length: u16) -> bool {
        let mut slot = self.datagrams[index as usize].buffered.0;
        while let Some(buffered) = self.buffered.get(slot as usize) {
            if buffered.offset < first_length {
                return true;
            }
            slot = buffered.next;
        }
        false
    }

    #[expect(clippy::cast_possible_truncation, reason = "the mask is below 2^32")]
    fn bucket(&self, key: &DatagramKey) -> usize {
        self.seed.hash_bytes(key.as_bytes()) as usize & (self.buckets.len() - 1)
    }

    fn find(&self, key: &DatagramKey) -> Option<u32> {
        let mut index = self.buckets[self.bucket(key)];
        while let Some(datagram) = self.datagrams.get(index as usize) {
            if datagram.key == *key {
                return Some(index);
            }
            index = datagram.chain;
        }
        None
    }

    /// The entry of a key. An entry that is due is forgotten first.
    fn find_alive(
        &mut self,
        key: &DatagramKey,
        now: Time,
        mut drop: impl FnMut(P, Reason),
    ) -> Option<u32> {
        let index = self.find(key)?;
        if !self.is_due(index, now) {
            return Some(index);
        }
        while let Some(packet) = self.take_buffered(index) {
            drop(packet, Reason::Timeout);
        }
        self.forget(index);
        None
    }

    /// Adds a waiting entry. It evicts the oldest settled one if no entry is free.
    fn add(&mut self, key: &DatagramKey, now: Time) -> Option<u32> {
        if self.free_datagrams.first() == NONE && self.settled.first() != NONE {
            self.forget(self.settled.first());
        }
        let index = self.free_datagrams.pop(&mut self.datagrams)?;
        let bucket = self.bucket(key);
        let datagram = &mut self.datagrams[index as usize];
        datagram.key = *key;
        datagram.first_length = 0;
        datagram.chain = std::mem::replace(&mut self.buckets[bucket], index);
        datagram.state = State::Waiting;
        datagram.since = now;
        self.waiting.push(&mut self.datagrams, index);
        self.used_datagrams += 1;
        Some(index)
    }

    /// Sets the state of an entry and makes it the youngest.
    fn enter(&mut self, index: u32, state: State<C>, now: Time) {
        self.unlist(index);
        let datagram = &mut self.datagrams[index as usize];
        datagram.state = state;
        datagram.since = now;
        match state {
            State::Decided(_) | State::Poisoned => self.settled.push(&mut self.datagrams, index),
            State::Waiting | State::Vacant => self.waiting.push(&mut self.datagrams, index),
        }
    }

    fn poison(&mut self, index: u32, now: Time, mut drop: impl FnMut(P, Reason)) {
        while let Some(packet) = self.take_buffered(index) {
            drop(packet, Reason::Overlap);
        }
        self.enter(index, State::Poisoned, now);
    }

    fn unlist(&mut self, index: u32) {
        match self.datagrams[index as usize].state {
            State::Decided(_) | State::Poisoned => self.settled.remove(&mut self.datagrams, index),
            State::Waiting | State::Vacant => self.waiting.remove(&mut self.datagrams, index),
        }
    }

    /// Frees an entry, which must hold no packets.
    fn forget(&mut self, index: u32) {
        self.unlist(index);
        let (key, chain) = {
            let datagram = &mut self.datagrams[index as usize];
            datagram.state = State::Vacant;
            (datagram.key, std::mem::replace(&mut datagram.chain, NONE))
        };
        let bucket = self.bucket(&key);
        let mut link = &mut self.buckets[bucket];
        while *link != index {
            link = &mut self.datagrams[*link as usize].chain;
        }
        *link = chain;
        self.free_datagrams.push(&mut self.datagrams, index);
        self.used_datagrams -= 1;
    }

    fn buffer(&mut self, index: u32, offset: u16, packet: P, bytes: usize) -> Later<P, C> {
        let datagram = &mut self.datagrams[index as usize];
        let is_datagram_full = datagram.buffered_count as usize >= self.limits.packets_per_datagram;
        let share = self.shares.of(&datagram.key);
        if is_datagram_full || !self.shares.has_room(share, bytes) {
            return Later::Dropped(packet, Reason::BufferFull);
        }
        let slot = self.free_buffered;
        let datagram = &mut self.datagrams[index as usize];
        let buffered = &mut self.buffered[slot as usize];
        self.free_buffered = buffered.next;
        *buffered = BufferedPacket { packet: Some(packet), bytes, share, offset, next: NONE };
        let last = std::mem::replace(&mut datagram.buffered.1, slot);
        match last {
            NONE => datagram.buffered.0 = slot,
            last => self.buffered[last as usize].next = slot,
        }
        datagram.buffered_count += 1;
        self.shares.add(share, bytes);
        Later::Buffered
    }

    /// Takes the packet that has waited for longest.
    fn take_buffered(&mut self, index: u32) -> Option<P> {
        let datagram = &mut self.datagrams[index as usize];
        let slot = datagram.buffered.0;
        let buffered = self.buffered.get_mut(slot as usize)?;
        datagram.buffered.0 = std::mem::replace(&mut buffered.next, self.free_buffered);
        if datagram.buffered.0 == NONE {
            datagram.buffered.1 = NONE;
        }
        datagram.buffered_count -= 1;
        self.free_buffered = slot;
        self.shares.remove(buffered.share, buffered.bytes);
        buffered.packet.take()
    }
}
