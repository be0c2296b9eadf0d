//! The rings by which the worker that polls a device passes packets on to the owners of their flows, each packet with
//! what is known about it.

use super::ring_queue::RingQueue;
use crate::dpdk::{BURST, Burst, Mempool, OwnedMbuf};
use guideway_core::balancer::handoff::owner;
use guideway_core::balancer::passed::Passed;
use guideway_core::balancer::{DropReason, Verdict};
use guideway_core::stats::Writer;

/// Divides flows among the workers by their hash.
pub struct Owners {
    /// The pool of the device's packets.
    pub pool: Mempool,
    /// The output to each worker; `None` for the worker that divides.
    pub outputs: Vec<Option<OwnerOutput>>,
}

impl Owners {
    /// The output to a flow's owner; `None` if that is this worker.
    #[inline]
    pub(super) fn of(&mut self, tag: u64) -> Option<&mut OwnerOutput> {
        let owner = owner(tag, self.outputs.len());
        self.outputs.get_mut(owner)?.as_mut()
    }

    /// Flushes all outputs.
    #[inline]
    pub(super) fn flush(&mut self, stats: &mut Writer) {
        self.outputs.iter_mut().flatten().for_each(|output| output.flush(stats));
        // The owners return the buffers, so those of the next burst are in other CPUs' caches.
        self.pool.fetch_next();
    }
}

/// The packets for one owner. They are written with each burst, so they share no cache line with what another worker has.
#[repr(align(128))]
pub struct OwnerOutput {
    burst: Burst,
    /// What is known about the packets of the burst, each at its place.
    passed: [Passed; BURST],
    ring: RingQueue<Passed>,
}

impl OwnerOutput {
    /// An output to the other end of `ring`.
    pub fn new(ring: RingQueue<Passed>) -> OwnerOutput {
        OwnerOutput { burst: Burst::new(), passed: [Passed::default(); BURST], ring }
    }

    /// Whether a burst fits.
    pub(super) fn has_room(&self) -> bool {
        self.ring.has_room()
    }

    /// Sends packets that wait for room. Returns whether any still wait.
    pub(super) fn retry(&mut self) -> bool {
        self.ring.retry()
    }

    /// Adds a packet to the next flush.
    ///
    /// # Errors
    /// The packet, if the burst is full.
    #[inline]
    pub(super) fn push(&mut self, passed: &Passed, mbuf: OwnedMbuf) -> Result<(), OwnedMbuf> {
        if let Some(place) = self.passed.get_mut(self.burst.len()) {
            *place = *passed;
        }
        self.burst.push(mbuf)
    }

    /// Passes on all packets added since the last flush, and counts those that are dropped because the ring is full.
    #[inline]
    pub(super) fn flush(&mut self, stats: &mut Writer) {
        // Of many owners, each burst has packets for a few.
        if !self.burst.is_empty() {
            self.send_all(stats);
        }
    }

    #[inline(never)]
    fn send_all(&mut self, stats: &mut Writer) {
        self.ring.send_with(&mut self.burst, &self.passed);
        if !self.burst.is_empty() {
            stats.verdict(Verdict::Dropped(DropReason::RingFull), self.burst.len() as u64);
            self.burst.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use guideway_core::stats;

    use super::*;
    use crate::dpdk::ring;
    use crate::dpdk::testing::{eal, packets, pool, unique};

    /// A neighbour that takes nothing costs the packets that do not fit, each counted, and nothing afterwards.
    #[test]
    fn a_stopped_owner_loses_what_does_not_fit_and_recovers() {
        let pool = pool(255);
        let (mut stats, reader) = stats::channel(0, 0);
        let (to, mut from) = ring::channel_with_notes(eal(), &unique("owner"), 64, None).unwrap();
        let outputs = vec![Some(OwnerOutput::new(RingQueue::new(to, false)))];
        let mut owners = Owners { pool: pool.clone(), outputs };
        let dropped = || reader.verdict(Verdict::Dropped(DropReason::RingFull));
        let mut send = |packets_to_send: Burst, stats: &mut Writer| {
            let mut packets_to_send = packets_to_send;
            for mbuf in packets_to_send.drain() {
                assert!(owners.of(7).unwrap().push(&Passed::default(), mbuf).is_ok());
            }
            owners.flush(stats);
        };
        for _ in 0..4 {
            send(packets(&pool, 32), &mut stats);
        }
        assert_eq!((dropped(), pool.in_use()), (4 * 32 - 63, 63));
        let (mut burst, mut passed) = (Burst::new(), [Passed::default(); BURST]);
        assert_eq!(from.receive_with(&mut burst, &mut passed), 32);
        send(packets(&pool, 32), &mut stats);
        assert_eq!(dropped(), 4 * 32 - 63, "there is room again");
        assert_eq!(from.receive_with(&mut burst, &mut passed), 32);
        assert_eq!(from.receive_with(&mut burst, &mut passed), 31);
        assert_eq!(from.receive_with(&mut burst, &mut passed), 0);
        drop(burst);
        assert_eq!(pool.in_use(), 0);
    }
}
