//! The states of flows: forged packets, timeouts, floods and full buckets.

use super::super::conntrack::SweepPace;
use super::*;
use crate::stats::{Event, channel};

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
#[cfg_attr(miri, ignore = "half a million packets: hours under Miri")]
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
        (tcp(&[ACK, SYN]), State::Syn, 60),
        (tcp(&[SYN, ACK, SYN]), State::Established, 900),
        (tcp(&[SYN, ACK, FIN]), State::Closing, 240),
        (tcp(&[SYN, ACK, RST | ACK]), State::Reset, 240),
        (tcp(&[SYN, ACK, RST, ACK]), State::Established, 900),
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

/// A RST gives no longer life to a flow that has ended, or has only begun. So no flood of RSTs keeps its entry.
#[test]
fn a_second_end_does_not_renew_a_flow() {
    let tables = Config::all(3).tables();
    let cases = [
        (&[SYN][..], FIN, State::Syn, 60),
        (&[SYN], RST, State::Syn, 60),
        (&[SYN, ACK, FIN], RST, State::Reset, 240),
        (&[SYN, ACK, RST], RST, State::Reset, 240),
        (&[SYN, ACK, RST, FIN], RST, State::Reset, 240),
    ];
    for (first, last, state, seconds) in cases {
        let mut rig = Rig::new(64);
        first.iter().for_each(|&flags| _ = rig.send(&tables, &client(1, flags)).unwrap());
        for _ in 0..seconds {
            let event = rig.wait(SECOND).send(&tables, &client(1, last)).unwrap().1;
            assert_eq!((event, rig.state()), (FlowEvent::Hit, state), "{first:?} {last:#x}");
        }
        let event = rig.wait(1).send(&tables, &client(1, last)).unwrap().1;
        assert_eq!(event, FlowEvent::New, "{first:?} {last:#x}");
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
#[cfg_attr(miri, ignore = "hundreds of packets: minutes under Miri")]
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

/// Clients die in silence. Their flows are counted no more 10 seconds after their timeout, however long the rounds of
/// the worker, and although no packet comes.
#[test]
#[cfg_attr(miri, ignore = "hundreds of flows: minutes under Miri")]
fn flows_of_silent_clients_leave_within_ten_seconds_of_their_timeout() {
    let tables = Config::all(3).tables();
    for round_ms in [1, 10] {
        let mut rig = Rig::new(1 << 16);
        let (writer, reader) = channel(4, 3);
        rig.balancer.count_by(writer.flow_writer());
        (0..500).for_each(|n| _ = rig.connect(&tables, &client(n, ACK)));
        let live = || reader.service(0).live;
        let mut pace = SweepPace::new(rig.balancer.flows().capacity());
        let mut rest = |rig: &mut Rig, ms: u64| {
            let end = rig.now + ms;
            while rig.now < end {
                // A worker that is behind does not rest.
                rig.now += if pace.is_behind() { 0 } else { round_ms };
                let now = Time::from_millis(rig.now);
                (0..pace.due(now)).for_each(|_| _ = rig.balancer.sweep(&tables, now));
            }
        };
        rest(&mut rig, 899 * SECOND);
        assert_eq!(live(), 500);
        rest(&mut rig, 11 * SECOND);
        assert_eq!(live(), 0);
        assert_eq!(reader.event(Event::FlowExpired), 500);
    }
}
