//! The parts of a worker, and its rounds: what each does, step by step.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use crossbeam_channel::{Receiver, Sender};

use guideway_core::balancer::conntrack::SweepPace;
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::passed::Passed;
use guideway_core::balancer::scan::FlowScan;
use guideway_core::balancer::{Balancer, Tables};
use guideway_core::stats::{Counter, DropReason, Gauge, Histogram, Verdict, Writer};

use super::clock::Clock;
use super::command::Command;
use super::handoff;
use super::idle::Idle;
use super::io::{Input, InputKind, Output, Relay};
use super::kernel::{KernelEnds, ProbeRelay};
use super::outputs::Outputs;
use super::{Batch, Exceptions, Pipeline, Round};
use crate::dpdk::{BURST, Burst};

/// Rounds between two checks for flow listings and for the order to stop, while there is traffic.
const HOUSEKEEPING: u64 = 256;
/// While there is traffic, the clock is read once in this many rounds: some microseconds. The same
/// rounds expire fragments and sweep buckets of the flow table.
const TIMEKEEPING: u64 = 4;
/// In one round of so many the worker measures how long a burst takes.
const SAMPLING: u64 = 64;

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
    /// What connects the worker with the kernel.
    pub kernel: KernelEnds,
    /// What the worker keeps for exceptions.
    pub exceptions: Exceptions,
    /// Flow listings that the daemon asks for.
    pub listings: Receiver<FlowListing>,
    /// What all workers are told: run, finish (receive nothing more), or stop.
    pub command: Arc<Command>,
    /// What the worker does while no packet comes.
    pub idle: Idle,
    /// In a replay: poll a device queue only when every ring has room for a burst, so that no packet is lost.
    /// Rings are always polled.
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
            found |= rounds.send_probes(tables);
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
            rounds.rest();
        }
    }
}

/// A worker between its first round and its last.
struct Rounds {
    pipeline: Pipeline,
    batch: Batch,
    /// What is known about the packets of the batch, if another worker has passed them on.
    passed: [Passed; BURST],
    clock: Clock,
    inputs: Vec<Input>,
    relays: Vec<Relay>,
    outputs: Vec<Output>,
    siblings: Vec<Option<Output>>,
    kernel: KernelEnds,
    lossless: bool,
    sleeper: Idle,
    listings: Receiver<FlowListing>,
    /// The listing that is under way.
    listing: Option<FlowListing>,
    command: Arc<Command>,
    /// Nothing more is received from devices.
    finishing: bool,
    /// The generation of the tables in force.
    generation: u64,
    /// How fast the flow table is swept.
    pace: SweepPace,
    /// The generation at the start of the sweep that is under way.
    sweep_generation: u64,
    /// Rounds so far.
    rounds: u64,
    /// Rounds in a row, up to the latest, that found no packet.
    idle: u64,
    /// Whether a round since the last reading of the clock found a packet.
    was_busy: bool,
}

impl Rounds {
    fn new(worker: Worker) -> Rounds {
        Rounds {
            pace: SweepPace::new(worker.balancer.flows().capacity()),
            pipeline: Pipeline::new(worker.balancer, worker.stats, worker.exceptions),
            batch: Batch::new(),
            passed: [Passed::default(); BURST],
            clock: worker.clock,
            inputs: worker.inputs,
            relays: worker.relays,
            outputs: worker.outputs,
            siblings: worker.siblings,
            kernel: worker.kernel,
            lossless: worker.lossless,
            sleeper: worker.idle,
            listings: worker.listings,
            listing: None,
            command: worker.command,
            finishing: false,
            generation: 0,
            sweep_generation: 0,
            rounds: 0,
            idle: 0,
            was_busy: false,
        }
    }

    /// Begins a round. Returns whether the round keeps time: reads the clock, expires fragments and sweeps.
    ///
    /// The time since the last reading is busy if a round found a packet in it. After an empty round the clock is
    /// always read, so that at most the first empty round, and no sleep, counts as busy.
    #[inline]
    fn begin(&mut self) -> bool {
        self.rounds += 1;
        let keeps_time = self.idle > 0
            || self.rounds % TIMEKEEPING == 1
            || self.pace.is_behind()
            || self.clock.is_per_packet();
        if keeps_time {
            let ticks = self.clock.begin_round();
            let was_busy = std::mem::take(&mut self.was_busy);
            let counter = if was_busy { Counter::BusyTicks } else { Counter::IdleTicks };
            self.pipeline.stats.add(counter, ticks);
        }
        keeps_time
    }

    /// Notes the generation of the tables in force, and the order to finish.
    #[inline]
    fn take_note(&mut self, tables: &Tables) {
        if tables.generation() != self.generation {
            self.generation = tables.generation();
            self.pipeline.stats.set(Gauge::Generation, self.generation);
        }
        if !self.finishing && self.command.is(Command::FINISH) {
            self.finishing = true;
            self.command.confirm_finish();
        }
    }

    /// Receives and processes a burst of each input. Returns whether there was a packet, or an
    /// input that was not polled because a ring lacks room.
    #[inline]
    fn poll_inputs(&mut self, tables: &Tables) -> bool {
        let Rounds { pipeline, batch, passed, clock, inputs, outputs, siblings, kernel, .. } = self;
        let punts = &mut kernel.punts;
        let mut found = false;
        let mut is_sampled = self.rounds.is_multiple_of(SAMPLING);
        for input in inputs {
            if self.lossless && !input.may_be_polled(outputs, siblings, punts.has_room()) {
                found = true;
                continue;
            }
            let is_handoff = matches!(input.kind, InputKind::Handoff(_));
            let is_passed = matches!(input.kind, InputKind::Ring(_));
            let owners = match &mut input.kind {
                InputKind::Queue { .. } if self.finishing => continue,
                InputKind::Queue { queue, owners } => {
                    let received = queue.receive(&mut batch.burst);
                    if received == 0 {
                        continue;
                    }
                    pipeline.stats.add(Counter::Received, received as u64);
                    pipeline.stats.observe(Histogram::BurstPackets, received as u64);
                    owners.as_mut()
                }
                InputKind::Ring(ring) => {
                    ring.receive_with(&mut batch.burst, passed);
                    None
                }
                InputKind::Handoff(ring) => {
                    ring.receive(&mut batch.burst);
                    None
                }
            };
            if batch.burst.is_empty() {
                continue;
            }
            found = true;
            let begun = if std::mem::take(&mut is_sampled) { clock.ticks() } else { None };
            let actions = Outputs { ports: outputs, siblings, owners, punts };
            let mut round = Round { tables, now: clock.now(), actions };
            if is_handoff {
                receive_handoffs(pipeline, &mut round, &mut batch.burst, clock);
            } else {
                let passed = is_passed.then_some(&*passed);
                process(pipeline, &mut round, input.port, batch, passed, clock);
            }
            if let (Some(begun), Some(ended)) = (begun, begun.and_then(|_| clock.ticks())) {
                pipeline.stats.observe(Histogram::BurstCycles, ended.saturating_sub(begun));
            }
        }
        found
    }

    /// Sends what waits for room in a ring, and what siblings and the kernel send by this worker's queues. Returns
    /// whether there was any.
    #[inline]
    fn pass_on(&mut self) -> bool {
        let mut found = false;
        if self.lossless {
            for owner in self.inputs.iter_mut().flat_map(Input::owners) {
                found |= owner.retry();
            }
            for output in self.siblings.iter_mut().flatten().chain(&mut self.outputs) {
                found |= output.retry();
            }
            found |= self.kernel.punts.retry();
        }
        for relay in &mut self.relays {
            found |= relay.pass(&mut self.outputs, &mut self.pipeline.stats);
        }
        for relay in &mut self.kernel.relays {
            found |= relay.pass(&mut self.outputs, &mut self.pipeline.stats);
        }
        found
    }

    /// Sends what the node's probes have, each packet to the backend of its pin. Returns whether there was any.
    #[inline]
    fn send_probes(&mut self, tables: &Tables) -> bool {
        let Rounds { pipeline, clock, outputs, siblings, kernel, .. } = self;
        let KernelEnds { punts, probes: Some(probes), .. } = kernel else { return false };
        if probes.ring.is_empty() {
            return false;
        }
        let actions = Outputs { ports: outputs, siblings, owners: None, punts };
        let mut round = Round { tables, now: clock.now(), actions };
        send_pinned(pipeline, &mut round, probes);
        true
    }

    /// Does what follows from the passage of time: drops fragments that waited too long, and sweeps the flow table.
    #[inline]
    fn keep_time(&mut self, tables: &Tables) {
        self.pipeline.expire_fragments(self.clock.now(), self.finishing);
        self.sweep(tables);
        // In a replay all that is owed is paid, so that the counters depend on the capture's time alone.
        while self.clock.is_per_packet() && self.pace.is_behind() {
            self.sweep(tables);
        }
    }

    /// Sweeps the buckets of the flow table that are due in this round.
    fn sweep(&mut self, tables: &Tables) {
        let now = self.clock.now();
        for _ in 0..self.pace.due(now) {
            if self.pipeline.balancer.sweep(tables, now) {
                self.pipeline.stats.set(Gauge::SweptGeneration, self.sweep_generation);
                self.sweep_generation = self.generation;
            }
        }
    }

    /// Counts the round.
    #[inline]
    fn count(&mut self, found: bool) {
        self.idle = if found { 0 } else { self.idle + 1 };
        self.was_busy |= found;
        let stats = &mut self.pipeline.stats;
        stats.add(Counter::Polls, 1);
        stats.add(Counter::BusyPolls, u64::from(found));
        stats.set(Gauge::IdlePolls, self.idle);
    }

    /// Continues the listing that is under way, and sends it off when it is complete.
    #[inline]
    fn continue_listing(&mut self, tables: &Tables) {
        if let Some(running) = &mut self.listing
            && running.scan.step(&self.pipeline.balancer, tables, self.clock.now())
            && let Some(FlowListing { scan, reply }) = self.listing.take()
        {
            // Fails if the daemon no longer waits for the listing.
            let _ = reply.send(scan);
        }
    }

    /// Whether the next round follows at once: there is traffic, and it is not yet time for
    /// [`Rounds::is_stopped`].
    #[inline]
    fn is_busy(&mut self, found: bool) -> bool {
        if found {
            self.sleeper.packet_found();
        }
        found && !self.rounds.is_multiple_of(HOUSEKEEPING)
    }

    /// Looks for a new listing. Returns whether the worker is ordered to stop.
    fn is_stopped(&mut self) -> bool {
        self.pipeline.stats.set(Gauge::Flows, self.pipeline.balancer.flows().len() as u64);
        if self.listing.is_none() {
            self.listing = self.listings.try_recv().ok();
        }
        self.command.is(Command::STOP)
    }

    /// Spends a round without packets as configured. A worker that is behind with the sweep has no time for that.
    fn rest(&mut self) {
        if self.idle > 0 && !self.finishing && self.listing.is_none() && !self.pace.is_behind() {
            self.sleeper.idle(self.idle);
        }
    }

    /// For each port, the time stamps of the packets sent there, if its output records them.
    fn into_sent(self) -> Vec<Vec<u64>> {
        self.outputs.into_iter().map(Output::into_sent).collect()
    }
}

/// Processes a batch; it is empty afterwards. `passed` is what is known about its packets if another worker has passed
/// them on.
#[inline]
pub(super) fn process(
    pipeline: &mut Pipeline,
    round: &mut Round<'_>,
    port: PortIndex,
    batch: &mut Batch,
    passed: Option<&[Passed; BURST]>,
    clock: &mut Clock,
) {
    match passed {
        // A batch that is split by time is classified piece by piece.
        _ if clock.is_per_packet() => {
            pipeline.process_by_time(round, port, batch, |mbuf| clock.of(mbuf));
        }
        Some(passed) => pipeline.process_passed(round, port, batch, passed),
        None => pipeline.process(round, port, batch),
    }
    round.actions.flush(&mut pipeline.stats);
}

/// Sends a burst of packets of probes, each to the backend of its pin.
#[cold]
fn send_pinned(pipeline: &mut Pipeline, round: &mut Round<'_>, probes: &mut ProbeRelay) {
    let mut burst = Burst::new();
    probes.ring.receive(&mut burst);
    for mbuf in burst.drain() {
        let outcome = pipeline.send_pinned(round, mbuf);
        probes.counters.count(outcome, 1);
    }
}

/// Processes packets that other workers have handed over, at the time of the latest of them.
#[cold]
fn receive_handoffs(
    pipeline: &mut Pipeline,
    round: &mut Round<'_>,
    burst: &mut Burst,
    clock: &mut Clock,
) {
    round.now = burst.iter().fold(clock.now(), |_, mbuf| clock.of(mbuf));
    for mbuf in burst.drain() {
        match mbuf.metadata().and_then(handoff::decode) {
            Some(handoff) => pipeline.receive_handoff(round, mbuf, handoff),
            // Every packet in these rings has a handoff in its metadata.
            None => pipeline.stats.verdict(Verdict::Dropped(DropReason::RingFull), 1),
        }
    }
    round.actions.flush(&mut pipeline.stats);
}
