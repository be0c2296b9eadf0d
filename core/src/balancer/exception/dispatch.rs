//! Decides what becomes of an exception, and of a packet that another worker hands over.

use std::ops::DerefMut;

use crate::balancer::action::Actions;
use crate::balancer::classify::{Classified, Exception, Unserved};
use crate::balancer::decapsulation::{self, HopLimit};
use crate::balancer::frame::{Allocator, Frame};
use crate::balancer::handoff::{Arrival, Handoff};
use crate::balancer::icmp::{self, Message};
use crate::balancer::id::PortIndex;
use crate::balancer::pipeline::{Pipeline, Round};
use crate::balancer::reply::{Answer, IcmpError};
use crate::stats::verdict::DropReason;
use crate::wire::{Packet, protocol};

impl<F: DerefMut<Target: Frame>, A: Allocator<F>> Pipeline<F, A> {
    /// Handles a packet from a device that has no service.
    #[cold]
    pub(in crate::balancer) fn exception(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        port: PortIndex,
        packet: Packet,
        exception: Exception,
        frame: F,
    ) {
        self.handle_exception(round, frame, Arrival::by(port), packet, exception);
    }

    /// Handles a packet that another worker has handed over.
    #[cold]
    pub fn receive_handoff(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        handoff: Handoff,
    ) {
        match handoff {
            Handoff::Deliver(arrival) => self.deliver(round, frame, arrival, true),
            Handoff::IcmpError(query) => {
                self.forward_icmp_error(round, frame, query.port, Some(query))
            }
            Handoff::FirstFragment(query) => self.look_up_for_sibling(round, frame, query),
            Handoff::FragmentBackend(port, backend) => {
                self.query_returned(round, frame, port, Ok(backend))
            }
            Handoff::FragmentRefused(port, reason) => {
                self.query_returned(round, frame, port, Err(reason))
            }
        }
    }

    fn handle_exception(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        arrival: Arrival,
        packet: Packet,
        exception: Exception,
    ) {
        if exception != Exception::Elsewhere
            && let Err(reason) =
                round.tables.check_source_to_node(&packet, frame.bytes(), arrival.inner)
        {
            return self.drop(frame, reason);
        }
        match exception {
            Exception::Elsewhere => self.decapsulate(round, frame, arrival, &packet),
            Exception::Closed(vip) if vip.unreachable && packet.protocol == protocol::UDP => {
                let answer = Answer::Error(IcmpError::PortUnreachable);
                self.reply(round, frame, arrival.port, &packet, answer);
            }
            Exception::Closed(_) => self.drop(frame, DropReason::NoService),
            Exception::Icmp(vip) => match icmp::message(&packet, frame.bytes()) {
                Ok(Message::EchoRequest) if vip.echo => {
                    self.reply(round, frame, arrival.port, &packet, Answer::Echo);
                }
                Ok(Message::EchoRequest) => self.drop(frame, DropReason::EchoDisabled),
                Ok(Message::Error) => self.forward_icmp_error(round, frame, arrival.port, None),
                // Hosts verify by unicast that they still know the MAC address of an address on their link.
                Err(reason) if !arrival.inner => {
                    if let Err((frame, reason)) = self.punt(round, frame, arrival.port, reason) {
                        self.drop(frame, reason);
                    }
                }
                Err(reason) => self.drop(frame, reason),
            },
            Exception::Fragment(vip) => self.fragment(round, frame, arrival, &packet, vip),
        }
    }

    /// Takes a packet out of its tunnel, and handles it as if it had arrived by itself. What is in no tunnel that ends
    /// here may be for the kernel, unless it was in one already.
    fn decapsulate(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        mut frame: F,
        arrival: Arrival,
        packet: &Packet,
    ) {
        let tables = round.tables;
        let tunnel = &tables.node().tunnel;
        if arrival.inner {
            let is_nested = tunnel.is_destination(packet, frame.bytes());
            let reason = if is_nested { DropReason::TunnelNested } else { DropReason::NoVip };
            return self.drop(frame, reason);
        }
        let inner = match tunnel.decapsulate(packet, frame.bytes()) {
            Ok(Some(inner)) => inner,
            Ok(None) => {
                if let Err((frame, reason)) =
                    self.punt(round, frame, arrival.port, DropReason::NoVip)
                {
                    self.drop(frame, reason);
                }
                return;
            }
            Err(reason) => return self.drop(frame, reason.into()),
        };
        if let Err(reason) = tables.check_source_to_node(packet, frame.bytes(), false) {
            return self.drop(frame, reason);
        }
        let arrival = Arrival { inner: true, redirected: inner.redirected, ..arrival };
        match decapsulation::unwrap(packet, &inner, &mut *frame) {
            Ok(HopLimit::Left) => self.deliver(round, frame, arrival, false),
            Ok(HopLimit::Exceeded) => self.deliver_expired(round, frame, arrival),
            Err(reason) => self.drop(frame, reason.into()),
        }
    }

    /// Forwards an inner packet, or one that another worker handed to its owner (`is_ours`).
    fn deliver(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        arrival: Arrival,
        is_ours: bool,
    ) {
        let classified = self.balancer.classify(round.tables, arrival.port, frame.bytes());
        match classified {
            Ok(classified) => {
                let owner = self.owner(classified.tag);
                if owner != self.exceptions.index && !is_ours {
                    return self.send_to(round, owner, frame, Handoff::Deliver(arrival));
                }
                let port = arrival.port;
                if let Err((frame, reason)) = self.forward_one(round, frame, port, &classified) {
                    self.refuse(round, frame, port, &classified, reason);
                }
            }
            Err(Unserved::Exception(packet, exception)) => {
                self.handle_exception(round, frame, arrival, packet, exception);
            }
            Err(Unserved::Drop(reason)) => self.drop(frame, reason),
        }
    }

    /// Handles an inner packet whose hop limit is used up. Such a packet may still be for this node
    /// (RFC 1122, section 3.2.1.7).
    fn deliver_expired(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        arrival: Arrival,
    ) {
        match self.balancer.classify(round.tables, arrival.port, frame.bytes()) {
            Ok(Classified { packet, .. }) => {
                self.hop_limit_exceeded(round, frame, arrival.port, &packet)
            }
            Err(Unserved::Exception(packet, exception)) => {
                let is_forwarded = match exception {
                    Exception::Elsewhere | Exception::Closed(_) => false,
                    Exception::Fragment(_) => true,
                    Exception::Icmp(_) => {
                        icmp::message(&packet, frame.bytes()) == Ok(Message::Error)
                    }
                };
                if is_forwarded {
                    self.hop_limit_exceeded(round, frame, arrival.port, &packet);
                } else {
                    self.handle_exception(round, frame, arrival, packet, exception);
                }
            }
            Err(Unserved::Drop(reason)) => self.drop(frame, reason),
        }
    }
}
