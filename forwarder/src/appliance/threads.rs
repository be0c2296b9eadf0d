//! The threads of the workers. Each builds what it needs on its own CPU, so that its memory is of
//! that CPU's NUMA node. Then it reports, and waits until it may begin.

use std::ptr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::dpdk::{Eal, Mempool, Result, lcore};
use crate::worker::{Clock, Command, Exceptions, FlowListing, Idle, Worker};
use guideway_config::{self as config, Configuration};
use guideway_core::balancer::hash::LocalSeed;
use guideway_core::balancer::{Balancer, Tables, fragment};
use guideway_core::stats::{self, Reader};
use guideway_management::ids::{BACKEND_IDS, SERVICE_IDS};

use super::mode::Run;
use super::placement::MemoryPlacement;
use super::ports::RunningPort;
use super::wiring::Wiring;

/// What all workers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) workers: u16,
    /// The owner of a flow by its hash is the worker that has it.
    pub(super) owners_known: bool,
    pub(super) seed: LocalSeed,
    pub(super) flow_entries: usize,
    pub(super) fragments: fragment::Capacity,
    /// What workers do while no packet comes. `None` in a replay, whose workers have no CPU of
    /// their own and lose nothing.
    pub(super) idle: Option<config::Idle>,
    pub(super) tables: Arc<ArcSwap<Tables>>,
    pub(super) command: Arc<Command>,
}

impl Shared {
    /// What all workers of a run share.
    pub(super) fn of(
        configuration: &Configuration,
        run: &Run,
        ports: &[RunningPort],
        tables: &Arc<ArcSwap<Tables>>,
        command: &Arc<Command>,
    ) -> Shared {
        let spreads_flows = |port: &RunningPort| port.queues.spreads_flows(run.workers);
        let fragments = &configuration.fragments;
        Shared {
            workers: run.workers,
            owners_known: !ports.iter().any(spreads_flows),
            seed: if run.live { LocalSeed::random() } else { LocalSeed::new(0) },
            flow_entries: configuration.flow.entries,
            fragments: fragment::Capacity {
                datagrams: fragments.contexts,
                packets: fragments.packets,
                bytes: fragments.bytes,
                packets_per_datagram: fragment::PACKETS_PER_DATAGRAM,
                timeout_ms: u64::try_from(fragments.timeout.as_millis()).unwrap_or(u64::MAX),
            },
            idle: run.live.then_some(configuration.dpdk.idle),
            tables: tables.clone(),
            command: command.clone(),
        }
    }
}

/// What one worker gets.
pub(super) struct Setup {
    pub(super) index: u16,
    pub(super) cpu: Option<u16>,
    pub(super) wiring: Wiring,
    pub(super) clock: Clock,
    pub(super) pool: Mempool,
    pub(super) listings: Receiver<FlowListing>,
}

/// A worker's thread that has built, or is building, what it needs.
pub(super) struct WorkerThread {
    thread: JoinHandle<Vec<Vec<u64>>>,
    ready: Receiver<Ready>,
    /// Makes the worker begin. If this is dropped, the thread ends.
    start: Sender<()>,
}

/// What a worker has built.
pub(super) struct Ready {
    pub(super) stats: Reader,
    /// The number of entries of the flow table.
    pub(super) capacity: u64,
    /// Where the flow table lies.
    pub(super) placement: MemoryPlacement,
    /// Why it does not wait for interrupts, if it was configured to.
    pub(super) compromise: Option<String>,
}

impl WorkerThread {
    /// Spawns the thread of a worker.
    pub(super) fn spawn(eal: &Eal, shared: Shared, setup: Setup) -> Result<WorkerThread> {
        let (report, ready) = bounded(1);
        let (start, started) = bounded::<()>(1);
        let (name, cpu) = (format!("worker{}", setup.index), setup.cpu);
        let work = move || {
            let _guard = AbortOnPanic;
            let (worker, built) = build(shared, setup);
            // If start-up was abandoned, the receiver is gone and no start follows.
            let _ = report.send(built);
            if started.recv().is_ok() { worker.run() } else { Vec::new() }
        };
        let thread = lcore::spawn(eal, &name, cpu, work)?;
        Ok(WorkerThread { thread, ready, start })
    }

    /// Waits until the worker has built what it needs. There is always a report: a worker that
    /// panics before it ends the process.
    pub(super) fn ready(&self) -> Option<Ready> {
        self.ready.recv().ok()
    }

    /// Makes the worker begin.
    pub(super) fn begin(self) -> JoinHandle<Vec<Vec<u64>>> {
        // The thread waits only for this message, so it is received.
        let _ = self.start.send(());
        self.thread
    }

    /// Ends the thread before the worker begins.
    pub(super) fn abandon(self) {
        drop(self.start);
        let _ = self.thread.join();
    }
}

/// Waits until all workers have stopped. Returns the time stamps of the packets that they sent, by
/// port.
///
/// # Panics
/// A worker panicked.
pub(super) fn join(threads: Vec<JoinHandle<Vec<Vec<u64>>>>, ports: usize) -> Vec<Vec<u64>> {
    let mut sent = vec![Vec::new(); ports];
    for thread in threads {
        match thread.join() {
            Ok(times) => {
                for (all, times) in sent.iter_mut().zip(times) {
                    all.extend(times);
                }
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    sent
}

/// Builds a worker and its report, on the worker's own thread.
fn build(shared: Shared, setup: Setup) -> (Worker, Ready) {
    let Shared { workers, owners_known, seed, flow_entries, fragments, idle, tables, command } =
        shared;
    let Setup { index, wiring, clock, pool, listings, .. } = setup;
    let (writer, stats) = stats::channel(SERVICE_IDS as usize, BACKEND_IDS as usize);
    let balancer = Balancer::new(flow_entries, seed);
    let flows = balancer.flows();
    let capacity = flows.capacity() as u64;
    let placement = MemoryPlacement::of(ptr::from_ref(flows.bucket(0)).addr());
    let exceptions = Exceptions::new(index, workers, owners_known, fragments, seed, pool);
    let lossless = idle.is_none();
    let (idle, compromise) = idle_mode(idle, &wiring);
    let worker = Worker {
        idle,
        balancer,
        tables,
        stats: writer,
        clock,
        inputs: wiring.inputs,
        relays: wiring.relays,
        outputs: wiring.outputs,
        siblings: wiring.siblings,
        kernel: wiring.kernel,
        exceptions,
        listings,
        command,
        lossless,
    };
    (worker, Ready { stats, capacity, placement, compromise })
}

/// Chooses what a worker does while no packet comes, and explains a choice that differs from the
/// configuration. A replay has no setting: its workers have no CPU of their own. The worker's
/// thread must call this.
fn idle_mode(setting: Option<config::Idle>, wiring: &Wiring) -> (Idle, Option<String>) {
    match setting {
        None => (Idle::share(), None),
        Some(config::Idle::Poll) => (Idle::poll(), None),
        Some(config::Idle::Pause) => (Idle::pause(), None),
        Some(config::Idle::Interrupt) => {
            let doorbell = wiring.kernel.doorbell.clone();
            match Idle::interrupt(&wiring.inputs, &wiring.relays, doorbell) {
                Ok(idle) => (idle, None),
                Err(reason) => (Idle::pause(), Some(reason)),
            }
        }
    }
}

/// Ends the process if its thread panics. An appliance without one of its workers would drop that
/// worker's flows for good. If the process ends, the other forwarders take over its flows.
struct AbortOnPanic;

/// How long a worker that panicked waits for the log's thread to write the last line.
const LOG_TIMEOUT: Duration = Duration::from_millis(100);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a worker panicked; the appliance ends");
            // The log's thread waits for nothing that a worker holds.
            std::thread::sleep(LOG_TIMEOUT);
            std::process::abort();
        }
    }
}
