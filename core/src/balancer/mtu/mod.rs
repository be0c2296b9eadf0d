//! Packets that do not fit once they are encapsulated: fragment them ([`Fragments`]), or avoid them
//! ([`clamp_mss`]). The errors about packets that must not be fragmented are in [`super::reply`].

mod fragments;
mod mss;

pub use fragments::{Fragments, OutgoingFragment};
pub use mss::{clamp as clamp_mss, mss_for};

/// The length of the longest inner IP packet that a port of this MTU can send with `overhead` bytes before it.
pub fn inner_mtu(mtu: u16, overhead: usize) -> u16 {
    u16::try_from(overhead).map_or(0, |overhead| mtu.saturating_sub(overhead))
}
