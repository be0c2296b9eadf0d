//! Packets of a service that no backend takes: RSTs, "port unreachable", and their limit.

use super::*;
use crate::balancer::backend::{Leaving, PolicySet};
use crate::balancer::id::PolicyIndex;

/// No backend takes new flows, and clients learn of it.
const EMPTY: Setup =
    Setup { serving: Serving::Nothing, others: Serving::Nothing, resets: true, ..Setup::PLAIN };

/// A frame with a right checksum of TCP.
fn segment(sample: &Sample) -> Vec<u8> {
    let mut frame = sample.frame();
    let packet = Packet::parse(&frame).unwrap();
    let segment = packet.payload(&frame).unwrap();
    let length = u16::try_from(segment.len()).unwrap();
    let pseudo = match (packet.addresses_v4(&frame), packet.addresses_v6(&frame)) {
        (Some((a, b)), _) => Checksum::pseudo_v4(a, b, protocol::TCP, length),
        (_, Some((a, b))) => Checksum::pseudo_v6(a, b, protocol::TCP, length.into()),
        _ => panic!("no IP"),
    };
    let sum = pseudo.add_bytes(segment).finish();
    let at = usize::from(packet.l4) + 16;
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// A client's segment to the service of a family.
fn tcp_to_service(family: Family, flags: u8) -> Sample {
    match family {
        Family::V4 => Sample::tcp("198.51.100.1:1024", "203.0.113.10:80", flags),
        Family::V6 => Sample::tcp("[2001:db8:c::1]:1024", "[2001:db8::10]:80", flags),
    }
}

fn udp_to_service() -> Sample {
    Sample::udp("198.51.100.1:1024", "203.0.113.10:53")
}

#[test]
fn a_segment_without_a_backend_gets_a_reset_where_it_came_from() {
    for family in [Family::V4, Family::V6] {
        for flags in [tcp::SYN, tcp::ACK, tcp::FIN | tcp::ACK] {
            let frame = segment(&tcp_to_service(family, flags));
            let (sent, verdicts) = receive(EMPTY, &frame);
            assert_eq!((sent.len(), verdicts), (1, replied(Reply::Reset)));
            let (port, reply) = &sent[0];
            assert_eq!((*port, &reply[..6], &reply[6..12]), (CLIENTS, &CLIENT_MAC[..], &MAC[..]));
            let packet = Packet::parse(reply).unwrap();
            assert_eq!((packet.family, packet.source, packet.destination), (family, 80, 1024));
            assert!(packet.tcp_flags & tcp::RST != 0);
        }
    }
}

#[test]
fn a_datagram_without_a_backend_is_unreachable() {
    let (sent, verdicts) = receive(EMPTY, &udp_to_service().frame());
    assert_eq!((sent.len(), verdicts), (1, replied(Reply::Unreachable)));
    // The first fragment gets the error, and the others of its datagram get nothing.
    let whole = Sample { payload: vec![7; 1000], ..udp_to_service() };
    let mut workers = Workers::new(EMPTY);
    let parts = fragments(&whole, 400);
    let sent = workers.receive(0, CLIENTS, parts.iter().rev().map(|part| buffer(part)));
    assert_eq!(sent.len(), 1);
    let verdicts = [
        (Verdict::Replied(Reply::Unreachable), 1),
        (Verdict::Dropped(DropReason::FragmentFirstDropped), 2),
    ];
    assert_eq!(workers.verdicts(), verdicts);
}

#[test]
fn a_pool_that_drops_answers_nothing() {
    let setup = Setup { resets: false, ..EMPTY };
    for frame in [segment(&tcp_to_service(Family::V4, tcp::SYN)), udp_to_service().frame()] {
        let expected = (vec![], dropped(DropReason::NoBackend));
        assert_eq!(receive(setup.clone(), &frame), expected);
    }
}

#[test]
fn what_must_get_no_answer_is_dropped() {
    let syn = tcp_to_service(Family::V4, tcp::SYN);
    let mut wrong = segment(&syn);
    *wrong.last_mut().unwrap() ^= 1;
    let reset = segment(&tcp_to_service(Family::V4, tcp::RST));
    let shared = segment(&Sample { source: "198.51.100.255:9".parse().unwrap(), ..syn.clone() });
    let own = segment(&Sample { source: "192.0.2.1:9".parse().unwrap(), ..syn.clone() });
    let part = fragments(&Sample { payload: vec![7; 100], ..syn }, 64).remove(0);
    for (frame, reason) in [
        (wrong, DropReason::TcpChecksum),
        (reset, DropReason::NoBackend),
        (shared, DropReason::ReplyForbidden),
        (own, DropReason::SourceInvalid),
        (part, DropReason::NoBackend),
    ] {
        assert_eq!(receive(EMPTY, &frame), (vec![], dropped(reason)), "{reason:?}");
    }
}

/// An unknown option comes before the transport, as at any host.
#[test]
fn a_segment_with_an_unknown_option_gets_what_the_option_demands() {
    let options = |kind: u8| Sample {
        extension: 0,
        extensions: vec![protocol::TCP, 0, kind, 4, 0, 0, 0, 0],
        ..tcp_to_service(Family::V6, tcp::SYN)
    };
    let ended = |kind| receive(EMPTY, &segment(&options(kind))).1;
    assert_eq!(ended(0x1e), replied(Reply::Reset));
    assert_eq!(ended(0x40), dropped(DropReason::Ipv6OptionUnknown));
    assert_eq!(ended(0x80), replied(Reply::ParameterProblem));
}

/// 500 forged SYNs in a millisecond get no more answers than the limit allows, and leave path MTUs theirs.
#[test]
fn a_flood_does_not_use_up_the_errors() {
    let mut workers = Workers::new(Setup { reply_rate: 100, ..EMPTY });
    let forged = |n: u16| {
        let source = format!("198.51.100.{}:{}", 1 + n % 200, 1024 + n).parse().unwrap();
        segment(&Sample { source, ..tcp_to_service(Family::V4, tcp::SYN) })
    };
    let mut resets = 0;
    for burst in 0..20 {
        let frames: Vec<_> = (0..25).map(|n| buffer(&forged(burst * 25 + n))).collect();
        resets += workers.receive(0, CLIENTS, frames).len();
    }
    assert_eq!(resets, 100);
    workers.reload(|setup| (setup.serving, setup.others) = (Serving::All, Serving::All));
    let long = Sample { fragment: DONT_FRAGMENT, ..to_service(1, 1460) };
    assert_eq!(workers.receive(0, CLIENTS, [buffer(&long.frame())]).len(), 1);
    let verdicts = [
        (Verdict::Replied(Reply::TooBig), 1),
        (Verdict::Replied(Reply::Reset), 100),
        (Verdict::Dropped(DropReason::ReplyLimited), 400),
    ];
    assert_eq!(workers.verdicts(), verdicts);
}

/// The drain of every backend is over, and flows end with it.
fn drain_is_over(setup: &mut Setup) {
    (setup.serving, setup.others) = (Serving::Existing, Serving::Existing);
    setup.leaving = Leaving { reset: PolicySet::default().with(PolicyIndex(0)), ..Leaving::NONE };
}

#[test]
fn flows_whose_drain_is_over_are_refused() {
    let segment_of = |flags| segment(&tcp_to_service(Family::V4, flags));
    let datagram = udp_to_service().frame();
    let mut workers = Workers::new(Setup::PLAIN);
    for frame in [&segment_of(tcp::SYN), &segment_of(tcp::ACK), &datagram] {
        assert_eq!(carried(&workers.receive(0, CLIENTS, [buffer(frame)])[0]).1, frame[14..]);
    }
    workers.reload(drain_is_over);
    let sent = |workers: &mut Workers, frame: &[u8]| {
        let frames = workers.receive(0, CLIENTS, [buffer(frame)]);
        frames.first().map(|(port, frame)| (*port, Packet::parse(frame).unwrap().protocol))
    };
    for _ in 0..3 {
        assert_eq!(sent(&mut workers, &segment_of(tcp::ACK)), Some((CLIENTS, protocol::TCP)));
        assert_eq!(sent(&mut workers, &datagram), Some((CLIENTS, protocol::ICMP)));
    }
    // A RST gets no answer, and a SYN is no packet of the flow: for new ones there is no backend.
    assert_eq!(sent(&mut workers, &segment_of(tcp::RST)), None);
    assert_eq!(sent(&mut workers, &segment_of(tcp::SYN)), None);
    let verdicts = [
        (Verdict::Forwarded, 3),
        (Verdict::Replied(Reply::Unreachable), 3),
        (Verdict::Replied(Reply::Reset), 3),
        (Verdict::Dropped(DropReason::NoBackend), 1),
        (Verdict::Dropped(DropReason::DrainOver), 1),
    ];
    assert_eq!(workers.verdicts(), verdicts);
}

/// The worker that has the flow refuses the fragment, and no other worker takes it for a new flow.
#[test]
fn fragments_of_a_flow_whose_drain_is_over_are_refused_on_any_worker() {
    for steers in [true, false] {
        let mut workers = Workers::new(Setup { workers: 3, steers, ..Setup::PLAIN });
        let flows: Vec<Sample> = (0..20)
            .map(|n| Sample {
                source: format!("198.51.100.1:{}", 1024 + n).parse().unwrap(),
                payload: vec![7; 400],
                ..udp_to_service()
            })
            .collect();
        let mut of_backend_0 = 0;
        for (n, flow) in flows.iter().enumerate() {
            let sent = workers.receive(n % 3, CLIENTS, [buffer(&flow.frame())]);
            of_backend_0 += u64::from(carried(&sent[0]).0 == 0);
        }
        // New flows still have backends: those that are not backend 0.
        workers.reload(|setup| {
            drain_is_over(setup);
            setup.others = Serving::All;
        });
        for (n, flow) in flows.iter().enumerate() {
            for part in fragments(flow, 200) {
                workers.receive((n + 1) % 3, CLIENTS, [buffer(&part)]);
            }
        }
        let verdict = |verdict| workers.verdicts().iter().find(|v| v.0 == verdict).unwrap().1;
        let refused = verdict(Verdict::Replied(Reply::Unreachable));
        let later = verdict(Verdict::Dropped(DropReason::FragmentFirstDropped));
        assert!(of_backend_0 > 2);
        assert_eq!((refused, later), (of_backend_0, 2 * of_backend_0));
        // A whole datagram, and three fragments of each whose flow is not on backend 0.
        assert_eq!(verdict(Verdict::Forwarded), 20 + 3 * (20 - refused));
    }
}
