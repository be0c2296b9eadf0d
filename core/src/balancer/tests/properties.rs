//! Random traffic against a model of the rules, and random bytes.

use std::collections::HashMap;

use proptest::prelude::*;

use super::super::backend::{Fate, PolicySet};
use super::super::conntrack::Table;
use super::super::encapsulation::Any;
use super::*;
use crate::stats::{Event, Reader, channel};

/// A step of random traffic.
#[derive(Clone, Debug)]
enum Step {
    Send { flow: u16, flags: u8 },
    Wait { seconds: u64 },
    Reload { serving: [Serving; 3], leaving: Leaving },
}

fn serving() -> impl Strategy<Value = Serving> {
    prop_oneof![3 => Just(Serving::All), 1 => Just(Serving::Existing), 1 => Just(Serving::Nothing)]
}

/// Which flows leave: of services 0 and 1, whose policies have the same numbers.
fn leaving() -> impl Strategy<Value = Leaving> {
    let set = || prop_oneof![2 => Just(0), 1 => 0u8..4];
    let of = |bits: u8| {
        let policies = (0..2).filter(|bit| bits >> bit & 1 == 1);
        policies.fold(PolicySet::default(), |set, policy| set.with(PolicyIndex(policy)))
    };
    (set(), set()).prop_map(move |(moved, reset)| Leaving { moved: of(moved), reset: of(reset) })
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![2 => Just(SYN), 4 => Just(ACK), 1 => Just(FIN), 1 => Just(RST), 1 => any::<u8>()];
    prop_oneof![
        12 => (0u16..8, flags).prop_map(|(flow, flags)| Step::Send { flow, flags }),
        2 => prop_oneof![1u64..40, 40u64..1000].prop_map(|seconds| Step::Wait { seconds }),
        1 => ([serving(), serving(), serving()], leaving())
            .prop_map(|(serving, leaving)| Step::Reload { serving, leaving }),
    ]
}

/// The documented rules, over a plain map.
#[derive(Default)]
struct Model {
    flows: HashMap<u16, (BackendId, State, u64)>,
}

impl Model {
    fn send(
        &mut self,
        (flow, flags, now): (u16, u8, u64),
        (serving, leaving): (&[Serving; 3], Leaving),
        chosen: Option<BackendId>,
    ) -> Result<(BackendId, FlowEvent), DropReason> {
        let udp = flow == 0;
        let begins = !udp && flags & SYN != 0 && flags & ACK == 0;
        let ends = !udp && flags & (tcp::FIN | tcp::RST) != 0;
        let timeout = |state| match state {
            State::Syn | State::Udp | State::Unconfirmed => 60,
            State::Established | State::HalfClosed => 900,
            State::Closing | State::Reset => 240,
        };
        let first = if begins && !ends { State::Syn } else { State::Unconfirmed };
        let live = self
            .flows
            .get(&flow)
            .copied()
            .filter(|&(_, state, last)| now - last <= timeout(state) * SECOND);
        let (backend, state, event) = match live {
            Some((backend, state, since)) => {
                let policy = PolicyIndex(u8::from(udp));
                let (moved, reset) = (leaving.moved.has(policy), leaving.reset.has(policy));
                let keeps = match serving[backend.index()] {
                    Serving::All => true,
                    Serving::Nothing => false,
                    Serving::Existing if moved => false,
                    Serving::Existing if reset && begins => false,
                    Serving::Existing if reset => {
                        let refused = match state {
                            State::Established | State::HalfClosed => Some(State::Reset),
                            State::Udp => Some(State::Unconfirmed),
                            _ => None,
                        };
                        if let Some(refused) = refused {
                            self.flows.insert(flow, (backend, refused, now));
                        }
                        return Err(DropReason::DrainOver);
                    }
                    Serving::Existing if begins && may_restart((state, since), now) => false,
                    Serving::Existing if begins => return Err(DropReason::BackendDraining),
                    Serving::Existing => true,
                };
                let counts = !(begins && serving[backend.index()] == Serving::Existing);
                let after = if counts { next((state, since), now, flags, udp) } else { None };
                let (state, since) = after.unwrap_or((state, since));
                self.flows.insert(flow, (backend, state, since));
                if keeps {
                    return Ok((backend, FlowEvent::Hit));
                }
                let moved = if begins { (State::Syn, now) } else { (state, since) };
                let backend = chosen.ok_or(DropReason::NoBackend)?;
                self.flows.insert(flow, (backend, moved.0, moved.1));
                return Ok((backend, FlowEvent::Moved));
            }
            None => (chosen.ok_or(DropReason::NoBackend)?, first, FlowEvent::New),
        };
        self.flows.insert(flow, (backend, state, now));
        Ok((backend, event))
    }
}

/// Whether a SYN may leave a draining backend.
fn may_restart((state, since): (State, u64), now: u64) -> bool {
    match state {
        State::Syn => true,
        State::Closing => now - since >= SECOND,
        State::Reset => now - since >= 30 * SECOND,
        _ => now - since > 240 * SECOND,
    }
}

/// The documented state after a packet without data, and the time from which its timeout counts; `None` if the packet
/// changes nothing.
fn next((state, since): (State, u64), now: u64, flags: u8, udp: bool) -> Option<(State, u64)> {
    let later = now - since >= SECOND;
    let (fin, rst) = (flags & tcp::FIN != 0, flags & RST != 0);
    let syn = flags & (SYN | ACK) == SYN;
    let next = match (state, udp) {
        (State::Udp, _) => State::Udp,
        (State::Unconfirmed, true) if later => State::Udp,
        (State::Unconfirmed, true) => return None,
        (State::Syn, _) if syn => State::Syn,
        (State::Syn, _) if fin || rst => return None,
        (State::Syn, _) => State::Established,
        (State::Unconfirmed, _) if syn && !fin && !rst => State::Syn,
        (State::Unconfirmed, _) if rst || !later => return None,
        (State::Closing | State::Reset, _) if rst => return Some((State::Reset, since)),
        (State::Reset, _) if fin => return Some((State::Closing, since)),
        _ if rst => State::Reset,
        _ if fin => State::Closing,
        (State::Unconfirmed, _) => State::Established,
        (State::Closing | State::Reset, _) if syn => State::Syn,
        (State::Reset, _) => State::Established,
        (State::Closing, _) if later => State::HalfClosed,
        (State::Closing, _) => return None,
        (state, _) => state,
    };
    Some((next, now))
}

/// A step of random traffic that the flow table counts.
#[derive(Clone, Debug)]
enum Counted {
    Send { flow: u16, flags: u8 },
    Wait { seconds: u64 },
    Reload { serving: [Serving; 3], leaving: Leaving, pool: usize, without: Option<u32> },
    Sweep { buckets: usize },
}

fn counted() -> impl Strategy<Value = Counted> {
    let flags = prop::sample::select(vec![SYN, SYN, ACK, ACK, FIN, RST]);
    let serving = [serving(), serving(), serving()];
    let reload = (serving, leaving(), 0usize..2, prop::option::of(0u32..4));
    prop_oneof![
        20 => (0u16..60, flags).prop_map(|(flow, flags)| Counted::Send { flow, flags }),
        2 => prop_oneof![1u64..40, 40u64..1000].prop_map(|seconds| Counted::Wait { seconds }),
        1 => reload.prop_map(|(serving, leaving, pool, without)| {
            Counted::Reload { serving, leaving, pool, without }
        }),
        2 => (1usize..9).prop_map(|buckets| Counted::Sweep { buckets }),
    ]
}

/// Checks that the live flows that are counted are those in the table, of each service and each backend.
fn check_live(flows: &Table, reader: &Reader) {
    let (mut services, mut backends) = (HashMap::new(), HashMap::new());
    for (service, backend) in flows.owners() {
        *services.entry(service.index()).or_default() += 1;
        *backends.entry(backend.index()).or_default() += 1;
    }
    for (of, expected) in [
        (&(|id| reader.service(id).live) as &dyn Fn(usize) -> u64, &services),
        (&|id| reader.backend(id).live, &backends),
    ] {
        let ids = 0..expected.keys().max().map_or(16, |last| last + 16);
        let counted = ids.map(|id| (id, of(id))).filter(|&(_, live)| live > 0).collect();
        assert_eq!(*expected, counted);
    }
}

/// Frames of all kinds, some of them damaged.
fn damaged_frame() -> impl Strategy<Value = Vec<u8>> {
    let sample = (0usize..4, 0usize..3, any::<u8>(), 0usize..80, 0usize..20).prop_map(
        |(kind, tags, traffic_class, payload, padding)| {
            let sample = match kind {
                0 => client(1, ACK),
                1 => Sample { options: vec![1; 8], ..client(2, SYN) },
                2 => Sample::udp("198.51.100.1:5000", "203.0.113.10:53"),
                _ => Sample::tcp("[2001:db8:c::1]:1025", "[2001:db8::10]:80", ACK),
            };
            let tags = [(0x88a8, 0x2005), (0x8100, 6)][..tags].to_vec();
            Sample { tags, traffic_class, payload: vec![7; payload], padding, ..sample }.frame()
        },
    );
    let accident = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let damaged = (sample, accident, any::<bool>(), prop::option::of(any::<prop::sample::Index>()))
        .prop_map(|(mut frame, accident, fix, cut)| {
            for (index, value) in accident {
                let index = index.index(frame.len());
                frame[index] = value;
            }
            if let Ok(packet) = Packet::parse(&frame)
                && fix
            {
                fix_checksum(&mut frame[packet.l3.into()..]);
            } else if fix {
                fix_checksum(frame.get_mut(14..).unwrap_or_default());
            }
            if let Some(cut) = cut {
                frame.truncate(cut.index(frame.len() * 4));
            }
            frame
        });
    prop_oneof![9 => damaged, 1 => proptest::collection::vec(any::<u8>(), 0..128)]
}

/// The number of steps of a case stays below this.
const STEPS: usize = if cfg!(miri) { 10 } else { 120 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 256 }))]

    #[test]
    fn random_traffic_is_balanced_as_the_model_says(
        steps in proptest::collection::vec(step(), 1..STEPS),
    ) {
        let (mut serving, mut left) = ([Serving::All; 3], Leaving::NONE);
        let mut tables = Config::new(&serving).tables();
        let (mut rig, mut model) = (Rig::new(4096), Model::default());
        for step in steps {
            match step {
                Step::Send { flow, flags } => {
                    let sample = match flow {
                        0 => Sample::udp("198.51.100.1:5000", "203.0.113.10:53"),
                        n => client(n, flags),
                    };
                    let chosen = Rig::new(4).send(&tables, &sample).ok().map(|(b, _)| b);
                    prop_assert!(chosen.is_none_or(|b| serving[b.index()] == Serving::All));
                    let expected = model.send((flow, flags, rig.now), (&serving, left), chosen);
                    prop_assert_eq!(rig.send(&tables, &sample), expected.map_err(Refusal::Drop));
                }
                Step::Wait { seconds } => {
                    rig.wait(seconds * SECOND);
                }
                Step::Reload { serving: next, leaving } => {
                    (serving, left) = (next, leaving);
                    tables = Config { leaving, ..Config::new(&serving) }.tables();
                }
            }
        }
    }
}

/// Forwards a frame, by the fast path first if `fast` is set.
fn forward(
    balancer: &mut Balancer,
    tables: &Tables,
    frame: &[u8],
    now: u64,
    fast: bool,
) -> Option<(FlowEvent, BackendId, Result<PortIndex, DropReason>, Buffer)> {
    let now = Time::from_millis(now);
    let mut buffer = Buffer::new(frame, 128);
    if fast && let Some((backend, port)) = forward_fast_path(balancer, tables, now, &mut buffer) {
        return Some((FlowEvent::Hit, backend, Ok(port), buffer));
    }
    assert_eq!(buffer.bytes(), frame, "a refusal changes nothing");
    let classified = balancer.classify(tables, PORT, frame).ok()?;
    let Decision { backend, flow } = balancer.decide(tables, frame, &classified, now).ok()?;
    let sent = balancer.encapsulate(tables, &classified, backend, &mut buffer);
    Some((flow, backend, sent, buffer))
}

/// Forwards a frame by the fast path if that accepts it, and compares each step with the full path.
fn forward_fast_path(
    balancer: &mut Balancer,
    tables: &Tables,
    now: Time,
    buffer: &mut Buffer,
) -> Option<(BackendId, PortIndex)> {
    let full_path = balancer.classify(tables, PORT, buffer.bytes());
    let mut meta = PacketMeta::NONE;
    let filter = tables.frame_filter(PORT);
    let head = buffer.bytes().first_chunk()?;
    let outcome = balancer.parse_plain(tables, &filter, head, buffer, &mut meta);
    if !outcome.is_served() {
        let not_served = balancer.classify_not_served(tables, PORT, buffer.bytes(), outcome, &meta);
        assert_eq!(not_served, full_path);
        assert!(outcome != PlainParse::Unserved || full_path.is_err());
        return None;
    }
    assert_eq!(meta.classified(buffer.bytes()), full_path.ok());
    meta.look_up(&mut balancer.homes(), tables, now);
    let port = balancer.rewrite::<Any>(tables, &mut meta, buffer)?;
    Some((meta.backend, port))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 256 }))]

    /// Whatever comes and whatever is reloaded, every entry of the flow table is counted once, for its service and its
    /// backend; and every one that was recorded is there, or was displaced, has expired, or lost its service or backend.
    #[test]
    fn live_flows_are_those_of_the_flow_table(
        steps in proptest::collection::vec(counted(), 1..4 * STEPS),
    ) {
        let mut config = Config { pools: vec![vec![Serving::All; 3], vec![Serving::All; 2]], ..Config::all(3) };
        let mut tables = config.tables();
        // Small, so that flows displace one another.
        let mut rig = Rig::new(16);
        let (writer, reader) = channel(4, 5);
        rig.balancer.count_by(writer.flow_writer());
        let (mut recorded, mut displaced, mut orphaned) = (0, 0, 0);
        for step in steps {
            let before = rig.balancer.flows().len() as u64 + reader.event(Event::FlowExpired);
            match step {
                Counted::Send { flow, flags } => {
                    let sample = match flow % 6 {
                        0 => Sample::udp(&format!("198.51.100.1:{}", 5000 + flow), "203.0.113.10:53"),
                        1 => Sample::tcp(&format!("[2001:db8:c::1]:{}", 5000 + flow), "[2001:db8::10]:80", flags),
                        2 => Sample::tcp(&format!("198.51.100.1:{}", 5000 + flow), "203.0.113.10:81", flags),
                        _ => client(flow, flags),
                    };
                    let event = rig.send(&tables, &sample).map(|(_, event)| event);
                    let after = rig.balancer.flows().len() as u64 + reader.event(Event::FlowExpired);
                    match event {
                        Ok(FlowEvent::New) => {
                            recorded += 1;
                            // Up to three flows had to move, and left if their service or backend was gone.
                            prop_assert!((1..=4).contains(&(before + 2 - after)));
                            orphaned += before + 1 - after;
                        }
                        Ok(FlowEvent::NewDisplacing) => (recorded, displaced) = (recorded + 1, displaced + 1),
                        _ => prop_assert_eq!(after, before),
                    }
                }
                Counted::Wait { seconds } => _ = rig.wait(seconds * SECOND),
                Counted::Reload { serving, leaving, pool, without } => {
                    config.pools[0] = serving.to_vec();
                    config = Config { leaving, pool, without, ..config };
                    tables = config.tables();
                }
                Counted::Sweep { buckets } => {
                    let now = Time::from_millis(rig.now);
                    (0..buckets).for_each(|_| _ = rig.balancer.sweep(&tables, now));
                    let after = rig.balancer.flows().len() as u64 + reader.event(Event::FlowExpired);
                    orphaned += before - after;
                }
            }
            check_live(rig.balancer.flows(), &reader);
            let gone = displaced + orphaned + reader.event(Event::FlowExpired);
            prop_assert_eq!(recorded, rig.balancer.flows().len() as u64 + gone);
        }
        let now = Time::from_millis(rig.now);
        while !rig.balancer.sweep(&tables, now) {}
        while !rig.balancer.sweep(&tables, now) {}
        for (service, backend) in rig.balancer.flows().owners() {
            prop_assert!(Some(service.0) != config.without, "a removed service has no flow after a whole sweep");
            let (pool, policy) = tables.pool_and_policy(service);
            prop_assert!(tables.backend(backend).fate(pool, policy) != Fate::Move);
        }
    }
}

proptest! {
    /// For any packets in any order, the fast path gives the results of the full path.
    #[test]
    fn the_fast_path_agrees_with_the_full_path(
        steps in proptest::collection::vec((step(), damaged_frame(), any::<bool>()), 1..STEPS),
        mtu in prop_oneof![Just(1500u16), 60u16..160],
    ) {
        let config = Config { mtu, ..Config::all(3) };
        let mut tables = config.tables();
        let mut now = 5;
        let new = || Balancer::new(64, LocalSeed::new(1));
        let (mut fast, mut other) = (new(), new());
        for (step, damaged, tagged) in steps {
            let sample = match step {
                Step::Send { flow: 0, .. } => Sample::udp("198.51.100.1:5000", "203.0.113.10:53"),
                Step::Send { flow: flow @ 1..4, flags } => {
                    Sample::tcp(&format!("[2001:db8::{flow}]:5000"), "[2001:db8::10]:80", flags)
                }
                Step::Send { flow, flags } => client(flow, flags),
                Step::Wait { seconds } => {
                    now += seconds * SECOND;
                    continue;
                }
                Step::Reload { serving, leaving } => {
                    let pools = vec![serving.to_vec()];
                    tables = Config { pools, leaving, ..config.clone() }.tables();
                    continue;
                }
            };
            let tags = if tagged { vec![(0x8100, 100)] } else { Vec::new() };
            for frame in [Sample { tags, ..sample }.frame(), damaged] {
                let by_fast_path = forward(&mut fast, &tables, &frame, now, true);
                prop_assert_eq!(by_fast_path, forward(&mut other, &tables, &frame, now, false));
                let entries = |balancer: &Balancer| -> Vec<_> {
                    let now = Time::from_millis(now);
                    let entries = balancer.flows().entries(0..usize::MAX, now, &TIMEOUTS);
                    entries.map(|(tag, entry)| (tag, entry.backend(), entry.state(), entry.idle_ms(now))).collect()
                };
                prop_assert_eq!(entries(&fast), entries(&other));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 4096 }))]

    #[test]
    fn any_bytes_are_dropped_or_leave_as_a_whole_tunnel_packet(frame in damaged_frame()) {
        let tables = Config { mtu: 160, ..Config::all(2) }.tables();
        let mut balancer = Balancer::new(4, LocalSeed::new(1));
        let Ok(classified) = balancer.classify(&tables, PORT, &frame) else { return Ok(()) };
        let decided = balancer.decide(&tables, &frame, &classified, Time::from_millis(1));
        if let Err(reason) = tables.check_source(&classified.packet, &frame) {
            prop_assert_eq!(decided, Err(reason));
            return Ok(());
        }
        let decision = decided.unwrap();
        let mut buffer = Buffer::new(&frame, 64);
        let sent = balancer.encapsulate(&tables, &classified, decision.backend, &mut buffer);
        let (l3, inner) = (usize::from(classified.packet.l3), classified.packet.ip(&frame).unwrap());
        let overhead = [44, 24][decision.backend.index()];
        if inner.len() + overhead > 160 {
            prop_assert_eq!(sent, Err(DropReason::ExceedsMtu));
            return Ok(());
        }
        prop_assert_eq!(sent, Ok(OUT));
        let out = buffer.bytes();
        prop_assert_eq!(&out[l3 + overhead..], inner);
        prop_assert_eq!(&out[12..l3 - 2], &frame[12..l3 - 2]);
        let parsed = etherparse::SlicedPacket::from_ethernet(out).unwrap();
        let payload = parsed.ip_payload().unwrap();
        prop_assert_eq!(payload.ip_number, etherparse::IpNumber::GRE);
        prop_assert_eq!(payload.payload.len(), inner.len() + 4);
    }
}
