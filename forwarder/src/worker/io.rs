//! Where a worker's packets come from and where they go: devices, and rings between workers.

use std::collections::VecDeque;

use crate::balancer::id::PortIndex;
use crate::balancer::{DropReason, Verdict};
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::dpdk::{BURST, Burst, OwnedMbuf, TimestampField, ring};
use crate::stats::{Counter, Event, Writer};

/// Attempts to hand a burst to a device before the rest of it is dropped.
const TX_ATTEMPTS: usize = 4;

/// Where packets come from.
pub struct Input {
    /// The port that they came in by.
    pub port: PortIndex,
    /// How they come.
    pub kind: InputKind,
}

impl Input {
    /// The ways to the owners of its packets.
    pub(super) fn owners(&mut self) -> impl Iterator<Item = &mut Output> {
        let owners = match &mut self.kind {
            InputKind::Queue { owners: Some(owners), .. } => &mut owners.outputs[..],
            _ => &mut [],
        };
        owners.iter_mut().flatten()
    }

    /// Whether it may be polled by a worker that is to lose nothing: packets that are among the workers
    /// already may always go on, so that they come to an end, and new ones if a burst finds room
    /// wherever it may have to wait.
    pub(super) fn may_be_polled(&self, outputs: &[Output], siblings: &[Option<Output>]) -> bool {
        let InputKind::Queue { owners, .. } = &self.kind else { return true };
        let owners = owners.iter().flat_map(|owners| &owners.outputs);
        owners.chain(siblings).flatten().chain(outputs).all(Output::has_room)
    }
}

/// How packets come to a worker.
pub enum InputKind {
    /// From a device.
    Queue {
        /// The queue.
        queue: RxQueue,
        /// Who owns which flow, if the device does not see to that.
        owners: Option<Owners>,
    },
    /// From the worker that polls the device.
    Ring(ring::Receiver),
    /// From another worker, each packet with a note that says why.
    Handoff(ring::Receiver),
}

/// Divides flows among the workers by their hash.
pub struct Owners {
    /// The way to each worker; none to the one that divides.
    pub outputs: Vec<Option<Output>>,
}

impl Owners {
    /// The way to a flow's owner, unless that is this worker.
    #[inline]
    pub(super) fn of(&mut self, tag: u64) -> Option<&mut Output> {
        let owner = owner(tag, self.outputs.len());
        self.outputs.get_mut(owner)?.as_mut()
    }
}

/// The worker, of so many, that has the flow of this hash. The high half of it chooses, for the low
/// half chooses the bucket there.
#[inline]
pub(super) fn owner(tag: u64, workers: usize) -> usize {
    (((tag >> 32) * workers as u64) >> 32) as usize
}

/// A way out of a worker.
pub struct Output {
    burst: Burst,
    kind: OutputKind,
}

/// A ring to another worker, and what has to wait for room in it.
pub struct RingQueue {
    ring: ring::Sender,
    /// None where a full ring drops instead.
    waiting: Option<VecDeque<OwnedMbuf>>,
}

impl RingQueue {
    /// A lane by this ring; a lossless one never drops.
    pub fn new(ring: ring::Sender, lossless: bool) -> RingQueue {
        RingQueue { ring, waiting: lossless.then(VecDeque::new) }
    }

    fn has_room(&self) -> bool {
        self.waiting.as_ref().is_none_or(VecDeque::is_empty) && self.ring.room() >= BURST
    }

    /// Sends packets from the front of a burst, and says how many; what stays is to be dropped.
    #[inline]
    fn send(&mut self, burst: &mut Burst) -> usize {
        if self.waiting.is_some() {
            return self.send_or_wait(burst);
        }
        self.ring.send(burst)
    }

    #[cold]
    fn send_or_wait(&mut self, burst: &mut Burst) -> usize {
        let packets = burst.len();
        if !self.retry() {
            self.ring.send(burst);
        }
        let waiting = self.waiting.get_or_insert_default();
        waiting.extend(burst.drain());
        packets
    }

    /// Sends what waits, as far as there is room; answers whether anything still waits.
    #[inline]
    fn retry(&mut self) -> bool {
        let Some(waiting) = self.waiting.as_mut().filter(|waiting| !waiting.is_empty()) else {
            return false;
        };
        let mut burst = Burst::new();
        while let Some(mbuf) = waiting.pop_front() {
            // One by one: a burst of one packet has room, and what is not taken keeps its place.
            let _ = burst.push(mbuf);
            if self.ring.send(&mut burst) == 0 {
                waiting.extend(burst.drain());
                waiting.rotate_right(1);
                return true;
            }
        }
        false
    }
}

/// Where an outlet leads.
pub enum OutputKind {
    /// To a device. `sent` notes the time stamp of every packet sent, if that is wanted.
    Queue {
        /// The queue.
        queue: TxQueue,
        /// The time stamps.
        sent: Option<(TimestampField, Vec<u64>)>,
    },
    /// To another worker.
    Ring(RingQueue),
    /// To the worker that has a device's queue, which counts the verdict of what it sends for
    /// others: packets that have theirs already go another way.
    Relay {
        /// For packets whose verdict depends on the device.
        ring: RingQueue,
        /// For those that have a verdict.
        decided: RingQueue,
    },
}

impl Output {
    /// An outlet that leads there.
    pub fn new(kind: OutputKind) -> Output {
        Output { burst: Burst::new(), kind }
    }

    /// Whether a burst would fit.
    fn has_room(&self) -> bool {
        match &self.kind {
            OutputKind::Queue { .. } => true,
            OutputKind::Ring(queue) => queue.has_room(),
            OutputKind::Relay { ring, decided } => ring.has_room() && decided.has_room(),
        }
    }

    /// Sends on what had to wait for room in a ring; answers whether anything still waits.
    pub(super) fn retry(&mut self) -> bool {
        match &mut self.kind {
            OutputKind::Queue { .. } => false,
            OutputKind::Ring(queue) => queue.retry(),
            OutputKind::Relay { ring, decided } => ring.retry() | decided.retry(),
        }
    }

    /// The time stamps of what was sent, if they were noted.
    pub(super) fn into_sent(self) -> Vec<u64> {
        match self.kind {
            OutputKind::Queue { sent: Some((_, sent)), .. } => sent,
            _ => Vec::new(),
        }
    }

    /// What is gathered.
    #[inline]
    pub(super) fn burst(&mut self) -> &mut Burst {
        &mut self.burst
    }

    /// Adds a packet to what is sent with the next flush.
    pub(super) fn push(&mut self, mbuf: OwnedMbuf, stats: &mut Writer) {
        if let Err(mbuf) = self.burst.push(mbuf) {
            self.flush(stats);
            // A flush leaves nothing behind.
            let _ = self.burst.push(mbuf);
        }
    }

    /// Adds all packets of a burst to what is sent with the next flush.
    #[inline]
    pub(super) fn extend(&mut self, burst: &mut Burst, stats: &mut Writer) {
        if self.burst.remaining() < burst.len() {
            self.flush(stats);
        }
        self.burst.append(burst);
    }

    /// Sends a packet whose verdict is the caller's to count, after what was gathered.
    ///
    /// # Errors
    /// The reason why it was dropped.
    pub(super) fn send_now(
        &mut self,
        mbuf: OwnedMbuf,
        stats: &mut Writer,
    ) -> Result<(), DropReason> {
        self.flush(stats);
        // A flush leaves nothing behind.
        let _ = self.burst.push(mbuf);
        let (taken, reason) = match &mut self.kind {
            OutputKind::Queue { queue, sent } => {
                (transmit(queue, sent, &mut self.burst, stats), DropReason::TxFull)
            }
            OutputKind::Ring(queue) | OutputKind::Relay { decided: queue, .. } => {
                (queue.send(&mut self.burst), DropReason::RingFull)
            }
        };
        self.burst.clear();
        if taken > 0 { Ok(()) } else { Err(reason) }
    }

    /// Sends what was gathered, and counts what ends here.
    #[inline(never)]
    pub(super) fn flush(&mut self, stats: &mut Writer) {
        if self.burst.is_empty() {
            return;
        }
        let reason = match &mut self.kind {
            OutputKind::Queue { queue, sent } => {
                let taken = transmit(queue, sent, &mut self.burst, stats);
                stats.verdict(Verdict::Forwarded, taken as u64);
                DropReason::TxFull
            }
            OutputKind::Ring(queue) | OutputKind::Relay { ring: queue, .. } => {
                queue.send(&mut self.burst);
                DropReason::RingFull
            }
        };
        if !self.burst.is_empty() {
            stats.verdict(Verdict::Dropped(reason), self.burst.len() as u64);
        }
        self.burst.clear();
    }

    /// Sends packets of another worker, who has counted their verdicts.
    fn flush_decided(&mut self, stats: &mut Writer) {
        if let OutputKind::Queue { queue, sent } = &mut self.kind {
            transmit(queue, sent, &mut self.burst, stats);
        }
        stats.event(Event::TxFullLate, self.burst.len() as u64);
        self.burst.clear();
    }
}

/// Sends from the front of a burst what the device takes.
#[inline]
fn transmit(
    queue: &mut TxQueue,
    sent: &mut Option<(TimestampField, Vec<u64>)>,
    burst: &mut Burst,
    stats: &mut Writer,
) -> usize {
    if let Some((field, sent)) = sent {
        // A piece of a packet is made here and has none: it takes that of the frame before it.
        let mut last = sent.last().copied().unwrap_or(0);
        sent.extend(burst.iter().map(|mbuf| {
            last = mbuf.timestamp(field).unwrap_or(last);
            last
        }));
    }
    let mut taken = queue.send(burst);
    for _ in 1..TX_ATTEMPTS {
        if burst.is_empty() {
            break;
        }
        taken += queue.send(burst);
    }
    stats.add(Counter::Transmitted, taken as u64);
    taken
}

/// Packets of other workers for a queue that this one has.
pub struct Relay {
    /// The port that they leave by.
    pub port: PortIndex,
    /// How they come.
    pub ring: ring::Receiver,
    /// They have their verdict already.
    pub decided: bool,
}

impl Relay {
    /// Passes on what waits; answers whether there was anything.
    pub(super) fn pass(&mut self, outputs: &mut [Output], stats: &mut Writer) -> bool {
        let output = &mut outputs[usize::from(self.port.0)];
        output.flush(stats);
        let any = self.ring.receive(&mut output.burst) > 0;
        if self.decided {
            output.flush_decided(stats);
        } else {
            output.flush(stats);
        }
        any
    }
}
