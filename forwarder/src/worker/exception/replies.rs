//! Packets that exceed the MTU, and the replies that the forwarder sends itself.

use crate::dpdk::{Burst, Mbuf, OwnedMbuf};
use crate::worker::pipeline::Pipeline;
use crate::worker::round::Round;
use guideway_core::balancer::backend::{MssLimit, Route};
use guideway_core::balancer::id::{BackendId, PortIndex};
use guideway_core::balancer::mtu::{Fragments, clamp_mss, inner_mtu};
use guideway_core::balancer::reply::{self, IcmpError, OptionAction};
use guideway_core::balancer::{Classified, DropReason, Reply, Verdict};
use guideway_core::stats::Event;
use guideway_core::wire::{Fragment, Packet};

use super::state::Exceptions;

impl Pipeline {
    /// Handles a packet that exceeds the MTU towards its backend: fragments it if the packet allows
    /// that, otherwise replies with an error.
    #[cold]
    pub(in crate::worker) fn oversize(
        &mut self,
        round: &mut Round<'_>,
        mbuf: OwnedMbuf,
        port: PortIndex,
        classified: &Classified,
        backend: BackendId,
        begins: bool,
    ) {
        let Some(route) = round.tables.backend(backend).route.as_ref() else {
            return self.drop(mbuf, DropReason::NextHopUnresolved);
        };
        let length = mbuf.bytes().len() as u64;
        let (packet, mss) = (&classified.packet, round.tables.backend(backend).mss);
        if self.send_fragmented(
            round,
            mbuf,
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
        round: &mut Round<'_>,
        mut mbuf: OwnedMbuf,
        port: PortIndex,
        packet: &Packet,
        route: &Route,
        mss: MssLimit,
        entropy: u64,
        verdict: Verdict,
    ) -> bool {
        let mtu = inner_mtu(route.template.mtu(), route.template.overhead());
        let fragments = match Fragments::new(packet, mbuf.bytes(), mtu) {
            Ok(fragments) => fragments,
            Err(DropReason::ExceedsMtu) => {
                let error = IcmpError::TooBig { mtu };
                self.reply(round, mbuf, port, packet, Reply::TooBig, Some(error));
                return false;
            }
            Err(reason) => {
                self.drop(mbuf, reason);
                return false;
            }
        };
        if let Some(bytes) = mbuf.push_front(0) {
            clamp_mss(packet, bytes, mss.of(packet.family));
        }
        let sent =
            self.send_fragments(round, &mbuf, packet, route.port, fragments, |fragment, made| {
                route.template.apply(fragment, entropy, made)
            });
        self.stats.verdict(sent.map_or_else(Verdict::Dropped, |()| verdict), 1);
        sent.is_ok()
    }

    /// Sends the fragments of a packet by a port, each after `complete`. If one fragment cannot be
    /// sent, the rest is not sent either: an incomplete datagram is worthless.
    fn send_fragments(
        &mut self,
        round: &mut Round<'_>,
        mbuf: &OwnedMbuf,
        packet: &Packet,
        port: PortIndex,
        fragments: Fragments,
        complete: impl Fn(&Packet, &mut Mbuf) -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        self.stats.event(Event::Fragmented, 1);
        let frame = mbuf.bytes();
        let output = &mut round.outputs[usize::from(port.0)];
        for fragment in fragments {
            let link = frame.get(..packet.l3.into()).unwrap_or_default();
            let payload = frame.get(fragment.payload.clone()).unwrap_or_default();
            let parts = [link, fragment.header(), payload];
            let mut made = self.exceptions.build_frame(&parts).ok_or(DropReason::NoHeadroom)?;
            complete(&Packet::parse(made.bytes())?, &mut made)?;
            output.send_now(made, &mut self.stats)?;
        }
        Ok(())
    }

    /// Handles a packet whose hop limit is used up: reports it to the source, if a reply is
    /// permitted.
    #[cold]
    pub(in crate::worker) fn hop_limit_exceeded(
        &mut self,
        round: &mut Round<'_>,
        mbuf: OwnedMbuf,
        port: PortIndex,
        packet: &Packet,
    ) {
        if let Err(reason) = round.tables.check_source(packet, mbuf.bytes()) {
            return self.drop(mbuf, reason);
        }
        if !reply::may_report(packet, mbuf.bytes()) {
            return self.drop(mbuf, DropReason::HopLimitExceeded);
        }
        self.reply(round, mbuf, port, packet, Reply::TimeExceeded, Some(IcmpError::TimeExceeded));
    }

    /// Turns a packet into `error`, or else into an echo reply, and sends it to the source.
    pub(super) fn reply(
        &mut self,
        round: &mut Round<'_>,
        mut mbuf: OwnedMbuf,
        port: PortIndex,
        packet: &Packet,
        kind: Reply,
        error: Option<IcmpError>,
    ) {
        if is_shared_address(round, packet, mbuf.bytes()) {
            return self.drop(mbuf, DropReason::ReplyForbidden);
        }
        let (kind, error) = match reply::refused_option(packet, mbuf.bytes()) {
            // A packet that is only forwarded may have any options.
            _ if kind == Reply::TooBig => (kind, error),
            None => (kind, error),
            Some(OptionAction::Discard) => return self.drop(mbuf, DropReason::Ipv6OptionUnknown),
            Some(OptionAction::Report { pointer }) => {
                (Reply::ParameterProblem, Some(IcmpError::UnknownOption { pointer }))
            }
        };
        // The reply to a fragmented request was counted when its action was chosen.
        let counted = kind == Reply::Echo && packet.fragment == Fragment::First;
        if !counted && !self.exceptions.reply_limits.allow(kind, round) {
            return self.drop(mbuf, DropReason::ReplyLimited);
        }
        let mtu = round.tables.node().mtu(port);
        let made = match error {
            Some(error) => reply::error(packet, error, mtu, &mut *mbuf),
            None => reply::echo_reply(packet, &mut *mbuf),
        };
        let sent = made.and_then(|kind| {
            self.send_reply(round, mbuf, port, mtu)?;
            Ok(kind)
        });
        self.stats.verdict(sent.map_or_else(Verdict::Dropped, Verdict::Replied), 1);
    }

    /// Sends a reply by a port: whole if it fits, otherwise in fragments. Errors always fit.
    fn send_reply(
        &mut self,
        round: &mut Round<'_>,
        mut mbuf: OwnedMbuf,
        port: PortIndex,
        mtu: u16,
    ) -> Result<(), DropReason> {
        let packet = Packet::parse(mbuf.bytes())?;
        if packet.ip_length() <= usize::from(mtu) {
            return round.outputs[usize::from(port.0)].send_now(mbuf, &mut self.stats);
        }
        let identification = self.exceptions.identifications.draw();
        let frame = mbuf.push_front(0).ok_or(DropReason::NoHeadroom)?;
        let fragments = Fragments::of_own(&packet, frame, mtu, identification)?;
        self.send_fragments(round, &mbuf, &packet, port, fragments, |_, _| Ok(()))
    }
}

/// Whether the source of a packet is an address of several hosts on a network of this node.
fn is_shared_address(round: &Round<'_>, packet: &Packet, frame: &[u8]) -> bool {
    let shared = &round.tables.node().shared;
    let v4 = packet.addresses_v4(frame).map(|(source, _)| source.into());
    let v6 = packet.addresses_v6(frame).map(|(source, _)| source.into());
    v4.or(v6).is_some_and(|source| shared.contains(&source))
}

impl Exceptions {
    /// A frame made of `parts`; `None` if no buffer holds it.
    fn build_frame(&self, parts: &[&[u8]]) -> Option<OwnedMbuf> {
        let mut burst = Burst::new();
        if self.pool.allocate(&mut burst, 1) == 0 {
            return None;
        }
        let mut mbuf = burst.drain().next()?;
        for part in parts {
            mbuf.append(part.len())?.copy_from_slice(part);
        }
        Some(mbuf)
    }
}
