//! The appliance: devices, memory, workers, and the daemon that serves requests about them.
//!
//! [`Appliance::start`] builds all of it from a configuration, for a live run or for a replay. The
//! two differ only in the devices, in the clock and in what a full ring means.

mod buffers;
pub mod capture;
mod device;
mod drain;
mod environment;
mod error;
mod link;
mod mode;
mod placement;
mod rss_watch;
mod threads;
mod umem;
mod wiring;

use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::bounded;
use guideway_api::{PortCounters, Steering};
use tracing::{info, warn};

use crate::dpdk::clock::tsc_hz;
use crate::dpdk::port::{Port, Settings, Started};
use crate::dpdk::{Eal, Mempool, TimestampField, memory};
use crate::worker::{Clock, Command, FlowListing};
use guideway_config as config;
use guideway_config::{Configuration, Parsed};
use guideway_core::balancer::fragment;
use guideway_core::balancer::hash::LocalSeed;
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::scan::FlowScan;
use guideway_core::stats::Reader;
use guideway_management::daemon::{self, Daemon};
use guideway_management::publication::{PortFacts, Publisher};

pub use device::Device;
pub use error::Error;
pub use mode::Mode;

use link::{Watch, Watched};
use rss_watch::RssWatch;
use threads::{Ready, Setup, Shared, WorkerThread};
use umem::UmemBuffers;
use wiring::{Opened, Queues, Wiring, WiringOptions};

/// How long a worker may take to list flows.
const FLOW_LIST_TIMEOUT: Duration = Duration::from_secs(5);

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
}

/// A running appliance.
pub struct Appliance {
    daemon: Arc<Daemon>,
    command: Arc<Command>,
    stats: Vec<Reader>,
    threads: Vec<JoinHandle<Vec<Vec<u64>>>>,
    watch: Option<Watch>,
    rss_watch: Option<RssWatch>,
    ports: Vec<Arc<Port<Started>>>,
    pools: Vec<Mempool>,
    umem_buffers: UmemBuffers,
}

impl Appliance {
    /// Starts an appliance. `parsed` is the configuration in `text`, the contents of `path`.
    ///
    /// # Errors
    /// What the operator has to change.
    pub fn start(
        path: PathBuf,
        text: String,
        parsed: Parsed,
        mode: Mode,
    ) -> Result<Appliance, Error> {
        let Parsed { configuration, warnings } = parsed;
        for warning in &warnings {
            warn!("{}: {warning}", path.display());
        }
        let (workers, devices, live) = match &mode {
            Mode::Live => {
                let devices = configuration.ports.iter().map(Device::of);
                #[expect(clippy::cast_possible_truncation, reason = "CPU numbers are 16 bits")]
                let workers = configuration.dpdk.workers.len() as u16;
                (workers, devices.collect(), true)
            }
            Mode::Replay { workers, devices, .. } => (*workers, devices.clone(), false),
        };
        if live {
            environment::leave_to_workers(&configuration.dpdk.workers);
        }
        let eal = Eal::init("guideway", &environment::arguments(&configuration, &devices, live))?;
        eal.remove_stale_directories(environment::FILE_PREFIX);
        info!(
            "{}, workers: {workers}, built for {}",
            eal.dpdk_version(),
            guideway_baseline::NEEDED_CPU
        );

        let mut probed = Vec::with_capacity(devices.len());
        for (port, device) in configuration.ports.iter().zip(&devices) {
            let at_port = |error| Error::Port { port: port.name.clone(), error };
            let handle = eal.port_by_name(device.name()).map_err(at_port)?;
            let can = handle.capabilities().map_err(at_port)?;
            let queues = Queues::of(port.steering, &can, workers);
            info!("port \"{}\": driver {}, {}", port.name, can.driver, queues.words());
            probed.push((handle, can, queues));
        }
        let spreads_flows = probed.iter().any(|(_, _, queues)| queues.spreads_flows(workers));
        let cpus: Vec<Option<u16>> = (0..usize::from(workers))
            .map(|w| live.then(|| configuration.dpdk.workers[w]))
            .collect();
        let nodes: Vec<Option<u32>> = cpus
            .iter()
            .map(|cpu| placement::node_of(Path::new(placement::CPUS), (*cpu)?))
            .collect();
        let devices: Vec<Option<u32>> = probed.iter().map(|(_, can, _)| can.socket).collect();
        let mut placed = placement::MempoolPlacement::new(
            &devices,
            &nodes,
            live && configuration.dpdk.hugepages,
        );
        let needs = configuration.ports.iter().zip(&probed);
        let umem_buffers = UmemBuffers::of(
            needs.map(|(port, (_, can, queues))| (can.umem, queues, port.rx_descriptors)),
        );
        let (buffers, data_room) = buffers::needed(
            &configuration,
            probed.iter().map(|(_, can, q)| (can.facts, q)),
            workers,
            &umem_buffers,
        );
        let pools = placed
            .nodes
            .iter_mut()
            .map(|node| buffers::pool(&eal, buffers, data_room, umem_buffers.any, node))
            .collect::<Result<Vec<_>, _>>()?;

        let timestamps = match mode {
            Mode::Replay { capture_clock: true, .. } => {
                Some(TimestampField::lookup(&eal).ok_or(Error::NoTimestamps)?)
            }
            _ => None,
        };
        let rings = placed.of_worker.iter().map(|&pool| placed.nodes[pool]).collect();
        let options = WiringOptions { lossless: !live, record_sent: timestamps, nodes: rings };
        let mut wiring: Vec<Wiring> = (0..workers).map(|_| Wiring::default()).collect();
        let mut ports = Vec::with_capacity(probed.len());
        let mut port_views = Vec::with_capacity(probed.len());
        let mut facts = Vec::with_capacity(probed.len());
        let mut watched_links = Vec::with_capacity(probed.len());
        let mut watched_queues = Vec::with_capacity(probed.len());
        for (index, ((handle, can, queues), port)) in
            (0..).zip(probed.into_iter().zip(&configuration.ports))
        {
            let at_port = |error| Error::Port { port: port.name.clone(), error };
            let settings = Settings {
                rx_queues: queues.receive,
                tx_queues: queues.transmit,
                rx_descriptors: port.rx_descriptors,
                tx_descriptors: port.tx_descriptors,
                mtu: port.mtu,
                mac: port.mac,
                rss: queues.receive > 1,
                interrupts: live && configuration.dpdk.idle == config::Idle::Interrupt,
                // With one pool for all ports, every packet sent is of that pool.
                fast_free: pools.len() == 1,
            };
            let pool = &pools[placed.of_port[usize::from(index)]];
            let (stopped, notes) = handle.configure(&settings, pool).map_err(at_port)?;
            for note in notes.iter().filter(|_| live) {
                info!("port \"{}\": {note}", port.name);
            }
            let (started, rx, tx) = stopped.start().map_err(at_port)?;
            for note in started.notes().iter().filter(|_| live) {
                info!("port \"{}\": {note}", port.name);
            }
            let index = PortIndex(index);
            let opened = Opened { rx, tx, divides: queues.divides };
            let pollers = wiring::connect(&eal, index, &port.name, opened, &options, &mut wiring)?;
            for &worker in &pollers {
                let cpu = cpus[worker].unwrap_or_default();
                let warning =
                    placement::distance(&port.name, can.socket, worker, cpu, nodes[worker]);
                warning.into_iter().for_each(|warning| warn!("{warning}"));
            }
            let started = Arc::new(started);
            facts.push(PortFacts { device_mac: can.mac, filter: live });
            let interface = link::Interface::default();
            watched_links.push(Watched {
                name: port.name.clone(),
                port: Arc::downgrade(&started),
                changes: started.link_changes().and_then(|fd| fd.try_clone_to_owned().ok()),
                index: can.interface,
                interface: interface.clone(),
            });
            let crowded_queue = rss_watch::CrowdedQueue::default();
            watched_queues.push(rss_watch::WatchedPort {
                name: port.name.clone(),
                port: Arc::downgrade(&started),
                polling: rss_watch::Polling { pollers, divides: queues.divides },
                crowded_queue: crowded_queue.clone(),
            });
            port_views.push(port_view(
                &started,
                can.driver,
                can.mac,
                queues,
                interface,
                crowded_queue,
            ));
            ports.push(started);
        }

        wiring::connect_siblings(&eal, &options, &mut wiring)?;
        let owners_known = !spreads_flows;

        let (publisher, published) = Publisher::new(&configuration, facts)?;
        let command = Arc::new(Command::default());
        let seed = if live { LocalSeed::random() } else { LocalSeed::new(0) };
        if live && configuration.dpdk.hugepages && placement::transparent_pages_are_off() {
            // DPDK has taken its huge pages before this.
            memory::use_reserved();
        }
        let shared = Shared {
            workers,
            owners_known,
            seed,
            flow_entries: configuration.flow.entries,
            fragments: fragment_capacity(&configuration),
            idle: live.then_some(configuration.dpdk.idle),
            tables: publisher.shared().clone(),
            command: command.clone(),
        };
        let mut views = Vec::with_capacity(wiring.len());
        let mut spawned: Vec<WorkerThread> = Vec::with_capacity(wiring.len());
        for (index, mut wiring) in (0..).zip(wiring) {
            let (ask, listings) = bounded::<FlowListing>(4);
            let scan = move |scan: FlowScan| {
                let (reply, listed) = bounded(1);
                ask.send_timeout(FlowListing { scan, reply }, FLOW_LIST_TIMEOUT).ok()?;
                listed.recv_timeout(FLOW_LIST_TIMEOUT).ok()
            };
            views.push((mem::take(&mut wiring.queues), scan));
            let clock = match timestamps {
                Some(field) => Clock::Capture { field, latest: Default::default() },
                None => Clock::tsc(tsc_hz(&eal) / 1000),
            };
            let (cpu, pool) = (cpus[usize::from(index)], placed.of_worker[usize::from(index)]);
            let setup = Setup { index, cpu, wiring, clock, pool: pools[pool].clone(), listings };
            match WorkerThread::spawn(&eal, shared.clone(), setup) {
                Ok(thread) => spawned.push(thread),
                Err(error) => {
                    spawned.into_iter().for_each(WorkerThread::abandon);
                    return Err(error.into());
                }
            }
        }

        let mut worker_views = Vec::with_capacity(spawned.len());
        for (index, (spawned, (queues, scan))) in spawned.iter().zip(views).enumerate() {
            let Some(Ready { stats, capacity: flow_capacity, placement, compromise }) =
                spawned.ready()
            else {
                continue;
            };
            let cpu = cpus[index];
            if let Some(cpu) = cpu {
                info!("worker {index}, CPU {cpu}: flow table of {placement}");
            }
            if let Some(reason) = compromise {
                warn!(
                    "worker {index}: dpdk.idle: pauses instead of waiting for interrupts: {reason}"
                );
            }
            let scan = Box::new(scan);
            worker_views.push(daemon::Worker { stats, cpu, queues, flow_capacity, scan });
        }
        let stats: Vec<Reader> = worker_views.iter().map(|view| view.stats.clone()).collect();
        let mut daemon =
            Daemon::new(path, text, configuration, publisher, published, worker_views, port_views);
        let mut watch = None;
        if live {
            match Watch::start(watched_links) {
                Ok((started, counters)) => {
                    daemon = daemon.with_counters(counters);
                    watch = Some(started);
                }
                Err(error) => warn!("the links of the ports are not watched: {error}"),
            }
        }
        let mut rss_watch = None;
        if live {
            rss_watch = RssWatch::start(watched_queues, stats.clone()).unwrap_or_else(|error| {
                warn!("the queues of the ports are not watched: {error}");
                None
            });
        }
        let threads = spawned.into_iter().map(WorkerThread::begin).collect();
        Ok(Appliance {
            daemon: Arc::new(daemon),
            command,
            stats,
            threads,
            watch,
            rss_watch,
            ports,
            pools,
            umem_buffers,
        })
    }

    /// The daemon that serves requests about the appliance.
    pub fn daemon(&self) -> &Arc<Daemon> {
        &self.daemon
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
            command,
            stats,
            threads,
            watch,
            rss_watch,
            ports,
            pools,
            umem_buffers,
        } = self;
        command.finish();
        drain::until_drained(&stats, threads.len(), &command);
        command.stop();
        let sent = threads::join(threads, ports.len());
        if let Some(watch) = watch {
            watch.stop();
        }
        if let Some(rss_watch) = rss_watch {
            rss_watch.stop();
        }
        let transmitted = ports.iter().map(|port| port.counters().tx_packets).collect();
        drop(ports);
        let summary = daemon.stats();
        let missing = pools.iter().map(Mempool::in_use).sum();
        let (kept, unsent, leaked) = umem_buffers.account(missing);
        Stopped { stats: summary, leaked, kept, unsent, sent, transmitted }
    }
}

fn fragment_capacity(configuration: &Configuration) -> fragment::Capacity {
    let fragments = &configuration.fragments;
    fragment::Capacity {
        datagrams: fragments.contexts,
        packets: fragments.packets,
        bytes: fragments.bytes,
        packets_per_datagram: fragment::PACKETS_PER_DATAGRAM,
        timeout_ms: u64::try_from(fragments.timeout.as_millis()).unwrap_or(u64::MAX),
    }
}

/// What the daemon may ask about a port. This does not keep the port open.
fn port_view(
    port: &Arc<Port<Started>>,
    driver: String,
    device_mac: [u8; 6],
    queues: Queues,
    interface: link::Interface,
    crowded_queue: rss_watch::CrowdedQueue,
) -> daemon::Port {
    let functions = port.functions();
    let port = Arc::downgrade(port);
    let counting = port.clone();
    daemon::Port {
        driver,
        device_mac,
        rx_queues: queues.receive,
        tx_queues: queues.transmit,
        steering: Box::new(move || Steering {
            crowded_queue: crowded_queue.get(),
            ..queues.steering
        }),
        probe: Box::new(move || match port.upgrade() {
            None => daemon::PortState::default(),
            Some(port) => {
                let c = port.counters();
                let counters = PortCounters {
                    rx_packets: c.rx_packets,
                    rx_bytes: c.rx_bytes,
                    rx_missed: c.rx_missed,
                    rx_errors: c.rx_errors,
                    rx_no_buffer: c.rx_no_buffer,
                    tx_packets: c.tx_packets,
                    tx_bytes: c.tx_bytes,
                    tx_errors: c.tx_errors,
                };
                let link = interface.link(port.link());
                daemon::PortState { link, link_seconds: interface.unchanged().as_secs(), counters }
            }
        }),
        extended: Box::new(move || {
            counting.upgrade().map(|port| port.extended_counters()).unwrap_or_default()
        }),
        functions: [functions.rx, functions.tx],
    }
}
