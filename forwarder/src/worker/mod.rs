//! A worker: one thread, pinned to one CPU when live, that forwards packets from its inputs to their
//! backends.
//!
//! A worker owns its queues, its flow table and its counters, is the only writer of the latter two,
//! and takes no lock. Each round polls all inputs. A burst is classified, looked up in the flow
//! table, encapsulated and moved to the output of its port; each step runs over all packets of the
//! burst. Packets that the fast path refuses take the full path, one by one (`forward.rs`).
//!
//! A port may have fewer receive queues than there are workers. Then the worker that polls a queue
//! hands each packet to the [owner](Owners) of its flow, over a ring with one producer and one
//! consumer. A port may also have fewer transmit queues. Then packets travel over a ring to the
//! worker that has a transmit queue. If a ring is full, the packet is dropped and counted. In a
//! replay (`lossless`) the worker receives no more of the capture until the ring has room.
//!
//! `exception/` has the handlers of exceptions: fragments, ICMP, packets that exceed the MTU, and
//! packets that arrive encapsulated.

mod bench;
mod clock;
mod command;
mod exception;
mod forward;
mod handoff;
mod idle;
mod io;
mod pipeline;
mod round;

pub use bench::BenchWorker;
pub use clock::Clock;
pub use command::Command;
pub use exception::Exceptions;
pub use idle::Idle;
pub use io::{Input, InputKind, Output, OutputKind, Owners, Relay, RingQueue};

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use crossbeam_channel::{Receiver, Sender};

use guideway_core::balancer::scan::FlowScan;
use guideway_core::balancer::{Balancer, Tables};
use guideway_core::stats::{Counter, Gauge, Writer};

use pipeline::{Batch, Pipeline};
use round::Round;

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
                            let (outputs, siblings) = (&mut outputs[..], &mut siblings[..]);
                            let mut round = Round { tables, outputs, siblings, now };
                            pipeline.receive_handoffs(&mut round, &mut batch.burst);
                            round.flush(&mut pipeline.stats);
                        }
                        continue;
                    }
                };
                if batch.burst.is_empty() {
                    continue;
                }
                found = true;
                let (outputs, siblings) = (&mut outputs[..], &mut siblings[..]);
                let mut round = Round { tables, outputs, siblings, now: clock.now() };
                pipeline.process(&mut round, input.port, &mut batch, owners, &mut clock);
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
                pipeline.stats.set(Gauge::FragmentsWaiting, pipeline.exceptions.waiting());
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
