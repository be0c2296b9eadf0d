//! A packet's way through a worker, in stages over its burst.

use std::ops::Range;

use super::clock::Clock;
use super::exception::{Exceptions, Scene};
use super::exchange::Owners;
use crate::balancer::tables::{PortIndex, Unserved};
use crate::balancer::{Balancer, Classified, Drop, FlowEvent, Tables, Verdict};
use crate::dpdk::{BURST, Burst, prefetch};
use crate::stats::{Event, Writer};
use crate::wire::tcp;

/// What a packet meets on its way through a worker.
pub(super) struct Path {
    pub(super) balancer: Balancer,
    pub(super) stats: Writer,
    /// What is needed for packets that are not ordinary.
    pub(super) exceptions: Exceptions,
    /// What the packets of the burst are that are for a service,
    staged: [Classified; BURST],
    /// and what the others are.
    unserved: [Unserved; BURST],
}

/// Places of a burst, a bit for each.
#[derive(Clone, Copy, Default)]
struct Places(u32);

const _: () = assert!(BURST <= u32::BITS as usize);

impl Places {
    #[inline(always)]
    fn set(&mut self, place: usize) {
        self.0 |= 1 << (place % BURST);
    }

    #[inline(always)]
    fn has(self, place: usize) -> bool {
        self.0 >> (place % BURST) & 1 == 1
    }
}

/// Which packets of a burst go which way; those in neither have gone.
#[derive(Clone, Copy, Default)]
struct Sorted {
    served: Places,
    unserved: Places,
}

impl Path {
    pub(super) fn new(balancer: Balancer, stats: Writer, exceptions: Exceptions) -> Path {
        let unserved = [Unserved::Drop(Drop::FrameTooLong); BURST];
        Path { balancer, stats, exceptions, staged: [Classified::NONE; BURST], unserved }
    }

    /// Takes a burst all the way; it is empty afterwards.
    #[inline]
    pub(super) fn take(
        &mut self,
        scene: &mut Scene<'_>,
        port: PortIndex,
        burst: &mut Burst,
        mut owners: Option<&mut Owners>,
        clock: &mut Clock,
    ) {
        let mut start = 0;
        while start < burst.len() {
            let (end, now) = clock.run(burst, start);
            scene.now = now;
            let range = start..end;
            let sorted =
                self.classify(scene.tables, port, burst, range.clone(), owners.as_deref_mut());
            self.forward(scene, port, burst, range, sorted);
            start = end;
        }
        burst.clear();
        if let Some(owners) = owners {
            owners.outlets.iter_mut().flatten().for_each(|outlet| outlet.flush(&mut self.stats));
        }
        scene.flush(&mut self.stats);
    }

    /// Parses and hashes, hands over what others own, and stages the rest.
    #[inline]
    fn classify(
        &mut self,
        tables: &Tables,
        port: PortIndex,
        burst: &mut Burst,
        range: Range<usize>,
        mut owners: Option<&mut Owners>,
    ) -> Sorted {
        for mbuf in range.clone().filter_map(|i| burst.get(i)) {
            prefetch(mbuf.bytes());
        }
        let mut sorted = Sorted::default();
        for i in range {
            let Some(mbuf) = burst.get(i) else { continue };
            let staged = &mut self.staged[i % BURST];
            let classified = if mbuf.is_contiguous() {
                self.balancer.classify_to(tables, port, mbuf.bytes(), staged)
            } else {
                Err(Unserved::Drop(Drop::FrameTooLong))
            };
            if let Err(unserved) = classified {
                self.unserved[i % BURST] = unserved;
                sorted.unserved.set(i);
                continue;
            }
            let owner = owners.as_mut().and_then(|owners| owners.of(staged.tag));
            if let Some(outlet) = owner {
                burst.move_to(i, outlet.burst());
            } else {
                prefetch(self.balancer.flows().bucket(staged.tag));
                if staged.packet.tcp_flags & tcp::SYN != 0 {
                    prefetch(self.balancer.flows().bucket_beside(staged.tag));
                }
                sorted.served.set(i);
            }
        }
        sorted
    }

    /// Decides and encapsulates what is staged, and puts it before its port.
    #[inline]
    fn forward(
        &mut self,
        scene: &mut Scene<'_>,
        port: PortIndex,
        burst: &mut Burst,
        range: Range<usize>,
        sorted: Sorted,
    ) {
        let mut hits = 0;
        for i in range {
            if !sorted.served.has(i) {
                if sorted.unserved.has(i) {
                    self.turn_away(scene, port, burst, i);
                }
                continue;
            }
            let Some(mbuf) = burst.get_mut(i) else { continue };
            let classified = &self.staged[i % BURST];
            let length = mbuf.bytes().len() as u64;
            let express = self.balancer.express(scene.tables, classified, scene.now, mbuf);
            let Some((backend, out)) = express else {
                self.forward_any(scene, port, burst, i);
                continue;
            };
            hits += 1;
            self.stats.traffic(classified.service.id.0 as usize, backend.index(), length);
            // An outlet is flushed after each burst, and when exceptions fill it.
            let outlet = &mut scene.outlets[usize::from(out.0)];
            if outlet.is_full() {
                outlet.flush(&mut self.stats);
            }
            burst.move_to(i, outlet.burst());
        }
        if hits > 0 {
            self.stats.event(Event::Flow(FlowEvent::Hit), hits);
        }
    }

    /// As [`Path::forward`], for a packet that needs more thought.
    #[inline(never)]
    fn forward_any(&mut self, scene: &mut Scene<'_>, port: PortIndex, burst: &mut Burst, i: usize) {
        if let Some(held) = burst.take(i) {
            let classified = self.staged[i % BURST];
            self.forward_one(scene, held, port, &classified);
        }
    }

    /// What happens to a packet that has no service.
    #[cold]
    fn turn_away(&mut self, scene: &mut Scene<'_>, port: PortIndex, burst: &mut Burst, i: usize) {
        match self.unserved[i % BURST] {
            Unserved::Drop(drop) => self.stats.verdict(Verdict::Dropped(drop), 1),
            Unserved::Exception(packet, exception) => {
                if let Some(held) = burst.take(i) {
                    self.exception(scene, port, packet, exception, held);
                }
            }
        }
    }
}
