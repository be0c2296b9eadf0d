//! Packets that need more than a look into the tables: fragments, ICMP, what does not fit, and what
//! arrives encapsulated. Nothing here is on the way of an ordinary packet.
//!
//! A packet's datagram or flow may belong to another worker. It is handed over then, with an
//! [`Handoff`]. Where the devices deal flows to the queues, no one here can tell which worker has a
//! flow, and a packet that asks for it goes round, from worker to worker, until one knows.

mod fragments;
mod replies;

use crate::balancer::classify::{Exception, Unserved};
use crate::balancer::decapsulation::{self, HopLimit};
use crate::balancer::flow::FlowKey;
use crate::balancer::fragment::{self, Reason};
use crate::balancer::hash::LocalSeed;
use crate::balancer::icmp::{self, Message};
use crate::balancer::id::{BackendId, PortIndex};
use crate::balancer::reply::{IcmpError, Identifications};
use crate::balancer::services::Service;
use crate::balancer::{Classified, DropReason, Reply, Tables, Time, Verdict};
use crate::dpdk::{Burst, Mempool, OwnedMbuf};
use crate::stats::Writer;
use crate::wire::{Packet, protocol};

use super::handoff::{Arrival, Handoff, OwnerQuery};
use super::io::{Output, owner};
use super::pipeline::Pipeline;

use replies::ReplyLimits;

/// What surrounds a packet on its way.
pub(super) struct Round<'a> {
    pub(super) tables: &'a Tables,
    /// The ways out, by port.
    pub(super) outputs: &'a mut [Output],
    /// The ways to the other workers; none to this one.
    pub(super) siblings: &'a mut [Option<Output>],
    pub(super) now: Time,
}

impl Round<'_> {
    /// Sends all that was gathered.
    pub(super) fn flush(&mut self, stats: &mut Writer) {
        self.siblings.iter_mut().flatten().for_each(|peer| peer.flush(stats));
        self.outputs.iter_mut().for_each(|output| output.flush(stats));
    }
}

/// What a worker has for exceptions.
pub struct Exceptions {
    /// This worker, and how many there are.
    index: u16,
    workers: u16,
    /// The worker that has a flow follows from its hash.
    owners_known: bool,
    fragments: fragment::Table<OwnedMbuf, DatagramAction>,
    /// Where pieces of packets come from.
    pool: Mempool,
    limits: ReplyLimits,
    /// Of answers that are cut.
    identifications: Identifications,
    /// Fragments that a first one has released: room for all that can wait.
    released: Vec<(OwnedMbuf, Option<Reason>)>,
}

/// What was chosen for a datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
enum DatagramAction {
    /// It goes to a backend.
    Forward {
        backend: BackendId,
        service: Service,
        /// Of the flow, so that all packets of it travel alike.
        entropy: u64,
        /// Of the first fragment.
        protocol: u8,
        /// Of the tables that it was chosen by.
        generation: u64,
        /// The flow begins with this datagram.
        begins: bool,
    },
    /// It is turned into a reply, fragment by fragment.
    Echo,
    /// Nothing listens there: the first is answered with an error, and the others are dropped.
    Unreachable,
    /// It is dropped.
    Drop(DropReason),
}

impl DatagramAction {
    /// The protocol of a datagram over IPv6, where it has consequences.
    fn protocol(self) -> Option<u8> {
        match self {
            DatagramAction::Forward { protocol, .. } => Some(protocol),
            DatagramAction::Echo => Some(protocol::ICMPV6),
            DatagramAction::Unreachable | DatagramAction::Drop(_) => None,
        }
    }
}

impl Exceptions {
    /// For worker `me` of so many. `owners_known` tells that the owner of every flow follows from its
    /// hash, because no device deals flows by a hash of its own.
    pub fn new(
        index: u16,
        workers: u16,
        owners_known: bool,
        fragments: fragment::Capacity,
        seed: LocalSeed,
        pool: Mempool,
    ) -> Exceptions {
        Exceptions {
            index,
            workers,
            owners_known,
            fragments: fragment::Table::new(fragments, seed),
            pool,
            limits: ReplyLimits::new((0, 0)),
            identifications: Identifications::new(seed, index),
            released: Vec::with_capacity(fragments.packets),
        }
    }

    /// Packets that wait for a first fragment.
    pub(super) fn waiting(&self) -> u64 {
        self.fragments.usage().packets as u64
    }

    /// The next worker.
    fn next(&self) -> u16 {
        (self.index + 1) % self.workers
    }
}

impl Pipeline {
    /// A packet of a device that has no service.
    #[cold]
    pub(super) fn exception(
        &mut self,
        round: &mut Round<'_>,
        port: PortIndex,
        packet: Packet,
        exception: Exception,
        mbuf: OwnedMbuf,
    ) {
        self.handle_exception(round, mbuf, Arrival::by(port), packet, exception);
    }

    /// Packets that another worker has handed over.
    #[cold]
    pub(super) fn receive_handoffs(&mut self, round: &mut Round<'_>, burst: &mut Burst) {
        for mbuf in burst.drain() {
            match mbuf.metadata().and_then(Handoff::of) {
                Some(Handoff::Deliver(arrival)) => self.deliver(round, mbuf, arrival, true),
                Some(Handoff::IcmpError(query)) => {
                    self.forward_icmp_error(round, mbuf, query.port, Some(query))
                }
                Some(Handoff::FirstFragment(query)) => self.answer_query(round, mbuf, query),
                Some(Handoff::FragmentBackend(port, backend)) => {
                    self.query_answered(round, mbuf, port, backend)
                }
                // Every packet in these rings has a note.
                None => self.drop(mbuf, DropReason::RingFull),
            }
        }
    }

    /// Drops what has waited for too long; all that waits, if the worker receives nothing more.
    #[cold]
    pub(super) fn expire_fragments(&mut self, now: Time, all: bool) {
        let stats = &mut self.stats;
        let mut lost = |reason: Reason| stats.verdict(Verdict::Dropped(reason.into()), 1);
        if all {
            self.exceptions.fragments.clear(|_| lost(Reason::Timeout));
        } else {
            self.exceptions.fragments.expire(now, |_, reason| lost(reason));
        }
    }

    fn drop(&mut self, mbuf: OwnedMbuf, reason: DropReason) {
        self.stats.verdict(Verdict::Dropped(reason), 1);
        std::mem::drop(mbuf);
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

    /// An inner packet, or one that another worker found to be ours.
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

    /// An inner packet that has no hop left. It may still be for ourselves (RFC 1122, section 3.2.1.7).
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

    /// Decides a packet of a service, encapsulates it for its backend and sends it.
    pub(in crate::worker) fn forward_one(
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

    /// The worker that has a flow, if owners are known; else some worker, the same for each flow.
    fn owner(&self, tag: u64) -> u16 {
        owner(tag, self.exceptions.workers.into()).try_into().unwrap_or(0)
    }

    fn send_to(
        &mut self,
        round: &mut Round<'_>,
        worker: u16,
        mut mbuf: OwnedMbuf,
        handoff: Handoff,
    ) {
        mbuf.set_metadata(handoff.metadata());
        match round.siblings.get_mut(usize::from(worker)).and_then(Option::as_mut) {
            Some(peer) => peer.push(mbuf, &mut self.stats),
            None => self.drop(mbuf, DropReason::RingFull),
        }
    }

    /// Encapsulates a packet for its backend and sends it.
    fn forward_to(
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

    fn count_traffic(&mut self, service: Service, backend: BackendId, length: u64, begins: bool) {
        let (service, backend) = (service.id.0 as usize, backend.index());
        self.stats.traffic().count(service, backend, length);
        if begins {
            self.stats.begins(service, backend);
        }
    }

    /// An ICMP error: to the backend whose packet it is about.
    fn forward_icmp_error(
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

    /// The next worker to ask for a flow that this one does not have, if there is one.
    fn next_query(
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

/// The flow that a first fragment or an ICMP error is of, and its service.
fn flow_of(
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
