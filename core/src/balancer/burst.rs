//! A burst of packets in steps, each of which runs over all packets of the burst.
//!
//! A burst is classified; packets whose flows siblings own are passed on; what the fast path serves is encapsulated
//! in place; and the burst moves to its output whole, or is split. Workers, benchmarks and fuzzers run this code, over
//! mbufs or over plain buffers.

use std::hint::cold_path;
use std::ops::{Deref, DerefMut};

use super::action::BurstActions;
pub use super::batch::Batch;
use super::batch::Places;
use super::classify::{Classified, Unserved, Useless};
use super::encapsulation::{Any, Apply, Class, GreV4, InV4, TaggedGreV4};
use super::fast_path::{PacketMeta, PlainParse};
use super::frame::{Allocator, BURST, Burst, Frame};
use super::id::PortIndex;
use super::passed::Passed;
use super::pipeline::{Pipeline, Round};
use super::tables::Tables;
use super::time::Time;
use super::unsteady::settle;
use crate::stats::Event;
use crate::stats::verdict::{DropReason, Verdict};

/// How many packets ahead of the current one the headers are fetched.
const AHEAD: usize = 6;

/// The frame of a packet in a burst of this kind.
type FrameOf<B> = <<B as Burst>::Owned as Deref>::Target;

impl<F: DerefMut<Target: Frame>, L: Allocator<F>> Pipeline<F, L> {
    /// Processes a batch whose packets arrived by `port`; it is empty afterwards.
    #[inline(always)]
    pub fn process<B: Burst<Owned = F>, S: BurstActions<B>>(
        &mut self,
        round: &mut Round<'_, S>,
        port: PortIndex,
        batch: &mut Batch<B>,
    ) {
        self.sort(round.tables, port, batch);
        if round.actions.divides() {
            divide(round.tables, batch, &mut round.actions);
        }
        self.forward(round, port, batch);
    }

    /// Processes a batch of packets that another worker has passed on, with what it has found out about each, in the
    /// order of the packets. It is empty afterwards. The packets arrived by `port`.
    #[inline(always)]
    pub fn process_passed<B: Burst<Owned = F>, S: BurstActions<B>>(
        &mut self,
        round: &mut Round<'_, S>,
        port: PortIndex,
        batch: &mut Batch<B>,
        passed: &[Passed; BURST],
    ) {
        if !batch.is_classified(round.tables, passed) {
            cold_path();
            self.sort(round.tables, port, batch);
        }
        self.forward(round, port, batch);
    }

    /// Classifies a batch, and drops what is to be dropped at once.
    #[inline(always)]
    fn sort<B: Burst<Owned = F>>(
        &mut self,
        tables: &Tables,
        port: PortIndex,
        batch: &mut Batch<B>,
    ) {
        let useless = self.classify(tables, port, batch);
        if useless != 0 {
            cold_path();
            batch.discard(useless);
        }
    }

    /// Processes a batch whose packets each have a time of their own, which `time_of` gives. Packets that share a
    /// time are processed together.
    #[cold]
    pub fn process_by_time<B: Burst<Owned = F>, S: BurstActions<B>>(
        &mut self,
        round: &mut Round<'_, S>,
        port: PortIndex,
        batch: &mut Batch<B>,
        mut time_of: impl FnMut(&FrameOf<B>) -> Time,
    ) {
        for frame in std::mem::take(&mut batch.burst).drain() {
            let now = time_of(&frame);
            if now != round.now {
                self.process(round, port, batch);
                round.now = now;
            }
            // There is room for all of a burst.
            let _ = batch.burst.push(frame);
        }
        self.process(round, port, batch);
    }

    /// Parses each packet, finds its service and hashes its flow. Returns the packets that are to be dropped, whose
    /// verdicts are counted. A function of its own, as the next step is, so that each has all registers to itself.
    #[inline(never)]
    pub fn classify<B: Burst<Owned = F>>(
        &mut self,
        tables: &Tables,
        port: PortIndex,
        batch: &mut Batch<B>,
    ) -> Places {
        let Batch { burst, meta, others, is_tagged, .. } = batch;
        let frames = burst.frames();
        *is_tagged = false;
        let (mut no_vip, mut no_service): (Places, Places) = (0, 0);
        let filter = tables.frame_filter(port);
        // The next packet's data pointer is read while this packet is parsed: half of a parse would
        // be waiting for that pointer.
        let mut next = frames.first().and_then(|frame| frame.head());
        for i in 0..frames.len() {
            let (frame, meta, head) = (&frames[i], &mut meta[i], next);
            if let Some(frame) = frames.get(i + 1) {
                next = frame.head();
            }
            if let Some(frame) = frames.get(i + AHEAD) {
                frame.prefetch_headers();
            }
            let outcome = match head {
                Some(head) => self.balancer.parse_plain(tables, &filter, head, &**frame, meta),
                None => PlainParse::NotPlain,
            };
            if outcome == PlainParse::ServedTagged {
                cold_path();
                *is_tagged = true;
            } else if outcome != PlainParse::Served {
                cold_path();
                let useless = match outcome {
                    PlainParse::Unserved => tables.drop_unserved(meta.headers, frame.bytes()),
                    _ => None,
                };
                match useless {
                    Some(Useless::NoVip) => no_vip |= 1 << i,
                    Some(Useless::NoService) => no_service |= 1 << i,
                    None => {
                        others[i] = self.classify_any(tables, port, &**frame, outcome, meta);
                        let tag = others[i].map_or(0, |classified| classified.tag);
                        *meta = PacketMeta::not_plain(tag);
                    }
                }
            }
        }
        if no_vip | no_service != 0 {
            cold_path();
            self.count_useless(no_vip, DropReason::NoVip);
            self.count_useless(no_service, DropReason::NoService);
        }
        no_vip | no_service
    }

    #[cold]
    fn count_useless(&mut self, places: Places, reason: DropReason) {
        self.stats.verdict(Verdict::Dropped(reason), places.count_ones().into());
    }

    /// Classifies a packet that is not a plain packet of a service.
    #[inline(never)]
    fn classify_any(
        &self,
        tables: &Tables,
        port: PortIndex,
        frame: &impl Frame,
        outcome: PlainParse,
        meta: &PacketMeta,
    ) -> Result<Classified, Unserved> {
        if let Some(reason) = refusal(frame) {
            return Err(Unserved::Drop(reason));
        }
        self.balancer.classify_not_served(tables, port, frame.bytes(), outcome, meta)
    }

    /// Decides and encapsulates what was classified, and hands it to the output of its port.
    fn forward<B: Burst<Owned = F>, S: BurstActions<B>>(
        &mut self,
        round: &mut Round<'_, S>,
        port: PortIndex,
        batch: &mut Batch<B>,
    ) {
        match self.fast_path(round.tables, round.now, batch) {
            Some(out) => {
                round.actions.transmit_burst(out, &mut batch.burst, &mut self.stats);
            }
            None => self.split(round, port, batch),
        }
    }

    /// Encapsulates all packets that the fast path serves. They stay in the burst, ready to be
    /// sent. Returns the port, if these are all packets of the burst and all leave by one port.
    #[inline(never)]
    fn fast_path<B: Burst<Owned = F>>(
        &mut self,
        tables: &Tables,
        now: Time,
        batch: &mut Batch<B>,
    ) -> Option<PortIndex> {
        let (burst, meta) = batch.parts_mut();
        for meta in &*meta {
            B::prefetch(self.balancer.flows().bucket(meta.tag));
        }
        let mut elsewhere: Places = 0;
        let mut flows = self.balancer.homes();
        for (place, meta) in meta.iter_mut().enumerate() {
            meta.look_up(&mut flows, tables, now);
            if !meta.is_steady_flow() && meta.is_parsed() {
                cold_path();
                match (flows.entry(meta.tag), burst.frame_mut(place)) {
                    (Some(entry), Some(frame)) => settle(entry, tables, meta, frame, now),
                    // The flow may be in its other bucket, or be recorded there.
                    _ => elsewhere |= 1 << place,
                }
            }
        }
        let begun = match elsewhere {
            0 => 0,
            _ => self.begin(tables, now, batch, elsewhere),
        };
        let (rewritten, out) = match tables.class() {
            Class::GreV4 if !batch.is_tagged => self.rewrite::<B, GreV4>(tables, batch),
            Class::GreV4 => self.rewrite::<B, TaggedGreV4>(tables, batch),
            Class::V4 => self.rewrite::<B, InV4>(tables, batch),
            Class::Any => self.rewrite::<B, Any>(tables, batch),
        };
        let hits = rewritten.saturating_sub(begun);
        if hits > 0 {
            self.stats.event(Event::FlowHit, hits as u64);
        }
        out
    }

    /// Puts headers before all packets that have a backend. Returns how many these are, and their port if they are all
    /// packets of the burst and all leave by it.
    #[inline(never)]
    fn rewrite<B: Burst<Owned = F>, A: Apply>(
        &mut self,
        tables: &Tables,
        batch: &mut Batch<B>,
    ) -> (usize, Option<PortIndex>) {
        let (burst, meta) = batch.parts_mut();
        let mut traffic = self.stats.traffic();
        let mut refused = 0;
        // The bits that are set in any port's number, and those set in all.
        let (mut any, mut all) = (0, u16::MAX);
        for (frame, meta) in burst.frames_mut().zip(meta) {
            // If the fast path takes it, it has one segment.
            let length = frame.first_length() as u64;
            let out = self.balancer.rewrite::<A>(tables, meta, frame);
            let Some(PortIndex(out)) = out else {
                cold_path();
                refused += 1;
                continue;
            };
            (any, all) = (any | out, all & out);
            traffic.count(meta.service.id.index(), meta.backend.index(), length);
        }
        let rewritten = burst.frames().len() - refused;
        (rewritten, (refused == 0 && any == all).then_some(PortIndex(any)))
    }

    /// Splits a burst whose packets do not all leave by one port. Packets that the fast path has
    /// encapsulated go to their output, all others take the full path. The order stays.
    #[inline(never)]
    fn split<B: Burst<Owned = F>, S: BurstActions<B>>(
        &mut self,
        round: &mut Round<'_, S>,
        port: PortIndex,
        batch: &mut Batch<B>,
    ) {
        let Batch { burst, meta, others, dropped, .. } = batch;
        for ((frame, meta), other) in burst.drain().zip(meta).zip(others) {
            match self.balancer.egress(round.tables, meta) {
                Some(out) => round.actions.transmit(out, frame, &mut self.stats),
                None => self.forward_any(round, port, frame, meta, other, dropped),
            }
        }
        dropped.clear();
    }

    /// Forwards a packet that the fast path does not serve: by the full path, as an exception, to
    /// the kernel, or into `dropped`.
    #[inline(never)]
    fn forward_any<B: Burst<Owned = F>, S: BurstActions<B>>(
        &mut self,
        round: &mut Round<'_, S>,
        port: PortIndex,
        frame: F,
        meta: &PacketMeta,
        other: &Result<Classified, Unserved>,
        dropped: &mut B,
    ) {
        let classified = match meta.classified(frame.bytes()) {
            Some(classified) => Ok(classified),
            None => *other,
        };
        match classified {
            Ok(classified) => {
                if let Err((frame, reason)) = self.forward_one(round, frame, port, &classified) {
                    self.refuse(round, frame, port, &classified, reason);
                }
            }
            Err(Unserved::Drop(drop)) => {
                let Err((frame, drop)) = self.punt(round, frame, port, drop) else {
                    return;
                };
                self.stats.verdict(Verdict::Dropped(drop), 1);
                // There is room for all of a burst.
                let _ = dropped.push(frame);
            }
            Err(Unserved::Exception(packet, exception)) => {
                self.exception(round, port, packet, exception, frame);
            }
        }
    }
}

/// Why a frame cannot be rewritten in place, or `None`.
fn refusal(frame: &impl Frame) -> Option<DropReason> {
    if !frame.is_contiguous() {
        return Some(DropReason::FrameTooLong);
    }
    frame.is_shared().then_some(DropReason::BufferShared)
}

/// Moves packets of flows that siblings own to those siblings. The others move up, with what was found out about them.
#[inline(never)]
fn divide<B: Burst>(tables: &Tables, batch: &mut Batch<B>, actions: &mut impl BurstActions<B>) {
    let Batch { burst, meta, others, .. } = batch;
    let mut kept = 0;
    for (i, mut frame) in std::mem::take(burst).drain().enumerate() {
        let i = i % BURST;
        let is_plain = meta[i].is_parsed();
        if is_plain || others[i].is_ok() {
            match actions.pass(&Passed::new(tables, &meta[i]), frame) {
                Ok(()) => continue,
                Err(own) => frame = own,
            }
        }
        if kept != i {
            meta[kept] = meta[i];
            if !is_plain {
                others[kept] = others[i];
            }
        }
        kept = (kept + 1) % BURST;
        // There is room for all of a burst.
        let _ = burst.push(frame);
    }
}
