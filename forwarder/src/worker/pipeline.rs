//! The fast path of a worker: each step runs over all packets of a burst.

use std::hint::cold_path;

use super::clock::Clock;
use super::exception::Exceptions;
use super::io::Owners;
use super::round::Round;
use crate::dpdk::{BURST, Burst, Mbuf, OwnedMbuf, prefetch};
use guideway_core::balancer::classify::Unserved;
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::{
    Balancer, Classified, DropReason, PacketMeta, PlainParse, Tables, Time, Verdict,
};
use guideway_core::stats::{Event, Writer};

/// How many packets ahead of the current one the headers are fetched.
const AHEAD: usize = 6;

/// The state that a packet's processing reads and writes.
pub(super) struct Pipeline {
    pub(super) balancer: Balancer,
    pub(super) stats: Writer,
    /// What the worker keeps for exceptions.
    pub(super) exceptions: Exceptions,
}

/// A burst, and what was found out about its packets.
pub(super) struct Batch {
    pub(super) burst: Burst,
    meta: [PacketMeta; BURST],
    /// The result for packets that are not plain. Their `meta` holds only the tag.
    others: [Result<Classified, Unserved>; BURST],
    /// Packets to be freed together.
    dropped: Burst,
}

impl Batch {
    pub(super) fn new() -> Batch {
        Batch {
            burst: Burst::new(),
            meta: [PacketMeta::NONE; BURST],
            others: [Err(Unserved::Drop(DropReason::FrameTooLong)); BURST],
            dropped: Burst::new(),
        }
    }
}

impl Pipeline {
    pub(super) fn new(balancer: Balancer, stats: Writer, exceptions: Exceptions) -> Pipeline {
        Pipeline { balancer, stats, exceptions }
    }

    /// Processes a batch; it is empty afterwards.
    #[inline]
    pub(super) fn process(
        &mut self,
        round: &mut Round<'_>,
        port: PortIndex,
        batch: &mut Batch,
        mut owners: Option<&mut Owners>,
        clock: &mut Clock,
    ) {
        if clock.is_per_packet() {
            self.process_by_time(round, port, batch, &mut owners, clock);
        } else {
            self.process_same_time(round, port, batch, &mut owners);
        }
        if let Some(owners) = owners {
            owners.outputs.iter_mut().flatten().for_each(|output| output.flush(&mut self.stats));
        }
        round.flush(&mut self.stats);
    }

    /// Processes a batch whose packets each have a time of their own. Packets that share a time are
    /// processed together.
    #[cold]
    fn process_by_time(
        &mut self,
        round: &mut Round<'_>,
        port: PortIndex,
        batch: &mut Batch,
        owners: &mut Option<&mut Owners>,
        clock: &mut Clock,
    ) {
        for mbuf in std::mem::take(&mut batch.burst).drain() {
            let now = clock.of(&mbuf);
            if now != round.now {
                self.process_same_time(round, port, batch, owners);
                round.now = now;
            }
            // There is room for all of a burst.
            let _ = batch.burst.push(mbuf);
        }
        self.process_same_time(round, port, batch, owners);
    }

    /// Processes packets that share a time.
    #[inline(always)]
    fn process_same_time(
        &mut self,
        round: &mut Round<'_>,
        port: PortIndex,
        batch: &mut Batch,
        owners: &mut Option<&mut Owners>,
    ) {
        self.classify(round.tables, port, batch);
        if let Some(owners) = owners {
            divide(batch, owners);
        }
        self.forward(round, port, batch);
    }

    /// Parses each packet, finds its service and hashes its flow. A function of its own, as the
    /// next step is, so that each has all registers to itself.
    #[inline(never)]
    fn classify(&mut self, tables: &Tables, port: PortIndex, batch: &mut Batch) {
        let Batch { burst, meta, others, .. } = batch;
        let packets = burst.packets();
        let filter = tables.frame_filter(port);
        // The next packet's data pointer is read while this packet is parsed: half of a parse would
        // be waiting for that pointer.
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

    /// Classifies a packet that is not a plain packet of a service.
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

    /// Decides and encapsulates what was classified, and hands it to the output of its port.
    fn forward(&mut self, round: &mut Round<'_>, port: PortIndex, batch: &mut Batch) {
        match self.fast_path(round.tables, round.now, batch) {
            Some(out) => {
                round.outputs[usize::from(out.0)].extend(&mut batch.burst, &mut self.stats)
            }
            None => self.split(round, port, batch),
        }
    }

    /// Encapsulates all packets that the fast path serves. They stay in the burst, ready to be
    /// sent. Returns the port, if these are all packets of the burst and all leave by one port.
    #[inline(never)]
    fn fast_path(&mut self, tables: &Tables, now: Time, batch: &mut Batch) -> Option<PortIndex> {
        let Batch { burst, meta, .. } = batch;
        let meta = &mut meta[..burst.len()];
        for meta in &*meta {
            prefetch(self.balancer.flows().bucket(meta.tag));
        }
        for meta in &mut *meta {
            self.balancer.lookup(tables, meta, now);
            if !meta.is_steady_flow() {
                cold_path();
                // A new flow is searched in its alternate bucket as well.
                prefetch(self.balancer.flows().alternate_bucket(meta.tag));
            }
        }
        let mut traffic = self.stats.traffic();
        let mut refused = 0;
        // The bits that are set in any port's number, and those set in all.
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
            self.stats.event(Event::FlowHit, hits as u64);
        }
        (refused == 0 && any == all).then_some(PortIndex(any))
    }

    /// Splits a burst whose packets do not all leave by one port. Packets that the fast path has
    /// encapsulated go to their output, all others take the full path. The order stays.
    #[inline(never)]
    fn split(&mut self, round: &mut Round<'_>, port: PortIndex, batch: &mut Batch) {
        let Batch { burst, meta, others, dropped } = batch;
        for ((mbuf, meta), other) in burst.drain().zip(meta).zip(others) {
            match self.balancer.egress(round.tables, meta) {
                Some(out) => round.outputs[usize::from(out.0)].push(mbuf, &mut self.stats),
                None => self.forward_any(round, port, mbuf, meta, other, dropped),
            }
        }
        dropped.clear();
    }

    /// Forwards a packet that the fast path does not serve: by the full path, as an exception, or
    /// into `dropped`.
    #[inline(never)]
    fn forward_any(
        &mut self,
        round: &mut Round<'_>,
        port: PortIndex,
        mbuf: OwnedMbuf,
        meta: &PacketMeta,
        other: &Result<Classified, Unserved>,
        dropped: &mut Burst,
    ) {
        let classified = match meta.classified(mbuf.bytes()) {
            Some(classified) => Ok(classified),
            None => *other,
        };
        match classified {
            Ok(classified) => self.forward_one(round, mbuf, port, &classified),
            Err(Unserved::Drop(drop)) => {
                self.stats.verdict(Verdict::Dropped(drop), 1);
                // There is room for all of a burst.
                let _ = dropped.push(mbuf);
            }
            Err(Unserved::Exception(packet, exception)) => {
                self.exception(round, port, packet, exception, mbuf);
            }
        }
    }
}

/// Why a packet cannot be rewritten in place, or `None`.
fn refusal(mbuf: &Mbuf) -> Option<DropReason> {
    if !mbuf.is_contiguous() {
        return Some(DropReason::FrameTooLong);
    }
    mbuf.is_shared().then_some(DropReason::BufferShared)
}

/// Moves packets of flows that siblings own to the rings of those siblings. The others move up.
#[inline(never)]
fn divide(batch: &mut Batch, owners: &mut Owners) {
    for (i, mbuf) in std::mem::take(&mut batch.burst).drain().enumerate() {
        let (meta, other) = (batch.meta[i % BURST], batch.others[i % BURST]);
        let output = if meta.is_parsed() || other.is_ok() { owners.of(meta.tag) } else { None };
        let handed = match output {
            // This output is empty before a burst, and has room for all of it.
            Some(output) => output.burst().push(mbuf),
            None => Err(mbuf),
        };
        if let Err(mbuf) = handed {
            let slot = batch.burst.len() % BURST;
            (batch.meta[slot], batch.others[slot]) = (meta, other);
            // There is room for all of a burst.
            let _ = batch.burst.push(mbuf);
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
