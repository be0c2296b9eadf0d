//! A second opinion on any bytes: `etherparse` and [`Packet::parse`] must agree on a frame.
//!
//! Unit tests check generated packets, the fuzz target everything else. Where the two differ by intent, the difference
//! is listed here. Every other difference panics.

use etherparse::{IpNumber, NetSlice, SlicedPacket, TransportSlice};

use super::{Error, Family, Fragment, Packet, plain};

/// What etherparse reads of an IP packet, in our terms.
struct Opinion {
    family: Family,
    l3: usize,
    l4: usize,
    end: usize,
    protocol: IpNumber,
    traffic_class: u8,
    addresses: (Vec<u8>, Vec<u8>),
    fragmented: bool,
    /// Whether it is a later fragment.
    later: bool,
    ports: (u16, u16),
    tcp_flags: u8,
    /// Whether etherparse takes a length of 0 for "to the end of the frame".
    unbounded: bool,
    udp_length: Option<u16>,
}

/// Panics if the two disagree about `frame`.
pub(super) fn check(frame: &[u8]) {
    let ours = Packet::parse(frame);
    if let Some(plain) = plain::read(frame).and_then(|headers| headers.packet(frame)) {
        assert_eq!(Ok(plain), ours, "the reader of plain packets disagrees");
    }
    let theirs = SlicedPacket::from_ethernet(frame);
    match (ours, theirs) {
        (Ok(packet), Ok(sliced)) => match Opinion::of(frame, &sliced) {
            Some(opinion) => opinion.confirm(frame, &packet),
            None => panic!("not IP to etherparse: {packet:?}"),
        },
        (Ok(packet), Err(error)) => {
            // etherparse reads more protocols than we do, follows authentication headers over IPv4, and reads on
            // behind the header of a later fragment.
            let deeper = matches!(packet.protocol, 1 | 2 | 51 | 58);
            let later = packet.family == Family::V6 && packet.fragment == Fragment::Later;
            let unbounded = packet.ip(frame).is_some_and(|ip| ip[4..6] == [0, 0]);
            let unbounded = unbounded && packet.family == Family::V6;
            assert!(deeper || later || unbounded, "etherparse reports {error}: {packet:?}");
        }
        (Err(error), Ok(sliced)) => {
            let opinion = Opinion::of(frame, &sliced);
            // etherparse follows a third ethertype for tags, and MACsec.
            let other_tag = |at| matches!(frame.get(at..at + 2), Some([0x91, 0x00] | [0x88, 0xe5]));
            let intended = match error {
                Error::Ipv4Checksum | Error::VlanTooDeep | Error::Ipv6ExtensionLimit => true,
                Error::NotIp => opinion.is_none() || [12, 16, 20].into_iter().any(other_tag),
                // etherparse does not read the transport of a fragment.
                Error::TransportTruncated | Error::TcpDataOffset => {
                    opinion.is_some_and(|opinion| opinion.fragmented || opinion.unbounded)
                }
                Error::UdpLength => opinion.is_some_and(|opinion| {
                    opinion.fragmented || opinion.unbounded || opinion.udp_length == Some(0)
                }),
                Error::FragmentTiny => opinion.is_some_and(|opinion| opinion.fragmented),
                Error::Ipv6ExtensionTruncated => opinion.is_some_and(|opinion| opinion.unbounded),
                _ => false,
            };
            assert!(intended, "only we report {}", error.name());
        }
        (Err(_), Err(_)) => {}
    }
}

impl Opinion {
    fn of(frame: &[u8], sliced: &SlicedPacket) -> Option<Opinion> {
        let offset_of = |part: &[u8]| part.as_ptr() as usize - frame.as_ptr() as usize;
        let (ports, tcp_flags, udp_length) = match &sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                ((tcp.source_port(), tcp.destination_port()), tcp.slice()[13], None)
            }
            Some(TransportSlice::Udp(udp)) => {
                ((udp.source_port(), udp.destination_port()), 0, Some(udp.length()))
            }
            _ => ((0, 0), 0, None),
        };
        let (family, l3, payload, traffic_class, addresses, later, unbounded) = match &sliced.net {
            Some(NetSlice::Ipv4(ip)) => {
                let header = ip.header();
                (
                    Family::V4,
                    offset_of(header.slice()),
                    ip.payload(),
                    header.dcp().value() << 2 | header.ecn().value(),
                    (header.source().to_vec(), header.destination().to_vec()),
                    header.fragments_offset().value() != 0,
                    false,
                )
            }
            Some(NetSlice::Ipv6(ip)) => {
                let header = ip.header();
                let later = ip.extensions().clone().into_iter().any(|extension| {
                    matches!(extension, etherparse::Ipv6ExtensionSlice::Fragment(fragment)
                        if fragment.fragment_offset().value() != 0)
                });
                (
                    Family::V6,
                    offset_of(header.slice()),
                    ip.payload(),
                    header.traffic_class(),
                    (header.source().to_vec(), header.destination().to_vec()),
                    later,
                    header.payload_length() == 0,
                )
            }
            _ => return None,
        };
        let l4 = offset_of(payload.payload);
        Some(Opinion {
            family,
            l3,
            l4,
            end: l4 + payload.payload.len(),
            protocol: payload.ip_number,
            traffic_class,
            addresses,
            fragmented: payload.fragmented,
            later,
            ports,
            tcp_flags,
            unbounded,
            udp_length,
        })
    }

    /// Compares all fields that both have.
    fn confirm(&self, frame: &[u8], packet: &Packet) {
        assert_eq!(packet.family, self.family);
        assert_eq!(usize::from(packet.l3), self.l3);
        assert_eq!(packet.traffic_class, self.traffic_class);
        let addresses = match packet.family {
            Family::V4 => packet.addresses_v4(frame).map(|(s, d)| (s.to_vec(), d.to_vec())),
            Family::V6 => packet.addresses_v6(frame).map(|(s, d)| (s.to_vec(), d.to_vec())),
        };
        assert_eq!(addresses.as_ref(), Some(&self.addresses));
        let fragment = match (self.fragmented, self.later) {
            (false, _) => Fragment::Whole,
            (true, false) => Fragment::First,
            (true, true) => Fragment::Later,
        };
        assert_eq!(packet.fragment, fragment);
        if self.unbounded {
            return;
        }
        assert_eq!(packet.end as usize, self.end);
        let behind_later = packet.family == Family::V6 && packet.fragment == Fragment::Later;
        let authentication = packet.family == Family::V4 && packet.protocol == 51;
        if behind_later || authentication {
            assert!(usize::from(packet.l4) <= self.l4);
            return;
        }
        assert_eq!(usize::from(packet.l4), self.l4);
        assert_eq!(packet.protocol, self.protocol.0);
        if packet.fragment == Fragment::Whole {
            assert_eq!((packet.source, packet.destination), self.ports);
            assert_eq!(packet.tcp_flags, self.tcp_flags);
        }
    }
}
