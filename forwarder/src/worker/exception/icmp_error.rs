//! ICMP errors about packets that a backend has sent.

use crate::dpdk::OwnedMbuf;
use crate::worker::handoff::{Handoff, OwnerQuery};
use crate::worker::pipeline::Pipeline;
use crate::worker::round::Round;
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::{Classified, DropReason};
use guideway_core::wire::Packet;

use super::owner::flow_of;

impl Pipeline {
    /// Forwards an ICMP error to the backend whose packet the error quotes.
    pub(super) fn forward_icmp_error(
        &mut self,
        round: &mut Round<'_>,
        mbuf: OwnedMbuf,
        port: PortIndex,
        query: Option<OwnerQuery>,
    ) {
        let Ok(packet) = Packet::parse(mbuf.bytes()) else {
            return self.drop(mbuf, DropReason::IcmpMalformed);
        };
        let flow_of = match flow_of(round.tables, &packet, mbuf.bytes()) {
            Ok(flow_of) => flow_of,
            Err(reason) => return self.drop(mbuf, reason),
        };
        let (service, flow) = flow_of;
        let tag = self.balancer.tag(&flow);
        let known = self.balancer.recorded_backend(round.tables, service, tag, round.now);
        let backend = match known {
            Some(backend) => Ok(backend),
            None => match self.next_query(tag, port, query) {
                Some((worker, query)) => {
                    return self.send_to(round, worker, mbuf, Handoff::IcmpError(query));
                }
                None => self.balancer.maglev_backend(round.tables, service, &flow),
            },
        };
        match backend {
            Ok(backend) => {
                let classified = Classified { packet, service, tag };
                self.forward_to(round, mbuf, port, &classified, backend, false);
            }
            Err(reason) => self.drop(mbuf, reason),
        }
    }
}
