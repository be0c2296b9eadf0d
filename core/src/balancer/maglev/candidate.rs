//! What a Maglev table chooses from.

use std::net::IpAddr;

/// The number that stands for a candidate in the slots.
pub type Value = u32;

/// A backend or a member of the cluster that a table can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The source of its permutation: equal on every node, unique in the table.
    pub identity: [u8; 16],
    /// Its share in relation to the others. A candidate of weight 0 is never chosen.
    pub weight: u32,
    /// What [`super::Table::choose`] returns for it.
    pub value: Value,
}

/// The identity of a candidate by its address: 16 bytes, with IPv4 mapped into IPv6 (`::ffff:192.0.2.1`).
pub fn identity(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}
