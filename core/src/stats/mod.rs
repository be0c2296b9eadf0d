//! Statistics: what a worker counts, for others to read.
//!
//! [`channel`] makes the two ends of one worker's block: a [`Writer`], which only that worker has and
//! which adds without a lock or a locked instruction, and a [`Reader`], of which there may be many.
//! Each number is exact by itself; numbers read together may be a few packets apart while the worker
//! runs, and agree when it rests.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

mod metric;
pub mod verdict;

pub use metric::{Counter, Event, Gauge, Kind, Metric, metrics};
pub use verdict::{DropReason, Reply, Verdict};

/// A number with one writer.
#[derive(Debug, Default)]
struct Cell(AtomicU64);

impl Cell {
    #[inline]
    fn add(&self, n: u64) {
        // One writer: a load and a store are an addition, and need no locked instruction.
        self.set(self.read().wrapping_add(n));
    }

    #[inline]
    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was forwarded for a service or to a backend.
#[derive(Debug, Default)]
struct TrafficCells {
    packets: Cell,
    bytes: Cell,
    flows: Cell,
}

/// What was forwarded for a service or to a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Their bytes as received.
    pub bytes: u64,
    /// Flows begun.
    pub flows: u64,
}

impl std::ops::Add for Traffic {
    type Output = Traffic;

    fn add(self, other: Traffic) -> Traffic {
        Traffic {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
            flows: self.flows.wrapping_add(other.flows),
        }
    }
}

impl std::ops::Sub for Traffic {
    type Output = Traffic;

    fn sub(self, other: Traffic) -> Traffic {
        Traffic {
            packets: self.packets.wrapping_sub(other.packets),
            bytes: self.bytes.wrapping_sub(other.bytes),
            flows: self.flows.wrapping_sub(other.flows),
        }
    }
}

#[derive(Debug)]
struct Block {
    counters: CachePadded<[Cell; Counter::ALL.len()]>,
    gauges: CachePadded<[Cell; Gauge::ALL.len()]>,
    verdicts: CachePadded<[Cell; Verdict::COUNT]>,
    events: CachePadded<[Cell; Event::ALL.len()]>,
    services: Box<[TrafficCells]>,
    backends: Box<[TrafficCells]>,
}

/// The end that counts.
#[derive(Debug)]
pub struct Writer(Arc<Block>);

/// An end that reads.
#[derive(Clone, Debug)]
pub struct Reader(Arc<Block>);

/// A block with counters for so many services and backends.
pub fn channel(services: usize, backends: usize) -> (Writer, Reader) {
    let traffic = |n| std::iter::repeat_with(TrafficCells::default).take(n).collect();
    let block = Arc::new(Block {
        counters: CachePadded::default(),
        gauges: CachePadded::default(),
        verdicts: CachePadded::new(std::array::from_fn(|_| Cell::default())),
        events: CachePadded::default(),
        services: traffic(services),
        backends: traffic(backends),
    });
    (Writer(block.clone()), Reader(block))
}

impl Writer {
    /// Adds to a counter.
    #[inline]
    pub fn add(&mut self, counter: Counter, n: u64) {
        self.0.counters[counter.index()].add(n);
    }

    /// Sets a gauge. Whoever reads this value also reads what was counted before.
    #[inline]
    pub fn set(&mut self, gauge: Gauge, value: u64) {
        self.0.gauges[gauge.index()].0.store(value, Ordering::Release);
    }

    /// Counts packets that ended in a verdict.
    #[inline]
    pub fn verdict(&mut self, verdict: Verdict, packets: u64) {
        self.0.verdicts[verdict.index()].add(packets);
    }

    /// Counts an event.
    #[inline]
    pub fn event(&mut self, event: Event, packets: u64) {
        self.0.events[event.index()].add(packets);
    }

    /// The counters of services and backends, to count many packets.
    #[inline]
    pub fn traffic(&mut self) -> Counting<'_> {
        Counting { services: &self.0.services, backends: &self.0.backends }
    }

    /// Counts a flow that begins, of a service and for a backend.
    pub fn begins(&mut self, service: usize, backend: usize) {
        for traffic in [self.0.services.get(service), self.0.backends.get(backend)] {
            traffic.into_iter().for_each(|traffic| traffic.flows.add(1));
        }
    }
}

/// The counters of what is forwarded.
#[derive(Debug)]
pub struct Counting<'w> {
    services: &'w [TrafficCells],
    backends: &'w [TrafficCells],
}

impl Counting<'_> {
    /// Counts a packet of a service, by its index, for a backend, by its number.
    #[inline(always)]
    pub fn count(&mut self, service: usize, backend: usize, bytes: u64) {
        let count = |traffic: &TrafficCells| {
            traffic.packets.add(1);
            traffic.bytes.add(bytes);
        };
        self.services.get(service).map(count);
        self.backends.get(backend).map(count);
    }
}

impl Reader {
    /// The value of a counter.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.0.counters[counter.index()].read()
    }

    /// The value of a gauge.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.0.gauges[gauge.index()].0.load(Ordering::Acquire)
    }

    /// Packets that ended in a verdict.
    pub fn verdict(&self, verdict: Verdict) -> u64 {
        self.0.verdicts[verdict.index()].read()
    }

    /// Packets that ended in any verdict.
    pub fn verdicts(&self) -> u64 {
        self.0.verdicts.iter().map(Cell::read).sum()
    }

    /// Packets that were dropped, for any reason.
    pub fn dropped(&self) -> u64 {
        let is_drop = |verdict: &Verdict| matches!(verdict, Verdict::Dropped(_));
        Verdict::all().filter(is_drop).map(|verdict| self.verdict(verdict)).sum()
    }

    /// Packets that this happened to.
    pub fn event(&self, event: Event) -> u64 {
        self.0.events[event.index()].read()
    }

    /// What was forwarded for a service, by its index.
    pub fn service(&self, index: usize) -> Traffic {
        read(&self.0.services, index)
    }

    /// What was forwarded to a backend, by its number.
    pub fn backend(&self, index: usize) -> Traffic {
        read(&self.0.backends, index)
    }
}

fn read(counters: &[TrafficCells], index: usize) -> Traffic {
    counters.get(index).map_or_else(Traffic::default, |traffic| Traffic {
        packets: traffic.packets.read(),
        bytes: traffic.bytes.read(),
        flows: traffic.flows.read(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_what_the_writer_counts() {
        let (mut writer, reader) = channel(1, 2);
        writer.add(Counter::Received, 4);
        writer.set(Gauge::SweptGeneration, 9);
        writer.verdict(Verdict::Forwarded, 2);
        writer.verdict(Verdict::Dropped(DropReason::NoVip), 1);
        writer.verdict(Verdict::Replied(Reply::Echo), 1);
        writer.event(Event::FlowMoved, 1);
        writer.event(Event::FragmentWaited, 1);
        writer.traffic().count(7, 1, 60);
        writer.traffic().count(7, 1, 40);
        writer.traffic().count(0, 7, 100);
        writer.begins(7, 1);
        let reader = reader.clone();
        assert_eq!(reader.counter(Counter::Received), reader.verdicts());
        assert_eq!(reader.gauge(Gauge::SweptGeneration), 9);
        assert_eq!(reader.verdict(Verdict::Dropped(DropReason::NoVip)), 1);
        assert_eq!(reader.dropped(), 1);
        assert_eq!(
            Event::ALL.iter().map(|&event| reader.event(event)).collect::<Vec<_>>(),
            [0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(reader.backend(1), Traffic { packets: 2, bytes: 100, flows: 1 });
        assert_eq!(reader.backend(0), Traffic::default());
        assert_eq!(reader.service(0), Traffic { packets: 1, bytes: 100, flows: 0 });
    }

    #[test]
    fn a_place_out_of_range_is_not_counted_and_no_panic() {
        let (mut writer, reader) = channel(0, 0);
        writer.traffic().count(7, 7, 1);
        writer.begins(7, 7);
        assert_eq!(reader.backend(7), Traffic::default());
    }
}
