//! A worker: one thread, pinned to one CPU when live, that forwards packets from its inputs to their
//! backends.
//!
//! A worker owns its queues, its flow table and its counters, is the only writer of the latter two,
//! and takes no lock. Each [round](Rounds) polls all inputs. A burst goes through the balancer's
//! [pipeline], which says where each packet goes, and [`Outputs`] carries that out.
//!
//! A port may have fewer receive queues than there are workers. Then the worker that polls a queue
//! hands each packet to the [owner](Owners) of its flow, over a ring with one producer and one
//! consumer. A port may also have fewer transmit queues. Then packets travel over a ring to the
//! worker that has a transmit queue. If a ring is full, the packet is dropped and counted. In a
//! replay (`lossless`) the worker receives no more of the capture until the ring has room.

mod bench;
mod clock;
mod command;
mod handoff;
mod idle;
mod io;
mod outputs;
mod rounds;

pub use bench::BenchWorker;
pub use clock::Clock;
pub use command::Command;
pub use idle::Idle;
pub use io::{Input, InputKind, Output, OutputKind, Owners, Relay, RingQueue};

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use crossbeam_channel::{Receiver, Sender};

use guideway_core::balancer::scan::FlowScan;
use guideway_core::balancer::{Balancer, Tables, burst, exception, pipeline};
use guideway_core::stats::Writer;

use crate::dpdk::{Burst, Mempool, OwnedMbuf};
use outputs::Outputs;
use rounds::Rounds;

/// A worker's state for exceptions.
pub type Exceptions = exception::Exceptions<OwnedMbuf, Mempool>;
type Pipeline = pipeline::Pipeline<OwnedMbuf, Mempool>;
type Round<'a> = pipeline::Round<'a, Outputs<'a>>;
type Batch = burst::Batch<Burst>;

/// A list of flow table entries that the daemon asks a worker for.
pub struct FlowListing {
    /// What to list, and what was found so far.
    pub scan: FlowScan,
    /// Where the finished listing is sent.
    pub reply: Sender<FlowScan>,
}

/// All parts of a worker.
pub struct Worker {
    /// The flow table, and what decides and encapsulates packets.
    pub balancer: Balancer,
    /// The tables in force, as the daemon publishes them.
    pub tables: Arc<ArcSwap<Tables>>,
    /// The worker's counters.
    pub stats: Writer,
    /// The worker's time.
    pub clock: Clock,
    /// The queues and rings that the worker polls.
    pub inputs: Vec<Input>,
    /// Rings from workers that have no transmit queue of a port.
    pub relays: Vec<Relay>,
    /// The output of each port.
    pub outputs: Vec<Output>,
    /// The ring to each sibling, by its index; `None` at the worker's own index.
    pub siblings: Vec<Option<Output>>,
    /// What the worker keeps for exceptions.
    pub exceptions: Exceptions,
    /// Flow listings that the daemon asks for.
    pub listings: Receiver<FlowListing>,
    /// What all workers are told: run, finish (receive nothing more), or stop.
    pub command: Arc<Command>,
    /// What the worker does while no packet comes.
    pub idle: Idle,
    /// In a replay: poll no input until every ring has room for a burst, so that no packet is lost.
    pub lossless: bool,
}

impl Worker {
    /// Works until [`Command::stop`]. Returns, for each port, the time stamps of the packets sent
    /// there, if its output records them.
    pub fn run(self) -> Vec<Vec<u64>> {
        let mut tables: Cache<_, Arc<Tables>> = Cache::new(Arc::clone(&self.tables));
        let mut rounds = Rounds::new(self);
        loop {
            let keeps_time = rounds.begin();
            let tables = tables.load();
            rounds.take_note(tables);
            let mut found = rounds.poll_inputs(tables);
            found |= rounds.pass_on();
            if keeps_time {
                rounds.keep_time(tables);
            }
            rounds.count(found);
            rounds.continue_listing(tables);
            if rounds.is_busy(found) {
                continue;
            }
            if rounds.is_stopped() {
                return rounds.into_sent();
            }
            rounds.rest(tables);
        }
    }
}
