//! The fast path, for what nearly every packet is: a segment or datagram of a flow under way, plain, for a
//! backend that takes all flows and is sent plain GRE.
//!
//! Three steps, each for a whole burst before the next begins: [`Balancer::parse_plain`] reads, [`Balancer::lookup`]
//! looks the flow up, [`Balancer::encapsulate_gre`] encapsulates. Short loops are what a CPU runs well: it then has many
//! packets under way at once, and waits for none of their cache lines. Between the steps stands what the next
//! asks of the one before, and no more; a packet that is refused on the way is read again, by the full path.
//! What goes this way is treated exactly as the full path would have, which the tests hold it to, with every
//! byte and every entry of the flow table.

use std::hint::cold_path;

use super::classify::{Classified, Unserved};
use super::conntrack::STATE_FLAGS;
use super::flow::FlowWords;
use super::frame::Frame;
use super::id::{BackendId, PortIndex};
use super::port::FrameFilter;
use super::services::Service;
use super::tables::Tables;
use super::time::Time;
use super::worker_state::Balancer;
use crate::wire::plain::{self, Ipv4FirstWord, PlainHeaders};

/// A packet between the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketMeta {
    /// The service that it is for.
    pub service: Service,
    /// Its flow's hash: chooses the worker, the bucket, and is the tag there.
    pub tag: u64,
    /// Who has its flow, if that is under way.
    pub backend: BackendId,
    /// What was read; all TCP flags are set if this is no packet.
    pub headers: PlainHeaders,
}

impl PacketMeta {
    /// No packet.
    pub const NONE: PacketMeta = PacketMeta {
        service: Service::NONE,
        tag: 0,
        backend: BackendId::NONE,
        headers: PlainHeaders { first: Ipv4FirstWord::BASE, tcp_flags: u8::MAX },
    };

    /// No packet, but the hash of one that is not plain.
    pub fn not_plain(tag: u64) -> PacketMeta {
        PacketMeta { tag, ..PacketMeta::NONE }
    }

    /// Whether the packet's flow was found under way, and the packet leaves it so.
    #[inline(always)]
    pub fn is_hit(&self) -> bool {
        self.backend != BackendId::NONE
    }

    /// Whether this is a packet.
    pub fn is_packet(&self) -> bool {
        self.service != Service::NONE
    }

    /// All that there is to a packet that was staged from this very frame; `None` if none was.
    pub fn classified(&self, frame: &[u8]) -> Option<Classified> {
        if !self.is_packet() {
            return None;
        }
        let packet = self.headers.packet(frame)?;
        Some(Classified { packet, service: self.service, tag: self.tag })
    }
}

/// What a frame is to [`Balancer::parse_plain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainParse {
    /// A plain packet for a service.
    Served,
    /// A plain packet for none.
    Unserved,
    /// Anything else.
    NotPlain,
}

impl Balancer {
    /// Reads a frame that came in by the port of a station and finds its service, if it is a plain packet.
    /// `head` is how the frame begins.
    #[inline(always)]
    pub fn parse_plain(
        &self,
        tables: &Tables,
        filter: &FrameFilter,
        head: &[u8; plain::HEAD_V4],
        frame: &impl Frame,
        to: &mut PacketMeta,
    ) -> PlainParse {
        let length = frame.bytes().len();
        let (headers, is_served);
        if filter.v4.matches(head) {
            let Some(read) = plain::read_v4(head, length) else { return PlainParse::NotPlain };
            let words = FlowWords::of_v4(head);
            is_served = tables.services().of_v4(words, &mut to.service);
            to.tag = self.seed().hash_v4(words);
            headers = read;
        } else if filter.v6.matches(head) {
            cold_path();
            let Some(tail) = plain::tail_v6(frame.bytes()) else { return PlainParse::NotPlain };
            let Some(read) = plain::read_v6(head, tail, length) else {
                return PlainParse::NotPlain;
            };
            let words = FlowWords::of_v6(head, tail);
            is_served = tables.services().of_v6(words, &mut to.service);
            to.tag = self.seed().hash_v6(words);
            headers = read;
        } else {
            return PlainParse::NotPlain;
        }
        to.headers = headers;
        if is_served { PlainParse::Served } else { PlainParse::Unserved }
    }

    /// As [`Balancer::classify`], for a frame of which [`Balancer::parse_plain`] has said that it is not served, and
    /// with what it has written.
    ///
    /// # Errors
    /// The same.
    #[cold]
    pub fn classify_not_served(
        &self,
        tables: &Tables,
        port: PortIndex,
        frame: &[u8],
        outcome: PlainParse,
        meta: &PacketMeta,
    ) -> Result<Classified, Unserved> {
        match outcome {
            PlainParse::Unserved if let Some(packet) = meta.headers.packet(frame) => {
                Err(tables.why_unserved(&packet, frame))
            }
            _ => self.classify(tables, port, frame),
        }
    }

    /// Looks up the flow of a packet that was staged by these tables, and finds its backend, if it is under way
    /// and the packet leaves it in its state.
    #[inline(always)]
    pub fn lookup(&mut self, tables: &Tables, meta: &mut PacketMeta, now: Time) {
        if meta.headers.tcp_flags & STATE_FLAGS == 0
            && let Some(entry) = self.flows_mut().find(meta.tag, now, tables.steady())
            && entry.is_steady()
        {
            entry.touch(now);
            meta.backend = entry.backend();
        } else {
            cold_path();
            meta.backend = BackendId::NONE;
        }
    }

    /// Encapsulates a packet for the backend that was found, and answers the port to send it by. `None`, and no
    /// backend and no change of the frame, for all packets that are not for the fast path, which [`Balancer::decide`] and
    /// [`Balancer::encapsulate`] know; they would have said the same of this one.
    #[inline(always)]
    pub fn encapsulate_gre(
        &self,
        tables: &Tables,
        meta: &mut PacketMeta,
        frame: &mut impl Frame,
    ) -> Option<PortIndex> {
        if let Some(adjacency) = tables.adjacency(meta.backend)
            && adjacency.pool == meta.service.pool
            && adjacency.gre_rewrite.apply(meta.headers.first, meta.tag, frame).is_some()
        {
            return Some(adjacency.port);
        }
        cold_path();
        meta.backend = BackendId::NONE;
        None
    }

    /// The port of a packet that went the fast path; `None` if it did not.
    pub fn egress(&self, tables: &Tables, meta: &PacketMeta) -> Option<PortIndex> {
        tables.adjacency(meta.backend).map(|adjacency| adjacency.port)
    }
}
