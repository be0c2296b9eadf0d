//! A worker: one thread, pinned to one CPU, that takes packets from its queues to their backends.
//!
//! It owns its queues, its flow table and its counters, so that nothing on the way of a packet is
//! shared or locked. A round goes over all sources; the packets of a burst are first classified, all
//! of them, which starts the fetch of their flow table buckets, and then decided, encapsulated and
//! put before the port that they leave by. What is left in the burst was dropped and is freed at once.
//!
//! Where a port has fewer receive queues than there are workers, the worker that polls hands each
//! packet to the [owner](Owners) of its flow, over a ring with one producer and one consumer. Where
//! it has fewer transmit queues, packets for it travel to the worker that has the queue in the same
//! way. Either ring may be full; the packet is dropped and counted then, unless the worker was told
//! to lose nothing, when it lets the source wait instead.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Cache};
use crossbeam_channel::{Receiver, Sender};

use crate::balancer::scan::Scan;
use crate::balancer::tables::PortIndex;
use crate::balancer::{Balancer, Classified, Drop, Tables, Time, Verdict};
use crate::dpdk::clock::{TimestampField, tsc};
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::dpdk::{BURST, Burst, prefetch, ring};
use crate::stats::{Scalar, Writer};

/// Attempts to hand a burst to a device before the rest of it is dropped.
const TX_ATTEMPTS: usize = 4;
/// Rounds between two looks at questions, while there is traffic.
const HOUSEKEEPING: u64 = 256;
/// Rounds without a packet after which the CPU is offered to others.
const PATIENCE: u64 = 64;

/// What the workers are to do; shared by all of them.
#[derive(Debug, Default)]
pub struct Command {
    order: AtomicU8,
    /// Workers that receive nothing more.
    draining: AtomicUsize,
}

impl Command {
    const DRAIN: u8 = 1;
    const STOP: u8 = 2;

    /// Receive nothing more, but finish what was received.
    pub fn drain(&self) {
        self.order.store(Command::DRAIN, Ordering::Relaxed);
    }

    /// Return from [`Worker::run`].
    pub fn stop(&self) {
        self.order.store(Command::STOP, Ordering::Relaxed);
    }

    /// How many workers have heard that they are to drain: their count of packets received is final,
    /// and seen by whoever asks here first.
    pub fn draining(&self) -> usize {
        self.draining.load(Ordering::Acquire)
    }

    /// Says that this worker receives nothing more.
    fn confirm_drain(&self) {
        self.draining.fetch_add(1, Ordering::Release);
    }

    fn is(&self, command: u8) -> bool {
        self.order.load(Ordering::Relaxed) == command
    }
}

/// Where a worker's time comes from.
#[derive(Debug)]
pub enum Clock {
    /// The CPU's counter.
    Tsc {
        /// Ticks of a millisecond.
        per_ms: u64,
    },
    /// The time stamps of the packets, in microseconds.
    Capture {
        /// Where a packet has it.
        field: TimestampField,
        /// The latest seen: time does not run backwards, even if a capture does.
        latest: Time,
    },
}

impl Clock {
    fn now(&self) -> Time {
        match self {
            Clock::Tsc { per_ms } => Time::from_millis(tsc() / per_ms),
            Clock::Capture { latest, .. } => *latest,
        }
    }

    /// The end of the run of packets from `start` on that share a moment, and that moment.
    fn run(&mut self, burst: &Burst, start: usize) -> (usize, Time) {
        match self {
            Clock::Tsc { .. } => (burst.len(), self.now()),
            Clock::Capture { field, latest } => {
                let at = |i| {
                    let micros = burst.get(i).and_then(|mbuf| mbuf.timestamp(field));
                    micros.map_or(*latest, |micros| Time::from_millis(micros / 1000)).max(*latest)
                };
                let now = at(start);
                let end = (start + 1..burst.len()).find(|&i| at(i) != now).unwrap_or(burst.len());
                *latest = now;
                (end, now)
            }
        }
    }
}

/// Where packets come from.
pub struct Source {
    /// The port that they came in by.
    pub port: PortIndex,
    /// How they come.
    pub intake: Intake,
}

/// How packets come to a worker.
pub enum Intake {
    /// From a device.
    Queue {
        /// The queue.
        queue: RxQueue,
        /// Who owns which flow, if the device does not see to that.
        owners: Option<Owners>,
    },
    /// From the worker that polls the device.
    Ring(ring::Receiver),
}

/// Divides flows among the workers by their hash.
pub struct Owners {
    /// The way to each worker; none to the one that divides.
    pub outlets: Vec<Option<Outlet>>,
}

impl Owners {
    /// The way to a flow's owner, unless that is this worker.
    #[inline]
    fn of(&mut self, tag: u64) -> Option<&mut Outlet> {
        // The low half chooses the worker, for the high half chooses the bucket there.
        let owner = ((tag & 0xffff_ffff) * self.outlets.len() as u64) >> 32;
        self.outlets.get_mut(usize::try_from(owner).ok()?)?.as_mut()
    }
}

/// A way out of a worker.
pub struct Outlet {
    burst: Burst,
    via: Via,
}

/// Where an outlet leads.
pub enum Via {
    /// To a device. `sent` notes the time stamp of every packet sent, if that is wanted.
    Queue {
        /// The queue.
        queue: TxQueue,
        /// The time stamps.
        sent: Option<(TimestampField, Vec<u64>)>,
    },
    /// To another worker.
    Ring(ring::Sender),
}

impl Outlet {
    /// An outlet that leads there.
    pub fn new(via: Via) -> Outlet {
        Outlet { burst: Burst::new(), via }
    }

    /// Whether a burst would fit.
    fn has_room(&self) -> bool {
        match &self.via {
            Via::Queue { .. } => true,
            Via::Ring(ring) => ring.room() >= BURST,
        }
    }

    /// Sends what was gathered, and counts what ends here.
    #[inline]
    fn flush(&mut self, stats: &mut Writer) {
        if self.burst.is_empty() {
            return;
        }
        match &mut self.via {
            Via::Queue { queue, sent } => {
                if let Some((field, sent)) = sent {
                    sent.extend(self.burst.iter().map(|m| m.timestamp(field).unwrap_or(0)));
                }
                let mut taken = queue.send(&mut self.burst);
                for _ in 1..TX_ATTEMPTS {
                    if self.burst.is_empty() {
                        break;
                    }
                    taken += queue.send(&mut self.burst);
                }
                stats.add(Scalar::Transmitted, taken as u64);
                stats.verdict(Verdict::Forwarded, taken as u64);
                if !self.burst.is_empty() {
                    stats.verdict(Verdict::Dropped(Drop::TxFull), self.burst.len() as u64);
                    self.burst.clear();
                }
            }
            Via::Ring(ring) => {
                ring.send(&mut self.burst);
                if !self.burst.is_empty() {
                    stats.verdict(Verdict::Dropped(Drop::RingFull), self.burst.len() as u64);
                    self.burst.clear();
                }
            }
        }
    }
}

/// Packets of other workers for a queue that this one has.
pub struct Relay {
    /// The port that they leave by.
    pub port: PortIndex,
    /// How they come.
    pub ring: ring::Receiver,
}

/// A listing that a worker is asked for, and where it sends it when it is done.
pub struct Question {
    /// The listing.
    pub scan: Scan,
    /// Where to.
    pub reply: Sender<Scan>,
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
    /// The ways out, by [`PortIndex`].
    pub outlets: Vec<Outlet>,
    /// What it is asked.
    pub questions: Receiver<Question>,
    /// What it is told.
    pub command: Arc<Command>,
    /// Let a source wait rather than drop a packet for want of room in a ring.
    pub lossless: bool,
}

impl Worker {
    /// Works until it is told to stop. Answers, for each port, the time stamps of the packets that it
    /// sent there, if its outlet notes them.
    pub fn run(self) -> Vec<Vec<u64>> {
        let Worker { balancer, stats, mut clock, mut sources, relays, mut outlets, .. } = self;
        let mut tables: Cache<_, Arc<Tables>> = Cache::new(self.tables);
        let mut path = Path { balancer, stats, staged: [None; BURST] };
        let mut relays = relays;
        let mut burst = Burst::new();
        let mut generation = 0;
        let mut pass_generation = 0;
        let mut question: Option<Question> = None;
        let mut idle = 0;
        let mut rounds: u64 = 0;
        let mut draining = false;
        loop {
            rounds += 1;
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
                if self.lossless && !has_room(source, &outlets) {
                    found = true;
                    continue;
                }
                let owners = match &mut source.intake {
                    Intake::Queue { .. } if draining => continue,
                    Intake::Queue { queue, owners } => {
                        let received = queue.receive(&mut burst);
                        path.stats.add(Scalar::Received, received as u64);
                        owners.as_mut()
                    }
                    Intake::Ring(ring) => {
                        ring.receive(&mut burst);
                        None
                    }
                };
                if burst.is_empty() {
                    continue;
                }
                found = true;
                path.take(tables, source.port, &mut burst, owners, &mut outlets, &mut clock);
            }
            for relay in &mut relays {
                let outlet = &mut outlets[usize::from(relay.port.0)];
                found |= relay.ring.receive(&mut outlet.burst) > 0;
                outlet.flush(&mut path.stats);
            }
            if path.balancer.sweep(tables, clock.now()) {
                path.stats.set(Scalar::SweptGeneration, pass_generation);
                pass_generation = generation;
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
            if found && !rounds.is_multiple_of(HOUSEKEEPING) {
                continue;
            }
            path.stats.set(Scalar::Flows, path.balancer.flows().len() as u64);
            question = question.or_else(|| self.questions.try_recv().ok());
            if self.command.is(Command::STOP) {
                break;
            }
            if idle > PATIENCE {
                std::thread::yield_now();
            } else if idle > 0 {
                std::hint::spin_loop();
            }
        }
        outlets
            .into_iter()
            .map(|outlet| match outlet.via {
                Via::Queue { sent: Some((_, sent)), .. } => sent,
                _ => Vec::new(),
            })
            .collect()
    }
}

/// Whether a burst of this source finds room wherever it may have to wait.
fn has_room(source: &Source, outlets: &[Outlet]) -> bool {
    let owners = match &source.intake {
        Intake::Queue { owners: Some(owners), .. } => &owners.outlets[..],
        _ => &[],
    };
    owners.iter().flatten().chain(outlets).all(Outlet::has_room)
}

/// What a packet meets on its way through a worker.
struct Path {
    balancer: Balancer,
    stats: Writer,
    /// The packets of the burst that are to be decided.
    staged: [Option<Classified>; BURST],
}

impl Path {
    /// Takes a burst all the way; it is empty afterwards.
    #[inline]
    fn take(
        &mut self,
        tables: &Tables,
        port: PortIndex,
        burst: &mut Burst,
        mut owners: Option<&mut Owners>,
        outlets: &mut [Outlet],
        clock: &mut Clock,
    ) {
        let mut start = 0;
        while start < burst.len() {
            let (end, now) = clock.run(burst, start);
            self.classify(tables, port, burst, start..end, owners.as_deref_mut());
            self.forward(tables, burst, start..end, outlets, now);
            start = end;
        }
        burst.clear();
        if let Some(owners) = owners {
            owners.outlets.iter_mut().flatten().for_each(|outlet| outlet.flush(&mut self.stats));
        }
        outlets.iter_mut().for_each(|outlet| outlet.flush(&mut self.stats));
    }

    /// Parses and hashes, hands over what others own, and stages the rest.
    #[inline]
    fn classify(
        &mut self,
        tables: &Tables,
        port: PortIndex,
        burst: &mut Burst,
        range: Range<usize>,
        mut owners: Option<&mut Owners>,
    ) {
        for i in range.clone() {
            if let Some(mbuf) = burst.get(i) {
                prefetch(mbuf.bytes());
            }
        }
        for i in range {
            self.staged[i] = None;
            let Some(mbuf) = burst.get(i) else { continue };
            let classified = if mbuf.is_contiguous() {
                self.balancer.classify(tables, port, mbuf.bytes())
            } else {
                Err(Drop::FrameTooLong)
            };
            match classified {
                Err(drop) => self.stats.verdict(Verdict::Dropped(drop), 1),
                Ok(classified) => {
                    let owner = owners.as_mut().and_then(|owners| owners.of(classified.tag));
                    if let Some(outlet) = owner {
                        burst.move_to(i, &mut outlet.burst);
                    } else {
                        prefetch(self.balancer.flows().bucket(classified.tag));
                        self.staged[i] = Some(classified);
                    }
                }
            }
        }
    }

    /// Decides and encapsulates what is staged, and puts it before its port.
    #[inline]
    fn forward(
        &mut self,
        tables: &Tables,
        burst: &mut Burst,
        range: Range<usize>,
        outlets: &mut [Outlet],
        now: Time,
    ) {
        for i in range {
            let Some(classified) = self.staged[i] else { continue };
            let Some(mbuf) = burst.get_mut(i) else { continue };
            let length = mbuf.bytes().len() as u64;
            let sent =
                self.balancer.decide(tables, mbuf.bytes(), &classified, now).and_then(|decision| {
                    self.stats.event(decision.flow);
                    let backend = decision.backend;
                    let port = self.balancer.encapsulate(tables, &classified, backend, mbuf)?;
                    let begins = decision.flow.is_choice();
                    self.stats.service(classified.service.id.0 as usize, length, begins);
                    self.stats.backend(backend.index(), length, begins);
                    Ok(port)
                });
            match sent {
                Ok(port) => {
                    let outlet = &mut outlets[usize::from(port.0)];
                    // An outlet is flushed after each burst, so that it has room for another.
                    burst.move_to(i, &mut outlet.burst);
                }
                Err(drop) => self.stats.verdict(Verdict::Dropped(drop), 1),
            }
        }
    }
}
