//! The packet that an ICMP error quotes, and what the error says of it (RFC 792, RFC 1191, RFC 4443).
//!
//! ```text
//! IPv4:  IP header │ type, code, checksum, 4 bytes with the MTU in the last 2 │ IP header of the packet, 8 bytes or more
//! IPv6:              type, code, checksum, 4 bytes with the MTU               │ IP header of the packet, and more
//! ```
//!
//! Any host can send any bytes here. Only the quoted header of fixed length is read: a tunnel's packet begins with one of the
//! node's tunnel sources, and what follows its header is IP, GRE or UDP. IPv6 extension headers are none of the forwarder's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

const ICMP: u8 = 1;
/// What tunnels of the forwarder carry: IPv4, UDP, IPv6, GRE.
const CARRIED: [u8; 4] = [4, 17, 41, 47];
/// The length of the header of an ICMP error.
const ICMP_HEADER: usize = 8;

/// An ICMP error about a tunnel's packet. Its text is what to show: `host unreachable, says 192.0.2.254`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelError {
    /// The address that the packet went to: a backend's.
    pub destination: IpAddr,
    /// Who says it.
    pub by: IpAddr,
    /// What is wrong.
    pub cause: Cause,
}

/// What is wrong with a tunnel's packet, as an ICMP error says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is no route to its destination.
    Network,
    /// The destination's host does not answer its last router.
    Host,
    /// The host does not take this encapsulation: it knows no such protocol.
    Protocol,
    /// The host does not take this encapsulation: nobody listens at its port.
    Port,
    /// A filter refuses it.
    Prohibited,
    /// It is too big for the way.
    TooBig {
        /// The largest packet that the way takes, if that is told.
        mtu: Option<u32>,
    },
    /// Its hop limit did not suffice: a loop, as a rule.
    HopLimit,
    /// Not all of its fragments came.
    Fragments,
    /// Its header is not understood.
    Header,
    /// Unreachable for another reason, with this code.
    Unreachable {
        /// The code of ICMP's "destination unreachable".
        code: u8,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Network => "no route",
            Cause::Host => "host unreachable",
            Cause::Protocol => "protocol unreachable",
            Cause::Port => "port unreachable",
            Cause::Prohibited => "administratively prohibited",
            Cause::TooBig { mtu: None } => "packet too big",
            Cause::TooBig { mtu: Some(mtu) } => return write!(f, "packet too big, MTU {mtu}"),
            Cause::HopLimit => "hop limit exceeded",
            Cause::Fragments => "fragments missing",
            Cause::Header => "header not understood",
            Cause::Unreachable { code } => return write!(f, "unreachable, code {code}"),
        })
    }
}

impl fmt::Display for TunnelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, says {}", self.cause, self.by)
    }
}

/// What an IPv4 packet says, from its IP header on; none if it is no error about a packet from one of these sources.
pub(super) fn of_ipv4(packet: &[u8], sources: &[IpNet]) -> Option<TunnelError> {
    let header: &[u8; 20] = packet.first_chunk()?;
    if header[0] >> 4 != 4 || header[9] != ICMP {
        return None;
    }
    let message = packet.get(header_length(header)?..)?;
    // The kernel gives packets to raw sockets before it looks at the checksum.
    if checksum(message) != 0 {
        return None;
    }
    let (&[kind, code, _, _, _, _, mtu @ ..], quoted) =
        message.split_first_chunk::<ICMP_HEADER>()?;
    let cause = match (kind, code) {
        (3, 0 | 6 | 11) => Cause::Network,
        (3, 1 | 7 | 8 | 12) => Cause::Host,
        (3, 2) => Cause::Protocol,
        (3, 3) => Cause::Port,
        (3, 4) => Cause::TooBig { mtu: told(u16::from_be_bytes(mtu).into()) },
        (3, 9 | 10 | 13) => Cause::Prohibited,
        (3, code) => Cause::Unreachable { code },
        (11, 0) => Cause::HopLimit,
        (11, _) => Cause::Fragments,
        (12, _) => Cause::Header,
        _ => return None,
    };
    let quoted: &[u8; 20] = quoted.first_chunk()?;
    if quoted[0] >> 4 != 4 {
        return None;
    }
    header_length(quoted)?;
    let destination = tunnel(v4(quoted, 12), v4(quoted, 16), quoted[9], sources)?;
    Some(TunnelError { destination, by: v4(header, 12), cause })
}

/// What an ICMPv6 message from this address says; none if it is no error about a packet from one of these sources.
pub(super) fn of_ipv6(by: Ipv6Addr, message: &[u8], sources: &[IpNet]) -> Option<TunnelError> {
    let (&[kind, code, _, _, mtu @ ..], quoted) = message.split_first_chunk::<ICMP_HEADER>()?;
    let cause = match (kind, code) {
        (1, 0) => Cause::Network,
        (1, 1 | 5 | 6) => Cause::Prohibited,
        (1, 3) => Cause::Host,
        (1, 4) => Cause::Port,
        (1, code) => Cause::Unreachable { code },
        (2, _) => Cause::TooBig { mtu: told(u32::from_be_bytes(mtu)) },
        (3, 0) => Cause::HopLimit,
        (3, _) => Cause::Fragments,
        (4, 1) => Cause::Protocol,
        (4, _) => Cause::Header,
        _ => return None,
    };
    let quoted: &[u8; 40] = quoted.first_chunk()?;
    if quoted[0] >> 4 != 6 {
        return None;
    }
    let destination = tunnel(v6(quoted, 8), v6(quoted, 24), quoted[6], sources)?;
    Some(TunnelError { destination, by: by.into(), cause })
}

/// The destination of a packet that is a tunnel's.
fn tunnel(source: IpAddr, destination: IpAddr, carried: u8, sources: &[IpNet]) -> Option<IpAddr> {
    let is_ours = sources.iter().any(|of| of.contains(&source)) && CARRIED.contains(&carried);
    is_ours.then_some(destination)
}

/// Routers from before RFC 1191 say 0.
fn told(mtu: u32) -> Option<u32> {
    (mtu != 0).then_some(mtu)
}

/// The length of an IPv4 header; none if it is not valid.
fn header_length(header: &[u8; 20]) -> Option<usize> {
    Some(usize::from(header[0] & 15) * 4).filter(|&length| length >= header.len())
}

fn v4(header: &[u8; 20], at: usize) -> IpAddr {
    let address: [u8; 4] = std::array::from_fn(|n| header[at + n]);
    Ipv4Addr::from(address).into()
}

fn v6(header: &[u8; 40], at: usize) -> IpAddr {
    let address: [u8; 16] = std::array::from_fn(|n| header[at + n]);
    Ipv6Addr::from(address).into()
}

/// The Internet checksum (RFC 1071) of a message, which is 0 if its own one is right.
fn checksum(message: &[u8]) -> u16 {
    let (pairs, rest) = message.as_chunks::<2>();
    let mut sum: u64 = pairs.iter().map(|&pair| u64::from(u16::from_be_bytes(pair))).sum();
    sum += rest.first().map_or(0, |&last| u64::from(last) << 8);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sources() -> Vec<IpNet> {
        vec!["192.0.2.1/32".parse().unwrap(), "2001:db8::1/128".parse().unwrap()]
    }

    /// The header of a packet by GRE from 192.0.2.1 to 198.51.100.7, and the first 8 bytes that follow.
    fn outer_v4(protocol: u8) -> Vec<u8> {
        let mut header = vec![0x45, 0, 5, 220, 0, 0, 0x40, 0, 63, protocol, 0, 0];
        header.extend([192, 0, 2, 1, 198, 51, 100, 7]);
        header.extend([0, 0, 8, 0, 0x45, 0, 0, 60]);
        header
    }

    fn outer_v6(next: u8) -> Vec<u8> {
        let mut header = vec![0x60, 0, 0, 0, 0, 60, next, 63];
        header.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        header.extend("2001:db8:7::7".parse::<Ipv6Addr>().unwrap().octets());
        header
    }

    /// An ICMP error from 192.0.2.254, with a right checksum.
    fn error_v4(kind: u8, code: u8, mtu: u16, quoted: &[u8]) -> Vec<u8> {
        let [high, low] = mtu.to_be_bytes();
        let mut message = vec![kind, code, 0, 0, 0, 0, high, low];
        message.extend(quoted);
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        let mut packet = vec![0x45, 0xc0, 0, 0, 0, 0, 0, 0, 64, ICMP, 0, 0];
        packet.extend([192, 0, 2, 254, 192, 0, 2, 1]);
        packet.extend(message);
        packet
    }

    fn error_v6(kind: u8, code: u8, mtu: u32, quoted: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, code, 0, 0];
        message.extend(mtu.to_be_bytes());
        message.extend(quoted);
        message
    }

    fn router() -> Ipv6Addr {
        "2001:db8::254".parse().unwrap()
    }

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        // The example of RFC 1071, section 3.
        assert_eq!(!checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(!checksum(&[0x00, 0x01, 0xf2]), 0xf201, "an odd length");
    }

    #[test]
    fn ipv4_errors_in_words() {
        for (kind, code, mtu, words) in [
            (3, 0, 0, "no route, says 192.0.2.254"),
            (3, 1, 0, "host unreachable, says 192.0.2.254"),
            (3, 2, 0, "protocol unreachable, says 192.0.2.254"),
            (3, 3, 0, "port unreachable, says 192.0.2.254"),
            (3, 4, 1400, "packet too big, MTU 1400, says 192.0.2.254"),
            (3, 4, 0, "packet too big, says 192.0.2.254"),
            (3, 5, 0, "unreachable, code 5, says 192.0.2.254"),
            (3, 13, 0, "administratively prohibited, says 192.0.2.254"),
            (11, 0, 0, "hop limit exceeded, says 192.0.2.254"),
            (11, 1, 0, "fragments missing, says 192.0.2.254"),
            (12, 0, 0, "header not understood, says 192.0.2.254"),
        ] {
            let error = of_ipv4(&error_v4(kind, code, mtu, &outer_v4(47)), &sources()).unwrap();
            assert_eq!(error.to_string(), words);
            assert_eq!(error.destination.to_string(), "198.51.100.7");
        }
    }

    #[test]
    fn ipv6_errors_in_words() {
        for (kind, code, mtu, words) in [
            (1, 0, 0, "no route, says 2001:db8::254"),
            (1, 1, 0, "administratively prohibited, says 2001:db8::254"),
            (1, 2, 0, "unreachable, code 2, says 2001:db8::254"),
            (1, 3, 0, "host unreachable, says 2001:db8::254"),
            (1, 4, 0, "port unreachable, says 2001:db8::254"),
            (2, 0, 1280, "packet too big, MTU 1280, says 2001:db8::254"),
            (3, 0, 0, "hop limit exceeded, says 2001:db8::254"),
            (4, 1, 0, "protocol unreachable, says 2001:db8::254"),
            (4, 0, 0, "header not understood, says 2001:db8::254"),
        ] {
            let error =
                of_ipv6(router(), &error_v6(kind, code, mtu, &outer_v6(47)), &sources()).unwrap();
            assert_eq!(error.to_string(), words);
            assert_eq!(error.destination.to_string(), "2001:db8:7::7");
        }
    }

    #[test]
    fn every_tunnel_is_one_and_nothing_else() {
        let carried = |protocol| {
            let v4 = of_ipv4(&error_v4(3, 1, 0, &outer_v4(protocol)), &sources());
            let v6 = of_ipv6(router(), &error_v6(1, 3, 0, &outer_v6(protocol)), &sources());
            assert_eq!(v4.is_some(), v6.is_some());
            v4.is_some()
        };
        let found: Vec<u8> = (0..=255).filter(|&protocol| carried(protocol)).collect();
        assert_eq!(found, CARRIED);
    }

    #[test]
    fn what_is_no_error_about_a_tunnel_says_nothing() {
        let good = error_v4(3, 1, 0, &outer_v4(47));
        assert!(of_ipv4(&good, &sources()).is_some());
        let others = ["192.0.2.2/32".parse().unwrap()];
        assert_eq!(of_ipv4(&good, &others), None, "another source");
        assert_eq!(of_ipv4(&good, &[]), None);
        assert!(of_ipv4(&good, &["192.0.2.0/24".parse().unwrap()]).is_some(), "of a prefix");
        assert_eq!(of_ipv4(&error_v4(0, 0, 0, &outer_v4(47)), &sources()), None, "an echo reply");
        assert_eq!(of_ipv4(&error_v4(5, 1, 0, &outer_v4(47)), &sources()), None, "a redirect");
        assert_eq!(of_ipv6(router(), &error_v6(129, 0, 0, &outer_v6(47)), &sources()), None);
        assert_eq!(of_ipv4(&error_v4(3, 1, 0, &outer_v6(47)), &sources()), None, "IPv6 in it");
        assert_eq!(of_ipv6(router(), &error_v6(1, 3, 0, &outer_v4(47)), &sources()), None);
        let mut wrong = good.clone();
        wrong[24] ^= 1;
        assert_eq!(of_ipv4(&wrong, &sources()), None, "a wrong checksum");
        let mut short = outer_v4(47);
        short[0] = 0x44;
        assert_eq!(of_ipv4(&error_v4(3, 1, 0, &short), &sources()), None, "a header of 16 bytes");
    }

    #[test]
    fn an_error_that_is_cut_says_nothing() {
        let good = error_v4(3, 1, 0, &outer_v4(47));
        for length in 0..good.len() {
            // The checksum is wrong then, too; so it is made right below.
            assert_eq!(of_ipv4(&good[..length], &sources()), None, "{length}");
        }
        for length in 0..20 {
            let cut = error_v4(3, 1, 0, &outer_v4(47)[..length]);
            assert_eq!(of_ipv4(&cut, &sources()), None, "{length}");
        }
        assert!(of_ipv4(&error_v4(3, 1, 0, &outer_v4(47)[..20]), &sources()).is_some());
        let good = error_v6(1, 3, 0, &outer_v6(47));
        for length in 0..good.len() {
            assert_eq!(of_ipv6(router(), &good[..length], &sources()), None, "{length}");
        }
    }

    #[test]
    fn options_in_the_header_are_skipped() {
        let mut packet = error_v4(3, 1, 0, &outer_v4(47));
        packet[0] = 0x46;
        packet.splice(20..20, [1, 1, 1, 0]);
        assert!(of_ipv4(&packet, &sources()).is_some());
        packet[0] = 0x4f;
        assert_eq!(of_ipv4(&packet, &sources()), None, "longer than that");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let everything = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
            of_ipv4(&bytes, &everything);
            of_ipv6(router(), &bytes, &everything);
        }

        /// Bytes that come as far as they can: all but a few are those of a good error.
        #[test]
        fn an_error_that_somebody_has_changed_is_of_a_source_or_none(
            changes in proptest::collection::vec((0..48_usize, any::<u8>()), 0..4),
        ) {
            let mut quoted = outer_v4(47);
            for &(at, byte) in &changes {
                if let Some(place) = quoted.get_mut(at) {
                    *place = byte;
                }
            }
            let found = of_ipv4(&error_v4(3, 1, 0, &quoted), &sources());
            let is_tunnel = quoted[0] >> 4 == 4
                && quoted[0] & 15 >= 5
                && quoted[12..16] == [192, 0, 2, 1]
                && CARRIED.contains(&quoted[9]);
            prop_assert_eq!(found.is_some(), is_tunnel);
            let mut quoted = outer_v6(47);
            for &(at, byte) in &changes {
                if let Some(place) = quoted.get_mut(at) {
                    *place = byte;
                }
            }
            let found = of_ipv6(router(), &error_v6(1, 3, 0, &quoted), &sources());
            let source = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
            let is_tunnel =
                quoted[0] >> 4 == 6 && quoted[8..24] == source && CARRIED.contains(&quoted[6]);
            prop_assert_eq!(found.is_some(), is_tunnel);
        }
    }
}
