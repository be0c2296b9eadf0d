//! Verdicts: a packet that was received ends in exactly one of these.

use crate::named::named;
use crate::wire::Error as Malformed;

/// What became of a packet. A reply or a fragment that another worker transmits counts when it is handed to that
/// worker; `tx_full_late` counts those that the device then refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The packet was transmitted to a backend.
    Forwarded,
    /// The packet, a fragment, was transmitted to the cluster member that owns its datagram.
    Redirected,
    /// The packet was given to the kernel.
    Punted,
    /// The packet was turned into a reply, which was transmitted to its sender.
    Replied(Reply),
    /// The packet was dropped.
    Dropped(DropReason),
}

named! {
    /// What the sender of a packet got as a reply.
    pub enum Reply {
        /// Echo requests that got a reply.
        Echo = "echo_replied",
        /// Packets that do not fit the MTU, whose senders were sent "fragmentation needed" or "packet too big".
        TooBig = "too_big_replied",
        /// Packets without a service or a backend, whose senders were sent "port unreachable".
        Unreachable = "unreachable_replied",
        /// Packets with an unknown IPv6 option, whose senders were sent "parameter problem".
        ParameterProblem = "parameter_problem_replied",
        /// Packets without hops left, whose senders were sent "time exceeded".
        TimeExceeded = "time_exceeded_replied",
        /// TCP packets without a backend, whose senders were sent a RST.
        Reset = "reset_replied",
    }
}

/// [`DropReason`] from the balancer's own reasons, which [`named`] gives their names.
macro_rules! reasons {
    ($($(#[doc = $help:literal])+ $reason:ident = $name:literal,)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DropReason {
            $($(#[doc = $help])+ $reason,)+
            /// The frame is no well-formed IP packet.
            Malformed(Malformed),
        }

        impl DropReason {
            const OWN: &[DropReason] = &[$(DropReason::$reason,)+];

            #[inline]
            const fn index(self) -> usize {
                match self {
                    $(DropReason::$reason => Own::$reason.index(),)+
                    DropReason::Malformed(error) => Own::ALL.len() + error.index(),
                }
            }

            /// The reason's name in listings and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DropReason::$reason => $name,)+
                    DropReason::Malformed(error) => error.name(),
                }
            }

            /// What the reason means, in one line.
            pub fn help(self) -> &'static str {
                match self {
                    $(DropReason::$reason => Own::$reason.help(),)+
                    DropReason::Malformed(error) => error.help(),
                }
            }
        }

        named! {
            /// The reasons without [`DropReason::Malformed`], numbered in order.
            pub enum Own {
                $($(#[doc = $help])+ $reason = $name,)+
            }
        }
    };
}

reasons! {
    /// The frame is longer than a receive buffer.
    FrameTooLong = "frame_too_long",
    /// The mbuf's buffer has other references, or is not the mbuf's own.
    BufferShared = "buffer_shared",
    /// The frame is addressed to another MAC address.
    WrongMac = "wrong_mac",
    /// The frame is addressed to a group: forwarding it would multiply it.
    MulticastMac = "multicast_mac",
    /// The frame's source is the MAC address of one of the node's ports: it loops.
    LoopedFrame = "looped_frame",
    /// The source address belongs to no host, to this node itself, or to the link only (link-local).
    SourceInvalid = "source_invalid",
    /// No service has the destination address.
    NoVip = "no_vip",
    /// A service has the address, but not with this protocol and port.
    NoService = "no_service",
    /// To a virtual address, but neither TCP, UDP nor ICMP.
    UnsupportedProtocol = "unsupported_protocol",
    /// The service's pool has no backend that takes this packet.
    NoBackend = "no_backend",
    /// A SYN on a flow that its draining backend keeps: it is forged, or comes too early to be a new connection.
    BackendDraining = "backend_draining",
    /// The time of the backend's drain is over for the flow, and the packet got no reply.
    DrainOver = "drain_over",
    /// The next hop has no known MAC address.
    NextHopUnresolved = "next_hop_unresolved",
    /// The packet does not fit once encapsulated, and can neither be fragmented nor get a reply.
    ExceedsMtu = "exceeds_mtu",
    /// An ICMP error or a later fragment with no hops left, which must not get "time exceeded"; any other reply
    /// that is not allowed counts as `reply_forbidden`.
    HopLimitExceeded = "hop_limit_exceeded",
    /// The packet's buffer has no room for outer headers or a reply, or no buffer is free for a fragment.
    NoHeadroom = "no_headroom",
    /// The ring to another worker is full.
    RingFull = "ring_full",
    /// The device did not take the packet.
    TxFull = "tx_full",
    /// An echo request with a source route option: the reply would have to take that route backwards.
    SourceRouted = "source_routed",
    /// An echo request to an address whose services allow no reply.
    EchoDisabled = "echo_disabled",
    /// An ICMP message that is cut short or has a wrong checksum.
    IcmpMalformed = "icmp_malformed",
    /// ICMP of a type that is neither replied to nor forwarded to a backend.
    IcmpUnsupported = "icmp_unsupported",
    /// An ICMP error about a packet whose source is no service, or about an unknown flow of a pool on whose choices
    /// forwarders do not agree.
    IcmpUnknownFlow = "icmp_unknown_flow",
    /// An ICMP error about a packet that is no IP packet, or is cut short before its ports.
    IcmpEmbeddedMalformed = "icmp_embedded_malformed",
    /// An ICMP error about a fragment that has no ports.
    IcmpEmbeddedFragment = "icmp_embedded_fragment",
    /// A reply to the packet or to its source is not allowed (RFC 1122, RFC 4443); an ICMP error or a later
    /// fragment with no hops left counts as `hop_limit_exceeded`.
    ReplyForbidden = "reply_forbidden",
    /// A reply was due, but the allowance of replies (`icmp.rate`) was used up.
    ReplyLimited = "reply_limited",
    /// A reply was due, but an unknown IPv6 option of the packet demands that it be discarded in silence.
    Ipv6OptionUnknown = "ipv6_option_unknown",
    /// A "port unreachable" was due, but the packet's UDP checksum is wrong, or zero over IPv6.
    UdpChecksum = "udp_checksum",
    /// A RST was due, but the packet's TCP checksum is wrong.
    TcpChecksum = "tcp_checksum",
    /// A fragment whose offset or length is impossible.
    FragmentMalformed = "fragment_malformed",
    /// A fragment overlaps the first of its datagram.
    FragmentOverlap = "fragment_overlap",
    /// The fragment table has no entry for one more datagram.
    FragmentTableFull = "fragment_table_full",
    /// The buffer of fragments that wait for their first has no room.
    FragmentBufferFull = "fragment_buffer_full",
    /// The first fragment of the datagram did not arrive in time.
    FragmentTimeout = "fragment_timeout",
    /// A first fragment for a service that refuses fragments.
    FragmentRefused = "fragment_refused",
    /// The first fragment of the datagram was dropped.
    FragmentFirstDropped = "fragment_first_dropped",
    /// Encapsulated, for the node's tunnel address, but from none of its peers.
    TunnelUnknownPeer = "tunnel_unknown_peer",
    /// From a peer, but not well-formed, or of an encapsulation that is not supported.
    TunnelMalformed = "tunnel_malformed",
    /// Encapsulated twice for the node's tunnel address.
    TunnelNested = "tunnel_nested",
    /// The outer packet met congestion, and the inner one cannot carry the mark (RFC 6040).
    TunnelCongested = "tunnel_congested",
    /// For the kernel, of a routing protocol, but `punt.routing` was used up.
    PuntLimitedRouting = "punt_limited_routing",
    /// For the kernel, ARP or neighbour discovery, but `punt.neighbor` was used up.
    PuntLimitedNeighbor = "punt_limited_neighbor",
    /// For the kernel, an answer to one of the node's probes, but `punt.probe` was used up.
    PuntLimitedProbe = "punt_limited_probe",
    /// For the kernel, to an address of the node, but `punt.own` was used up.
    PuntLimitedOwn = "punt_limited_own",
    /// For the kernel, of a protocol of the link, but `punt.link_local` was used up.
    PuntLimitedLinkLocal = "punt_limited_link_local",
    /// For the kernel, to a group, but `punt.multicast` was used up.
    PuntLimitedMulticast = "punt_limited_multicast",
    /// The queue to the kernel is full.
    PuntQueueFull = "punt_queue_full",
}

impl Verdict {
    /// How many verdicts are no drops.
    const OTHERS: usize = 3 + Reply::ALL.len();

    /// How many verdicts there are.
    pub const COUNT: usize = Verdict::OTHERS + DropReason::OWN.len() + Malformed::ALL.len();

    /// Every verdict, in the order of its index.
    pub fn all() -> impl Iterator<Item = Verdict> {
        let malformed = Malformed::ALL.iter().map(|&error| DropReason::Malformed(error));
        [Verdict::Forwarded, Verdict::Redirected, Verdict::Punted]
            .into_iter()
            .chain(Reply::ALL.iter().copied().map(Verdict::Replied))
            .chain(DropReason::OWN.iter().copied().chain(malformed).map(Verdict::Dropped))
    }

    /// A number below [`Verdict::COUNT`], for counting.
    #[inline]
    pub const fn index(self) -> usize {
        match self {
            Verdict::Forwarded => 0,
            Verdict::Redirected => 1,
            Verdict::Punted => 2,
            Verdict::Replied(reply) => 3 + reply.index(),
            Verdict::Dropped(reason) => Verdict::OTHERS + reason.index(),
        }
    }

    /// The verdict's name in listings and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Forwarded => "forwarded",
            Verdict::Redirected => "redirected",
            Verdict::Punted => "punted",
            Verdict::Replied(reply) => reply.name(),
            Verdict::Dropped(reason) => reason.name(),
        }
    }

    /// What the verdict means, in one line.
    pub fn help(self) -> &'static str {
        match self {
            Verdict::Forwarded => "Packets that a device took for their backend.",
            Verdict::Redirected => {
                "Fragments that were sent to the cluster member that owns their datagram."
            }
            Verdict::Punted => "Packets that were given to the kernel.",
            Verdict::Replied(reply) => reply.help(),
            Verdict::Dropped(reason) => reason.help(),
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

    #[test]
    fn every_verdict_has_its_own_index_and_name() {
        let names: BTreeSet<_> = Verdict::all().map(Verdict::name).collect();
        assert_eq!(names.len(), Verdict::COUNT);
        assert!(Verdict::all().enumerate().all(|(i, verdict)| verdict.index() == i));
    }
}
