//! Starts the workers: spawns their threads, and waits until each has built what it needs.

use std::mem;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use tracing::{info, warn};

use super::buffers::Pools;
use super::mode::Run;
use super::threads::{Ready, Setup, Shared, WorkerThread};
use super::wiring::Wiring;
use crate::dpdk::clock::tsc_hz;
use crate::dpdk::{Eal, Result, TimestampField};
use crate::worker::{Clock, FlowListing};
use guideway_api::RxQueue;
use guideway_core::balancer::scan::FlowScan;
use guideway_management::daemon;

/// How long a worker may take to list flows.
const FLOW_LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// A worker's thread that is spawned, and what its worker is asked by.
pub(super) struct Spawned {
    thread: WorkerThread,
    /// See [`Wiring::queues`].
    queues: Vec<RxQueue>,
    listings: Sender<FlowListing>,
    /// Ticks of the CPU's counter in a second.
    tick_hz: u64,
}

/// Spawns the threads of all workers. If one does not start, none is left.
pub(super) fn spawn(
    eal: &Eal,
    run: &Run,
    shared: &Shared,
    pools: &Pools,
    timestamps: Option<TimestampField>,
    wiring: Vec<Wiring>,
) -> Result<Vec<Spawned>> {
    let mut spawned: Vec<Spawned> = Vec::with_capacity(wiring.len());
    let tick_hz = tsc_hz(eal);
    for (index, mut wiring) in (0..).zip(wiring) {
        let queues = mem::take(&mut wiring.queues);
        let (ask, listings) = bounded(4);
        let clock = match timestamps {
            Some(field) => Clock::Capture { field, latest: Default::default() },
            None => Clock::tsc(tick_hz / 1000),
        };
        let cpu = run.cpus[usize::from(index)].map(|cpu| cpu.number);
        let pool = pools.of_worker(index).clone();
        let setup = Setup { index, cpu, wiring, clock, pool, listings };
        match WorkerThread::spawn(eal, shared.clone(), setup) {
            Ok(thread) => spawned.push(Spawned { thread, queues, listings: ask, tick_hz }),
            Err(error) => {
                spawned.into_iter().for_each(|spawned| spawned.thread.abandon());
                return Err(error);
            }
        }
    }
    Ok(spawned)
}

/// Waits until each worker has built what it needs, and logs where that lies. Returns the threads,
/// which may begin, and what the daemon may ask about the workers.
pub(super) fn wait_until_built(
    spawned: Vec<Spawned>,
    run: &Run,
) -> (Vec<WorkerThread>, Vec<daemon::Worker>) {
    let mut threads = Vec::with_capacity(spawned.len());
    let mut views = Vec::with_capacity(spawned.len());
    for (index, Spawned { thread, queues, listings, tick_hz }) in spawned.into_iter().enumerate() {
        let ready = thread.ready();
        threads.push(thread);
        let Some(Ready { stats, capacity: flow_capacity, placement, compromise }) = ready else {
            continue;
        };
        let cpu = run.cpus[index].map(|cpu| cpu.number);
        if let Some(cpu) = cpu {
            info!("worker {index}, CPU {cpu}: flow table of {placement}");
        }
        if let Some(reason) = compromise {
            warn!("worker {index}: dpdk.idle: pauses instead of waiting for interrupts: {reason}");
        }
        let scan = Box::new(move |scan| list_flows(&listings, scan));
        views.push(daemon::Worker { stats, cpu, queues, flow_capacity, tick_hz, scan });
    }
    (threads, views)
}

/// Has a worker carry out a scan. `None` if it does not reply in time.
fn list_flows(listings: &Sender<FlowListing>, scan: FlowScan) -> Option<FlowScan> {
    let (reply, listed) = bounded(1);
    listings.send_timeout(FlowListing { scan, reply }, FLOW_LIST_TIMEOUT).ok()?;
    listed.recv_timeout(FLOW_LIST_TIMEOUT).ok()
}
