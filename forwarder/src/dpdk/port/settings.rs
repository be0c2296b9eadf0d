//! How a port is to be set up, and what its device offers.

use super::driver::Facts;
use super::umem::Umem;

/// How a port is to be set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Receive queues. Each needs a thread that polls it.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// The packets that a receive queue should hold. The device has limits.
    pub rx_descriptors: u16,
    /// The packets that a transmit queue should hold. The device has limits.
    pub tx_descriptors: u16,
    /// The largest IP packet.
    pub mtu: u16,
    /// The port's address, if it is not the device's own.
    pub mac: Option<[u8; 6]>,
    /// Spread flows over the receive queues.
    pub rss: bool,
    /// Ask for one more receive queue, for ARP and routing sessions alone.
    pub control_queue: bool,
    /// Make [`crate::dpdk::interrupt::RxInterrupts`] possible on receive queues, if the device can.
    pub interrupts: bool,
    /// Every packet sent through the port is of the pool given to [`super::Port::configure`], so
    /// that the device may return mbufs without looking at them. Packets of other pools are then
    /// not taken.
    pub fast_free: bool,
}

/// What a device offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The driver's name, such as `net_af_packet`.
    pub driver: String,
    /// The most receive queues.
    pub max_rx_queues: u16,
    /// The most transmit queues.
    pub max_tx_queues: u16,
    /// What the driver does with numbers of queues and sizes of buffers.
    pub facts: Facts,
    /// It can spread flows over receive queues by a hash function that Guideway uses.
    pub rss: bool,
    /// The device's own address.
    pub mac: [u8; 6],
    /// The device's NUMA node, if known.
    pub socket: Option<u32>,
    /// The index of the kernel interface behind it, if there is one.
    pub interface: Option<u32>,
    /// The largest MTU that the device accepts.
    pub max_mtu: u16,
    /// What the device needs of the pool, if it shares the pool with the kernel.
    pub umem: Option<Umem>,
}
