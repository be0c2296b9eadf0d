//! What a port is to be, and what its device offers.

use super::driver::Facts;
use super::umem::Umem;

/// What a port is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Receive queues: each needs a thread that polls it.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Packets that a receive queue holds, as a wish: the device has its limits.
    pub rx_descriptors: u16,
    /// Packets that a transmit queue holds, as a wish.
    pub tx_descriptors: u16,
    /// The largest IP packet.
    pub mtu: u16,
    /// The port's address, if not the device's own.
    pub mac: Option<[u8; 6]>,
    /// Spread flows over the receive queues.
    pub rss: bool,
    /// Receive queues may be waited for by [`crate::dpdk::interrupt::RxInterrupts`], if the device can.
    pub interrupts: bool,
    /// Every packet sent through the port is of the pool given to [`super::Port::configure`], so that the
    /// device may return mbufs without looking at them. Other packets are then not taken.
    pub fast_free: bool,
}

/// What a device offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The driver's name, such as `net_af_packet`.
    pub driver: String,
    /// Receive queues that it can have.
    pub max_rx_queues: u16,
    /// Transmit queues that it can have.
    pub max_tx_queues: u16,
    /// What the driver makes of numbers of queues and sizes of buffers.
    pub facts: Facts,
    /// It can spread flows over receive queues by a hash that Guideway wants.
    pub rss: bool,
    /// Its own address.
    pub mac: [u8; 6],
    /// Its NUMA node, if known.
    pub socket: Option<u32>,
    /// The index of the kernel interface behind it, if there is one.
    pub interface: Option<u32>,
    /// The largest MTU that it takes.
    pub max_mtu: u16,
    /// What it needs of the pool, if it shares that with the kernel.
    pub umem: Option<Umem>,
}
