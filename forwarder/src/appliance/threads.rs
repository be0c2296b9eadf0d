//! The workers' threads: each builds what it needs on its own CPU, so that its memory is of that CPU's NUMA
//! node, reports, and works when it is told to begin.

use std::ptr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::balancer::hash::LocalSeed;
use crate::balancer::{Balancer, Tables, fragment};
use crate::control::config;
use crate::control::publication::{BACKEND_IDS, SERVICE_IDS};
use crate::dpdk::{Eal, Mempool, Result, lcore};
use crate::stats::{self, Reader};
use crate::worker::{Clock, Command, Exceptions, FlowQuery, Idle, Worker};

use super::placement::MemoryPlacement;
use super::wiring::Wiring;

/// What all workers are hired on.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) workers: u16,
    /// The owner of every flow follows from its hash.
    pub(super) owners_known: bool,
    pub(super) seed: LocalSeed,
    pub(super) flow_entries: usize,
    pub(super) fragments: fragment::Capacity,
    /// What they do while no packet comes; none in a replay, whose workers have no CPU of their own and
    /// lose nothing.
    pub(super) idle: Option<config::Idle>,
    pub(super) tables: Arc<ArcSwap<Tables>>,
    pub(super) command: Arc<Command>,
}

/// What one worker is given.
pub(super) struct Setup {
    pub(super) index: u16,
    pub(super) cpu: Option<u16>,
    pub(super) wiring: Wiring,
    pub(super) clock: Clock,
    pub(super) pool: Mempool,
    pub(super) queries: Receiver<FlowQuery>,
}

/// A worker's thread that has built, or is building, what it needs.
pub(super) struct WorkerThread {
    thread: JoinHandle<Vec<Vec<u64>>>,
    ready: Receiver<Ready>,
    /// Has it begin to work; if that is dropped, it ends.
    start: Sender<()>,
}

/// What a worker has built.
pub(super) struct Ready {
    pub(super) stats: Reader,
    /// Entries of its flow table, and where that lies.
    pub(super) capacity: u64,
    pub(super) placement: MemoryPlacement,
    /// Why it does not wait for interrupts, if it was to.
    pub(super) compromise: Option<String>,
}

impl WorkerThread {
    /// Begins the thread of a worker.
    pub(super) fn spawn(eal: &Eal, shared: Shared, setup: Setup) -> Result<WorkerThread> {
        let (report, ready) = bounded(1);
        let (start, started) = bounded::<()>(1);
        let (name, cpu) = (format!("worker{}", setup.index), setup.cpu);
        let work = move || {
            let _guard = AbortOnPanic;
            let (worker, built) = build(shared, setup);
            // Whoever has hired may have given up: then there is no start either.
            let _ = report.send(built);
            if started.recv().is_ok() { worker.run() } else { Vec::new() }
        };
        let thread = lcore::spawn(eal, &name, cpu, work)?;
        Ok(WorkerThread { thread, ready, start })
    }

    /// Waits until it has built what it needs. A worker that panics before ends the process, so that there
    /// always is a report.
    pub(super) fn ready(&self) -> Option<Ready> {
        self.ready.recv().ok()
    }

    /// Has it begin to work.
    pub(super) fn begin(self) -> JoinHandle<Vec<Vec<u64>>> {
        // It waits for nothing else.
        let _ = self.start.send(());
        self.thread
    }

    /// Has it end without having worked.
    pub(super) fn abandon(self) {
        drop(self.start);
        let _ = self.thread.join();
    }
}

/// A worker and what it has to tell; on its own thread.
fn build(shared: Shared, setup: Setup) -> (Worker, Ready) {
    let Shared { workers, owners_known, seed, flow_entries, fragments, idle, tables, command } =
        shared;
    let Setup { index, wiring, clock, pool, queries, .. } = setup;
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
        exceptions,
        queries,
        command,
        lossless,
    };
    (worker, Ready { stats, capacity, placement, compromise })
}

/// What a worker does while no packet comes, and why it is not what was wished for. A replay has no wish:
/// its workers have no CPU of their own. To be called by the worker's thread.
fn idle_mode(wish: Option<config::Idle>, wiring: &Wiring) -> (Idle, Option<String>) {
    match wish {
        None => (Idle::share(), None),
        Some(config::Idle::Poll) => (Idle::poll(), None),
        Some(config::Idle::Pause) => (Idle::pause(), None),
        Some(config::Idle::Interrupt) => match Idle::interrupt(&wiring.inputs, &wiring.relays) {
            Ok(idle) => (idle, None),
            Err(reason) => (Idle::pause(), Some(reason)),
        },
    }
}

/// Ends the process if its thread panics: an appliance without one of its workers would drop that
/// worker's flows for good, while a dead one has its share taken over by the other forwarders.
struct AbortOnPanic;

/// How long a worker that panicked leaves the log's thread for the last line.
const LAST_WORDS: Duration = Duration::from_millis(100);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a worker panicked; the appliance ends");
            // The log's thread needs a moment, and waits for nothing that a worker holds.
            std::thread::sleep(LAST_WORDS);
            std::process::abort();
        }
    }
}
