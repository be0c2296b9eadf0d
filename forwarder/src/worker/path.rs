//! A packet's way through a worker, in stages over its burst.

use std::num::NonZeroU32;
use std::ops::Range;

use super::clock::Clock;
use super::exception::{Exceptions, Scene};
use super::exchange::Owners;
use crate::balancer::tables::{PortIndex, Unserved};
use crate::balancer::{Balancer, Classified, Drop, FlowEvent, Tables, Verdict};
use crate::dpdk::{BURST, Burst, Seat, prefetch};
use crate::stats::{Event, Writer};
use crate::wire::tcp;

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
    /// What the packets are that are for a service,
    staged: [Classified; BURST],
    /// and what the others are.
    unserved: [Unserved; BURST],
}

impl Batch {
    pub(super) fn new() -> Batch {
        Batch {
            burst: Burst::new(),
            staged: [Classified::NONE; BURST],
            unserved: [Unserved::Drop(Drop::FrameTooLong); BURST],
        }
    }
}

/// Places of a burst, a bit for each.
#[derive(Clone, Copy, Default)]
struct Places(u32);

const _: () = assert!(BURST == u32::BITS as usize);

impl Places {
    #[inline(always)]
    fn set(&mut self, place: usize) {
        self.0 |= 1 << (place % BURST);
    }

    fn clear(&mut self, place: usize) {
        self.0 &= !(1 << (place % BURST));
    }

    #[inline(always)]
    fn has(self, place: usize) -> bool {
        self.0 >> (place % BURST) & 1 == 1
    }
}

/// The places, in order.
impl Iterator for Places {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let places = NonZeroU32::new(self.0)?;
        self.0 &= self.0 - 1;
        Some(places.trailing_zeros() as usize)
    }
}

/// Which packets of a burst go which way; those that are not here have gone.
#[derive(Clone, Copy, Default)]
struct Sorted {
    here: Places,
    /// Those of them that no service takes. What is staged of them is no packet.
    unserved: Places,
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
        let mut start = 0;
        while start < batch.burst.len() {
            let (end, now) = clock.run(&batch.burst, start);
            scene.now = now;
            let mut sorted = self.classify(scene.tables, port, batch, start..end);
            if let Some(owners) = &mut owners {
                hand_over(batch, &mut sorted, owners);
            }
            self.forward(scene, port, batch, sorted);
            start = end;
        }
        batch.burst.clear();
        if let Some(owners) = owners {
            owners.outlets.iter_mut().flatten().for_each(|outlet| outlet.flush(&mut self.stats));
        }
        scene.flush(&mut self.stats);
    }

    /// Parses and hashes, and fetches what the next stage will look at. A call of its own, as the next
    /// stage is, so that each has all registers to itself.
    #[inline(never)]
    fn classify(
        &mut self,
        tables: &Tables,
        port: PortIndex,
        batch: &mut Batch,
        range: Range<usize>,
    ) -> Sorted {
        for mbuf in batch.burst.among(range.clone()).flatten() {
            prefetch(mbuf.bytes());
        }
        let mut sorted = Sorted::default();
        for i in range {
            let Some(mbuf) = batch.burst.get(i) else { continue };
            let staged = &mut batch.staged[i % BURST];
            let classified = if mbuf.is_contiguous() {
                self.balancer.classify_to(tables, port, mbuf.bytes(), staged)
            } else {
                Err(Unserved::Drop(Drop::FrameTooLong))
            };
            sorted.here.set(i);
            if let Err(unserved) = classified {
                *staged = Classified::NONE;
                batch.unserved[i % BURST] = unserved;
                sorted.unserved.set(i);
                continue;
            }
            prefetch(self.balancer.flows().bucket(staged.tag));
            if staged.packet.tcp_flags & tcp::SYN != 0 {
                prefetch(self.balancer.flows().bucket_beside(staged.tag));
            }
        }
        sorted
    }

    /// Decides and encapsulates what is staged, and puts it before its port.
    #[inline(never)]
    fn forward(
        &mut self,
        scene: &mut Scene<'_>,
        port: PortIndex,
        batch: &mut Batch,
        sorted: Sorted,
    ) {
        let mut others = 0;
        for i in sorted.here {
            let Some(mut seat) = batch.burst.seat(i) else { continue };
            let classified = &batch.staged[i];
            let length = seat.bytes().len() as u64;
            let express = self.balancer.express(scene.tables, classified, scene.now, &mut *seat);
            let Some((backend, out)) = express else {
                others += 1;
                let unserved = sorted.unserved.has(i).then_some(&batch.unserved[i]);
                self.forward_any(scene, port, seat, classified, unserved);
                continue;
            };
            self.stats.traffic(classified.service.id.0 as usize, backend.index(), length);
            // An outlet is flushed after each burst, and when exceptions fill it.
            let outlet = &mut scene.outlets[usize::from(out.0)];
            if let Err(seat) = seat.move_to(outlet.burst()) {
                outlet.push(seat.take(), &mut self.stats);
            }
        }
        let hits = sorted.here.0.count_ones() - others;
        if hits > 0 {
            self.stats.event(Event::Flow(FlowEvent::Hit), hits.into());
        }
    }

    /// As [`Path::forward`], for a packet that needs more thought, or has no service.
    #[inline(never)]
    fn forward_any(
        &mut self,
        scene: &mut Scene<'_>,
        port: PortIndex,
        seat: Seat<'_>,
        classified: &Classified,
        unserved: Option<&Unserved>,
    ) {
        match unserved {
            None => self.forward_one(scene, seat.take(), port, classified),
            Some(Unserved::Drop(drop)) => self.stats.verdict(Verdict::Dropped(*drop), 1),
            Some(Unserved::Exception(packet, exception)) => {
                self.exception(scene, port, *packet, *exception, seat.take());
            }
        }
    }
}

/// Hands over what others own.
#[inline(never)]
fn hand_over(batch: &mut Batch, sorted: &mut Sorted, owners: &mut Owners) {
    for i in sorted.here {
        if !sorted.unserved.has(i)
            && let Some(seat) = batch.burst.seat(i)
            && let Some(outlet) = owners.of(batch.staged[i].tag)
            // It is empty before a burst, and has room for all of it.
            && seat.move_to(outlet.burst()).is_ok()
        {
            sorted.here.clear(i);
        }
    }
}
