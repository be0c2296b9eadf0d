//! A packet's way through a worker, in stages over its burst.

use std::ops::Range;

use super::clock::Clock;
use super::exchange::{Outlet, Owners};
use crate::balancer::tables::PortIndex;
use crate::balancer::{Balancer, Classified, Drop, Tables, Time, Verdict};
use crate::dpdk::{BURST, Burst, prefetch};
use crate::stats::Writer;

/// What a packet meets on its way through a worker.
pub(super) struct Path {
    pub(super) balancer: Balancer,
    pub(super) stats: Writer,
    /// The packets of the burst that are to be decided.
    staged: [Option<Classified>; BURST],
}

impl Path {
    pub(super) fn new(balancer: Balancer, stats: Writer) -> Path {
        Path { balancer, stats, staged: [None; BURST] }
    }

    /// Takes a burst all the way; it is empty afterwards.
    #[inline]
    pub(super) fn take(
        &mut self,
        tables: &Tables,
        port: PortIndex,
        burst: &mut Burst,
        mut owners: Option<&mut Owners>,
        outlets: &mut [Outlet],
        clock: &mut Clock,
    ) {
        let mut start = 0;
        while start < burst.len() {
            let (end, now) = clock.run(burst, start);
            self.classify(tables, port, burst, start..end, owners.as_deref_mut());
            self.forward(tables, burst, start..end, outlets, now);
            start = end;
        }
        burst.clear();
        if let Some(owners) = owners {
            owners.outlets.iter_mut().flatten().for_each(|outlet| outlet.flush(&mut self.stats));
        }
        outlets.iter_mut().for_each(|outlet| outlet.flush(&mut self.stats));
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
            self.staged[i] = None;
            let Some(mbuf) = burst.get(i) else { continue };
            let classified = if mbuf.is_contiguous() {
                self.balancer.classify(tables, port, mbuf.bytes())
            } else {
                Err(Drop::FrameTooLong)
            };
            match classified {
                Err(drop) => self.stats.verdict(Verdict::Dropped(drop), 1),
                Ok(classified) => {
                    let owner = owners.as_mut().and_then(|owners| owners.of(classified.tag));
                    if let Some(outlet) = owner {
                        burst.move_to(i, &mut outlet.burst);
                    } else {
                        prefetch(self.balancer.flows().bucket(classified.tag));
                        self.staged[i] = Some(classified);
                    }
                }
            }
        }
    }

    /// Decides and encapsulates what is staged, and puts it before its port.
    #[inline]
    fn forward(
        &mut self,
        tables: &Tables,
        burst: &mut Burst,
        range: Range<usize>,
        outlets: &mut [Outlet],
        now: Time,
    ) {
        for i in range {
            let Some(classified) = self.staged[i] else { continue };
            let Some(mbuf) = burst.get_mut(i) else { continue };
            let length = mbuf.bytes().len() as u64;
            let sent =
                self.balancer.decide(tables, mbuf.bytes(), &classified, now).and_then(|decision| {
                    self.stats.event(decision.flow);
                    let backend = decision.backend;
                    let port = self.balancer.encapsulate(tables, &classified, backend, mbuf)?;
                    let begins = decision.flow.is_choice();
                    self.stats.service(classified.service.id.0 as usize, length, begins);
                    self.stats.backend(backend.index(), length, begins);
                    Ok(port)
                });
            match sent {
                Ok(port) => {
                    let outlet = &mut outlets[usize::from(port.0)];
                    // An outlet is flushed after each burst, so that it has room for another.
                    burst.move_to(i, &mut outlet.burst);
                }
                Err(drop) => self.stats.verdict(Verdict::Dropped(drop), 1),
            }
        }
    }
}
