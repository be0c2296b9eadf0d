//! Packets that need more than a look into the tables: fragments, ICMP, what does not fit, and what
//! arrives encapsulated. Nothing here is on the way of an ordinary packet.
//!
//! A packet's datagram or flow may belong to another worker. It is handed over then, with an
//! [`Errand`]. Where the devices deal flows to the queues, no one here can tell which worker has a
//! flow, and a packet that asks for it goes round, from worker to worker, until one knows.

mod answers;
mod fragments;

use crate::balancer::decapsulation::{self, Life};
use crate::balancer::flow::FlowKey;
use crate::balancer::fragment::{self, Reason};
use crate::balancer::hash::LocalSeed;
use crate::balancer::icmp::{self, Message};
use crate::balancer::reply::{IcmpError, Identifications};
use crate::balancer::tables::{BackendId, Exception, PortIndex, Service, Unserved};
use crate::balancer::{Classified, DropReason, Reply, Tables, Time, Verdict};
use crate::dpdk::{Burst, Held, Pool};
use crate::stats::{Event, Writer};
use crate::wire::{Packet, protocol};

use super::errand::{Arrival, Errand, Tour};
use super::exchange::{Outlet, owner};
use super::path::Path;

use answers::ReplyLimits;

/// What surrounds a packet on its way.
pub(super) struct Scene<'a> {
    pub(super) tables: &'a Tables,
    /// The ways out, by port.
    pub(super) outlets: &'a mut [Outlet],
    /// The ways to the other workers; none to this one.
    pub(super) peers: &'a mut [Option<Outlet>],
    pub(super) now: Time,
}

impl Scene<'_> {
    /// Sends all that was gathered.
    pub(super) fn flush(&mut self, stats: &mut Writer) {
        self.peers.iter_mut().flatten().for_each(|peer| peer.flush(stats));
        self.outlets.iter_mut().for_each(|outlet| outlet.flush(stats));
    }
}

/// What a worker has for exceptions.
pub struct Exceptions {
    /// This worker, and how many there are.
    me: u16,
    workers: u16,
    /// The worker that has a flow follows from its hash.
    owners_known: bool,
    fragments: fragment::Table<Held, Choice>,
    /// Where pieces of packets come from.
    pool: Pool,
    limits: ReplyLimits,
    /// Of answers that are cut.
    identifications: Identifications,
    /// Fragments that a first one has released: room for all that can wait.
    released: Vec<(Held, Option<Reason>)>,
}

/// What was chosen for a datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Choice {
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

impl Choice {
    /// The protocol of a datagram over IPv6, where it has consequences.
    fn protocol(self) -> Option<u8> {
        match self {
            Choice::Forward { protocol, .. } => Some(protocol),
            Choice::Echo => Some(protocol::ICMPV6),
            Choice::Unreachable | Choice::Drop(_) => None,
        }
    }
}

impl Exceptions {
    /// For worker `me` of so many. `owners_known` tells that the owner of every flow follows from its
    /// hash, because no device deals flows by a hash of its own.
    pub fn new(
        me: u16,
        workers: u16,
        owners_known: bool,
        fragments: fragment::Capacity,
        seed: LocalSeed,
        pool: Pool,
    ) -> Exceptions {
        Exceptions {
            me,
            workers,
            owners_known,
            fragments: fragment::Table::new(fragments, seed),
            pool,
            limits: ReplyLimits::new((0, 0)),
            identifications: Identifications::new(seed, me),
            released: Vec::with_capacity(fragments.packets),
        }
    }

    /// Packets that wait for a first fragment.
    pub(super) fn held(&self) -> u64 {
        self.fragments.usage().packets as u64
    }

    /// The next worker.
    fn next(&self) -> u16 {
        (self.me + 1) % self.workers
    }
}

impl Path {
    /// A packet of a device that has no service.
    #[cold]
    pub(super) fn exception(
        &mut self,
        scene: &mut Scene<'_>,
        port: PortIndex,
        packet: Packet,
        exception: Exception,
        held: Held,
    ) {
        self.except(scene, held, Arrival::by(port), packet, exception);
    }

    /// Packets that another worker has handed over.
    #[cold]
    pub(super) fn visit(&mut self, scene: &mut Scene<'_>, burst: &mut Burst) {
        for held in burst.drain() {
            match held.note().and_then(Errand::of) {
                Some(Errand::Deliver(arrival)) => self.deliver(scene, held, arrival, true),
                Some(Errand::Steer(tour)) => self.steer(scene, held, tour.port, Some(tour)),
                Some(Errand::Choose(tour)) => self.choose(scene, held, tour),
                Some(Errand::Chosen(port, backend)) => self.chosen(scene, held, port, backend),
                // Every packet in these rings has a note.
                None => self.drop(held, DropReason::RingFull),
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

    fn drop(&mut self, held: Held, reason: DropReason) {
        self.stats.verdict(Verdict::Dropped(reason), 1);
        std::mem::drop(held);
    }

    fn except(
        &mut self,
        scene: &mut Scene<'_>,
        mut held: Held,
        arrival: Arrival,
        packet: Packet,
        exception: Exception,
    ) {
        if exception != Exception::Elsewhere
            && let Err(reason) =
                scene.tables.check_source_to_node(&packet, held.bytes(), arrival.inner)
        {
            return self.drop(held, reason);
        }
        match exception {
            Exception::Elsewhere if arrival.inner => {
                let tunnel = &scene.tables.node().tunnel;
                let is_nested = tunnel.is_destination(&packet, held.bytes());
                self.drop(
                    held,
                    if is_nested { DropReason::TunnelNested } else { DropReason::NoVip },
                );
            }
            Exception::Elsewhere => {
                match scene.tables.node().tunnel.decapsulate(&packet, held.bytes()) {
                    Ok(None) => self.drop(held, DropReason::NoVip),
                    Ok(Some(inner)) => match scene
                        .tables
                        .check_source_to_node(&packet, held.bytes(), false)
                        .and_then(|()| Ok(decapsulation::unwrap(&packet, &inner, &mut *held)?))
                    {
                        Ok(life) => {
                            let redirected = inner.redirected;
                            let arrival = Arrival { inner: true, redirected, ..arrival };
                            match life {
                                Life::Left => self.deliver(scene, held, arrival, false),
                                Life::Over => self.deliver_last(scene, held, arrival),
                            }
                        }
                        Err(reason) => self.drop(held, reason),
                    },
                    Err(reason) => self.drop(held, reason.into()),
                }
            }
            Exception::Closed(vip) if vip.unreachable && packet.protocol == protocol::UDP => {
                let error = IcmpError::PortUnreachable;
                self.answer(scene, held, arrival.port, &packet, Reply::Unreachable, Some(error));
            }
            Exception::Closed(_) => self.drop(held, DropReason::NoService),
            Exception::Icmp(vip) => match icmp::message(&packet, held.bytes()) {
                Ok(Message::EchoRequest) if vip.echo => {
                    self.answer(scene, held, arrival.port, &packet, Reply::Echo, None);
                }
                Ok(Message::EchoRequest) => self.drop(held, DropReason::EchoDisabled),
                Ok(Message::Error) => self.steer(scene, held, arrival.port, None),
                Err(reason) => self.drop(held, reason),
            },
            Exception::Fragment(vip) => self.fragment(scene, held, arrival, &packet, vip),
        }
    }

    /// An inner packet, or one that another worker found to be ours.
    fn deliver(&mut self, scene: &mut Scene<'_>, held: Held, arrival: Arrival, is_ours: bool) {
        let classified = self.balancer.classify(scene.tables, arrival.port, held.bytes());
        match classified {
            Ok(classified) => {
                let owner = self.owner(classified.tag);
                if owner != self.exceptions.me && !is_ours {
                    return self.send_to(scene, owner, held, Errand::Deliver(arrival));
                }
                self.forward_one(scene, held, arrival.port, &classified);
            }
            Err(Unserved::Exception(packet, exception)) => {
                self.except(scene, held, arrival, packet, exception);
            }
            Err(Unserved::Drop(reason)) => self.drop(held, reason),
        }
    }

    /// An inner packet that has no hop left. It may still be for ourselves (RFC 1122, section 3.2.1.7).
    fn deliver_last(&mut self, scene: &mut Scene<'_>, held: Held, arrival: Arrival) {
        match self.balancer.classify(scene.tables, arrival.port, held.bytes()) {
            Ok(Classified { packet, .. }) => self.expire(scene, held, arrival.port, &packet),
            Err(Unserved::Exception(packet, exception)) => {
                let is_forwarded = match exception {
                    Exception::Elsewhere | Exception::Closed(_) => false,
                    Exception::Fragment(_) => true,
                    Exception::Icmp(_) => {
                        icmp::message(&packet, held.bytes()) == Ok(Message::Error)
                    }
                };
                if is_forwarded {
                    self.expire(scene, held, arrival.port, &packet);
                } else {
                    self.except(scene, held, arrival, packet, exception);
                }
            }
            Err(Unserved::Drop(reason)) => self.drop(held, reason),
        }
    }

    /// Decides a packet of a service, encapsulates it for its backend and sends it.
    pub(in crate::worker) fn forward_one(
        &mut self,
        scene: &mut Scene<'_>,
        held: Held,
        port: PortIndex,
        classified: &Classified,
    ) {
        match self.balancer.decide(scene.tables, held.bytes(), classified, scene.now) {
            Ok(decision) => {
                self.stats.event(Event::Flow(decision.flow), 1);
                let begins = decision.flow.is_choice();
                self.forward_to(scene, held, port, classified, decision.backend, begins);
            }
            Err(reason) => self.drop(held, reason),
        }
    }

    /// The worker that has a flow, if owners are known; else some worker, the same for each flow.
    fn owner(&self, tag: u64) -> u16 {
        owner(tag, self.exceptions.workers.into()).try_into().unwrap_or(0)
    }

    fn send_to(&mut self, scene: &mut Scene<'_>, worker: u16, mut held: Held, errand: Errand) {
        held.set_note(errand.note());
        match scene.peers.get_mut(usize::from(worker)).and_then(Option::as_mut) {
            Some(peer) => peer.push(held, &mut self.stats),
            None => self.drop(held, DropReason::RingFull),
        }
    }

    /// Encapsulates a packet for its backend and sends it.
    fn forward_to(
        &mut self,
        scene: &mut Scene<'_>,
        mut held: Held,
        port: PortIndex,
        classified: &Classified,
        backend: BackendId,
        begins: bool,
    ) {
        let length = held.bytes().len() as u64;
        let tables = scene.tables;
        match self.balancer.encapsulate(tables, classified, backend, &mut *held) {
            Ok(out) => {
                self.count_traffic(classified.service, backend, length, begins);
                scene.outlets[usize::from(out.0)].push(held, &mut self.stats);
            }
            Err(DropReason::HopLimitExceeded) => self.expire(scene, held, port, &classified.packet),
            Err(DropReason::ExceedsMtu) => {
                self.oversize(scene, held, port, classified, backend, begins);
            }
            Err(reason) => self.drop(held, reason),
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
    fn steer(&mut self, scene: &mut Scene<'_>, held: Held, port: PortIndex, tour: Option<Tour>) {
        let Ok(packet) = Packet::parse(held.bytes()) else {
            return self.drop(held, DropReason::IcmpMalformed);
        };
        let subject = match subject(scene.tables, &packet, held.bytes()) {
            Ok(subject) => subject,
            Err(reason) => return self.drop(held, reason),
        };
        let (service, flow) = subject;
        let tag = self.balancer.tag(&flow);
        let known = self.balancer.recorded_backend(scene.tables, service, tag, scene.now);
        let backend = match known {
            Some(backend) => Ok(backend),
            None => match self.onward(tag, port, tour) {
                Some((worker, tour)) => {
                    return self.send_to(scene, worker, held, Errand::Steer(tour));
                }
                None => self.balancer.maglev_backend(scene.tables, service, &flow),
            },
        };
        match backend {
            Ok(backend) => {
                let classified = Classified { packet, service, tag };
                self.forward_to(scene, held, port, &classified, backend, false);
            }
            Err(reason) => self.drop(held, reason),
        }
    }

    /// The next worker to ask for a flow that this one does not have, if there is one.
    fn onward(&self, tag: u64, port: PortIndex, tour: Option<Tour>) -> Option<(u16, Tour)> {
        let Exceptions { me, workers, owners_known, .. } = self.exceptions;
        match tour {
            None if workers == 1 => None,
            None if owners_known => {
                let owner = self.owner(tag);
                (owner != me).then_some((owner, Tour { port, origin: me, left: 0 }))
            }
            None => Some((self.exceptions.next(), Tour { port, origin: me, left: workers - 2 })),
            Some(Tour { left: 0, .. }) => None,
            Some(tour) => Some((self.exceptions.next(), Tour { left: tour.left - 1, ..tour })),
        }
    }
}

/// The flow that a first fragment or an ICMP error is of, and its service.
fn subject(
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
    let service = tables.service_at(&embedded.endpoint).ok_or(DropReason::IcmpUnknownFlow)?;
    Ok((service, embedded.flow))
}
