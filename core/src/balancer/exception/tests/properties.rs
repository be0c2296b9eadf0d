//! Random packets, configurations and orders.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::balancer::Balancer;
use crate::balancer::backend::{Leaving, PolicySet};
use crate::balancer::classify::Unserved;
use crate::balancer::fragment::Capacity;
use crate::balancer::hash::LocalSeed;
use crate::balancer::id::{PolicyIndex, PoolIndex, PortIndex};
use crate::balancer::tables::Tables;
use crate::balancer::time::Time;

pub(super) fn setup() -> impl Strategy<Value = Setup> {
    let names = Encapsulation::NAMES.iter().map(|&(_, encapsulation)| encapsulation);
    let encapsulation =
        prop_oneof![2 => Just(Encapsulation::Gre), 1 => select(names.collect::<Vec<_>>())];
    let serving = select(vec![Serving::All, Serving::Existing, Serving::Nothing]);
    let others = prop_oneof![3 => Just(Serving::All), 1 => serving.clone()];
    let policy = PolicySet::default().with(PolicyIndex(0));
    let leaving = vec![
        Leaving::NONE,
        Leaving { moved: policy, ..Leaving::NONE },
        Leaving { reset: policy, ..Leaving::NONE },
    ];
    let waiting = prop_oneof![
        2 => Just(Setup::PLAIN.waiting),
        1 => Just(Capacity { datagrams: 2, packets: 3, packets_per_datagram: 2, ..Setup::PLAIN.waiting }),
    ];
    (
        (1u16..5, any::<bool>(), encapsulation, select(vec![600u16, 1280, 1500, 9000])),
        (
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            prop_oneof![3 => Just(u32::MAX), 1 => 0u32..4],
        ),
        (any::<bool>(), serving, others, select(leaving), any::<bool>(), waiting),
    )
        .prop_map(
            |(
                (workers, steers, encapsulation, mtu),
                (echo, unreachable, fragments, reply_rate),
                (clustered, serving, others, leaving, resets, waiting),
            )| {
                let vip = Vip { echo, unreachable };
                Setup {
                    workers,
                    steers,
                    encapsulation,
                    mtu,
                    vip,
                    fragments,
                    reply_rate,
                    clustered,
                    serving,
                    others,
                    leaving,
                    resets,
                    waiting,
                    ..Setup::PLAIN
                }
            },
        )
}

/// Frames of every kind, whole or in fragments.
pub(super) fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let length = prop_oneof![0usize..64, 0usize..3000];
    (0u8..9, 0u16..6, length, any::<bool>(), prop_oneof![Just(1usize << 20), 1usize..100]).prop_map(
        |(kind, flow, length, dont_fragment, size)| {
            let family = if kind % 2 == 0 { Family::V4 } else { Family::V6 };
            let quoted = [&[0; 4][..], &{
                let packet = to_service(flow, length.min(500));
                Sample { source: packet.destination, destination: packet.source, ..packet }.ip()
            }]
            .concat();
            let mut sample = match kind {
                0 | 1 => echo(family, length),
                2 => icmp(Family::V4, icmp::DESTINATION_UNREACHABLE, 1, &quoted),
                3 => Sample::udp("[2001:db8:c::1]:9", "[2001:db8::10]:9"),
                4 => Sample::udp("198.51.100.1:9", "203.0.113.10:9"),
                5 => Sample::udp("[2001:db8:c::1]:9", "[2001:db8::10]:53"),
                6 => Sample::udp(&format!("198.51.100.{}:9", flow + 1), "203.0.113.10:53"),
                7 => Sample::udp("198.51.100.1:9", "203.0.113.77:9"),
                _ => to_service(flow, length),
            };
            if kind > 2 {
                sample.payload.resize(length, 7);
            }
            if dont_fragment && size > 3000 {
                sample.fragment = DONT_FRAGMENT;
            }
            match sample.source.is_ipv4() && size < 3000 {
                true => fragments(&sample, size * 8),
                false => vec![sample.frame()],
            }
        },
    )
}

/// A frame, damaged, cut or as the inner packet of a peer's tunnel.
pub(super) fn disturbed(frame: &[u8], how: u8, at: Index, value: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    match how {
        0 => {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        1 => frame.truncate(at.index(frame.len())),
        2 if frame[12..14] == ethernet::IPV4.to_be_bytes() => {
            return tunnelled("192.0.2.9:0", &frame[14..], u16::from(value % 2) << 8);
        }
        _ => {}
    }
    if how < 2 && value.is_multiple_of(2) && frame.len() > 34 {
        fix_checksum(&mut frame[14..]);
    }
    frame
}

/// The verdict on a packet that needs no exception, as the pure steps give it.
fn direct(tables: &Tables, port: PortIndex, frame: &[u8]) -> Option<Verdict> {
    let mut balancer = Balancer::new(256, LocalSeed::new(1));
    let classified = match balancer.classify(tables, port, frame) {
        Ok(classified) => classified,
        Err(Unserved::Drop(reason)) => return Some(Verdict::Dropped(reason)),
        Err(Unserved::Exception(..)) => return None,
    };
    let sent =
        balancer.decide(tables, frame, &classified, Time::from_millis(1000)).and_then(|decision| {
            balancer.encapsulate(tables, &classified, decision.backend, &mut buffer(frame))
        });
    match sent {
        Ok(_) => Some(Verdict::Forwarded),
        Err(DropReason::ExceedsMtu | DropReason::HopLimitExceeded) => None,
        Err(DropReason::NoBackend) if tables.pool(PoolIndex(0)).resets => None,
        Err(reason) => Some(Verdict::Dropped(reason)),
    }
}

proptest! {
    /// Each packet ends in exactly one verdict, whatever comes, on whatever worker, in whatever configuration.
    #[test]
    fn nothing_is_lost(
        setup in setup(),
        bursts in vec((vec((frames(), 0u8..8, any::<Index>(), any::<u8>()), 1..4), 0usize..4, 0u64..1500), 1..8),
        buffers in prop_oneof![3 => Just(usize::MAX), 1 => 0usize..8],
        device_is_full: bool,
        garbage in vec(any::<u8>(), 0..80),
        other in setup(),
    ) {
        let count = usize::from(setup.workers);
        let mut workers = Workers::new(setup);
        workers.limit_buffers(buffers);
        workers.device_is_full = device_is_full;
        workers.receive(0, CLIENTS, [buffer(&garbage), buffer(&garbage).followed_by(9)]);
        for (n, (burst, worker, wait)) in bursts.into_iter().enumerate() {
            let frames = burst.iter().flat_map(|(frames, how, at, value)| {
                frames.iter().map(|frame| buffer(&disturbed(frame, *how, *at, *value)))
            });
            workers.receive(worker % count, if n % 2 == 0 { CLIENTS } else { BACKENDS }, frames);
            workers.wait(wait);
            if n % 3 == 2 {
                workers.reload(|setup| {
                    (setup.serving, setup.others) = (other.serving, other.others);
                    (setup.leaving, setup.resets) = (other.leaving, other.resets);
                });
            }
        }
        workers.finish();
    }

    /// A packet that needs no exception ends as the pure steps say, alone or in a burst.
    #[test]
    fn a_burst_ends_as_its_packets_do(
        setup in setup(),
        packets in vec((frames(), 0u8..8, any::<Index>(), any::<u8>()), 1..8),
    ) {
        let mut workers = Workers::new(setup);
        let frames: Vec<Vec<u8>> = packets
            .iter()
            .flat_map(|(frames, how, at, value)| {
                frames.iter().map(|frame| disturbed(frame, *how, *at, *value))
            })
            .filter(|frame| direct(&workers.tables, CLIENTS, frame).is_some())
            .take(32)
            .collect();
        let mut expected = vec![0; Verdict::COUNT];
        for frame in &frames {
            let verdict = direct(&workers.tables, CLIENTS, frame);
            expected[verdict.map_or(0, Verdict::index)] += 1;
        }
        workers.receive(0, CLIENTS, frames.iter().map(|frame| buffer(frame)));
        let mut counted = vec![0; Verdict::COUNT];
        workers.verdicts().into_iter().for_each(|(verdict, n)| counted[verdict.index()] = n);
        prop_assert_eq!(counted, expected);
    }

    /// Any number of workers do what one does, by whichever of them each packet arrives.
    #[test]
    fn many_workers_do_what_one_does(
        setup in setup(),
        packets in vec((frames(), 2u8..8, any::<Index>(), any::<u8>(), 0usize..4), 1..12),
    ) {
        let setup = Setup { reply_rate: u32::MAX, waiting: Setup::PLAIN.waiting, mtu: 9000, ..setup };
        let count = usize::from(setup.workers);
        let mut one = Workers::new(Setup { workers: 1, ..setup.clone() });
        let mut many = Workers::new(setup);
        let (mut by_one, mut by_many) = (Vec::new(), Vec::new());
        for (frames, how, at, value, worker) in packets {
            for frame in frames.iter().take(16) {
                let frame = disturbed(frame, how, at, value);
                by_one.extend(one.receive(0, CLIENTS, [buffer(&frame)]));
                by_many.extend(many.receive(worker % count, CLIENTS, [buffer(&frame)]));
            }
        }
        one.finish();
        many.finish();
        prop_assert_eq!(one.verdicts(), many.verdicts());
        prop_assert_eq!(by_one, by_many);
    }

    /// The fragments of a datagram reach one backend, whole, in any order and by any workers.
    #[test]
    fn a_datagram_reaches_one_backend(
        workers in 1u16..5,
        steers: bool,
        flow in 0u16..50,
        size in 8usize..40,
        order in Just((0usize..64).collect::<Vec<_>>()).prop_shuffle(),
        by in vec(0usize..4, 64),
        known: bool,
        mtu in select(vec![200u16, 600, 1500]),
    ) {
        let mut rig = Workers::new(Setup { workers, steers, mtu, ..Setup::PLAIN });
        let whole = to_service(flow, 1200);
        let parts = fragments(&whole, size * 8);
        if known {
            rig.receive(by[0] % usize::from(workers), CLIENTS, [buffer(&to_service(flow, 0).frame())]);
        }
        let mut sent = Vec::new();
        for (n, by) in order.into_iter().zip(by) {
            if let Some(part) = parts.get(n) {
                sent.extend(rig.receive(by % usize::from(workers), CLIENTS, [buffer(part)]));
            }
        }
        prop_assert_eq!(rig.waiting(), 0);
        prop_assert!(reassembled(&sent) == (1, whole.ip()[20..].to_vec()), "{} frames", sent.len());
        let expected = parts.len() as u64 + u64::from(known);
        prop_assert_eq!(rig.verdicts(), [(Verdict::Forwarded, expected)]);
    }
}
