//! Packets of flows that are not steady: those that begin a flow, and those that change the state of one.
//!
//! They stay in their burst, and get a backend here as the full path would give it. Then they are rewritten beside the
//! packets of steady flows. What the flow table, the Maglev table and the buckets need of memory is loaded for all of
//! them before the first one waits for it.
//!
//! The full path keeps the packets whose backend is closed to the fast path, whose pool does not choose by the hash of
//! the flow, whose source is suspect, or that are too long: these get other answers.

use std::ops::DerefMut;

use super::batch::{Batch, Places, places};
use super::choice::Choice;
use super::conntrack::{Entry, Flow, Insertion, Observed, State};
use super::fast_path::PacketMeta;
use super::flow::FlowKey;
use super::frame::{Allocator, BURST, Burst, Frame};
use super::full_path::{FlowEvent, clamp, keeps};
use super::id::BackendId;
use super::pipeline::Pipeline;
use super::tables::Tables;
use super::time::Time;
use super::worker_state::Balancer;
use crate::wire::{Family, tcp};

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
        for place in places(elsewhere) {
            if let Some(meta) = meta.get(place) {
                B::prefetch(self.balancer.flows().alternate_bucket(meta.tag));
            }
        }
        let mut hashes = [0; BURST];
        let mut unknown: Places = 0;
        for place in places(elsewhere) {
            let (Some(meta), Some(frame)) = (meta.get_mut(place), burst.frame_mut(place)) else {
                break;
            };
            if let Some(entry) = self.balancer.flows_mut().entry_elsewhere(meta.tag) {
                settle(entry, tables, meta, frame, now);
            } else if let Some(hash) = choice_hash(tables, meta, frame.bytes()) {
                if let Some(slot) = tables.pool(meta.service.pool).maglev.place(hash) {
                    B::prefetch(slot);
                }
                self.balancer.flows().prefetch_insert(meta.tag);
                hashes[place] = hash;
                unknown |= 1 << place;
            }
        }
        let mut begun = 0;
        for place in places(unknown) {
            let (Some(meta), Some(frame)) = (meta.get_mut(place), burst.frame_mut(place)) else {
                break;
            };
            // A packet before this one may have begun the flow.
            if let Some(entry) = self.balancer.flows_mut().entry(meta.tag) {
                settle(entry, tables, meta, frame, now);
            } else if let Some(event) =
                self.balancer.begin(tables, meta, (hashes[place], now), frame)
            {
                self.stats.event(event.into(), 1);
                self.stats.begins(meta.service.id.index(), meta.backend.index());
                begun += 1;
            }
        }
        begun
    }
}

impl Balancer {
    /// Chooses the backend of a new flow and records the flow; `None` if the full path has to.
    #[inline(always)]
    fn begin(
        &mut self,
        tables: &Tables,
        meta: &mut PacketMeta,
        (hash, now): (u64, Time),
        frame: &mut impl Frame,
    ) -> Option<FlowEvent> {
        let backend = BackendId::new(tables.pool(meta.service.pool).maglev.choose(hash)?);
        if !meta.fits(tables, backend, frame) {
            return None;
        }
        meta.backend = backend;
        lower_segment_size(tables, meta, frame);
        let entry = Entry::new(backend, State::first(meta.headers.tcp_flags), now);
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

/// Gives a packet the backend of its flow, which has this entry, and applies the packet to the flow. Leaves a packet to
/// the full path whose entry has expired, or whose backend is closed to the fast path.
#[inline(never)]
pub(super) fn settle(
    entry: &mut Entry,
    tables: &Tables,
    meta: &mut PacketMeta,
    frame: &mut impl Frame,
    now: Time,
) {
    let (backend, headers) = (entry.backend(), meta.headers);
    if entry.has_expired(now, tables.timeouts()) || !meta.fits_known(tables, backend, frame) {
        return;
    }
    *entry = match entry.steady_after(headers.tcp_flags, now) {
        Some(after) => after,
        None => match Observed::plain(headers, frame.bytes()) {
            Some(packet) => entry.after(packet, now),
            None => return,
        },
    };
    meta.backend = backend;
    lower_segment_size(tables, meta, frame);
}

/// The hash by which the backend of a new flow is chosen; `None` if the full path has to choose.
#[inline(always)]
fn choice_hash(tables: &Tables, meta: &PacketMeta, frame: &[u8]) -> Option<u64> {
    if tables.pool(meta.service.pool).choice != Choice::Maglev {
        return None;
    }
    // By family, so that neither the check nor the hash asks again which it is.
    match meta.headers.family {
        Family::V4 => {
            hash_unless_suspect(tables, &FlowKey::of_plain_v4(meta.headers, frame)?, frame)
        }
        Family::V6 => {
            hash_unless_suspect(tables, &FlowKey::of_plain_v6(meta.headers, frame)?, frame)
        }
    }
}

#[inline(always)]
fn hash_unless_suspect(tables: &Tables, flow: &FlowKey, frame: &[u8]) -> Option<u64> {
    (!tables.is_suspect(flow, frame)).then(|| tables.fleet().hash(flow))
}

/// Lowers the segment size that a SYN announces to what fits on the way to its backend.
#[inline(always)]
fn lower_segment_size(tables: &Tables, meta: &PacketMeta, frame: &mut impl Frame) {
    let limit = tables.backend(meta.backend).mss;
    if meta.headers.tcp_flags & tcp::SYN != 0
        && limit.of(meta.headers.family) < u16::MAX
        && let Some(packet) = meta.headers.packet(frame.bytes())
    {
        clamp(limit, &packet, frame);
    }
}
