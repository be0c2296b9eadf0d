//! Packet formats: bytes to named fields and back, one file for each protocol.
//!
//! Each file has a `Header` (a `#[repr(C)]` view without padding or alignment, which lies directly on the bytes of a
//! frame), the protocol's numbers and its tests. [`Packet::parse`] reads any frame, [`plain`] only plain packets, but
//! faster. Everything else serves replies, encapsulation, rare packets and tests.
//!
//! Any bytes become a value or a named [`Error`]. Nothing here panics, allocates or keeps state.
#![forbid(unsafe_code)]

#[cfg(test)]
mod agreement;
pub mod arp;
pub mod checksum;
mod error;
pub mod ethernet;
pub mod fragment;
pub mod gre;
pub mod hops;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
mod kind;
pub mod neighbor;
mod packet;
pub mod plain;
#[cfg(test)]
mod properties;
pub mod protocol;
pub mod tcp;
pub mod udp;
pub mod vlan;

pub use checksum::Checksum;
pub use error::Error;
pub use kind::{Family, Fragment};
pub use packet::Packet;
