//! The fragment table of one worker.
//!
//! A datagram has one context, which is in one of three states:
//!
//! - waiting: the choice is not known; later fragments are held, in the order of their arrival,
//! - decided: later fragments follow the choice at once,
//! - poisoned: fragments of it overlapped, and what comes is dropped.
//!
//! A first fragment calls [`Table::begin`] and, once its choice is known, [`Table::decide`]; the later
//! ones call [`Table::later`]. Contexts stand in two lists by age, so that [`Table::expire`] looks at
//! those alone that are due. What waits, and what is poisoned, lives for the timeout from its
//! beginning; what is decided, from its last fragment.
//!
//! When all contexts are taken, a new datagram takes the place of the decided or poisoned one that was idle
//! for longest, so that forged fragments shorten the memory but do not end it. What waits is never
//! driven out: a context that waits holds packets or has its first fragment under way, both of which
//! are bounded themselves, so that there should be at least as many contexts as packets. Packets wait in the
//! shares of their sources ([`super::share`]), so that one source does not take the room of the others.

use super::super::hash::LocalSeed;
use super::super::time::Time;
use super::link::{Link, Linked, List, NONE};
use super::share::Shares;
use super::{Key, Reason};
use crate::wire::fragment::Place;

/// The bounds of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Datagrams known at a time, at least 1.
    pub contexts: usize,
    /// Packets held at a time.
    pub packets: usize,
    /// Bytes of the packets held at a time.
    pub bytes: usize,
    /// Packets held at a time of one datagram, at least 1.
    pub packets_per_datagram: usize,
    /// How long a first fragment is waited for.
    pub timeout_ms: u64,
}

/// What a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Datagrams.
    pub contexts: usize,
    /// Packets that wait.
    pub packets: usize,
    /// Bytes of the packets that wait.
    pub bytes: usize,
}

/// What becomes of a later fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Later<P, C> {
    /// It takes the way of the first.
    Follow(P, C),
    /// It waits for the first.
    Held,
    /// It is to be dropped.
    Dropped(P, Reason),
}

/// Steps of [`Table::expire`]: what one call may cost.
const STEPS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State<C> {
    Vacant,
    Waiting,
    Decided(C),
    Poisoned,
}

#[derive(Debug)]
struct Context<C> {
    key: Key,
    state: State<C>,
    /// The age from which the timeout counts.
    since: Time,
    /// Bytes of the first fragment; 0 as long as none has come.
    first_length: u16,
    /// The next of the same bucket.
    chain: u32,
    link: Link,
    /// Packets that wait: the first and last of them, and how many.
    held: (u32, u32),
    held_count: u32,
}

impl<C> Linked for Context<C> {
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// A packet that waits, or a free place for one.
#[derive(Debug)]
struct Held<P> {
    packet: Option<P>,
    bytes: usize,
    /// Whose room it takes.
    share: u32,
    /// Where in its datagram it begins.
    offset: u16,
    next: u32,
}

/// The fragment table: `P` is a packet that can be kept, `C` what is chosen for a datagram.
#[derive(Debug)]
pub struct Table<P, C> {
    limits: Limits,
    seed: LocalSeed,
    /// The first context of each bucket; a power of two.
    buckets: Box<[u32]>,
    contexts: Box<[Context<C>]>,
    held: Box<[Held<P>]>,
    free_contexts: List,
    /// Those that wait, and those that are decided or poisoned, by age.
    waiting: List,
    settled: List,
    free_held: u32,
    shares: Shares,
    used_contexts: usize,
}

impl<P, C: Copy + PartialEq> Table<P, C> {
    /// A table that will never take more memory. The seed keeps senders from choosing buckets.
    #[expect(clippy::cast_possible_truncation, reason = "held below u32::MAX")]
    pub fn new(limits: Limits, seed: LocalSeed) -> Table<P, C> {
        let limits = Limits {
            contexts: limits.contexts.clamp(1, 1 << 24),
            packets: limits.packets.min(1 << 24),
            packets_per_datagram: limits.packets_per_datagram.max(1),
            ..limits
        };
        let vacant = || Context {
            key: Key([0; 38]),
            state: State::Vacant,
            since: Time::default(),
            first_length: 0,
            chain: NONE,
            link: Link::ALONE,
            held: (NONE, NONE),
            held_count: 0,
        };
        let mut contexts: Box<[Context<C>]> = (0..limits.contexts).map(|_| vacant()).collect();
        let mut free_contexts = List::EMPTY;
        for index in 0..limits.contexts as u32 {
            free_contexts.push(&mut contexts, index);
        }
        let end = limits.packets as u32;
        let place = |index: u32| Held {
            packet: None,
            bytes: 0,
            share: 0,
            offset: 0,
            next: if index + 1 < end { index + 1 } else { NONE },
        };
        Table {
            limits,
            seed,
            buckets: vec![NONE; limits.contexts.next_power_of_two()].into(),
            contexts,
            held: (0..end).map(place).collect(),
            free_contexts,
            waiting: List::EMPTY,
            settled: List::EMPTY,
            free_held: if end > 0 { 0 } else { NONE },
            shares: Shares::new(limits.packets, limits.bytes, seed),
            used_contexts: 0,
        }
    }

    /// What it holds.
    pub fn usage(&self) -> Usage {
        let (packets, bytes) = self.shares.used();
        Usage { contexts: self.used_contexts, packets, bytes }
    }

    /// A first fragment has come, and its choice is about to be made: until then later ones wait,
    /// those of an earlier datagram with the same key included, which this one supersedes. `drop` gets
    /// those that wait in vain.
    ///
    /// # Errors
    /// [`Reason::Overlap`]: the fragment is to be dropped. [`Reason::TableFull`]: it may go on, but
    /// nothing will follow it.
    pub fn begin(
        &mut self,
        key: &Key,
        place: &Place,
        now: Time,
        mut drop: impl FnMut(P, Reason),
    ) -> Result<(), Reason> {
        let Some(index) = self.find_alive(key, now, &mut drop) else {
            let index = self.add(key, now).ok_or(Reason::TableFull)?;
            self.contexts[index as usize].first_length = place.length;
            return Ok(());
        };
        let Context { state, first_length, .. } = self.contexts[index as usize];
        if state == State::Poisoned {
            return Err(Reason::Overlap);
        }
        let differs = key.is_v6() && ![0, place.length].contains(&first_length);
        if differs || self.reaches_back(index, place.length) {
            self.poison(index, now, &mut drop);
            return Err(Reason::Overlap);
        }
        self.contexts[index as usize].first_length = place.length;
        if let State::Decided(_) = state {
            self.enter(index, State::Waiting, now);
        }
        Ok(())
    }

    /// The choice for a first fragment that [`Table::begin`] took, which itself must be on its way by
    /// now: `release` gets those that waited for it, in the order of their arrival, or, with the
    /// reason to drop them, those that waited for too long. `false` if the datagram is not known any
    /// more, or is poisoned, so that nothing will follow the first.
    pub fn decide(
        &mut self,
        key: &Key,
        choice: C,
        now: Time,
        mut release: impl FnMut(P, Option<Reason>),
    ) -> bool {
        let alive = self.find_alive(key, now, |packet, reason| release(packet, Some(reason)));
        let Some(index) = alive else { return false };
        if self.contexts[index as usize].state == State::Poisoned {
            return false;
        }
        while let Some(packet) = self.take_held(index) {
            release(packet, None);
        }
        self.enter(index, State::Decided(choice), now);
        true
    }

    /// A later fragment of so many bytes, which [`super::check`] found no fault with. `drop` gets
    /// those that wait in vain.
    pub fn later(
        &mut self,
        key: &Key,
        place: &Place,
        packet: P,
        bytes: usize,
        now: Time,
        mut drop: impl FnMut(P, Reason),
    ) -> Later<P, C> {
        let index = match self.find_alive(key, now, &mut drop) {
            Some(index) => index,
            // Before there is a context, so that none is left behind without a packet.
            None if !self.shares.has_room(self.shares.of(key), bytes) => {
                return Later::Dropped(packet, Reason::BufferFull);
            }
            None => match self.add(key, now) {
                Some(index) => index,
                None => return Later::Dropped(packet, Reason::TableFull),
            },
        };
        let Context { state, first_length, .. } = self.contexts[index as usize];
        match state {
            State::Poisoned => Later::Dropped(packet, Reason::Overlap),
            _ if place.offset < first_length => {
                self.poison(index, now, &mut drop);
                Later::Dropped(packet, Reason::Overlap)
            }
            State::Decided(choice) => {
                self.enter(index, state, now);
                Later::Follow(packet, choice)
            }
            State::Waiting | State::Vacant => self.hold(index, place.offset, packet, bytes),
        }
    }

    /// Hands out what has waited for too long, a small number at a time, with the reason to drop it,
    /// and forgets datagrams that are idle. A worker calls it once in each of its rounds.
    pub fn expire(&mut self, now: Time, mut release: impl FnMut(P, Reason)) {
        for _ in 0..STEPS {
            let due = |index: u32| index != NONE && self.is_due(index, now);
            let (waiting, settled) = (self.waiting.first(), self.settled.first());
            let index = match (due(waiting), due(settled)) {
                (true, _) => waiting,
                (false, true) => settled,
                (false, false) => return,
            };
            match self.take_held(index) {
                Some(packet) => release(packet, Reason::Timeout),
                None => self.forget(index),
            }
        }
    }

    /// Forgets everything and hands out what waited, for the end of a worker.
    pub fn clear(&mut self, mut release: impl FnMut(P)) {
        while let Some(index) =
            [self.waiting.first(), self.settled.first()].into_iter().find(|&first| first != NONE)
        {
            while let Some(packet) = self.take_held(index) {
                release(packet);
            }
            self.forget(index);
        }
    }

    fn is_due(&self, index: u32, now: Time) -> bool {
        let since = self.contexts[index as usize].since.as_millis();
        now.as_millis().saturating_sub(since) >= self.limits.timeout_ms
    }

    /// Whether one of those that wait begins within a first fragment of this length.
    fn reaches_back(&self, index: u32, first_length: u16) -> bool {
        let mut place = self.contexts[index as usize].held.0;
        while let Some(held) = self.held.get(place as usize) {
            if held.offset < first_length {
                return true;
            }
            place = held.next;
        }
        false
    }

    #[expect(clippy::cast_possible_truncation, reason = "the mask is below 2^32")]
    fn bucket(&self, key: &Key) -> usize {
        self.seed.hash_bytes(key.as_bytes()) as usize & (self.buckets.len() - 1)
    }

    fn find(&self, key: &Key) -> Option<u32> {
        let mut index = self.buckets[self.bucket(key)];
        while let Some(context) = self.contexts.get(index as usize) {
            if context.key == *key {
                return Some(index);
            }
            index = context.chain;
        }
        None
    }

    /// The context of a key. One that is due is forgotten first.
    fn find_alive(&mut self, key: &Key, now: Time, mut drop: impl FnMut(P, Reason)) -> Option<u32> {
        let index = self.find(key)?;
        if !self.is_due(index, now) {
            return Some(index);
        }
        while let Some(packet) = self.take_held(index) {
            drop(packet, Reason::Timeout);
        }
        self.forget(index);
        None
    }

    /// A new context that waits, in the place of a settled one if there is no other.
    fn add(&mut self, key: &Key, now: Time) -> Option<u32> {
        if self.free_contexts.first() == NONE && self.settled.first() != NONE {
            self.forget(self.settled.first());
        }
        let index = self.free_contexts.pop(&mut self.contexts)?;
        let bucket = self.bucket(key);
        let context = &mut self.contexts[index as usize];
        context.key = *key;
        context.first_length = 0;
        context.chain = std::mem::replace(&mut self.buckets[bucket], index);
        context.state = State::Waiting;
        context.since = now;
        self.waiting.push(&mut self.contexts, index);
        self.used_contexts += 1;
        Some(index)
    }

    /// Gives a context a state and makes it the youngest.
    fn enter(&mut self, index: u32, state: State<C>, now: Time) {
        self.unlist(index);
        let context = &mut self.contexts[index as usize];
        context.state = state;
        context.since = now;
        match state {
            State::Decided(_) | State::Poisoned => self.settled.push(&mut self.contexts, index),
            State::Waiting | State::Vacant => self.waiting.push(&mut self.contexts, index),
        }
    }

    fn poison(&mut self, index: u32, now: Time, mut drop: impl FnMut(P, Reason)) {
        while let Some(packet) = self.take_held(index) {
            drop(packet, Reason::Overlap);
        }
        self.enter(index, State::Poisoned, now);
    }

    fn unlist(&mut self, index: u32) {
        match self.contexts[index as usize].state {
            State::Decided(_) | State::Poisoned => self.settled.remove(&mut self.contexts, index),
            State::Waiting | State::Vacant => self.waiting.remove(&mut self.contexts, index),
        }
    }

    /// Frees a context, which holds nothing.
    fn forget(&mut self, index: u32) {
        self.unlist(index);
        let (key, chain) = {
            let context = &mut self.contexts[index as usize];
            context.state = State::Vacant;
            (context.key, std::mem::replace(&mut context.chain, NONE))
        };
        let bucket = self.bucket(&key);
        let mut place = &mut self.buckets[bucket];
        while *place != index {
            place = &mut self.contexts[*place as usize].chain;
        }
        *place = chain;
        self.free_contexts.push(&mut self.contexts, index);
        self.used_contexts -= 1;
    }

    fn hold(&mut self, index: u32, offset: u16, packet: P, bytes: usize) -> Later<P, C> {
        let context = &mut self.contexts[index as usize];
        let is_datagram_full = context.held_count as usize >= self.limits.packets_per_datagram;
        let share = self.shares.of(&context.key);
        if is_datagram_full || !self.shares.has_room(share, bytes) {
            return Later::Dropped(packet, Reason::BufferFull);
        }
        let place = self.free_held;
        let context = &mut self.contexts[index as usize];
        let held = &mut self.held[place as usize];
        self.free_held = held.next;
        *held = Held { packet: Some(packet), bytes, share, offset, next: NONE };
        let last = std::mem::replace(&mut context.held.1, place);
        match last {
            NONE => context.held.0 = place,
            last => self.held[last as usize].next = place,
        }
        context.held_count += 1;
        self.shares.add(share, bytes);
        Later::Held
    }

    /// Takes out the packet that has waited for longest.
    fn take_held(&mut self, index: u32) -> Option<P> {
        let context = &mut self.contexts[index as usize];
        let place = context.held.0;
        let held = self.held.get_mut(place as usize)?;
        context.held.0 = std::mem::replace(&mut held.next, self.free_held);
        if context.held.0 == NONE {
            context.held.1 = NONE;
        }
        context.held_count -= 1;
        self.free_held = place;
        self.shares.remove(held.share, held.bytes);
        held.packet.take()
    }
}
