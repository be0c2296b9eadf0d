//! IP in IP, with no header between: RFC 2003 (4 in 4), RFC 4213 (6 in 4), RFC 2473 (4 and 6 in 6).
//!
//! The outer header's protocol number is the inner family, over IPv4 and IPv6.

use super::inner::{Error, Family, Inner, inner};
use super::tunnel::{Carrier, Encapsulation, Settings, Tunnel};

/// IP over IP.
pub(super) const ENCAPSULATION: Encapsulation = Encapsulation {
    names: &["ipip"],
    tunnels: |_| {
        vec![
            Tunnel { carrier: Carrier::Ip(IPV4), decapsulate: decapsulate_ipv4 },
            Tunnel { carrier: Carrier::Ip(IPV6), decapsulate: decapsulate_ipv6 },
        ]
    },
};

/// The protocol number of an inner IPv4 packet.
pub(super) const IPV4: u8 = 4;
/// The protocol number of an inner IPv6 packet.
pub(super) const IPV6: u8 = 41;

fn decapsulate_ipv4(payload: &[u8], _: &Settings) -> Result<Inner, Error> {
    inner(Family::V4, payload, 0)
}

fn decapsulate_ipv6(payload: &[u8], _: &Settings) -> Result<Inner, Error> {
    inner(Family::V6, payload, 0)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{SETTINGS, SYN, V6, found};
    use super::*;

    #[test]
    fn the_protocol_is_the_family() {
        assert_eq!(decapsulate_ipv4(&SYN, &SETTINGS), found(Family::V4, 0, 40));
        assert_eq!(decapsulate_ipv6(&V6, &SETTINGS), found(Family::V6, 0, 48));
        assert_eq!(decapsulate_ipv4(&V6, &SETTINGS), Err(Error::InnerHeader));
        assert_eq!(decapsulate_ipv6(&SYN, &SETTINGS), Err(Error::InnerHeader));
        assert_eq!(decapsulate_ipv4(&[], &SETTINGS), Err(Error::InnerTruncated));
    }
}
