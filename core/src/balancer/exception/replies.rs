//! Packets that exceed the MTU, and the replies that the forwarder sends itself.

use std::ops::DerefMut;

use crate::balancer::action::Actions;
use crate::balancer::backend::{MssLimit, Route};
use crate::balancer::classify::Classified;
use crate::balancer::frame::{Allocator, Frame};
use crate::balancer::id::{BackendId, PortIndex};
use crate::balancer::mtu::{Fragments, clamp_mss, inner_mtu};
use crate::balancer::pipeline::{Pipeline, Round};
use crate::balancer::reply::{self, Answer, IcmpError, OptionAction};
use crate::balancer::services::Service;
use crate::balancer::tables::Tables;
use crate::stats::Event;
use crate::stats::verdict::{DropReason, Reply, Verdict};
use crate::wire::{Fragment, Packet, protocol};

use super::state::Exceptions;

impl<F: DerefMut<Target: Frame>, A: Allocator<F>> Pipeline<F, A> {
    /// Handles a packet that exceeds the MTU towards its backend: fragments it if the packet allows
    /// that, otherwise replies with an error.
    #[cold]
    pub(in crate::balancer) fn oversize(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        port: PortIndex,
        classified: &Classified,
        backend: BackendId,
        begins: bool,
    ) {
        let Some(route) = round.tables.backend(backend).route.as_ref() else {
            return self.drop(frame, DropReason::NextHopUnresolved);
        };
        let length = frame.length();
        let (packet, mss) = (&classified.packet, round.tables.backend(backend).mss);
        if self.send_fragmented(
            round,
            frame,
            port,
            packet,
            route,
            mss,
            classified.tag,
            Verdict::Forwarded,
        ) {
            self.count_traffic(classified.service, backend, length, begins);
        }
    }

    /// Sends a packet in fragments, and counts it once, as `verdict`. Returns whether it was sent.
    /// The MSS is clamped here and not before, because an error must quote the packet as it came.
    #[expect(clippy::too_many_arguments, reason = "a packet, its route, and where a reply goes")]
    pub(super) fn send_fragmented(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        mut frame: F,
        port: PortIndex,
        packet: &Packet,
        route: &Route,
        mss: MssLimit,
        entropy: u64,
        verdict: Verdict,
    ) -> bool {
        let mtu = inner_mtu(route.template.mtu(), route.template.overhead());
        let fragments = match Fragments::new(packet, frame.bytes(), mtu) {
            Ok(fragments) => fragments,
            Err(DropReason::ExceedsMtu) => {
                let answer = Answer::Error(IcmpError::TooBig { mtu });
                self.reply(round, frame, port, packet, answer);
                return false;
            }
            Err(reason) => {
                self.drop(frame, reason);
                return false;
            }
        };
        if let Some(bytes) = frame.push_front(0) {
            clamp_mss(packet, bytes, mss.of(packet.family));
        }
        let sent = self.send_fragments(
            round,
            frame.bytes(),
            packet,
            route.port,
            fragments,
            |part, made| route.template.apply(part, entropy, made),
        );
        self.stats.verdict(sent.map_or_else(Verdict::Dropped, |()| verdict), 1);
        sent.is_ok()
    }

    /// Sends the fragments of a packet by a port, each after `complete`. If one fragment cannot be
    /// sent, the rest is not sent either: an incomplete datagram is worthless.
    fn send_fragments(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: &[u8],
        packet: &Packet,
        port: PortIndex,
        fragments: Fragments,
        complete: impl Fn(&Packet, &mut F::Target) -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        self.stats.event(Event::Fragmented, 1);
        for fragment in fragments {
            let link = frame.get(..packet.l3.into()).unwrap_or_default();
            let payload = frame.get(fragment.payload.clone()).unwrap_or_default();
            let parts = [link, fragment.header(), payload];
            let mut made = self.exceptions.build_frame(&parts).ok_or(DropReason::NoHeadroom)?;
            complete(&Packet::parse(made.bytes())?, &mut made)?;
            round.actions.transmit_decided(port, made, &mut self.stats)?;
        }
        Ok(())
    }

    /// Handles a packet whose hop limit is used up: reports it to the source, if a reply is
    /// permitted.
    #[cold]
    pub(in crate::balancer) fn hop_limit_exceeded(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        port: PortIndex,
        packet: &Packet,
    ) {
        if let Err(reason) = round.tables.check_source(packet, frame.bytes()) {
            return self.drop(frame, reason);
        }
        if !reply::may_report(packet, frame.bytes()) {
            return self.drop(frame, DropReason::HopLimitExceeded);
        }
        self.reply(round, frame, port, packet, Answer::Error(IcmpError::TimeExceeded));
    }

    /// Handles a packet of a service that no backend takes, for `reason`: answers it if its flow or its
    /// pool wants that, and if it may be answered.
    #[cold]
    #[inline(never)]
    pub(in crate::balancer) fn refuse(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        port: PortIndex,
        classified: &Classified,
        reason: DropReason,
    ) {
        let packet = &classified.packet;
        let Some(answer) = refusal(round.tables, classified.service, packet, reason) else {
            return self.drop(frame, reason);
        };
        if let Err(reason) = round.tables.check_source(packet, frame.bytes()) {
            return self.drop(frame, reason);
        }
        let may_answer = match answer {
            Answer::Reset => reply::may_reset(packet, frame.bytes()),
            Answer::Echo | Answer::Error(_) => reply::may_report(packet, frame.bytes()),
        };
        if !may_answer {
            return self.drop(frame, reason);
        }
        self.reply(round, frame, port, packet, answer);
    }

    /// Turns a packet into an answer and sends it to the source.
    pub(super) fn reply(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        mut frame: F,
        port: PortIndex,
        packet: &Packet,
        answer: Answer,
    ) {
        if is_shared_address(round.tables, packet, frame.bytes()) {
            return self.drop(frame, DropReason::ReplyForbidden);
        }
        let answer = match reply::refused_option(packet, frame.bytes()) {
            // A packet that is only forwarded may have any options.
            _ if answer.kind() == Reply::TooBig => answer,
            None => answer,
            Some(OptionAction::Discard) => return self.drop(frame, DropReason::Ipv6OptionUnknown),
            Some(OptionAction::Report { pointer }) => {
                Answer::Error(IcmpError::UnknownOption { pointer })
            }
        };
        // The reply to a fragmented request was counted when its action was chosen.
        let counted = answer == Answer::Echo && packet.fragment == Fragment::First;
        let node = round.tables.node();
        if !counted && !self.exceptions.reply_limits.allow(answer.kind(), node, round.now) {
            return self.drop(frame, DropReason::ReplyLimited);
        }
        let mtu = node.mtu(port);
        let sent = answer.write(packet, mtu, &mut *frame).and_then(|kind| {
            self.send_reply(round, frame, port, mtu)?;
            Ok(kind)
        });
        self.stats.verdict(sent.map_or_else(Verdict::Dropped, Verdict::Replied), 1);
    }

    /// Sends a reply by a port: whole if it fits, otherwise in fragments. Errors always fit.
    fn send_reply(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        mut frame: F,
        port: PortIndex,
        mtu: u16,
    ) -> Result<(), DropReason> {
        let packet = Packet::parse(frame.bytes())?;
        if packet.ip_length() <= usize::from(mtu) {
            return round.actions.transmit_decided(port, frame, &mut self.stats);
        }
        let identification = self.exceptions.identifications.draw();
        let bytes = frame.push_front(0).ok_or(DropReason::NoHeadroom)?;
        let fragments = Fragments::of_own(&packet, bytes, mtu, identification)?;
        self.send_fragments(round, frame.bytes(), &packet, port, fragments, |_, _| Ok(()))
    }
}

/// The answer to a packet of a service that no backend takes; `None` if it is dropped for `reason`.
pub(super) fn refusal(
    tables: &Tables,
    service: Service,
    packet: &Packet,
    reason: DropReason,
) -> Option<Answer> {
    let answers = match reason {
        DropReason::DrainOver => true,
        DropReason::NoBackend => tables.pool(service.pool).resets,
        _ => false,
    };
    answers.then_some(match packet.protocol {
        protocol::TCP => Answer::Reset,
        _ => Answer::Error(IcmpError::PortUnreachable),
    })
}

/// Whether the source of a packet is an address of several hosts on a network of this node.
fn is_shared_address(tables: &Tables, packet: &Packet, frame: &[u8]) -> bool {
    let shared = &tables.node().shared;
    let v4 = packet.addresses_v4(frame).map(|(source, _)| source.into());
    let v6 = packet.addresses_v6(frame).map(|(source, _)| source.into());
    v4.or(v6).is_some_and(|source| shared.contains(&source))
}

impl<F: DerefMut<Target: Frame>, A: Allocator<F>> Exceptions<F, A> {
    /// A frame made of `parts`; `None` if no buffer holds it.
    fn build_frame(&self, parts: &[&[u8]]) -> Option<F> {
        let mut frame = self.allocator.allocate()?;
        for part in parts {
            frame.append(part.len())?.copy_from_slice(part);
        }
        Some(frame)
    }
}
