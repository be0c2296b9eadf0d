//! Verdicts: a packet that was received ends in exactly one of these.

use crate::wire::Error as Malformed;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was transmitted to a backend.
    Forwarded,
    /// It was dropped.
    Dropped(Drop),
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// The frame is longer than a receive buffer.
    FrameTooLong,
    /// The frame is addressed to another MAC address.
    WrongMac,
    /// The frame is addressed to a group: forwarding it would multiply it.
    GroupMac,
    /// The frame is no well-formed IP packet.
    Malformed(Malformed),
    /// No service has the destination address.
    NoVip,
    /// A service has the address, but none this protocol and port.
    NoService,
    /// ICMP or ICMPv6 to a virtual address.
    Icmp,
    /// To a virtual address, but neither TCP, UDP nor ICMP.
    UnsupportedProtocol,
    /// A fragment to a virtual address.
    Fragment,
    /// The service's pool has no backend that takes this packet.
    NoBackend,
    /// The chosen backend's next hop has no known MAC address.
    NextHopUnresolved,
    /// Encapsulated, the packet would exceed the port's MTU.
    ExceedsMtu,
    /// The buffer has no room for the encapsulation.
    NoHeadroom,
    /// The ring to the worker that owns the flow, or the port, is full.
    RingFull,
    /// The device did not take the packet.
    TxFull,
}

impl Drop {
    const OWN: [Drop; 14] = [
        Drop::FrameTooLong,
        Drop::WrongMac,
        Drop::GroupMac,
        Drop::NoVip,
        Drop::NoService,
        Drop::Icmp,
        Drop::UnsupportedProtocol,
        Drop::Fragment,
        Drop::NoBackend,
        Drop::NextHopUnresolved,
        Drop::ExceedsMtu,
        Drop::NoHeadroom,
        Drop::RingFull,
        Drop::TxFull,
    ];

    #[inline]
    const fn index(self) -> usize {
        match self {
            Drop::FrameTooLong => 0,
            Drop::WrongMac => 1,
            Drop::GroupMac => 2,
            Drop::NoVip => 3,
            Drop::NoService => 4,
            Drop::Icmp => 5,
            Drop::UnsupportedProtocol => 6,
            Drop::Fragment => 7,
            Drop::NoBackend => 8,
            Drop::NextHopUnresolved => 9,
            Drop::ExceedsMtu => 10,
            Drop::NoHeadroom => 11,
            Drop::RingFull => 12,
            Drop::TxFull => 13,
            Drop::Malformed(error) => Drop::OWN.len() + error.index(),
        }
    }

    /// The reason's name in statistics.
    pub fn name(self) -> &'static str {
        match self {
            Drop::FrameTooLong => "frame_too_long",
            Drop::WrongMac => "wrong_mac",
            Drop::GroupMac => "group_mac",
            Drop::Malformed(error) => error.name(),
            Drop::NoVip => "no_vip",
            Drop::NoService => "no_service",
            Drop::Icmp => "icmp",
            Drop::UnsupportedProtocol => "unsupported_protocol",
            Drop::Fragment => "fragment",
            Drop::NoBackend => "no_backend",
            Drop::NextHopUnresolved => "next_hop_unresolved",
            Drop::ExceedsMtu => "exceeds_mtu",
            Drop::NoHeadroom => "no_headroom",
            Drop::RingFull => "ring_full",
            Drop::TxFull => "tx_full",
        }
    }
}

impl Verdict {
    /// How many verdicts there are.
    pub const COUNT: usize = 1 + Drop::OWN.len() + Malformed::ALL.len();

    /// Every verdict, in the order of its index.
    pub fn all() -> impl Iterator<Item = Verdict> {
        let malformed = Malformed::ALL.iter().map(|&e| Drop::Malformed(e));
        std::iter::once(Verdict::Forwarded)
            .chain(Drop::OWN.into_iter().chain(malformed).map(Verdict::Dropped))
    }

    /// A number below [`Verdict::COUNT`], for counting.
    #[inline]
    pub const fn index(self) -> usize {
        match self {
            Verdict::Forwarded => 0,
            Verdict::Dropped(drop) => 1 + drop.index(),
        }
    }

    /// The verdict's name in statistics.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Forwarded => "forwarded",
            Verdict::Dropped(drop) => drop.name(),
        }
    }
}

impl From<Malformed> for Drop {
    fn from(error: Malformed) -> Drop {
        Drop::Malformed(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::balancer::FlowEvent;

    #[test]
    fn every_verdict_has_its_own_index_and_name() {
        let names: BTreeSet<_> = Verdict::all().map(Verdict::name).collect();
        assert_eq!(names.len(), Verdict::COUNT);
        assert!(Verdict::all().enumerate().all(|(i, verdict)| verdict.index() == i));
    }

    /// An operator who meets a name must find what it means, and no name that does not exist.
    #[test]
    fn the_documentation_has_every_name_and_no_other() {
        let page = include_str!("../../../docs/operations.md");
        let rows = |heading: &str| -> BTreeSet<&str> {
            let (_, section) = page.split_once(heading).expect("the heading");
            let section = section.split("\n### ").next().unwrap_or_default();
            section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
        };
        let verdicts: BTreeSet<_> = Verdict::all().map(Verdict::name).collect();
        assert_eq!(rows("\n### Verdicts\n"), verdicts);
        let events: BTreeSet<_> = FlowEvent::ALL.into_iter().map(FlowEvent::name).collect();
        assert_eq!(rows("\n### Events\n"), events);
    }
}
