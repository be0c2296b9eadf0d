//! What listings show: the workers, the ports, and the configuration in force.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use arc_swap::ArcSwap;
use guideway_api as api;

use super::announcing::Announcing;
use super::probing::Probing;
use crate::kernel::View;
use crate::manager::{Published, Tally, Timings};
use crate::progress::Progress;
use guideway_core::balancer::scan::FlowScan;
use guideway_core::stats::Reader;

/// A worker, as the control plane sees it.
pub struct Worker {
    /// Its counters.
    pub stats: Reader,
    /// The CPU that it is pinned to.
    pub cpu: Option<u16>,
    /// The queues that it polls.
    pub queues: Vec<api::RxQueue>,
    /// Entries of its flow table.
    pub flow_capacity: u64,
    /// Ticks of the CPU's counter in a second.
    pub tick_hz: u64,
    /// Has the worker carry out a flow scan; `None` if it does not reply in time.
    pub scan: Box<dyn Fn(FlowScan) -> Option<FlowScan> + Send + Sync>,
}

/// A port, as the control plane sees it.
pub struct Port {
    /// The DPDK driver.
    pub driver: String,
    /// The device's own MAC address.
    pub device_mac: [u8; 6],
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// How packets reach their worker. It may change while the port runs.
    pub steering: Box<dyn Fn() -> api::Steering + Send + Sync>,
    /// Asks the device for its state.
    pub probe: Box<dyn Fn() -> PortState + Send + Sync>,
    /// Asks whether the port can send and receive, which disturbs no device.
    pub is_up: Box<dyn Fn() -> bool + Send + Sync>,
    /// Asks the device for all its counters.
    pub extended: Box<dyn Fn() -> BTreeMap<String, u64> + Send + Sync>,
    /// The functions that the driver chose for receiving and sending; none if the driver does not report them.
    pub functions: [Option<String>; 2],
    /// The kernel's device of the port, if it has one.
    pub interface: Option<Interface>,
}

/// The kernel's device of a port.
pub struct Interface {
    /// The name that it was made with.
    pub name: String,
    /// The kernel's index.
    pub index: u32,
    /// Asks for its state.
    pub probe: Box<dyn Fn() -> InterfaceState + Send + Sync>,
}

/// The state of a port's interface, asked for by each listing.
#[derive(Clone, Copy, Debug, Default)]
pub struct InterfaceState {
    /// Whether somebody removed it.
    pub is_removed: bool,
    /// What passed.
    pub counters: InterfaceCounters,
}

/// What passed between a port and its interface, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Frames that the interface took.
    pub to_kernel_packets: u64,
    /// Their bytes.
    pub to_kernel_bytes: u64,
    /// Frames that it did not take, because it was set down or removed, or because they lie in several buffers.
    pub to_kernel_refused: u64,
    /// Frames that were dropped because a worker's queue to the kernel was full.
    pub to_kernel_queue_full: u64,
    /// Frames that the kernel sent and a worker was given.
    pub from_kernel_packets: u64,
    /// Their bytes.
    pub from_kernel_bytes: u64,
    /// Frames that the kernel sent and the port did not: no buffer, no room, longer than the port's MTU.
    pub from_kernel_dropped: u64,
}

/// A pool of packet buffers, as the control plane sees it.
pub struct Buffers {
    /// The pool's name.
    pub name: String,
    /// The buffers of the pool, free or not.
    pub total: u32,
    /// Asks how many are free.
    pub probe: Box<dyn Fn() -> u32 + Send + Sync>,
}

/// The state of a port, asked for by each listing. The default is that of a closed port.
#[derive(Default)]
pub struct PortState {
    /// The link.
    pub link: api::Link,
    /// Seconds since the link changed.
    pub link_seconds: u64,
    /// The device's counters.
    pub counters: api::PortCounters,
}

/// Everything that listings show.
pub(crate) struct Overview {
    pub(crate) started: Instant,
    pub(crate) path: PathBuf,
    pub(crate) workers: Vec<Worker>,
    pub(crate) ports: Vec<Port>,
    pub(crate) buffers: Vec<Buffers>,
    /// What was published last. A listing loads it once, and shows what belongs together.
    pub(crate) published: Arc<ArcSwap<Published>>,
    /// What the kernel says; empty if nothing follows it.
    pub(crate) view: Arc<ArcSwap<View>>,
    /// How often the manager began again.
    pub(crate) restarts: Arc<AtomicU64>,
    /// Whether what is set at run time is stored.
    pub(crate) is_stored: Arc<AtomicBool>,
    /// How long the manager's work takes.
    pub(crate) timings: Timings,
    /// The interface of the virtual addresses; none without `[announce]`.
    pub(crate) announcing: Option<Arc<Announcing>>,
    /// What becomes of the packets of the node's probes.
    pub(crate) probing: Arc<Probing>,
}

impl Overview {
    pub(crate) fn progress(&self) -> Progress {
        Progress::of(self.workers.iter().map(|worker| &worker.stats))
    }

    /// What was forwarded for services, backends and pools.
    pub(crate) fn tally(&self) -> Tally {
        Tally::read(&self.published, self.workers.iter().map(|worker| &worker.stats))
    }
}
