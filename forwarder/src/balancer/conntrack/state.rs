//! How far a flow has come, and how its packets change that.
//!
//! Only the client's packets pass here, and nothing of a sequence number is known. A forged packet of any
//! sequence number looks like a real one, so no single packet ends a flow or confirms one: time and the
//! packets that follow decide.

use super::super::time::Time;
use super::Entry;
use crate::wire::{Packet, protocol, tcp};

/// The time after which a packet tells that a flow goes on, in milliseconds. The packets of one burst, or
/// a packet that is sent twice, tell nothing. After the last FIN, the client acknowledges the server's FIN
/// within a round trip.
pub(super) const QUIET_MS: u32 = 1000;

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// TCP: a SYN, and nothing that told more.
    Syn,
    /// TCP after its SYN.
    Established,
    /// TCP: a FIN was seen, and no sign that the connection goes on.
    Closing,
    /// UDP.
    Udp,
    /// The flow began with another packet than a SYN, and only packets of the same moment followed.
    Unconfirmed,
    /// TCP: the client has sent its FIN, and still acknowledges what the server sends.
    HalfClosed,
    /// TCP: a RST was seen, and no other packet after it.
    Reset,
}

impl State {
    /// Every state, in the order of its number.
    pub const ALL: [State; 7] = [
        State::Syn,
        State::Established,
        State::Closing,
        State::Udp,
        State::Unconfirmed,
        State::HalfClosed,
        State::Reset,
    ];

    #[inline]
    pub(super) fn from_bits(bits: u32) -> State {
        match bits & 7 {
            0 => State::Syn,
            1 => State::Established,
            2 => State::Closing,
            3 => State::Udp,
            4 => State::Unconfirmed,
            5 => State::HalfClosed,
            _ => State::Reset,
        }
    }

    /// Whether the flow stays in its state with every packet that has none of SYN, FIN and RST.
    #[inline]
    pub(super) fn is_steady(bits: u32) -> bool {
        // The numbers of these three are odd, and the others are not.
        const _: () = assert!(
            State::Established as u8 == 1 && State::Udp as u8 == 3 && State::HalfClosed as u8 == 5
        );
        bits & 1 == 1
    }

    /// The state of a flow whose first packet this is, as far as this worker has seen.
    #[inline]
    pub fn first(packet: &Packet) -> State {
        if begins(packet) && !ends(packet) { State::Syn } else { State::Unconfirmed }
    }
}

/// Idle timeouts in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// By [`State`].
    pub idle: [u32; State::ALL.len()],
    /// A flow that was idle for longer may be a client's port that is used anew: a SYN then leaves a
    /// backend that drains.
    pub reuse: u32,
}

impl Timeouts {
    /// Those of a configuration that says nothing.
    pub const DEFAULT: Timeouts = Timeouts {
        idle: [60_000, 900_000, 240_000, 60_000, 60_000, 900_000, 240_000],
        reuse: 240_000,
    };

    /// The time in which no flow expires whose state is steady ([`Entry::is_steady`]).
    pub(in super::super) fn of_steady(&self) -> u32 {
        let of = |state| self.idle[state as usize];
        of(State::Established).min(of(State::Udp)).min(of(State::HalfClosed))
    }

    #[inline]
    pub(super) fn expired(&self, entry: Entry, now: Time) -> bool {
        entry.idle_ms(now) > self.idle[entry.state() as usize]
    }
}

impl Entry {
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

/// Whether a packet asks for a new connection.
#[inline]
pub fn begins(packet: &Packet) -> bool {
    packet.protocol == protocol::TCP && packet.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

/// Whether a packet ends a connection.
#[inline]
fn ends(packet: &Packet) -> bool {
    packet.tcp_flags & (tcp::FIN | tcp::RST) != 0
}

/// Whether a TCP packet has a byte behind its header.
fn has_data(packet: &Packet, frame: &[u8]) -> bool {
    let l4 = usize::from(packet.l4);
    let Some(&offset) = frame.get(l4 + 12) else { return false };
    l4 + usize::from(offset >> 4) * 4 < packet.end as usize
}
