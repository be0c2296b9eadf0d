//! The full path, for any packet of a service: decide on its backend, then encapsulate it.
//!
//! [`Balancer::decide`] looks up the flow table and, on a miss, the Maglev table. [`Balancer::encapsulate`] puts
//! the backend's headers before the packet. [`Balancer::classify`] comes first. What the rare cases need is out
//! of line, so that a packet of an established flow does not pay for it.

use super::backend::{Fate, MssLimit, Serving};
use super::classify::Classified;
use super::conntrack::{Entry, Insertion, STATE_FLAGS, State, begins};
use super::flow::FlowKey;
use super::frame::Frame;
use super::id::{BackendId, PortIndex};
use super::mtu::clamp_mss;
use super::services::Service;
use super::tables::Tables;
use super::time::Time;
use super::verdict::DropReason;
use super::worker_state::Balancer;
use crate::stats::Event;
use crate::wire::{Packet, tcp};

/// The backend of a packet, and how it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The backend.
    pub backend: BackendId,
    /// What the packet did to the flow table.
    pub flow: FlowEvent,
}

/// What a packet did to the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FlowEvent {
    /// The flow was found.
    Hit,
    /// The flow was recorded.
    New,
    /// The flow was recorded and displaced another: one with only a SYN, unconfirmed, or ended.
    NewDisplacing,
    /// The flow was not recorded: its two buckets are full of live flows.
    Unrecorded,
    /// The flow was found, but its backend does not accept it any more. It has a new backend.
    Moved,
}

impl FlowEvent {
    /// Whether the Maglev table chose the backend just now.
    #[inline]
    pub const fn is_choice(self) -> bool {
        !matches!(self, FlowEvent::Hit)
    }
}

impl From<FlowEvent> for Event {
    #[inline]
    fn from(event: FlowEvent) -> Event {
        match event {
            FlowEvent::Hit => Event::FlowHit,
            FlowEvent::New => Event::FlowNew,
            FlowEvent::NewDisplacing => Event::FlowDisplaced,
            FlowEvent::Unrecorded => Event::FlowTableFull,
            FlowEvent::Moved => Event::FlowMoved,
        }
    }
}

impl Balancer {
    /// Finds the backend of a packet that was classified from this same frame with these tables.
    ///
    /// # Errors
    /// The reason to drop it.
    #[inline(never)]
    pub fn decide(
        &mut self,
        tables: &Tables,
        frame: &[u8],
        classified: &Classified,
        now: Time,
    ) -> Result<Decision, DropReason> {
        let Classified { packet, service, tag } = classified;
        let Some((slot, entry)) = self.flows().get(*tag, now, tables.timeouts()) else {
            return self.decide_new(tables, frame, classified, now);
        };
        let record = tables.backend(entry.backend());
        // Flows of a backend that drains or is down take one lookup more.
        let keeps = record.pool == service.pool && record.serving == Serving::All;
        if keeps && entry.is_steady() && packet.tcp_flags & STATE_FLAGS == 0 {
            self.flows_mut().touch(slot, now);
            return Ok(Decision { backend: entry.backend(), flow: FlowEvent::Hit });
        }
        self.decide_known(tables, frame, classified, now)
    }

    /// Decides for a flow that is not in the table. Out of line, like [`Balancer::decide_known`], so that a packet
    /// of an established flow pays for no stack frame.
    #[cold]
    #[inline(never)]
    fn decide_new(
        &mut self,
        tables: &Tables,
        frame: &[u8],
        classified: &Classified,
        now: Time,
    ) -> Result<Decision, DropReason> {
        let Classified { packet, service, tag } = classified;
        let key = FlowKey::of(packet, frame).ok_or(DropReason::NoBackend)?;
        if tables.is_suspect(&key, frame) {
            tables.check_source(packet, frame)?;
        }
        let backend = choose(tables, *service, &key)?;
        let (state, timeouts) = (State::first(packet), tables.timeouts());
        let flow = match self.flows_mut().insert(*tag, service.id, backend, state, now, timeouts) {
            Insertion::Stored => FlowEvent::New,
            Insertion::Displaced => FlowEvent::NewDisplacing,
            Insertion::Full => FlowEvent::Unrecorded,
        };
        Ok(Decision { backend, flow })
    }

    /// Decides for a flow in the table whose packet may change its state or its backend.
    #[cold]
    #[inline(never)]
    fn decide_known(
        &mut self,
        tables: &Tables,
        frame: &[u8],
        classified: &Classified,
        now: Time,
    ) -> Result<Decision, DropReason> {
        let Classified { packet, service, tag } = classified;
        let Some((slot, entry)) = self.flows().get(*tag, now, tables.timeouts()) else {
            return self.decide_new(tables, frame, classified, now);
        };
        let record = tables.backend(entry.backend());
        let (is_existing, begins) = (record.serving == Serving::Existing, begins(packet));
        let keeps = match record.fate(service.pool, service.policy) {
            Fate::Keep if is_existing && begins => {
                // A SYN for a flow that goes on is forged or too early. It changes nothing, and opens no
                // connection: a real client repeats it.
                if !entry.has_ended(now, tables.timeouts()) {
                    return Err(DropReason::BackendDraining);
                }
                false
            }
            Fate::Keep => true,
            Fate::Move => false,
            Fate::Reset if begins => false,
            Fate::Reset => {
                if entry.is_steady() {
                    // The fast path renews steady flows before it knows their fate, and this one has to expire.
                    self.flows_mut().update(slot, entry.refused(now));
                }
                return Err(DropReason::DrainOver);
            }
        };
        // A SYN renews the entry of a backend that accepts no new flows only if it moves the flow.
        let after = match is_existing && begins {
            true => entry,
            false => entry.after(packet, frame, now),
        };
        // The flow stays in the table while its packets come, even if there is no backend for it.
        self.flows_mut().update(slot, after);
        if keeps {
            return Ok(Decision { backend: entry.backend(), flow: FlowEvent::Hit });
        }
        let key = FlowKey::of(packet, frame).ok_or(DropReason::NoBackend)?;
        let backend = choose(tables, *service, &key)?;
        let moved = match begins {
            true => Entry::new(backend, State::Syn, now),
            false => after.moved_to(backend),
        };
        self.flows_mut().move_to(slot, service.id, moved);
        Ok(Decision { backend, flow: FlowEvent::Moved })
    }

    /// Encapsulates a packet for the backend that [`Balancer::decide`] chose. Returns the port to send it by.
    ///
    /// # Errors
    /// The reason to drop it.
    #[inline(never)]
    pub fn encapsulate(
        &self,
        tables: &Tables,
        classified: &Classified,
        backend: BackendId,
        frame: &mut impl Frame,
    ) -> Result<PortIndex, DropReason> {
        let route = tables.backend(backend).route.as_ref().ok_or(DropReason::NextHopUnresolved)?;
        if classified.packet.tcp_flags & tcp::SYN != 0 {
            // Checked first: the ICMP error about a packet that does not fit quotes the packet as it came.
            if !route.template.fits(&classified.packet) {
                return Err(DropReason::ExceedsMtu);
            }
            clamp(tables.backend(backend).mss, &classified.packet, frame);
        }
        route.template.apply(&classified.packet, classified.tag, frame)?;
        Ok(route.port)
    }

    /// The backend of a flow that is in this worker's table and does not move with its next packet. Does not
    /// change the entry.
    #[cold]
    pub fn recorded_backend(
        &self,
        tables: &Tables,
        service: Service,
        tag: u64,
        now: Time,
    ) -> Option<BackendId> {
        let (_, entry) = self.flows().get(tag, now, tables.timeouts())?;
        let fate = tables.backend(entry.backend()).fate(service.pool, service.policy);
        (fate != Fate::Move).then(|| entry.backend())
    }

    /// The backend that a new flow would get.
    ///
    /// # Errors
    /// The reason to drop its packet.
    #[cold]
    pub fn maglev_backend(
        &self,
        tables: &Tables,
        service: Service,
        flow: &FlowKey,
    ) -> Result<BackendId, DropReason> {
        let backend = tables.pool(service.pool).maglev.choose(tables.fleet().hash(flow));
        backend.map(BackendId::new).ok_or(DropReason::NoBackend)
    }

    /// Sweeps the next bucket of the flow table, see [`super::conntrack::Table::sweep`].
    #[inline]
    pub fn sweep(&mut self, tables: &Tables, now: Time) -> bool {
        self.flows_mut().sweep(now, tables.timeouts(), |service, backend| {
            let (pool, policy) = tables.pool_and_policy(service);
            tables.backend(backend).fate(pool, policy) != Fate::Move
        })
    }
}

/// The Maglev choice for a new flow, if that backend accepts new flows.
#[inline]
fn choose(tables: &Tables, service: Service, key: &FlowKey) -> Result<BackendId, DropReason> {
    let pool = tables.pool(service.pool);
    let backend = pool.maglev.choose(tables.fleet().hash(key)).map(BackendId::new);
    backend
        .filter(|&backend| tables.backend(backend).serving == Serving::All)
        .ok_or(DropReason::NoBackend)
}

/// Lowers the segment size that a SYN announces to the limit.
#[cold]
fn clamp(mss: MssLimit, packet: &Packet, frame: &mut impl Frame) {
    let limit = mss.of(packet.family);
    if limit < u16::MAX
        && let Some(bytes) = frame.push_front(0)
    {
        clamp_mss(packet, bytes, limit);
    }
}
