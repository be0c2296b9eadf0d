//! One flow in the table: its backend, its state, the time of its last packet, and how packets change them.

use super::super::id::BackendId;
use super::super::time::Time;
use super::state::{Observed, State, Timeouts, begins, ends};
use crate::wire::{protocol, tcp};

/// Milliseconds after which another packet shows that a flow goes on. Packets of one burst, a packet that is sent
/// twice, and the acknowledgement of the server's FIN within a round trip do not show that.
const QUIET_MS: u32 = 1000;

/// The idle time in milliseconds after which a connection that has ended leaves: a new flow may displace it, and after a
/// RST a SYN begins another connection.
pub(super) const ENDED_LINGER_MS: u32 = 30_000;

/// The value half of an entry. Both fields are read and written one by one: reading both at once right after
/// writing one would wait until the write has reached the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// State in bits 0 to 7, backend in 8 to 31.
    value: u32,
    /// [`Time::stamp`] of the flow's last packet.
    stamp: u32,
}

impl Entry {
    /// What an empty slot holds.
    pub(super) const EMPTY: Entry = Entry { value: 0, stamp: 0 };

    /// The entry of a flow whose last packet came at `now`.
    #[inline]
    pub fn new(backend: BackendId, state: State, now: Time) -> Entry {
        Entry { value: backend.get() << 8 | u32::from(state as u8), stamp: now.stamp() }
    }

    /// The backend that has the flow.
    #[inline]
    pub fn backend(self) -> BackendId {
        BackendId::new(self.value >> 8)
    }

    /// The flow's state.
    #[inline]
    pub fn state(self) -> State {
        State::from_bits(self.value)
    }

    /// Whether the flow stays in its state with every packet that has none of SYN, FIN and RST.
    #[inline]
    pub fn is_steady(self) -> bool {
        State::is_steady(self.value)
    }

    /// The entry with another backend.
    #[inline]
    pub fn moved_to(self, backend: BackendId) -> Entry {
        Entry { value: backend.get() << 8 | self.value & 0xff, ..self }
    }

    /// The entry in another state, with its time stamp.
    fn in_state(self, state: State) -> Entry {
        Entry { value: self.value & !0xff | u32::from(state as u8), ..self }
    }

    /// The entry of a steady flow after the first of its packets that the backend does not get any more. No
    /// packet renews it unless the flow goes on.
    pub fn refused(self, now: Time) -> Entry {
        let state = match self.state() {
            State::Udp | State::Unconfirmed => State::Unconfirmed,
            _ => State::Reset,
        };
        Entry::new(self.backend(), state, now)
    }

    /// Renews the time stamp of the flow's last packet.
    #[inline]
    pub fn touch(&mut self, now: Time) {
        self.stamp = now.stamp();
    }

    /// Milliseconds since the flow's last packet.
    #[inline]
    pub fn idle_ms(self, now: Time) -> u32 {
        now.stamp().wrapping_sub(self.stamp)
    }

    /// Whether the flow was idle for longer than its state allows.
    #[inline]
    pub(in super::super) fn has_expired(self, now: Time, timeouts: &Timeouts) -> bool {
        self.idle_ms(now) > timeouts.idle[self.state() as usize]
    }

    /// The entry of a steady flow after one more packet with these flags, by the flags alone; `None` if the flow is not
    /// steady.
    #[inline(always)]
    pub(in super::super) fn steady_after(self, tcp_flags: u8, now: Time) -> Option<Entry> {
        if !self.is_steady() {
            return None;
        }
        // A SYN leaves an established flow as it is, so that a forged one cannot shorten its life.
        let state = match tcp_flags {
            flags if !ends(flags) => self.state(),
            flags if flags & tcp::RST != 0 => State::Reset,
            _ => State::Closing,
        };
        Some(Entry::new(self.backend(), state, now))
    }

    /// The entry after one more packet of its flow.
    ///
    /// `Unconfirmed` and `Closing` wait for a packet that shows that the flow goes on: one that comes `QUIET_MS`
    /// or later after the packet that led to the state. Earlier packets do not renew the time stamp.
    #[inline]
    pub fn after(self, packet: Observed, now: Time) -> Entry {
        match self.steady_after(packet.tcp_flags, now) {
            Some(after) => after,
            None => self.changed(packet, now),
        }
    }

    /// The entry of a flow that is not steady after one more packet.
    #[cold]
    fn changed(self, packet: Observed, now: Time) -> Entry {
        let goes_on = self.idle_ms(now) >= QUIET_MS;
        let (syn, fin) = (begins(packet.tcp_flags), packet.tcp_flags & tcp::FIN != 0);
        let rst = packet.tcp_flags & tcp::RST != 0;
        let next = match self.state() {
            state @ (State::Established | State::HalfClosed | State::Udp) => state,
            State::Syn if syn => State::Syn,
            // A FIN or RST does not give a longer life to a flow that is not confirmed.
            State::Syn if fin || rst => return self,
            State::Syn => State::Established,
            State::Unconfirmed if syn && !ends(packet.tcp_flags) => State::Syn,
            State::Unconfirmed if !goes_on || rst => return self,
            State::Unconfirmed if packet.protocol != protocol::TCP => State::Udp,
            // A connection that has ended ends once: a flood of RSTs does not keep its entry. A FIN that is sent
            // again does, since the packets that follow are judged by the last one.
            State::Closing | State::Reset if rst => return self.in_state(State::Reset),
            State::Reset if fin => return self.in_state(State::Closing),
            _ if rst => State::Reset,
            _ if fin => State::Closing,
            State::Closing | State::Reset if syn => State::Syn,
            // RFC 6146, section 3.5.2.2.
            State::Reset | State::Unconfirmed => State::Established,
            // After its FIN a client sends no data, except what was lost before.
            State::Closing if packet.has_data => State::Established,
            State::Closing if goes_on => State::HalfClosed,
            State::Closing => return self,
        };
        Entry::new(self.backend(), next, now)
    }

    /// Whether a SYN may begin a new connection in this flow, so that a backend without new flows need not accept
    /// it. A forged SYN must not move a connection that goes on.
    #[cold]
    pub fn has_ended(self, now: Time, timeouts: &Timeouts) -> bool {
        let idle = self.idle_ms(now);
        match self.state() {
            State::Syn => true,
            // A forged FIN with a forged SYN right behind it moves nothing.
            State::Closing => idle >= QUIET_MS,
            // Of a client that is idle, nothing tells a forged RST from its own.
            State::Reset => idle >= ENDED_LINGER_MS,
            _ => idle > timeouts.reuse,
        }
    }
}
