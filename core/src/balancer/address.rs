//! IP addresses as tables hash and compare them: the family and one number.

use std::net::IpAddr;

use crate::wire::Family;

/// An address that is quick to hash. The family keeps `::ffff:192.0.2.1` and `192.0.2.1` apart.
pub(super) type Address = (Family, u128);

/// The [`Address`] of an IP address.
pub(super) fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(v4) => (Family::V4, u32::from(v4).into()),
        IpAddr::V6(v6) => (Family::V6, v6.into()),
    }
}
