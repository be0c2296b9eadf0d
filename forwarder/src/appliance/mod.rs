//! The appliance: devices, memory, workers, and the daemon that serves requests about them.
//!
//! [`Appliance::start`] builds all of it from a configuration, for a live run or for a replay. The
//! two differ only in the devices, in the clock and in what a full ring means. Each step has a file:
//!
//! | step | file |
//! |---|---|
//! | what the mode says about devices, CPUs and clock | `mode`, `device` |
//! | start DPDK's environment (EAL) | `environment` |
//! | find the devices, choose the number of queues | `probe`, `wiring` |
//! | make the packet pools | `buffers`, `umem`, `placement` |
//! | start the ports, connect queues, rings and workers | `ports`, `wiring` |
//! | make the ports' interfaces and that of probes, connect them with the workers | `kernel`, [`probing`](crate::probing) |
//! | put the first tables in force, with what an earlier run was told | `guideway_management::manager` |
//! | spawn the workers, wait until they are built | `workers`, `threads` |
//! | show the ports to the daemon | `view` |
//! | look at the health | `guideway_management::health` |
//! | watch links and queues | `watches`, `link`, `rss_watch` |
//! | open the interface of the virtual addresses, in a live run | [`announce`] |
//!
//! A step that fails drops what the steps before it made. [`Appliance::stop`] goes the other way
//! round, after the workers have finished their packets (`drain`).

mod buffers;
pub mod capture;
mod device;
mod drain;
mod environment;
mod error;
mod kernel;
mod link;
mod mode;
mod placement;
mod ports;
mod probe;
mod rss_watch;
mod threads;
mod umem;
mod view;
mod watches;
mod wiring;
mod workers;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::warn;

use crate::announce;
use crate::kernel::Handle;
use crate::worker::Command;
use guideway_chassis::event::{Level, Recorder};
use guideway_config::Parsed;
use guideway_core::stats::Reader;
use guideway_management::daemon::{Announcing, Daemon, Probing};
use guideway_management::health::{self, Health};
use guideway_management::manager::Manager;
use guideway_management::on_link;
use guideway_management::store::Store;

pub use device::Device;
pub use error::Error;
pub use mode::Mode;

use buffers::Pools;
use mode::Run;
use ports::RunningPort;
use threads::{Shared, WorkerThread};
use watches::Watches;
use wiring::Connections;

/// A running appliance.
pub struct Appliance {
    daemon: Arc<Daemon>,
    health: Arc<Health>,
    /// The thread that looks at the health. None in a replay.
    looking: Option<health::Handle>,
    command: Arc<Command>,
    stats: Vec<Reader>,
    threads: Vec<JoinHandle<Vec<Vec<u64>>>>,
    watches: Watches,
    /// The thread that serves the kernel, if there is anything to serve.
    kernel: Option<Handle>,
    /// The thread that keeps virtual addresses on their links.
    on_link: Option<on_link::Handle>,
    /// The thread that keeps the interface of the virtual addresses, if they are to be announced.
    announcing: Option<announce::Handle>,
    ports: Vec<RunningPort>,
    pools: Pools,
}

/// The results of an appliance that has stopped.
#[derive(Debug)]
pub struct Stopped {
    /// All counters.
    pub stats: guideway_api::Stats,
    /// Packet buffers that did not come back. Any number but 0 is a defect.
    pub leaked: u32,
    /// Packet buffers that drivers are known to keep.
    pub kept: u32,
    /// Packet buffers that a kernel may not have sent yet.
    pub unsent: u32,
    /// For each port the time stamps, in microseconds, of the packets sent. They are complete if
    /// the capture's time stamps were the clock and one worker had all the port's queues.
    pub sent: Vec<Vec<u64>>,
    /// For each port the packets that its device counted as sent.
    pub transmitted: Vec<u64>,
    /// Whether the captures of punted frames are written.
    pub punted: io::Result<()>,
}

impl Appliance {
    /// Starts an appliance. `parsed` is the configuration in `text`, the contents of `path`. It records what happens by
    /// `events`, and its daemon sets the `level` of the log.
    ///
    /// # Errors
    /// What the operator has to change.
    pub fn start(
        path: PathBuf,
        text: String,
        parsed: Parsed,
        mode: Mode,
        (events, level): (Recorder, Level),
    ) -> Result<Appliance, Error> {
        let Parsed { configuration, warnings } = parsed;
        for warning in &warnings {
            warn!("{}: {warning}", path.display());
        }
        let run = Run::of(mode, &configuration);
        let announcing = configuration.announce.as_ref().filter(|_| run.live);
        let announcing = announcing.map(|of| Arc::new(Announcing::new(of.interface.clone())));
        // Before the devices: the interface itself comes last.
        announcing.iter().try_for_each(|of| announce::check(of.interface()))?;
        let eal = environment::start(&configuration, &run)?;
        let probed = probe::probe(&eal, &configuration, &run)?;
        let pools = Pools::new(&eal, &configuration, &run, &probed)?;
        let timestamps = run.timestamps(&eal)?;

        let nodes = pools.nodes_of_workers();
        let mut connections = Connections::new(&eal, &run, timestamps, nodes);
        let ports = ports::start(&configuration, &run, probed, &pools, &mut connections)?;
        connections.connect_siblings()?;
        let interfaces = kernel::interfaces(&configuration, &run, &ports)?;
        let probing = Arc::<Probing>::default();
        let courier =
            kernel::connect(&run, &interfaces, &pools, timestamps, &probing, &mut connections)?;
        let (courier, ways) = courier.unzip();
        let (frames, devices) = ways.map(|ways| (ways.frames, ways.devices)).unzip();
        let probes = kernel::probes(&configuration, &run, devices)?;

        let facts = ports.iter().map(|port| port.facts(&run)).collect();
        let manager = if run.live {
            let store = Store::open(&configuration.control.state_directory, events.clone());
            Manager::restored(configuration, text, facts, store)?
        } else {
            Manager::new(configuration, text, facts)?
        };
        let configuration = Arc::clone(&manager.state().intent.configuration);
        placement::allow_reserved_pages(&configuration, run.live);
        let command = Arc::new(Command::default());
        let shared = Shared::of(&configuration, &run, &ports, manager.tables(), &command);
        let wiring = connections.workers;
        let spawned = workers::spawn(&eal, &run, &shared, &pools, timestamps, wiring)?;
        let (threads, workers) = workers::wait_until_built(spawned, &run);
        let stats: Vec<Reader> = workers.iter().map(|worker| worker.stats.clone()).collect();

        let kernel = kernel::start(&eal, courier)?;
        let views = ports.iter().zip(&interfaces).map(view::of).collect();
        let published = Arc::clone(manager.published());
        let log = (events.clone(), level);
        let buffers = pools.views();
        let daemon = Daemon::new(path, manager, workers, views, log);
        let mut daemon = daemon.with_buffers(buffers).with_probing(probing);
        let on_link =
            frames.and_then(|frames| kernel::follow(&mut daemon, &ports, &interfaces, frames));
        let changes = daemon.changes();
        let (watches, counters) = Watches::start(
            &run,
            &ports,
            (interfaces, probes),
            (&published, changes, &events),
            &stats,
        );
        if let Some(counters) = counters {
            daemon = daemon.with_counters(counters);
        }
        if let Some(announcing) = &announcing {
            daemon = daemon.with_announcing(Arc::clone(announcing));
        }
        let daemon = Arc::new(daemon);
        let health = Arc::new(Health::default());
        let looking = run.live.then(|| health::start(Arc::clone(&daemon), Arc::clone(&health)));
        let looking = looking.transpose()?;
        let announcing = announcing
            .map(|announcing| announce::start(Arc::clone(&daemon), announcing, stats.clone()))
            .transpose()?;
        let threads = threads.into_iter().map(WorkerThread::begin).collect();
        Ok(Appliance {
            daemon,
            health,
            looking,
            command,
            stats,
            threads,
            watches,
            kernel,
            on_link,
            announcing,
            ports,
            pools,
        })
    }

    /// The daemon that serves requests about the appliance.
    pub fn daemon(&self) -> &Arc<Daemon> {
        &self.daemon
    }

    /// What is found of the appliance's health; nothing in a replay.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Withdraws all virtual addresses. Returns how long to forward on before the stop, so that routers have time to send
    /// packets elsewhere; none if no address is announced.
    pub fn withdraw(&mut self) -> Option<Duration> {
        self.announcing.as_mut()?.withdraw();
        let published = self.daemon.published().load_full();
        published.configuration.announce.as_ref().map(|announce| announce.linger)
    }

    /// Whether the interface of the virtual addresses could not be opened.
    pub fn cannot_announce(&self) -> bool {
        self.announcing.as_ref().is_some_and(announce::Handle::has_failed)
    }

    /// Waits until no device has another packet and every packet has its verdict. Only captures
    /// come to an end.
    pub fn wait_until_finished(&self) {
        drain::until_finished(&self.stats);
    }

    /// Stops the workers, then the ports, and counts the packet buffers.
    pub fn stop(self) -> Stopped {
        let Appliance {
            daemon,
            health: _,
            looking,
            command,
            stats,
            threads,
            watches,
            kernel,
            on_link,
            announcing,
            ports,
            pools,
        } = self;
        // Before the workers, whose packets are those of the addresses.
        drop(announcing);
        drop(on_link);
        // Before the workers, which would seem to have stalled.
        drop(looking);
        command.finish();
        drain::until_drained(&stats, threads.len(), &command);
        command.stop();
        let sent = threads::join(threads, ports.len());
        // The workers have ended, so that all frames for the kernel are in its rings.
        let punted = kernel.map_or(Ok(()), Handle::stop);
        watches.stop();
        let counters = ports.iter().map(|port| port.device.counters());
        let transmitted = counters.map(|counters| counters.tx_packets).collect();
        drop(ports);
        let stats = daemon.stats();
        let (kept, unsent, leaked) = pools.account();
        Stopped { stats, leaked, kept, unsent, sent, transmitted, punted }
    }
}
