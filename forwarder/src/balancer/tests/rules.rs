//! The balancer's rules, one test each.

use super::*;

#[test]
fn a_new_backend_moves_no_flow_that_is_in_the_table() {
    let (before, after) = (Config::all(3).tables(), Config::all(4).tables());
    let mut rig = Rig::new(4096);
    let flows: Vec<_> =
        (0..300).map(|n| (n, rig.send(&before, &client(n, ACK)).unwrap())).collect();
    assert!(flows.iter().all(|(_, (_, event))| *event == FlowEvent::New));
    for &(n, (backend, _)) in &flows {
        assert_eq!(rig.send(&after, &client(n, ACK)), Ok((backend, FlowEvent::Hit)));
        assert_eq!(rig.send(&after, &client(n, SYN)), Ok((backend, FlowEvent::Hit)));
    }
    let would_move = flows.iter().filter(|(n, (b, _))| choice(&after, &client(*n, ACK)) != *b);
    assert!(would_move.count() > 50, "the test proves nothing if the table alone moves none");
}

#[test]
fn flows_of_a_backend_that_is_gone_go_to_the_maglev_choice() {
    let before = Config::all(4).tables();
    let disabled = Config::all(4).with(3, Serving::Nothing).tables();
    let removed = Config::all(3).tables();
    for after in [disabled, removed] {
        let mut rig = Rig::new(4096);
        let mut moved = 0;
        for n in 0..300 {
            let sample = client(n, ACK);
            let (backend, _) = rig.send(&before, &sample).unwrap();
            let expected = match backend.get() {
                3 => (choice(&after, &sample), FlowEvent::Moved),
                _ => (backend, FlowEvent::Hit),
            };
            moved += usize::from(backend.get() == 3);
            assert_eq!(rig.send(&after, &sample), Ok(expected));
            assert_eq!(rig.send(&after, &sample), Ok((expected.0, FlowEvent::Hit)));
        }
        assert!(moved > 30);
    }
}

/// When a backend is back, its former flows stay with the backends that they moved to.
#[test]
fn a_moved_flow_does_not_return() {
    let all = Config::all(4).tables();
    let without = Config::all(4).with(3, Serving::Nothing).tables();
    let sample = client_of(&all, 3, ACK);
    let mut rig = Rig::new(64);
    rig.send(&all, &sample).unwrap();
    let (elsewhere, _) = rig.send(&without, &sample).unwrap();
    assert_eq!(rig.send(&all, &sample), Ok((elsewhere, FlowEvent::Hit)));
}

#[test]
fn a_draining_backend_keeps_its_flows_and_takes_no_new_ones() {
    let before = Config::all(3).tables();
    let after = Config::all(3).with(2, Serving::Existing).tables();
    let sample = client_of(&before, 2, ACK);
    let mut rig = Rig::new(4096);
    rig.send(&before, &sample).unwrap();
    for flags in [ACK, SYN | ACK, FIN, ACK] {
        let hit = (BackendId::new(2), FlowEvent::Hit);
        assert_eq!(rig.send(&after, &sample.with_flags(flags)), Ok(hit));
    }
    for n in 0..300 {
        let sample = Sample::tcp(&format!("192.0.2.77:{}", 1024 + n), "203.0.113.10:80", SYN);
        assert_ne!(rig.send(&after, &sample).unwrap().0.get(), 2);
    }
}

#[test]
fn a_draining_backend_keeps_its_udp_flows() {
    let before = Config::all(2).tables();
    let sample = Sample::udp("198.51.100.1:5000", "203.0.113.10:53");
    let mut rig = Rig::new(64);
    let (backend, _) = rig.send(&before, &sample).unwrap();
    let after = Config::all(2).with(backend.index(), Serving::Existing).tables();
    assert_eq!(rig.send(&after, &sample), Ok((backend, FlowEvent::Hit)));
}

#[test]
fn a_reused_port_does_not_enter_a_draining_backend() {
    let before = Config::all(3).tables();
    let after = Config::all(3).with(2, Serving::Existing).tables();
    let sample = client_of(&before, 2, ACK);
    let expected = choice(&after, &sample);
    // The last packet of the flow besides its handshake, its idle time, and whether a SYN moves it.
    let cases = [
        (None, 240 * SECOND, false),
        (None, 240 * SECOND + 1, true),
        (Some(FIN), 999, false),
        (Some(FIN), 1000, true),
        (Some(RST), 999, false),
        (Some(RST), 1000, true),
    ];
    for (last, rest, moves) in cases {
        let mut rig = Rig::new(64);
        rig.connect(&before, &sample);
        if let Some(flags) = last {
            rig.wait(SECOND).send(&after, &sample.with_flags(flags)).unwrap();
        }
        let case = format!("{last:?} {rest}");
        let before_syn = rig.state();
        let after_syn = rig.wait(rest).send(&after, &sample.with_flags(SYN));
        if !moves {
            assert_eq!(after_syn, Ok((BackendId::new(2), FlowEvent::Hit)), "{case}");
            assert_eq!(rig.state(), before_syn, "{case}");
            continue;
        }
        assert_eq!(after_syn, Ok((expected, FlowEvent::Moved)), "{case}");
        assert_eq!(rig.state(), State::Syn);
        assert_eq!(rig.send(&after, &sample), Ok((expected, FlowEvent::Hit)));
    }
}

/// An incomplete handshake starts again with another backend.
#[test]
fn a_syn_that_is_sent_again_does_not_enter_a_draining_backend() {
    let before = Config::all(3).tables();
    let after = Config::all(3).with(2, Serving::Existing).tables();
    let sample = client_of(&before, 2, SYN);
    let mut rig = Rig::new(64);
    rig.send(&before, &sample).unwrap();
    let expected = choice(&after, &sample);
    assert_eq!(rig.wait(SECOND).send(&after, &sample), Ok((expected, FlowEvent::Moved)));
}

/// A forged SYN for each connection during a drain moves none of them.
#[test]
fn forged_syns_move_no_connection_of_a_draining_backend() {
    let before = Config::all(3).tables();
    let after = Config::all(3).with(2, Serving::Existing).tables();
    let mut rig = Rig::new(4096);
    let backends: Vec<_> = (0..100).map(|n| rig.connect(&before, &client(n, ACK))).collect();
    assert!(backends.iter().filter(|b| b.get() == 2).count() > 10);
    rig.wait(100 * SECOND);
    for flags in
        [SYN, SYN | tcp::ECE | tcp::CWR, SYN | tcp::FIN, SYN | RST, FIN, SYN, RST, SYN, ACK]
    {
        for (n, &backend) in (0..).zip(&backends) {
            let sent = rig.send(&after, &client(n, flags));
            assert_eq!(sent, Ok((backend, FlowEvent::Hit)), "{flags:#x}");
        }
    }
}

/// A RST or FIN of any sequence number does not end a flow that goes on.
#[test]
fn a_forged_end_does_not_end_a_flow() {
    let (before, after) = (Config::all(3).tables(), Config::all(4).tables());
    let sample =
        (0..).map(|n| client(n, ACK)).find(|s| choice(&before, s) != choice(&after, s)).unwrap();
    let data = Sample { payload: vec![7], ..sample.with_flags(tcp::PSH | ACK) };
    let padded = Sample { padding: 6, ..sample.clone() };
    // The forged packet, the packet that follows, after how long, and the state then.
    let cases = [
        (RST, &data, 0, State::Established),
        (RST, &sample, 0, State::Established),
        (RST | ACK, &sample, 100_000, State::Established),
        (FIN, &data, 0, State::Established),
        (FIN, &sample, 1000, State::HalfClosed),
        (FIN, &padded, 999, State::Closing),
    ];
    for (flags, next, wait, state) in cases {
        let mut rig = Rig::new(64);
        let backend = rig.connect(&before, &sample);
        rig.wait(SECOND).send(&after, &sample.with_flags(flags)).unwrap();
        let hit = Ok((backend, FlowEvent::Hit));
        assert_eq!(rig.wait(wait).send(&after, next), hit, "{flags:#x}");
        assert_eq!(rig.state(), state, "{flags:#x}");
        if state != State::Closing {
            assert_eq!(rig.wait(899 * SECOND).send(&after, &sample), hit, "{flags:#x}");
        }
    }
}

/// After its FIN the client acknowledges for hours what the server sends.
#[test]
fn a_half_closed_connection_goes_on_for_hours() {
    let (before, after) = (Config::all(3).tables(), Config::all(4).tables());
    let sample =
        (0..).map(|n| client(n, ACK)).find(|s| choice(&before, s) != choice(&after, s)).unwrap();
    let mut rig = Rig::new(64);
    let backend = rig.connect(&before, &sample);
    rig.send(&after, &sample.with_flags(FIN)).unwrap();
    for rest in [0, 1, 200, 500, 800, 899, 899, 899, 899, 899, 899, 899, 899] {
        let sent = rig.wait(rest * SECOND).send(&after, &sample);
        assert_eq!(sent, Ok((backend, FlowEvent::Hit)));
    }
    // A retransmitted FIN ends the connection again.
    rig.send(&after, &sample.with_flags(FIN)).unwrap();
    assert_eq!(rig.state(), State::Closing);
}

/// Floods of packets that come once or twice leave slots for connections.
#[test]
fn no_flood_of_unknown_packets_keeps_connections_out() {
    let tables = Config::all(5).tables();
    let tcp = |n: u32, flags| {
        let [_, a, b, c] = n.to_be_bytes();
        Sample::tcp(&format!("10.{a}.{b}.{c}:5"), "203.0.113.10:80", flags)
    };
    let udp = |n: u32| {
        let [_, a, b, c] = n.to_be_bytes();
        Sample::udp(&format!("10.{a}.{b}.{c}:5"), "203.0.113.10:53")
    };
    let floods: [&dyn Fn(u32) -> Sample; 6] = [
        &|n| tcp(n, ACK),
        &|n| tcp(n, RST),
        &|n| tcp(n, 0),
        &|n| tcp(n, SYN | ACK),
        &|n| tcp(n, FIN),
        &udp,
    ];
    for (number, flood) in floods.into_iter().enumerate() {
        let mut rig = Rig::new(16_384);
        for n in 0..25_000 {
            for _ in 0..2 {
                rig.send(&tables, &flood(n)).unwrap();
            }
            rig.now += u64::from(n % 100 == 0);
        }
        for n in 0..1000 {
            let (_, event) = rig.send(&tables, &client(n, SYN)).unwrap();
            assert!(matches!(event, FlowEvent::New | FlowEvent::NewDisplacing), "flood {number}");
            assert_eq!(rig.send(&tables, &client(n, ACK)).unwrap().1, FlowEvent::Hit);
        }
        for n in 25_000..50_000 {
            rig.send(&tables, &flood(n)).unwrap();
        }
        for n in 0..1000 {
            let event = rig.wait(1).send(&tables, &client(n, ACK)).unwrap().1;
            assert_eq!(event, FlowEvent::Hit, "flood {number}");
        }
    }
}

#[test]
fn a_forged_syn_neither_moves_an_established_flow_nor_shortens_its_life() {
    let (before, after) = (Config::all(3).tables(), Config::all(4).tables());
    let sample =
        (0..).map(|n| client(n, ACK)).find(|s| choice(&before, s) != choice(&after, s)).unwrap();
    let mut rig = Rig::new(64);
    let backend = rig.connect(&before, &sample);
    for flags in [SYN, SYN | tcp::ECE | tcp::CWR, SYN | tcp::PSH | tcp::URG] {
        let forged = rig.wait(SECOND).send(&after, &sample.with_flags(flags));
        assert_eq!(forged, Ok((backend, FlowEvent::Hit)));
        assert_eq!(rig.state(), State::Established);
    }
    assert_eq!(rig.wait(900 * SECOND).send(&after, &sample), Ok((backend, FlowEvent::Hit)));
}

/// The first packets of a flow lead to a state, which has an idle timeout in seconds.
#[test]
fn each_state_lives_as_long_as_its_timeout() {
    let tables = Config::all(3).tables();
    let tcp = |flags: &[u8]| flags.iter().map(|&f| client(1, f)).collect::<Vec<_>>();
    let udp = Sample::udp("198.51.100.1:5000", "203.0.113.10:53");
    let cases = [
        (tcp(&[SYN]), State::Syn, 60),
        (tcp(&[SYN, SYN]), State::Syn, 60),
        (tcp(&[SYN, ACK]), State::Established, 900),
        (tcp(&[ACK]), State::Unconfirmed, 60),
        (tcp(&[0]), State::Unconfirmed, 60),
        (tcp(&[FIN]), State::Unconfirmed, 60),
        (tcp(&[RST]), State::Unconfirmed, 60),
        (tcp(&[SYN | ACK]), State::Unconfirmed, 60),
        (tcp(&[SYN | FIN]), State::Unconfirmed, 60),
        (tcp(&[SYN, FIN]), State::Syn, 60),
        (tcp(&[SYN, RST]), State::Syn, 60),
        (tcp(&[ACK, SYN]), State::Syn, 60),
        (tcp(&[SYN, ACK, SYN]), State::Established, 900),
        (tcp(&[SYN, ACK, FIN]), State::Closing, 240),
        (tcp(&[SYN, ACK, RST | ACK]), State::Reset, 240),
        (tcp(&[SYN, ACK, RST, ACK]), State::Established, 900),
        (tcp(&[SYN, ACK, FIN, RST]), State::Reset, 240),
        (tcp(&[SYN, ACK, RST, FIN]), State::Closing, 240),
        (tcp(&[SYN, ACK, FIN, SYN]), State::Syn, 60),
        (tcp(&[SYN, ACK, FIN, SYN, ACK]), State::Established, 900),
        (vec![udp], State::Unconfirmed, 60),
    ];
    for (samples, state, seconds) in cases {
        for (wait, event) in
            [(seconds * SECOND, FlowEvent::Hit), (seconds * SECOND + 1, FlowEvent::New)]
        {
            let mut rig = Rig::new(64);
            for sample in &samples {
                rig.wait(7).send(&tables, sample).unwrap();
            }
            assert_eq!(rig.state(), state, "{samples:?}");
            let last = samples.last().unwrap();
            assert_eq!(rig.wait(wait).send(&tables, last).unwrap().1, event, "{samples:?}");
        }
    }
}

/// A flow that began without a SYN is confirmed by a packet that comes a second later, not before.
#[test]
fn a_later_packet_confirms_a_flow() {
    let tables = Config::all(3).tables();
    let udp = Sample::udp("198.51.100.1:5000", "203.0.113.10:53");
    let cases = [
        (client(1, ACK), State::Established),
        (client(1, SYN | ACK), State::Established),
        (client(1, FIN), State::Closing),
        (client(1, RST), State::Unconfirmed),
        (udp, State::Udp),
    ];
    for (sample, state) in cases {
        let mut rig = Rig::new(64);
        rig.send(&tables, &sample).unwrap();
        for _ in 0..3 {
            rig.wait(333).send(&tables, &sample).unwrap();
            assert_eq!(rig.state(), State::Unconfirmed);
        }
        rig.wait(1).send(&tables, &sample).unwrap();
        assert_eq!(rig.state(), state, "{sample:?}");
    }
}

#[test]
fn every_packet_restarts_the_idle_time() {
    let tables = Config::all(3).tables();
    let sample = Sample::udp("198.51.100.1:5000", "203.0.113.10:53");
    let mut rig = Rig::new(64);
    rig.send(&tables, &sample).unwrap();
    for _ in 0..10 {
        assert_eq!(rig.wait(59 * SECOND).send(&tables, &sample).unwrap().1, FlowEvent::Hit);
    }
}

#[test]
fn an_expired_flow_goes_to_the_maglev_choice() {
    let (before, after) = (Config::all(3).tables(), Config::all(4).tables());
    let sample =
        (0..).map(|n| client(n, SYN)).find(|s| choice(&before, s) != choice(&after, s)).unwrap();
    let mut rig = Rig::new(64);
    rig.send(&before, &sample).unwrap();
    let expected = (choice(&after, &sample), FlowEvent::New);
    assert_eq!(rig.wait(60 * SECOND + 1).send(&after, &sample), Ok(expected));
}

#[test]
fn a_service_with_another_pool_takes_its_flows_along() {
    let two_pools =
        Config { pools: vec![vec![Serving::All; 2], vec![Serving::All; 2]], ..Config::all(2) };
    let (before, after) = (two_pools.tables(), Config { pool: 1, ..two_pools }.tables());
    let mut rig = Rig::new(64);
    assert!(rig.send(&before, &client(1, ACK)).unwrap().0.get() < 2);
    let expected = choice(&after, &client(1, ACK));
    assert!(expected.get() >= 2);
    assert_eq!(rig.send(&after, &client(1, ACK)), Ok((expected, FlowEvent::Moved)));
    // The service that keeps pool 0 keeps its flows too.
    let other = Sample::tcp("198.51.100.1:9", "203.0.113.10:81", ACK);
    let (backend, _) = rig.send(&before, &other).unwrap();
    assert_eq!(rig.send(&after, &other), Ok((backend, FlowEvent::Hit)));
}

#[test]
fn a_pool_in_which_no_one_takes_new_flows_has_no_backend() {
    for serving in [&[][..], &[Serving::Nothing; 2], &[Serving::Existing; 2]] {
        let tables = Config::new(serving).tables();
        assert_eq!(Rig::new(64).send(&tables, &client(1, SYN)), Err(DropReason::NoBackend.into()));
    }
}

/// The packet is dropped, but the entry stays: once the backend is back, it has its flow again.
#[test]
fn a_flow_without_a_backend_is_not_forgotten() {
    let (up, down) = (Config::all(2).tables(), Config::new(&[Serving::Nothing; 2]).tables());
    let draining = Config::new(&[Serving::Existing; 2]).tables();
    let mut rig = Rig::new(64);
    let backend = rig.connect(&up, &client(1, ACK));
    assert_eq!(rig.send(&down, &client(1, ACK)), Err(DropReason::NoBackend.into()));
    rig.wait(241 * SECOND);
    assert_eq!(rig.send(&draining, &client(1, SYN)), Err(DropReason::NoBackend.into()));
    assert_eq!(rig.state(), State::Established);
    assert_eq!(rig.send(&up, &client(1, ACK)), Ok((backend, FlowEvent::Hit)));
}

/// A flow is the 5-tuple: all of it, and nothing else.
#[test]
fn flows_differ_by_every_part_of_the_key() {
    let tables = Config::all(3).tables();
    let base = client(1, ACK);
    let tags = vec![(0x8100, 7)];
    let same = [
        Sample { tags, ..base.clone() },
        Sample { traffic_class: 0xb8, payload: vec![1], ..base.clone() },
        Sample { options: vec![1, 1, 1, 1], padding: 6, ..base.clone() },
    ];
    let other = [
        client(2, ACK),
        Sample::tcp("198.51.100.2:1025", "203.0.113.10:80", ACK),
        Sample::tcp("198.51.100.1:1025", "203.0.113.10:81", ACK),
    ];
    let mut rig = Rig::new(4096);
    assert_eq!(rig.send(&tables, &base).unwrap().1, FlowEvent::New);
    for sample in same {
        assert_eq!(rig.send(&tables, &sample).unwrap().1, FlowEvent::Hit);
    }
    for sample in other {
        assert_eq!(rig.send(&tables, &sample).unwrap().1, FlowEvent::New);
    }
}

/// Extension headers are no part of the flow.
#[test]
fn an_extended_ipv6_packet_is_of_the_plain_ones_flow() {
    let tables = Config::all(3).tables();
    let plain = Sample::tcp("[2001:db8:c::1]:1025", "[2001:db8::10]:80", ACK);
    let extensions = vec![protocol::TCP, 0, 1, 4, 0, 0, 0, 0];
    let extended = Sample { extension: 60, extensions, ..plain.clone() };
    let mut rig = Rig::new(64);
    let (backend, _) = rig.send(&tables, &plain).unwrap();
    assert_eq!(rig.send(&tables, &extended), Ok((backend, FlowEvent::Hit)));
}

#[test]
fn each_reason_to_drop() {
    let tables = Config { mac: Some(MAC), ..Config::all(2) }.tables();
    let tcp = client(1, SYN);
    let v6 = Sample::tcp("[2001:db8:c::1]:1025", "[2001:db8::10]:80", SYN);
    let fragment_header = |offset_more: u8| vec![protocol::TCP, 0, 0, offset_more, 0, 0, 0, 1];
    let fragment_v6 =
        |bits| Sample { extension: 44, extensions: fragment_header(bits), ..v6.clone() };
    let icmp = Sample { protocol: protocol::ICMP, payload: vec![8; 8], ..tcp.clone() };
    let vip = Vip::default();
    let cases: [(Sample, Refusal); 19] = [
        (Sample { mac: [2, 0, 0, 0, 0, 2], ..tcp.clone() }, DropReason::WrongMac.into()),
        (Sample { mac: [0xff; 6], ..tcp.clone() }, DropReason::MulticastMac.into()),
        (Sample { mac: [0x33, 0x33, 0, 0, 0, 1], ..v6.clone() }, DropReason::MulticastMac.into()),
        (Sample::tcp("198.51.100.1:1", "203.0.113.11:80", SYN), Exception::Elsewhere.into()),
        (Sample::tcp("[2001:db8:c::1]:1", "[2001:db8::11]:80", SYN), Exception::Elsewhere.into()),
        (
            Sample { fragment: 0x2000, ..Sample::udp("192.0.2.9:1", "203.0.113.11:53") },
            Exception::Elsewhere.into(),
        ),
        (Sample::tcp("198.51.100.1:1", "203.0.113.10:8080", SYN), Exception::Closed(vip).into()),
        (Sample::tcp("198.51.100.1:1", "203.0.113.10:53", SYN), Exception::Closed(vip).into()),
        (Sample::udp("198.51.100.1:1", "203.0.113.10:80"), Exception::Closed(vip).into()),
        (icmp.clone(), Exception::Icmp(vip).into()),
        (Sample { fragment: 0x2000, ..icmp }, Exception::Fragment(vip).into()),
        (
            Sample { protocol: protocol::ICMPV6, payload: vec![128; 8], ..v6.clone() },
            Exception::Icmp(vip).into(),
        ),
        (Sample { protocol: protocol::GRE, ..tcp.clone() }, DropReason::UnsupportedProtocol.into()),
        (Sample { protocol: 132, ..v6.clone() }, DropReason::UnsupportedProtocol.into()),
        (Sample { fragment: 0x2000, ..tcp.clone() }, Exception::Fragment(vip).into()),
        (Sample { fragment: 0x0001, ..tcp.clone() }, Exception::Fragment(vip).into()),
        (Sample { fragment: 0x2001, ..tcp.clone() }, Exception::Fragment(vip).into()),
        (fragment_v6(1), Exception::Fragment(vip).into()),
        (fragment_v6(8), Exception::Fragment(vip).into()),
    ];
    let mut rig = Rig::new(64);
    for (sample, reason) in cases {
        assert_eq!(rig.send(&tables, &sample), Err(reason), "{sample:?}");
    }
    assert!(rig.balancer.flows().is_empty(), "what is dropped leaves no flow");
    for sample in [tcp, v6.clone(), fragment_v6(0)] {
        assert!(rig.send(&tables, &sample).is_ok(), "{sample:?}");
    }
}

#[test]
fn a_malformed_frame_has_its_own_reason() {
    let tables = Config { mac: Some(MAC), ..Config::all(1) }.tables();
    let frame = client(1, SYN).frame();
    let reason = |length: usize| {
        let balancer = Balancer::new(4, LocalSeed::new(1));
        Refusal::from(balancer.classify(&tables, PORT, &frame[..length]).unwrap_err())
    };
    assert_eq!(reason(0), DropReason::Malformed(Malformed::EthernetTruncated).into());
    assert_eq!(reason(13), DropReason::Malformed(Malformed::EthernetTruncated).into());
    assert_eq!(reason(33), DropReason::Malformed(Malformed::Ipv4Truncated).into());
    assert_eq!(reason(frame.len() - 1), DropReason::Malformed(Malformed::Ipv4TotalLength).into());
}

#[test]
fn a_port_without_a_mac_takes_any() {
    let tables = Config::all(1).tables();
    for mac in [MAC, [2, 0, 0, 0, 0, 2], [0xff; 6]] {
        assert!(Rig::new(4).send(&tables, &Sample { mac, ..client(1, SYN) }).is_ok());
    }
}

/// Neither the IPv4-mapped address of an IPv4 service (RFC 4291 section 2.5.5.2) nor another IPv6 address with the same
/// low bits reaches it.
#[test]
fn an_ipv6_packet_never_matches_an_ipv4_service() {
    let tables = Config::all(1).tables();
    for destination in ["[::ffff:203.0.113.10]:80", "[::203.0.113.10]:80"] {
        let sample = Sample::tcp("[2001:db8:c::1]:1", destination, SYN);
        assert_eq!(Rig::new(4).send(&tables, &sample), Err(Exception::Elsewhere.into()));
    }
}

#[test]
fn without_a_next_hop_a_packet_is_dropped_but_its_flow_is_kept() {
    let unresolved = Config { resolved: false, ..Config::all(3) }.tables();
    let frame = client(1, SYN).frame();
    let mut rig = Rig::new(64);
    let classified = rig.balancer.classify(&unresolved, PORT, &frame).unwrap();
    let (backend, _) = rig.send(&unresolved, &client(1, SYN)).unwrap();
    let mut buffer = Buffer::new(&frame, 128);
    let refused = rig.balancer.encapsulate(&unresolved, &classified, backend, &mut buffer);
    assert_eq!(refused, Err(DropReason::NextHopUnresolved));
    assert_eq!(buffer.bytes(), frame);
    let resolved = Config::all(3).tables();
    assert_eq!(rig.send(&resolved, &client(1, SYN)), Ok((backend, FlowEvent::Hit)));
    let sent = rig.balancer.encapsulate(&resolved, &classified, backend, &mut buffer);
    assert_eq!(sent, Ok(OUT));
}

#[test]
fn a_full_bucket_still_forwards_by_the_maglev_table() {
    let tables = Config::all(5).tables();
    let mut rig = Rig::new(4);
    for n in 0..4 {
        rig.connect(&tables, &client(n, ACK));
    }
    for n in 4..50 {
        let expected = (choice(&tables, &client(n, ACK)), FlowEvent::Unrecorded);
        for flags in [SYN, ACK, FIN] {
            assert_eq!(rig.send(&tables, &client(n, flags)), Ok(expected));
        }
    }
    for n in 0..4 {
        assert_eq!(rig.send(&tables, &client(n, ACK)).unwrap().1, FlowEvent::Hit);
    }
}

#[test]
fn a_syn_flood_displaces_no_established_flow_and_keeps_none_out() {
    let tables = Config::all(5).tables();
    let mut rig = Rig::new(4);
    rig.connect(&tables, &client(0, ACK));
    for n in 100..200 {
        rig.wait(1).send(&tables, &client(n, SYN)).unwrap();
    }
    assert_eq!(rig.send(&tables, &client(0, ACK)).unwrap().1, FlowEvent::Hit);
    assert_eq!(rig.send(&tables, &client(1, SYN)).unwrap().1, FlowEvent::Unrecorded);
    assert_eq!(rig.send(&tables, &client(1, ACK)).unwrap().1, FlowEvent::NewDisplacing);
    assert_eq!(rig.send(&tables, &client(1, ACK)).unwrap().1, FlowEvent::Hit);
    assert_eq!(rig.send(&tables, &client(0, ACK)).unwrap().1, FlowEvent::Hit);
}

#[test]
fn the_sweep_forgets_what_expired_and_whose_backend_is_gone() {
    let before = Config::all(3).tables();
    let after = Config::new(&[Serving::All, Serving::Existing, Serving::Nothing]).tables();
    let mut rig = Rig::new(4096);
    let flows: Vec<_> = (0..100).map(|n| rig.connect(&before, &client(n, ACK)).get()).collect();
    rig.send(&before, &Sample::udp("198.51.100.1:5000", "203.0.113.10:53")).unwrap();
    rig.wait(60 * SECOND + 1);
    let now = Time::from_millis(rig.now);
    while !rig.balancer.sweep(&after, now) {}
    assert_eq!(rig.balancer.flows().len(), flows.iter().filter(|&&b| b != 2).count());
}
