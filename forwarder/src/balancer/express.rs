//! The express way, for what nearly every packet is: a segment or datagram of a flow under way, plain, for a
//! backend that takes all flows and is sent plain GRE.
//!
//! Three steps, each for a whole burst before the next begins: [`Balancer::stage`] reads, [`Balancer::seek`]
//! looks the flow up, [`Balancer::send`] encapsulates. Short loops are what a CPU runs well: it then has many
//! packets under way at once, and waits for none of their cache lines. Between the steps stands what the next
//! asks of the one before, and no more; a packet that is refused on the way is read again, by the general way.
//! What goes this way is treated exactly as the general way would have, which the tests hold it to, with every
//! byte and every entry of the flow table.

use std::hint::cold_path;

use super::decide::{Balancer, Classified, EVENTS};
use super::encapsulation::Envelope;
use super::flow::Words;
use super::frame::Frame;
use super::tables::{
    Backend, BackendId, PoolIndex, PortIndex, Service, Serving, Station, Tables, Unserved,
};
use super::time::Time;
use crate::wire::plain::{self, FirstWord, Sight};

/// A packet between the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    /// The service that it is for.
    pub service: Service,
    /// Its flow's hash: chooses the worker, the bucket, and is the tag there.
    pub tag: u64,
    /// Who has its flow, if that is under way.
    pub backend: BackendId,
    /// What was read; all TCP flags are set if this is no packet.
    pub sight: Sight,
}

impl Staged {
    /// No packet.
    pub const NONE: Staged = Staged {
        service: Service::NONE,
        tag: 0,
        backend: BackendId::NONE,
        sight: Sight { first: FirstWord::BARE, tcp_flags: u8::MAX },
    };

    /// No packet, but the hash of one that is not plain.
    pub fn other(tag: u64) -> Staged {
        Staged { tag, ..Staged::NONE }
    }

    /// Whether the packet's flow was found under way, and the packet leaves it so.
    #[inline(always)]
    pub fn is_under_way(&self) -> bool {
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
        let packet = self.sight.packet(frame)?;
        Some(Classified { packet, service: self.service, tag: self.tag })
    }
}

/// What a frame is to [`Balancer::stage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A plain packet for a service.
    Served,
    /// A plain packet for none.
    Unserved,
    /// Anything else.
    Other,
}

/// A backend as the express way has it: over IPv4, one cache line of it is read.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Stop {
    /// The pool of which it takes all flows by a route that there is; of no pool if there is more to it.
    pool: PoolIndex,
    port: PortIndex,
    envelope: Envelope,
}

impl Stop {
    /// No packet stops here.
    const CLOSED: Stop =
        Stop { pool: PoolIndex::NONE, port: PortIndex::NONE, envelope: Envelope::NONE };

    pub(super) fn new(backend: &Backend) -> Stop {
        let route = backend.route.as_ref().filter(|_| backend.serving == Serving::All);
        let open = route.and_then(|route| {
            let envelope = route.template.envelope()?.clone();
            Some(Stop { pool: backend.pool, port: route.port, envelope })
        });
        open.unwrap_or(Stop::CLOSED)
    }
}

impl Balancer {
    /// Reads a frame that came in by the port of a station and finds its service, if it is a plain packet.
    /// `head` is how the frame begins.
    #[inline(always)]
    pub fn stage(
        &self,
        tables: &Tables,
        station: &Station,
        head: &[u8; plain::HEAD_V4],
        frame: &impl Frame,
        to: &mut Staged,
    ) -> Stage {
        let length = frame.bytes().len();
        let (sight, is_served);
        if station.v4.opens(head) {
            let Some(seen) = plain::read_v4(head, length) else { return Stage::Other };
            let words = Words::of_v4(head);
            is_served = tables.services().of_v4(words, &mut to.service);
            to.tag = self.seed().hash_v4(words);
            sight = seen;
        } else if station.v6.opens(head) {
            cold_path();
            let Some(tail) = plain::tail_v6(frame.bytes()) else { return Stage::Other };
            let Some(seen) = plain::read_v6(head, tail, length) else { return Stage::Other };
            let words = Words::of_v6(head, tail);
            is_served = tables.services().of_v6(words, &mut to.service);
            to.tag = self.seed().hash_v6(words);
            sight = seen;
        } else {
            return Stage::Other;
        }
        to.sight = sight;
        if is_served { Stage::Served } else { Stage::Unserved }
    }

    /// As [`Balancer::classify`], for a frame of which [`Balancer::stage`] has said that it is not served, and
    /// with what it has written.
    ///
    /// # Errors
    /// The same.
    #[cold]
    pub fn classify_unstaged(
        &self,
        tables: &Tables,
        port: PortIndex,
        frame: &[u8],
        stage: Stage,
        staged: &Staged,
    ) -> Result<Classified, Unserved> {
        match stage {
            Stage::Unserved if let Some(packet) = staged.sight.packet(frame) => {
                Err(tables.why_unserved(&packet, frame))
            }
            _ => self.classify(tables, port, frame),
        }
    }

    /// Looks up the flow of a packet that was staged by these tables, and finds its backend, if it is under way
    /// and the packet leaves it in its state.
    #[inline(always)]
    pub fn seek(&mut self, tables: &Tables, staged: &mut Staged, now: Time) {
        if staged.sight.tcp_flags & EVENTS == 0
            && let Some(entry) = self.flows_mut().find(staged.tag, now, tables.steady())
            && entry.is_steady()
        {
            entry.touch(now);
            staged.backend = entry.backend();
        } else {
            cold_path();
            staged.backend = BackendId::NONE;
        }
    }

    /// Encapsulates a packet for the backend that was found, and answers the port to send it by. `None`, and no
    /// backend and no change of the frame, for all packets that are not for the express way, which [`Balancer::decide`] and
    /// [`Balancer::encapsulate`] know; they would have said the same of this one.
    #[inline(always)]
    pub fn send(
        &self,
        tables: &Tables,
        staged: &mut Staged,
        frame: &mut impl Frame,
    ) -> Option<PortIndex> {
        if let Some(stop) = tables.stop(staged.backend)
            && stop.pool == staged.service.pool
            && stop.envelope.apply(staged.sight.first, staged.tag, frame).is_some()
        {
            return Some(stop.port);
        }
        cold_path();
        staged.backend = BackendId::NONE;
        None
    }

    /// The port of a packet that went the express way; `None` if it did not.
    pub fn way(&self, tables: &Tables, staged: &Staged) -> Option<PortIndex> {
        tables.stop(staged.backend).map(|stop| stop.port)
    }
}
