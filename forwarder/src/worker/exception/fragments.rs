//! Fragments: gathered by one member of the cluster and one worker there, after the first of them.

use super::super::errand::{Arrival, Errand, Tour};
use super::super::path::Path;
use super::{Choice, Scene, subject};
use crate::balancer::cluster::{Owner, ThreeTuple};
use crate::balancer::fragment::{self, DatagramKey, Later, Reason};
use crate::balancer::icmp::{self, Message};
use crate::balancer::reply::IcmpError;
use crate::balancer::tables::{BackendId, MssLimit, PortIndex, Serving, Vip};
use crate::balancer::{Classified, DropReason, Reply, Verdict};
use crate::dpdk::Held;
use crate::stats::Event;
use crate::wire::fragment::FragmentFields;
use crate::wire::{Family, Fragment, Packet, protocol};

impl Path {
    /// A fragment: to the member of the cluster, and the worker there, that gathers its datagram; and
    /// there, after its first.
    pub(super) fn fragment(
        &mut self,
        scene: &mut Scene<'_>,
        mut held: Held,
        arrival: Arrival,
        packet: &Packet,
        vip: Vip,
    ) {
        let bytes = held.bytes();
        let found = FragmentFields::of(packet, bytes).and_then(|fields| {
            let tuple = ThreeTuple::of(packet, &fields, bytes)?;
            Some((fields, tuple, DatagramKey::of(packet, &fields, bytes)?))
        });
        let Some((fields, tuple, key)) = found else {
            return self.drop(held, DropReason::FragmentMalformed);
        };
        if let Err(reason) = fragment::check(packet, &fields) {
            return self.drop(held, reason.into());
        }
        let seed = self.balancer.seed();
        let node = scene.tables.node();
        if !arrival.redirected
            && let Owner::Member(member) = node.cluster.owner(&tuple)
        {
            let entropy = tuple.hash(&seed);
            return self.redirect(scene, held, arrival.port, packet, member, entropy);
        }
        // From here on it is ours, whatever a reload makes of the cluster.
        let arrival = Arrival { redirected: true, ..arrival };
        let worker = tuple.worker(&seed, self.exceptions.workers.into());
        if worker != usize::from(self.exceptions.me) {
            let worker = u16::try_from(worker).unwrap_or(0);
            return self.send_to(scene, worker, held, Errand::Deliver(arrival));
        }
        held.set_note(Errand::Deliver(arrival).note());
        let stats = &mut self.stats;
        let lost = |_, reason: Reason| stats.verdict(Verdict::Dropped(reason.into()), 1);
        if packet.fragment == Fragment::Later {
            let length = held.bytes().len();
            let table = &mut self.exceptions.fragments;
            match table.later(&key, &fields, held, length, scene.now, lost) {
                Later::Follow(held, choice) => self.follow(scene, held, choice, false),
                Later::Buffered => self.stats.event(Event::FragmentWaited, 1),
                Later::Dropped(held, reason) => self.drop(held, reason.into()),
            }
            return;
        }
        match self.exceptions.fragments.begin(&key, &fields, scene.now, lost) {
            // Nothing will follow this one, but it goes on.
            Ok(()) | Err(Reason::TableFull) => {}
            Err(reason) => return self.drop(held, reason.into()),
        }
        if let Some(choice) = self.choose_by_itself(scene, packet, held.bytes(), vip) {
            return self.conclude(scene, held, &key, choice);
        }
        let tour = Tour { port: arrival.port, origin: self.exceptions.me, left: 0 };
        match self.ask(scene, packet, held.bytes(), None) {
            Asked::Chosen(choice) => self.conclude(scene, held, &key, choice),
            Asked::Onward(worker, next) => {
                let tour = Tour { left: next.left, ..tour };
                self.send_to(scene, worker, held, Errand::Choose(tour));
            }
            Asked::Nobody => {
                let choice = self.choose_here(scene, packet, held.bytes());
                self.conclude(scene, held, &key, choice);
            }
        }
    }

    fn redirect(
        &mut self,
        scene: &mut Scene<'_>,
        mut held: Held,
        port: PortIndex,
        packet: &Packet,
        member: usize,
        entropy: u64,
    ) {
        let tables = scene.tables;
        let Some(Some(route)) = tables.node().members.get(member) else {
            return self.drop(held, DropReason::NextHopUnresolved);
        };
        match route.template.apply(packet, entropy, &mut *held) {
            Ok(()) => {
                let outlet = &mut scene.outlets[usize::from(route.port.0)];
                match outlet.send_now(held, &mut self.stats) {
                    Ok(()) => self.stats.verdict(Verdict::Redirected, 1),
                    Err(reason) => self.stats.verdict(Verdict::Dropped(reason), 1),
                }
            }
            Err(DropReason::ExceedsMtu) => {
                let mss = MssLimit::NONE;
                self.cut(scene, held, port, packet, route, mss, entropy, Verdict::Redirected);
            }
            Err(reason) => self.drop(held, reason),
        }
    }

    /// The choice for a first fragment that follows from itself and the configuration; none if it is
    /// that of its flow.
    fn choose_by_itself(
        &mut self,
        scene: &mut Scene<'_>,
        packet: &Packet,
        frame: &[u8],
        vip: Vip,
    ) -> Option<Choice> {
        match packet.protocol {
            protocol::TCP | protocol::UDP => match scene.tables.service_of_first(packet, frame) {
                Some(service) if service.fragments => None,
                Some(_) => Some(Choice::Drop(DropReason::FragmentRefused)),
                None if vip.unreachable && packet.protocol == protocol::UDP => {
                    Some(Choice::Unreachable)
                }
                None => Some(Choice::Drop(DropReason::NoService)),
            },
            protocol::ICMP | protocol::ICMPV6 => match icmp::message(packet, frame) {
                Ok(Message::Error) => None,
                Ok(Message::EchoRequest) if !vip.echo => {
                    Some(Choice::Drop(DropReason::EchoDisabled))
                }
                Ok(Message::EchoRequest) => {
                    let allowed = self.exceptions.limits.allow(Reply::Echo, scene);
                    Some(if allowed {
                        Choice::Echo
                    } else {
                        Choice::Drop(DropReason::ReplyLimited)
                    })
                }
                Err(reason) => Some(Choice::Drop(reason)),
            },
            _ => Some(Choice::Drop(DropReason::UnsupportedProtocol)),
        }
    }

    /// Looks for the flow of a first fragment here.
    fn ask(
        &mut self,
        scene: &mut Scene<'_>,
        packet: &Packet,
        frame: &[u8],
        tour: Option<Tour>,
    ) -> Asked {
        let (service, flow) = match subject(scene.tables, packet, frame) {
            Ok(subject) => subject,
            Err(reason) => return Asked::Chosen(Choice::Drop(reason)),
        };
        let tag = self.balancer.tag(&flow);
        let is_owner = self.exceptions.owners_known && self.owner(tag) == self.exceptions.me;
        let known = self.balancer.recorded_backend(scene.tables, service, tag, scene.now);
        if known.is_some() || is_owner {
            return Asked::Chosen(self.choose_here(scene, packet, frame));
        }
        match self.onward(tag, PortIndex(0), tour) {
            Some((worker, tour)) => Asked::Onward(worker, tour),
            None => Asked::Nobody,
        }
    }

    /// The choice for a first fragment, by this worker's flow table or else by the Maglev table: what
    /// a whole packet of the flow would get here.
    fn choose_here(&mut self, scene: &mut Scene<'_>, packet: &Packet, frame: &[u8]) -> Choice {
        let chosen = subject(scene.tables, packet, frame).and_then(|(service, flow)| {
            let entropy = self.balancer.tag(&flow);
            let is_error = !matches!(packet.protocol, protocol::TCP | protocol::UDP);
            let mut begins = false;
            let backend = if is_error {
                match self.balancer.recorded_backend(scene.tables, service, entropy, scene.now) {
                    Some(backend) => backend,
                    None => self.balancer.maglev_backend(scene.tables, service, &flow)?,
                }
            } else {
                let classified = Classified { packet: *packet, service, tag: entropy };
                let decision = self.balancer.decide(scene.tables, frame, &classified, scene.now)?;
                self.stats.event(Event::Flow(decision.flow), 1);
                begins = decision.flow.is_choice();
                decision.backend
            };
            let generation = scene.tables.generation();
            let protocol = packet.protocol;
            Ok(Choice::Forward { backend, service, entropy, protocol, generation, begins })
        });
        chosen.unwrap_or_else(Choice::Drop)
    }

    /// A first fragment of another worker asks for its flow.
    pub(super) fn choose(&mut self, scene: &mut Scene<'_>, held: Held, tour: Tour) {
        let Ok(packet) = Packet::parse(held.bytes()) else {
            return self.drop(held, DropReason::FragmentMalformed);
        };
        let answer = match self.ask(scene, &packet, held.bytes(), Some(tour)) {
            Asked::Chosen(Choice::Forward { backend, .. }) => Some(backend),
            Asked::Chosen(_) | Asked::Nobody => None,
            Asked::Onward(worker, next) => {
                let tour = Tour { left: next.left, ..tour };
                return self.send_to(scene, worker, held, Errand::Choose(tour));
            }
        };
        self.send_to(scene, tour.origin, held, Errand::Chosen(tour.port, answer));
    }

    /// A first fragment is back with the answer.
    pub(super) fn chosen(
        &mut self,
        scene: &mut Scene<'_>,
        mut held: Held,
        port: PortIndex,
        backend: Option<BackendId>,
    ) {
        let bytes = held.bytes();
        let found = Packet::parse(bytes).ok().and_then(|packet| {
            let fields = FragmentFields::of(&packet, bytes)?;
            Some((packet, DatagramKey::of(&packet, &fields, bytes)?))
        });
        let Some((packet, key)) = found else {
            return self.drop(held, DropReason::FragmentMalformed);
        };
        let choice = match (backend, subject(scene.tables, &packet, bytes)) {
            (_, Err(reason)) => Choice::Drop(reason),
            (Some(backend), Ok((service, flow))) => {
                let entropy = self.balancer.tag(&flow);
                let generation = scene.tables.generation();
                let protocol = packet.protocol;
                Choice::Forward { backend, service, entropy, protocol, generation, begins: false }
            }
            (None, Ok(_)) => self.choose_here(scene, &packet, bytes),
        };
        held.set_note(Errand::Deliver(Arrival { port, inner: true, redirected: true }).note());
        self.conclude(scene, held, &key, choice);
    }

    /// The choice for a datagram is made: the first fragment goes, and those that waited follow.
    fn conclude(&mut self, scene: &mut Scene<'_>, held: Held, key: &DatagramKey, choice: Choice) {
        self.follow(scene, held, choice, true);
        let mut released = std::mem::take(&mut self.exceptions.released);
        self.exceptions.fragments.decide(key, choice, scene.now, |held, reason| {
            released.push((held, reason));
        });
        for (held, reason) in released.drain(..) {
            match reason {
                None => self.follow(scene, held, choice, false),
                Some(reason) => self.drop(held, reason.into()),
            }
        }
        self.exceptions.released = released;
    }

    /// A fragment goes where its datagram goes.
    fn follow(&mut self, scene: &mut Scene<'_>, held: Held, choice: Choice, is_first: bool) {
        let port = match held.note().and_then(Errand::of) {
            Some(Errand::Deliver(arrival)) => arrival.port,
            _ => PortIndex(0),
        };
        let mut packet = match Packet::parse(held.bytes()) {
            Ok(packet) => packet,
            Err(reason) => return self.drop(held, reason.into()),
        };
        if let (Family::V6, Fragment::Later) = (packet.family, packet.fragment) {
            // Its own next header does not count (RFC 8200 section 4.5).
            packet.protocol = choice.protocol().unwrap_or(packet.protocol);
        }
        match choice {
            Choice::Forward { backend, service, entropy, generation, begins, .. } => {
                // Since a datagram was begun its backend may have gone, and its number to another.
                let record = scene.tables.backend(backend);
                if record.serving == Serving::Nothing || u64::from(record.since) > generation {
                    return self.drop(held, DropReason::NoBackend);
                }
                let classified = Classified { packet, service, tag: entropy };
                let begins = begins && is_first;
                self.forward_to(scene, held, port, &classified, backend, begins);
            }
            Choice::Echo => self.answer(scene, held, port, &packet, Reply::Echo, None),
            Choice::Unreachable if is_first => {
                let error = IcmpError::PortUnreachable;
                self.answer(scene, held, port, &packet, Reply::Unreachable, Some(error));
            }
            Choice::Drop(reason) if is_first => self.drop(held, reason),
            Choice::Drop(_) | Choice::Unreachable => {
                self.drop(held, DropReason::FragmentFirstDropped)
            }
        }
    }
}

/// What came of a question for a flow.
enum Asked {
    /// Here it is.
    Chosen(Choice),
    /// Not here: ask this worker.
    Onward(u16, Tour),
    /// All have been asked.
    Nobody,
}
