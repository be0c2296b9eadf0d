//! The receive and transmit queues of a port. Each belongs to one thread, and takes no lock.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use dpdk_sys as sys;

use super::burst::Burst;
use super::device::Device;

/// The number of packets that a receive queue delivered. One thread writes it, others read it.
#[derive(Clone, Debug, Default)]
pub(super) struct Received(Arc<CachePadded<AtomicU64>>);

impl Received {
    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    fn add(&self, packets: usize) {
        // There is one writer, so a load and a store are an addition.
        self.0.store(self.read() + packets as u64, Ordering::Relaxed);
    }
}

/// A receive queue of a started port.
#[derive(Debug)]
pub struct RxQueue {
    port: u16,
    queue: u16,
    received: Received,
    /// The port runs for as long as it has queues.
    _device: Arc<Device>,
    _not_sync: PhantomData<Cell<()>>,
}

impl RxQueue {
    /// Only a started port calls this, once for each of its queues.
    pub(super) fn new(device: &Arc<Device>, queue: u16) -> Self {
        Self {
            port: device.id(),
            queue,
            received: Received::default(),
            _device: Arc::clone(device),
            _not_sync: PhantomData,
        }
    }

    /// The count of packets that this queue delivers.
    pub(super) fn received(&self) -> Received {
        self.received.clone()
    }

    /// Fills `burst` with waiting packets, and returns how many. Packets that were in it are freed.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        burst.clear();
        let poll = |slots, room| {
            // SAFETY: the port is started and the queue set up while `_device` lives. This value
            // alone has the queue: it is neither `Sync` nor `Clone`, and borrowed mutably. `room`
            // slots are free.
            unsafe { sys::guideway_rx_burst(self.port, self.queue, slots, room) }
        };
        // SAFETY: the caller owns the mbufs that a device delivers.
        let received = unsafe { burst.append_with(poll) };
        if received > 0 {
            self.received.add(received);
        }
        received
    }

    /// The index among the port's receive queues.
    pub fn index(&self) -> u16 {
        self.queue
    }

    /// The device, which runs for as long as it is held.
    pub(super) fn device(&self) -> &Arc<Device> {
        &self._device
    }
}

/// A transmit queue of a started port.
#[derive(Debug)]
pub struct TxQueue {
    port: u16,
    queue: u16,
    /// The only pool whose packets may be sent, where the device returns all mbufs to one pool
    /// without looking ([`super::port::Settings::fast_free`]). Null where there is no such limit.
    only: *const sys::rte_mempool,
    /// The port runs for as long as it has queues.
    _device: Arc<Device>,
    _not_sync: PhantomData<Cell<()>>,
}

// SAFETY: `only` is compared, never followed; the rest is `Send`.
unsafe impl Send for TxQueue {}

impl TxQueue {
    /// Only a started port calls this, once for each of its queues.
    pub(super) fn new(device: &Arc<Device>, queue: u16, only: *const sys::rte_mempool) -> Self {
        let port = device.id();
        Self { port, queue, only, _device: Arc::clone(device), _not_sync: PhantomData }
    }

    /// Sends packets from the front of `burst`, as many as the device takes, and returns how many.
    /// The others move up, to be sent again or dropped with the burst.
    ///
    /// Where the port was configured with `fast_free`, packets of another pool than the port's are
    /// not taken.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst) -> usize {
        let sendable = self.sendable(burst);
        let transmit = |slots, count: u16| {
            // SAFETY: the port is started and the queue set up while `_device` lives. This value
            // alone has the queue: it is neither `Sync` nor `Clone`, and borrowed mutably. There
            // are that many mbufs, all of the pool to which the device returns them.
            unsafe { sys::guideway_tx_burst(self.port, self.queue, slots, count.min(sendable)) }
        };
        // SAFETY: a device owns the mbufs that it takes, from the first on, and leaves the others.
        unsafe { burst.take_front_with(transmit) }
    }

    /// The index among the port's transmit queues.
    pub fn index(&self) -> u16 {
        self.queue
    }

    /// The number of packets before the first that the device would return to a wrong pool.
    #[inline]
    fn sendable(&self, burst: &Burst) -> u16 {
        if self.only.is_null() {
            return u16::MAX;
        }
        let own = burst.iter().take_while(|mbuf| std::ptr::eq(mbuf.pool(), self.only));
        own.fold(0, |count, _| count + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::testing::{device, marks, packets, pool, settings};

    #[test]
    fn a_full_device_leaves_the_rest_in_the_burst() {
        let pool = pool(1100);
        let (port, _) = device("net_ring", "").configure(&settings(), &pool).unwrap();
        let (port, mut rx, mut tx) = port.start().unwrap();
        // A ring device holds 1023.
        for _ in 0..31 {
            assert_eq!(tx[0].send(&mut packets(&pool, 32)), 32);
        }
        let mut burst = packets(&pool, 31);
        assert_eq!((tx[0].send(&mut burst), burst.len()), (31, 0));
        let mut burst = packets(&pool, 3);
        assert_eq!((tx[0].send(&mut burst), marks(&burst)), (0, vec![0, 1, 2]));

        let mut received = Burst::new();
        assert_eq!(rx[0].receive(&mut received), 32);
        assert_eq!(marks(&received)[31], 31);
        assert_eq!((tx[0].send(&mut burst), tx[0].send(&mut burst)), (3, 0));
        drop((received, rx, tx));
        assert_eq!(pool.in_use(), 994, "the device runs until its port is gone too");
        drop(port);
        assert_eq!(pool.in_use(), 0, "closing returned what was in the device");
    }

    #[test]
    fn a_packet_of_another_pool_is_not_sent_with_fast_free() {
        let (own, other) = (pool(63), pool(63));
        let (port, _) = device("net_ring", "").configure(&settings(), &own).unwrap();
        let (_port, _rx, mut tx) = port.start().unwrap();
        // Imitates a device that frees without looking, which no virtual device offers.
        tx[0].only = own.raw();
        let mut burst = packets(&own, 2);
        assert_eq!(other.allocate(&mut burst, 1), 1);
        assert_eq!(own.allocate(&mut burst, 1), 1);
        assert_eq!(tx[0].send(&mut burst), 2);
        assert_eq!((tx[0].send(&mut burst), burst.len()), (0, 2));
    }

    #[test]
    fn a_receive_frees_what_was_in_the_burst() {
        let pool = pool(255);
        let (port, _) = device("net_null", ",size=60").configure(&settings(), &pool).unwrap();
        let (_port, mut rx, mut tx) = port.start().unwrap();
        let mut burst = packets(&pool, 9);
        for _ in 0..20 {
            assert_eq!(rx[0].receive(&mut burst), 32);
            assert_eq!((burst.get(31).unwrap().bytes().len(), pool.in_use()), (60, 32));
        }
        assert_eq!(tx[0].send(&mut burst), 32);
        assert_eq!(pool.in_use(), 0, "the null device frees what it is sent");
    }

    #[test]
    fn nothing_is_received_from_a_pool_that_is_dry() {
        let pool = pool(40);
        let (port, _) = device("net_null", "").configure(&settings(), &pool).unwrap();
        let (_port, mut rx, _tx) = port.start().unwrap();
        let held = packets(&pool, 20);
        let mut burst = Burst::new();
        assert_eq!(rx[0].receive(&mut burst), 0);
        drop(held);
        assert_eq!(rx[0].receive(&mut burst), 32);
    }
}
