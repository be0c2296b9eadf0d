//! The driver that shares the packet pool with the kernel: `net_af_xdp`.
//!
//! For each receive queue the driver registers the pool as one piece of memory (a umem), from the
//! page of the first mbuf on, as long as all mbufs together. The kernel silently drops a buffer
//! outside that piece, or one that crosses pages that are not neighbours, and the queue has one
//! buffer less for good. So the pool must come from
//! [`Mempool::in_pages`](crate::dpdk::Mempool::in_pages).
//!
//! The driver gives every receive queue [`RECEIVE`] mbufs, and takes a new one for each that it
//! delivers. It never returns them: exactly that many are missing after the device is closed. Sent
//! mbufs come back with the next call to send, even if it sends no packet
//! ([`crate::dpdk::device`]).
//!
//! The numbers are those of DPDK 22.11 (`drivers/net/af_xdp`) and of Linux (`XDP_PACKET_HEADROOM`).

/// The driver's name.
const DRIVER: &str = "net_af_xdp";
/// Mbufs that the kernel gets for each receive queue.
const RECEIVE: u32 = 2048;
/// Mbufs of each queue that the kernel may have sent without the driver noticing.
const COMPLETIONS: u32 = 2048;
/// Bytes that the kernel leaves free before a frame, beside an mbuf's headroom.
const KERNEL_HEADROOM: u16 = 256;

/// What a port needs of the pool, if its device shares the pool with the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Umem {
    /// Mbufs of each receive queue that never come back.
    pub kept: u32,
    /// The most mbufs that a transmit queue holds, beside those of its ring, which is as long as
    /// the receive ring.
    pub completions: u32,
    /// Bytes of the data room that frames cannot use.
    pub headroom: u16,
}

impl Umem {
    /// What a device of `driver` needs. `None` if the driver shares nothing.
    pub(super) fn of(driver: &str) -> Option<Umem> {
        let shares = driver == DRIVER;
        shares.then_some(Umem {
            kept: RECEIVE,
            completions: COMPLETIONS,
            headroom: KERNEL_HEADROOM,
        })
    }
}
