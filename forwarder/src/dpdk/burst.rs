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
mod tests;
