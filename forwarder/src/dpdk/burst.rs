//! Bursts: up to 32 packets with one owner, freed in bulk when it goes.
//!
//! After a receive the packets are at the front without gaps. [`Burst::move_to`] takes one out and
//! leaves a hole, so that the indices of the others stay; sending closes the holes. [`Burst::len`]
//! counts places, holes included, so that `for i in 0..burst.len()` is the loop over a burst.

use dpdk_sys as sys;

use super::mbuf::Mbuf;

/// The largest number of packets in a burst: what DPDK's vector receive functions are made for.
pub const BURST: usize = PLACES as usize;
const PLACES: u16 = 32;

/// Up to [`BURST`] packets. Dropping it returns them to their pools.
pub struct Burst {
    /// Places in use. What is behind them counts for nothing.
    len: u16,
    /// Those of them that are empty.
    holes: u16,
    /// In the first `len`: mbufs that the burst alone owns, or null.
    slots: [*mut sys::rte_mbuf; BURST],
}

// SAFETY: the burst alone owns its mbufs, and they have no thread affinity: returning them takes the
// cache of the thread that does it, or the pool's multi-producer ring.
unsafe impl Send for Burst {}

impl Burst {
    /// An empty burst.
    pub const fn new() -> Burst {
        Burst { len: 0, holes: 0, slots: [std::ptr::null_mut(); BURST] }
    }

    /// Places in use, those of packets moved away included. 0 when no packet is left.
    #[inline]
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// No packet is here.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Packets here.
    #[inline]
    pub fn packets(&self) -> usize {
        usize::from(self.len - self.holes)
    }

    /// Places left behind the last one in use.
    #[inline]
    pub fn remaining(&self) -> usize {
        usize::from(PLACES - self.len)
    }

    /// The packet at place `i`, if there is one.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&Mbuf> {
        let mbuf = *self.in_use().get(i)?;
        // SAFETY: null, or an mbuf that the burst owns, and lends for as long as it is borrowed.
        unsafe { mbuf.cast::<Mbuf>().as_ref() }
    }

    /// The packet at place `i`, if there is one, to write.
    #[inline]
    pub fn get_mut(&mut self, i: usize) -> Option<&mut Mbuf> {
        let mbuf = *self.in_use().get(i)?;
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

    /// Moves the packet at place `i` to the end of `to` and leaves a hole.
    ///
    /// False, and nothing happens, where `to` has no place left or `i` has no packet.
    #[inline]
    pub fn move_to(&mut self, i: usize, to: &mut Burst) -> bool {
        if i >= self.len() || to.len >= PLACES || self.slots[i].is_null() {
            return false;
        }
        to.slots[to.len()] = std::mem::replace(&mut self.slots[i], std::ptr::null_mut());
        to.len += 1;
        self.holes += 1;
        if self.holes == self.len {
            (self.len, self.holes) = (0, 0);
        }
        true
    }

    /// Returns what is left to the pools.
    #[inline]
    pub fn clear(&mut self) {
        if self.len > 0 {
            let count = self.len.into();
            (self.len, self.holes) = (0, 0);
            // SAFETY: that many places with mbufs that the burst owned until here, or null, which the
            // call skips.
            unsafe { sys::rte_pktmbuf_free_bulk(self.slots.as_mut_ptr(), count) };
        }
    }

    /// Closes the holes; the order stays.
    pub fn compact(&mut self) {
        if self.holes > 0 {
            let mut kept = 0;
            for i in 0..self.len() {
                if !self.slots[i].is_null() {
                    self.slots[usize::from(kept)] = self.slots[i];
                    kept += 1;
                }
            }
            (self.len, self.holes) = (kept, 0);
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

    #[inline]
    fn in_use(&self) -> &[*mut sys::rte_mbuf] {
        &self.slots[..self.len()]
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
