//! Tests of the exceptions, over whole workers: each exception by itself, and random packets (`properties.rs`).

mod passed;
mod properties;
mod punts;
mod refusals;
mod vlan;
pub(crate) mod workers;

use super::super::backend::Serving;
use super::super::encapsulation::Encapsulation;
use super::super::frame::Buffer;
use super::super::sample::{MAC, Sample, fix_checksum};
use super::super::services::Vip;
use crate::stats::verdict::{DropReason, Reply, Verdict};
use crate::wire::fragment::FragmentFields;
use crate::wire::{
    Checksum, Family, Fragment, Packet, ethernet, gre, icmp, icmpv6, ipv6, protocol, tcp,
};
use workers::{BACKENDS, CLIENTS, Sent, Setup, Workers};

const HEADROOM: usize = 128;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE: u16 = 0x2000;
/// The MAC address that samples come from.
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

fn buffer(frame: &[u8]) -> Buffer {
    Buffer::new(frame, HEADROOM)
}

fn dropped(reason: DropReason) -> Vec<(Verdict, u64)> {
    vec![(Verdict::Dropped(reason), 1)]
}

fn replied(reply: Reply) -> Vec<(Verdict, u64)> {
    vec![(Verdict::Replied(reply), 1)]
}

/// What leaves, and the verdicts, if one worker receives this frame.
fn receive(setup: Setup, frame: &[u8]) -> (Vec<Sent>, Vec<(Verdict, u64)>) {
    let mut workers = Workers::new(setup);
    let sent = workers.receive(0, CLIENTS, [buffer(frame)]);
    (sent, workers.verdicts())
}

/// An ICMP message from a client to the virtual address, with a right checksum.
fn icmp(family: Family, kind: u8, code: u8, body: &[u8]) -> Sample {
    let (from, to) = addresses(family);
    let mut sample = Sample::udp(from, to);
    sample.payload = [&[kind, code, 0, 0][..], body].concat();
    let sum = match family {
        Family::V4 => {
            sample.protocol = protocol::ICMP;
            Checksum::of(&sample.payload)
        }
        Family::V6 => {
            sample.protocol = protocol::ICMPV6;
            let frame = sample.frame();
            let packet = Packet::parse(&frame).unwrap();
            let (from, to) = packet.addresses_v6(&frame).unwrap();
            let length = u32::try_from(sample.payload.len()).unwrap();
            Checksum::pseudo_v6(from, to, protocol::ICMPV6, length)
                .add_bytes(&sample.payload)
                .finish()
        }
    };
    sample.payload[2..4].copy_from_slice(&sum.to_be_bytes());
    sample
}

/// A client and the virtual address.
fn addresses(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::V4 => ("198.51.100.1:0", "203.0.113.10:0"),
        Family::V6 => ("[2001:db8:c::1]:0", "[2001:db8::10]:0"),
    }
}

fn echo(family: Family, length: usize) -> Sample {
    let kind = if family == Family::V4 { icmp::ECHO } else { icmpv6::ECHO_REQUEST };
    icmp(family, kind, 0, &vec![7; length])
}

/// A segment or datagram to a service.
fn to_service(flow: u16, length: usize) -> Sample {
    let mut sample =
        Sample::tcp(&format!("198.51.100.1:{}", 1024 + flow), "203.0.113.10:80", tcp::ACK);
    sample.payload = (0u8..=250).cycle().take(length).collect();
    sample
}

/// The IP packet that was encapsulated in a frame, and the last byte of the backend's MAC address.
fn carried((port, frame): &Sent) -> (u8, Vec<u8>) {
    assert_eq!(*port, BACKENDS);
    let packet = Packet::parse(frame).unwrap();
    let payload = packet.payload(frame).unwrap();
    assert_eq!(packet.protocol, protocol::GRE);
    (frame[5], payload[gre::LENGTH..].to_vec())
}

/// The fragments of an IPv4 datagram of these payload bytes a fragment.
fn fragments(whole: &Sample, size: usize) -> Vec<Vec<u8>> {
    let ip = whole.ip();
    let (header, payload) = ip.split_at(20);
    let count = payload.len().div_ceil(size);
    (0..count)
        .map(|n| {
            let part = &payload[n * size..((n + 1) * size).min(payload.len())];
            let mut ip = [header, part].concat();
            let total = u16::try_from(ip.len()).unwrap();
            ip[2..4].copy_from_slice(&total.to_be_bytes());
            let more = if n + 1 < count { MORE } else { 0 };
            let field = more | u16::try_from(n * size / 8).unwrap();
            ip[6..8].copy_from_slice(&field.to_be_bytes());
            fix_checksum(&mut ip);
            [&MAC[..], &CLIENT_MAC, &ethernet::IPV4.to_be_bytes(), &ip].concat()
        })
        .collect()
}

/// The payload that these IPv4 fragments have together, and the number of backends that they went to.
fn reassembled(sent: &[Sent]) -> (usize, Vec<u8>) {
    let mut backends: Vec<u8> = Vec::new();
    let mut payload = Vec::new();
    for sent in sent {
        let (backend, ip) = carried(sent);
        let frame = [&[0; 12][..], &ethernet::IPV4.to_be_bytes(), &ip].concat();
        let packet = Packet::parse(&frame).unwrap();
        let fields = FragmentFields::of(&packet, &frame).unwrap();
        let end = fields.end();
        payload.resize(payload.len().max(end), 0);
        payload[fields.offset.into()..end].copy_from_slice(packet.payload(&frame).unwrap());
        backends.push(backend);
    }
    backends.sort_unstable();
    backends.dedup();
    (backends.len(), payload)
}

#[test]
fn echo_requests_get_replies_where_they_came_from() {
    for family in [Family::V4, Family::V6] {
        let frame = echo(family, 56).frame();
        let (sent, verdicts) = receive(Setup::PLAIN, &frame);
        assert_eq!((sent.len(), verdicts), (1, replied(Reply::Echo)));
        let (port, reply) = &sent[0];
        assert_eq!((*port, &reply[..6], &reply[6..12]), (CLIENTS, &CLIENT_MAC[..], &MAC[..]));
        let packet = Packet::parse(reply).unwrap();
        let kind = if family == Family::V4 { icmp::ECHO_REPLY } else { icmpv6::ECHO_REPLY };
        assert_eq!(packet.payload(reply).unwrap()[0], kind);
    }
}

#[test]
fn echo_requests_are_dropped_if_replies_are_disabled_or_too_many() {
    let frame = echo(Family::V4, 56).frame();
    let vip = Vip { echo: false, ..Setup::PLAIN.vip };
    let (sent, verdicts) = receive(Setup { vip, ..Setup::PLAIN }, &frame);
    assert_eq!((sent, verdicts), (vec![], dropped(DropReason::EchoDisabled)));
    let (sent, verdicts) = receive(Setup { reply_rate: 0, ..Setup::PLAIN }, &frame);
    assert_eq!((sent, verdicts), (vec![], dropped(DropReason::ReplyLimited)));
}

#[test]
fn echoes_do_not_use_up_the_errors() {
    let mut workers = Workers::new(Setup { reply_rate: 1, ..Setup::PLAIN });
    let closed = Sample::udp("198.51.100.1:9", "203.0.113.10:9").frame();
    let frames = [echo(Family::V4, 8).frame(), echo(Family::V4, 8).frame(), closed];
    let sent = workers.receive(0, CLIENTS, frames.iter().map(|frame| buffer(frame)));
    assert_eq!(sent.len(), 2);
    let verdicts = [
        (Verdict::Replied(Reply::Echo), 1),
        (Verdict::Replied(Reply::Unreachable), 1),
        (Verdict::Dropped(DropReason::ReplyLimited), 1),
    ];
    assert_eq!(workers.verdicts(), verdicts);
}

#[test]
fn a_reply_that_exceeds_the_mtu_is_fragmented() {
    for family in [Family::V4, Family::V6] {
        let frame = echo(family, 4000).frame();
        let (sent, verdicts) = receive(Setup { mtu: 1400, ..Setup::PLAIN }, &frame);
        assert_eq!((sent.len(), verdicts), (3, replied(Reply::Echo)));
        for (port, fragment) in &sent {
            let packet = Packet::parse(fragment).unwrap();
            assert_eq!(*port, CLIENTS);
            assert!(packet.fragment != Fragment::Whole && packet.ip_length() <= 1400);
        }
    }
}

#[test]
fn udp_to_a_closed_port_is_unreachable() {
    let frame = Sample::udp("198.51.100.1:9", "203.0.113.10:9").frame();
    let (sent, verdicts) = receive(Setup::PLAIN, &frame);
    assert_eq!((sent.len(), verdicts), (1, replied(Reply::Unreachable)));
    let vip = Vip { unreachable: false, ..Setup::PLAIN.vip };
    let (sent, verdicts) = receive(Setup { vip, ..Setup::PLAIN }, &frame);
    assert_eq!((sent, verdicts), (vec![], dropped(DropReason::NoService)));
    let segment = Sample::tcp("198.51.100.1:9", "203.0.113.10:9", tcp::SYN).frame();
    assert_eq!(receive(Setup::PLAIN, &segment), (vec![], dropped(DropReason::NoService)));
}

#[test]
fn addresses_of_several_hosts_and_our_own_get_no_reply() {
    for (source, reason) in [
        ("198.51.100.255:9", DropReason::ReplyForbidden),
        ("192.0.2.1:9", DropReason::SourceInvalid),
        ("224.0.0.1:9", DropReason::SourceInvalid),
    ] {
        let frame = Sample::udp(source, "203.0.113.10:9").frame();
        assert_eq!(receive(Setup::PLAIN, &frame), (vec![], dropped(reason)), "{source}");
    }
    let mut looped = Sample::udp("198.51.100.1:9", "203.0.113.10:9").frame();
    looped[6..12].copy_from_slice(&MAC);
    assert_eq!(receive(Setup::PLAIN, &looped), (vec![], dropped(DropReason::LoopedFrame)));
}

#[test]
fn what_does_not_fit_is_fragmented_or_reported() {
    let whole = to_service(1, 1460);
    let (sent, verdicts) = receive(Setup::PLAIN, &whole.frame());
    assert_eq!(verdicts, [(Verdict::Forwarded, 1)]);
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|(_, frame)| Packet::parse(frame).unwrap().ip_length() <= 1500));
    assert_eq!(reassembled(&sent), (1, whole.ip()[20..].to_vec()));
    let reported = Sample { fragment: DONT_FRAGMENT, ..whole };
    let (sent, verdicts) = receive(Setup::PLAIN, &reported.frame());
    assert_eq!(verdicts, replied(Reply::TooBig));
    let (port, error) = &sent[0];
    let packet = Packet::parse(error).unwrap();
    let message = packet.payload(error).unwrap();
    assert_eq!((*port, &message[..2]), (CLIENTS, &[3, 4][..]));
    assert_eq!(message[6..8], (1500u16 - 24).to_be_bytes());
    assert!(reported.ip().starts_with(&message[8..]), "the error quotes the packet as it came");
}

#[test]
fn a_datagram_is_sent_in_all_fragments_or_dropped() {
    let frame = to_service(1, 1460).frame();
    let mut workers = Workers::new(Setup::PLAIN);
    workers.limit_buffers(1);
    assert_eq!(workers.receive(0, CLIENTS, [buffer(&frame)]).len(), 1);
    assert_eq!(workers.verdicts(), dropped(DropReason::NoHeadroom));
    assert_eq!(workers.forwarded(), 0, "what is dropped is no service's traffic");
    let mut workers = Workers::new(Setup::PLAIN);
    workers.device_is_full = true;
    assert_eq!(workers.receive(0, CLIENTS, [buffer(&frame)]), []);
    assert_eq!(workers.verdicts(), dropped(DropReason::TxFull));
}

#[test]
fn replies_that_no_device_takes_are_dropped() {
    let mut workers = Workers::new(Setup::PLAIN);
    workers.device_is_full = true;
    assert_eq!(workers.receive(0, CLIENTS, [buffer(&echo(Family::V6, 8).frame())]), []);
    assert_eq!(workers.verdicts(), dropped(DropReason::TxFull));
}

#[test]
fn what_is_not_one_segment_with_one_owner_is_refused() {
    let frame = || buffer(&to_service(1, 100).frame());
    for (frame, reason) in [
        (frame().followed_by(1000), DropReason::FrameTooLong),
        (frame().shared(), DropReason::BufferShared),
    ] {
        let mut workers = Workers::new(Setup::PLAIN);
        assert_eq!(workers.receive(0, CLIENTS, [frame]), []);
        assert_eq!(workers.verdicts(), dropped(reason));
    }
}

#[test]
fn an_icmp_error_goes_to_the_backend_of_its_flow_from_any_worker() {
    for steers in [true, false] {
        let mut workers = Workers::new(Setup { workers: 3, steers, ..Setup::PLAIN });
        for flow in 0..20 {
            let packet = to_service(flow, 0);
            let begun = workers.receive(usize::from(flow) % 3, CLIENTS, [buffer(&packet.frame())]);
            let (backend, _) = carried(&begun[0]);
            // While backend 0 takes no new flow, only the flow table knows it.
            let back =
                Sample { source: packet.destination, destination: packet.source, ..packet.clone() };
            let quoted = [&[0; 4][..], &back.ip()].concat();
            let error = icmp(Family::V4, icmp::DESTINATION_UNREACHABLE, 4, &quoted).frame();
            for worker in 0..3 {
                workers.reload(|setup| setup.serving = Serving::Existing);
                let sent = workers.receive(worker, CLIENTS, [buffer(&error)]);
                assert_eq!(carried(&sent[0]), (backend, error[14..].to_vec()), "worker {worker}");
                workers.reload(|setup| setup.serving = Serving::All);
            }
        }
        assert_eq!(workers.verdicts(), [(Verdict::Forwarded, 80)]);
    }
}

#[test]
fn an_icmp_error_about_nothing_of_ours_is_dropped() {
    let quoted = [&[0; 4][..], &Sample::udp("203.0.113.10:7", "198.51.100.1:9").ip()].concat();
    let error = icmp(Family::V4, icmp::DESTINATION_UNREACHABLE, 1, &quoted).frame();
    let expected = (vec![], dropped(DropReason::IcmpUnknownFlow));
    assert_eq!(receive(Setup::PLAIN, &error), expected);
    let short = icmp(Family::V4, icmp::DESTINATION_UNREACHABLE, 1, &quoted[..20]).frame();
    let expected = (vec![], dropped(DropReason::IcmpEmbeddedMalformed));
    assert_eq!(receive(Setup::PLAIN, &short), expected);
}

#[test]
fn later_fragments_wait_for_the_first_on_any_worker() {
    for steers in [true, false] {
        let mut workers = Workers::new(Setup { workers: 3, steers, ..Setup::PLAIN });
        let whole = to_service(3, 1400);
        let parts = fragments(&whole, 400);
        assert_eq!(workers.receive(1, CLIENTS, [buffer(&parts[2])]), []);
        assert_eq!(workers.receive(2, CLIENTS, [buffer(&parts[1])]), []);
        assert_eq!((workers.waiting(), workers.verdicts()), (2, vec![]));
        let mut sent = workers.receive(0, CLIENTS, [buffer(&parts[0])]);
        assert_eq!((sent.len(), workers.waiting()), (3, 0));
        let offsets: Vec<u8> = sent.iter().map(|sent| carried(sent).1[7]).collect();
        assert_eq!(offsets, [0, 100, 50], "the first, then the others as they came");
        sent.extend(workers.receive(1, CLIENTS, [buffer(&parts[3])]));
        assert_eq!(reassembled(&sent), (1, whole.ip()[20..].to_vec()));
        assert_eq!(workers.verdicts(), [(Verdict::Forwarded, 4)]);
    }
}

#[test]
fn fragments_follow_the_flow_on_any_worker() {
    for steers in [true, false] {
        let setup = Setup { workers: 3, steers, ..Setup::PLAIN };
        let mut workers = Workers::new(setup);
        for flow in 0..20 {
            let packet = to_service(flow, 400);
            let begun = workers.receive(usize::from(flow) % 3, CLIENTS, [buffer(&packet.frame())]);
            let backend = carried(&begun[0]).0;
            workers.reload(|setup| setup.serving = Serving::Existing);
            workers.wait(10_000);
            for (n, part) in fragments(&packet, 200).iter().enumerate() {
                let sent = workers.receive((n + 1) % 3, CLIENTS, [buffer(part)]);
                let backends: Vec<u8> = sent.iter().map(|sent| carried(sent).0).collect();
                assert_eq!(backends, [backend], "fragment {n} of flow {flow}");
            }
            workers.reload(|setup| setup.serving = Serving::All);
        }
    }
}

#[test]
fn fragments_without_a_first_are_dropped_after_the_timeout() {
    let parts = fragments(&to_service(3, 1400), 400);
    let mut workers = Workers::new(Setup::PLAIN);
    workers.receive(0, CLIENTS, [buffer(&parts[1])]);
    workers.wait(1999);
    assert_eq!((workers.waiting(), workers.verdicts()), (1, vec![]));
    workers.wait(1);
    assert_eq!((workers.waiting(), workers.verdicts()), (0, dropped(DropReason::FragmentTimeout)));
    workers.receive(0, CLIENTS, [buffer(&parts[2])]);
    workers.finish();
    assert_eq!(workers.verdicts(), [(Verdict::Dropped(DropReason::FragmentTimeout), 2)]);
}

#[test]
fn all_fragments_end_as_the_first_decides() {
    let refused = Setup { fragments: false, ..Setup::PLAIN };
    let mut closed = Sample::udp("198.51.100.1:9", "203.0.113.10:9");
    closed.payload = vec![1; 1400];
    let silent = Setup { vip: Vip { echo: false, unreachable: false }, ..Setup::PLAIN };
    let drop = Verdict::Dropped;
    for (setup, whole, first) in [
        (refused, to_service(1, 1400), drop(DropReason::FragmentRefused)),
        (silent.clone(), closed.clone(), drop(DropReason::NoService)),
        (Setup::PLAIN, closed, Verdict::Replied(Reply::Unreachable)),
        (silent, echo(Family::V4, 1400), drop(DropReason::EchoDisabled)),
        (Setup::PLAIN, icmp(Family::V4, 13, 0, &[1; 1400]), drop(DropReason::IcmpUnsupported)),
    ] {
        let mut workers = Workers::new(setup);
        for part in fragments(&whole, 800) {
            workers.receive(0, CLIENTS, [buffer(&part)]);
        }
        let mut expected = vec![(first, 1), (drop(DropReason::FragmentFirstDropped), 1)];
        expected.sort_by_key(|(verdict, _)| verdict.index());
        assert_eq!(workers.verdicts(), expected);
    }
}

#[test]
fn a_fragmented_echo_request_gets_a_fragmented_reply() {
    let mut workers = Workers::new(Setup { reply_rate: 4, ..Setup::PLAIN });
    let parts = fragments(&echo(Family::V4, 3000), 800);
    let sent = workers.receive(0, CLIENTS, parts.iter().map(|part| buffer(part)));
    assert_eq!((sent.len(), workers.verdicts()), (4, vec![(Verdict::Replied(Reply::Echo), 4)]));
    assert!(sent.iter().all(|(port, frame)| *port == CLIENTS && frame[..6] == CLIENT_MAC));
    // Each of the four counts as a reply.
    let sent = workers.receive(0, CLIENTS, parts[1..2].iter().map(|part| buffer(part)));
    assert_eq!(sent, []);
}

#[test]
fn fragments_that_overlap_are_dropped() {
    let parts = fragments(&to_service(3, 1400), 400);
    let longer = fragments(&to_service(3, 1400), 800);
    let mut workers = Workers::new(Setup::PLAIN);
    workers.receive(0, CLIENTS, [&longer[0], &parts[1]].map(|part| buffer(part)));
    let expected = [(Verdict::Forwarded, 1), (Verdict::Dropped(DropReason::FragmentOverlap), 1)];
    assert_eq!(workers.verdicts(), expected);
}

#[test]
fn a_decision_for_a_backend_that_is_gone_is_void() {
    let mut workers = Workers::new(Setup::PLAIN);
    let flow = (0..).find(|&flow| {
        let sent =
            Workers::new(Setup::PLAIN).receive(0, CLIENTS, [buffer(&to_service(flow, 9).frame())]);
        carried(&sent[0]).0 == 0
    });
    let parts = fragments(&to_service(flow.unwrap(), 1400), 800);
    assert_eq!(workers.receive(0, CLIENTS, [buffer(&parts[0])]).len(), 1);
    workers.reload(|setup| setup.serving = Serving::Nothing);
    assert_eq!(workers.receive(0, CLIENTS, [buffer(&parts[1])]), []);
    let expected = [(Verdict::Forwarded, 1), (Verdict::Dropped(DropReason::NoBackend), 1)];
    assert_eq!(workers.verdicts(), expected);
}

/// GRE of IPv4 packets from a peer to this node.
fn tunnelled(source: &str, inner: &[u8], flags: u16) -> Vec<u8> {
    let mut outer = Sample::udp(source, "192.0.2.1:0");
    outer.protocol = protocol::GRE;
    outer.payload = [&flags.to_be_bytes()[..], &ethernet::IPV4.to_be_bytes(), inner].concat();
    outer.frame()
}

#[test]
fn another_member_gets_the_fragments_that_it_owns() {
    let setup = Setup { clustered: true, workers: 2, ..Setup::PLAIN };
    let mut workers = Workers::new(setup);
    let mut redirected = 0;
    for client in 1..40 {
        let mut whole = to_service(1, 900);
        whole.source = format!("198.51.100.{client}:1024").parse().unwrap();
        let parts = fragments(&whole, 400);
        let sent = workers.receive(0, CLIENTS, parts.iter().map(|part| buffer(part)));
        assert_eq!(sent.len(), 3);
        let to_member = sent.iter().filter(|sent| carried(sent).0 == 2 && sent.1[34..36] == [1, 0]);
        let to_member = to_member.count();
        assert!([0, 3].contains(&to_member), "all fragments go to one member");
        redirected += to_member as u64;
        if to_member == 3 {
            // Once redirected, the fragments stay.
            let back =
                parts.iter().map(|part| buffer(&tunnelled("192.0.2.2:0", &part[14..], 0x0100)));
            let sent = workers.receive(0, BACKENDS, back);
            assert!(sent.iter().all(|sent| sent.1[34..36] == [0, 0]) && sent.len() == 3);
        }
    }
    assert!((12..108).contains(&redirected));
    let counted = workers.verdicts().iter().find(|(v, _)| *v == Verdict::Redirected).unwrap().1;
    assert_eq!(counted, redirected);
}

#[test]
fn packets_of_peers_are_decapsulated_once() {
    for (workers, steers) in [(1, true), (3, true), (3, false)] {
        let setup = Setup { workers, steers, ..Setup::PLAIN };
        let inner = to_service(1, 10);
        let frame = tunnelled("192.0.2.9:0", &inner.ip(), 0);
        let (sent, verdicts) = receive(setup.clone(), &frame);
        assert_eq!(verdicts, [(Verdict::Forwarded, 1)]);
        let mut expected = inner.ip();
        crate::wire::hops::lower(&mut expected).unwrap();
        assert_eq!(carried(&sent[0]).1, expected, "with one hop less");
        let stranger = tunnelled("198.51.100.9:0", &inner.ip(), 0);
        let expected = (vec![], dropped(DropReason::TunnelUnknownPeer));
        assert_eq!(receive(setup.clone(), &stranger), expected);
        let nested = tunnelled("192.0.2.9:0", &frame[14..], 0);
        assert_eq!(receive(setup.clone(), &nested), (vec![], dropped(DropReason::TunnelNested)));
        let cut = tunnelled("192.0.2.9:0", &inner.ip()[..12], 0);
        assert_eq!(receive(setup, &cut), (vec![], dropped(DropReason::TunnelMalformed)));
    }
}

#[test]
fn a_packet_without_hops_left_is_reported_unless_it_is_for_us() {
    let last_hop = |mut ip: Vec<u8>| {
        ip[8] = 1;
        fix_checksum(&mut ip);
        tunnelled("192.0.2.9:0", &ip, 0)
    };
    let (sent, verdicts) = receive(Setup::PLAIN, &last_hop(to_service(1, 10).ip()));
    assert_eq!((sent.len(), verdicts), (1, replied(Reply::TimeExceeded)));
    let (_, verdicts) = receive(Setup::PLAIN, &last_hop(echo(Family::V4, 10).ip()));
    assert_eq!(verdicts, replied(Reply::Echo));
    let mut l2 = to_service(1, 10).ip();
    l2[8] = 1;
    fix_checksum(&mut l2);
    let frame = [&MAC[..], &CLIENT_MAC, &ethernet::IPV4.to_be_bytes(), &l2].concat();
    let setup = Setup { encapsulation: Encapsulation::L2, ..Setup::PLAIN };
    let (sent, verdicts) = receive(setup, &frame);
    assert_eq!((sent[0].0, verdicts), (CLIENTS, replied(Reply::TimeExceeded)));
    let error = icmp(Family::V4, icmp::DESTINATION_UNREACHABLE, 1, &to_service(1, 10).ip());
    let (sent, verdicts) = receive(Setup::PLAIN, &last_hop(error.ip()));
    assert_eq!((sent, verdicts), (vec![], dropped(DropReason::HopLimitExceeded)));
}

#[test]
fn unknown_ipv6_options_are_discarded_or_reported() {
    for (option, expected) in [
        (0x40, dropped(DropReason::Ipv6OptionUnknown)),
        (0x80, replied(Reply::ParameterProblem)),
        (0x05, replied(Reply::Echo)),
    ] {
        let mut sample = echo(Family::V6, 8);
        sample.extension = ipv6::DESTINATION_OPTIONS;
        sample.extensions = vec![protocol::ICMPV6, 0, option, 4, 0, 0, 0, 0];
        assert_eq!(receive(Setup::PLAIN, &sample.frame()).1, expected, "{option:#x}");
    }
}

#[test]
fn what_is_for_nobody_is_dropped() {
    let frame = Sample::udp("198.51.100.1:9", "203.0.113.99:9").frame();
    assert_eq!(receive(Setup::PLAIN, &frame), (vec![], dropped(DropReason::NoVip)));
}
