//! Bursts: up to 32 packets with one owner, freed in bulk when the burst is dropped.
//!
//! Packets enter at the end, one by one or as a device delivers them. They leave one by one in
//! their order ([`Burst::drain`]), or from the front, as a device takes them.

use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::slice;

use dpdk_sys as sys;

use super::mbuf::Mbuf;
use super::prefetch::prefetch;

pub use guideway_core::balancer::frame::BURST;

#[expect(clippy::cast_possible_truncation, reason = "32")]
const SLOTS: u16 = BURST as u16;

/// One packet outside of any burst, such as a packet that waits. Dropping it returns it to its
/// pool.
#[derive(Debug)]
#[repr(transparent)]
pub struct OwnedMbuf(NonNull<sys::rte_mbuf>);

// SAFETY: an `OwnedMbuf` alone owns its mbuf, which any thread may use and free.
unsafe impl Send for OwnedMbuf {}

impl Deref for OwnedMbuf {
    type Target = Mbuf;

    fn deref(&self) -> &Mbuf {
        // SAFETY: `self` owns the mbuf, and lends it for as long as `self` is borrowed.
        unsafe { self.0.cast::<Mbuf>().as_ref() }
    }
}

impl DerefMut for OwnedMbuf {
    fn deref_mut(&mut self) -> &mut Mbuf {
        // SAFETY: `self` owns the mbuf, and lends it for as long as `self` is borrowed.
        unsafe { self.0.cast::<Mbuf>().as_mut() }
    }
}

impl Drop for OwnedMbuf {
    fn drop(&mut self) {
        let mut mbuf = self.0.as_ptr();
        // SAFETY: one mbuf, which `self` owned until here.
        unsafe { sys::rte_pktmbuf_free_bulk(&raw mut mbuf, 1) };
    }
}

/// Up to [`BURST`] packets. Dropping it returns them to their pools.
pub struct Burst {
    /// At most `SLOTS`.
    len: u16,
    /// The first `len` slots hold mbufs that the burst alone owns. The others hold anything.
    slots: [*mut sys::rte_mbuf; BURST],
}

// SAFETY: the burst alone owns its mbufs, and any thread may use and free them: freeing uses the
// mempool cache of the thread that does it, or the pool's ring, which several threads may write to.
unsafe impl Send for Burst {}

impl Burst {
    /// An empty burst.
    pub const fn new() -> Burst {
        Burst { len: 0, slots: [std::ptr::null_mut(); BURST] }
    }

    /// The number of packets, at most [`BURST`].
    #[inline(always)]
    pub fn len(&self) -> usize {
        // SAFETY: `len` never exceeds the number of slots.
        unsafe { std::hint::assert_unchecked(self.len <= SLOTS) };
        self.len.into()
    }

    /// Whether the burst has no packet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of free slots.
    #[inline]
    pub fn remaining(&self) -> usize {
        usize::from(SLOTS - self.len)
    }

    /// The packet in slot `i`.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&Mbuf> {
        self.packets().get(i).map(|held| &**held)
    }

    /// The packet in slot `i`, to write.
    #[inline]
    pub fn get_mut(&mut self, i: usize) -> Option<&mut Mbuf> {
        self.packets_mut().get_mut(i).map(|held| &mut **held)
    }

    /// The packets, in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Mbuf> {
        self.packets().iter().map(|held| &**held)
    }

    /// The packets, in order, to write.
    #[inline]
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Mbuf> {
        self.packets_mut().iter_mut().map(|held| &mut **held)
    }

    /// Takes the packets out, one after the other. Packets that are not taken are freed when the
    /// iterator is dropped.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_> {
        let left = 0..self.len();
        // Even if the iterator is forgotten, packets taken out of it are not here any more.
        self.len = 0;
        Drain { left, slots: &mut self.slots }
    }

    /// Appends a packet.
    ///
    /// # Errors
    /// The packet, if no slot is free.
    #[inline(always)]
    pub fn push(&mut self, packet: OwnedMbuf) -> std::result::Result<(), OwnedMbuf> {
        let Some(slot) = self.slots.get_mut(usize::from(self.len)) else { return Err(packet) };
        *slot = packet.0.as_ptr();
        self.len += 1;
        std::mem::forget(packet);
        Ok(())
    }

    /// Moves all packets of `other` to the end of this burst. Does nothing if they do not fit.
    #[inline]
    pub fn append(&mut self, other: &mut Burst) {
        let (start, end) = (self.len(), self.len() + other.len());
        let Some(free) = self.slots.get_mut(start..end) else { return };
        free.copy_from_slice(&other.slots[..other.len()]);
        self.len += other.len;
        other.len = 0;
    }

    /// Returns all packets to their pools.
    #[inline]
    pub fn clear(&mut self) {
        if !self.is_empty() {
            drop(self.drain());
        }
    }

    /// Appends the packets that the function `source` writes, such as a device's receive function.
    /// `source` gets the first free slot and the number of free slots, and returns how many it filled.
    ///
    /// # Safety
    /// `source` writes as many valid mbufs as it returns, no more than there are slots, and gives up
    /// their ownership.
    #[inline]
    pub(super) unsafe fn append_with(
        &mut self,
        source: impl FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16,
    ) -> usize {
        let room = SLOTS - self.len;
        let len = self.len();
        let count = source(self.slots[len..].as_mut_ptr(), room);
        debug_assert!(count <= room);
        self.len += count;
        count.into()
    }

    /// Passes packets from the front to the function `sink`, such as a device's transmit function.
    /// `sink` gets the first packet and their number, and returns how many it took. The others move up.
    ///
    /// # Safety
    /// `sink` takes the ownership of as many mbufs as it returns, and leaves the slots of the others alone.
    #[inline]
    pub(super) unsafe fn take_front_with(
        &mut self,
        sink: impl FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16,
    ) -> usize {
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

    /// The packets, in order.
    #[inline(always)]
    pub fn packets(&self) -> &[OwnedMbuf] {
        // SAFETY: each of these slots holds an mbuf that the burst owns, as an `OwnedMbuf` does.
        unsafe { slice::from_raw_parts(self.slots.as_ptr().cast(), self.len()) }
    }

    #[inline(always)]
    fn packets_mut(&mut self) -> &mut [OwnedMbuf] {
        // SAFETY: as in `packets`.
        unsafe { slice::from_raw_parts_mut(self.slots.as_mut_ptr().cast(), self.len()) }
    }
}

/// Packets that leave a burst one by one.
pub struct Drain<'b> {
    /// Slots whose packets the iterator still owns.
    left: Range<usize>,
    slots: &'b mut [*mut sys::rte_mbuf; BURST],
}

impl Iterator for Drain<'_> {
    type Item = OwnedMbuf;

    #[inline(always)]
    fn next(&mut self) -> Option<OwnedMbuf> {
        let slot = self.left.next()?;
        // SAFETY: the range began as the slots in use, and only becomes smaller.
        let mbuf = unsafe { *self.slots.get_unchecked(slot) };
        // SAFETY: the slot held an mbuf, which nothing else owns from here on.
        Some(OwnedMbuf(unsafe { NonNull::new_unchecked(mbuf) }))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl Drop for Drain<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(mbufs) = self.slots.get_mut(self.left.clone())
            && !mbufs.is_empty()
        {
            #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
            let count = mbufs.len() as u32;
            // SAFETY: that many mbufs, which this iterator owned until here.
            unsafe { sys::rte_pktmbuf_free_bulk(mbufs.as_mut_ptr(), count) };
        }
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}

impl guideway_core::balancer::frame::Burst for Burst {
    type Owned = OwnedMbuf;

    #[inline(always)]
    fn frames(&self) -> &[OwnedMbuf] {
        self.packets()
    }

    #[inline(always)]
    fn frames_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Mbuf> {
        self.iter_mut()
    }

    #[inline(always)]
    fn frame_mut(&mut self, place: usize) -> Option<&mut Mbuf> {
        self.get_mut(place)
    }

    #[inline(always)]
    fn drain(&mut self) -> impl Iterator<Item = OwnedMbuf> {
        Burst::drain(self)
    }

    #[inline(always)]
    fn push(&mut self, mbuf: OwnedMbuf) -> std::result::Result<(), OwnedMbuf> {
        Burst::push(self, mbuf)
    }

    #[inline]
    fn clear(&mut self) {
        Burst::clear(self);
    }

    #[inline(always)]
    fn prefetch<T>(value: &T) {
        prefetch(value);
    }
}

impl std::fmt::Debug for Burst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Burst({} packets)", self.len)
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests;
