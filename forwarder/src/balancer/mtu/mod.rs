//! What to do about packets that do not fit once they are encapsulated: cut them ([`Fragments`]), or
//! see that they do not come ([`clamp_mss`]; the answers to those that may not be cut are in
//! [`super::reply`]).

mod fragments;
mod mss;

pub use fragments::{Fragments, OutgoingFragment};
pub use mss::{clamp as clamp_mss, mss_for};

/// Bytes of the longest inner IP packet that a port of this MTU can send with so many bytes before it.
pub fn inner_mtu(mtu: u16, overhead: usize) -> u16 {
    u16::try_from(overhead).map_or(0, |overhead| mtu.saturating_sub(overhead))
}
