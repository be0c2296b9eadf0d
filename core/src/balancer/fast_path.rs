//! The fast path, for nearly every packet: plain, of a steady flow, for an active backend.
//!
//! It has three steps: [`Balancer::parse_plain`], [`PacketMeta::look_up`], [`Balancer::rewrite`]. A worker
//! takes each step for a whole burst before the next, in a short loop. The CPU then works on many packets at
//! once and waits for none of their cache lines. [`PacketMeta`] carries only what the next step needs.
//!
//! A packet that a step refuses is unchanged and takes the full path. The fast path does exactly what the
//! full path would have done; the tests compare every byte and every flow table entry.

use std::hint::cold_path;

use super::adjacency::Adjacency;
use super::backend::{Fate, Serving};
use super::classify::{Classified, Unserved};
use super::conntrack::{Homes, STATE_FLAGS, begins};
use super::encapsulation::Apply;
use super::flow::FlowWords;
use super::frame::Frame;
use super::id::{BackendId, PortIndex};
use super::port::FrameFilter;
use super::services::Service;
use super::tables::Tables;
use super::time::Time;
use super::worker_state::Balancer;
use crate::wire::Family;
use crate::wire::plain::{self, HeaderMatch, Ipv4FirstWord, PlainHeaders};

/// What one step of the fast path tells the next about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketMeta {
    /// The service that the packet is for.
    pub service: Service,
    /// The tag of its flow, which also chooses the worker and the bucket.
    pub tag: u64,
    /// The backend of its flow if that is steady; otherwise `BackendId::NONE`.
    pub backend: BackendId,
    /// Traffic class, length and TCP flags; those of IPv6 are written as the first word of an IPv4 header. All TCP
    /// flags are set if nothing was parsed.
    pub headers: PlainHeaders,
}

impl PacketMeta {
    /// The value before anything is parsed.
    pub const NONE: PacketMeta = PacketMeta {
        service: Service::NONE,
        tag: 0,
        backend: BackendId::NONE,
        headers: PlainHeaders {
            first: Ipv4FirstWord::BASE,
            tcp_flags: u8::MAX,
            tags: 0,
            family: Family::V4,
        },
    };

    /// Only the tag of a packet that the fast path does not take; 0 if it has no service.
    pub fn not_plain(tag: u64) -> PacketMeta {
        PacketMeta { tag, ..PacketMeta::NONE }
    }

    /// Whether the packet's flow is in the table, is steady, and stays steady after this packet. Whether the flow
    /// may keep its backend is checked later, in [`Balancer::rewrite`].
    #[inline(always)]
    pub fn is_steady_flow(&self) -> bool {
        self.backend != BackendId::NONE
    }

    /// Looks up the flow of a packet that was parsed with these tables. Writes its backend if the flow is
    /// steady and the packet does not change its state; otherwise `BackendId::NONE`. An entry idle for longer than
    /// the shortest timeout of the steady states (`tables.steady()`, milliseconds) is left to the full path.
    #[inline(always)]
    pub fn look_up(&mut self, flows: &mut Homes<'_>, tables: &Tables, now: Time) {
        if self.headers.tcp_flags & STATE_FLAGS == 0
            && let Some(entry) = flows.find(self.tag, now, tables.steady())
            && entry.is_steady()
        {
            entry.touch(now);
            self.backend = entry.backend();
        } else {
            cold_path();
            self.backend = BackendId::NONE;
        }
    }

    /// Whether a plain packet of a service was parsed.
    pub fn is_parsed(&self) -> bool {
        self.service != Service::NONE
    }

    /// Whether the fast path may send this packet of the frame, which begins a flow, to a backend.
    #[inline(always)]
    pub(super) fn fits(&self, tables: &Tables, backend: BackendId, frame: &impl Frame) -> bool {
        tables.adjacency(backend).is_some_and(|adjacency| {
            adjacency.pool == self.service.pool && self.fits_headers(adjacency, frame)
        })
    }

    /// Whether the fast path may send this packet of the frame to the backend that its flow has.
    #[inline(always)]
    pub(super) fn fits_known(
        &self,
        tables: &Tables,
        backend: BackendId,
        frame: &impl Frame,
    ) -> bool {
        tables.adjacency(backend).is_some_and(|adjacency| {
            (adjacency.pool == self.service.pool || self.is_kept(tables, backend))
                && self.fits_headers(adjacency, frame)
        })
    }

    /// Whether the packet is not too long for the headers, and may go on.
    #[inline(always)]
    fn fits_headers(&self, adjacency: &Adjacency, frame: &impl Frame) -> bool {
        adjacency.rewrite.fits(self.headers.first) && adjacency.rewrite.has_hop(self.headers, frame)
    }

    /// Whether a backend that serves existing flows only keeps the packet's flow. A packet that may begin another connection
    /// is left to the full path.
    #[inline(never)]
    fn is_kept(&self, tables: &Tables, backend: BackendId) -> bool {
        let (record, Service { pool, policy, .. }) = (tables.backend(backend), self.service);
        record.serving == Serving::Existing
            && record.fate(pool, policy) == Fate::Keep
            && !begins(self.headers.tcp_flags)
    }

    /// The packet as [`Balancer::classify`] would return it, from the same frame that was parsed; `None` if
    /// nothing was parsed.
    pub fn classified(&self, frame: &[u8]) -> Option<Classified> {
        if !self.is_parsed() {
            return None;
        }
        let packet = self.headers.packet(frame)?;
        Some(Classified { packet, service: self.service, tag: self.tag })
    }
}

/// What [`Balancer::parse_plain`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainParse {
    /// A plain packet for a service.
    Served,
    /// The same, in a frame with tags.
    ServedTagged,
    /// A plain packet for no service.
    Unserved,
    /// Anything else: take the full path.
    NotPlain,
}

impl PlainParse {
    /// Whether it is a plain packet for a service.
    pub fn is_served(self) -> bool {
        matches!(self, PlainParse::Served | PlainParse::ServedTagged)
    }

    #[inline(always)]
    fn of(is_served: bool, tags: usize) -> PlainParse {
        match (is_served, tags) {
            (false, _) => PlainParse::Unserved,
            (true, 0) => PlainParse::Served,
            (true, _) => PlainParse::ServedTagged,
        }
    }
}

impl Balancer {
    /// Reads a frame and finds its service, if it holds a plain packet that the port's filter accepts. `head` is
    /// the beginning of the frame.
    #[inline(always)]
    pub fn parse_plain(
        &self,
        tables: &Tables,
        filter: &FrameFilter,
        head: &[u8; plain::HEAD_V4],
        frame: &impl Frame,
        to: &mut PacketMeta,
    ) -> PlainParse {
        let (mut head, mut tags) = (head, 0);
        if !filter.v4.matches(head) {
            cold_path();
            let mut is_v6 = filter.v6.matches(head);
            if !is_v6 {
                let Some(tagged) = behind_tags(filter, head, frame.bytes()) else {
                    return PlainParse::NotPlain;
                };
                (head, tags) = tagged;
                is_v6 = !HeaderMatch::V4.matches(head);
                if is_v6 && !HeaderMatch::V6.matches(head) {
                    return PlainParse::NotPlain;
                }
            }
            if is_v6 {
                return self.parse_v6(tables, head, (frame.bytes(), tags), to);
            }
        }
        let length = frame.bytes().len() - tags;
        let Some(headers) = plain::read_v4(head, length) else { return PlainParse::NotPlain };
        let words = FlowWords::of_v4(head);
        let is_served = tables.services().of_v4(words, &mut to.service);
        to.tag = self.seed().hash_v4(words);
        to.headers = headers.behind(tags);
        PlainParse::of(is_served, tags)
    }

    /// As [`Balancer::parse_plain`], for a frame with an IPv6 header behind so many bytes of tags.
    #[inline(always)]
    fn parse_v6(
        &self,
        tables: &Tables,
        head: &[u8; plain::HEAD_V4],
        (frame, tags): (&[u8], usize),
        to: &mut PacketMeta,
    ) -> PlainParse {
        let frame = &frame[tags.min(frame.len())..];
        let Some(tail) = plain::tail_v6(frame) else { return PlainParse::NotPlain };
        let Some(headers) = plain::read_v6(head, tail, frame.len()) else {
            return PlainParse::NotPlain;
        };
        let words = FlowWords::of_v6(head, tail);
        let is_served = tables.services().of_v6(words, &mut to.service);
        to.tag = self.seed().hash_v6(words);
        to.headers = headers.behind(tags);
        PlainParse::of(is_served, tags)
    }

    /// Classifies a frame that [`Balancer::parse_plain`] did not find a service for, with what it wrote to `meta`.
    ///
    /// # Errors
    /// As [`Balancer::classify`].
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

    /// Puts the headers of a packet's backend before it. Returns the port to send it by. `None` means that the packet
    /// takes the full path: the frame is unchanged, and `meta` names no backend. `A` must serve all backends, and the tags
    /// of the packet.
    #[inline(always)]
    pub fn rewrite<A: Apply>(
        &self,
        tables: &Tables,
        meta: &mut PacketMeta,
        frame: &mut impl Frame,
    ) -> Option<PortIndex> {
        if let Some(adjacency) = tables.adjacency(meta.backend)
            && adjacency.pool == meta.service.pool
            && A::apply(&adjacency.rewrite, meta.headers, meta.tag, frame).is_some()
        {
            return Some(adjacency.port);
        }
        cold_path();
        let port = rewrite_existing(tables, meta, frame);
        if port.is_none() {
            meta.backend = BackendId::NONE;
        }
        port
    }

    /// The port of a packet that took the fast path; `None` if it did not.
    pub fn egress(&self, tables: &Tables, meta: &PacketMeta) -> Option<PortIndex> {
        tables.adjacency(meta.backend).map(|adjacency| adjacency.port)
    }
}

/// A frame with tags from behind these on, as far as a plain packet is read, and how many bytes they have.
#[inline(always)]
fn behind_tags<'f>(
    filter: &FrameFilter,
    head: &[u8; plain::HEAD_V4],
    frame: &'f [u8],
) -> Option<(&'f [u8; plain::HEAD_V4], usize)> {
    if !filter.any.matches(head) {
        return None;
    }
    let tags = plain::tags(head)?;
    Some((frame.get(tags..)?.first_chunk()?, tags))
}

/// As [`Balancer::rewrite`], for a packet of an existing flow whose backend drains or is down.
#[inline(never)]
fn rewrite_existing(
    tables: &Tables,
    meta: &PacketMeta,
    frame: &mut impl Frame,
) -> Option<PortIndex> {
    let adjacency = tables.adjacency(meta.backend)?;
    if !meta.is_kept(tables, meta.backend) {
        return None;
    }
    adjacency.rewrite.apply(meta.headers, meta.tag, frame)?;
    Some(adjacency.port)
}
