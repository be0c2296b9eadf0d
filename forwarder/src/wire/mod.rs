//! Packet formats: bytes to named fields and back, one file a protocol.
//!
//! Each file has a `Header` (a `#[repr(C)]` view without padding or alignment, so that it lies directly on
//! the bytes of a frame), the protocol's numbers and its tests. [`Packet::parse`] is the one pass that the
//! packet path makes over a frame; everything else serves building, the slow path and tests.
//!
//! Any bytes become a value or a named [`Error`]; nothing here panics, allocates or keeps state.
#![forbid(unsafe_code)]

#[cfg(test)]
mod agreement;
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
mod packet;
pub mod plain;
#[cfg(test)]
mod properties;
pub mod tcp;
pub mod udp;
pub mod vlan;

pub use checksum::Checksum;
pub use error::Error;
pub use packet::{Family, Fragment, Packet};

/// IP protocol numbers (IANA), the same for IPv4's protocol and IPv6's next header.
pub mod protocol {
    /// ICMP, RFC 792
    pub const ICMP: u8 = 1;
    /// IPv4 in IP, RFC 2003
    pub const IPV4: u8 = 4;
    /// TCP, RFC 9293
    pub const TCP: u8 = 6;
    /// UDP, RFC 768
    pub const UDP: u8 = 17;
    /// IPv6 in IP, RFC 2473
    pub const IPV6: u8 = 41;
    /// GRE, RFC 2784
    pub const GRE: u8 = 47;
    /// Encapsulating security payload, RFC 4303
    pub const ESP: u8 = 50;
    /// ICMPv6, RFC 4443
    pub const ICMPV6: u8 = 58;
}
