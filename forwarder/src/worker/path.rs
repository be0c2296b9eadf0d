//! A packet's way through a worker, in stages over its burst.

use std::ops::Range;

use super::clock::Clock;
use super::exception::{Exceptions, Scene};
use super::exchange::Owners;
use crate::balancer::tables::PortIndex;
use crate::balancer::tables::Unserved;
use crate::balancer::{Balancer, Classified, Drop, Tables, Verdict};
use crate::dpdk::{BURST, Burst, prefetch};
use crate::stats::{Event, Writer};

/// What a packet meets on its way through a worker.
pub(super) struct Path {
    pub(super) balancer: Balancer,
    pub(super) stats: Writer,
    /// What is needed for packets that are not ordinary.
    pub(super) exceptions: Exceptions,
    /// What the packets of the burst are.
    staged: [Staged; BURST],
}

/// What a packet of a burst is.
#[derive(Clone, Copy)]
enum Staged {
    /// Gone: handed over.
    Gone,
    /// For a service.
    Service(Classified),
    /// For none.
    Unserved(Unserved),
}

impl Path {
    pub(super) fn new(balancer: Balancer, stats: Writer, exceptions: Exceptions) -> Path {
        Path { balancer, stats, exceptions, staged: [Staged::Gone; BURST] }
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
            self.classify(scene.tables, port, burst, start..end, owners.as_deref_mut());
            self.forward(scene, port, burst, start..end);
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
    ) {
        for i in range.clone() {
            if let Some(mbuf) = burst.get(i) {
                prefetch(mbuf.bytes());
            }
        }
        for i in range {
            let Some(mbuf) = burst.get(i) else {
                self.staged[i] = Staged::Gone;
                continue;
            };
            let classified = if mbuf.is_contiguous() {
                self.balancer.classify(tables, port, mbuf.bytes())
            } else {
                Err(Unserved::Drop(Drop::FrameTooLong))
            };
            self.staged[i] = match classified {
                Err(unserved) => Staged::Unserved(unserved),
                Ok(classified) => {
                    let owner = owners.as_mut().and_then(|owners| owners.of(classified.tag));
                    if let Some(outlet) = owner {
                        burst.move_to(i, outlet.burst());
                        Staged::Gone
                    } else {
                        prefetch(self.balancer.flows().bucket(classified.tag));
                        Staged::Service(classified)
                    }
                }
            };
        }
    }

    /// Decides and encapsulates what is staged, and puts it before its port.
    #[inline]
    fn forward(
        &mut self,
        scene: &mut Scene<'_>,
        port: PortIndex,
        burst: &mut Burst,
        range: Range<usize>,
    ) {
        for i in range {
            let classified = match self.staged[i] {
                Staged::Gone => continue,
                Staged::Service(classified) => classified,
                Staged::Unserved(Unserved::Drop(drop)) => {
                    self.stats.verdict(Verdict::Dropped(drop), 1);
                    continue;
                }
                Staged::Unserved(Unserved::Exception(packet, exception)) => {
                    if let Some(held) = burst.take(i) {
                        self.exception(scene, port, packet, exception, held);
                    }
                    continue;
                }
            };
            let Some(mbuf) = burst.get_mut(i) else { continue };
            let length = mbuf.bytes().len() as u64;
            let decision =
                match self.balancer.decide(scene.tables, mbuf.bytes(), &classified, scene.now) {
                    Ok(decision) => decision,
                    Err(drop) => {
                        self.stats.verdict(Verdict::Dropped(drop), 1);
                        continue;
                    }
                };
            self.stats.event(Event::Flow(decision.flow));
            let backend = decision.backend;
            let begins = decision.flow.is_choice();
            match self.balancer.encapsulate(scene.tables, &classified, backend, mbuf) {
                Ok(out) => {
                    self.stats.service(classified.service.id.0 as usize, length, begins);
                    self.stats.backend(backend.index(), length, begins);
                    // An outlet is flushed after each burst, and when exceptions fill it.
                    let outlet = &mut scene.outlets[usize::from(out.0)];
                    if outlet.is_full() {
                        outlet.flush(&mut self.stats);
                    }
                    burst.move_to(i, outlet.burst());
                }
                Err(Drop::ExceedsMtu) => {
                    if let Some(held) = burst.take(i) {
                        self.oversize(scene, held, port, &classified, backend, begins);
                    }
                }
                Err(drop) => self.stats.verdict(Verdict::Dropped(drop), 1),
            }
        }
    }
}
