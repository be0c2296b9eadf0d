//! What can be chosen from a table.

use std::net::IpAddr;

/// A number that a candidate stands for in the table.
pub type Value = u32;

/// One that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// What the permutation follows from: equal on every node, unique in the table.
    pub identity: [u8; 16],
    /// Its share in relation to the others'; 0 is never chosen.
    pub weight: u32,
    /// What [`Table::choose`] answers for it.
    pub value: Value,
}

/// The identity of whoever is told by an address: 16 bytes, that of IPv4 mapped into IPv6
/// (`::ffff:192.0.2.1`).
pub fn identity(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}
