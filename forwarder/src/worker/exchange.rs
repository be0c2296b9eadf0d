//! Where a worker's packets come from and where they go: devices, and rings between workers.

use std::collections::VecDeque;

use crate::balancer::tables::PortIndex;
use crate::balancer::{DropReason, Verdict};
use crate::dpdk::clock::TimestampField;
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::dpdk::{BURST, Burst, Held, ring};
use crate::stats::{Event, Scalar, Writer};

/// Attempts to hand a burst to a device before the rest of it is dropped.
const TX_ATTEMPTS: usize = 4;

/// Where packets come from.
pub struct Source {
    /// The port that they came in by.
    pub port: PortIndex,
    /// How they come.
    pub intake: Intake,
}

impl Source {
    /// The ways to the owners of its packets.
    pub(super) fn owners(&mut self) -> impl Iterator<Item = &mut Outlet> {
        let owners = match &mut self.intake {
            Intake::Queue { owners: Some(owners), .. } => &mut owners.outlets[..],
            _ => &mut [],
        };
        owners.iter_mut().flatten()
    }

    /// Whether it may be polled by a worker that is to lose nothing: packets that are among the workers
    /// already may always go on, so that they come to an end, and new ones if a burst finds room
    /// wherever it may have to wait.
    pub(super) fn may_be_polled(&self, outlets: &[Outlet], peers: &[Option<Outlet>]) -> bool {
        let Intake::Queue { owners, .. } = &self.intake else { return true };
        let owners = owners.iter().flat_map(|owners| &owners.outlets);
        owners.chain(peers).flatten().chain(outlets).all(Outlet::has_room)
    }
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
    /// From another worker, each packet with a note that says why.
    Peer(ring::Receiver),
}

/// Divides flows among the workers by their hash.
pub struct Owners {
    /// The way to each worker; none to the one that divides.
    pub outlets: Vec<Option<Outlet>>,
}

impl Owners {
    /// The way to a flow's owner, unless that is this worker.
    #[inline]
    pub(super) fn of(&mut self, tag: u64) -> Option<&mut Outlet> {
        let owner = owner(tag, self.outlets.len());
        self.outlets.get_mut(owner)?.as_mut()
    }
}

/// The worker, of so many, that has the flow of this hash. The high half of it chooses, for the low
/// half chooses the bucket there.
#[inline]
pub(super) fn owner(tag: u64, workers: usize) -> usize {
    (((tag >> 32) * workers as u64) >> 32) as usize
}

/// A way out of a worker.
pub struct Outlet {
    burst: Burst,
    via: Via,
}

/// A ring to another worker, and what has to wait for room in it.
pub struct Lane {
    ring: ring::Sender,
    /// None where a full ring drops instead.
    waiting: Option<VecDeque<Held>>,
}

impl Lane {
    /// A lane by this ring; a lossless one never drops.
    pub fn new(ring: ring::Sender, lossless: bool) -> Lane {
        Lane { ring, waiting: lossless.then(VecDeque::new) }
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
        while let Some(held) = waiting.pop_front() {
            // One by one: a burst of one packet has room, and what is not taken keeps its place.
            let _ = burst.push(held);
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
pub enum Via {
    /// To a device. `sent` notes the time stamp of every packet sent, if that is wanted.
    Queue {
        /// The queue.
        queue: TxQueue,
        /// The time stamps.
        sent: Option<(TimestampField, Vec<u64>)>,
    },
    /// To another worker.
    Ring(Lane),
    /// To the worker that has a device's queue, which counts the verdict of what it sends for
    /// others: packets that have theirs already go another way.
    Relay {
        /// For packets whose verdict depends on the device.
        ring: Lane,
        /// For those that have a verdict.
        decided: Lane,
    },
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
            Via::Ring(lane) => lane.has_room(),
            Via::Relay { ring, decided } => ring.has_room() && decided.has_room(),
        }
    }

    /// Sends on what had to wait for room in a ring; answers whether anything still waits.
    pub(super) fn retry(&mut self) -> bool {
        match &mut self.via {
            Via::Queue { .. } => false,
            Via::Ring(lane) => lane.retry(),
            Via::Relay { ring, decided } => ring.retry() | decided.retry(),
        }
    }

    /// The time stamps of what was sent, if they were noted.
    pub(super) fn into_sent(self) -> Vec<u64> {
        match self.via {
            Via::Queue { sent: Some((_, sent)), .. } => sent,
            _ => Vec::new(),
        }
    }

    /// What is gathered.
    #[inline]
    pub(super) fn burst(&mut self) -> &mut Burst {
        &mut self.burst
    }

    /// Adds a packet to what is sent with the next flush.
    pub(super) fn push(&mut self, held: Held, stats: &mut Writer) {
        if let Err(held) = self.burst.push(held) {
            self.flush(stats);
            // A flush leaves nothing behind.
            let _ = self.burst.push(held);
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
    pub(super) fn send_now(&mut self, held: Held, stats: &mut Writer) -> Result<(), DropReason> {
        self.flush(stats);
        // A flush leaves nothing behind.
        let _ = self.burst.push(held);
        let (taken, reason) = match &mut self.via {
            Via::Queue { queue, sent } => {
                (transmit(queue, sent, &mut self.burst, stats), DropReason::TxFull)
            }
            Via::Ring(lane) | Via::Relay { decided: lane, .. } => {
                (lane.send(&mut self.burst), DropReason::RingFull)
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
        let reason = match &mut self.via {
            Via::Queue { queue, sent } => {
                let taken = transmit(queue, sent, &mut self.burst, stats);
                stats.verdict(Verdict::Forwarded, taken as u64);
                DropReason::TxFull
            }
            Via::Ring(lane) | Via::Relay { ring: lane, .. } => {
                lane.send(&mut self.burst);
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
        if let Via::Queue { queue, sent } = &mut self.via {
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
    stats.add(Scalar::Transmitted, taken as u64);
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
    pub(super) fn pass(&mut self, outlets: &mut [Outlet], stats: &mut Writer) -> bool {
        let outlet = &mut outlets[usize::from(self.port.0)];
        outlet.flush(stats);
        let any = self.ring.receive(&mut outlet.burst) > 0;
        if self.decided {
            outlet.flush_decided(stats);
        } else {
            outlet.flush(stats);
        }
        any
    }
}
