//! What must hold of [`Packet::parse`] for every frame: packets that `etherparse` builds are read as built, and any
//! bytes give a value or an error that `etherparse` confirms.

use etherparse::{
    IpAuthHeader, IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv4Options,
    Ipv6Extensions, Ipv6FlowLabel, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader,
    Ipv6RoutingExtensions, PacketBuilder, TcpHeader, VlanId,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{Checksum, Family, Fragment, Packet, agreement, plain, tcp};

/// The fields of a generated frame.
#[derive(Clone, Debug)]
struct Plan {
    tags: usize,
    ip: IpHeaders,
    traffic_class: u8,
    ports: (u16, u16),
    /// TCP flags and options; `None` for UDP.
    tcp: Option<(u8, Vec<u8>)>,
    data: Vec<u8>,
    padding: usize,
}

fn v4() -> impl Strategy<Value = (IpHeaders, u8)> {
    let options = vec(any::<u32>(), 0..=10);
    (any::<[u8; 4]>(), any::<[u8; 4]>(), any::<u8>(), any::<u16>(), any::<bool>(), options)
        .prop_map(|(source, destination, class, identification, dont_fragment, options)| {
            let options: Vec<u8> = options.into_iter().flat_map(u32::to_be_bytes).collect();
            let header = Ipv4Header {
                dscp: (class >> 2).try_into().unwrap(),
                ecn: (class & 3).try_into().unwrap(),
                identification,
                dont_fragment,
                time_to_live: 64,
                source,
                destination,
                options: Ipv4Options::try_from(&options[..]).unwrap(),
                ..Ipv4Header::default()
            };
            (IpHeaders::Ipv4(header, Ipv4Extensions::default()), class)
        })
}

fn v6() -> impl Strategy<Value = (IpHeaders, u8)> {
    // A raw extension header has 6 bytes behind the first two, then units of 8.
    let raw = || {
        (0usize..4).prop_map(|units| {
            Ipv6RawExtHeader::new_raw(IpNumber(0), &vec![0; 6 + units * 8]).unwrap()
        })
    };
    let routing = (raw(), option::of(raw())).prop_map(|(routing, final_destination_options)| {
        Ipv6RoutingExtensions { routing, final_destination_options }
    });
    // An atomic fragment: what follows is whole.
    let fragment = any::<u32>().prop_map(|identification| {
        Ipv6FragmentHeader::new(IpNumber(0), IpFragOffset::ZERO, false, identification)
    });
    let auth = (0usize..4)
        .prop_map(|words| IpAuthHeader::new(IpNumber(0), 1, 2, &vec![3; 4 + words * 8]).unwrap());
    let extensions = (
        option::of(raw()),
        option::of(raw()),
        option::of(routing),
        option::of(fragment),
        option::of(auth),
    );
    (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u8>(), 0u32..1 << 20, extensions).prop_map(
        |(source, destination, class, flow, (hop_by_hop, options, routing, fragment, auth))| {
            let header = Ipv6Header {
                traffic_class: class,
                flow_label: Ipv6FlowLabel::try_new(flow).unwrap(),
                hop_limit: 64,
                source,
                destination,
                ..Ipv6Header::default()
            };
            let extensions = Ipv6Extensions {
                hop_by_hop_options: hop_by_hop,
                destination_options: options,
                routing,
                fragment,
                auth,
            };
            (IpHeaders::Ipv6(header, extensions), class)
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let tcp = (any::<u8>(), (0usize..=10).prop_map(|words| vec![1; words * 4]));
    let data = vec(any::<u8>(), 0..64);
    (0usize..=2, prop_oneof![v4(), v6()], any::<(u16, u16)>(), option::of(tcp), data, 0usize..32)
        .prop_map(|(tags, (ip, traffic_class), ports, tcp, data, padding)| Plan {
            tags,
            ip,
            traffic_class,
            ports,
            tcp,
            data,
            padding,
        })
}

impl Plan {
    fn build(&self) -> Vec<u8> {
        let id = VlanId::try_new(100).unwrap();
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let ip = match self.tags {
            0 => ethernet.ip(self.ip.clone()),
            1 => ethernet.single_vlan(id).ip(self.ip.clone()),
            _ => ethernet.double_vlan(id, id).ip(self.ip.clone()),
        };
        let (source, destination) = self.ports;
        let mut frame = Vec::new();
        match &self.tcp {
            Some((flags, options)) => {
                let mut header = TcpHeader::new(source, destination, 1, 1024);
                header.set_options_raw(options).unwrap();
                header.fin = flags & tcp::FIN != 0;
                header.syn = flags & tcp::SYN != 0;
                header.rst = flags & tcp::RST != 0;
                header.psh = flags & tcp::PSH != 0;
                header.ack = flags & tcp::ACK != 0;
                header.urg = flags & tcp::URG != 0;
                header.ece = flags & tcp::ECE != 0;
                header.cwr = flags & tcp::CWR != 0;
                ip.tcp_header(header).write(&mut frame, &self.data).unwrap();
            }
            None => ip.udp(source, destination).write(&mut frame, &self.data).unwrap(),
        }
        frame.resize(frame.len() + self.padding, 0);
        frame
    }
}

proptest! {
    #[test]
    fn packets_are_read_as_built(plan in plan()) {
        let frame = plan.build();
        let packet = Packet::parse(&frame).unwrap();
        let family = match plan.ip {
            IpHeaders::Ipv4(..) => Family::V4,
            IpHeaders::Ipv6(..) => Family::V6,
        };
        let l3 = 14 + 4 * plan.tags;
        let (protocol, flags, transport) = match &plan.tcp {
            Some((flags, options)) => (6, *flags, 20 + options.len()),
            None => (17, 0, 8),
        };
        prop_assert_eq!(packet.family, family);
        prop_assert_eq!(usize::from(packet.l3), l3);
        prop_assert_eq!(usize::from(packet.l4), l3 + plan.ip.header_len());
        prop_assert_eq!(packet.end as usize, frame.len() - plan.padding);
        prop_assert_eq!(packet.payload(&frame).unwrap().len(), transport + plan.data.len());
        prop_assert_eq!((packet.protocol, packet.tcp_flags), (protocol, flags));
        prop_assert_eq!((packet.source, packet.destination), plan.ports);
        prop_assert_eq!(packet.traffic_class, plan.traffic_class);
        prop_assert_eq!(packet.fragment, Fragment::Whole);
        let (bare, head) = match family {
            Family::V4 => (20, plain::HEAD_V4),
            Family::V6 => (40, plain::HEAD_V6),
        };
        let is_plain =
            plan.tags <= 2 && plan.ip.header_len() == bare && frame.len() >= head + 4 * plan.tags;
        prop_assert_eq!(plain::read(&frame).is_some(), is_plain);
        agreement::check(&frame);
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(frame in vec(any::<u8>(), 0..200)) {
        agreement::check(&frame);
    }

    #[test]
    fn damaged_packets_give_a_value_or_an_error(
        plan in plan(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let mut frame = plan.build();
        for (at, byte) in damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()));
        }
        agreement::check(&frame);
    }

    /// With a right header checksum the parser does not see the damage at once.
    #[test]
    fn damage_under_a_right_checksum_gives_a_value_or_an_error(
        plan in plan(),
        damage in vec((12usize..50, any::<u8>()), 1..4),
    ) {
        let mut frame = plan.build();
        for (at, byte) in damage {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        let length = usize::from(frame[14] & 0xf) * 4;
        if let Some(header) = frame.get_mut(14..14 + length.max(20)) {
            header[10..12].fill(0);
            let checksum = Checksum::of(header).to_be_bytes();
            header[10..12].copy_from_slice(&checksum);
        }
        agreement::check(&frame);
    }

    #[test]
    fn offsets_lie_in_order_inside_the_frame(
        plan in plan(),
        damage in vec((0usize..100, any::<u8>()), 0..4),
    ) {
        let mut frame = plan.build();
        for (at, byte) in damage {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        if let Ok(packet) = Packet::parse(&frame) {
            prop_assert!(packet.l3 < packet.l4);
            prop_assert!(u32::from(packet.l4) <= packet.end);
            prop_assert!(packet.end as usize <= frame.len());
        }
    }

    /// The accessors of a packet return something for any other frame, if only `None`.
    #[test]
    fn another_frame_never_panics(plan in plan(), other in vec(any::<u8>(), 0..100)) {
        let packet = Packet::parse(&plan.build()).unwrap();
        let _ = packet.addresses_v4(&other);
        let _ = packet.addresses_v6(&other);
        let fits = packet.end as usize <= other.len();
        prop_assert_eq!(packet.ip(&other).is_some(), fits);
        prop_assert_eq!(packet.payload(&other).is_some(), fits);
    }
}
