//! Packet counters: `received` is always `delivered` plus all `dropped_*`.

use std::fmt;

use crate::decapsulation::Error;

/// Packets received, by outcome.
#[derive(Debug)]
pub(crate) struct Counters {
    received: u64,
    delivered: u64,
    bytes: u64,
    dropped: [u64; Drop::ALL.len()],
    /// Packets delivered, by encapsulation.
    by: Vec<(&'static str, u64)>,
}

/// Why a packet did not reach the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drop {
    /// The outer source is within no `--peer`.
    Peer,
    /// The tunnel header is malformed or needs something that the agent does not support.
    Tunnel,
    /// The tunnel's checksum is wrong.
    Checksum,
    /// The tunnel carries neither IPv4 nor IPv6.
    Protocol,
    /// The tunnel belongs to another virtual network than `--vni`.
    Network,
    /// The inner packet is malformed or truncated.
    Inner,
    /// The inner destination is none of `--vip`.
    Vip,
    /// The outer header is marked for congestion, and the inner transport does not use ECN (RFC
    /// 6040).
    Congestion,
    /// The TUN device did not accept the packet.
    Device,
}

impl Drop {
    const ALL: [Drop; 9] = [
        Drop::Peer,
        Drop::Tunnel,
        Drop::Checksum,
        Drop::Protocol,
        Drop::Network,
        Drop::Inner,
        Drop::Vip,
        Drop::Congestion,
        Drop::Device,
    ];

    fn name(self) -> &'static str {
        match self {
            Drop::Peer => "peer",
            Drop::Tunnel => "tunnel",
            Drop::Checksum => "checksum",
            Drop::Protocol => "protocol",
            Drop::Network => "network",
            Drop::Inner => "inner",
            Drop::Vip => "vip",
            Drop::Congestion => "congestion",
            Drop::Device => "device",
        }
    }
}

impl From<Error> for Drop {
    fn from(error: Error) -> Self {
        match error {
            Error::Truncated | Error::Version(_) | Error::Flags(_) => Drop::Tunnel,
            Error::Checksum => Drop::Checksum,
            Error::Protocol(_) => Drop::Protocol,
            Error::Network(_) => Drop::Network,
            Error::InnerHeader | Error::InnerTruncated => Drop::Inner,
        }
    }
}

impl Counters {
    /// Zero counters, for these encapsulations.
    pub(crate) fn new(encapsulations: Vec<&'static str>) -> Self {
        Counters {
            received: 0,
            delivered: 0,
            bytes: 0,
            dropped: [0; Drop::ALL.len()],
            by: encapsulations.into_iter().map(|name| (name, 0)).collect(),
        }
    }

    /// Counts one packet. `encapsulation` is an index into the list given to [`Counters::new`];
    /// `outcome` is the number of inner bytes delivered, or why the packet was dropped.
    pub(crate) fn count(&mut self, encapsulation: usize, outcome: Result<usize, Drop>) {
        self.received += 1;
        match outcome {
            Ok(bytes) => {
                self.delivered += 1;
                self.bytes += bytes as u64;
                self.by[encapsulation].1 += 1;
            }
            Err(reason) => self.dropped[reason as usize] += 1,
        }
    }
}

/// One line of `name=value` pairs, for people and scripts.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "received={} delivered={} bytes={}", self.received, self.delivered, self.bytes)?;
        for reason in Drop::ALL {
            write!(f, " dropped_{}={}", reason.name(), self.dropped[reason as usize])?;
        }
        for (name, count) in &self.by {
            write!(f, " by_{name}={count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_one_line() {
        let mut counters = Counters::new(vec!["gre", "gre-udp"]);
        counters.count(1, Ok(40));
        counters.count(0, Err(Drop::Device));
        counters.count(0, Err(Error::Version(1).into()));
        assert_eq!(
            counters.to_string(),
            "received=3 delivered=1 bytes=40 dropped_peer=0 dropped_tunnel=1 dropped_checksum=0 \
             dropped_protocol=0 dropped_network=0 dropped_inner=0 dropped_vip=0 \
             dropped_congestion=0 dropped_device=1 by_gre=0 by_gre-udp=1"
        );
    }

    #[test]
    fn every_reason_has_its_own_counter() {
        for (index, reason) in Drop::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
