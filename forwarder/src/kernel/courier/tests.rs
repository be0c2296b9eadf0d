//! The thread between the workers and the kernel, over rings and files.

use std::fs;

use super::*;
use crate::dpdk::testing::{eal, packets, pool, unique};

/// A ring that holds `marks`, as frames of port 0.
fn ring_of(pool: &Mempool, marks: std::ops::Range<u8>) -> ring::Receiver {
    let (mut sender, receiver) = ring::channel(eal(), &unique("punt"), 64, None).unwrap();
    let mut burst = packets(pool, marks.end);
    let mut wanted = Burst::new();
    for mut mbuf in burst.drain().skip(marks.start.into()) {
        mark(&mut mbuf, PortIndex(0));
        assert!(wanted.push(mbuf).is_ok());
    }
    sender.send(&mut wanted);
    receiver
}

fn turns(punts: Vec<Vec<ring::Receiver>>, sink: Sink) -> (Turns, Arc<Counters>) {
    let counters = Arc::<Counters>::default();
    let lane = Lane { sink, counters: Arc::clone(&counters), way: None };
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let (_, frames) = Frames::new(&doorbell);
    let (_, devices) = ProbeDevices::new(&doorbell);
    let courier = Courier { lanes: vec![lane], devices, punts, frames, doorbell, timestamps: None };
    (Turns::new(courier), counters)
}

/// The marks of the frames in a capture.
fn marks(path: &std::path::Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let (mut marks, mut at) = (Vec::new(), 24);
    while at < bytes.len() {
        let length = u32::from_ne_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        marks.push(bytes[at + 16]);
        at += 16 + usize::try_from(length).unwrap();
    }
    marks
}

#[test]
fn classes_are_served_in_order_and_workers_in_turn() {
    let pool = pool(255);
    let file = tempfile::NamedTempFile::new().unwrap();
    let sink = Sink::Capture(capture::Writer::create(file.path()).unwrap());
    let punts = vec![
        vec![ring_of(&pool, 0..1), ring_of(&pool, 1..3)],
        vec![ring_of(&pool, 3..5), ring_of(&pool, 5..6)],
    ];
    let (mut turns, counters) = turns(punts, sink);
    let mut served = 0;
    while turns.serve() {
        served += 1;
    }
    assert_eq!(served, 4);
    turns.finish().unwrap();
    assert_eq!(marks(file.path()), [0, 1, 2, 3, 4, 5]);
    let counted = counters.read();
    assert_eq!((counted.to_kernel_packets, counted.to_kernel_bytes), (6, 21));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn frames_in_several_buffers_are_refused() {
    let pool = pool(63);
    let (mut sender, receiver) = ring::channel(eal(), &unique("punt"), 64, None).unwrap();
    let mut burst = packets(&pool, 2);
    let mbuf = burst.get_mut(0).unwrap();
    mark(mbuf, PortIndex(0));
    mbuf.pretend(2, 1);
    // No port.
    mark(burst.get_mut(1).unwrap(), PortIndex(9));
    sender.send(&mut burst);
    let (mut turns, counters) = turns(vec![vec![receiver]], Sink::Nothing);
    // The mbuf has one buffer in truth, so it must not be freed as one of two.
    turns.punts[0][0].receive(&mut turns.burst);
    let is_contiguous = |turns: &Turns, i| turns.burst.get(i).unwrap().is_contiguous();
    assert_eq!((is_contiguous(&turns, 0), is_contiguous(&turns, 1)), (false, true));
    turns.write();
    assert_eq!(counters.read().to_kernel_refused, 1);
    assert_eq!(counters.read().to_kernel_packets, 0);
}

/// The thread wakes for a frame, and what is left when it is told to stop is written.
#[test]
fn the_thread_sleeps_and_wakes_and_loses_nothing() {
    const FRAMES: usize = 300;
    let pool = pool(1023);
    let file = tempfile::NamedTempFile::new().unwrap();
    let sink = Sink::Capture(capture::Writer::create(file.path()).unwrap());
    let (mut sender, receiver) = ring::channel(eal(), &unique("punt"), 512, None).unwrap();
    let counters = Arc::<Counters>::default();
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let lanes = vec![Lane { sink, counters: Arc::clone(&counters), way: None }];
    let courier = Courier {
        lanes,
        devices: ProbeDevices::new(&doorbell).1,
        punts: vec![vec![receiver]],
        frames: Frames::new(&doorbell).1,
        doorbell: Arc::clone(&doorbell),
        timestamps: None,
    };
    let handle = courier.start(eal()).unwrap();
    let mut sent = 0;
    while sent < FRAMES {
        let mut burst = packets(&pool, 1);
        mark(burst.get_mut(0).unwrap(), PortIndex(0));
        sent += sender.send(&mut burst);
        doorbell.ring();
        if sent % 100 == 0 {
            // Asleep again.
            thread::sleep(Duration::from_millis(5));
            assert_eq!(counters.read().to_kernel_packets, sent as u64);
        }
    }
    handle.stop().unwrap();
    assert_eq!(marks(file.path()).len(), FRAMES);
    drop(sender);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_frame_of_the_daemon_leaves_by_its_port_with_the_least_length() {
    let pool = pool(63);
    let (ring, mut receiver) = ring::channel(eal(), &unique("own"), 64, None).unwrap();
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let way = Way { ring, pool: pool.clone(), doorbell: Arc::new(Doorbell::new().unwrap()) };
    let lane = Lane { sink: Sink::Nothing, counters: Arc::default(), way: Some(way) };
    let (sender, frames) = Frames::new(&doorbell);
    let (_, devices) = ProbeDevices::new(&doorbell);
    let courier = Courier {
        lanes: vec![lane],
        devices,
        punts: Vec::new(),
        frames,
        doorbell,
        timestamps: None,
    };
    let handle = courier.start(eal()).unwrap();
    let mut received = Burst::new();
    for (lane, frame) in [(0, vec![7; 20]), (9, vec![8; 60]), (0, vec![9; 5000]), (0, vec![10; 86])]
    {
        // Asleep.
        thread::sleep(Duration::from_millis(2));
        sender.send(lane, frame);
    }
    let mut lengths = Vec::new();
    while lengths.len() < 2 {
        receiver.receive(&mut received);
        lengths.extend(received.drain().map(|mbuf| (mbuf.bytes()[0], mbuf.bytes().len())));
    }
    assert_eq!(lengths, [(7, 60), (10, 86)], "no other lane, and no frame without room");
    handle.stop().unwrap();
    drop(receiver);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_capture_that_cannot_be_written_is_an_error_in_the_end() {
    let pool = pool(255);
    let sink = Sink::Capture(capture::Writer::create("/dev/full".as_ref()).unwrap());
    let (mut turns, _) = turns(vec![vec![ring_of(&pool, 0..3)]], sink);
    while turns.serve() {}
    assert!(turns.finish().is_err());
}

/// The header has no addresses, but the parser of workers reads what is behind it.
#[test]
fn a_probe_gets_a_header_by_its_version() {
    for (first, ethertype) in [(0x45, [8, 0]), (0x60, [0x86, 0xdd]), (0x00, [0, 0])] {
        let mut frame = [0xff; 20];
        frame[14] = first;
        put_header(&mut frame);
        assert_eq!((&frame[..12], &frame[12..14]), (&[0; 12][..], &ethertype[..]));
        assert_eq!((frame[14], &frame[15..]), (first, &[0xff; 5][..]), "the packet stays");
    }
    put_header(&mut [0; 3]);
}

/// Without a device the lane of probes is silent, and a device that is gone takes nothing else with it.
#[test]
fn the_lane_of_probes_has_a_device_only_while_it_is_given_one() {
    let (mut turns, _) = turns(Vec::new(), Sink::Probes(None, Arc::default()));
    assert!(turns.lanes[0].sink.device().is_none() && !turns.collect(0));
    turns.lanes[0].remove();
    assert!(matches!(turns.lanes[0].sink, Sink::Probes(None, _)), "it may get another one");
    let probing = Arc::<Probing>::default();
    lose(&Sink::Probes(None, Arc::clone(&probing)), &Counters::default(), 3);
    assert_eq!(probing.packets(Outcome::NoRoom), 3);
}
