//! What becomes of flows whose backend drains, is down or is disabled: each state of the backend and of the flow, and
//! each kind of packet.

use super::super::backend::{Fate, PolicySet};
use super::*;

/// The policy of the service that [`client`] sends to, and that of another service.
const POLICY: PolicyIndex = PolicyIndex(0);
const OTHER: PolicyIndex = PolicyIndex(3);

fn set(policy: PolicyIndex) -> PolicySet {
    PolicySet::default().with(policy)
}

fn moved(policy: PolicyIndex) -> Leaving {
    Leaving { moved: set(policy), ..Leaving::NONE }
}

fn reset(policy: PolicyIndex) -> Leaving {
    Leaving { reset: set(policy), ..Leaving::NONE }
}

/// Tables in which backend 2 of 3 changes.
fn changed(serving: Serving, leaving: Leaving) -> Tables {
    Config { leaving, ..Config::all(3).with(2, serving) }.tables()
}

/// What a packet may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Hit,
    Moved,
    Draining,
    Over,
}

/// The packets that bring a flow into a state, and the milliseconds before the packet that is tried.
const FLOWS: &[(State, &[u8], u64)] = &[
    (State::Syn, &[SYN], 0),
    (State::Established, &[SYN, ACK], 0),
    (State::Established, &[SYN, ACK], 240_000),
    (State::Closing, &[SYN, ACK, FIN], 999),
    (State::Reset, &[SYN, ACK, RST], 29_999),
    (State::Unconfirmed, &[ACK], 999),
    (State::Unconfirmed, &[ACK], 60_000),
];

/// Flows that have ended, or that waited so long that a client may use their ports again.
const ENDED: &[(State, &[u8], u64)] = &[
    (State::Syn, &[SYN], 60_000),
    (State::Established, &[SYN, ACK], 240_001),
    (State::Closing, &[SYN, ACK, FIN], 1000),
    (State::Reset, &[SYN, ACK, RST], 30_000),
];

const PACKETS: [u8; 6] = [ACK, tcp::PSH | ACK, FIN, RST, SYN | ACK, 0];
const SYNS: [u8; 3] = [SYN, SYN | tcp::ECE | tcp::CWR, SYN | tcp::FIN];

#[test]
#[cfg_attr(miri, ignore = "hundreds of flows: minutes under Miri")]
fn each_packet_of_each_flow_meets_the_fate_of_its_backend() {
    let before = Config::all(3).tables();
    let sample = client_of(&before, 2, ACK);
    // How the backend serves, and what becomes of: a packet, a SYN while the flow goes on, a SYN after its end.
    let cases = [
        (Serving::All, Leaving::NONE, End::Hit, End::Hit, End::Hit),
        (Serving::All, moved(POLICY), End::Hit, End::Hit, End::Hit),
        (Serving::Existing, Leaving::NONE, End::Hit, End::Draining, End::Moved),
        (Serving::Existing, moved(OTHER), End::Hit, End::Draining, End::Moved),
        (Serving::Existing, reset(OTHER), End::Hit, End::Draining, End::Moved),
        (Serving::Existing, moved(POLICY), End::Moved, End::Moved, End::Moved),
        (Serving::Existing, reset(POLICY), End::Over, End::Moved, End::Moved),
        (Serving::Nothing, Leaving::NONE, End::Moved, End::Moved, End::Moved),
    ];
    for (serving, leaving, of_packet, of_syn, of_late_syn) in cases {
        let after = changed(serving, leaving);
        let expected = choice(&after, &sample);
        for (flows, of_syn) in [(FLOWS, of_syn), (ENDED, of_late_syn)] {
            let packets = PACKETS.map(|flags| (flags, of_packet)).into_iter();
            for (flags, end) in packets.chain(SYNS.map(|flags| (flags, of_syn))) {
                for &(state, first, wait) in flows {
                    // An incomplete handshake never goes on.
                    let is_syn = flags & (SYN | ACK) == SYN;
                    let end = match (end, state) {
                        (End::Draining, State::Syn) if is_syn => End::Moved,
                        _ => end,
                    };
                    let mut rig = Rig::new(64);
                    first.iter().for_each(|&flags| {
                        rig.send(&before, &sample.with_flags(flags)).unwrap();
                    });
                    assert_eq!(rig.wait(wait).state(), state);
                    let entry = rig.entry();
                    let sent = rig.send(&after, &sample.with_flags(flags));
                    let case = format!("{serving:?} {leaving:?} {state:?} {wait} {flags:#x}");
                    match end {
                        End::Hit => {
                            assert_eq!(sent, Ok((BackendId::new(2), FlowEvent::Hit)), "{case}")
                        }
                        End::Moved => assert_eq!(sent, Ok((expected, FlowEvent::Moved)), "{case}"),
                        End::Draining => {
                            assert_eq!(sent, Err(DropReason::BackendDraining.into()), "{case}")
                        }
                        End::Over => assert_eq!(sent, Err(DropReason::DrainOver.into()), "{case}"),
                    }
                    match end {
                        End::Over if state == State::Established => {
                            assert_eq!(rig.entry(), (BackendId::new(2), State::Reset, 0), "{case}");
                        }
                        End::Draining | End::Over => assert_eq!(rig.entry(), entry, "{case}"),
                        End::Moved if is_syn => assert_eq!(rig.state(), State::Syn, "{case}"),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// UDP has no SYN: each packet keeps its flow, moves it, or is refused.
#[test]
fn each_packet_of_a_udp_flow_meets_the_fate_of_its_backend() {
    let before = Config::all(2).tables();
    let sample = Sample::udp("198.51.100.1:5000", "203.0.113.10:53");
    let policy = PolicyIndex(1);
    for (serving, leaving, end) in [
        (Serving::Existing, Leaving::NONE, End::Hit),
        (Serving::Existing, moved(POLICY), End::Hit),
        (Serving::Existing, moved(policy), End::Moved),
        (Serving::Existing, reset(policy), End::Over),
        (Serving::Nothing, Leaving::NONE, End::Moved),
    ] {
        for wait in [0, 999, 1000, 60_000] {
            let mut rig = Rig::new(64);
            let (backend, _) = rig.send(&before, &sample).unwrap();
            let after =
                Config { leaving, ..Config::all(2).with(backend.index(), serving) }.tables();
            rig.wait(wait);
            let entry = rig.entry();
            let expected = match end {
                End::Hit => Ok((backend, FlowEvent::Hit)),
                End::Moved => Ok((BackendId::new(1 - backend.get()), FlowEvent::Moved)),
                _ => Err(DropReason::DrainOver.into()),
            };
            assert_eq!(rig.send(&after, &sample), expected, "{serving:?} {leaving:?} {wait}");
            assert!(expected.is_ok() || rig.entry() == entry);
        }
    }
}

/// A flow whose backend resets it is gone when its timeout has passed, whatever packets come and by which path.
#[test]
fn refused_packets_do_not_keep_a_flow() {
    let before = Config::all(3).tables();
    let tcp = client_of(&before, 2, ACK);
    let udp = (5000..)
        .map(|port| Sample::udp(&format!("198.51.100.1:{port}"), "203.0.113.10:53"))
        .find(|sample| choice(&before, sample).get() == 2)
        .map(|sample| Sample { payload: vec![7; 18], ..sample })
        .unwrap();
    let both = Leaving { reset: set(POLICY).with(PolicyIndex(1)), ..Leaving::NONE };
    let after = changed(Serving::Existing, both);
    for (sample, confirms, state, seconds) in
        [(&tcp, State::Established, State::Reset, 240), (&udp, State::Udp, State::Unconfirmed, 60)]
    {
        let mut rig = Rig::new(64);
        rig.send(&before, &sample.with_flags(SYN)).unwrap();
        rig.wait(SECOND).send(&before, sample).unwrap();
        assert_eq!(rig.state(), confirms);
        rig.wait(50 * SECOND);
        for second in 0..=seconds {
            rig.lookup(&after, sample);
            assert_eq!(rig.send(&after, sample), Err(DropReason::DrainOver.into()));
            assert_eq!(rig.state(), state, "{second}");
            rig.wait(SECOND);
        }
        let expected = (choice(&after, sample), FlowEvent::New);
        assert_eq!(rig.send(&after, sample), Ok(expected));
    }
}

/// A drain that is cancelled leaves a flow whose packets were refused as it was.
#[test]
fn a_flow_that_was_refused_goes_on() {
    let (before, after) = (Config::all(3).tables(), changed(Serving::Existing, reset(POLICY)));
    let sample = client_of(&before, 2, ACK);
    let mut rig = Rig::new(64);
    let backend = rig.connect(&before, &sample);
    assert_eq!(rig.send(&after, &sample), Err(DropReason::DrainOver.into()));
    assert_eq!(rig.send(&before, &sample), Ok((backend, FlowEvent::Hit)));
    assert_eq!(rig.entry(), (backend, State::Established, 0));
}

/// A backend that recovers, or whose drain is cancelled, has the flows that it kept.
#[test]
fn a_backend_that_flaps_finds_its_flows_again() {
    let up = Config::all(3).tables();
    let sample = client_of(&up, 2, ACK);
    for leaving in [Leaving::NONE, moved(OTHER), reset(POLICY)] {
        let down = changed(Serving::Existing, leaving);
        let mut rig = Rig::new(64);
        let backend = rig.connect(&up, &sample);
        for _ in 0..60 {
            let sent = rig.wait(SECOND).send(&down, &sample);
            match leaving.reset.has(POLICY) {
                true => assert_eq!(sent, Err(DropReason::DrainOver.into())),
                false => assert_eq!(sent, Ok((backend, FlowEvent::Hit))),
            }
            sweep(&mut rig, &down);
            assert_eq!(rig.send(&up, &sample), Ok((backend, FlowEvent::Hit)));
        }
    }
}

/// With no other backend, a flow that moves has none, and one that stays is none the worse.
#[test]
fn without_another_backend_only_flows_that_move_are_refused() {
    let up = Config::all(1).tables();
    for (serving, leaving, of_packet, of_syn) in [
        (Serving::Existing, Leaving::NONE, None, Some(DropReason::BackendDraining)),
        (
            Serving::Existing,
            moved(POLICY),
            Some(DropReason::NoBackend),
            Some(DropReason::NoBackend),
        ),
        (
            Serving::Existing,
            reset(POLICY),
            Some(DropReason::DrainOver),
            Some(DropReason::NoBackend),
        ),
        (Serving::Nothing, Leaving::NONE, Some(DropReason::NoBackend), Some(DropReason::NoBackend)),
    ] {
        let after = Config { leaving, ..Config::new(&[serving]) }.tables();
        for (flags, reason) in [(ACK, of_packet), (SYN, of_syn)] {
            let mut rig = Rig::new(64);
            let backend = rig.connect(&up, &client(1, ACK));
            let hit = Ok((backend, FlowEvent::Hit));
            let sent = rig.wait(SECOND).send(&after, &client(1, flags));
            assert_eq!(
                sent,
                reason.map_or(hit, |reason| Err(reason.into())),
                "{leaving:?} {flags:#x}"
            );
            assert_eq!(rig.send(&up, &client(1, ACK)), hit);
        }
    }
}

fn sweep(rig: &mut Rig, tables: &Tables) {
    let now = Time::from_millis(rig.now);
    while !rig.balancer.sweep(tables, now) {}
}

/// A sweep forgets the flows that would move, and keeps those whose packets are answered.
#[test]
fn a_sweep_removes_the_flows_that_move() {
    let two =
        Config { pools: vec![vec![Serving::All; 3], vec![Serving::All; 2]], ..Config::all(3) };
    let before = two.tables();
    let sample = client_of(&before, 2, ACK);
    let cases = [
        (changed(Serving::Existing, Leaving::NONE), 1),
        (changed(Serving::Existing, moved(OTHER)), 1),
        (changed(Serving::Existing, reset(POLICY)), 1),
        (changed(Serving::All, moved(POLICY)), 1),
        (changed(Serving::Existing, moved(POLICY)), 0),
        (changed(Serving::Nothing, Leaving::NONE), 0),
        (Config::all(2).tables(), 0),
        (Config { without: Some(0), ..two.clone() }.tables(), 0),
        (Config { pool: 1, ..two.clone() }.tables(), 0),
    ];
    for (number, (after, left)) in cases.into_iter().enumerate() {
        let mut rig = Rig::new(64);
        rig.connect(&before, &sample);
        sweep(&mut rig, &after);
        assert_eq!(rig.balancer.flows().len(), left, "case {number}");
        // Their time passes as that of any flow.
        sweep(rig.wait(900 * SECOND), &after);
        assert_eq!(rig.balancer.flows().len(), left, "case {number}");
        sweep(rig.wait(1), &after);
        assert_eq!(rig.balancer.flows().len(), 0, "case {number}");
    }
}

/// An ICMP error goes to the backend that sent the packet, as long as its flow does not move.
#[test]
fn a_recorded_backend_is_one_that_the_flow_does_not_leave() {
    let before = Config::all(3).tables();
    let sample = client_of(&before, 2, ACK);
    let frame = sample.frame();
    for (serving, leaving, stays) in [
        (Serving::All, Leaving::NONE, true),
        (Serving::Existing, Leaving::NONE, true),
        (Serving::Existing, reset(POLICY), true),
        (Serving::Existing, moved(POLICY), false),
        (Serving::Nothing, Leaving::NONE, false),
    ] {
        let after = changed(serving, leaving);
        let mut rig = Rig::new(64);
        let backend = rig.connect(&before, &sample);
        let classified = rig.balancer.classify(&after, PORT, &frame).unwrap();
        let now = Time::from_millis(rig.now);
        let found = rig.balancer.recorded_backend(&after, classified.service, classified.tag, now);
        assert_eq!(found, stays.then_some(backend));
    }
}

/// Policies are 64; one more set than names does not leak into another.
#[test]
fn a_fate_is_that_of_the_own_policy() {
    let fate = |leaving, policy| {
        let backend =
            Backend { pool: PoolIndex(1), serving: Serving::Existing, leaving, ..Backend::VACANT };
        backend.fate(PoolIndex(1), PolicyIndex(policy))
    };
    for policy in 0..64 {
        let own = set(PolicyIndex(policy));
        for other in 0..64 {
            let is_own = other == policy;
            let expected = |fate| if is_own { fate } else { Fate::Keep };
            assert_eq!(fate(Leaving { moved: own, ..Leaving::NONE }, other), expected(Fate::Move));
            assert_eq!(fate(Leaving { reset: own, ..Leaving::NONE }, other), expected(Fate::Reset));
        }
    }
    let both = Leaving { moved: set(POLICY), reset: set(POLICY) };
    assert_eq!(fate(both, 0), Fate::Move);
}
