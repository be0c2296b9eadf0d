//! A worker: one thread, pinned to one CPU when live, that forwards packets from its inputs to their
//! backends.
//!
//! A worker owns its queues, its flow table and its counters, is the only writer of the latter two,
//! and takes no lock. Each round polls all inputs. A burst goes through the balancer's [pipeline],
//! which says where each packet goes, and [`Outputs`] carries that out.
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

pub use bench::BenchWorker;
pub use clock::Clock;
pub use command::Command;
pub use idle::Idle;
pub use io::{Input, InputKind, Output, OutputKind, Owners, Relay, RingQueue};

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use crossbeam_channel::{Receiver, Sender};

use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::scan::FlowScan;
use guideway_core::balancer::{Balancer, Tables, burst, exception, pipeline};
use guideway_core::stats::{Counter, DropReason, Gauge, Verdict, Writer};

use crate::dpdk::{Burst, Mempool, OwnedMbuf};
use outputs::Outputs;

/// A worker's state for exceptions.
pub type Exceptions = exception::Exceptions<OwnedMbuf, Mempool>;
type Pipeline = pipeline::Pipeline<OwnedMbuf, Mempool>;
type Round<'a> = pipeline::Round<'a, Outputs<'a>>;
type Batch = burst::Batch<Burst>;

/// Rounds between two checks for flow listings and for the order to stop, while there is traffic.
const HOUSEKEEPING: u64 = 256;
/// While there is traffic, the clock is read once in this many rounds: some microseconds. The same
/// rounds expire fragments and sweep one bucket of the flow table.
const TIMEKEEPING: u64 = 4;

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
        let Worker {
            balancer,
            stats,
            mut clock,
            mut inputs,
            mut relays,
            mut outputs,
            mut siblings,
            exceptions,
            idle: mut sleeper,
            ..
        } = self;
        let mut tables: Cache<_, Arc<Tables>> = Cache::new(self.tables);
        let mut pipeline = Pipeline::new(balancer, stats, exceptions);
        let mut batch = Batch::new();
        let mut generation = 0;
        let mut sweep_generation = 0;
        let mut listing: Option<FlowListing> = None;
        let mut idle = 0;
        let mut rounds: u64 = 0;
        let mut finishing = false;
        loop {
            rounds += 1;
            let keeps_time = idle > 0 || rounds % TIMEKEEPING == 1 || clock.is_per_packet();
            if keeps_time {
                clock.begin_round();
            }
            let tables: &Tables = tables.load();
            if tables.generation() != generation {
                generation = tables.generation();
                pipeline.stats.set(Gauge::Generation, generation);
            }
            if !finishing && self.command.is(Command::FINISH) {
                finishing = true;
                self.command.confirm_finish();
            }
            let mut found = false;
            for input in &mut inputs {
                if self.lossless && !input.may_be_polled(&outputs, &siblings) {
                    found = true;
                    continue;
                }
                let owners = match &mut input.kind {
                    InputKind::Queue { .. } if finishing => continue,
                    InputKind::Queue { queue, owners } => {
                        let received = queue.receive(&mut batch.burst);
                        pipeline.stats.add(Counter::Received, received as u64);
                        owners.as_mut()
                    }
                    InputKind::Ring(ring) => {
                        ring.receive(&mut batch.burst);
                        None
                    }
                    InputKind::Handoff(ring) => {
                        if ring.receive(&mut batch.burst) > 0 {
                            found = true;
                            // The time of the latest of the packets.
                            let now =
                                batch.burst.iter().fold(clock.now(), |_, mbuf| clock.of(mbuf));
                            let actions = Outputs {
                                ports: &mut outputs,
                                siblings: &mut siblings,
                                owners: None,
                            };
                            let mut round = Round { tables, now, actions };
                            receive_handoffs(&mut pipeline, &mut round, &mut batch.burst);
                            round.actions.flush(&mut pipeline.stats);
                        }
                        continue;
                    }
                };
                if batch.burst.is_empty() {
                    continue;
                }
                found = true;
                let actions = Outputs { ports: &mut outputs, siblings: &mut siblings, owners };
                let mut round = Round { tables, now: clock.now(), actions };
                process(&mut pipeline, &mut round, input.port, &mut batch, &mut clock);
            }
            if self.lossless {
                let owners = inputs.iter_mut().flat_map(Input::owners);
                for output in owners.chain(siblings.iter_mut().flatten()).chain(&mut outputs) {
                    found |= output.retry();
                }
            }
            for relay in &mut relays {
                found |= relay.pass(&mut outputs, &mut pipeline.stats);
            }
            if keeps_time {
                pipeline.expire_fragments(clock.now(), finishing);
                if pipeline.balancer.sweep(tables, clock.now()) {
                    pipeline.stats.set(Gauge::SweptGeneration, sweep_generation);
                    sweep_generation = generation;
                }
            }
            idle = if found { 0 } else { idle + 1 };
            pipeline.stats.add(Counter::Polls, 1);
            pipeline.stats.add(Counter::BusyPolls, u64::from(found));
            pipeline.stats.set(Gauge::IdlePolls, idle);
            if let Some(running) = &mut listing
                && running.scan.step(&pipeline.balancer, tables, clock.now())
                && let Some(FlowListing { scan, reply }) = listing.take()
            {
                // Fails if the daemon no longer waits for the listing.
                let _ = reply.send(scan);
            }
            if found {
                sleeper.packet_found();
                if !rounds.is_multiple_of(HOUSEKEEPING) {
                    continue;
                }
            }
            pipeline.stats.set(Gauge::Flows, pipeline.balancer.flows().len() as u64);
            listing = listing.or_else(|| self.listings.try_recv().ok());
            if self.command.is(Command::STOP) {
                break;
            }
            if idle == 0 || finishing || listing.is_some() {
                continue;
            }
            // As many buckets as rounds would have swept in the time asleep.
            for _ in 0..sleeper.idle(idle) {
                if pipeline.balancer.sweep(tables, clock.now()) {
                    pipeline.stats.set(Gauge::SweptGeneration, sweep_generation);
                    sweep_generation = generation;
                }
            }
        }
        outputs.into_iter().map(Output::into_sent).collect()
    }
}

/// Processes a batch; it is empty afterwards.
#[inline]
fn process(
    pipeline: &mut Pipeline,
    round: &mut Round<'_>,
    port: PortIndex,
    batch: &mut Batch,
    clock: &mut Clock,
) {
    if clock.is_per_packet() {
        pipeline.process_by_time(round, port, batch, |mbuf| clock.of(mbuf));
    } else {
        pipeline.process(round, port, batch);
    }
    round.actions.flush(&mut pipeline.stats);
}

/// Processes packets that other workers have handed over.
#[cold]
fn receive_handoffs(pipeline: &mut Pipeline, round: &mut Round<'_>, burst: &mut Burst) {
    for mbuf in burst.drain() {
        match mbuf.metadata().and_then(handoff::decode) {
            Some(handoff) => pipeline.receive_handoff(round, mbuf, handoff),
            // Every packet in these rings has metadata.
            None => pipeline.stats.verdict(Verdict::Dropped(DropReason::RingFull), 1),
        }
    }
}
