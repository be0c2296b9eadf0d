//! Where a worker's packets go in a round: carries out what the balancer says about each packet.

use guideway_core::balancer::action::{Actions, BurstActions};
use guideway_core::balancer::handoff::Handoff;
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::passed::Passed;
use guideway_core::balancer::punt::Class;
use guideway_core::balancer::{DropReason, Verdict};
use guideway_core::stats::Writer;

use super::handoff;
use super::io::Output;
use super::kernel::Punts;
use super::owners::Owners;
use crate::dpdk::{Burst, OwnedMbuf};

/// All outputs of a worker.
pub(super) struct Outputs<'a> {
    /// The output of each port.
    pub(super) ports: &'a mut [Output],
    /// The ring to each sibling; `None` at this worker's own index.
    pub(super) siblings: &'a mut [Option<Output>],
    /// The rings to the owners of flows, if the device that delivered the packets does not divide flows.
    pub(super) owners: Option<&'a mut Owners>,
    /// The queues to the kernel.
    pub(super) punts: &'a mut Punts,
}

impl Outputs<'_> {
    /// Flushes all outputs.
    pub(super) fn flush(&mut self, stats: &mut Writer) {
        if let Some(owners) = &mut self.owners {
            owners.flush(stats);
        }
        self.siblings.iter_mut().flatten().for_each(|sibling| sibling.flush(stats));
        self.ports.iter_mut().for_each(|output| output.flush(stats));
    }
}

impl Actions<OwnedMbuf> for Outputs<'_> {
    #[inline]
    fn transmit(&mut self, port: PortIndex, mbuf: OwnedMbuf, stats: &mut Writer) {
        self.ports[usize::from(port.0)].push(mbuf, stats);
    }

    #[inline]
    fn transmit_decided(
        &mut self,
        port: PortIndex,
        mbuf: OwnedMbuf,
        stats: &mut Writer,
    ) -> Result<(), DropReason> {
        self.ports[usize::from(port.0)].send_now(mbuf, stats)
    }

    fn punt(
        &mut self,
        port: PortIndex,
        class: Class,
        mbuf: OwnedMbuf,
        _stats: &mut Writer,
    ) -> Result<(), DropReason> {
        self.punts.punt(port, class, mbuf)
    }

    fn hand_off(&mut self, worker: u16, mut mbuf: OwnedMbuf, handoff: Handoff, stats: &mut Writer) {
        mbuf.set_metadata(handoff::encode(handoff));
        match self.siblings.get_mut(usize::from(worker)).and_then(Option::as_mut) {
            Some(sibling) => sibling.push(mbuf, stats),
            None => stats.verdict(Verdict::Dropped(DropReason::RingFull), 1),
        }
    }
}

impl BurstActions<Burst> for Outputs<'_> {
    #[inline]
    fn transmit_burst(&mut self, port: PortIndex, burst: &mut Burst, stats: &mut Writer) {
        self.ports[usize::from(port.0)].extend(burst, stats);
    }

    #[inline]
    fn divides(&self) -> bool {
        self.owners.is_some()
    }

    #[inline]
    fn pass(&mut self, passed: &Passed, mbuf: OwnedMbuf) -> Result<(), OwnedMbuf> {
        match self.owners.as_mut().and_then(|owners| owners.of(passed.tag())) {
            // This output is empty before a burst, and has room for all of it.
            Some(output) => output.push(passed, mbuf),
            None => Err(mbuf),
        }
    }
}

#[cfg(test)]
mod tests {
    use guideway_core::balancer::handoff::Arrival;
    use guideway_core::stats;

    use super::*;
    use crate::dpdk::ring;
    use crate::dpdk::testing::{eal, packets, pool, unique};
    use crate::worker::io::OutputKind;
    use crate::worker::ring_queue::RingQueue;

    #[test]
    fn a_handoff_arrives_with_its_packet() {
        let pool = pool(31);
        let (mut stats, reader) = stats::channel(0, 0);
        let (to, mut from) = ring::channel(eal(), &unique("handoff"), 64, None).unwrap();
        let ring = Output::new(OutputKind::Ring(RingQueue::new(to, false)));
        let mut siblings = [None, Some(ring)];
        let mut punts = Punts::default();
        let mut outputs =
            Outputs { ports: &mut [], siblings: &mut siblings, owners: None, punts: &mut punts };
        let handoff = Handoff::Deliver(Arrival::by(PortIndex(3)));
        for (worker, mbuf) in [0, 1, 2].into_iter().zip(packets(&pool, 3).drain()) {
            outputs.hand_off(worker, mbuf, handoff, &mut stats);
        }
        outputs.flush(&mut stats);
        let mut burst = Burst::new();
        assert_eq!(from.receive(&mut burst), 1);
        let mbuf = burst.get(0).unwrap();
        assert_eq!(mbuf.bytes(), [1, 1]);
        assert_eq!(mbuf.metadata().and_then(handoff::decode), Some(handoff));
        assert_eq!(reader.verdict(Verdict::Dropped(DropReason::RingFull)), 2);
        drop(burst);
        assert_eq!(pool.in_use(), 0);
    }
}
