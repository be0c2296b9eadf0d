//! What does not fit, and what the forwarder answers itself.

use super::super::path::Path;
use super::{Exceptions, Scene};
use crate::balancer::mtu::{Fragments, clamp_mss, inner_mtu};
use crate::balancer::reply::{self, IcmpError, Limiter, OptionAction};
use crate::balancer::tables::{BackendId, MssLimit, PortIndex, Route};
use crate::balancer::{Classified, DropReason, Reply, Verdict};
use crate::dpdk::{Burst, Held, Mbuf};
use crate::stats::Event;
use crate::wire::{Fragment, Packet};

/// The limits on answers: pings do not use up what path MTU discovery needs.
pub(super) struct ReplyLimits {
    /// What they are made of: rate and burst.
    of: (u32, u32),
    echo: Limiter,
    errors: Limiter,
}

impl ReplyLimits {
    pub(super) fn new((rate, burst): (u32, u32)) -> ReplyLimits {
        let limiter = || Limiter::new(rate, burst);
        ReplyLimits { of: (rate, burst), echo: limiter(), errors: limiter() }
    }

    pub(super) fn allow(&mut self, answer: Reply, scene: &Scene<'_>) -> bool {
        let said = scene.tables.node();
        if self.of != (said.answer_rate, said.answer_burst) {
            *self = ReplyLimits::new((said.answer_rate, said.answer_burst));
        }
        match answer {
            Reply::Echo => &mut self.echo,
            Reply::TooBig | Reply::Unreachable | Reply::ParameterProblem | Reply::TimeExceeded => {
                &mut self.errors
            }
        }
        .allow(scene.now)
    }
}

impl Path {
    /// A packet that is too long for the way to its backend: cut, if it allows that, and else answered.
    #[cold]
    pub(in crate::worker) fn oversize(
        &mut self,
        scene: &mut Scene<'_>,
        held: Held,
        port: PortIndex,
        classified: &Classified,
        backend: BackendId,
        begins: bool,
    ) {
        let Some(route) = scene.tables.backend(backend).route.as_ref() else {
            return self.drop(held, DropReason::NextHopUnresolved);
        };
        let length = held.bytes().len() as u64;
        let (packet, mss) = (&classified.packet, scene.tables.backend(backend).mss);
        if self.cut(scene, held, port, packet, route, mss, classified.tag, Verdict::Forwarded) {
            self.count_traffic(classified.service, backend, length, begins);
        }
    }

    /// Sends a packet in pieces, and counts it once, as `verdict`; answers whether it was sent. A segment
    /// size is lowered here, because an error must quote the packet as it came.
    #[expect(clippy::too_many_arguments, reason = "a packet, its way there and its way back")]
    pub(super) fn cut(
        &mut self,
        scene: &mut Scene<'_>,
        mut held: Held,
        port: PortIndex,
        packet: &Packet,
        route: &Route,
        mss: MssLimit,
        entropy: u64,
        verdict: Verdict,
    ) -> bool {
        let mtu = inner_mtu(route.template.mtu(), route.template.overhead());
        let pieces = match Fragments::new(packet, held.bytes(), mtu) {
            Ok(pieces) => pieces,
            Err(DropReason::ExceedsMtu) => {
                let error = IcmpError::TooBig { mtu };
                self.answer(scene, held, port, packet, Reply::TooBig, Some(error));
                return false;
            }
            Err(reason) => {
                self.drop(held, reason);
                return false;
            }
        };
        if let Some(bytes) = held.push_front(0) {
            clamp_mss(packet, bytes, mss.of(packet.family));
        }
        let sent = self.send_pieces(scene, &held, packet, route.port, pieces, |piece, made| {
            route.template.apply(piece, entropy, made)
        });
        self.stats.verdict(sent.map_or_else(Verdict::Dropped, |()| verdict), 1);
        sent.is_ok()
    }

    /// Sends the pieces of a packet by a port, each once it is complete. If one is not sent, the rest is not
    /// either: without one of its pieces a datagram is worth nothing.
    fn send_pieces(
        &mut self,
        scene: &mut Scene<'_>,
        held: &Held,
        packet: &Packet,
        port: PortIndex,
        pieces: Fragments,
        complete: impl Fn(&Packet, &mut Mbuf) -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        self.stats.event(Event::Fragmented, 1);
        let frame = held.bytes();
        let outlet = &mut scene.outlets[usize::from(port.0)];
        for piece in pieces {
            let link = frame.get(..packet.l3.into()).unwrap_or_default();
            let payload = frame.get(piece.payload.clone()).unwrap_or_default();
            let parts = [link, piece.header(), payload];
            let mut made = self.exceptions.build(&parts).ok_or(DropReason::NoHeadroom)?;
            complete(&Packet::parse(made.bytes())?, &mut made)?;
            outlet.send_now(made, &mut self.stats)?;
        }
        Ok(())
    }

    /// A packet that may take no hop more: its sender is told, if that may be.
    #[cold]
    pub(super) fn expire(
        &mut self,
        scene: &mut Scene<'_>,
        held: Held,
        port: PortIndex,
        packet: &Packet,
    ) {
        if let Err(reason) = scene.tables.check_source(packet, held.bytes()) {
            return self.drop(held, reason);
        }
        if !reply::may_report(packet, held.bytes()) {
            return self.drop(held, DropReason::HopLimitExceeded);
        }
        self.answer(scene, held, port, packet, Reply::TimeExceeded, Some(IcmpError::TimeExceeded));
    }

    /// Turns a packet into an answer, an error or else an echo reply, and sends it where it came from.
    pub(super) fn answer(
        &mut self,
        scene: &mut Scene<'_>,
        mut held: Held,
        port: PortIndex,
        packet: &Packet,
        kind: Reply,
        error: Option<IcmpError>,
    ) {
        if is_shared(scene, packet, held.bytes()) {
            return self.drop(held, DropReason::ReplyForbidden);
        }
        let (kind, error) = match reply::refused_option(packet, held.bytes()) {
            // What is only passed on may have any options.
            _ if kind == Reply::TooBig => (kind, error),
            None => (kind, error),
            Some(OptionAction::Discard) => return self.drop(held, DropReason::Ipv6OptionUnknown),
            Some(OptionAction::Report { pointer }) => {
                (Reply::ParameterProblem, Some(IcmpError::UnknownOption { pointer }))
            }
        };
        // That of a fragmented request was counted with the choice for all of it.
        let counted = kind == Reply::Echo && packet.fragment == Fragment::First;
        if !counted && !self.exceptions.limits.allow(kind, scene) {
            return self.drop(held, DropReason::ReplyLimited);
        }
        let mtu = scene.tables.node().mtu(port);
        let made = match error {
            Some(error) => reply::error(packet, error, mtu, &mut *held),
            None => reply::echo_reply(packet, &mut *held),
        };
        let sent = made.and_then(|answer| {
            self.send_answer(scene, held, port, mtu)?;
            Ok(answer)
        });
        self.stats.verdict(sent.map_or_else(Verdict::Dropped, Verdict::Replied), 1);
    }

    /// Sends an answer by a port: whole if it fits, and else in pieces. Errors always fit.
    fn send_answer(
        &mut self,
        scene: &mut Scene<'_>,
        mut held: Held,
        port: PortIndex,
        mtu: u16,
    ) -> Result<(), DropReason> {
        let packet = Packet::parse(held.bytes())?;
        if packet.ip_length() <= usize::from(mtu) {
            return scene.outlets[usize::from(port.0)].send_now(held, &mut self.stats);
        }
        let identification = self.exceptions.identifications.draw();
        let frame = held.push_front(0).ok_or(DropReason::NoHeadroom)?;
        let pieces = Fragments::of_own(&packet, frame, mtu, identification)?;
        self.send_pieces(scene, &held, &packet, port, pieces, |_, _| Ok(()))
    }
}

/// Whether the source of a packet is an address of several hosts on a network of ours.
fn is_shared(scene: &Scene<'_>, packet: &Packet, frame: &[u8]) -> bool {
    let shared = &scene.tables.node().shared;
    let v4 = packet.addresses_v4(frame).map(|(source, _)| source.into());
    let v6 = packet.addresses_v6(frame).map(|(source, _)| source.into());
    v4.or(v6).is_some_and(|source| shared.contains(&source))
}

impl Exceptions {
    /// A frame of these parts, if there is a buffer that holds it.
    fn build(&self, parts: &[&[u8]]) -> Option<Held> {
        let mut burst = Burst::new();
        if self.pool.allocate(&mut burst, 1) == 0 {
            return None;
        }
        let mut held = burst.drain().next()?;
        for part in parts {
            held.append(part.len())?.copy_from_slice(part);
        }
        Some(held)
    }
}
