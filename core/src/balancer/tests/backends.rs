//! Flows when backends come, drain, fail, lose their next hop, or change pools.

use super::*;

#[test]
#[cfg_attr(miri, ignore = "hundreds of packets: minutes under Miri")]
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
#[cfg_attr(miri, ignore = "hundreds of packets: minutes under Miri")]
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
#[cfg_attr(miri, ignore = "hundreds of packets: minutes under Miri")]
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
        (Some(RST), 29_999, false),
        (Some(RST), 30_000, true),
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
            assert_eq!(after_syn, Err(DropReason::BackendDraining.into()), "{case}");
            assert_eq!(rig.state(), before_syn, "{case}");
            // A real client repeats its SYN.
            let again = rig.wait(SECOND).send(&after, &sample.with_flags(SYN));
            assert_eq!(again, Ok((expected, FlowEvent::Moved)), "{case}");
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
#[cfg_attr(miri, ignore = "hundreds of packets: minutes under Miri")]
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
            let begins = flags & (SYN | ACK) == SYN;
            match backend.get() {
                2 if begins => assert_eq!(sent, Err(DropReason::BackendDraining.into())),
                _ => assert_eq!(sent, Ok((backend, FlowEvent::Hit)), "{flags:#x}"),
            }
        }
    }
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
    assert_eq!(rig.send(&draining, &client(1, ACK)), Ok((backend, FlowEvent::Hit)));
    assert_eq!(rig.state(), State::Established);
    assert_eq!(rig.send(&up, &client(1, ACK)), Ok((backend, FlowEvent::Hit)));
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
fn a_change_makes_the_tables_that_the_whole_makes() {
    let (before, after) = (Config::all(4).tables(), Config::all(4).with(2, Serving::Nothing));
    let after = after.tables();
    assert_ne!(before, after);
    let backend = BackendId::new(2);
    let change = TableChange {
        generation: 1,
        backends: vec![(backend, after.backend(backend).clone())],
        pools: vec![(PoolIndex(0), after.pool(PoolIndex(0)).clone())],
        members: Vec::new(),
        pins: None,
    };
    assert_eq!(before.changed(change), after);
}
