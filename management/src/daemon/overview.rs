//! What listings show: the workers, the ports, and the configuration in force.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Instant;

use guideway_api as api;
use parking_lot::Mutex;

use crate::progress::Progress;
use crate::publication::Published;
use guideway_config::Configuration;
use guideway_core::balancer::scan::FlowScan;
use guideway_core::stats::{Gauge, Reader, Traffic};

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
    /// Asks the device for all its counters.
    pub extended: Box<dyn Fn() -> BTreeMap<String, u64> + Send + Sync>,
    /// The functions that the driver chose for receiving and sending; none if the driver does not report them.
    pub functions: [Option<String>; 2],
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

/// What is in force.
pub(super) struct Running {
    pub(super) configuration: Configuration,
    pub(super) text: String,
    pub(super) published: Published,
    /// The counters of each service's id at the time when the service got the id.
    pub(super) service_base: HashMap<u32, Traffic>,
    /// The counters of each backend's id at the time when the backend got the id.
    pub(super) backend_base: HashMap<u32, Traffic>,
}

/// Everything that listings show.
pub(super) struct Overview {
    pub(super) started: Instant,
    pub(super) path: PathBuf,
    pub(super) workers: Vec<Worker>,
    pub(super) ports: Vec<Port>,
    /// Locked only while a listing copies from it, so that no listing waits for another request.
    pub(super) running: Mutex<Running>,
}

impl Overview {
    pub(super) fn progress(&self) -> Progress {
        let least = |gauge| self.workers.iter().map(|w| w.stats.gauge(gauge)).min().unwrap_or(0);
        Progress { generation: least(Gauge::Generation), swept: least(Gauge::SweptGeneration) }
    }

    pub(super) fn sum(&self, of: impl Fn(&Reader) -> Traffic) -> Traffic {
        self.workers.iter().map(|w| of(&w.stats)).fold(Traffic::default(), |a, b| a + b)
    }
}
