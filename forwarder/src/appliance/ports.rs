//! Sets the ports up, starts them, and connects their queues to the workers.

use std::sync::Arc;

use tracing::{info, warn};

use super::buffers::Pools;
use super::error::Error;
use super::link::Interface;
use super::mode::Run;
use super::placement;
use super::probe::ProbedPort;
use super::rss_watch::CrowdedQueue;
use super::wiring::{Connections, Opened, Queues};
use crate::dpdk::port::{Capabilities, Port, Settings, Started};
use crate::dpdk::{self, Mempool};
use guideway_config as config;
use guideway_config::Configuration;
use guideway_core::balancer::id::PortIndex;
use guideway_management::state::PortFacts;

/// A port that runs.
pub(super) struct RunningPort {
    pub(super) name: String,
    pub(super) device: Arc<Port<Started>>,
    pub(super) can: Capabilities,
    pub(super) queues: Queues,
    /// The worker that polls each receive queue.
    pub(super) pollers: Vec<usize>,
    /// Where the watch of links reports.
    pub(super) interface: Interface,
    /// Where the watch of queues reports.
    pub(super) crowded_queue: CrowdedQueue,
}

impl RunningPort {
    /// What tables depend on besides the configuration. A replay takes frames to any address.
    pub(super) fn facts(&self, run: &Run) -> PortFacts {
        PortFacts { device_mac: self.can.mac, filter: run.live }
    }
}

/// Starts all ports, in the order of the configuration.
pub(super) fn start(
    configuration: &Configuration,
    run: &Run,
    probed: Vec<ProbedPort>,
    pools: &Pools,
    connections: &mut Connections,
) -> Result<Vec<RunningPort>, Error> {
    let interrupts = run.live && configuration.dpdk.idle == config::Idle::Interrupt;
    let mut ports = Vec::with_capacity(probed.len());
    for (index, (probed, port)) in (0..).zip(probed.into_iter().zip(&configuration.ports)) {
        let settings = Settings {
            rx_queues: probed.queues.receive,
            tx_queues: probed.queues.transmit,
            rx_descriptors: port.rx_descriptors,
            tx_descriptors: port.tx_descriptors,
            mtu: port.mtu,
            mac: port.mac,
            rss: probed.queues.receive > 1,
            control_queue: probed.queues.control,
            interrupts,
            // With one pool for all ports, every packet sent is of that pool.
            fast_free: pools.is_one(),
        };
        let index = PortIndex(index);
        let (mut port, opened) =
            open(&port.name, probed, &settings, pools.of_port(index), run.live)
                .map_err(Error::at(&port.name))?;
        port.pollers = connections.connect(index, &port.name, opened)?;
        warn_of_distance(&port, run);
        ports.push(port);
    }
    Ok(ports)
}

/// Sets a device up and starts it. Returns it and its queues, which no worker polls yet. `log`
/// tells what the device cannot do.
fn open(
    name: &str,
    probed: ProbedPort,
    settings: &Settings,
    pool: &Mempool,
    log: bool,
) -> Result<(RunningPort, Opened), dpdk::Error> {
    let report = |notes: &[String]| {
        for note in notes.iter().filter(|_| log) {
            info!("port \"{name}\": {note}");
        }
    };
    let ProbedPort { device, can, queues } = probed;
    let (stopped, notes) = device.configure(settings, pool)?;
    report(&notes);
    let (started, rx, tx) = stopped.start()?;
    report(started.notes());
    let has_control_queue = started.has_control_queue();
    let pool = pool.clone();
    let opened = Opened { rx, tx, pool, has_control_queue, divides: queues.divides };
    let port = RunningPort {
        name: name.to_owned(),
        device: Arc::new(started),
        can,
        queues,
        pollers: Vec::new(),
        interface: Interface::default(),
        crowded_queue: CrowdedQueue::default(),
    };
    Ok((port, opened))
}

/// Warns about workers that poll the port from another NUMA node.
fn warn_of_distance(port: &RunningPort, run: &Run) {
    for &worker in &port.pollers {
        let cpu = run.cpus[worker];
        let warning =
            cpu.and_then(|cpu| placement::distance(&port.name, port.can.socket, worker, cpu));
        warning.into_iter().for_each(|warning| warn!("{warning}"));
    }
}
