//! Packets of flows that are not steady: those that begin a flow, and those that change the state of one.
//!
//! They stay in their burst, and get a backend here as the full path would give it. Then they are rewritten beside the
//! packets of steady flows. What the flow table, the Maglev table and the buckets need of memory is loaded for all of
//! them before the first one waits for it.
//!
//! The full path keeps the packets whose backend is closed to the fast path, whose pool does not choose by the hash of
//! the flow, whose source is suspect, or that are too long: these get other answers.

use std::ops::DerefMut;

use super::batch::{Batch, Places};
use super::choice::Choice;
use super::conntrack::{Entry, Flow, Insertion, State};
use super::fast_path::PacketMeta;
use super::flow::FlowKey;
use super::frame::{Allocator, BURST, Burst, Frame};
use super::full_path::{FlowEvent, clamp, keeps};
use super::id::BackendId;
use super::pipeline::Pipeline;
use super::tables::Tables;
use super::time::Time;
use super::worker_state::Balancer;
use crate::wire::{Packet, tcp};

impl<F: DerefMut<Target: Frame>, A: Allocator<F>> Pipeline<F, A> {
    /// Finds the backends of packets at these places, whose flows are not in their own buckets, and records the flows that
    /// begin. Returns how many packets have got a backend that was chosen just now.
    #[inline(never)]
    pub(super) fn begin<B: Burst<Owned = F>>(
        &mut self,
        tables: &Tables,
        now: Time,
        batch: &mut Batch<B>,
        elsewhere: Places,
    ) -> usize {
        let (burst, meta) = batch.parts_mut();
        let mut hashes = [0; BURST];
        let mut unknown: Places = 0;
        for (place, (frame, meta)) in burst.frames_mut().zip(&mut *meta).enumerate() {
            if elsewhere >> place & 1 == 0 {
                continue;
            }
            if self.balancer.flows().is_in_alternate(meta.tag) {
                self.balancer.settle(tables, meta, frame, now);
            } else if let Some(packet) = meta.packet(frame.bytes())
                && let Some(hash) = self.balancer.choice_hash(tables, &packet, meta, frame.bytes())
            {
                if let Some(slot) = tables.pool(meta.service.pool).maglev.place(hash) {
                    B::prefetch(slot);
                }
                self.balancer.flows().prefetch_insert(meta.tag);
                hashes[place % BURST] = hash;
                unknown |= 1 << place;
            }
        }
        if unknown == 0 {
            return 0;
        }
        let mut begun = 0;
        for (place, (frame, meta)) in burst.frames_mut().zip(meta).enumerate() {
            if unknown >> place & 1 == 0 {
                continue;
            }
            // A packet before this one may have begun the flow.
            if self.balancer.flows().search(meta.tag).is_some() {
                self.balancer.settle(tables, meta, frame, now);
                continue;
            }
            let Some(packet) = meta.packet(frame.bytes()) else { continue };
            let hash = hashes[place % BURST];
            if let Some(event) = self.balancer.begin(tables, &packet, meta, (hash, now), frame) {
                self.stats.event(event.into(), 1);
                self.stats.begins(meta.service.id.index(), meta.backend.index());
                begun += 1;
            }
        }
        begun
    }
}

impl Balancer {
    /// Finds the backend of a packet whose flow has an entry, and applies the packet to the flow. Leaves a packet to the full
    /// path whose entry has expired, or whose backend is closed to the fast path.
    #[inline(never)]
    pub(super) fn settle(
        &mut self,
        tables: &Tables,
        meta: &mut PacketMeta,
        frame: &mut impl Frame,
        now: Time,
    ) {
        let Some(packet) = meta.packet(frame.bytes()) else { return };
        if let Some((slot, entry)) = self.flows().get(meta.tag, now, tables.timeouts())
            && meta.fits(tables, entry.backend())
        {
            self.flows_mut().update(slot, entry.after(&packet, frame.bytes(), now));
            meta.backend = entry.backend();
            lower_segment_size(tables, &packet, meta.backend, frame);
        }
    }

    /// The hash by which the backend of a new flow is chosen; `None` if the full path has to choose.
    #[inline(always)]
    fn choice_hash(
        &self,
        tables: &Tables,
        packet: &Packet,
        meta: &PacketMeta,
        frame: &[u8],
    ) -> Option<u64> {
        if tables.pool(meta.service.pool).choice != Choice::Maglev {
            return None;
        }
        let key = FlowKey::of(packet, frame)?;
        (!tables.is_suspect(&key, frame)).then(|| tables.fleet().hash(&key))
    }

    /// Chooses the backend of a new flow and records the flow; `None` if the full path has to.
    #[inline(always)]
    fn begin(
        &mut self,
        tables: &Tables,
        packet: &Packet,
        meta: &mut PacketMeta,
        (hash, now): (u64, Time),
        frame: &mut impl Frame,
    ) -> Option<FlowEvent> {
        let backend = BackendId::new(tables.pool(meta.service.pool).maglev.choose(hash)?);
        if !meta.fits(tables, backend) {
            return None;
        }
        meta.backend = backend;
        lower_segment_size(tables, packet, backend, frame);
        let entry = Entry::new(backend, State::first(packet), now);
        let flow = Flow::new(meta.tag, meta.service.id, entry);
        let keep = |service, backend| keeps(tables, service, backend);
        let inserted = self.flows_mut().insert_new(flow, now, tables.timeouts(), keep);
        Some(match inserted {
            Insertion::Stored => FlowEvent::New,
            Insertion::Displaced => FlowEvent::NewDisplacing,
            Insertion::Full => FlowEvent::Unrecorded,
        })
    }
}

/// Lowers the segment size that a SYN announces to what fits on the way to its backend.
#[inline(always)]
fn lower_segment_size(
    tables: &Tables,
    packet: &Packet,
    backend: BackendId,
    frame: &mut impl Frame,
) {
    if packet.tcp_flags & tcp::SYN != 0 {
        clamp(tables.backend(backend).mss, packet, frame);
    }
}
