//! Pools of mbufs: fixed in number, in DPDK's memory, with a cache for each registered thread.

use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::Arc;

use dpdk_sys as sys;

use super::burst::{self, Burst, OwnedMbuf};
use super::eal::{Eal, c_string};
use super::error::{Errno, Error, Result};
use super::mbuf::Metadata;
use guideway_core::balancer::frame::Allocator;

/// Bytes of an mbuf's private area: the metadata, on a cache line of its own. Frames then begin at
/// a cache line, as DPDK's drivers expect, and the smallest ones lie in one line instead of two.
const PRIVATE: u16 = 64;
const _: () = assert!(size_of::<Metadata>() <= PRIVATE as usize);

#[expect(clippy::cast_possible_truncation, reason = "the assertion says that it is not")]
const HEADROOM: u16 = sys::GUIDEWAY_HEADROOM as u16;
const _: () = assert!(HEADROOM as u32 == sys::GUIDEWAY_HEADROOM);

/// How far behind an mbuf of a pool a device puts the frame.
pub(super) const FRAME: u32 = sys::GUIDEWAY_MBUF_SIZE + PRIVATE as u32 + sys::GUIDEWAY_HEADROOM;

#[expect(clippy::cast_possible_truncation, reason = "32")]
const BURST: u32 = burst::BURST as u32;

/// A handle of a pool. The pool is freed when no handle is left and every mbuf is back.
#[derive(Clone, Debug)]
pub struct Mempool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    raw: NonNull<sys::rte_mempool>,
    name: String,
    capacity: u32,
    data_room: u16,
    eal: Eal,
}

// SAFETY: a mempool is shared memory. DPDK lets any number of threads take and return mbufs at
// once, because pools are made with its default multi-producer, multi-consumer ring.
unsafe impl Send for Inner {}
// SAFETY: any number of threads may take and return mbufs at once, as for `Send`.
unsafe impl Sync for Inner {}

impl Mempool {
    /// Makes a pool of `mbufs` (best a power of two less one), each with `data_room` bytes for a
    /// received frame, and a headroom before these.
    ///
    /// `cache` mbufs stay with each registered thread: at most 512, and the pool must have 1.5
    /// times as many. `socket` is the NUMA node, if it matters. The name is unique in the process.
    pub fn new(
        eal: &Eal,
        name: &str,
        mbufs: u32,
        data_room: u16,
        cache: u32,
        socket: Option<u32>,
    ) -> Result<Mempool> {
        let make = |name: &CStr, buffer, socket| {
            // SAFETY: a C string that is copied, and numbers that DPDK checks; the EAL runs.
            unsafe {
                sys::rte_pktmbuf_pool_create(name.as_ptr(), mbufs, cache, PRIVATE, buffer, socket)
            }
        };
        Mempool::made(eal, name, mbufs, data_room, socket, make)
    }

    /// Makes a pool for drivers that register the pool's memory with the kernel
    /// ([`Umem`](super::port::Umem)): each mbuf fills a page, and all lie in one piece. The data
    /// room is what the page has left, at least `data_room`.
    ///
    /// # Errors
    /// A page is too small for `data_room`, or there is no such memory in one piece.
    pub fn in_pages(
        eal: &Eal,
        name: &str,
        mbufs: u32,
        data_room: u16,
        cache: u32,
        socket: Option<u32>,
    ) -> Result<Mempool> {
        let make = |name: &CStr, buffer, socket| {
            // SAFETY: a C string that is copied, and numbers that DPDK checks; the EAL runs.
            unsafe { sys::guideway_page_pool(name.as_ptr(), mbufs, cache, PRIVATE, buffer, socket) }
        };
        let pool = Mempool::made(eal, name, mbufs, data_room, socket, make)?;
        match pool.outside() {
            0 => Ok(pool),
            outside => Err(Error::Scattered { name: name.to_owned(), mbufs, outside }),
        }
    }

    fn made(
        eal: &Eal,
        name: &str,
        mbufs: u32,
        data_room: u16,
        socket: Option<u32>,
        make: impl FnOnce(&CStr, u16, i32) -> *mut sys::rte_mempool,
    ) -> Result<Mempool> {
        let error = |errno| Error::Pool { name: name.to_owned(), mbufs, errno };
        let c_name = c_string("the pool name", name)?;
        let buffer = data_room.checked_add(HEADROOM).ok_or(error(Errno(Errno::EINVAL)))?;
        // Retired pools may hold the memory and the name that the new one needs.
        eal.free_retired();
        let raw = NonNull::new(make(&c_name, buffer, any(socket)));
        let raw = raw.ok_or_else(|| match Errno::last() {
            Errno(Errno::E2BIG) => Error::PageRoom { name: name.to_owned(), data_room },
            errno => error(errno),
        })?;
        // SAFETY: the pool was just made.
        let data_room = unsafe { sys::guideway_pool_room(raw.as_ptr()) } - HEADROOM;
        Ok(Mempool(Arc::new(Inner {
            raw,
            name: name.to_owned(),
            capacity: mbufs,
            data_room,
            eal: eal.clone(),
        })))
    }

    /// Mbufs that are lost to a driver that registers the pool as one piece of memory. 0 after
    /// [`Mempool::in_pages`].
    pub(super) fn outside(&self) -> u32 {
        // SAFETY: the pool lives as long as `self`; its list of memory does not change.
        unsafe { sys::guideway_pool_outside(self.raw()) }
    }

    /// The number of mbufs in the pool and out of it.
    pub fn capacity(&self) -> u32 {
        self.0.capacity
    }

    /// The number of mbufs that are out: in bursts, in rings, in the devices' queues.
    ///
    /// Exact while no thread takes or returns any, otherwise approximate.
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool lives as long as `self`.
        unsafe { sys::rte_mempool_in_use_count(self.raw()) }
    }

    /// Bytes that a received frame may take in one mbuf.
    pub fn data_room(&self) -> u16 {
        self.0.data_room
    }

    /// Appends `n` empty packets to `burst`, or as many as the burst has room for. All or none:
    /// returns 0 if the pool has too few left.
    pub fn allocate(&self, burst: &mut Burst, n: usize) -> usize {
        let count = u16::try_from(n).unwrap_or(u16::MAX);
        let take = |slots, room: u16| {
            let count = room.min(count);
            // SAFETY: the pool lives as long as `self`, and `count` slots are free.
            let result = unsafe { sys::guideway_alloc_bulk(self.raw(), slots, count.into()) };
            if result == 0 { count } else { 0 }
        };
        // SAFETY: nobody owns mbufs taken from the pool; a call that fails writes none.
        unsafe { burst.append_with(take) }
    }

    /// Asks the CPU for the mbufs of the next burst that this thread takes out, where other threads return them: otherwise
    /// whoever takes them waits for each.
    #[inline]
    pub fn fetch_next(&self) {
        // SAFETY: the pool lives as long as `self`. The function reads the calling thread's cache.
        unsafe { sys::guideway_pool_fetch(self.raw(), BURST) };
    }

    /// The name that the pool was made with.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn raw(&self) -> *mut sys::rte_mempool {
        self.0.raw.as_ptr()
    }
}

impl Allocator<OwnedMbuf> for Mempool {
    fn allocate(&self) -> Option<OwnedMbuf> {
        let mut burst = Burst::new();
        Mempool::allocate(self, &mut burst, 1);
        burst.drain().next()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.eal.retire(self.raw);
    }
}

/// DPDK's number of a NUMA node: -1 is any.
pub(super) fn any(socket: Option<u32>) -> i32 {
    socket.and_then(|socket| i32::try_from(socket).ok()).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::testing::{DATA_ROOM, eal, in_own_process, packets, pool, unique};

    #[test]
    fn a_pool_that_runs_dry_recovers() {
        let pool = pool(63);
        assert_eq!((pool.capacity(), pool.in_use(), pool.data_room()), (63, 0, 2048));
        let mut first = packets(&pool, 32);
        let mut second = Burst::new();
        assert_eq!(pool.allocate(&mut second, 32), 0, "all or none");
        assert!(second.is_empty());
        assert_eq!(pool.allocate(&mut second, 31), 31);
        assert_eq!(pool.in_use(), 63);
        let mut third = Burst::new();
        assert_eq!(pool.allocate(&mut third, 1), 0);
        first.clear();
        assert_eq!((pool.allocate(&mut third, 1), pool.in_use()), (1, 32));
        // An mbuf returns as new, whatever was done to it.
        let mbuf = third.get_mut(0).unwrap();
        assert_eq!((mbuf.bytes().len(), mbuf.frame_len(), mbuf.is_contiguous()), (0, 0, true));
        drop((second, third));
        assert_eq!(pool.in_use(), 0);
    }

    /// Runs in a process of its own: the pool takes all memory before it fails, which would disturb
    /// other tests.
    #[test]
    fn a_pool_larger_than_the_memory_is_an_error() {
        in_own_process("dpdk::mempool::tests::a_pool_larger_than_the_memory_is_an_error", || {
            let large = Mempool::new(eal(), "large", 1_000_000, 2048, 0, None);
            let text = large.unwrap_err().to_string();
            assert!(
                text.contains("1000000 mbufs") && text.contains("raise `dpdk.memory`"),
                "{text}"
            );
            assert_eq!(pool(1023).in_use(), 0, "what it took is back");
        });
    }

    /// What two threads with packets of one pool write: each its cache, and each packet its owner.
    #[test]
    fn no_two_threads_write_one_line_of_a_pool() {
        /// Bytes that a CPU may fetch together: two cache lines.
        const PAIR: usize = 128;
        let pool = Mempool::new(eal(), &unique("pool"), 1023, DATA_ROOM, 256, None).unwrap();
        let mut writers = std::collections::HashMap::new();
        let mut write = |writer: (&'static str, usize), start: usize, length: usize| {
            for line in (start / PAIR)..(start + length).div_ceil(PAIR) {
                let other = *writers.entry(line).or_insert(writer);
                assert_eq!(other, writer, "line {line:#x} from {start:#x} on");
            }
        };
        for thread in 0..128 {
            let mut length = 0;
            // SAFETY: the pool lives, and the length is written to a variable that outlives the call.
            let cache = unsafe { sys::guideway_pool_cache(pool.raw(), thread, &raw mut length) };
            assert!(!cache.is_null() && length > 256 * 8);
            write(("cache", thread as usize), cache.addr(), length as usize);
        }
        let mut held = Vec::new();
        loop {
            let mut burst = Burst::new();
            if pool.allocate(&mut burst, 31) == 0 {
                break;
            }
            held.push(burst);
        }
        assert!(held.len() > 20, "most of the pool, but for what is in the cache");
        for (n, mbuf) in held.iter_mut().flat_map(|burst| burst.iter_mut()).enumerate() {
            let start = std::ptr::from_ref(mbuf).addr();
            // From the mbuf itself to the end of the longest frame.
            let frame = mbuf.append(DATA_ROOM.into()).unwrap().as_ptr_range().end.addr();
            write(("packet", n), start, frame - start);
        }
    }

    /// `net_af_xdp` registers memory from the first page on, as long as all mbufs together.
    #[test]
    fn a_pool_in_pages_is_contiguous() {
        for (mbufs, room) in [(1, 64), (63, 2048), (8191, 1), (10_000, 3000)] {
            let pool = Mempool::in_pages(eal(), &unique("pages"), mbufs, room, 0, None).unwrap();
            assert_eq!((pool.outside(), pool.data_room()), (0, 3712), "{mbufs} of {room}");
            let mut burst = Burst::new();
            assert_eq!(pool.allocate(&mut burst, 1), 1);
            let mbuf = burst.get_mut(0).unwrap();
            assert!(mbuf.set_metadata([1, 2]));
            let bytes = mbuf.refill(3712).unwrap();
            bytes.fill(7);
            assert_eq!(bytes.as_ptr_range().end.addr() % 4096, 0, "the buffer ends with the page");
            assert!(mbuf.append(1).is_none());
        }
        // Without huge pages an ordinary pool has gaps, so the test would notice them.
        assert!(
            Mempool::new(eal(), &unique("gaps"), 8191, 2048, 0, None).unwrap().outside() > 3000
        );
    }

    #[test]
    fn a_page_that_is_too_small_is_reported() {
        let name = unique("pages");
        let new = |room| Mempool::in_pages(eal(), &name, 15, room, 0, None);
        let text = new(3713).unwrap_err().to_string();
        assert!(text.contains("3713 bytes") && text.contains("lower port.mtu"), "{text}");
        assert_eq!(new(3712).unwrap().data_room(), 3712);
    }

    #[test]
    fn no_more_than_a_burst_is_allocated() {
        let pool = pool(63);
        let mut burst = packets(&pool, 3);
        assert_eq!(pool.allocate(&mut burst, usize::MAX), 29);
        assert_eq!(pool.allocate(&mut burst, 0), 0);
        assert_eq!(burst.len(), 32);
    }

    #[test]
    fn an_impossible_pool_is_an_error_that_says_what_to_change() {
        let name = unique("refused");
        let new =
            |name: &str, mbufs, room, cache| Mempool::new(eal(), name, mbufs, room, cache, None);
        let message = |result: Result<Mempool>| result.unwrap_err().to_string();

        let kept = new(&name, 15, 128, 0).unwrap();
        let text = message(new(&name, 15, 128, 0));
        assert!(text.contains(&name) && text.contains("the name is taken"), "{text}");
        drop(kept);

        let text = message(new(&unique("refused"), 63, 2048, 60));
        assert!(text.contains("1.5 times the mbufs of its cache"), "{text}");
        let text = message(new("a name that is longer than DPDK can take", 15, 128, 0));
        assert!(text.contains("at most 25 bytes"), "{text}");
        let text = message(new("zero\0byte", 15, 128, 0));
        assert!(text.contains("zero byte"), "{text}");
        assert!(new(&unique("refused"), 15, u16::MAX, 0).is_err());
        assert!(new(&unique("refused"), 0, 128, 0).is_err());
    }
}
