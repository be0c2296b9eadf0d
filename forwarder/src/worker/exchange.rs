//! Where a worker's packets come from and where they go: devices, and rings between workers.

use crate::balancer::tables::PortIndex;
use crate::balancer::{Drop, Verdict};
use crate::dpdk::clock::TimestampField;
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::dpdk::{BURST, Burst, ring};
use crate::stats::{Scalar, Writer};

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
    /// Whether a burst of it finds room wherever it may have to wait.
    pub(super) fn has_room(&self, outlets: &[Outlet]) -> bool {
        let owners = match &self.intake {
            Intake::Queue { owners: Some(owners), .. } => &owners.outlets[..],
            _ => &[],
        };
        owners.iter().flatten().chain(outlets).all(Outlet::has_room)
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
        // The low half chooses the worker, for the high half chooses the bucket there.
        let owner = ((tag & 0xffff_ffff) * self.outlets.len() as u64) >> 32;
        self.outlets.get_mut(usize::try_from(owner).ok()?)?.as_mut()
    }
}

/// A way out of a worker.
pub struct Outlet {
    pub(super) burst: Burst,
    pub(super) via: Via,
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
    pub(super) fn flush(&mut self, stats: &mut Writer) {
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
