//! A worker: one thread, pinned to one CPU, that takes packets from its queues to their backends.
//!
//! It owns its queues, its flow table and its counters, so that nothing on the way of a packet is
//! shared or locked. A round goes over all inputs; a burst is first classified, then looked up in the flow
//! table and encapsulated, each step for all of its packets, and put before the port that they leave by.
//! What needs more thought is taken out and decided by itself.
//!
//! Where a port has fewer receive queues than there are workers, the worker that polls hands each
//! packet to the [owner](Owners) of its flow, over a ring with one producer and one consumer. Where
//! it has fewer transmit queues, packets for it travel to the worker that has the queue in the same
//! way. Either ring may be full; the packet is dropped and counted then, unless the worker was told
//! to lose nothing, when it lets the source wait instead.
//!
//! What is no ordinary packet of a service leaves that way early, see `exception.rs`: fragments, ICMP,
//! packets that do not fit and packets that arrive encapsulated.

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

use crate::balancer::scan::FlowScan;
use crate::balancer::{Balancer, Tables};
use crate::stats::{Counter, Gauge, Writer};

use pipeline::{Batch, Pipeline};
use round::Round;

/// Rounds between two looks at questions, while there is traffic.
const HOUSEKEEPING: u64 = 256;
/// Rounds between two looks at the time, and at what expires by it, while there is traffic: some microseconds.
const TIMEKEEPING: u64 = 4;

/// A listing that a worker is asked for, and where it sends it when it is done.
pub struct FlowQuery {
    /// The listing.
    pub scan: FlowScan,
    /// Where to.
    pub reply: Sender<FlowScan>,
}

/// Everything that a worker is made of.
pub struct Worker {
    /// Its flow table.
    pub balancer: Balancer,
    /// Where it finds the tables in force.
    pub tables: Arc<ArcSwap<Tables>>,
    /// Its counters.
    pub stats: Writer,
    /// Its time.
    pub clock: Clock,
    /// What it polls.
    pub inputs: Vec<Input>,
    /// What it passes on.
    pub relays: Vec<Relay>,
    /// The ways out, by port.
    pub outputs: Vec<Output>,
    /// The ways to the other workers, by their index; none to itself.
    pub siblings: Vec<Option<Output>>,
    /// What it has for packets that are not ordinary.
    pub exceptions: Exceptions,
    /// What it is asked.
    pub queries: Receiver<FlowQuery>,
    /// What it is told.
    pub command: Arc<Command>,
    /// What it does while no packet comes.
    pub idle: Idle,
    /// Let a source wait rather than drop a packet for want of room in a ring.
    pub lossless: bool,
}

impl Worker {
    /// Works until it is told to stop. Answers, for each port, the time stamps of the packets that it
    /// sent there, if its outlet notes them.
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
        let mut pass_generation = 0;
        let mut query: Option<FlowQuery> = None;
        let mut idle = 0;
        let mut rounds: u64 = 0;
        let mut draining = false;
        loop {
            rounds += 1;
            let looks = idle > 0 || rounds % TIMEKEEPING == 1 || clock.is_of_packets();
            if looks {
                clock.begin_round();
            }
            let tables: &Tables = tables.load();
            if tables.generation() != generation {
                generation = tables.generation();
                pipeline.stats.set(Gauge::Generation, generation);
            }
            if !draining && self.command.is(Command::DRAIN) {
                draining = true;
                self.command.confirm_drain();
            }
            let mut found = false;
            for input in &mut inputs {
                if self.lossless && !input.may_be_polled(&outputs, &siblings) {
                    found = true;
                    continue;
                }
                let owners = match &mut input.kind {
                    InputKind::Queue { .. } if draining => continue,
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
                            // That of the latest of them.
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
            if looks {
                pipeline.expire_fragments(clock.now(), draining);
                pipeline.stats.set(Gauge::FragmentsWaiting, pipeline.exceptions.waiting());
                if pipeline.balancer.sweep(tables, clock.now()) {
                    pipeline.stats.set(Gauge::SweptGeneration, pass_generation);
                    pass_generation = generation;
                }
            }
            idle = if found { 0 } else { idle + 1 };
            pipeline.stats.add(Counter::Polls, 1);
            pipeline.stats.add(Counter::BusyPolls, u64::from(found));
            pipeline.stats.set(Gauge::IdlePolls, idle);
            if let Some(asked) = &mut query
                && asked.scan.step(&pipeline.balancer, tables, clock.now())
                && let Some(FlowQuery { scan, reply }) = query.take()
            {
                // Whoever asked may have given up; then the answer goes nowhere.
                let _ = reply.send(scan);
            }
            if found {
                sleeper.packet_found();
                if !rounds.is_multiple_of(HOUSEKEEPING) {
                    continue;
                }
            }
            pipeline.stats.set(Gauge::Flows, pipeline.balancer.flows().len() as u64);
            query = query.or_else(|| self.queries.try_recv().ok());
            if self.command.is(Command::STOP) {
                break;
            }
            if idle == 0 || draining || query.is_some() {
                continue;
            }
            for _ in 0..sleeper.idle(idle) {
                if pipeline.balancer.sweep(tables, clock.now()) {
                    pipeline.stats.set(Gauge::SweptGeneration, pass_generation);
                    pass_generation = generation;
                }
            }
        }
        outputs.into_iter().map(Output::into_sent).collect()
    }
}
