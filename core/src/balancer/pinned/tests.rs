//! Pins: a pinned packet leaves exactly as traffic does, and everything else is refused and counted by its reason.

use std::net::{IpAddr, SocketAddr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::balancer::backend::{MssLimit, Route, Serving};
use crate::balancer::encapsulation::{Encapsulation, Parameters, Template, Tunnel};
use crate::balancer::exception::tests::workers::{
    BACKENDS, CHECK_SOURCES, CLIENTS, MAC, Sent, Setup, Workers,
};
use crate::balancer::frame::Buffer;
use crate::balancer::id::BackendId;
use crate::balancer::pin::Pins;
use crate::balancer::punt::Class;
use crate::balancer::sample::Sample;
use crate::balancer::tables::TableChange;
use crate::stats::verdict::Verdict;
use crate::wire::tcp;

/// The only backend that takes flows.
const BACKEND: BackendId = BackendId::new(0);
const HEADROOM: usize = 128;
const MTU: u16 = 1500;
const PORT: u16 = 20_000;

/// The virtual address and the address of probes, of one family.
fn ends(is_v6: bool) -> (String, String) {
    match is_v6 {
        true => (format!("[{}]:{PORT}", CHECK_SOURCES[1]), "[2001:db8::10]".to_owned()),
        false => (format!("{}:{PORT}", CHECK_SOURCES[0]), "203.0.113.10".to_owned()),
    }
}

fn tcp_probe(is_v6: bool) -> Sample {
    let (from, to) = ends(is_v6);
    Sample::tcp(&from, &format!("{to}:80"), tcp::SYN)
}

fn udp_probe(is_v6: bool) -> Sample {
    let (from, to) = ends(is_v6);
    Sample { payload: vec![7; 12], ..Sample::udp(&from, &format!("{to}:53")) }
}

fn echo_request(is_v6: bool, code: u8) -> Sample {
    let (from, to) = ends(is_v6);
    let (number, kind) = match is_v6 {
        true => (protocol::ICMPV6, icmpv6::ECHO_REQUEST),
        false => (protocol::ICMP, icmp::ECHO),
    };
    let [high, low] = PORT.to_be_bytes();
    let mut sample = Sample::tcp(&from, &format!("{to}:0"), 0);
    // The identifier alone counts.
    sample.source.set_port(1);
    Sample { protocol: number, payload: vec![kind, code, 0, 0, high, low, 0, 1, 9, 9], ..sample }
}

/// A worker with one backend that takes flows, and pins to it from both sources.
fn pinned(change: impl FnOnce(&mut Setup)) -> Workers {
    let mut setup = Setup { interfaces: [true; 2], others: Serving::Nothing, ..Setup::PLAIN };
    change(&mut setup);
    let mut workers = Workers::new(setup);
    pin(
        &mut workers,
        CHECK_SOURCES.map(|ip| (SocketAddr::new(ip.parse().unwrap(), PORT), BACKEND)),
    );
    workers
}

fn pin(workers: &mut Workers, pins: impl IntoIterator<Item = (SocketAddr, BackendId)>) {
    change(workers, Vec::new(), Some(pins.into_iter().collect()));
}

/// Publishes another record of the backend, and other pins.
fn change(
    workers: &mut Workers,
    backends: Vec<(BackendId, crate::balancer::backend::Backend)>,
    pins: Option<Pins>,
) {
    let members = workers.tables.node().members.clone();
    let change = TableChange { generation: 2, backends, pools: Vec::new(), members, pins };
    workers.tables = workers.tables.changed(change);
}

/// Gives the backend another route and another limit of the segment size.
fn reach(workers: &mut Workers, route: Option<Route>, mss: MssLimit) {
    let mut backend = workers.tables.backend(BACKEND).clone();
    (backend.route, backend.mss) = (route, mss);
    change(workers, vec![(BACKEND, backend)], None);
}

fn buffer(frame: &[u8]) -> Buffer {
    Buffer::new(frame, HEADROOM)
}

/// What the worker makes of a packet that comes by a port.
fn received(workers: &mut Workers, frame: &[u8]) -> Vec<Sent> {
    workers.receive(0, CLIENTS, [buffer(frame)])
}

/// Every setting that an encapsulation may require.
fn settings() -> Parameters {
    Parameters {
        vni: Some(0x12_3456),
        inner_source_mac: Some([2, 0, 0, 0, 0, 0xbb]),
        inner_destination_mac: Some([2, 0, 0, 0, 0, 0xaa]),
        label: Some(1000),
        ..Parameters::default()
    }
}

/// The options of a TCP header: a maximum segment size, or none.
fn with_mss(sample: &Sample, mss: u16) -> Vec<u8> {
    let [high, low] = mss.to_be_bytes();
    let mut frame = Sample { payload: vec![2, 4, high, low], ..sample.clone() }.frame();
    let l4 = frame.len() - 24;
    frame[l4 + 12] = 0x60;
    frame
}

/// A frame of a probe: TCP with any flags and maybe a segment size, or UDP.
fn probe() -> impl Strategy<Value = Vec<u8>> {
    let data = || vec(any::<u8>(), 0..300);
    prop_oneof![
        2 => (any::<bool>(), 500u16..9000).prop_map(|(is_v6, mss)| with_mss(&tcp_probe(is_v6), mss)),
        2 => (any::<bool>(), any::<u8>(), any::<u8>(), data()).prop_map(
            |(is_v6, flags, traffic_class, payload)| {
                Sample { flags, traffic_class, payload, ..tcp_probe(is_v6) }.frame()
            }
        ),
        2 => (any::<bool>(), data()).prop_map(|(is_v6, payload)| {
            Sample { payload, padding: 9, ..udp_probe(is_v6) }.frame()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// The claim that tunnel checks rest on: the packet leaves byte by byte as the same packet of a client would, whose flow
    /// the pool gives to the same backend.
    #[test]
    fn a_pinned_packet_leaves_as_traffic_does(
        frame in probe(),
        (_, encapsulation) in select(Encapsulation::NAMES),
        outer_is_v6 in any::<bool>(),
        vlan in prop::option::of(1u16..4095),
        prefix in 24u8..=32,
        mss in prop::option::of(400u16..1500),
        mtu in prop_oneof![9 => Just(MTU), 1 => 200u16..600],
    ) {
        let (source, destination): (IpAddr, IpAddr) = match outer_is_v6 {
            true => ("2001:db8::1".parse().unwrap(), "2001:db8:b::5".parse().unwrap()),
            false => ("192.0.2.1".parse().unwrap(), "10.0.0.5".parse().unwrap()),
        };
        let tunnel = Tunnel { source_mac: MAC, destination_mac: [2, 0, 0, 0, 1, 0], source, destination };
        let template = Template::with(encapsulation, &settings(), &tunnel, mtu).unwrap();
        let template = template.with_source_prefix(prefix).with_vlan(vlan);
        let route = Route { port: BACKENDS, template };
        let mss = mss.map_or(MssLimit::NONE, |mss| MssLimit { v4: mss, v6: mss });
        let mut workers = pinned(|_| ());
        reach(&mut workers, Some(route), mss);
        let (outcome, sent) = workers.send_pinned(buffer(&frame));
        let mut expected = received(&mut workers, &frame);
        if outcome == Outcome::TooLong {
            // Traffic is fragmented, or answered by an error; a probe is dropped.
            prop_assert!(mtu < MTU && sent.is_empty());
            prop_assert!(expected.len() != 1 || expected[0].0 == CLIENTS);
            return Ok(());
        }
        prop_assert_eq!(outcome, Outcome::Sent);
        prop_assert_eq!(&sent, &expected);
        // The steady flow of the same client, which the fast path may serve, leaves the same way.
        expected = received(&mut workers, &frame);
        prop_assert_eq!(&sent, &expected);
    }

    /// Whatever the node sends: nothing panics, and what is no whole packet of the three kinds is refused.
    #[test]
    fn any_bytes_are_sent_or_refused(
        mut frame in probe(),
        cuts in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        length in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        for (at, value) in cuts {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        if is_cut {
            frame.truncate(length.index(frame.len()));
        }
        let mut workers = pinned(|_| ());
        let (outcome, sent) = workers.send_pinned(buffer(&frame));
        prop_assert_eq!(sent.len(), usize::from(outcome == Outcome::Sent));
        if is_cut {
            prop_assert!(outcome != Outcome::Sent || Packet::parse(&frame).is_ok());
        }
    }
}

#[test]
fn each_kind_of_probe_finds_its_pin_by_address_and_port() {
    for is_v6 in [false, true] {
        for sample in [tcp_probe(is_v6), udp_probe(is_v6), echo_request(is_v6, 0)] {
            let mut workers = pinned(|_| ());
            let (outcome, sent) = workers.send_pinned(buffer(&sample.frame()));
            assert_eq!((outcome, sent.len()), (Outcome::Sent, 1), "{sample:?}");
            assert_eq!(sent[0].0, BACKENDS);
            // The whole packet is behind the new headers.
            assert!(sent[0].1.ends_with(&sample.ip()));
            pin(&mut workers, []);
            let (outcome, sent) = workers.send_pinned(buffer(&sample.frame()));
            assert_eq!((outcome, sent.len()), (Outcome::Unpinned, 0));
        }
        for (port, expected) in [(PORT, Outcome::Sent), (PORT + 1, Outcome::Unpinned)] {
            let mut sample = udp_probe(is_v6);
            sample.source.set_port(port);
            let (outcome, _) = pinned(|_| ()).send_pinned(buffer(&sample.frame()));
            assert_eq!(outcome, expected);
        }
        let mut elsewhere = udp_probe(is_v6);
        elsewhere
            .source
            .set_ip(if is_v6 { "2001:db8:e::8" } else { "10.255.0.8" }.parse().unwrap());
        let (outcome, _) = pinned(|_| ()).send_pinned(buffer(&elsewhere.frame()));
        assert_eq!(outcome, Outcome::Unpinned, "the port alone is no pin");
    }
}

#[test]
fn what_is_no_probe_is_refused() {
    let (v4, v6) = (tcp_probe(false), tcp_probe(true));
    let mut wrong_checksum = v4.frame();
    wrong_checksum[24] ^= 1;
    let reply = Sample { payload: vec![0; 8], ..echo_request(false, 0) };
    for (why, frame) in [
        ("nothing", Vec::new()),
        ("an Ethernet header alone", v4.frame()[..14].to_vec()),
        ("ARP", [&[2; 12][..], &[8, 6], &[0; 46]].concat()),
        ("a header's checksum", wrong_checksum),
        ("a first fragment", Sample { fragment: 0x2000, ..v4.clone() }.frame()),
        ("a later fragment", Sample { fragment: 7, ..v4.clone() }.frame()),
        ("another protocol", Sample { protocol: protocol::ESP, ..v6 }.frame()),
        ("an echo reply", reply.frame()),
        ("an echo request of another code", echo_request(true, 1).frame()),
        ("a short message", Sample { payload: vec![8, 0, 0, 0], ..echo_request(false, 0) }.frame()),
        ("ICMP over IPv6", Sample { protocol: protocol::ICMP, ..echo_request(true, 0) }.frame()),
    ] {
        let (outcome, sent) = pinned(|_| ()).send_pinned(buffer(&frame));
        assert_eq!((outcome, sent), (Outcome::Invalid, Vec::new()), "{why}");
    }
}

#[test]
fn a_way_that_is_not_there_is_an_outcome() {
    let frame = tcp_probe(false).frame();
    let mut workers = pinned(|_| ());
    reach(&mut workers, None, MssLimit::NONE);
    assert_eq!(workers.send_pinned(buffer(&frame)), (Outcome::Unresolved, Vec::new()));

    let mut workers = pinned(|setup| setup.mtu = 1500);
    for (length, expected) in [(1400, Outcome::Sent), (1460, Outcome::TooLong)] {
        let sample = Sample { payload: vec![0; length], ..udp_probe(false) };
        assert_eq!(workers.send_pinned(buffer(&sample.frame())).0, expected, "{length}");
    }
    assert_eq!(workers.send_pinned(Buffer::new(&frame, 2)), (Outcome::NoRoom, Vec::new()));
    workers.device_is_full = true;
    assert_eq!(workers.send_pinned(buffer(&frame)), (Outcome::NoRoom, Vec::new()));
    // Not even an id that no backend has is a fault.
    pin(
        &mut workers,
        [(format!("{}:{PORT}", CHECK_SOURCES[0]).parse().unwrap(), BackendId::new(99))],
    );
    assert_eq!(workers.send_pinned(buffer(&frame)).0, Outcome::Unresolved);
}

/// Neither the state of the backend nor a service decides, and no trace is left: probes must not change what they measure.
#[test]
fn a_probe_needs_no_service_and_leaves_no_trace() {
    for serving in [Serving::All, Serving::Existing, Serving::Nothing] {
        let mut workers = pinned(|setup| setup.serving = serving);
        let (from, to) = ends(false);
        let closed = Sample::tcp(&from, &format!("{to}:9999"), tcp::SYN);
        assert_eq!(workers.send_pinned(buffer(&closed.frame())).0, Outcome::Sent);
        assert_eq!((workers.verdicts(), workers.forwarded()), (Vec::new(), 0));
    }
}

/// Servers answer from the virtual address, which is no source of any other packet.
#[test]
fn an_answer_to_a_probe_reaches_the_kernel() {
    for (is_v6, own) in [(false, "10.255.0.1"), (true, "2001:db8:c::200")] {
        let mut answer = tcp_probe(is_v6).with_flags(tcp::SYN | tcp::ACK);
        std::mem::swap(&mut answer.source, &mut answer.destination);
        let fragment = Sample { fragment: 0x2000, ..answer.clone() };
        for answer in [answer.clone(), fragment] {
            let mut workers = pinned(|_| ());
            assert_eq!(received(&mut workers, &answer.frame()), []);
            assert_eq!(workers.verdicts(), [(Verdict::Punted, 1)], "{answer:?}");
            assert_eq!(workers.punted[0].1, Class::Probe);
        }
        let mut spoofed = answer.clone();
        spoofed.destination.set_ip(own.parse().unwrap());
        let mut workers = pinned(|_| ());
        received(&mut workers, &spoofed.frame());
        assert_eq!(workers.verdicts(), [(Verdict::Dropped(DropReason::SourceInvalid), 1)]);
        let mut looped = answer.frame();
        looped[6..12].copy_from_slice(&MAC);
        let mut workers = pinned(|_| ());
        received(&mut workers, &looped);
        assert_eq!(workers.verdicts(), [(Verdict::Dropped(DropReason::LoopedFrame), 1)]);
    }
}

/// Of the addresses that no host has, servers answer from virtual ones alone.
#[test]
fn an_answer_from_another_address_of_the_node_is_refused() {
    let mut spoofed = tcp_probe(false);
    (spoofed.source, spoofed.destination) = ("192.0.2.1:80".parse().unwrap(), spoofed.source);
    let mut workers = pinned(|_| ());
    received(&mut workers, &spoofed.frame());
    assert_eq!(workers.verdicts(), [(Verdict::Dropped(DropReason::SourceInvalid), 1)]);
}

/// What routers say about tunnel packets goes to the tunnel's source, where the controller listens.
#[test]
fn an_error_about_a_tunnel_packet_reaches_the_kernel() {
    let mut workers = pinned(|_| ());
    let (_, sent) = workers.send_pinned(buffer(&tcp_probe(false).frame()));
    let quoted = &sent[0].1[14..][..28];
    for (kind, code) in [(icmp::DESTINATION_UNREACHABLE, 1), (icmp::TIME_EXCEEDED, 0)] {
        let error = Sample {
            protocol: protocol::ICMP,
            payload: [&[kind, code, 0, 0, 0, 0, 0, 0], quoted].concat(),
            ..Sample::tcp("10.9.9.9:0", "192.0.2.1:0", 0)
        };
        let mut workers = pinned(|_| ());
        assert_eq!(received(&mut workers, &error.frame()), []);
        assert_eq!(workers.verdicts(), [(Verdict::Punted, 1)]);
        assert_eq!(workers.punted[0].1, Class::Own);
    }
}
