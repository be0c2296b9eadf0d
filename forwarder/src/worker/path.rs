//! A packet's way through a worker, in stages over its burst.

use std::hint::cold_path;

use super::clock::Clock;
use super::exception::{Exceptions, Scene};
use super::exchange::Owners;
use crate::balancer::tables::{PortIndex, Unserved};
use crate::balancer::{
    Balancer, Classified, DropReason, FlowEvent, PacketMeta, PlainParse, Tables, Time, Verdict,
};
use crate::dpdk::{BURST, Burst, Held, Mbuf, prefetch};
use crate::stats::{Event, Writer};

/// So many packets are between the one that is read and the one whose headers are fetched.
const AHEAD: usize = 6;

/// What a packet meets on its way through a worker.
pub(super) struct Path {
    pub(super) balancer: Balancer,
    pub(super) stats: Writer,
    /// What is needed for packets that are not ordinary.
    pub(super) exceptions: Exceptions,
}

/// A burst, and what was found out about its packets.
pub(super) struct Batch {
    pub(super) burst: Burst,
    meta: [PacketMeta; BURST],
    /// Of packets that could not be staged: what they are. What is staged of them is no packet.
    others: [Result<Classified, Unserved>; BURST],
    /// What is dropped.
    waste: Burst,
}

impl Batch {
    pub(super) fn new() -> Batch {
        Batch {
            burst: Burst::new(),
            meta: [PacketMeta::NONE; BURST],
            others: [Err(Unserved::Drop(DropReason::FrameTooLong)); BURST],
            waste: Burst::new(),
        }
    }
}

impl Path {
    pub(super) fn new(balancer: Balancer, stats: Writer, exceptions: Exceptions) -> Path {
        Path { balancer, stats, exceptions }
    }

    /// Takes a batch all the way; it is empty afterwards.
    #[inline]
    pub(super) fn take(
        &mut self,
        scene: &mut Scene<'_>,
        port: PortIndex,
        batch: &mut Batch,
        mut owners: Option<&mut Owners>,
        clock: &mut Clock,
    ) {
        if clock.is_of_packets() {
            self.take_in_runs(scene, port, batch, &mut owners, clock);
        } else {
            self.take_run(scene, port, batch, &mut owners);
        }
        if let Some(owners) = owners {
            owners.outlets.iter_mut().flatten().for_each(|outlet| outlet.flush(&mut self.stats));
        }
        scene.flush(&mut self.stats);
    }

    /// As [`Path::take`], where each packet has a time of its own: those that share it together.
    #[cold]
    fn take_in_runs(
        &mut self,
        scene: &mut Scene<'_>,
        port: PortIndex,
        batch: &mut Batch,
        owners: &mut Option<&mut Owners>,
        clock: &mut Clock,
    ) {
        for held in std::mem::take(&mut batch.burst).drain() {
            let now = clock.of(&held);
            if now != scene.now {
                self.take_run(scene, port, batch, owners);
                scene.now = now;
            }
            // There is room for all of a burst.
            let _ = batch.burst.push(held);
        }
        self.take_run(scene, port, batch, owners);
    }

    /// Takes packets that share a moment.
    #[inline(always)]
    fn take_run(
        &mut self,
        scene: &mut Scene<'_>,
        port: PortIndex,
        batch: &mut Batch,
        owners: &mut Option<&mut Owners>,
    ) {
        self.classify(scene.tables, port, batch);
        if let Some(owners) = owners {
            hand_over(batch, owners);
        }
        self.forward(scene, port, batch);
    }

    /// Reads what is in the batch: parses, finds the service, hashes. A call of its own, as the next stage is,
    /// so that each has all registers to itself.
    #[inline(never)]
    fn classify(&mut self, tables: &Tables, port: PortIndex, batch: &mut Batch) {
        let Batch { burst, meta, others, .. } = batch;
        let packets = burst.packets();
        let filter = tables.frame_filter(port);
        // Where the next packet begins is looked up while this one is read: half of a read would be waiting
        // for that.
        let mut next = packets.first().and_then(|mbuf| mbuf.head());
        for i in 0..packets.len() {
            let (mbuf, meta, head) = (&packets[i], &mut meta[i], next);
            if let Some(mbuf) = packets.get(i + 1) {
                next = mbuf.head();
            }
            if let Some(mbuf) = packets.get(i + AHEAD) {
                mbuf.prefetch_headers();
            }
            let outcome = match head {
                Some(head) => self.balancer.parse_plain(tables, &filter, head, &**mbuf, meta),
                None => PlainParse::NotPlain,
            };
            if outcome != PlainParse::Served {
                cold_path();
                others[i] = self.classify_any(tables, port, mbuf, outcome, meta);
                *meta = PacketMeta::not_plain(others[i].map_or(0, |classified| classified.tag));
            }
        }
    }

    /// As [`Path::classify`], for a packet that could not be staged.
    #[inline(never)]
    fn classify_any(
        &self,
        tables: &Tables,
        port: PortIndex,
        mbuf: &Mbuf,
        outcome: PlainParse,
        meta: &PacketMeta,
    ) -> Result<Classified, Unserved> {
        if let Some(reason) = refusal(mbuf) {
            return Err(Unserved::Drop(reason));
        }
        self.balancer.classify_not_served(tables, port, mbuf.bytes(), outcome, meta)
    }

    /// Decides and encapsulates what is staged, and puts it before its port.
    fn forward(&mut self, scene: &mut Scene<'_>, port: PortIndex, batch: &mut Batch) {
        match self.fast_path(scene.tables, scene.now, batch) {
            Some(way) => {
                scene.outlets[usize::from(way.0)].extend(&mut batch.burst, &mut self.stats)
            }
            None => self.part(scene, port, batch),
        }
    }

    /// Takes the fast path with all packets that are for it: they are still in the burst, ready to be sent.
    /// Answers by which port, if these are all and it is the same for each.
    #[inline(never)]
    fn fast_path(&mut self, tables: &Tables, now: Time, batch: &mut Batch) -> Option<PortIndex> {
        let Batch { burst, meta, .. } = batch;
        let meta = &mut meta[..burst.len()];
        for meta in &*meta {
            prefetch(self.balancer.flows().bucket(meta.tag));
        }
        for meta in &mut *meta {
            self.balancer.lookup(tables, meta, now);
            if !meta.is_hit() {
                cold_path();
                // A flow that is new is looked for there as well.
                prefetch(self.balancer.flows().alternate_bucket(meta.tag));
            }
        }
        let mut traffic = self.stats.traffic();
        let mut refused = 0;
        // The bits that any port's number has, and those that all have.
        let (mut any, mut all) = (0, u16::MAX);
        for (mbuf, meta) in burst.iter_mut().zip(meta) {
            let length = mbuf.data_len() as u64;
            let Some(PortIndex(out)) = self.balancer.encapsulate_gre(tables, meta, mbuf) else {
                cold_path();
                refused += 1;
                continue;
            };
            (any, all) = (any | out, all & out);
            traffic.count(meta.service.id.0 as usize, meta.backend.index(), length);
        }
        let hits = burst.len() - refused;
        if hits > 0 {
            self.stats.event(Event::Flow(FlowEvent::Hit), hits as u64);
        }
        (refused == 0 && any == all).then_some(PortIndex(any))
    }

    /// TableSpec the packets of a burst that do not all leave by one port: those that the fast path has taken
    /// are put before theirs, and the others go the full path. The order stays.
    #[inline(never)]
    fn part(&mut self, scene: &mut Scene<'_>, port: PortIndex, batch: &mut Batch) {
        let Batch { burst, meta, others, waste } = batch;
        for ((held, meta), other) in burst.drain().zip(meta).zip(others) {
            match self.balancer.egress(scene.tables, meta) {
                Some(way) => scene.outlets[usize::from(way.0)].push(held, &mut self.stats),
                None => self.forward_any(scene, port, held, meta, other, waste),
            }
        }
        waste.clear();
    }

    /// As [`Path::forward`], for a packet that needs more thought, or has no service.
    #[inline(never)]
    fn forward_any(
        &mut self,
        scene: &mut Scene<'_>,
        port: PortIndex,
        held: Held,
        meta: &PacketMeta,
        other: &Result<Classified, Unserved>,
        waste: &mut Burst,
    ) {
        let classified = match meta.classified(held.bytes()) {
            Some(classified) => Ok(classified),
            None => *other,
        };
        match classified {
            Ok(classified) => self.forward_one(scene, held, port, &classified),
            Err(Unserved::Drop(drop)) => {
                self.stats.verdict(Verdict::Dropped(drop), 1);
                // There is room for all of a burst.
                let _ = waste.push(held);
            }
            Err(Unserved::Exception(packet, exception)) => {
                self.exception(scene, port, packet, exception, held);
            }
        }
    }
}

/// Why a packet cannot be worked on in place, if it cannot.
fn refusal(mbuf: &Mbuf) -> Option<DropReason> {
    if !mbuf.is_contiguous() {
        return Some(DropReason::FrameTooLong);
    }
    mbuf.is_shared().then_some(DropReason::BufferShared)
}

/// Hands over what others own; the rest moves up.
#[inline(never)]
fn hand_over(batch: &mut Batch, owners: &mut Owners) {
    for (i, held) in std::mem::take(&mut batch.burst).drain().enumerate() {
        let (meta, other) = (batch.meta[i % BURST], batch.others[i % BURST]);
        let outlet = if meta.is_packet() || other.is_ok() { owners.of(meta.tag) } else { None };
        let handed = match outlet {
            // It is empty before a burst, and has room for all of it.
            Some(outlet) => outlet.burst().push(held),
            None => Err(held),
        };
        if let Err(held) = handed {
            let place = batch.burst.len() % BURST;
            (batch.meta[place], batch.others[place]) = (meta, other);
            // There is room for all of a burst.
            let _ = batch.burst.push(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::testing::{packets, pool};

    #[test]
    fn what_is_not_one_buffer_with_one_owner_is_refused() {
        let pool = pool(31);
        let mut burst = packets(&pool, 1);
        let mbuf = burst.get_mut(0).unwrap();
        assert_eq!(refusal(mbuf), None);
        mbuf.pretend(2, 1);
        assert_eq!(refusal(mbuf), Some(DropReason::FrameTooLong));
        mbuf.pretend(1, 2);
        assert_eq!(refusal(mbuf), Some(DropReason::BufferShared));
        mbuf.pretend(1, 1);
        assert_eq!(refusal(mbuf), None);
    }
}
