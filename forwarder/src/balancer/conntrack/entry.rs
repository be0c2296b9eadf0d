//! One flow in the table: its backend, its state, and when its last packet came.

use super::super::id::BackendId;
use super::super::time::Time;
use super::state::{State, Timeouts, begins, ends, has_data};
use crate::wire::{Packet, protocol, tcp};

/// The time after which a packet tells that a flow goes on, in milliseconds. The packets of one burst, or
/// a packet that is sent twice, tell nothing. After the last FIN, the client acknowledges the server's FIN
/// within a round trip.
const QUIET_MS: u32 = 1000;

/// The value half of an entry, in two parts that are read and written each by itself: what is written in one
/// piece and read in another makes the reader wait until it is in the cache.
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

    /// A flow whose last packet came now.
    #[inline]
    pub fn new(backend: BackendId, state: State, now: Time) -> Entry {
        Entry { value: backend.get() << 8 | u32::from(state as u8), stamp: now.stamp() }
    }

    /// The backend that has the flow.
    #[inline]
    pub fn backend(self) -> BackendId {
        BackendId::new(self.value >> 8)
    }

    /// How far the flow has come.
    #[inline]
    pub fn state(self) -> State {
        State::from_bits(self.value)
    }

    /// Whether the flow stays in its state with every packet that neither begins nor ends one.
    #[inline]
    pub fn is_steady(self) -> bool {
        State::is_steady(self.value)
    }

    /// The entry with another backend.
    #[inline]
    pub fn moved_to(self, backend: BackendId) -> Entry {
        Entry { value: backend.get() << 8 | self.value & 0xff, ..self }
    }

    /// Notes the time of the flow's last packet.
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
    pub(super) fn has_expired(self, now: Time, timeouts: &Timeouts) -> bool {
        self.idle_ms(now) > timeouts.idle[self.state() as usize]
    }

    /// The entry after one more packet of its flow.
    ///
    /// An entry that waits for a sign that the flow goes on (`Unconfirmed`, `Closing`) keeps the time of the
    /// packet by which it began to wait, and has the sign with a packet that comes `QUIET_MS` after it.
    #[inline]
    pub fn after(self, packet: &Packet, frame: &[u8], now: Time) -> Entry {
        let state = self.state();
        if State::is_steady(self.value) && packet.tcp_flags & (tcp::FIN | tcp::RST) == 0 {
            // A SYN leaves an established flow as it is, so that a forged one cannot shorten its life.
            return Entry::new(self.backend(), state, now);
        }
        self.changed(state, packet, frame, now)
    }

    #[cold]
    fn changed(self, state: State, packet: &Packet, frame: &[u8], now: Time) -> Entry {
        let goes_on = self.idle_ms(now) >= QUIET_MS;
        let (syn, fin) = (begins(packet), packet.tcp_flags & tcp::FIN != 0);
        let rst = packet.tcp_flags & tcp::RST != 0;
        let next = match state {
            State::Udp => State::Udp,
            // What is not confirmed yet is not made to last by a packet that ends it.
            State::Syn if syn || fin || rst => State::Syn,
            State::Syn => State::Established,
            State::Unconfirmed if syn && !ends(packet) => State::Syn,
            State::Unconfirmed if !goes_on || rst => return self,
            State::Unconfirmed if packet.protocol != protocol::TCP => State::Udp,
            _ if rst => State::Reset,
            _ if fin => State::Closing,
            State::Closing | State::Reset if syn => State::Syn,
            // RFC 6146, section 3.5.2.2.
            State::Reset | State::Unconfirmed => State::Established,
            // A client has no data to send after its FIN, but for what was lost before it.
            State::Closing if has_data(packet, frame) => State::Established,
            State::Closing if goes_on => State::HalfClosed,
            State::Closing => return self,
            State::Established | State::HalfClosed => state,
        };
        Entry::new(self.backend(), next, now)
    }

    /// Whether a packet may ask for a new connection in the place of this flow, so that a backend that
    /// drains need not take it. A connection that lasts must not be moved by a forged SYN.
    #[inline]
    pub fn may_restart(self, packet: &Packet, now: Time, timeouts: &Timeouts) -> bool {
        begins(packet) && self.has_ended(now, timeouts)
    }

    #[cold]
    fn has_ended(self, now: Time, timeouts: &Timeouts) -> bool {
        let idle = self.idle_ms(now);
        match self.state() {
            State::Syn => true,
            // A forged FIN or RST with a forged SYN right behind it moves nothing.
            State::Closing | State::Reset => idle >= QUIET_MS,
            _ => idle > timeouts.reuse,
        }
    }
}
