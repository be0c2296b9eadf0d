//! Fragments. One member of the cluster, and one worker of that member, owns all fragments of a
//! datagram and decides them by the first.

use std::ops::DerefMut;

use crate::balancer::action::Actions;
use crate::balancer::backend::{MssLimit, Serving};
use crate::balancer::classify::Classified;
use crate::balancer::cluster::{Owner, ThreeTuple};
use crate::balancer::fragment::{self, DatagramKey, Later, Reason};
use crate::balancer::frame::{Allocator, Frame};
use crate::balancer::handoff::{Arrival, Handoff, OwnerQuery};
use crate::balancer::icmp::{self, Message};
use crate::balancer::id::{BackendId, PortIndex};
use crate::balancer::pipeline::{Pipeline, Round};
use crate::balancer::reply::{Answer, IcmpError};
use crate::balancer::services::Vip;
use crate::balancer::tables::Tables;
use crate::balancer::time::Time;
use crate::stats::verdict::{DropReason, Reply, Verdict};
use crate::stats::{Event, Gauge};
use crate::wire::fragment::FragmentFields;
use crate::wire::{Family, Fragment, Packet, protocol};

use super::owner::flow_of;
use super::replies::refusal;
use super::state::{DatagramAction, Waiting};

impl<F: DerefMut<Target: Frame>, A: Allocator<F>> Pipeline<F, A> {
    /// Passes a fragment to the node and to the worker that own its datagram. The owner forwards
    /// the first fragment, and buffers others until the first has come.
    pub(super) fn fragment(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        arrival: Arrival,
        packet: &Packet,
        vip: Vip,
    ) {
        let bytes = frame.bytes();
        let found = FragmentFields::of(packet, bytes).and_then(|fields| {
            let tuple = ThreeTuple::of(packet, &fields, bytes)?;
            Some((fields, tuple, DatagramKey::of(packet, &fields, bytes)?))
        });
        let Some((fields, tuple, key)) = found else {
            return self.drop(frame, DropReason::FragmentMalformed);
        };
        if let Err(reason) = fragment::check(packet, &fields) {
            return self.drop(frame, reason.into());
        }
        let seed = self.balancer.seed();
        let node = round.tables.node();
        if !arrival.redirected
            && let Owner::Member(member) = node.cluster.owner(&tuple)
        {
            let entropy = tuple.hash(&seed);
            return self.redirect(round, frame, arrival.port, packet, member, entropy);
        }
        // From here on this node owns the datagram, even if a reload changes the cluster.
        let arrival = Arrival { redirected: true, ..arrival };
        let worker = tuple.worker(&seed, self.exceptions.workers.into());
        if worker != usize::from(self.exceptions.index) {
            let worker = u16::try_from(worker).unwrap_or(0);
            return self.send_to(round, worker, frame, Handoff::Deliver(arrival));
        }
        let stats = &mut self.stats;
        let lost = |_, reason: Reason| stats.verdict(Verdict::Dropped(reason.into()), 1);
        if packet.fragment == Fragment::Later {
            let (length, waiting) = (frame.length(), (frame, arrival.port));
            let table = &mut self.exceptions.fragments;
            match table.later(&key, &fields, waiting, length, round.now, lost) {
                Later::Follow(fragment, action) => self.follow(round, fragment, action, false),
                Later::Buffered => self.stats.event(Event::FragmentWaited, 1),
                Later::Dropped((frame, _), reason) => self.drop(frame, reason.into()),
            }
            return;
        }
        match self.exceptions.fragments.begin(&key, &fields, round.now, lost) {
            // Later fragments cannot follow this one, but it is forwarded.
            Ok(()) | Err(Reason::TableFull) => {}
            Err(reason) => return self.drop(frame, reason.into()),
        }
        if let Some(action) = self.choose_without_flow(round, packet, frame.bytes(), vip) {
            return self.release(round, (frame, arrival.port), &key, action);
        }
        let query = OwnerQuery { port: arrival.port, origin: self.exceptions.index, left: 0 };
        let chosen = match self.query_owner(round, packet, frame.bytes(), None) {
            QueryOutcome::Known(chosen) => chosen,
            QueryOutcome::Next(worker, next) => {
                let query = OwnerQuery { left: next.left, ..query };
                return self.send_to(round, worker, frame, Handoff::FirstFragment(query));
            }
            QueryOutcome::Nobody => self.choose_here(round, packet, frame.bytes()),
        };
        let action =
            chosen.unwrap_or_else(|reason| refused(round.tables, packet, frame.bytes(), reason));
        self.release(round, (frame, arrival.port), &key, action);
    }

    fn redirect(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        mut frame: F,
        port: PortIndex,
        packet: &Packet,
        member: usize,
        entropy: u64,
    ) {
        let tables = round.tables;
        let Some(Some(route)) = tables.node().members.get(member) else {
            return self.drop(frame, DropReason::NextHopUnresolved);
        };
        match route.template.apply(packet, entropy, &mut *frame) {
            Ok(()) => {
                let sent = round.actions.transmit_decided(route.port, frame, &mut self.stats);
                let verdict = sent.map_or_else(Verdict::Dropped, |()| Verdict::Redirected);
                self.stats.verdict(verdict, 1);
            }
            Err(DropReason::ExceedsMtu) => {
                let mss = MssLimit::NONE;
                self.send_fragmented(
                    round,
                    frame,
                    port,
                    packet,
                    route,
                    mss,
                    entropy,
                    Verdict::Redirected,
                );
            }
            Err(reason) => self.drop(frame, reason),
        }
    }

    /// The action for a first fragment that follows from the fragment and the configuration alone.
    /// `None` if the action depends on the fragment's flow.
    fn choose_without_flow(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        packet: &Packet,
        frame: &[u8],
        vip: Vip,
    ) -> Option<DatagramAction> {
        match packet.protocol {
            protocol::TCP | protocol::UDP => match round.tables.service_of_first(packet, frame) {
                Some(service) if service.fragments => None,
                Some(_) => Some(DatagramAction::Drop(DropReason::FragmentRefused)),
                None if vip.unreachable && packet.protocol == protocol::UDP => {
                    Some(DatagramAction::Unreachable)
                }
                None => Some(DatagramAction::Drop(DropReason::NoService)),
            },
            protocol::ICMP | protocol::ICMPV6 => match icmp::message(packet, frame) {
                Ok(Message::Error) => None,
                Ok(Message::EchoRequest) if !vip.echo => {
                    Some(DatagramAction::Drop(DropReason::EchoDisabled))
                }
                Ok(Message::EchoRequest) => {
                    let allowed = self.exceptions.reply_limits.allow(
                        Reply::Echo,
                        round.tables.node(),
                        round.now,
                    );
                    Some(if allowed {
                        DatagramAction::Echo
                    } else {
                        DatagramAction::Drop(DropReason::ReplyLimited)
                    })
                }
                Err(reason) => Some(DatagramAction::Drop(reason)),
            },
            _ => Some(DatagramAction::Drop(DropReason::UnsupportedProtocol)),
        }
    }

    /// Looks up the flow of a first fragment in this worker's table.
    fn query_owner(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        packet: &Packet,
        frame: &[u8],
        query: Option<OwnerQuery>,
    ) -> QueryOutcome {
        let (service, flow) = match flow_of(round.tables, packet, frame) {
            Ok(flow_of) => flow_of,
            Err(reason) => return QueryOutcome::Known(Err(reason)),
        };
        let tag = self.balancer.tag(&flow);
        let is_owner = self.exceptions.owners_known && self.owner(tag) == self.exceptions.index;
        let known = self.balancer.recorded_backend(round.tables, service, tag, round.now);
        if known.is_some() || is_owner {
            return QueryOutcome::Known(self.choose_here(round, packet, frame));
        }
        match self.next_query(tag, PortIndex(0), query) {
            Some((worker, query)) => QueryOutcome::Next(worker, query),
            None => QueryOutcome::Nobody,
        }
    }

    /// The action for a first fragment by this worker's flow table, or else by the Maglev table:
    /// the one for a whole packet of the flow on this worker.
    ///
    /// # Errors
    /// The reason why no backend takes it.
    fn choose_here(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        packet: &Packet,
        frame: &[u8],
    ) -> Result<DatagramAction, DropReason> {
        let (service, flow) = flow_of(round.tables, packet, frame)?;
        let entropy = self.balancer.tag(&flow);
        let is_error = !matches!(packet.protocol, protocol::TCP | protocol::UDP);
        let mut begins = false;
        let backend = if is_error {
            match self.balancer.recorded_backend(round.tables, service, entropy, round.now) {
                Some(backend) => backend,
                None => self.balancer.maglev_backend(round.tables, service, &flow)?,
            }
        } else {
            let classified = Classified { packet: *packet, service, tag: entropy };
            let decision = self.balancer.decide(round.tables, frame, &classified, round.now)?;
            self.stats.event(decision.flow.into(), 1);
            begins = decision.flow.is_choice();
            decision.backend
        };
        let generation = round.tables.generation();
        let protocol = packet.protocol;
        Ok(DatagramAction::Forward { backend, service, entropy, protocol, generation, begins })
    }

    /// Looks up the flow of a sibling's first fragment, and returns the fragment with the backend
    /// or sends it to the next worker.
    pub(super) fn look_up_for_sibling(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        query: OwnerQuery,
    ) {
        let Ok(packet) = Packet::parse(frame.bytes()) else {
            return self.drop(frame, DropReason::FragmentMalformed);
        };
        let handoff = match self.query_owner(round, &packet, frame.bytes(), Some(query)) {
            QueryOutcome::Known(Ok(DatagramAction::Forward { backend, .. })) => {
                Handoff::FragmentBackend(query.port, Some(backend))
            }
            QueryOutcome::Known(Err(reason)) => Handoff::FragmentRefused(query.port, reason),
            QueryOutcome::Known(Ok(_)) | QueryOutcome::Nobody => {
                Handoff::FragmentBackend(query.port, None)
            }
            QueryOutcome::Next(worker, next) => {
                let query = OwnerQuery { left: next.left, ..query };
                return self.send_to(round, worker, frame, Handoff::FirstFragment(query));
            }
        };
        self.send_to(round, query.origin, frame, handoff);
    }

    /// Releases a first fragment that has returned with the backend of its flow, or with the reason why that
    /// backend does not take it.
    pub(super) fn query_returned(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        port: PortIndex,
        found: Result<Option<BackendId>, DropReason>,
    ) {
        let bytes = frame.bytes();
        let parsed = Packet::parse(bytes).ok().and_then(|packet| {
            let fields = FragmentFields::of(&packet, bytes)?;
            Some((packet, DatagramKey::of(&packet, &fields, bytes)?))
        });
        let Some((packet, key)) = parsed else {
            return self.drop(frame, DropReason::FragmentMalformed);
        };
        let chosen = match (found, flow_of(round.tables, &packet, bytes)) {
            (_, Err(reason)) | (Err(reason), Ok(_)) => Err(reason),
            (Ok(Some(backend)), Ok((service, flow))) => {
                let entropy = self.balancer.tag(&flow);
                let generation = round.tables.generation();
                let protocol = packet.protocol;
                Ok(DatagramAction::Forward {
                    backend,
                    service,
                    entropy,
                    protocol,
                    generation,
                    begins: false,
                })
            }
            (Ok(None), Ok(_)) => self.choose_here(round, &packet, bytes),
        };
        let action = chosen.unwrap_or_else(|reason| refused(round.tables, &packet, bytes, reason));
        self.release(round, (frame, port), &key, action);
    }

    /// Applies the action for a datagram to its first fragment and to those that waited for it.
    fn release(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        first: Waiting<F>,
        key: &DatagramKey,
        action: DatagramAction,
    ) {
        self.follow(round, first, action, true);
        let mut released = std::mem::take(&mut self.exceptions.released);
        self.exceptions.fragments.decide(key, action, round.now, |fragment, reason| {
            released.push((fragment, reason));
        });
        for ((frame, port), reason) in released.drain(..) {
            match reason {
                None => self.follow(round, (frame, port), action, false),
                Some(reason) => self.drop(frame, reason.into()),
            }
        }
        self.exceptions.released = released;
    }

    /// Applies the action for a datagram to one of its fragments.
    fn follow(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        (frame, port): Waiting<F>,
        action: DatagramAction,
        is_first: bool,
    ) {
        let mut packet = match Packet::parse(frame.bytes()) {
            Ok(packet) => packet,
            Err(reason) => return self.drop(frame, reason.into()),
        };
        if let (Family::V6, Fragment::Later) = (packet.family, packet.fragment) {
            // The next header of a later fragment does not count (RFC 8200, section 4.5).
            packet.protocol = action.protocol().unwrap_or(packet.protocol);
        }
        match action {
            DatagramAction::Forward { backend, service, entropy, generation, begins, .. } => {
                // Since the first fragment came, the backend may be gone and its id may be another
                // backend's.
                let record = round.tables.backend(backend);
                if record.serving == Serving::Nothing || u64::from(record.since) > generation {
                    return self.drop(frame, DropReason::NoBackend);
                }
                let classified = Classified { packet, service, tag: entropy };
                let begins = begins && is_first;
                self.forward_to(round, frame, port, &classified, backend, begins);
            }
            DatagramAction::Echo => self.reply(round, frame, port, &packet, Answer::Echo),
            DatagramAction::Unreachable if is_first => {
                let answer = Answer::Error(IcmpError::PortUnreachable);
                self.reply(round, frame, port, &packet, answer);
            }
            DatagramAction::Drop(reason) if is_first => self.drop(frame, reason),
            DatagramAction::Drop(_) | DatagramAction::Unreachable => {
                self.drop(frame, DropReason::FragmentFirstDropped)
            }
        }
    }

    /// Drops fragments that have waited too long, or all that wait, with `all`. Records how many still wait.
    #[cold]
    pub fn expire_fragments(&mut self, now: Time, all: bool) {
        let stats = &mut self.stats;
        let mut lost = |reason: Reason| stats.verdict(Verdict::Dropped(reason.into()), 1);
        if all {
            self.exceptions.fragments.clear(|_| lost(Reason::Timeout));
        } else {
            self.exceptions.fragments.expire(now, |_, reason| lost(reason));
        }
        self.stats.set(Gauge::FragmentsWaiting, self.exceptions.waiting());
    }
}

/// The action for a datagram whose first fragment no backend takes. The parts of a segment get no RST.
fn refused(tables: &Tables, packet: &Packet, frame: &[u8], reason: DropReason) -> DatagramAction {
    let service = tables.service_of_first(packet, frame);
    match service.and_then(|service| refusal(tables, service, packet, reason)) {
        Some(Answer::Error(_)) => DatagramAction::Unreachable,
        _ => DatagramAction::Drop(reason),
    }
}

/// The result of a search for a flow.
enum QueryOutcome {
    /// The flow is found, or the action does not depend on it; or there is a reason to drop the fragment.
    Known(Result<DatagramAction, DropReason>),
    /// The flow is not in this table: send the packet to this worker.
    Next(u16, OwnerQuery),
    /// The flow is not in this table, and all workers were asked.
    Nobody,
}
