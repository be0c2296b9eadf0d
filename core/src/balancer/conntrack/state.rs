//! The states of a flow and their idle timeouts.
//!
//! Only the client's packets pass here, and sequence numbers are not checked. A forged packet looks like a real
//! one, so no single packet ends or confirms a flow: time and the packets that follow decide.

use crate::wire::plain::PlainHeaders;
use crate::wire::{Packet, protocol, tcp};

/// Flags of packets that may change the state of a flow.
pub(in super::super) const STATE_FLAGS: u8 = tcp::SYN | tcp::FIN | tcp::RST;

/// The state of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// TCP: a SYN, and no packet that confirms the connection.
    Syn,
    /// TCP after its SYN.
    Established,
    /// TCP: a FIN was seen, and no sign that the connection goes on.
    Closing,
    /// UDP.
    Udp,
    /// The flow did not begin with a SYN, and no later packet has confirmed it.
    Unconfirmed,
    /// TCP: the client has sent its FIN and still acknowledges what the server sends.
    HalfClosed,
    /// TCP: a RST was seen, and no other packet after it.
    Reset,
}

impl State {
    /// Every state, in the order of its discriminant.
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
        // Only these three have an odd discriminant.
        const _: () = assert!(
            State::Established as u8 == 1 && State::Udp as u8 == 3 && State::HalfClosed as u8 == 5
        );
        bits & 1 == 1
    }

    /// The state of a flow whose first packet, as far as this worker has seen, has these flags.
    #[inline]
    pub fn first(tcp_flags: u8) -> State {
        if begins(tcp_flags) && !ends(tcp_flags) { State::Syn } else { State::Unconfirmed }
    }
}

/// Idle timeouts in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Idle timeouts, by [`State`].
    pub idle: [u32; State::ALL.len()],
    /// After this idle time a SYN may be a new connection from a client port that is used again. It then leaves
    /// a draining backend.
    pub reuse: u32,
}

impl Timeouts {
    /// The timeouts of a configuration that sets none.
    pub const DEFAULT: Timeouts = Timeouts {
        idle: [60_000, 900_000, 240_000, 60_000, 60_000, 900_000, 240_000],
        reuse: 240_000,
    };

    /// The idle time in milliseconds up to which no flow of a steady state ([`super::Entry::is_steady`]) expires.
    pub(in super::super) fn of_steady(&self) -> u32 {
        let of = |state| self.idle[state as usize];
        of(State::Established).min(of(State::Udp)).min(of(State::HalfClosed))
    }
}

/// What a packet tells about its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The IP protocol number.
    pub protocol: u8,
    /// Flags of [`tcp`]; 0 for other protocols.
    pub tcp_flags: u8,
    /// Whether a TCP packet has a byte behind its header.
    pub has_data: bool,
}

impl Observed {
    /// What a packet tells that was parsed from this same frame.
    pub fn new(packet: &Packet, frame: &[u8]) -> Observed {
        let l4 = usize::from(packet.l4);
        let has_data = packet.protocol == protocol::TCP
            && frame
                .get(l4 + tcp::OFFSET)
                .is_some_and(|&offset| l4 + tcp::header_length(offset) < packet.end as usize);
        Observed { protocol: packet.protocol, tcp_flags: packet.tcp_flags, has_data }
    }

    /// What a plain packet tells that was read from this same frame.
    #[inline(always)]
    pub(in super::super) fn plain(headers: PlainHeaders, frame: &[u8]) -> Option<Observed> {
        let (protocol, length, transport) = headers.transport(frame)?;
        let has_data =
            protocol == protocol::TCP && tcp::header_length(transport[tcp::OFFSET]) < length;
        Some(Observed { protocol, tcp_flags: headers.tcp_flags, has_data })
    }
}

/// Whether a packet with these flags asks for a new connection. Packets that are not TCP's have none.
#[inline]
pub fn begins(tcp_flags: u8) -> bool {
    tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

/// Whether a packet with these flags ends a connection.
#[inline]
pub(super) fn ends(tcp_flags: u8) -> bool {
    tcp_flags & (tcp::FIN | tcp::RST) != 0
}
