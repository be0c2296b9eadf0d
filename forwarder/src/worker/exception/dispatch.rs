//! Decides what becomes of an exception, and of a packet that another worker hands over.

use crate::dpdk::{Burst, OwnedMbuf};
use crate::worker::handoff::{Arrival, Handoff};
use crate::worker::pipeline::Pipeline;
use crate::worker::round::Round;
use guideway_core::balancer::classify::{Exception, Unserved};
use guideway_core::balancer::decapsulation::{self, HopLimit};
use guideway_core::balancer::icmp::{self, Message};
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::reply::IcmpError;
use guideway_core::balancer::{Classified, DropReason, Reply};
use guideway_core::wire::{Packet, protocol};

impl Pipeline {
    /// Handles a packet from a device that has no service.
    #[cold]
    pub(in crate::worker) fn exception(
        &mut self,
        round: &mut Round<'_>,
        port: PortIndex,
        packet: Packet,
        exception: Exception,
        mbuf: OwnedMbuf,
    ) {
        self.handle_exception(round, mbuf, Arrival::by(port), packet, exception);
    }

    /// Handles packets that another worker has handed over.
    #[cold]
    pub(in crate::worker) fn receive_handoffs(&mut self, round: &mut Round<'_>, burst: &mut Burst) {
        for mbuf in burst.drain() {
            match mbuf.metadata().and_then(Handoff::of) {
                Some(Handoff::Deliver(arrival)) => self.deliver(round, mbuf, arrival, true),
                Some(Handoff::IcmpError(query)) => {
                    self.forward_icmp_error(round, mbuf, query.port, Some(query))
                }
                Some(Handoff::FirstFragment(query)) => self.look_up_for_sibling(round, mbuf, query),
                Some(Handoff::FragmentBackend(port, backend)) => {
                    self.query_returned(round, mbuf, port, backend)
                }
                // Every packet in these rings has metadata.
                None => self.drop(mbuf, DropReason::RingFull),
            }
        }
    }

    fn handle_exception(
        &mut self,
        round: &mut Round<'_>,
        mut mbuf: OwnedMbuf,
        arrival: Arrival,
        packet: Packet,
        exception: Exception,
    ) {
        if exception != Exception::Elsewhere
            && let Err(reason) =
                round.tables.check_source_to_node(&packet, mbuf.bytes(), arrival.inner)
        {
            return self.drop(mbuf, reason);
        }
        match exception {
            Exception::Elsewhere if arrival.inner => {
                let tunnel = &round.tables.node().tunnel;
                let is_nested = tunnel.is_destination(&packet, mbuf.bytes());
                self.drop(
                    mbuf,
                    if is_nested { DropReason::TunnelNested } else { DropReason::NoVip },
                );
            }
            Exception::Elsewhere => {
                match round.tables.node().tunnel.decapsulate(&packet, mbuf.bytes()) {
                    Ok(None) => self.drop(mbuf, DropReason::NoVip),
                    Ok(Some(inner)) => match round
                        .tables
                        .check_source_to_node(&packet, mbuf.bytes(), false)
                        .and_then(|()| Ok(decapsulation::unwrap(&packet, &inner, &mut *mbuf)?))
                    {
                        Ok(life) => {
                            let redirected = inner.redirected;
                            let arrival = Arrival { inner: true, redirected, ..arrival };
                            match life {
                                HopLimit::Left => self.deliver(round, mbuf, arrival, false),
                                HopLimit::Exceeded => self.deliver_expired(round, mbuf, arrival),
                            }
                        }
                        Err(reason) => self.drop(mbuf, reason),
                    },
                    Err(reason) => self.drop(mbuf, reason.into()),
                }
            }
            Exception::Closed(vip) if vip.unreachable && packet.protocol == protocol::UDP => {
                let error = IcmpError::PortUnreachable;
                self.reply(round, mbuf, arrival.port, &packet, Reply::Unreachable, Some(error));
            }
            Exception::Closed(_) => self.drop(mbuf, DropReason::NoService),
            Exception::Icmp(vip) => match icmp::message(&packet, mbuf.bytes()) {
                Ok(Message::EchoRequest) if vip.echo => {
                    self.reply(round, mbuf, arrival.port, &packet, Reply::Echo, None);
                }
                Ok(Message::EchoRequest) => self.drop(mbuf, DropReason::EchoDisabled),
                Ok(Message::Error) => self.forward_icmp_error(round, mbuf, arrival.port, None),
                Err(reason) => self.drop(mbuf, reason),
            },
            Exception::Fragment(vip) => self.fragment(round, mbuf, arrival, &packet, vip),
        }
    }

    /// Forwards an inner packet, or one that another worker handed to its owner (`is_ours`).
    fn deliver(&mut self, round: &mut Round<'_>, mbuf: OwnedMbuf, arrival: Arrival, is_ours: bool) {
        let classified = self.balancer.classify(round.tables, arrival.port, mbuf.bytes());
        match classified {
            Ok(classified) => {
                let owner = self.owner(classified.tag);
                if owner != self.exceptions.index && !is_ours {
                    return self.send_to(round, owner, mbuf, Handoff::Deliver(arrival));
                }
                self.forward_one(round, mbuf, arrival.port, &classified);
            }
            Err(Unserved::Exception(packet, exception)) => {
                self.handle_exception(round, mbuf, arrival, packet, exception);
            }
            Err(Unserved::Drop(reason)) => self.drop(mbuf, reason),
        }
    }

    /// Handles an inner packet whose hop limit is used up. Such a packet may still be for this node
    /// (RFC 1122, section 3.2.1.7).
    fn deliver_expired(&mut self, round: &mut Round<'_>, mbuf: OwnedMbuf, arrival: Arrival) {
        match self.balancer.classify(round.tables, arrival.port, mbuf.bytes()) {
            Ok(Classified { packet, .. }) => {
                self.hop_limit_exceeded(round, mbuf, arrival.port, &packet)
            }
            Err(Unserved::Exception(packet, exception)) => {
                let is_forwarded = match exception {
                    Exception::Elsewhere | Exception::Closed(_) => false,
                    Exception::Fragment(_) => true,
                    Exception::Icmp(_) => {
                        icmp::message(&packet, mbuf.bytes()) == Ok(Message::Error)
                    }
                };
                if is_forwarded {
                    self.hop_limit_exceeded(round, mbuf, arrival.port, &packet);
                } else {
                    self.handle_exception(round, mbuf, arrival, packet, exception);
                }
            }
            Err(Unserved::Drop(reason)) => self.drop(mbuf, reason),
        }
    }
}
