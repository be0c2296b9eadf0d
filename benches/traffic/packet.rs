//! The packets: frames as a device delivers them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{IpHeaders, Ipv4Header, Ipv6Header, PacketBuilder, VlanId};

use super::kind::{Addressee, Ip, Kind, Transport};

/// The address of the worker's port.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The address of the next hop, which sends the packets too.
pub const PEER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
/// The port of all services.
pub const SERVICE_PORT: u16 = 80;
/// A port of no service.
const CLOSED_PORT: u16 = 81;
/// The VLAN of frames with one tag, and the inner one of those with two.
const VLAN: u16 = 100;
/// The outer VLAN of frames with two tags.
const OUTER_VLAN: u16 = 300;
/// The least length of an Ethernet frame without its checksum.
const SHORTEST: usize = 60;

/// The address of a service. All differ, and they are irregular: a hash may suit regular addresses too
/// well.
pub fn virtual_address(ip: Ip, service: u32) -> IpAddr {
    let mixed = service.wrapping_mul(0x9e_3779) & 0xff_ffff;
    let host = (mixed ^ mixed >> 12).wrapping_mul(0x85_ebcb) & 0xff_ffff;
    match ip {
        Ip::V4 => Ipv4Addr::from_bits(0xcb00_0000 | host).into(),
        Ip::V6 => Ipv6Addr::from_bits(0x2001_0db8_000f << 80 | u128::from(host)).into(),
    }
}

/// The destination address of packets to the service with this number, or to nobody.
pub fn destination(kind: Kind, service: u32) -> IpAddr {
    let is_nobody = kind.addressee == Addressee::Nobody;
    virtual_address(kind.inner, service + if is_nobody { kind.services } else { 0 })
}

/// The packet of the flow with this number.
pub fn frame(kind: Kind, number: usize) -> Vec<u8> {
    let kind = kind.of_packet(number);
    let number = u32::try_from(number).expect("far fewer packets");
    let source_port = u16::try_from(1024 + number % 60_000).expect("below 65536");
    let port = if kind.addressee == Addressee::ClosedPort { CLOSED_PORT } else { SERVICE_PORT };
    let link = PacketBuilder::ethernet2(PEER, MAC);
    let ip = ip_header(kind, number);
    let vlan = |identifier| VlanId::try_new(identifier).expect("12 bits");
    let network = match kind.tags {
        0 => link.ip(ip),
        1 => link.single_vlan(vlan(VLAN)).ip(ip),
        _ => link.double_vlan(vlan(OUTER_VLAN), vlan(VLAN)).ip(ip),
    };
    let mut frame = Vec::new();
    let written = if kind.transport == Transport::Udp {
        network.udp(source_port, port).write(&mut frame, &[0; 18])
    } else {
        let tcp = network.tcp(source_port, port, 1, 65_535);
        let tcp = match kind.transport {
            Transport::Syn => tcp.syn(),
            Transport::Fin => tcp.ack(1).fin(),
            Transport::Rst => tcp.ack(1).rst(),
            Transport::Ack | Transport::Udp => tcp.ack(1),
        };
        tcp.write(&mut frame, &[])
    };
    written.expect("a packet that can be written");
    frame.resize(frame.len().max(SHORTEST), 0);
    frame
}

/// The IP header of the flow with this number, without what depends on the payload.
fn ip_header(kind: Kind, number: u32) -> IpHeaders {
    match destination(kind, number % kind.services) {
        IpAddr::V4(to) => {
            let from = Ipv4Addr::from_bits(0xc633_6400 + number % 251);
            let header = Ipv4Header::new(0, 64, Default::default(), from.octets(), to.octets());
            IpHeaders::Ipv4(header.expect("a short packet"), Default::default())
        }
        IpAddr::V6(to) => {
            let from = Ipv6Addr::from_bits(0x2001_0db8_000c << 80 | u128::from(number % 251));
            let header = Ipv6Header {
                hop_limit: 64,
                source: from.octets(),
                destination: to.octets(),
                ..Default::default()
            };
            IpHeaders::Ipv6(header, Default::default())
        }
    }
}
