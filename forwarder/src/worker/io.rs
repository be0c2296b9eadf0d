//! Where a worker's packets come from and where they go: devices, and rings between workers.

use super::owners::{OwnerOutput, Owners};
use super::ring_queue::RingQueue;
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::dpdk::{Burst, OwnedMbuf, TimestampField, ring};
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::passed::Passed;
use guideway_core::balancer::{DropReason, Verdict};
use guideway_core::stats::{Counter, Event, Writer};

/// Attempts to hand a burst to a device before the rest of the burst is dropped.
const TX_ATTEMPTS: usize = 4;

/// A source of packets.
pub struct Input {
    /// The port by which the packets arrived.
    pub port: PortIndex,
    /// The kind of the source.
    pub kind: InputKind,
}

impl Input {
    /// The outputs to the owners of this input's packets.
    pub(super) fn owners(&mut self) -> impl Iterator<Item = &mut OwnerOutput> {
        let owners = match &mut self.kind {
            InputKind::Queue { owners: Some(owners), .. } => &mut owners.outputs[..],
            _ => &mut [],
        };
        owners.iter_mut().flatten()
    }

    /// Whether a lossless worker may poll this input. Packets that are among the workers already
    /// may always move on, so that they come to an end. New packets may enter if a burst fits
    /// wherever it may have to wait.
    pub(super) fn may_be_polled(
        &self,
        outputs: &[Output],
        siblings: &[Option<Output>],
        kernel_has_room: bool,
    ) -> bool {
        let InputKind::Queue { owners, .. } = &self.kind else { return true };
        let mut owners = owners.iter().flat_map(|owners| &owners.outputs).flatten();
        let mut outputs = siblings.iter().flatten().chain(outputs);
        owners.all(OwnerOutput::has_room) && outputs.all(Output::has_room) && kernel_has_room
    }
}

/// How packets come to a worker.
pub enum InputKind {
    /// From a device.
    Queue {
        /// The device's queue.
        queue: RxQueue,
        /// How flows are divided among the workers, if the device does not divide them.
        owners: Option<Owners>,
    },
    /// From the worker that polls the device.
    Ring(ring::Receiver<Passed>),
    /// From a sibling, each packet with metadata that says why.
    Handoff(ring::Receiver),
}

/// Where a worker's packets go. It is written with each packet, so it shares no cache line with what another worker has.
#[repr(align(128))]
pub struct Output {
    burst: Burst,
    kind: OutputKind,
}

/// Where an output leads.
#[expect(clippy::large_enum_variant, reason = "a worker has one for each port, and never moves it")]
pub enum OutputKind {
    /// To a device.
    Queue {
        /// The device's queue.
        queue: TxQueue,
        /// The time-stamp field, and the time stamp of every packet sent, if these are recorded.
        sent: Option<(TimestampField, Vec<u64>)>,
    },
    /// To another worker.
    Ring(RingQueue),
    /// To the worker that has a device's queue. That worker counts the verdicts of packets from
    /// `ring`, but not of packets from `decided`.
    Relay {
        /// For packets whose verdict depends on the device.
        ring: RingQueue,
        /// For packets whose verdict is counted.
        decided: RingQueue,
    },
}

impl Output {
    /// An output that leads to `kind`.
    pub fn new(kind: OutputKind) -> Output {
        Output { burst: Burst::new(), kind }
    }

    /// Whether a burst fits.
    fn has_room(&self) -> bool {
        match &self.kind {
            OutputKind::Queue { .. } => true,
            OutputKind::Ring(queue) => queue.has_room(),
            OutputKind::Relay { ring, decided } => ring.has_room() && decided.has_room(),
        }
    }

    /// Sends packets that wait for room in a ring. Returns whether any still wait.
    pub(super) fn retry(&mut self) -> bool {
        match &mut self.kind {
            OutputKind::Queue { .. } => false,
            OutputKind::Ring(queue) => queue.retry(),
            OutputKind::Relay { ring, decided } => ring.retry() | decided.retry(),
        }
    }

    /// The time stamps of the packets sent, if these were recorded.
    pub(super) fn into_sent(self) -> Vec<u64> {
        match self.kind {
            OutputKind::Queue { sent: Some((_, sent)), .. } => sent,
            _ => Vec::new(),
        }
    }

    /// Adds a packet to the next flush.
    pub(super) fn push(&mut self, mbuf: OwnedMbuf, stats: &mut Writer) {
        if let Err(mbuf) = self.burst.push(mbuf) {
            self.flush(stats);
            // A flush leaves nothing behind.
            let _ = self.burst.push(mbuf);
        }
    }

    /// Adds all packets of a burst to the next flush.
    #[inline]
    pub(super) fn extend(&mut self, burst: &mut Burst, stats: &mut Writer) {
        if self.burst.remaining() < burst.len() {
            self.flush(stats);
        }
        self.burst.append(burst);
    }

    /// Sends a packet whose verdict the caller counts, after all packets of the next flush.
    ///
    /// # Errors
    /// The reason why the packet was dropped.
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

    /// Sends all packets added since the last flush, and counts the verdicts of those that leave or
    /// are dropped here.
    #[inline]
    pub(super) fn flush(&mut self, stats: &mut Writer) {
        // Most outputs are empty: of many workers, each burst has packets for a few.
        if !self.burst.is_empty() {
            self.send_all(stats);
        }
    }

    #[inline(never)]
    fn send_all(&mut self, stats: &mut Writer) {
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

    /// Sends a burst of what the kernel sends, behind all packets of the next flush. Returns how many the
    /// device did not take.
    pub(super) fn send_of_kernel(
        &mut self,
        ring: &mut ring::Receiver,
        stats: &mut Writer,
    ) -> usize {
        self.flush(stats);
        ring.receive(&mut self.burst);
        if let OutputKind::Queue { queue, sent } = &mut self.kind {
            transmit(queue, sent, &mut self.burst, stats);
        }
        let refused = self.burst.len();
        self.burst.clear();
        refused
    }

    /// Sends packets of another worker, which has counted their verdicts.
    fn flush_decided(&mut self, stats: &mut Writer) {
        if let OutputKind::Queue { queue, sent } = &mut self.kind {
            transmit(queue, sent, &mut self.burst, stats);
        }
        stats.event(Event::TxFullLate, self.burst.len() as u64);
        self.burst.clear();
    }
}

/// Sends packets from the front of a burst as far as the device takes them. Returns how many.
#[inline]
fn transmit(
    queue: &mut TxQueue,
    sent: &mut Option<(TimestampField, Vec<u64>)>,
    burst: &mut Burst,
    stats: &mut Writer,
) -> usize {
    if let Some((field, sent)) = sent {
        // A fragment is made here and has no time stamp: it takes that of the frame before it.
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

/// A ring from a worker to a transmit queue of this worker.
pub struct Relay {
    /// The port by which the packets leave.
    pub port: PortIndex,
    /// The ring.
    pub ring: ring::Receiver,
    /// The verdicts of the packets are counted.
    pub decided: bool,
}

impl Relay {
    /// Passes waiting packets on to the port. Returns whether there were any.
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
