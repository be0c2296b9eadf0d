//! Packets of a service that the fast path does not take. They are decided, encapsulated and sent
//! one by one: every SYN and FIN, tagged packets, packets that are not sent as plain GRE.

use crate::dpdk::OwnedMbuf;
use guideway_core::balancer::id::{BackendId, PortIndex};
use guideway_core::balancer::services::Service;
use guideway_core::balancer::{Classified, DropReason, Verdict};

use super::pipeline::Pipeline;
use super::round::Round;

impl Pipeline {
    /// Decides a packet of a service, encapsulates it for its backend and sends it.
    pub(super) fn forward_one(
        &mut self,
        round: &mut Round<'_>,
        mbuf: OwnedMbuf,
        port: PortIndex,
        classified: &Classified,
    ) {
        match self.balancer.decide(round.tables, mbuf.bytes(), classified, round.now) {
            Ok(decision) => {
                self.stats.event(decision.flow.into(), 1);
                let begins = decision.flow.is_choice();
                self.forward_to(round, mbuf, port, classified, decision.backend, begins);
            }
            Err(reason) => self.drop(mbuf, reason),
        }
    }

    /// Encapsulates a packet for its backend and sends it. `begins` marks the first packet of a
    /// flow.
    pub(super) fn forward_to(
        &mut self,
        round: &mut Round<'_>,
        mut mbuf: OwnedMbuf,
        port: PortIndex,
        classified: &Classified,
        backend: BackendId,
        begins: bool,
    ) {
        let length = mbuf.bytes().len() as u64;
        let tables = round.tables;
        match self.balancer.encapsulate(tables, classified, backend, &mut *mbuf) {
            Ok(out) => {
                self.count_traffic(classified.service, backend, length, begins);
                round.outputs[usize::from(out.0)].push(mbuf, &mut self.stats);
            }
            Err(DropReason::HopLimitExceeded) => {
                self.hop_limit_exceeded(round, mbuf, port, &classified.packet)
            }
            Err(DropReason::ExceedsMtu) => {
                self.oversize(round, mbuf, port, classified, backend, begins);
            }
            Err(reason) => self.drop(mbuf, reason),
        }
    }

    pub(super) fn count_traffic(
        &mut self,
        service: Service,
        backend: BackendId,
        length: u64,
        begins: bool,
    ) {
        let (service, backend) = (service.id.0 as usize, backend.index());
        self.stats.traffic().count(service, backend, length);
        if begins {
            self.stats.begins(service, backend);
        }
    }

    pub(super) fn drop(&mut self, mbuf: OwnedMbuf, reason: DropReason) {
        self.stats.verdict(Verdict::Dropped(reason), 1);
        std::mem::drop(mbuf);
    }
}
