//! Which worker owns a flow, and how packets get there.

use crate::balancer::action::Actions;
use crate::balancer::flow::FlowKey;
use crate::balancer::handoff::{Handoff, OwnerQuery, owner};
use crate::balancer::icmp;
use crate::balancer::id::PortIndex;
use crate::balancer::pipeline::{Pipeline, Round};
use crate::balancer::services::Service;
use crate::balancer::tables::Tables;
use crate::stats::verdict::DropReason;
use crate::wire::{Packet, protocol};

use super::state::Exceptions;

impl<F, A> Pipeline<F, A> {
    /// The worker that owns a flow by its hash. It has the flow in its table only where owners are
    /// known.
    pub(super) fn owner(&self, tag: u64) -> u16 {
        owner(tag, self.exceptions.workers.into()).try_into().unwrap_or(0)
    }

    pub(super) fn send_to(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        worker: u16,
        frame: F,
        handoff: Handoff,
    ) {
        round.actions.hand_off(worker, frame, handoff, &mut self.stats);
    }

    /// The next worker to ask for a flow that is not in this worker's table; `None` if all were
    /// asked.
    pub(super) fn next_query(
        &self,
        tag: u64,
        port: PortIndex,
        query: Option<OwnerQuery>,
    ) -> Option<(u16, OwnerQuery)> {
        let Exceptions { index, workers, owners_known, .. } = self.exceptions;
        match query {
            None if workers == 1 => None,
            None if owners_known => {
                let owner = self.owner(tag);
                (owner != index).then_some((owner, OwnerQuery { port, origin: index, left: 0 }))
            }
            None => Some((
                self.exceptions.next(),
                OwnerQuery { port, origin: index, left: workers - 2 },
            )),
            Some(OwnerQuery { left: 0, .. }) => None,
            Some(query) => {
                Some((self.exceptions.next(), OwnerQuery { left: query.left - 1, ..query }))
            }
        }
    }
}

/// The service and the flow of a first fragment, or of the packet that an ICMP error quotes.
pub(super) fn flow_of(
    tables: &Tables,
    packet: &Packet,
    frame: &[u8],
) -> Result<(Service, FlowKey), DropReason> {
    if matches!(packet.protocol, protocol::TCP | protocol::UDP) {
        let service = tables.service_of_first(packet, frame).ok_or(DropReason::NoService)?;
        let flow = FlowKey::of(packet, frame).ok_or(DropReason::FragmentMalformed)?;
        return Ok((service, flow));
    }
    tables.check_source(packet, frame)?;
    let embedded = icmp::embedded(packet, frame)?;
    let service =
        tables.service_at(&embedded.service_address).ok_or(DropReason::IcmpUnknownFlow)?;
    Ok((service, embedded.flow))
}
