//! A worker: one thread, pinned to one CPU, that takes packets from its queues to their backends.
//!
//! It owns its queues, its flow table and its counters, so that nothing on the way of a packet is
//! shared or locked. A round goes over all sources; a burst is first classified, then looked up in the flow
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

mod bare;
mod clock;
mod command;
mod errand;
mod exception;
mod exchange;
mod idle;
mod path;

pub use bare::Bare;
pub use clock::Clock;
pub use command::Command;
pub use exception::Exceptions;
pub use exchange::{Intake, Lane, Outlet, Owners, Relay, Source, Via};
pub use idle::Idle;

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use crossbeam_channel::{Receiver, Sender};

use crate::balancer::scan::FlowScan;
use crate::balancer::{Balancer, Tables};
use crate::stats::{Scalar, Writer};

use exception::Scene;
use path::{Batch, Path};

/// Rounds between two looks at questions, while there is traffic.
const HOUSEKEEPING: u64 = 256;
/// Rounds between two looks at the time, and at what expires by it, while there is traffic: some microseconds.
const TIMEKEEPING: u64 = 4;

/// A listing that a worker is asked for, and where it sends it when it is done.
pub struct Question {
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
    pub sources: Vec<Source>,
    /// What it passes on.
    pub relays: Vec<Relay>,
    /// The ways out, by port.
    pub outlets: Vec<Outlet>,
    /// The ways to the other workers, by their index; none to itself.
    pub peers: Vec<Option<Outlet>>,
    /// What it has for packets that are not ordinary.
    pub exceptions: Exceptions,
    /// What it is asked.
    pub questions: Receiver<Question>,
    /// What it is told.
    pub command: Arc<Command>,
    /// What it does while no packet comes.
    pub rest: Idle,
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
            mut sources,
            mut relays,
            mut outlets,
            mut peers,
            exceptions,
            mut rest,
            ..
        } = self;
        let mut tables: Cache<_, Arc<Tables>> = Cache::new(self.tables);
        let mut path = Path::new(balancer, stats, exceptions);
        let mut batch = Batch::new();
        let mut generation = 0;
        let mut pass_generation = 0;
        let mut question: Option<Question> = None;
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
                path.stats.set(Scalar::Generation, generation);
            }
            if !draining && self.command.is(Command::DRAIN) {
                draining = true;
                self.command.confirm_drain();
            }
            let mut found = false;
            for source in &mut sources {
                if self.lossless && !source.may_be_polled(&outlets, &peers) {
                    found = true;
                    continue;
                }
                let owners = match &mut source.intake {
                    Intake::Queue { .. } if draining => continue,
                    Intake::Queue { queue, owners } => {
                        let received = queue.receive(&mut batch.burst);
                        path.stats.add(Scalar::Received, received as u64);
                        owners.as_mut()
                    }
                    Intake::Ring(ring) => {
                        ring.receive(&mut batch.burst);
                        None
                    }
                    Intake::Peer(ring) => {
                        if ring.receive(&mut batch.burst) > 0 {
                            found = true;
                            // That of the latest of them.
                            let now =
                                batch.burst.iter().fold(clock.now(), |_, mbuf| clock.of(mbuf));
                            let (outlets, peers) = (&mut outlets[..], &mut peers[..]);
                            let mut scene = Scene { tables, outlets, peers, now };
                            path.visit(&mut scene, &mut batch.burst);
                            scene.flush(&mut path.stats);
                        }
                        continue;
                    }
                };
                if batch.burst.is_empty() {
                    continue;
                }
                found = true;
                let (outlets, peers) = (&mut outlets[..], &mut peers[..]);
                let mut scene = Scene { tables, outlets, peers, now: clock.now() };
                path.take(&mut scene, source.port, &mut batch, owners, &mut clock);
            }
            if self.lossless {
                let owners = sources.iter_mut().flat_map(Source::owners);
                for outlet in owners.chain(peers.iter_mut().flatten()).chain(&mut outlets) {
                    found |= outlet.retry();
                }
            }
            for relay in &mut relays {
                found |= relay.pass(&mut outlets, &mut path.stats);
            }
            if looks {
                path.expire_fragments(clock.now(), draining);
                path.stats.set(Scalar::Held, path.exceptions.held());
                if path.balancer.sweep(tables, clock.now()) {
                    path.stats.set(Scalar::SweptGeneration, pass_generation);
                    pass_generation = generation;
                }
            }
            idle = if found { 0 } else { idle + 1 };
            path.stats.set(Scalar::Polls, rounds);
            path.stats.add(Scalar::BusyPolls, u64::from(found));
            path.stats.set(Scalar::IdlePolls, idle);
            if let Some(asked) = &mut question
                && asked.scan.step(&path.balancer, tables, clock.now())
                && let Some(Question { scan, reply }) = question.take()
            {
                // Whoever asked may have given up; then the answer goes nowhere.
                let _ = reply.send(scan);
            }
            if found {
                rest.work();
                if !rounds.is_multiple_of(HOUSEKEEPING) {
                    continue;
                }
            }
            path.stats.set(Scalar::Flows, path.balancer.flows().len() as u64);
            question = question.or_else(|| self.questions.try_recv().ok());
            if self.command.is(Command::STOP) {
                break;
            }
            if idle == 0 || draining || question.is_some() {
                continue;
            }
            for _ in 0..rest.rest(idle) {
                if path.balancer.sweep(tables, clock.now()) {
                    path.stats.set(Scalar::SweptGeneration, pass_generation);
                    pass_generation = generation;
                }
            }
        }
        outlets.into_iter().map(Outlet::into_sent).collect()
    }
}
