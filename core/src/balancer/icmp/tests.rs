use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::balancer::frame::{Buffer, Frame};
use crate::balancer::reply::{self, IcmpError};
use crate::balancer::sample::Sample;
use crate::wire::tcp;

/// An ICMP error to a virtual address about this packet.
fn error_v4(kind: u8, quotation: &[u8]) -> Vec<u8> {
    let sample = Sample::tcp("192.0.2.77:0", "203.0.113.10:0", 0);
    let payload = [&[kind, 4, 0, 0, 0, 0, 5, 0xdc], quotation].concat();
    Sample { protocol: protocol::ICMP, payload, ..sample }.frame()
}

fn error_v6(kind: u8, quotation: &[u8]) -> Vec<u8> {
    let sample = Sample::tcp("[2001:db8:7::7]:0", "[2001:db8::10]:0", 0);
    let payload = [&[kind, 0, 0, 0, 0, 0, 5, 0xdc], quotation].concat();
    Sample { protocol: protocol::ICMPV6, payload, ..sample }.frame()
}

fn read(frame: &[u8]) -> Result<Embedded, DropReason> {
    embedded(&Packet::parse(frame).unwrap(), frame)
}

/// The flow and the service of a client's packet.
fn expected(client: &str, service: &str, protocol: u8) -> Embedded {
    let (client, service): (SocketAddr, SocketAddr) =
        (client.parse().unwrap(), service.parse().unwrap());
    Embedded {
        flow: FlowKey::new(client, service, protocol).unwrap(),
        service_address: ServiceAddress::new(service.ip(), protocol, service.port()),
    }
}

const CLIENT: &str = "198.51.100.1:40000";
const SERVICE: &str = "203.0.113.10:80";
const CLIENT_V6: &str = "[2001:db8:c::1]:40000";
const SERVICE_V6: &str = "[2001:db8::10]:53";

fn sent_v4() -> Sample {
    Sample { payload: vec![7; 1000], ..Sample::tcp(SERVICE, CLIENT, tcp::ACK) }
}

fn sent_v6() -> Sample {
    Sample { payload: vec![7; 1000], ..Sample::udp(SERVICE_V6, CLIENT_V6) }
}

#[test]
fn the_flow_is_that_of_the_clients_packets() {
    let client = Sample::tcp(CLIENT, SERVICE, tcp::SYN).frame();
    let flow = FlowKey::of(&Packet::parse(&client).unwrap(), &client).unwrap();
    let error = error_v4(3, &sent_v4().ip());
    assert_eq!(read(&error).unwrap().flow, flow);
    assert_eq!(read(&error), Ok(expected(CLIENT, SERVICE, 6)));
    assert_eq!(read(&error_v6(2, &sent_v6().ip())), Ok(expected(CLIENT_V6, SERVICE_V6, 17)));
}

/// RFC 792: the header and 8 bytes of data. The headers have the lengths of the whole packet.
#[test]
fn eight_bytes_of_the_transport_suffice() {
    let (v4, v6) = (sent_v4().ip(), sent_v6().ip());
    assert_eq!(read(&error_v4(11, &v4[..28])), Ok(expected(CLIENT, SERVICE, 6)));
    assert_eq!(read(&error_v4(11, &v4[..24])), Ok(expected(CLIENT, SERVICE, 6)));
    assert_eq!(read(&error_v6(3, &v6[..48])), Ok(expected(CLIENT_V6, SERVICE_V6, 17)));
    for length in 0..24 {
        assert_eq!(
            read(&error_v4(11, &v4[..length])),
            Err(DropReason::IcmpEmbeddedMalformed),
            "{length}"
        );
    }
    for length in 0..44 {
        assert_eq!(
            read(&error_v6(3, &v6[..length])),
            Err(DropReason::IcmpEmbeddedMalformed),
            "{length}"
        );
    }
}

#[test]
fn options_extensions_and_first_fragments_are_read_through() {
    let mut v4 = sent_v4();
    v4.options = vec![0x94, 4, 0, 0, 1, 1, 1, 0];
    v4.fragment = 0x2000;
    assert_eq!(read(&error_v4(12, &v4.ip()[..36])), Ok(expected(CLIENT, SERVICE, 6)));
    let mut v6 = sent_v6();
    v6.extension = ipv6::HOP_BY_HOP;
    v6.extensions = [
        [ipv6::DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0],
        [ipv6::FRAGMENT, 0, 1, 4, 0, 0, 0, 0],
        [17, 0, 0, 1, 0, 0, 0, 5],
    ]
    .concat();
    let ip = v6.ip();
    assert_eq!(read(&error_v6(4, &ip[..72])), Ok(expected(CLIENT_V6, SERVICE_V6, 17)));
    assert_eq!(read(&error_v6(4, &ip[..63])), Err(DropReason::IcmpEmbeddedMalformed));
    // Routers rewrite headers: neither the checksum nor the lengths are verified.
    let mut ip = sent_v4().ip();
    (ip[2], ip[3], ip[8], ip[10]) = (0xff, 0xff, 1, 0x77);
    assert_eq!(read(&error_v4(3, &ip[..28])), Ok(expected(CLIENT, SERVICE, 6)));
}

#[test]
fn later_fragments_have_no_ports() {
    let v4 = Sample { fragment: 0x2001, ..sent_v4() };
    assert_eq!(read(&error_v4(3, &v4.ip())), Err(DropReason::IcmpEmbeddedFragment));
    let extensions = vec![17, 0, 0, 9, 0, 0, 0, 5];
    let v6 = Sample { extension: ipv6::FRAGMENT, extensions, ..sent_v6() };
    assert_eq!(read(&error_v6(1, &v6.ip())), Err(DropReason::IcmpEmbeddedFragment));
}

#[test]
fn what_the_address_did_not_send_is_of_an_unknown_flow() {
    let other = Sample::tcp("203.0.113.11:80", CLIENT, tcp::ACK);
    assert_eq!(read(&error_v4(3, &other.ip())), Err(DropReason::IcmpUnknownFlow));
    let echo = Sample { protocol: 1, payload: vec![0; 8], ..Sample::tcp(SERVICE, CLIENT, 0) };
    assert_eq!(read(&error_v4(3, &echo.ip())), Err(DropReason::IcmpUnknownFlow));
    // Of the other family.
    assert_eq!(read(&error_v4(3, &sent_v6().ip())), Err(DropReason::IcmpEmbeddedMalformed));
    assert_eq!(read(&error_v6(1, &sent_v4().ip())), Err(DropReason::IcmpEmbeddedMalformed));
}

#[test]
fn each_type_is_a_request_an_error_or_unsupported() {
    for (kind, expected) in [
        (0, Err(DropReason::IcmpUnsupported)),
        (3, Ok(Message::Error)),
        (4, Err(DropReason::IcmpUnsupported)),
        (5, Err(DropReason::IcmpUnsupported)),
        (8, Ok(Message::EchoRequest)),
        (11, Ok(Message::Error)),
        (12, Ok(Message::Error)),
        (13, Err(DropReason::IcmpUnsupported)),
    ] {
        let frame = error_v4(kind, &[]);
        assert_eq!(message(&Packet::parse(&frame).unwrap(), &frame), expected, "{kind}");
    }
    for (kind, expected) in [
        (0, Err(DropReason::IcmpUnsupported)),
        (1, Ok(Message::Error)),
        (2, Ok(Message::Error)),
        (3, Ok(Message::Error)),
        (4, Ok(Message::Error)),
        (5, Ok(Message::Error)),
        (100, Ok(Message::Error)),
        (127, Ok(Message::Error)),
        (128, Ok(Message::EchoRequest)),
        (129, Err(DropReason::IcmpUnsupported)),
        (135, Err(DropReason::IcmpUnsupported)),
        (137, Err(DropReason::IcmpUnsupported)),
    ] {
        let frame = error_v6(kind, &[]);
        assert_eq!(message(&Packet::parse(&frame).unwrap(), &frame), expected, "{kind}");
    }
    let echo = error_v4(8, &sent_v4().ip());
    assert_eq!(read(&echo), Err(DropReason::IcmpUnsupported));
}

#[test]
fn the_error_itself_may_be_the_first_fragment() {
    let quotation = sent_v4().ip();
    let sample = Sample::tcp("192.0.2.77:0", "203.0.113.10:0", 0);
    let payload = [&[3, 1, 0, 0, 0, 0, 0, 0], &quotation[..40]].concat();
    let first = Sample { protocol: 1, payload, fragment: 0x2000, ..sample };
    assert_eq!(read(&first.frame()), Ok(expected(CLIENT, SERVICE, 6)));
    let later = Sample { fragment: 6, ..first.clone() };
    assert_eq!(read(&later.frame()), Err(DropReason::FragmentMalformed));
    let short = Sample { payload: vec![3, 1, 0, 0, 0, 0, 0], ..first };
    assert_eq!(read(&short.frame()), Err(DropReason::IcmpMalformed));
}

/// Another forwarder of the fleet reads the errors that this one sends.
#[test]
fn our_own_errors_are_read() {
    for (sample, expected) in [
        (sent_v4(), expected(CLIENT, SERVICE, 6)),
        (sent_v6(), expected(CLIENT_V6, SERVICE_V6, 17)),
    ] {
        let frame = sample.frame();
        let mut buffer = Buffer::new(&frame, 48);
        let packet = Packet::parse(&frame).unwrap();
        reply::error(&packet, IcmpError::TooBig { mtu: 1400 }, 1500, &mut buffer).unwrap();
        // The error comes from the client, to whom the backend sent the packet.
        assert_eq!(read(buffer.bytes()), Ok(expected));
    }
}

proptest! {
    #[test]
    fn any_quotation_is_read_or_dropped(
        v6: bool, length in 0usize..100, changes in vec((0usize..100, any::<u8>()), 0..5), kind in 1u8..13,
    ) {
        let mut ip = if v6 { sent_v6() } else { sent_v4() }.ip();
        ip.truncate(length);
        for (at, byte) in changes {
            if let Some(place) = ip.get_mut(at) { *place = byte }
        }
        let frame = if v6 { error_v6(kind, &ip) } else { error_v4(kind, &ip) };
        if let Ok(found) = read(&frame) {
            prop_assert_eq!(matches!(found.flow, FlowKey::V6(_)), v6);
        }
    }
}
