//! Traffic of one kind: packets, the tables for them, and a worker's pipeline that processes them.
//!
//! A [`Traffic`] has [`PACKETS`] packets, each of its own flow, spread over all its services. The code that processes
//! them is the workers' own ([`Pipeline`]), over frames in ordinary memory. [`Traffic::reset`] restores every packet,
//! and the flow table with or without the flows. Allocations and comparisons happen there or after the measurement.
//!
//! | file | what |
//! |---|---|
//! | `kind.rs` | what packets are like |
//! | `packet.rs` | the packets of a kind |
//! | `tables.rs` | a worker's tables for them |
#![allow(
    unreachable_pub,
    unused_imports,
    dead_code,
    reason = "a module of several benchmarks, each with its needs"
)]

mod kind;
mod packet;
mod tables;

use std::hint::black_box;

use guideway_core::balancer::action::{Actions, BurstActions};
use guideway_core::balancer::burst::Batch;
use guideway_core::balancer::exception::Exceptions;
use guideway_core::balancer::frame::{BURST, Buffer, BufferBurst, Buffers};
use guideway_core::balancer::handoff::Handoff;
use guideway_core::balancer::hash::LocalSeed;
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::passed::Passed;
use guideway_core::balancer::pipeline::{Pipeline, Round};
use guideway_core::balancer::punt::Class;
use guideway_core::balancer::{Balancer, Frame, Tables, Time, fragment};
use guideway_core::stats::{self, DropReason, Writer};
use guideway_core::wire::Packet;

pub use kind::{Addressee, Delivery, Ip, Kind, Mix, Transport};
pub use packet::{destination, frame, virtual_address};
pub use tables::{KEY, PORT, TIMEOUTS, members, tables};

/// Packets of a [`Traffic`], a multiple of [`BURST`].
pub const PACKETS: usize = 1024;
/// Entries of the flow table: enough that no bucket is full, if the packets' flows are all that it has.
const FLOW_ENTRIES: usize = 16 * PACKETS;

pub const SEED: u64 = 0x6775_6964_6577_6179;

/// Bytes before a frame, as in an mbuf.
const HEADROOM: usize = 128;
/// Bytes for a frame. All have the same number, because a worker may change the order of a burst.
const ROOM: usize = 128;

type Worker = Pipeline<Box<Buffer>, Buffers>;

/// Where processed packets go: the burst of the next round.
struct Sent(BufferBurst);

impl Actions<Box<Buffer>> for &mut Sent {
    #[inline]
    fn transmit(&mut self, _port: PortIndex, frame: Box<Buffer>, _stats: &mut Writer) {
        self.0.push(frame);
    }

    fn transmit_decided(
        &mut self,
        _port: PortIndex,
        frame: Box<Buffer>,
        _stats: &mut Writer,
    ) -> Result<(), DropReason> {
        self.0.push(frame);
        Ok(())
    }

    fn punt(
        &mut self,
        _port: PortIndex,
        class: Class,
        _frame: Box<Buffer>,
        _stats: &mut Writer,
    ) -> Result<(), DropReason> {
        unreachable!("no port has an interface, but a packet is punted as {class:?}");
    }

    fn hand_off(&mut self, _: u16, _: Box<Buffer>, handoff: Handoff, _: &mut Writer) {
        unreachable!("the only worker hands {handoff:?} to another");
    }
}

impl BurstActions<BufferBurst> for &mut Sent {
    #[inline]
    fn transmit_burst(&mut self, _port: PortIndex, burst: &mut BufferBurst, _stats: &mut Writer) {
        self.0.append(burst);
    }

    #[inline]
    fn divides(&self) -> bool {
        false
    }

    #[inline]
    fn pass(&mut self, _passed: &Passed, frame: Box<Buffer>) -> Result<(), Box<Buffer>> {
        Err(frame)
    }
}

/// Bursts of packets, and a worker's pipeline for them.
pub struct Traffic {
    kind: Kind,
    tables: Tables,
    worker: Worker,
    batch: Batch<BufferBurst>,
    sent: Sent,
    /// The frames as they arrive.
    frames: Vec<Vec<u8>>,
    bursts: Vec<BufferBurst>,
}

impl Traffic {
    pub fn new(kind: Kind) -> Traffic {
        assert!(PACKETS.is_multiple_of(kind.burst) && kind.burst <= BURST);
        let limits = fragment::Capacity {
            datagrams: 1,
            packets: 1,
            bytes: 1,
            packets_per_datagram: 1,
            timeout_ms: 1,
        };
        let seed = LocalSeed::new(SEED);
        let buffers = Buffers { headroom: HEADROOM, room: 2048 };
        let exceptions = Exceptions::new(0, 1, true, limits, seed, buffers);
        let (counters, _) = stats::channel(kind.services as usize, kind.backends as usize);
        let worker = Pipeline::new(Balancer::new(FLOW_ENTRIES, seed), counters, exceptions);
        let mut batch = Batch::new();
        batch.burst = Vec::with_capacity(BURST);
        let mut traffic = Traffic {
            kind,
            tables: tables(Kind { draining: false, ..kind }),
            worker,
            batch,
            sent: Sent(Vec::with_capacity(BURST)),
            frames: (0..PACKETS).map(|n| frame(kind, n)).collect(),
            bursts: vec![Vec::new(); PACKETS / kind.burst],
        };
        traffic.reset();
        if kind.draining {
            traffic.tables = tables(kind);
        }
        traffic
    }

    /// Restores packets and flow table.
    pub fn reset(&mut self) {
        for (burst, frames) in self.bursts.iter_mut().zip(self.frames.chunks(self.kind.burst)) {
            // Packets that were dropped are gone.
            if burst.len() < frames.len() {
                *burst = Vec::with_capacity(BURST);
                burst.extend(frames.iter().map(|_| Box::new(Buffer::empty(HEADROOM, ROOM))));
            }
            for (buffer, frame) in burst.iter_mut().zip(frames) {
                buffer.refill(frame, HEADROOM).expect("room for any frame");
            }
        }
        if self.kind.changes_flows() || self.worker.balancer.flows().is_empty() {
            self.worker.restart(Balancer::new(FLOW_ENTRIES, LocalSeed::new(SEED)));
            self.begin_flows();
        }
    }

    /// Puts the packets' flows into the table, if they are known, evenly spread among others as far as
    /// [`Kind::filled`] asks for these.
    fn begin_flows(&mut self) {
        let numbers = self.flows_to_begin();
        let [first, second] = self.kind.beginnings();
        if self.kind.transport == Transport::Udp {
            // A later datagram confirms the flow.
            numbers.iter().for_each(|&number| self.begin_flow(first, number, BEFORE));
            numbers.iter().for_each(|&number| self.begin_flow(second, number, NOW));
        } else {
            for &number in &numbers {
                self.begin_flow(first, number, NOW);
                self.begin_flow(second, number, NOW);
            }
        }
        if self.kind.filled == 0 {
            let flows = self.worker.balancer.flows();
            let entries = flows.entries(0..flows.capacity(), NOW, &TIMEOUTS);
            let steady = entries.filter(|(_, entry)| entry.is_steady()).count();
            assert_eq!(
                steady,
                numbers.len(),
                "every flow is recorded, and established or confirmed"
            );
        }
    }

    fn begin_flow(&mut self, kind: Kind, number: usize, now: Time) {
        let has_backend = decide(&mut self.worker, &self.tables, &frame(kind, number), now);
        assert!(has_backend, "every flow has a backend");
    }

    /// The numbers of the flows that the table is offered.
    fn flows_to_begin(&self) -> Vec<usize> {
        let own = if self.kind.known { PACKETS } else { 0 };
        let offered = (FLOW_ENTRIES * usize::from(self.kind.filled) / 100).max(own);
        let mut numbers = Vec::with_capacity(offered);
        let (mut next_own, mut next_other) = (0, PACKETS);
        for n in 1..=offered {
            let is_own = next_own < n * own / offered;
            let next = if is_own { &mut next_own } else { &mut next_other };
            if !is_own || self.kind.of_packet(*next).known {
                numbers.push(*next);
            }
            *next += 1;
        }
        numbers
    }

    fn buffers(&self) -> impl Iterator<Item = &Buffer> {
        self.bursts.iter().flatten().map(|buffer| &**buffer)
    }

    /// Parses with the full parser.
    #[inline]
    pub fn parse(&mut self) -> usize {
        self.buffers().filter(|frame| black_box(Packet::parse(frame.bytes())).is_ok()).count()
    }

    /// Classifies and decides by the full path, one packet after another. Returns how many packets have a backend.
    #[inline]
    pub fn decide(&mut self) -> usize {
        let Traffic { worker, tables, bursts, .. } = self;
        let frames = bursts.iter().flatten();
        frames.filter(|frame| decide(worker, tables, frame.bytes(), NOW)).count()
    }

    /// Sweeps the flow table, which has four buckets for each packet. Returns how many flows are left.
    #[inline]
    pub fn sweep(&mut self) -> usize {
        let Traffic { worker, tables, .. } = self;
        while !worker.balancer.sweep(tables, NOW) {}
        worker.balancer.flows().len()
    }

    /// Only moves the bursts: the cost of measuring.
    #[inline]
    pub fn nothing(&mut self) -> usize {
        self.each_burst(|_, round, batch| {
            round.actions.0.append(black_box(&mut batch.burst));
        })
    }

    /// The first step of a worker: parses, looks up the service and hashes.
    #[inline]
    pub fn classify(&mut self) -> usize {
        self.each_burst(|worker, round, batch| {
            worker.classify(round.tables, PORT, batch);
            round.actions.0.append(black_box(&mut batch.burst));
        })
    }

    /// All that a worker does with a burst, up to its outputs. Returns how many packets can be sent.
    #[inline]
    pub fn process(&mut self) -> usize {
        self.each_burst(|worker, round, batch| worker.process(round, PORT, batch))
    }

    /// Takes a step for each burst. Returns how many packets were sent.
    #[inline]
    fn each_burst(
        &mut self,
        mut step: impl FnMut(&mut Worker, &mut Round<'_, &mut Sent>, &mut Batch<BufferBurst>),
    ) -> usize {
        let Traffic { worker, tables, batch, sent, bursts, .. } = self;
        let mut count = 0;
        for burst in bursts {
            std::mem::swap(burst, &mut batch.burst);
            step(worker, &mut Round { tables, now: NOW, actions: &mut *sent }, batch);
            // What was sent, in the order of its arrival, is the next burst.
            std::mem::swap(burst, &mut batch.burst);
            std::mem::swap(burst, &mut sent.0);
            count += burst.len();
        }
        count
    }
}

/// Classifies a packet and decides by the full path. Returns whether it has a backend.
#[inline]
fn decide(worker: &mut Worker, tables: &Tables, frame: &[u8], now: Time) -> bool {
    let Ok(classified) = worker.balancer.classify(tables, PORT, frame) else { return false };
    black_box(worker.balancer.decide(tables, frame, &classified, now)).is_ok()
}

/// The time at which all packets arrive.
const NOW: Time = Time::from_millis(1_000_000);
/// When the flows in the table began.
const BEFORE: Time = Time::from_millis(990_000);
