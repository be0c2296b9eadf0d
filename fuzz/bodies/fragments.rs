//! Fragments from many sources: parsing, the table's bounds, the owner of a datagram; and tunnels in.
//!
//! An input is steps of four bytes, for a table so small that its bounds are reached:
//!
//! | byte | meaning |
//! |---|---|
//! | 0 | bits 0-2: what happens (see [`Steps::step`]); bits 3-7: elapsed time in units of 50 ms |
//! | 1 | which of 256 datagrams: source, identification, family |
//! | 2 | the fragment's offset, in units of 8 bytes |
//! | 3 | its length: bits 0-5 in units of 8 bytes; bit 6: 4 more; bit 7: the last |
//!
//! Each step builds a frame, parses it, and does all that a worker does with a fragment. The whole input is
//! also a frame, and the payload of tunnels.

use std::collections::HashMap;

use guideway_core::balancer::cluster::{Cluster, Member, Owner, ThreeTuple};
use guideway_core::balancer::decapsulation::{self, Decapsulator};
use guideway_core::balancer::fragment::{self, Capacity, DatagramKey, Later, Reason, Table, Usage};
use guideway_core::balancer::frame::Buffer;
use guideway_core::balancer::hash::{FleetKey, LocalSeed};
use guideway_core::balancer::{Frame, Time};
use guideway_core::wire::fragment::FragmentFields;
use guideway_core::wire::{Checksum, Fragment, Packet};

/// Steps of one input; more would find nothing new.
const STEPS: usize = 1 << 20;

const LIMITS: Capacity =
    Capacity { datagrams: 12, packets: 10, bytes: 3000, packets_per_datagram: 4, timeout_ms: 500 };

struct Steps {
    table: Table<u32, u8>,
    cluster: Cluster,
    now: u64,
    number: u32,
    /// Fragments in the table, by number: since when they wait, and their bytes.
    waiting: HashMap<u32, (u64, usize)>,
}

/// The bounds hold, each waiting fragment leaves the table exactly once, and the table is empty at the end.
pub fn run(input: &[u8]) {
    tunnels(input);
    let member =
        |last, is_own| Member { address: [192, 0, 2, last].into(), is_own, is_down: false };
    let mut steps = Steps {
        table: Table::new(LIMITS, LocalSeed::new(1)),
        cluster: Cluster::new(&FleetKey::new([7; 16]), &[member(1, true), member(2, false)]),
        now: 0,
        number: 0,
        waiting: HashMap::new(),
    };
    for step in input.as_chunks::<4>().0.iter().take(STEPS) {
        steps.step(*step);
    }
    steps.drain();
}

impl Steps {
    fn step(&mut self, [what, datagram, offset, length]: [u8; 4]) {
        self.now += u64::from(what >> 3) * 50;
        let frame = frame(datagram, offset, length);
        let packet = Packet::parse(&frame).expect("a fragment that was built");
        let Some(fields) = FragmentFields::of(&packet, &frame) else {
            return assert_eq!(packet.fragment, Fragment::Whole);
        };
        let key = DatagramKey::of(&packet, &fields, &frame).expect("this frame");
        let tuple = ThreeTuple::of(&packet, &fields, &frame).expect("this frame");
        assert!(matches!(self.cluster.owner(&tuple), Owner::Own | Owner::Member(1)));
        assert!(tuple.worker(&LocalSeed::new(1), 3) < 3);
        let fault = fragment::check(&packet, &fields);
        let now = Time::from_millis(self.now);
        let mut out = Vec::new();
        match what & 7 {
            0 => {
                self.table.expire(now, |packet, reason| out.push((packet, Some(reason))));
                assert!(out.iter().all(|&(_, reason)| reason == Some(Reason::Timeout)));
            }
            _ if fault.is_err() => {}
            _ if packet.fragment == Fragment::First => {
                let begun =
                    self.table.begin(&key, &fields, now, |p, reason| out.push((p, Some(reason))));
                let decides = what & 1 == 0 && begun.is_ok();
                if decides
                    && self.table.decide(&key, datagram, now, |p, reason| out.push((p, reason)))
                {
                    let choice = self.later(&key, &next_fragment(&fields), &mut out, 10);
                    assert_eq!(choice, Some(datagram), "fragments follow the decision");
                }
            }
            _ => {
                self.later(&key, &fields, &mut out, frame.len());
            }
        }
        for (packet, reason) in out {
            assert!(self.waiting.remove(&packet).is_some(), "it did not wait");
            let known = matches!(reason, None | Some(Reason::Timeout | Reason::Overlap));
            assert!(known, "{reason:?} of one that waited");
        }
        if what & 7 == 0 {
            // One step of expiry covers this small table.
            let mut waited = self.waiting.values().map(|&(since, _)| self.now - since);
            assert!(waited.all(|ms| ms < LIMITS.timeout_ms));
        }
        self.check_usage();
    }

    /// Passes a later fragment to the table. Returns the choice it follows, if any.
    fn later(
        &mut self,
        key: &DatagramKey,
        fields: &FragmentFields,
        out: &mut Vec<(u32, Option<Reason>)>,
        bytes: usize,
    ) -> Option<u8> {
        self.number += 1;
        let now = Time::from_millis(self.now);
        let drop = |packet, reason| out.push((packet, Some(reason)));
        match self.table.later(key, fields, self.number, bytes, now, drop) {
            Later::Follow(packet, choice) => {
                assert_eq!(packet, self.number);
                return Some(choice);
            }
            Later::Buffered => {
                assert!(self.waiting.insert(self.number, (self.now, bytes)).is_none())
            }
            Later::Dropped(packet, _) => assert_eq!(packet, self.number),
        }
        None
    }

    fn check_usage(&self) {
        let usage = self.table.usage();
        assert!(usage.datagrams <= LIMITS.datagrams, "{usage:?}");
        assert!(usage.packets <= LIMITS.packets, "{usage:?}");
        assert!(usage.bytes <= LIMITS.bytes, "{usage:?}");
        let bytes: usize = self.waiting.values().map(|&(_, bytes)| bytes).sum();
        assert_eq!((usage.packets, usage.bytes), (self.waiting.len(), bytes));
    }

    /// After the timeout the table is empty.
    fn drain(&mut self) {
        let end = Time::from_millis(self.now + LIMITS.timeout_ms);
        for _ in 0..2 {
            let waiting = &mut self.waiting;
            self.table.expire(end, |packet, _| assert!(waiting.remove(&packet).is_some()));
        }
        assert_eq!((self.table.usage(), self.waiting.len()), (Usage::default(), 0));
    }
}

/// The fields of the fragment after this one.
fn next_fragment(fields: &FragmentFields) -> FragmentFields {
    FragmentFields { offset: fields.length, length: 8, ..*fields }
}

fn frame(datagram: u8, offset: u8, length: u8) -> Vec<u8> {
    let payload = vec![0x55; usize::from(length & 0x3f) * 8 + usize::from(length >> 6 & 1) * 4];
    let more = length & 0x80 == 0;
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    // The parser needs no header of protocol 58, so the first fragment may have any length.
    if datagram & 1 == 0 {
        frame.extend([8, 0, 0x45, 0]);
        let total = u16::try_from(20 + payload.len()).expect("small");
        frame.extend(total.to_be_bytes());
        let bits = u16::from(offset) | if more { 0x2000 } else { 0 };
        frame.extend([0, datagram >> 4]);
        frame.extend(bits.to_be_bytes());
        frame.extend([64, 58, 0, 0, 198, 51, 100, datagram & 0xf, 203, 0, 113, 10]);
        let checksum = Checksum::of(&frame[14..]).to_be_bytes();
        frame[24..26].copy_from_slice(&checksum);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(u16::try_from(8 + payload.len()).expect("small").to_be_bytes());
        frame.extend([44, 64]);
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, datagram & 0xf]);
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        let bits = u16::from(offset) << 3 | u16::from(more);
        frame.extend([58, 0]);
        frame.extend(bits.to_be_bytes());
        frame.extend([0, 0, 0, datagram >> 4]);
    }
    frame.extend(payload);
    frame
}

/// Decapsulates the input as a frame, and as the payload of each kind of tunnel.
fn tunnels(input: &[u8]) {
    let network = |text: &str| text.parse().expect("a network");
    let decapsulator = Decapsulator::new([network("192.0.2.1/32")], [network("192.0.2.0/24")]);
    open(&decapsulator, input);
    let udp = |port: u16| {
        let mut payload = [&[0xc0, 1][..], &port.to_be_bytes(), &[0, 8, 0, 0], input].concat();
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        payload[4..6].copy_from_slice(&length.to_be_bytes());
        payload
    };
    for (protocol, payload) in [
        (47, input.to_vec()),
        (4, input.to_vec()),
        (41, input.to_vec()),
        (17, udp(decapsulation::VXLAN)),
        (17, udp(decapsulation::GUE)),
    ] {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        frame.extend(u16::try_from(20 + payload.len()).unwrap_or(u16::MAX).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1]);
        let checksum = Checksum::of(&frame[14..]).to_be_bytes();
        frame[24..26].copy_from_slice(&checksum);
        frame.extend(payload);
        open(&decapsulator, &frame);
    }
}

fn open(decapsulator: &Decapsulator, frame: &[u8]) {
    let Ok(packet) = Packet::parse(frame) else { return };
    let Ok(Some(inner)) = decapsulator.decapsulate(&packet, frame) else { return };
    assert!(inner.offset >= usize::from(packet.l4));
    let mut buffer = Buffer::new(frame, 0);
    if decapsulation::unwrap(&packet, &inner, &mut buffer).is_ok() {
        let removed = inner.offset - usize::from(packet.l3);
        assert_eq!(buffer.bytes().len(), packet.end as usize - removed);
        if let Ok(found) = Packet::parse(buffer.bytes()) {
            assert_eq!((found.family, found.l3), (inner.family, packet.l3));
            let again = decapsulator.decapsulate(&found, buffer.bytes());
            assert_eq!(again, Ok(None), "the inner packet is not for the decapsulator");
        }
    }
}
