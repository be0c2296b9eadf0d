//! Bursts: up to 32 packets with one owner, freed in bulk when it goes.
//!
//! After a receive the packets are at the front without gaps. [`Seat::move_to`] takes one out and
//! leaves a hole, so that the indices of the others stay; sending closes the holes. [`Burst::len`]
//! counts places, holes included, so that `for i in 0..burst.len()` is the loop over a burst. No one
//! counts the holes: that would cost each packet more than looking for them costs a burst.

use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

use dpdk_sys as sys;

use super::mbuf::Mbuf;

/// The largest number of packets in a burst: what DPDK's vector receive functions are made for.
pub const BURST: usize = PLACES as usize;
const PLACES: u16 = 32;

/// One packet out of any burst: one that has to wait. Dropping it returns it to its pool.
#[derive(Debug)]
pub struct Held(NonNull<sys::rte_mbuf>);

// SAFETY: it alone owns its mbuf, which has no thread affinity.
unsafe impl Send for Held {}

impl Deref for Held {
    type Target = Mbuf;

    fn deref(&self) -> &Mbuf {
        // SAFETY: an mbuf that this owns, and lends for as long as it is borrowed.
        unsafe { self.0.cast::<Mbuf>().as_ref() }
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Mbuf {
        // SAFETY: an mbuf that this owns, and lends for as long as it is borrowed.
        unsafe { self.0.cast::<Mbuf>().as_mut() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut mbuf = self.0.as_ptr();
        // SAFETY: one mbuf, which this owned until here.
        unsafe { sys::rte_pktmbuf_free_bulk(&raw mut mbuf, 1) };
    }
}

/// Up to [`BURST`] packets. Dropping it returns them to their pools.
pub struct Burst {
    /// Places in use. What is behind them counts for nothing.
    len: u16,
    /// In the first `len`: mbufs that the burst alone owns, or null.
    slots: [*mut sys::rte_mbuf; BURST],
}

// SAFETY: the burst alone owns its mbufs, and they have no thread affinity: returning them takes the
// cache of the thread that does it, or the pool's multi-producer ring.
unsafe impl Send for Burst {}

impl Burst {
    /// An empty burst.
    pub const fn new() -> Burst {
        Burst { len: 0, slots: [std::ptr::null_mut(); BURST] }
    }

    /// Places in use, those of packets moved away included.
    #[inline]
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// No packet is here.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // All of them, without a branch for each.
        self.in_use().iter().fold(0, |bits, mbuf| bits | mbuf.addr()) == 0
    }

    /// Packets here.
    #[inline]
    pub fn packets(&self) -> usize {
        self.in_use().iter().filter(|mbuf| !mbuf.is_null()).count()
    }

    /// Places left behind the last one in use.
    #[inline]
    pub fn remaining(&self) -> usize {
        usize::from(PLACES - self.len)
    }

    /// The packet at place `i`, if there is one.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&Mbuf> {
        let mbuf = self.slot(i);
        // SAFETY: null, or an mbuf that the burst owns, and lends for as long as it is borrowed.
        unsafe { mbuf.cast::<Mbuf>().as_ref() }
    }

    /// The packet at place `i`, if there is one, to write.
    #[inline]
    pub fn get_mut(&mut self, i: usize) -> Option<&mut Mbuf> {
        let mbuf = self.slot(i);
        // SAFETY: null, or an mbuf that the burst owns, and lends for as long as it is borrowed.
        unsafe { mbuf.cast::<Mbuf>().as_mut() }
    }

    /// The packets, in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &Mbuf> {
        // SAFETY: null, or an mbuf that the burst owns, and lends for as long as it is borrowed.
        self.in_use().iter().filter_map(|mbuf| unsafe { mbuf.cast::<Mbuf>().as_ref() })
    }

    /// The packets, in order, to write.
    #[inline]
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Mbuf> {
        // SAFETY: null, or an mbuf that the burst owns, and lends for as long as it is borrowed. No
        // mbuf is in two places, so no two references are to the same.
        self.in_use().iter().filter_map(|mbuf| unsafe { mbuf.cast::<Mbuf>().as_mut() })
    }

    /// The packets at some places, `None` for a hole; nothing if not all of them are in use.
    #[inline]
    pub fn among(&self, places: Range<usize>) -> impl Iterator<Item = Option<&Mbuf>> {
        let used = self.in_use().get(places).unwrap_or_default();
        // SAFETY: null, or an mbuf that the burst owns, and lends for as long as it is borrowed.
        used.iter().map(|mbuf| unsafe { mbuf.cast::<Mbuf>().as_ref() })
    }

    /// The packet at place `i`, if there is one, to go on from there.
    #[inline(always)]
    pub fn seat(&mut self, i: usize) -> Option<Seat<'_>> {
        let mbuf = NonNull::new(self.slot(i))?;
        Some(Seat { mbuf, slot: self.slots.get_mut(i)? })
    }

    /// Takes the packet at place `i` out, if there is one, and leaves a hole.
    pub fn take(&mut self, i: usize) -> Option<Held> {
        let slot = self.slots[..self.len.into()].get_mut(i)?;
        NonNull::new(std::mem::replace(slot, std::ptr::null_mut())).map(Held)
    }

    /// Appends a packet.
    ///
    /// # Errors
    /// The packet, where no place is left.
    pub fn push(&mut self, packet: Held) -> std::result::Result<(), Held> {
        if self.len >= PLACES {
            return Err(packet);
        }
        self.slots[self.len()] = packet.0.as_ptr();
        self.len += 1;
        std::mem::forget(packet);
        Ok(())
    }

    /// Returns what is left to the pools.
    #[inline]
    pub fn clear(&mut self) {
        let count = self.len.into();
        if self.is_empty() {
            self.len = 0;
        } else {
            self.len = 0;
            // SAFETY: that many places with mbufs that the burst owned until here, or null, which the
            // call skips.
            unsafe { sys::rte_pktmbuf_free_bulk(self.slots.as_mut_ptr(), count) };
        }
    }

    /// Closes the holes; the order stays.
    pub fn compact(&mut self) {
        if self.in_use().iter().any(|mbuf| mbuf.is_null()) {
            let mut kept = 0;
            for i in 0..self.len() {
                if !self.slots[i].is_null() {
                    self.slots[usize::from(kept)] = self.slots[i];
                    kept += 1;
                }
            }
            self.len = kept;
        }
    }

    /// Appends what `source` writes: it is given the first free place and how many there are, and
    /// returns how many it filled.
    ///
    /// # Safety
    /// `source` writes that many valid mbufs and gives up their ownership.
    #[inline]
    pub(super) unsafe fn append_with(
        &mut self,
        source: impl FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16,
    ) -> usize {
        let room = PLACES - self.len;
        let len = self.len();
        let count = source(self.slots[len..].as_mut_ptr(), room);
        debug_assert!(count <= room);
        self.len += count;
        count.into()
    }

    /// Gives packets away from the front: `sink` is given the first of them and how many there are,
    /// without holes, and returns how many it took. The others move up.
    ///
    /// # Safety
    /// `sink` takes the ownership of that many mbufs, and leaves the places of the others alone.
    #[inline]
    pub(super) unsafe fn take_front_with(
        &mut self,
        sink: impl FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16,
    ) -> usize {
        self.compact();
        if self.len == 0 {
            return 0;
        }
        let taken = sink(self.slots.as_mut_ptr(), self.len);
        debug_assert!(taken <= self.len);
        if taken < self.len {
            let len = self.len();
            self.slots.copy_within(usize::from(taken)..len, 0);
        }
        self.len -= taken;
        taken.into()
    }

    /// What is at place `i`; null if that is not in use.
    #[inline(always)]
    fn slot(&self, i: usize) -> *mut sys::rte_mbuf {
        if i >= self.len() {
            return std::ptr::null_mut();
        }
        // SAFETY: no more places are in use than there are.
        unsafe { *self.slots.get_unchecked(i) }
    }

    #[inline]
    fn in_use(&self) -> &[*mut sys::rte_mbuf] {
        &self.slots[..self.len()]
    }
}

/// A packet in its place in a burst.
pub struct Seat<'b> {
    /// An mbuf that the burst alone owns.
    mbuf: NonNull<sys::rte_mbuf>,
    /// Where it is.
    slot: &'b mut *mut sys::rte_mbuf,
}

impl Seat<'_> {
    /// Moves the packet to the end of `to` and leaves a hole.
    ///
    /// # Errors
    /// The seat, with its packet, where `to` has no place left.
    #[inline(always)]
    pub fn move_to(self, to: &mut Burst) -> std::result::Result<(), Self> {
        let Some(free) = to.slots.get_mut(usize::from(to.len)) else { return Err(self) };
        *free = self.mbuf.as_ptr();
        *self.slot = std::ptr::null_mut();
        to.len += 1;
        Ok(())
    }

    /// Takes the packet out and leaves a hole.
    pub fn take(self) -> Held {
        *self.slot = std::ptr::null_mut();
        Held(self.mbuf)
    }
}

impl Deref for Seat<'_> {
    type Target = Mbuf;

    #[inline(always)]
    fn deref(&self) -> &Mbuf {
        // SAFETY: an mbuf that the burst owns, which is borrowed for as long as this is.
        unsafe { self.mbuf.cast::<Mbuf>().as_ref() }
    }
}

impl DerefMut for Seat<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Mbuf {
        // SAFETY: an mbuf that the burst owns, which is borrowed mutably for as long as this is.
        unsafe { self.mbuf.cast::<Mbuf>().as_mut() }
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Burst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Burst({} packets in {} places)", self.packets(), self.len)
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dpdk::testing::{eal, marks, packets, pool, unique};
    use crate::dpdk::{Pool, ring};

    /// Moves the packet at place `i`, if there is one and there is room for it.
    fn move_to(from: &mut Burst, i: usize, to: &mut Burst) -> bool {
        from.seat(i).is_some_and(|seat| seat.move_to(to).is_ok())
    }

    #[test]
    fn a_packet_can_be_held_out_of_any_burst() {
        let pool = pool(63);
        let mut from = packets(&pool, 3);
        let mut held = from.take(1).unwrap();
        assert!(from.take(1).is_none() && from.take(3).is_none());
        assert_eq!(marks(&from), [Some(0), None, Some(2)]);
        assert_eq!(held.bytes(), [1, 1]);
        held.bytes_mut()[0] = 7;
        assert!(held.set_note([1, u64::MAX]));
        drop(from);
        assert_eq!(pool.in_use(), 1);

        let mut full = packets(&pool, 32);
        let held = full.push(held).unwrap_err();
        let mut to = Burst::new();
        to.push(held).unwrap();
        assert_eq!(
            to.get(0).map(|mbuf| (mbuf.bytes()[0], mbuf.note())),
            Some((7, Some([1, u64::MAX])))
        );
        let last = to.take(0).unwrap();
        assert!(to.is_empty());
        drop((full, to));
        assert_eq!(pool.in_use(), 1);
        drop(last);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn moving_leaves_a_hole_and_the_places_of_the_others() {
        let pool = pool(63);
        let (mut from, mut to) = (packets(&pool, 4), Burst::new());
        assert!(move_to(&mut from, 1, &mut to));
        assert!(move_to(&mut from, 3, &mut to));
        assert_eq!(marks(&from), [Some(0), None, Some(2), None]);
        assert_eq!(marks(&to), [Some(1), Some(3)]);
        assert_eq!((from.len(), from.packets(), from.remaining()), (4, 2, 28));

        assert!(!move_to(&mut from, 1, &mut to), "a hole has nothing to move");
        assert!(!move_to(&mut from, 4, &mut to), "nor has a place behind the last");
        assert!(!move_to(&mut from, usize::MAX, &mut to));
        assert_eq!(from.iter().count(), 2);
        from.iter_mut().for_each(|mbuf| mbuf.bytes_mut()[0] += 10);
        from.compact();
        assert_eq!(marks(&from), [Some(10), Some(12)]);
        assert_eq!(pool.in_use(), 4);
        drop(from);
        assert_eq!(pool.in_use(), 2);
        drop(to);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn packets_go_on_from_their_seats() {
        let pool = pool(63);
        let (mut from, mut to) = (packets(&pool, 4), packets(&pool, 31));
        drop(from.take(1));
        let mark = |mbuf: Option<&Mbuf>| mbuf.map(|mbuf| mbuf.bytes()[0]);
        assert_eq!(from.among(0..3).map(mark).collect::<Vec<_>>(), [Some(0), None, Some(2)]);
        assert_eq!((from.among(2..5).count(), 0), (0, 0), "out of range");
        let mut held = None;
        for place in 0..4 {
            let Some(mut seat) = from.seat(place) else { continue };
            seat.bytes_mut()[0] += 10;
            match place {
                0 => assert!(seat.move_to(&mut to).is_ok()),
                2 => held = Some(seat.take()),
                _ => assert!(seat.move_to(&mut to).is_err(), "no place is left"),
            }
        }
        assert_eq!(marks(&from), [None, None, None, Some(13)]);
        assert_eq!((marks(&to)[31], held.unwrap().bytes()[0]), (Some(10), 12));
        drop((from, to));
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_burst_that_lost_its_last_packet_is_empty() {
        let pool = pool(63);
        let (mut from, mut to) = (packets(&pool, 2), Burst::new());
        assert!(move_to(&mut from, 0, &mut to));
        assert!(!from.is_empty());
        assert!(move_to(&mut from, 1, &mut to));
        assert!(from.is_empty());
        assert!(from.get(0).is_none() && from.get_mut(1).is_none());
        from.clear();
        assert_eq!(from.remaining(), BURST);
    }

    #[test]
    fn a_full_burst_takes_no_more() {
        let pool = pool(63);
        let (mut from, mut to) = (packets(&pool, 1), packets(&pool, 32));
        assert_eq!(to.remaining(), 0);
        assert!(!move_to(&mut from, 0, &mut to));
        assert_eq!((marks(&from), pool.in_use()), (vec![Some(0)], 33));
        assert_eq!(pool.allocate(&mut to, 1), 0);
        to.clear();
        assert!(move_to(&mut from, 0, &mut to));
        assert_eq!(pool.in_use(), 1);
    }

    #[test]
    fn a_burst_may_be_dropped_on_another_thread() {
        let pool = pool(63);
        let burst = packets(&pool, 7);
        std::thread::spawn(move || assert_eq!(burst.packets(), 7)).join().unwrap();
        assert_eq!(pool.in_use(), 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Allocate { burst: usize, n: usize },
        Move { burst: usize, place: usize },
        Compact { burst: usize },
        Clear { burst: usize },
        Send { burst: usize },
        Receive { burst: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        let burst = 0..2_usize;
        prop_oneof![
            3 => (burst.clone(), 0..40_usize).prop_map(|(burst, n)| Step::Allocate { burst, n }),
            9 => (burst.clone(), 0..40_usize).prop_map(|(burst, place)| Step::Move { burst, place }),
            1 => burst.clone().prop_map(|burst| Step::Compact { burst }),
            1 => burst.clone().prop_map(|burst| Step::Clear { burst }),
            3 => burst.clone().prop_map(|burst| Step::Send { burst }),
            3 => burst.prop_map(|burst| Step::Receive { burst }),
        ]
    }

    /// What a burst should hold: a mark for each packet, `None` for each hole.
    type Model = Vec<Option<u8>>;

    fn compacted(model: &Model) -> Model {
        model.iter().copied().filter(Option::is_some).collect()
    }

    /// Appends marked packets, and says how many.
    fn allocate(pool: &Pool, burst: &mut Burst, n: usize, next: &mut u8) -> Model {
        let before = burst.len();
        let count = pool.allocate(burst, n);
        let mark = |i| {
            *next = next.wrapping_add(1);
            burst.get_mut(before + i).unwrap().append(1).unwrap()[0] = *next;
            Some(*next)
        };
        (0..count).map(mark).collect()
    }

    proptest! {
        /// Two bursts, a pool that runs dry and a ring that runs full, against plain vectors.
        #[test]
        fn bursts_do_as_a_list_would(steps in prop::collection::vec(step(), 1..80)) {
            const MBUFS: usize = 47;
            const RING: usize = 15;
            let pool = Pool::new(eal(), &unique("model"), 47, 64, 0, None).unwrap();
            let (mut sender, mut receiver) =
                ring::channel(eal(), &unique("model"), 16, None).unwrap();
            let mut bursts = [Burst::new(), Burst::new()];
            let mut models: [Model; 2] = [Vec::new(), Vec::new()];
            let mut queued: Model = Vec::new();
            let mut next = 0;
            for step in steps {
                let [one, two] = &mut bursts;
                match step {
                    Step::Allocate { burst, n } => {
                        let room = BURST - models[burst].len();
                        let out: usize = models.iter().flatten().flatten().count() + queued.len();
                        let new = allocate(&pool, &mut bursts[burst], n, &mut next);
                        let expected = if n.min(room) <= MBUFS - out { n.min(room) } else { 0 };
                        prop_assert_eq!(new.len(), expected);
                        models[burst].extend(new);
                    }
                    Step::Move { burst, place } => {
                        let (from, to) = if burst == 0 { (one, two) } else { (two, one) };
                        let there = models[burst].get(place).copied().flatten();
                        let can = there.is_some() && models[1 - burst].len() < BURST;
                        prop_assert_eq!(move_to(from, place, to), can);
                        if can {
                            models[burst][place] = None;
                            models[1 - burst].push(there);
                        }
                    }
                    Step::Compact { burst } => {
                        bursts[burst].compact();
                        models[burst] = compacted(&models[burst]);
                    }
                    Step::Clear { burst } => {
                        bursts[burst].clear();
                        models[burst].clear();
                    }
                    Step::Send { burst } => {
                        let mut model = compacted(&models[burst]);
                        let sent = model.len().min(RING - queued.len());
                        prop_assert_eq!(sender.send(&mut bursts[burst]), sent);
                        queued.extend(model.drain(..sent));
                        models[burst] = model;
                    }
                    Step::Receive { burst } => {
                        let count = queued.len().min(BURST);
                        prop_assert_eq!(receiver.receive(&mut bursts[burst]), count);
                        models[burst] = queued.drain(..count).collect();
                    }
                }
                for (burst, model) in bursts.iter().zip(&models) {
                    prop_assert_eq!(&marks(burst), model);
                    prop_assert_eq!(burst.packets(), compacted(model).len());
                }
                let out: usize = models.iter().flatten().flatten().count() + queued.len();
                prop_assert_eq!(pool.in_use() as usize, out);
                prop_assert_eq!(sender.room(), RING - queued.len());
                prop_assert_eq!(receiver.is_empty(), queued.is_empty());
            }
            drop((bursts, sender, receiver));
            prop_assert_eq!(pool.in_use(), 0);
        }
    }
}
