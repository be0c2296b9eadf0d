//! The full path, for any packet of a service: decide on its backend, then encapsulate it.
//!
//! [`Balancer::decide`] looks up the flow table and, on a miss, chooses a backend of the pool. [`Balancer::encapsulate`] puts
//! the backend's headers before the packet. [`Balancer::classify`] comes first. What the rare cases need is out
//! of line, so that a packet of an established flow does not pay for it.

use super::backend::{Fate, MssLimit, Pool, Serving};
use super::choice::Choice;
use super::classify::Classified;
use super::conntrack::{Entry, Insertion, Observed, STATE_FLAGS, State, begins};
use super::flow::FlowKey;
use super::frame::Frame;
use super::id::{BackendId, PortIndex, ServiceId};
use super::maglev::Value;
use super::mtu::clamp_mss;
use super::services::Service;
use super::tables::Tables;
use super::time::Time;
use super::verdict::DropReason;
use super::worker_state::Balancer;
use crate::stats::Event;
use crate::wire::{Packet, protocol, tcp};

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
    /// The flow was not recorded: its two buckets are full of live flows, and none can move.
    Unrecorded,
    /// The flow was found, but its backend does not accept it any more. It has a new backend.
    Moved,
}

impl FlowEvent {
    /// Whether the backend was chosen just now.
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
        let mut backend = self.choose(tables, classified, &key)?;
        let entry = Entry::new(backend, State::first(packet.tcp_flags), now);
        let keep = |service, backend| keeps(tables, service, backend);
        let timeouts = tables.timeouts();
        let flow = match self.flows_mut().insert(*tag, service.id, entry, now, timeouts, keep) {
            Insertion::Stored => FlowEvent::New,
            Insertion::Displaced => FlowEvent::NewDisplacing,
            Insertion::Full => {
                if !tables.pool(service.pool).choice.agrees() {
                    // The next packet must find the same backend without an entry.
                    backend = accepting(tables, choose_by_hash(tables, *service, &key))?;
                }
                FlowEvent::Unrecorded
            }
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
        let (is_existing, begins) = (record.serving == Serving::Existing, begins(packet.tcp_flags));
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
            false => entry.after(Observed::new(packet, frame), now),
        };
        // The flow stays in the table while its packets come, even if there is no backend for it.
        self.flows_mut().update(slot, after);
        if keeps {
            return Ok(Decision { backend: entry.backend(), flow: FlowEvent::Hit });
        }
        let key = FlowKey::of(packet, frame).ok_or(DropReason::NoBackend)?;
        let backend = self.choose(tables, classified, &key)?;
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

    /// Chooses the backend of a flow.
    #[inline]
    fn choose(
        &mut self,
        tables: &Tables,
        classified: &Classified,
        key: &FlowKey,
    ) -> Result<BackendId, DropReason> {
        let pool = tables.pool(classified.service.pool);
        let chosen = match pool.choice {
            Choice::Maglev => pool.maglev.choose(tables.fleet().hash(key)).map(BackendId::new),
            _ => self.choose_otherwise(tables, classified, key),
        };
        accepting(tables, chosen)
    }

    /// Chooses the backend of a flow of a pool that does not choose by the flow's hash.
    ///
    /// Choices on which forwarders do not agree are made by the packet that begins the flow, for TCP. Later packets
    /// of an unknown flow follow its hash: then all workers and all forwarders that do not know it agree.
    #[cold]
    fn choose_otherwise(
        &mut self,
        tables: &Tables,
        classified: &Classified,
        key: &FlowKey,
    ) -> Option<BackendId> {
        let Classified { packet, service, tag } = classified;
        let Pool { maglev: table, choice, .. } = tables.pool(service.pool);
        if packet.protocol == protocol::TCP && !begins(packet.tcp_flags) && !choice.agrees() {
            return choose_by_hash(tables, *service, key);
        }
        let chosen = match choice {
            Choice::Maglev | Choice::SourceHash => return choose_by_hash(tables, *service, key),
            Choice::RoundRobin => self.chooser().turn(service.pool, table, *tag),
            Choice::WeightedRandom => table.choose(self.chooser().random(*tag)),
            Choice::LeastFlows => {
                let first = table.choose(self.chooser().random(*tag));
                let second = table.choose(self.chooser().random(*tag));
                first.zip(second).map(|(first, second)| self.less_loaded(tables, first, second))
            }
        };
        chosen.map(BackendId::new)
    }

    /// Of two backends, the one with fewer flows of this worker for its weight.
    fn less_loaded(&self, tables: &Tables, first: Value, second: Value) -> Value {
        let (a, b) = (BackendId::new(first), BackendId::new(second));
        let weight = |backend| u64::from(tables.backend(backend).weight);
        // Both flows and weights are below 2^32.
        let (of_a, of_b) = (self.flows().live(a) * weight(b), self.flows().live(b) * weight(a));
        if of_a <= of_b { first } else { second }
    }

    /// The backend that every forwarder would choose for a flow of which it has no entry.
    ///
    /// # Errors
    /// The reason to drop a packet about the flow: there is no backend, or forwarders do not agree on one.
    #[cold]
    pub fn maglev_backend(
        &self,
        tables: &Tables,
        service: Service,
        flow: &FlowKey,
    ) -> Result<BackendId, DropReason> {
        if !tables.pool(service.pool).choice.agrees() {
            return Err(DropReason::IcmpUnknownFlow);
        }
        choose_by_hash(tables, service, flow).ok_or(DropReason::NoBackend)
    }

    /// Sweeps the next bucket of the flow table, see [`super::conntrack::Table::sweep`].
    #[inline]
    pub fn sweep(&mut self, tables: &Tables, now: Time) -> bool {
        let keep = |service, backend| keeps(tables, service, backend);
        self.flows_mut().sweep(now, tables.timeouts(), keep)
    }
}

/// Whether a flow of a service keeps its backend, as far as these tables say.
#[inline]
pub(super) fn keeps(tables: &Tables, service: ServiceId, backend: BackendId) -> bool {
    let (pool, policy) = tables.pool_and_policy(service);
    tables.backend(backend).fate(pool, policy) != Fate::Move
}

/// A backend that was chosen, if it accepts new flows.
#[inline]
fn accepting(tables: &Tables, chosen: Option<BackendId>) -> Result<BackendId, DropReason> {
    chosen
        .filter(|&backend| tables.backend(backend).serving == Serving::All)
        .ok_or(DropReason::NoBackend)
}

/// The choice by a hash of the flow or, if the pool says so, of its client.
fn choose_by_hash(tables: &Tables, service: Service, key: &FlowKey) -> Option<BackendId> {
    let pool = tables.pool(service.pool);
    let hash = match pool.choice {
        Choice::SourceHash => tables.fleet().hash_source(key),
        _ => tables.fleet().hash(key),
    };
    pool.maglev.choose(hash).map(BackendId::new)
}

/// Lowers the segment size that a SYN announces to the limit.
#[inline]
pub(super) fn clamp(mss: MssLimit, packet: &Packet, frame: &mut impl Frame) {
    let limit = mss.of(packet.family);
    if limit < u16::MAX
        && let Some(bytes) = frame.push_front(0)
    {
        clamp_mss(packet, bytes, limit);
    }
}
