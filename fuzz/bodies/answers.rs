//! Packets made from one packet: echo replies, ICMP errors, RSTs, fragments, clamped segment sizes. Also reads the
//! packet that an ICMP error quotes.
//!
//! An input is a limit of two bytes, and a frame. The limit is the MTU in an ICMP error, the longest fragment,
//! and the segment size.

use guideway_core::balancer::frame::Buffer;
use guideway_core::balancer::icmp::{Message, embedded, message};
use guideway_core::balancer::mtu::{Fragments, clamp_mss};
use guideway_core::balancer::reply::{IcmpError, echo_reply, error, reset};
use guideway_core::balancer::{DropReason, Frame};
use guideway_core::wire::{Checksum, Family, Fragment, Packet, protocol, tcp};

const HEADROOM: usize = 48;
/// MTU of the port that sends replies: less than the longest error over IPv6.
const MTU: u16 = 1200;

/// Every packet made from a packet is well-formed, with correct checksums.
pub fn run(input: &[u8]) {
    let [high, low, frame @ ..] = input else { return };
    let limit = u16::from_be_bytes([*high, *low]);
    let repaired = super::repaired(frame);
    let frame = repaired.as_deref().unwrap_or(frame);
    let Ok(packet) = Packet::parse(frame) else { return };
    echo(&packet, frame);
    for about in
        [IcmpError::TooBig { mtu: limit }, IcmpError::PortUnreachable, IcmpError::TimeExceeded]
    {
        errors(&packet, frame, about);
    }
    resets(&packet, frame);
    match (message(&packet, frame), embedded(&packet, frame)) {
        (Ok(Message::Error), _) | (_, Err(_)) => {}
        (kind, Ok(_)) => panic!("a packet quoted by {kind:?}"),
    }
    fragments(&packet, frame, limit);
    clamp(&packet, frame, limit);
}

fn echo(packet: &Packet, frame: &[u8]) {
    let mut buffer = Buffer::new(frame, 0);
    if echo_reply(packet, &mut buffer).is_err() {
        return assert_eq!(buffer.bytes(), frame, "an error changes nothing");
    }
    let reply = Packet::parse(buffer.bytes()).expect("a reply is well-formed");
    assert_eq!(reply.end as usize, buffer.bytes().len());
    assert_eq!((reply.l3, reply.fragment), (packet.l3, packet.fragment));
    let (before, after) = (packet.payload(frame), reply.payload(buffer.bytes()));
    let rest = |message: Option<&[u8]>| message.and_then(|m| m.get(4..)).map(<[u8]>::to_vec);
    assert_eq!(rest(after), rest(before), "identifier, sequence number and data stay");
    if reply.fragment == Fragment::Whole {
        assert_eq!(sum(&reply, buffer.bytes(), protocol::ICMPV6), 0);
    }
    // A reply gets no reply.
    assert!(reply.fragment == Fragment::Later || echo_reply(&reply, &mut buffer).is_err());
}

fn errors(packet: &Packet, frame: &[u8], about: IcmpError) {
    let mut buffer = Buffer::new(frame, HEADROOM);
    match error(packet, about, MTU, &mut buffer) {
        Err(DropReason::UdpChecksum) => return assert_eq!(about, IcmpError::PortUnreachable),
        Err(drop) => return assert_eq!(drop, DropReason::ReplyForbidden),
        Ok(_) => assert!(packet.fragment != Fragment::Later || packet.family == Family::V6),
    }
    let sent = Packet::parse(buffer.bytes()).expect("an error is well-formed");
    assert_eq!(sent.end as usize, buffer.bytes().len());
    assert!(sent.ip_length() <= if sent.family == Family::V4 { 576 } else { MTU.into() });
    assert_eq!(sum(&sent, buffer.bytes(), protocol::ICMPV6), 0);
    let quotation = sent.payload(buffer.bytes()).and_then(|message| message.get(8..));
    let ip = packet.ip(frame).expect("parsed from this frame");
    assert!(quotation.is_some_and(|quotation| ip.starts_with(quotation)));
    assert_eq!(message(&sent, buffer.bytes()), Ok(Message::Error));
    assert_eq!(error(&sent, about, MTU, &mut buffer), Err(DropReason::ReplyForbidden));
}

fn resets(packet: &Packet, frame: &[u8]) {
    let mut buffer = Buffer::new(frame, 0);
    match reset(packet, &mut buffer) {
        Err(DropReason::TcpChecksum | DropReason::ReplyForbidden) => {
            return assert_eq!(buffer.bytes(), frame, "an error changes nothing");
        }
        Err(drop) => panic!("{drop:?}"),
        Ok(_) => assert_eq!((packet.protocol, packet.fragment), (protocol::TCP, Fragment::Whole)),
    }
    let sent = Packet::parse(buffer.bytes()).expect("a reset is well-formed");
    assert_eq!(sent.end as usize, buffer.bytes().len());
    assert_eq!((sent.source, sent.destination), (packet.destination, packet.source));
    let answered = packet.tcp_flags & tcp::ACK != 0;
    assert_eq!(sent.tcp_flags, if answered { tcp::RST } else { tcp::RST | tcp::ACK });
    assert_eq!(sum(&sent, buffer.bytes(), protocol::TCP), 0);
    assert_eq!(reset(&sent, &mut buffer), Err(DropReason::ReplyForbidden));
}

/// The checksum over a transport with its checksum: 0 if that is correct. ICMP has no pseudo-header over IPv4.
fn sum(packet: &Packet, frame: &[u8], number: u8) -> u16 {
    let message = packet.payload(frame).expect("parsed from this frame");
    let length = u16::try_from(message.len()).expect("of at most 64 KiB");
    let pseudo = match (packet.addresses_v4(frame), packet.addresses_v6(frame)) {
        (Some((source, destination)), _) if number == protocol::TCP => {
            Checksum::pseudo_v4(source, destination, number, length)
        }
        (_, Some((source, destination))) => {
            Checksum::pseudo_v6(source, destination, number, length.into())
        }
        _ => Checksum::new(),
    };
    pseudo.add_bytes(message).finish()
}

fn fragments(packet: &Packet, frame: &[u8], limit: u16) {
    let Ok(fragments) = Fragments::new(packet, frame, limit) else { return };
    let mut next = usize::from(packet.l4);
    for fragment in fragments {
        let (header, payload) = (fragment.header(), fragment.payload.clone());
        let length = header.len() + payload.len();
        assert!(length <= usize::from(limit) && Checksum::is_valid(header));
        assert_eq!(usize::from(u16::from_be_bytes([header[2], header[3]])), length);
        assert_eq!(payload.start, next);
        next = payload.end;
    }
    assert_eq!(next, packet.end as usize, "the fragments are the whole packet");
}

fn clamp(packet: &Packet, frame: &[u8], mss: u16) {
    let mut after = frame.to_vec();
    if !clamp_mss(packet, &mut after, mss) {
        return assert_eq!(after, frame);
    }
    assert!(packet.tcp_flags & tcp::SYN != 0);
    assert_eq!(Packet::parse(&after), Ok(*packet));
    assert!(!clamp_mss(packet, &mut after, mss), "clamping twice changes nothing");
    // A wrong checksum stays wrong by the same amount. 0 and 0xffff are the same sum.
    let error = |frame: &[u8]| Checksum::of(&frame[usize::from(packet.l4)..packet.end as usize]);
    assert_eq!(error(&after) % 0xffff, error(frame) % 0xffff);
}
