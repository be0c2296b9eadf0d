//! Pools of mbufs: fixed in number, in DPDK's memory, with a cache for each registered thread.

use std::ptr::NonNull;
use std::sync::Arc;

use dpdk_sys as sys;

use super::burst::Burst;
use super::eal::{Eal, c_string};
use super::error::{Errno, Error, Result};

/// A handle of a pool. The pool is freed when no handle is left and every mbuf is back.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    raw: NonNull<sys::rte_mempool>,
    capacity: u32,
    data_room: u16,
    eal: Eal,
}

// SAFETY: a mempool is shared memory. DPDK lets any number of threads take and return mbufs at once;
// pools are made with its default multi-producer, multi-consumer ring.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Pool {
    /// Makes a pool of `mbufs` (best a power of two less one), each with `data_room` bytes for a frame
    /// as received and a headroom beside it.
    ///
    /// `cache` mbufs stay with each registered thread: at most 512, and 1.5 times as many must be
    /// in the pool. `socket` is the NUMA node, if it matters. The name is unique in the process.
    pub fn new(
        eal: &Eal,
        name: &str,
        mbufs: u32,
        data_room: u16,
        cache: u32,
        socket: Option<u32>,
    ) -> Result<Pool> {
        let error = |errno| Error::Pool { name: name.to_owned(), mbufs, errno };
        let c_name = c_string("the pool name", name)?;
        let headroom = u16::try_from(sys::GUIDEWAY_HEADROOM).unwrap_or(u16::MAX);
        let buffer = data_room.checked_add(headroom).ok_or(error(Errno(22)))?;
        // SAFETY: a C string that is copied, and numbers that DPDK checks; the EAL runs.
        let raw = unsafe {
            sys::rte_pktmbuf_pool_create(c_name.as_ptr(), mbufs, cache, 0, buffer, any(socket))
        };
        let raw = NonNull::new(raw).ok_or_else(|| error(Errno::last()))?;
        Ok(Pool(Arc::new(Inner { raw, capacity: mbufs, data_room, eal: eal.clone() })))
    }

    /// Mbufs in all.
    pub fn capacity(&self) -> u32 {
        self.0.capacity
    }

    /// Mbufs that are not in the pool: in bursts, in rings, in the devices' queues.
    ///
    /// Exact while no thread takes or returns any, otherwise near the truth.
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool lives as long as `self`.
        unsafe { sys::rte_mempool_in_use_count(self.raw()) }
    }

    /// Bytes that a received frame may take in one mbuf.
    pub fn data_room(&self) -> u16 {
        self.0.data_room
    }

    /// Appends `n` empty packets to `burst`, or as many as it has places for. All or none: returns 0
    /// where the pool has too few left.
    pub fn allocate(&self, burst: &mut Burst, n: usize) -> usize {
        let count = u16::try_from(n).unwrap_or(u16::MAX);
        let take = |slots, room: u16| {
            let count = room.min(count);
            // SAFETY: the pool lives as long as `self`, and there are `count` places.
            let result = unsafe { sys::guideway_alloc_bulk(self.raw(), slots, count.into()) };
            if result == 0 { count } else { 0 }
        };
        // SAFETY: the mbufs are out of the pool and nobody's; a call that fails writes none.
        unsafe { burst.append_with(take) }
    }

    pub(super) fn raw(&self) -> *mut sys::rte_mempool {
        self.0.raw.as_ptr()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.eal.retire(self.raw);
    }
}

/// A NUMA node as DPDK has it: -1 is any.
pub(super) fn any(socket: Option<u32>) -> i32 {
    socket.and_then(|socket| i32::try_from(socket).ok()).unwrap_or(-1)
}
