//! ICMP errors about packets that a backend has sent.

use std::ops::DerefMut;

use crate::balancer::action::Actions;
use crate::balancer::classify::Classified;
use crate::balancer::frame::{Allocator, Frame};
use crate::balancer::handoff::{Handoff, OwnerQuery};
use crate::balancer::id::PortIndex;
use crate::balancer::pipeline::{Pipeline, Round};
use crate::stats::verdict::DropReason;
use crate::wire::Packet;

use super::owner::flow_of;

impl<F: DerefMut<Target: Frame>, A: Allocator<F>> Pipeline<F, A> {
    /// Forwards an ICMP error to the backend whose packet the error quotes.
    pub(super) fn forward_icmp_error(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        port: PortIndex,
        query: Option<OwnerQuery>,
    ) {
        let Ok(packet) = Packet::parse(frame.bytes()) else {
            return self.drop(frame, DropReason::IcmpMalformed);
        };
        let flow_of = match flow_of(round.tables, &packet, frame.bytes()) {
            Ok(flow_of) => flow_of,
            Err(reason) => return self.drop(frame, reason),
        };
        let (service, flow) = flow_of;
        let tag = self.balancer.tag(&flow);
        let known = self.balancer.recorded_backend(round.tables, service, tag, round.now);
        let backend = match known {
            Some(backend) => Ok(backend),
            None => match self.next_query(tag, port, query) {
                Some((worker, query)) => {
                    return self.send_to(round, worker, frame, Handoff::IcmpError(query));
                }
                None => self.balancer.maglev_backend(round.tables, service, &flow),
            },
        };
        match backend {
            Ok(backend) => {
                let classified = Classified { packet, service, tag };
                self.forward_to(round, frame, port, &classified, backend, false);
            }
            Err(reason) => self.drop(frame, reason),
        }
    }
}
