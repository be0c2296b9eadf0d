//! The driver that shares the packet pool with the kernel: `net_af_xdp`.
//!
//! For each receive queue it registers the pool as one piece of memory (a umem): from the page of the first
//! mbuf on, as long as all mbufs together. The kernel drops a buffer outside that piece, or one that crosses
//! pages that are not neighbours, without a word, and the queue has a buffer less for good. So the
//! pool must be of [`Mempool::in_pages`](crate::dpdk::Mempool::in_pages).
//!
//! The driver gives every queue [`RECEIVE`] mbufs, and takes a new one for each that it delivers. It never
//! takes them back: when the device is closed, exactly so many are missing. Mbufs that were sent come back
//! with the next call to send, be it of no packets ([`crate::dpdk::device`]).
//!
//! The numbers are those of DPDK 22.11 (`drivers/net/af_xdp`) and of Linux (`XDP_PACKET_HEADROOM`).

/// The driver's name.
const DRIVER: &str = "net_af_xdp";
/// Mbufs that the kernel has for each receive queue, from its setup on.
const RECEIVE: u32 = 2048;
/// Mbufs of each queue that the kernel may have sent and the driver not seen.
const COMPLETIONS: u32 = 2048;
/// Bytes that the kernel leaves free before a frame, beside the headroom of an mbuf.
const KERNEL_HEADROOM: u16 = 256;

/// What a port whose device shares the pool with the kernel needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Umem {
    /// Mbufs of each receive queue that never come back.
    pub kept: u32,
    /// Mbufs at most that a transmit queue holds, beside those of its ring, which is as long as the
    /// receive ring.
    pub completions: u32,
    /// Bytes of the data room that frames cannot use.
    pub headroom: u16,
}

impl Umem {
    /// What a device of the driver needs; `None` if it shares nothing.
    pub(super) fn of(driver: &str) -> Option<Umem> {
        let shares = driver == DRIVER;
        shares.then_some(Umem {
            kept: RECEIVE,
            completions: COMPLETIONS,
            headroom: KERNEL_HEADROOM,
        })
    }
}
