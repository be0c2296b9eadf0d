//! Bursts through the whole pipeline, against the full path for one packet after another: the same frames leave in the
//! same order, the flow table has the same entries, and the same is counted.
//!
//! Packets of steady flows come before the others of their burst, and those of the full path last. So some packets are
//! not here, which other tests have one by one: flows that displace one another, packets of one flow of which some do not
//! fit, data behind a FIN, and what follows a SYN by which a flow leaves a backend that drains.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::super::action::{Actions, BurstActions};
use super::super::backend::MssLimit;
use super::super::burst::Batch;
use super::super::conntrack::begins;
use super::super::exception::Exceptions;
use super::super::fragment::Capacity;
use super::super::frame::{BURST, BufferBurst, Buffers, Frame};
use super::super::handoff::Handoff;
use super::super::passed::Passed;
use super::super::pipeline::{Pipeline, Round};
use super::super::punt::Class;
use super::super::sample::with_hops;
use super::*;
use crate::stats::{Reader, Writer, channel};

const HEADROOM: usize = 128;
const SERVICES: usize = 4;
const BACKENDS: usize = 6;

/// The frames that leave.
#[derive(Default)]
struct Sent(Vec<Vec<u8>>);

impl Actions<Box<Buffer>> for &mut Sent {
    fn transmit(&mut self, port: PortIndex, frame: Box<Buffer>, _: &mut Writer) {
        assert_eq!(port, OUT);
        self.0.push(frame.bytes().to_vec());
    }

    fn transmit_decided(
        &mut self,
        _: PortIndex,
        _: Box<Buffer>,
        _: &mut Writer,
    ) -> Result<(), DropReason> {
        panic!("nothing is answered");
    }

    fn punt(
        &mut self,
        _: PortIndex,
        class: Class,
        _: Box<Buffer>,
        _: &mut Writer,
    ) -> Result<(), DropReason> {
        panic!("no port has an interface: {class:?}");
    }

    fn hand_off(&mut self, _: u16, _: Box<Buffer>, handoff: Handoff, _: &mut Writer) {
        panic!("there is one worker: {handoff:?}");
    }
}

impl BurstActions<BufferBurst> for &mut Sent {
    fn transmit_burst(&mut self, port: PortIndex, burst: &mut BufferBurst, stats: &mut Writer) {
        for frame in std::mem::take(burst) {
            self.transmit(port, frame, stats);
        }
    }

    fn divides(&self) -> bool {
        false
    }

    fn pass(&mut self, _: &Passed, frame: Box<Buffer>) -> Result<(), Box<Buffer>> {
        Err(frame)
    }
}

/// A worker, and the full path alone.
struct Twins {
    pipeline: Pipeline<Box<Buffer>, Buffers>,
    reader: Reader,
    full_path: Balancer,
    decisions: Vec<FlowEvent>,
    drops: Vec<DropReason>,
    /// Packets, bytes and flows, by service and by backend.
    traffic: [BTreeMap<usize, (u64, u64, u64)>; 2],
}

impl Twins {
    fn new(entries: usize) -> Twins {
        let seed = LocalSeed::new(1);
        let capacity =
            Capacity { datagrams: 1, packets: 1, bytes: 1, packets_per_datagram: 1, timeout_ms: 1 };
        let buffers = Buffers { headroom: HEADROOM, room: 2048 };
        let exceptions = Exceptions::new(0, 1, true, capacity, seed, buffers);
        let (writer, reader) = channel(SERVICES, BACKENDS);
        Twins {
            pipeline: Pipeline::new(Balancer::new(entries, seed), writer, exceptions),
            reader,
            full_path: Balancer::new(entries, seed),
            decisions: Vec::new(),
            drops: Vec::new(),
            traffic: Default::default(),
        }
    }

    /// What leaves of a burst.
    fn process(&mut self, tables: &Tables, frames: &[Vec<u8>], now: Time) -> Vec<Vec<u8>> {
        let mut batch = Batch::new();
        batch.burst = frames.iter().map(|frame| Box::new(Buffer::new(frame, HEADROOM))).collect();
        let mut sent = Sent::default();
        self.pipeline.process(&mut Round { tables, now, actions: &mut sent }, PORT, &mut batch);
        assert!(batch.burst.is_empty());
        sent.0
    }

    /// Removes packets of flows of which a packet before has asked for a new connection.
    fn end_with_syns(&self, tables: &Tables, frames: &mut Vec<Vec<u8>>) {
        let mut begun = HashSet::new();
        frames.retain(|frame| match self.full_path.classify(tables, PORT, frame) {
            Ok(Classified { tag, .. }) if begun.contains(&tag) => false,
            Ok(Classified { packet, tag, .. }) => {
                if begins(packet.tcp_flags) {
                    begun.insert(tag);
                }
                true
            }
            Err(_) => true,
        });
    }

    /// What the full path makes of a frame.
    fn one(&mut self, tables: &Tables, frame: &[u8], now: Time) -> Option<Vec<u8>> {
        self.forward(tables, frame, now).map_err(|reason| self.drops.push(reason)).ok()
    }

    fn forward(&mut self, tables: &Tables, frame: &[u8], now: Time) -> Result<Vec<u8>, DropReason> {
        let classified =
            self.full_path.classify(tables, PORT, frame).map_err(|unserved| match unserved {
                Unserved::Drop(reason) => reason,
                Unserved::Exception(packet, Exception::Closed(_)) => tables
                    .check_source_to_node(&packet, frame, false)
                    .err()
                    .unwrap_or(DropReason::NoService),
                Unserved::Exception(_, Exception::Elsewhere) => DropReason::NoVip,
                Unserved::Exception(_, other) => panic!("{other:?}"),
            })?;
        let decision = self.full_path.decide(tables, frame, &classified, now)?;
        self.decisions.push(decision.flow);
        let mut buffer = Buffer::new(frame, HEADROOM);
        let backend = decision.backend;
        self.full_path.encapsulate(tables, &classified, backend, &mut buffer).map_err(
            |reason| match reason {
                // What would be answered is not, since no reply is allowed.
                DropReason::HopLimitExceeded => DropReason::ReplyLimited,
                reason => reason,
            },
        )?;
        let ids = [classified.service.id.index(), backend.index()];
        for (traffic, id) in self.traffic.iter_mut().zip(ids) {
            let counted = traffic.entry(id).or_default();
            let begun = u64::from(decision.flow.is_choice());
            *counted = (counted.0 + 1, counted.1 + frame.len() as u64, counted.2 + begun);
        }
        Ok(buffer.bytes().to_vec())
    }

    fn check(&self, now: Time) {
        let entries = |balancer: &Balancer| -> Vec<_> {
            let entries = balancer.flows().entries(0..usize::MAX, now, &TIMEOUTS);
            entries
                .map(|(tag, entry)| (tag, entry.backend(), entry.state(), entry.idle_ms(now)))
                .collect()
        };
        assert_eq!(entries(&self.pipeline.balancer), entries(&self.full_path));
        for flow in [
            FlowEvent::Hit,
            FlowEvent::New,
            FlowEvent::NewDisplacing,
            FlowEvent::Unrecorded,
            FlowEvent::Moved,
        ] {
            let expected = self.decisions.iter().filter(|&&of| of == flow).count();
            assert_eq!(self.reader.event(flow.into()), expected as u64, "{flow:?}");
        }
        for verdict in Verdict::all() {
            let Verdict::Dropped(reason) = verdict else { continue };
            let expected = self.drops.iter().filter(|&&of| of == reason).count();
            assert_eq!(self.reader.verdict(verdict), expected as u64, "{reason:?}");
        }
        for id in 0..SERVICES.max(BACKENDS) {
            let of = |map: &BTreeMap<_, _>| map.get(&id).copied().unwrap_or_default();
            let counted = |t: crate::stats::Traffic| (t.packets, t.bytes, t.flows);
            if id < SERVICES {
                assert_eq!(counted(self.reader.service(id)), of(&self.traffic[0]), "service {id}");
            }
            if id < BACKENDS {
                assert_eq!(counted(self.reader.backend(id)), of(&self.traffic[1]), "backend {id}");
            }
        }
    }
}

/// A packet of a client, with a maximum segment size if it is a SYN.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop::sample::select(vec![SYN, SYN, ACK, ACK, ACK, ACK, FIN, RST, SYN | ACK, 0]);
    let tags = prop::sample::select(vec![
        vec![],
        vec![],
        vec![(0x8100, 5)],
        vec![(0x88a8, 6), (0x8100, 7)],
    ]);
    (0u16..24, flags, tags, 0usize..40, 0usize..12).prop_map(
        |(flow, flags, tags, payload, padding)| {
            let sample = match flow % 5 {
                0 => Sample::udp(&format!("198.51.100.1:{}", 5000 + flow), "203.0.113.10:53"),
                1 => Sample::tcp(&format!("[2001:db8:c::1]:{flow}"), "[2001:db8::10]:80", flags),
                2 => Sample::tcp(&format!("198.51.100.9:{flow}"), "203.0.113.10:81", flags),
                // For no service, from a source that no host has, or with options.
                3 if flow == 3 => Sample::tcp("198.51.100.1:9", "203.0.113.10:99", flags),
                3 if flow == 18 => Sample::udp("198.51.100.1:9", "203.0.113.77:6080"),
                4 if flow == 4 => Sample::tcp("[2001:db8:c::1]:9", "[2001:db8::77]:80", flags),
                4 if flow == 9 => Sample::tcp("0.0.0.9:9", "203.0.113.10:99", flags),
                4 if flow == 14 => Sample::udp("198.51.100.1:9", "203.0.113.10:99"),
                3 if flow == 8 => Sample::tcp("127.0.0.1:9", "203.0.113.10:80", flags),
                3 if flow == 13 => Sample { options: vec![1; 8], ..client(flow, flags) },
                _ => client(flow, flags),
            };
            let payload = if sample.protocol == protocol::UDP { vec![1; payload] } else { vec![] };
            let mut frame = Sample { tags, payload, padding, ..sample }.frame();
            with_hops(&mut frame, if flow % 7 == 6 { 1 } else { 64 });
            frame
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Burst(Vec<Vec<u8>>),
    Wait(u64),
    Reload([Serving; 3]),
}

fn step() -> impl Strategy<Value = Step> {
    let serving = || {
        prop::sample::select(vec![Serving::All, Serving::All, Serving::Existing, Serving::Nothing])
    };
    prop_oneof![
        8 => prop::collection::vec(packet(), 1..=BURST).prop_map(Step::Burst),
        2 => prop_oneof![1u64..2000, 30_000u64..1_000_000].prop_map(Step::Wait),
        1 => [serving(), serving(), serving()].prop_map(Step::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 512 }))]

    #[test]
    fn a_burst_gives_what_the_full_path_gives(
        steps in prop::collection::vec(step(), 1..12),
        encapsulations in prop::sample::select(vec![
            vec![Encapsulation::Gre],
            vec![Encapsulation::Gre, Encapsulation::Ipip, Encapsulation::Gue0],
            vec![Encapsulation::L2, Encapsulation::Vxlan],
        ]),
        limit in prop::sample::select(vec![u16::MAX, 1000]),
        pools in prop::sample::select(vec![1usize, 2]),
    ) {
        // The second pool has backends over IPv4 alone where its ids are odd.
        let mut config = Config {
            pools: vec![vec![Serving::All; 3]; pools],
            encapsulations,
            mss: MssLimit { v4: limit, v6: limit },
            ..Config::all(3)
        };
        let mut tables = config.tables();
        let mut twins = Twins::new(1024);
        let mut now = 1_000_000;
        for step in steps {
            match step {
                Step::Burst(mut frames) => {
                    let time = Time::from_millis(now);
                    if config.pools[0].contains(&Serving::Existing) {
                        twins.end_with_syns(&tables, &mut frames);
                    }
                    let expected: Vec<_> =
                        frames.iter().filter_map(|frame| twins.one(&tables, frame, time)).collect();
                    prop_assert_eq!(twins.process(&tables, &frames, time), expected);
                    twins.check(time);
                }
                Step::Wait(ms) => now += ms,
                Step::Reload(serving) => {
                    config.pools[0] = serving.to_vec();
                    tables = config.tables();
                }
            }
        }
    }
}
