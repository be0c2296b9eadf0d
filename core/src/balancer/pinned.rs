//! The way of a packet that the node itself sends to a backend: its pin names the backend, and the code that encapsulates traffic
//! encapsulates it.
//!
//! The packet has no flow table entry, its service need not exist, and no state of the backend keeps it back: a backend
//! that is down must be probed.

use std::ops::DerefMut;

use zerocopy::FromBytes;

use super::action::Actions;
use super::address::{Address, address};
use super::classify::Classified;
use super::flow::FlowKey;
use super::frame::Frame;
use super::id::PortIndex;
use super::pin::Outcome;
use super::pipeline::{Pipeline, Round};
use super::services::Service;
use super::tables::Tables;
use super::verdict::DropReason;
use super::worker_state::Balancer;
use crate::wire::{Family, Fragment, Packet, icmp, icmpv6, protocol};

impl<F: DerefMut<Target: Frame>, A> Pipeline<F, A> {
    /// Encapsulates a packet that the node has sent for the backend of its pin, and sends it.
    #[cold]
    pub fn send_pinned(&mut self, round: &mut Round<'_, impl Actions<F>>, mut frame: F) -> Outcome {
        match self.balancer.encapsulate_pinned(round.tables, &mut *frame) {
            Ok(port) => match round.actions.transmit_decided(port, frame, &mut self.stats) {
                Ok(()) => Outcome::Sent,
                Err(_) => Outcome::NoRoom,
            },
            Err(outcome) => outcome,
        }
    }
}

impl Balancer {
    /// Encapsulates a packet for the backend of its pin. Returns the port to send it by.
    fn encapsulate_pinned(
        &self,
        tables: &Tables,
        frame: &mut impl Frame,
    ) -> Result<PortIndex, Outcome> {
        let packet = Packet::parse(frame.bytes()).map_err(|_| Outcome::Invalid)?;
        let source = source(&packet, frame.bytes()).ok_or(Outcome::Invalid)?;
        let key = FlowKey::of(&packet, frame.bytes()).ok_or(Outcome::Invalid)?;
        let backend = tables.pins().of(source).ok_or(Outcome::Unpinned)?;
        let classified = Classified { packet, service: Service::NONE, tag: self.tag(&key) };
        self.encapsulate(tables, &classified, backend, frame).map_err(outcome)
    }
}

/// What becomes of a packet that cannot be encapsulated for this reason.
fn outcome(reason: DropReason) -> Outcome {
    match reason {
        DropReason::NextHopUnresolved => Outcome::Unresolved,
        DropReason::ExceedsMtu => Outcome::TooLong,
        DropReason::NoHeadroom => Outcome::NoRoom,
        _ => Outcome::Invalid,
    }
}

/// The source of a packet that may have a pin: its address, and its port or the identifier of its echo request.
fn source(packet: &Packet, frame: &[u8]) -> Option<(Address, u16)> {
    if packet.fragment != Fragment::Whole {
        return None;
    }
    let port = match (packet.family, packet.protocol) {
        (_, protocol::TCP | protocol::UDP) => packet.source,
        (Family::V4, protocol::ICMP) => identifier(packet.payload(frame)?, icmp::ECHO)?,
        (Family::V6, protocol::ICMPV6) => identifier(packet.payload(frame)?, icmpv6::ECHO_REQUEST)?,
        _ => return None,
    };
    let v4 = packet.addresses_v4(frame).map(|(source, _)| address(source.into()));
    let v6 = || packet.addresses_v6(frame).map(|(source, _)| address(source.into()));
    Some((v4.or_else(v6)?, port))
}

/// The identifier of an echo request, whose type is `kind`. Both families have it at the same place.
fn identifier(message: &[u8], kind: u8) -> Option<u16> {
    let (header, _) = icmp::Header::ref_from_prefix(message).ok()?;
    (header.kind == kind && header.code == 0).then(|| header.identifier.get())
}

#[cfg(test)]
mod tests;
