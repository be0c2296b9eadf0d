//! Verdicts: a packet that was received ends in exactly one of these.

use crate::wire::Error as Malformed;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was transmitted to a backend.
    Forwarded,
    /// A fragment was transmitted to the member of the cluster that gathers its datagram.
    Redirected,
    /// It was answered: what was transmitted goes to its sender.
    Replied(Reply),
    /// It was dropped.
    Dropped(DropReason),
}

/// What a packet was answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An echo reply.
    Echo,
    /// An error: IPv4's "fragmentation needed" or IPv6's "packet too big".
    TooBig,
    /// An error: "port unreachable".
    Unreachable,
    /// An error: ICMPv6's "parameter problem".
    ParameterProblem,
    /// An error: "time exceeded".
    TimeExceeded,
}

impl Reply {
    const ALL: [Reply; 5] = [
        Reply::Echo,
        Reply::TooBig,
        Reply::Unreachable,
        Reply::ParameterProblem,
        Reply::TimeExceeded,
    ];

    /// The answer's name in statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Reply::Echo => "echo_answered",
            Reply::TooBig => "too_big_answered",
            Reply::Unreachable => "unreachable_answered",
            Reply::ParameterProblem => "parameter_problem_answered",
            Reply::TimeExceeded => "time_exceeded_answered",
        }
    }
}

/// The reasons of the forwarder's own, each with its name in statistics: a new one is a line here, a
/// row in `docs/operations.md`, and no more.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $reason:ident = $name:literal,)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DropReason {
            $($(#[$doc])+ $reason,)+
            /// The frame is no well-formed IP packet.
            Malformed(Malformed),
        }

        impl DropReason {
            const OWN: &[DropReason] = &[$(DropReason::$reason,)+];

            #[inline]
            const fn index(self) -> usize {
                /// The reasons alone, numbered in order.
                enum Number { $($reason,)+ }
                match self {
                    $(DropReason::$reason => Number::$reason as usize,)+
                    DropReason::Malformed(error) => DropReason::OWN.len() + error.index(),
                }
            }

            /// The reason's name in statistics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DropReason::$reason => $name,)+
                    DropReason::Malformed(error) => error.name(),
                }
            }
        }
    };
}

reasons! {
    /// The frame is longer than a receive buffer.
    FrameTooLong = "frame_too_long",
    /// Others than the worker may write to the frame's buffer.
    BufferShared = "buffer_shared",
    /// The frame is addressed to another MAC address.
    WrongMac = "wrong_mac",
    /// The frame is addressed to a group: forwarding it would multiply it.
    MulticastMac = "group_mac",
    /// The frame was sent by one of our own ports: it loops.
    LoopedFrame = "own_frame",
    /// No host has the source address, or none that is not on the link.
    SourceInvalid = "source_invalid",
    /// No service has the destination address.
    NoVip = "no_vip",
    /// A service has the address, but none this protocol and port.
    NoService = "no_service",
    /// To a virtual address, but neither TCP, UDP nor ICMP.
    UnsupportedProtocol = "unsupported_protocol",
    /// The service's pool has no backend that takes this packet.
    NoBackend = "no_backend",
    /// The next hop has no known MAC address.
    NextHopUnresolved = "next_hop_unresolved",
    /// Encapsulated, the packet would exceed the port's MTU, and it cannot be cut.
    ExceedsMtu = "exceeds_mtu",
    /// It has used up its hops, and its sender must not be told.
    HopLimitExceeded = "hop_limit_exceeded",
    /// The buffer has no room for the encapsulation, or there is none left for a piece.
    NoHeadroom = "no_headroom",
    /// The ring to another worker is full.
    RingFull = "ring_full",
    /// The device did not take the packet.
    TxFull = "tx_full",
    /// An echo request with a route to follow, which an answer would have to take backwards.
    SourceRouted = "source_routed",
    /// An echo request to an address whose services do not let it be answered.
    EchoDisabled = "echo_off",
    /// An ICMP message that is cut short or has a wrong checksum.
    IcmpMalformed = "icmp_malformed",
    /// ICMP of a type that is neither answered nor steered.
    IcmpUnsupported = "icmp_unsupported",
    /// An ICMP error about a packet that no service has sent.
    IcmpUnknownFlow = "icmp_foreign",
    /// An ICMP error about a packet that is no IP packet, or is cut short before its ports.
    IcmpEmbeddedMalformed = "embedded_malformed",
    /// An ICMP error about a fragment that has no ports.
    IcmpEmbeddedFragment = "embedded_fragment",
    /// It would be answered with an error, but must not be (RFC 1122, RFC 4443).
    ReplyForbidden = "answer_forbidden",
    /// It would be answered, but there were too many answers of late.
    ReplyLimited = "answer_limited",
    /// It would be answered, but has an IPv6 option that is unknown and asks to be discarded.
    Ipv6OptionUnknown = "option_unknown",
    /// It would be answered, but its UDP checksum is wrong, or zero over IPv6.
    UdpChecksum = "udp_checksum",
    /// A fragment that no datagram has.
    FragmentMalformed = "fragment_malformed",
    /// A fragment overlaps the first of its datagram.
    FragmentOverlap = "fragment_overlap",
    /// The fragment table has no place for one more datagram.
    FragmentTableFull = "fragment_table_full",
    /// The buffer of fragments that wait for their first has no room.
    FragmentBufferFull = "fragment_buffer_full",
    /// The first fragment did not come in time.
    FragmentTimeout = "fragment_timeout",
    /// The service takes no fragments.
    FragmentRefused = "fragment_refused",
    /// The first fragment of the datagram was dropped.
    FragmentFirstDropped = "fragment_of_dropped",
    /// Encapsulated, for the node's tunnel address, but from none of its peers.
    TunnelUnknownPeer = "tunnel_foreign",
    /// From a peer, but not well-formed, or of an encapsulation that is not taken.
    TunnelMalformed = "tunnel_malformed",
    /// Encapsulated once more, for the node's tunnel address again.
    TunnelNested = "tunnel_nested",
    /// The tunnel met congestion, and the packet inside cannot say so (RFC 6040).
    TunnelCongested = "tunnel_congested",
}

impl Verdict {
    /// Verdicts that are no drops.
    const OTHERS: usize = 2 + Reply::ALL.len();

    /// How many verdicts there are.
    pub const COUNT: usize = Verdict::OTHERS + DropReason::OWN.len() + Malformed::ALL.len();

    /// Every verdict, in the order of its index.
    pub fn all() -> impl Iterator<Item = Verdict> {
        let malformed = Malformed::ALL.iter().map(|&e| DropReason::Malformed(e));
        [Verdict::Forwarded, Verdict::Redirected]
            .into_iter()
            .chain(Reply::ALL.into_iter().map(Verdict::Replied))
            .chain(DropReason::OWN.iter().copied().chain(malformed).map(Verdict::Dropped))
    }

    /// A number below [`Verdict::COUNT`], for counting.
    #[inline]
    pub const fn index(self) -> usize {
        match self {
            Verdict::Forwarded => 0,
            Verdict::Redirected => 1,
            Verdict::Replied(answer) => 2 + answer as usize,
            Verdict::Dropped(drop) => Verdict::OTHERS + drop.index(),
        }
    }

    /// The verdict's name in statistics.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Forwarded => "forwarded",
            Verdict::Redirected => "redirected",
            Verdict::Replied(answer) => answer.name(),
            Verdict::Dropped(drop) => drop.name(),
        }
    }
}

impl From<Malformed> for DropReason {
    fn from(error: Malformed) -> DropReason {
        DropReason::Malformed(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::stats::Event;

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
        let events: BTreeSet<_> = Event::all().map(Event::name).collect();
        assert_eq!(rows("\n### Events\n"), events);
    }
}
